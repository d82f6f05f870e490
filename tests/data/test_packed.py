"""What a table of many images is kept in: texts and labels in arrays, columns by their values."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsr.data._coded import coded
from fsr.data._label_sets import LabelSets
from fsr.data._packed_texts import PackedTexts

# Halves of characters too: names of files may be no text on this system.
texts = st.lists(st.text(st.characters(exclude_categories=()), max_size=5), max_size=8)


@given(texts=texts, other=texts, begin=st.integers(-9, 9), step=st.sampled_from([-2, -1, 1, 2]))
def test_packed_texts_do_what_a_tuple_does(
    texts: list[str], other: list[str], begin: int, step: int
) -> None:
    packed, plain = PackedTexts(iter(texts)), tuple(texts)
    assert tuple(packed) == plain
    assert packed == texts
    assert packed == plain
    assert plain == packed
    assert packed == pickle.loads(pickle.dumps(packed))
    assert hash(packed) == hash(plain)
    assert packed[begin::step] == plain[begin::step]
    assert [packed[i] for i in range(-len(plain), len(plain))] == [*plain, *plain]
    assert (packed == tuple(other)) is (plain == tuple(other))
    assert (packed == PackedTexts(other)) is (plain == tuple(other))
    assert packed != set(texts)
    assert repr(packed) == repr(plain)
    for index in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError):
            packed[index]


def test_texts_that_are_cut_elsewhere_are_others() -> None:
    assert PackedTexts(["ab", "c"]) != PackedTexts(["a", "bc"])


def test_many_texts_are_shown_short() -> None:
    assert repr(PackedTexts(map(str, range(11)))) == "<11 texts, '0' first>"


@given(column=st.lists(st.integers(0, 5), max_size=12))
def test_a_coded_column_says_the_same(column: list[int]) -> None:
    found = coded(iter(column))
    assert [found.values[code] for code in found.codes] == column
    assert found.values == list(dict.fromkeys(column))
    assert found.first.tolist() == [column.index(value) for value in found.values]


@given(data=st.data(), sets=st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=5))
def test_label_sets_are_multi_hot_and_counted(data: st.DataObject, sets: list[set[int]]) -> None:
    rows = data.draw(st.lists(st.integers(0, len(sets) - 1), min_size=1, max_size=9))
    labels = LabelSets(sets, np.array(rows, dtype=np.int32), num_classes=4)
    expected = [[float(c in sets[row]) for c in range(4)] for row in rows]
    assert [labels.multi_hot(image).tolist() for image in range(len(rows))] == expected
    assert labels.multi_hot(-1).tolist() == expected[-1]
    for images in range(len(rows) + 1):
        assert labels.counts(images) == [sum(row[c] for row in expected[:images]) for c in range(4)]
    with pytest.raises(IndexError):
        labels.multi_hot(len(rows))
