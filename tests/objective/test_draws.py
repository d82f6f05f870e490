"""Random numbers of a step that do not depend on how its batch is split."""

from __future__ import annotations

import pytest
import torch

from fsr.masking import UncertainMasker
from fsr.objective import Draws, PatchMask, Place, check_masks
from fsr.presets import CAMSource

CPU = torch.device("cpu")


def test_the_parts_of_a_batch_have_the_numbers_of_the_whole() -> None:
    def parts(size: int) -> torch.Tensor:
        drawn = []
        for first in range(0, 6, size):
            place = Place(first, 6, torch.Generator().manual_seed(3))
            draws = Draws(size, CPU, place=place)
            drawn.append(torch.cat([draws.uniform(2, 5).flatten(1), draws.uniform(3)], 1))
        return torch.cat(drawn)

    for size in (1, 2, 3):
        assert torch.equal(parts(size), parts(6))


def test_a_whole_batch_has_the_numbers_of_its_generator() -> None:
    draws = Draws(4, CPU, torch.Generator().manual_seed(3))
    expected = torch.rand(4, 2, 2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(draws.uniform(2, 2), expected)
    torch.manual_seed(7)
    drawn = Draws(4, CPU).uniform(2)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(4, 2))


def test_blocks_that_do_not_tile_the_grid_are_refused_before_a_step() -> None:
    mask = PatchMask(UncertainMasker(block=3), CAMSource(view=2))
    check_masks([mask, torch.nn.Identity()], (6, 9))
    with pytest.raises(ValueError, match=r"mask_block: expected a divisor of the patch grid"):
        check_masks([mask], (6, 8))
