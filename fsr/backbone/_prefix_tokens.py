"""Prefix tokens and position embeddings of a ViT state, brought to the form of another ViT."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

# In their order in the sequence; no ViT has both of the last two.
PREFIX_TOKENS = ("cls_token", "dist_token", "reg_token")


def adapt_prefix_tokens(model: Any, state: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Bring prefix tokens and position embedding of a state to the form of the model.

    Tokens that the model lacks are dropped with their positions; tokens that the state lacks keep
    the model's initial values. A token's position that the model keeps no room for is added to the
    token itself, which makes the same network; where the model has room that the state does not
    use, it becomes zero. Patch positions are interpolated from the state's own grid.

    Args:
        model: the network that the state is for.
        state: weights under timm's names.
        origin: what the state is, for messages.

    Returns:
        The state with its prefix tokens and ``pos_embed`` replaced.

    Raises:
        ValueError: the number of positions fits no grid.
    """
    expected = model.state_dict()
    tokens = {key: state[key] for key in PREFIX_TOKENS if key in state}
    wanted = {key: expected[key] for key in PREFIX_TOKENS if key in expected}
    result = {key: value for key, value in state.items() if key not in tokens}
    result |= {key: tokens.get(key, initial) for key, initial in wanted.items()}
    positions = state.get("pos_embed")
    if positions is None or positions.ndim != 3 or "pos_embed" not in expected:
        return result

    counts = {key: value.shape[1] for key, value in tokens.items()}
    own, patches, grid = _split(positions, counts, tuple(model.patch_embed.grid_size), origin)
    patches = resample_abs_pos_embed(
        patches, list(model.patch_embed.grid_size), list(grid), num_prefix_tokens=0
    )
    if getattr(model, "no_embed_class", False):
        for key in own.keys() & wanted.keys():
            result[key] = tokens[key] + own[key]
        return result | {"pos_embed": patches}

    initial = torch.split(expected["pos_embed"], _lengths(wanted, expected["pos_embed"]), dim=1)
    for key, position in zip(wanted, initial, strict=False):
        own.setdefault(key, torch.zeros_like(tokens[key]) if key in tokens else position)
    return result | {"pos_embed": torch.cat([*(own[key] for key in wanted), patches], dim=1)}


def _split(
    positions: Tensor, counts: Mapping[str, int], model_grid: tuple[int, int], origin: str
) -> tuple[dict[str, Tensor], Tensor, tuple[int, int]]:
    """Split positions ``(1, L, D)`` into those of the tokens, if any, and the patches' grid."""
    length, prefix = positions.shape[1], sum(counts.values())
    grid = _grid_of(length - prefix, model_grid)
    if grid is not None:
        parts = torch.split(positions, [*counts.values(), length - prefix], dim=1)
        return dict(zip(counts, parts, strict=False)), parts[-1], grid
    grid = _grid_of(length, model_grid)
    if grid is not None:
        return {}, positions, grid
    raise ValueError(
        f"{origin} has {length} positions and {prefix} prefix tokens, which is neither a square "
        f"grid nor that of the backbone, {model_grid}"
    )


def _grid_of(patches: int, model_grid: tuple[int, int]) -> tuple[int, int] | None:
    """Return the grid of so many patches: a square, else the model's own if it holds as many."""
    side = math.isqrt(max(patches, 0))
    if side > 0 and side * side == patches:
        return side, side
    return model_grid if model_grid[0] * model_grid[1] == patches else None


def _lengths(tokens: Mapping[str, Tensor], positions: Tensor) -> list[int]:
    """Return how many of the positions belong to each token and how many to the patches."""
    counts = [value.shape[1] for value in tokens.values()]
    return [*counts, positions.shape[1] - sum(counts)]
