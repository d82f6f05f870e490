"""Labels of token pairs against the recorded ones and loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import pair_labels, patch_token_contrast


def test_the_recorded_labels_of_toco(parity: Callable[[str], dict[str, Tensor]]) -> None:
    recorded = parity("systems/toco_box_label")
    assert torch.equal(pair_labels(recorded["in_small_label"]), recorded["out_affinity"])


@given(st.integers(0, 1000))
def test_they_are_those_of_the_loops(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, (2, 5), generator=generator)]
    found = pair_labels(labels)
    for b in range(2):
        for i in range(5):
            for j in range(5):
                known = i != j and 255 not in (labels[b, i], labels[b, j])
                assert found[b, i, j] == (int(labels[b, i] == labels[b, j]) if known else 255)


def test_they_are_the_pairs_of_patch_token_contrast() -> None:
    labels = torch.tensor([[0, 0, 1, 255, 2], [3, 3, 3, 1, 1]])
    pairs = pair_labels(labels)
    same, different = ((pairs == value).sum().item() for value in (1, 0))
    loss = patch_token_contrast(torch.ones(2, 5, 3, dtype=torch.float64), labels)
    expected = 0.5 * (1 - same / (same + 1)) + 0.5 * different / (different + 1)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_a_single_token_and_no_known_token_make_no_pair() -> None:
    assert pair_labels(torch.tensor([[4]])).tolist() == [[[255]]]
    assert pair_labels(torch.full((1, 2, 2), 255)).unique().tolist() == [255]


def test_bad_labels_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"token_labels: expected shape \(B, H, W\) or \(B, N\)"):
        pair_labels(torch.zeros(4).long())
    with pytest.raises(TypeError, match="token_labels: expected an integer tensor"):
        pair_labels(torch.zeros(1, 4))
