"""Gaussian sums over points as one Triton kernel: no N x N in memory, products on tensor cores.

Checked in Triton's interpreter and compiled for GPUs; it has not run on one yet.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.kernels import jit, tl

# Points that a program sums for, points that it takes up at a time, and its warps.
ROWS, POINTS, WARPS = 128, 64, 4
# Channels of one walk over all pairs; more take further walks.
MOST_CHANNELS = 64
# Columns that a tensor core takes at least.
FEWEST_COLUMNS = 16
# Weights, at most 1, are held times 2**15 and values up to 2**14: half precision then keeps its 11
# bits down to weights of 2e-9 and to 2e-9 of the largest value.
WEIGHT_BITS, VALUE_BITS = 15, 14


def gaussian_sum_in_tiles(values: Tensor, features: Tensor) -> Tensor:
    r"""Sum of exp(-|f_i - f_j|^2 / 2) v_j over j, tile by tile.

    Exponents are products in plain float32, as exact as :func:`plain_rows` on a CPU: 1e-4 of a
    weight for features of length 40, less for shorter ones. Tensor cores multiply numbers of 11
    bits: weights and values are two of them each, and sums are kept in float32. With one number
    for a weight 5e-4 of it was lost, which the updates of a dense CRF made 2.5e-3 of a probability.

    Work is N^2 exponentials, about 12 N^2 further instructions, and 8 K N^2 operations on tensor
    cores, K rounded up to a power of two; read are 4 (F + K) N bytes for each 128 points, by turns.

    Args:
        values: v, ``(B, N, K)`` float32.
        features: f, ``(B, N, F)``, of the same type.

    Returns:
        The sums, ``(B, N, K)``.
    """
    batch, count, channels = values.shape
    chunk = min(channels, MOST_CHANNELS)
    chunks = math.ceil(channels / chunk)
    columns = max(FEWEST_COLUMNS, 1 << (2 * chunk - 1).bit_length())
    length = math.ceil(count / ROWS) * ROWS

    # As powers of two. Points that fill up the last tile have values of zero.
    rows = features / math.sqrt(math.log(2.0))
    rows = torch.cat([rows, -rows.square().sum(dim=-1, keepdim=True) / 2], dim=-1)
    points = F.pad(rows, (0, 0, 0, length - count)).transpose(1, 2).contiguous()
    scale = _scale(values)
    padded = F.pad(scale * values, (0, chunks * chunk - channels, 0, length - count))
    parts = padded.unflatten(2, (chunks, chunk)).transpose(1, 2)
    high = parts.half()
    halves = torch.cat([high, (parts - high.float()).half()], dim=-1)
    halves = F.pad(halves, (0, columns - 2 * chunk)).contiguous()

    sums = torch.empty(halves.shape, dtype=torch.float32, device=values.device)
    grid = (length // ROWS, chunks, batch)
    _sum_tiles[grid](
        points,
        halves,
        sums,
        length,
        FEATURES=features.shape[2],
        COLUMNS=columns,
        ROWS=ROWS,
        POINTS=POINTS,
        BITS=float(WEIGHT_BITS),
        num_warps=WARPS,
    )
    total = sums[..., :chunk] + sums[..., chunk : 2 * chunk]
    total = total.transpose(1, 2).flatten(2)[:, :count, :channels]
    return total * math.ldexp(1.0, -WEIGHT_BITS) / scale


def _scale(values: Tensor) -> Tensor:
    """Return the power of two that brings the largest value of a channel to at most 2**14."""
    exponent = torch.frexp(values.abs().amax(dim=1, keepdim=True)).exponent
    return torch.exp2(VALUE_BITS - exponent.clamp(min=-100).to(values.dtype))


@jit
def _sum_tiles(
    points: tl.tensor,
    values: tl.tensor,
    sums: tl.tensor,
    length: tl.tensor,
    FEATURES: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    POINTS: tl.constexpr,
    BITS: tl.constexpr,
) -> None:
    """Sum for ROWS points of one image and one chunk of channels.

    ``points`` is ``(B, FEATURES + 1, length)``, each point's features and, last, minus half their
    squared length; ``values`` and ``sums`` are ``(B, chunks, length, COLUMNS)``. ROWS and POINTS
    divide the length.
    """
    image = tl.program_id(2).to(tl.int64)
    part = image * tl.num_programs(1) + tl.program_id(1)
    points += image * (FEATURES + 1) * length
    lengths = points + FEATURES * length
    values += part * length * COLUMNS
    sums += part * length * COLUMNS
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)

    total = tl.full((ROWS, COLUMNS), 0.0, tl.float32)
    for start in range(0, length, POINTS):
        others = start + tl.arange(0, POINTS)
        exponent = (tl.load(lengths + rows) + BITS)[:, None] + tl.load(lengths + others)[None, :]
        for feature in tl.static_range(FEATURES):
            here = tl.load(points + feature * length + rows)
            there = tl.load(points + feature * length + others)
            exponent += here[:, None] * there[None, :]
        weights = tl.exp2(exponent)
        high = weights.to(tl.float16)
        low = (weights - high.to(tl.float32)).to(tl.float16)
        taken = tl.load(values + others[:, None] * COLUMNS + columns[None, :])
        total = tl.dot(high, taken, total)
        total = tl.dot(low, taken, total)
    tl.store(sums + rows[:, None] * COLUMNS + columns[None, :], total)
