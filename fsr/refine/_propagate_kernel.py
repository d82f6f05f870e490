"""Moving scores to their neighbours by weight, as one Triton kernel a move.

Checked in Triton's interpreter and compiled for GPUs; it has not run on one yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fsr._core.kernels import jit, tl
from fsr.refine._dilated import offset_table

# Pixels of a program, and the most channels of it: each weight is read once for so many.
PIXELS, MOST_CHANNELS = 128, 16


def propagate_at_once(masks: Tensor, affinity: Tensor, dilations: Sequence[int]) -> Tensor:
    """Replace every pixel by the sum of its neighbours, weighted by their affinity.

    At the least ``4 B H W (2 C + n)`` bytes move: masks are read and written once, affinities read
    once for each 16 channels. The n readings of a mask come from the caches. The same sum as n
    operations of torch moves ``4 B H W n (3 C + 1)``, 15 times as much for 6 channels and n = 48.

    Args:
        masks: scores, ``(B, C, H, W)`` float32.
        affinity: ``(B, n, H, W)``, of the same type.
        dilations: distances of the n neighbours; past the border the border pixel is repeated.

    Returns:
        ``(B, C, H, W)``.
    """
    batch, channels, height, width = masks.shape
    table = offset_table(tuple(dilations), masks.device)
    result = torch.empty_like(masks, memory_format=torch.contiguous_format)
    at_once = min(MOST_CHANNELS, 1 << (channels - 1).bit_length())
    grid = (math.ceil(height * width / PIXELS), math.ceil(channels / at_once), batch)
    _propagate[grid](
        masks.contiguous(),
        affinity.contiguous(),
        table,
        result,
        channels,
        height,
        width,
        NEIGHBOURS=len(table),
        CHANNELS=at_once,
        PIXELS=PIXELS,
    )
    return result


@jit
def _propagate(
    masks: tl.tensor,
    affinity: tl.tensor,
    offsets: tl.tensor,
    result: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    NEIGHBOURS: tl.constexpr,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
) -> None:
    """Make PIXELS pixels of CHANNELS channels of one image."""
    area = height * width
    image = tl.program_id(2).to(tl.int64)
    masks += image * channels * area
    result += image * channels * area
    affinity += image * NEIGHBOURS * area
    pixels = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    row, column = pixels // width, pixels % width
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    planes = channel.to(tl.int64)[:, None] * area
    inside = (channel < channels)[:, None] & (pixels < area)[None, :]

    total = tl.full((CHANNELS, PIXELS), 0.0, tl.float32)
    for neighbour in range(NEIGHBOURS):
        weight = tl.load(affinity + neighbour * area + pixels, mask=pixels < area, other=0.0)
        down = row + tl.load(offsets + 2 * neighbour)
        along = column + tl.load(offsets + 2 * neighbour + 1)
        there = tl.minimum(tl.maximum(down, 0), height - 1) * width
        there += tl.minimum(tl.maximum(along, 0), width - 1)
        scores = tl.load(masks + planes + there[None, :], mask=inside, other=0.0)
        total += weight[None, :] * scores
    tl.store(result + planes + pixels[None, :], total, mask=inside)
