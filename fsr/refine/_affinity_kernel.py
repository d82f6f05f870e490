"""The affinities of PAR as two Triton kernels: spread of every pixel's neighbours, then weights.

Checked in Triton's interpreter and compiled for GPUs; they have not run on one yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fsr._core.kernels import jit, tl
from fsr.refine._dilated import offset_table

PIXELS = 256


def affinity_at_once(
    images: Tensor, dilations: Sequence[int], position: Tensor, bandwidth: float
) -> Tensor:
    r"""Weights of every pixel's neighbours, :math:`\mathrm{softmax}_n(-d_n) + p_n`.

    :math:`d_n` is the mean over channels of the squared difference in units of ``bandwidth``
    standard deviations over the neighbours. At the least ``4 B H W (4 K + n)`` bytes move, most of
    which write the result.

    Args:
        images: ``(B, K, H, W)`` float32.
        dilations: distances of the n neighbours; past the border the border pixel is repeated.
        position: p, ``(n,)``, of the same type.
        bandwidth: as said.

    Returns:
        ``(B, n, H, W)``.
    """
    batch, channels, height, width = images.shape
    images = images.contiguous()
    table = offset_table(tuple(dilations), images.device)
    scale = torch.empty_like(images)
    result = images.new_empty(batch, len(table), height, width)
    tiles = math.ceil(height * width / PIXELS)
    _scales[(tiles, channels, batch)](
        images, table, scale, height, width, bandwidth, NEIGHBOURS=len(table), PIXELS=PIXELS
    )
    _affinities[(tiles, batch)](
        images,
        scale,
        table,
        position.contiguous(),
        result,
        height,
        width,
        CHANNELS=channels,
        NEIGHBOURS=len(table),
        PIXELS=PIXELS,
    )
    return result


@jit
def _scales(
    images: tl.tensor,
    offsets: tl.tensor,
    scale: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    bandwidth: tl.tensor,
    NEIGHBOURS: tl.constexpr,
    PIXELS: tl.constexpr,
) -> None:
    """Write one over ``bandwidth`` standard deviations of the neighbours of one channel."""
    area = height * width
    plane = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)).to(tl.int64) * area
    pixels = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    row, column = pixels // width, pixels % width

    mean = tl.full((PIXELS,), 0.0, tl.float32)
    for neighbour in range(NEIGHBOURS):
        down = row + tl.load(offsets + 2 * neighbour)
        along = column + tl.load(offsets + 2 * neighbour + 1)
        there = tl.minimum(tl.maximum(down, 0), height - 1) * width
        there += tl.minimum(tl.maximum(along, 0), width - 1)
        mean += tl.load(images + plane + there)
    mean = mean / NEIGHBOURS
    squares = tl.full((PIXELS,), 0.0, tl.float32)
    for neighbour in range(NEIGHBOURS):
        down = row + tl.load(offsets + 2 * neighbour)
        along = column + tl.load(offsets + 2 * neighbour + 1)
        there = tl.minimum(tl.maximum(down, 0), height - 1) * width
        there += tl.minimum(tl.maximum(along, 0), width - 1)
        apart = tl.load(images + plane + there) - mean
        squares += apart * apart
    deviation = tl.sqrt(squares / (NEIGHBOURS - 1))
    tl.store(scale + plane + pixels, 1 / (bandwidth * (deviation + 1e-8)), mask=pixels < area)


@jit
def _affinities(
    images: tl.tensor,
    scale: tl.tensor,
    offsets: tl.tensor,
    position: tl.tensor,
    result: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    CHANNELS: tl.constexpr,
    NEIGHBOURS: tl.constexpr,
    PIXELS: tl.constexpr,
) -> None:
    """Write the weights of all neighbours of PIXELS pixels of one image."""
    area = height * width
    image = tl.program_id(1).to(tl.int64)
    images += image * CHANNELS * area
    scale += image * CHANNELS * area
    result += image * NEIGHBOURS * area
    pixels = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixels < area
    row, column = pixels // width, pixels % width

    # Once for the largest logit and the sum of weights relative to it, once for the weights.
    largest = tl.full((PIXELS,), -float("inf"), tl.float32)
    total = tl.full((PIXELS,), 0.0, tl.float32)
    for step in range(2 * NEIGHBOURS):
        neighbour = step % NEIGHBOURS
        down = row + tl.load(offsets + 2 * neighbour)
        along = column + tl.load(offsets + 2 * neighbour + 1)
        there = tl.minimum(tl.maximum(down, 0), height - 1) * width
        there += tl.minimum(tl.maximum(along, 0), width - 1)
        logit = tl.full((PIXELS,), 0.0, tl.float32)
        for channel in tl.static_range(CHANNELS):
            here = tl.load(images + channel * area + pixels, mask=inside, other=0.0)
            apart = tl.load(images + channel * area + there) - here
            apart *= tl.load(scale + channel * area + pixels, mask=inside, other=0.0)
            logit -= apart * apart / CHANNELS
        if step < NEIGHBOURS:
            above = tl.maximum(largest, logit)
            total = total * tl.exp(largest - above) + tl.exp(logit - above)
            largest = above
        else:
            weight = tl.exp(logit - largest) / total + tl.load(position + neighbour)
            tl.store(result + neighbour * area + pixels, weight, mask=inside)
