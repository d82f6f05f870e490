"""Cells of a table that hold several labels, however separated, and names that stay one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsr.data import read_labels
from fsr.data._label_row import LabelRow
from fsr.data._label_table import write_labels
from fsr.errors import DataError


def labels(folder: Path, *cells: str, names: tuple[str, ...] | None = None) -> list[set[str]]:
    """Read a table with these cells, as they stand in the file."""
    path = folder / "labels.csv"
    lines = "".join(f"{number}.jpg,{cell}\n" for number, cell in enumerate(cells))
    path.write_text(f"image,labels\n{lines}", encoding="utf-8")
    return [set(row.labels) for row in read_labels(path, class_names=names).rows]


@pytest.mark.parametrize(
    "cell",
    [
        '"cat, dog"',
        '"cat,dog"',
        "cat|dog",
        "cat | dog",
        '"cat\ndog"',
        "cat\tdog",
        "cat\uff1bdog",
        "\"['cat', 'dog']\"",
        '"[""cat"", ""dog""]"',
        '"[cat, dog]"',
        "\"('cat', 'dog')\"",
        "\"{'cat', 'dog'}\"",
        '"{""choices"":[""cat"",""dog""]}"',
        "cat;dog;",
    ],
)
def test_separators_that_leave_no_doubt_are_read(tmp_path: Path, cell: str) -> None:
    assert labels(tmp_path, cell, "cat", "dog") == [{"cat", "dog"}, {"cat"}, {"dog"}]
    known = labels(tmp_path, cell, "cat", names=("cat", "dog", "owl"))
    assert known == [{"cat", "dog"}, {"cat"}]


@pytest.mark.parametrize(
    "cell", ["cat dog", "cat/dog", "cat + dog", "cat&dog", "cat and dog", "cat_dog", "cat-dog"]
)
def test_separators_that_names_hold_too_are_refused_with_their_line(
    tmp_path: Path, cell: str
) -> None:
    message = r"labels\.csv: line 2: .* may be one class or several; separate .* as in 'cat;dog'"
    with pytest.raises(DataError, match=message):
        labels(tmp_path, cell, "cat", "dog")


@pytest.mark.parametrize(
    "cells",
    [
        # Neither class stands alone anywhere.
        ("cat|dog",),
        ('"cat, dog"', '"dog, owl"', '"cat, owl"'),
        # One does.
        ('"cat, dog"', "cat"),
        # The same words in another order, and all of one cell in another.
        ("clear primary", "primary clear"),
        ("clear primary", "clear primary water", "haze water"),
    ],
)
def test_combinations_that_grow_are_refused(tmp_path: Path, cells: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"line 2: .* may be one class or several"):
        labels(tmp_path, *cells)


@pytest.mark.parametrize(
    "names",
    [
        ("dining table", "cat"),
        ("polar bear", "brown bear", "bear"),
        ("red apple", "green apple", "red pear", "green pear"),
        ("tench, Tinca tinca", "goldfish, Carassius auratus"),
        ("C++", "and/or", "hot-dog"),
        ("1-2", "12"),
        ("polar bear", "polar bear cub"),
        ("traffic light", "red traffic light", "red car", "dark;pedestrian"),
    ],
)
def test_names_that_only_look_like_several_stay(tmp_path: Path, names: tuple[str, ...]) -> None:
    cells = [f'"{name}"' for name in names]
    assert labels(tmp_path, *cells) == [set(name.split(";")) for name in names]


def test_given_names_settle_what_is_one(tmp_path: Path) -> None:
    names = ("cat", "dog", "cat dog", "cat, dog")
    assert labels(tmp_path, "cat dog", '"cat, dog"', names=names) == [{"cat dog"}, {"cat, dog"}]


@pytest.mark.parametrize(
    "cell",
    [
        "\"['cat' 'dog']\"",
        '"{""cat"": 1}"',
        '"[1, 2]"',
        '"[[""cat""], [""dog""]]"',
        '"{""choices"": ""cat""}"',
        "\"['cat', 'dog'\"",
    ],
)
def test_other_lists_are_refused_with_what_is_right(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=r"line 3: expected names separated by ';', as in 'cat;d"):
        labels(tmp_path, "cat", cell)


@pytest.mark.parametrize("cell", ["nan", "NaN", "None", "null", "N/A", "[None]", "cat;nan"])
def test_words_for_nothing_are_no_class(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=r"(?i)line 2: 'n.*' is no class; leave the cell emp"):
        labels(tmp_path, cell, "cat")
    assert labels(tmp_path, "", "cat", "[]") == [set(), {"cat"}, set()]


def test_names_that_a_cell_cannot_tell_apart_are_not_written(tmp_path: Path) -> None:
    names = ("cat", "dog", "cat, dog")
    rows = [LabelRow("a.jpg", ("cat", "dog")), LabelRow("b.jpg", ("cat, dog",))]
    with pytest.raises(DataError, match=r"cannot be told from several in one cell.*form='onehot'"):
        write_labels(tmp_path / "l.csv", rows, names)
    write_labels(tmp_path / "l.csv", rows, names, form="onehot")
    assert [row.labels for row in read_labels(tmp_path / "l.csv").rows] == [
        ("cat", "dog"),
        ("cat, dog",),
    ]


def test_a_cell_of_spaces_without_end_is_read(tmp_path: Path) -> None:
    gap = " " * 50_000
    cells = [f"a{gap}b", f"[{gap}'c'{gap}]"]
    found = labels(tmp_path, *(f'"{cell}"' for cell in cells))
    assert found == [{cells[0]}, {"c"}]
    with pytest.raises(DataError, match=r"line 2: expected names separated by ';'"):
        labels(tmp_path, f"\"['a'{gap}'b']\"")
