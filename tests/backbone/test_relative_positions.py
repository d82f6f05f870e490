"""Tables of relative positions, from grid to grid."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from fsr.backbone._relative_positions import resize_relative_positions, resize_relative_tables
from tests.backbone.classes import BEIT, SMALL


def table(window: tuple[int, int], heads: int = 3) -> Tensor:
    return torch.randn((2 * window[0] - 1) * (2 * window[1] - 1) + 3, heads)


def test_the_same_grid_keeps_the_table_itself() -> None:
    own = table((3, 4))
    assert resize_relative_positions(own, (3, 4), (3, 4)) is own


def test_offsets_are_resized_bicubically_and_the_class_tokens_rows_stay() -> None:
    own = table((2, 3))
    found = resize_relative_positions(own, (2, 3), (4, 3))
    maps = own[:-3].reshape(1, 3, 5, 3).permute(0, 3, 1, 2)
    expected = F.interpolate(maps, size=(7, 5), mode="bicubic", align_corners=False)
    assert torch.equal(found[-3:], own[-3:])
    torch.testing.assert_close(found[:-3], expected[0].permute(1, 2, 0).reshape(35, 3))


@pytest.mark.parametrize("grid", [(2, 2), (5, 4)])
def test_a_constant_table_stays_constant_and_a_mirrored_one_mirrored(grid: tuple[int, int]) -> None:
    constant = torch.full_like(table((3, 3)), 0.7)
    found = resize_relative_positions(constant, (3, 3), grid)
    torch.testing.assert_close(found, torch.full_like(found, 0.7))
    own = table((3, 3))
    mirrored = torch.cat((own[:-3].flip(0), own[-3:]))
    straight = resize_relative_positions(own, (3, 3), grid)
    turned = resize_relative_positions(mirrored, (3, 3), grid)
    torch.testing.assert_close(turned[:-3].flip(0), straight[:-3])


def test_gradient_reaches_the_table_and_half_precision_is_kept() -> None:
    own = table((2, 2)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize_relative_positions(x, (2, 2), (3, 2)), own)
    half = resize_relative_positions(table((2, 2)).bfloat16(), (2, 2), (3, 3))
    assert half.dtype == torch.bfloat16


def test_tables_of_a_state_come_to_the_models_windows() -> None:
    small = timm.create_model(BEIT, img_size=48, **SMALL)
    large = timm.create_model(BEIT, img_size=(64, 32), **SMALL)
    key = "blocks.1.attn.relative_position_bias_table"
    state = {**small.state_dict(), key: table((3, 3), 2)}
    found = resize_relative_tables(large, state)
    assert torch.equal(found[key], resize_relative_positions(state[key], (3, 3), (4, 2)))
    assert torch.equal(resize_relative_tables(small, state)[key], state[key])
    odd = {key: torch.zeros(7, 2)}
    assert torch.equal(resize_relative_tables(large, odd)[key], odd[key])


def test_a_models_own_table_for_a_rectangle_is_kept() -> None:
    wide = timm.create_model(BEIT, img_size=(80, 16), **SMALL)
    key = "blocks.0.attn.relative_position_bias_table"
    state = {**wide.state_dict(), key: table((5, 1), 2)}
    assert state[key].shape[0] == 9 + 3  # as many offsets as a square of 2 x 2 patches has
    assert torch.equal(resize_relative_tables(wide, state)[key], state[key])
