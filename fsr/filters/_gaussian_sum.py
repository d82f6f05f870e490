"""Gaussian sums over points as attention: fused on CPUs and GPUs, in linear memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.kernel_switch import kernels_wanted
from fsr._core.numerics import no_autocast

# Fused attention kernels on GPUs want float32 rows of a multiple of 16 bytes; 8 also suits CPUs,
# and is how many products of a row a GPU's tensor core adds up at a time.
HEAD_MULTIPLE = 8
# Scores held at once where attention is not fused: 1 GiB in float64.
MAX_SCORES = 2**27
# Bits of the coarse part of a feature on a GPU; see split_rows.
COARSE_BITS = 9


class GaussianSum(torch.autograd.Function):
    """Gaussian sum over points; K is symmetric, so its gradient is the same sum of gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, features: Tensor) -> Tensor:
        """Return K v for values ``(B, N, K)`` at features ``(B, N, F)``."""
        ctx.save_for_backward(features)
        return gaussian_sum(values, features)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Return K g; the features are constants."""
        (features,) = ctx.saved_tensors
        with no_autocast(grad):
            result: Tensor = GaussianSum.apply(grad, features)
        return result, None


def gaussian_sum(values: Tensor, features: Tensor) -> Tensor:
    r"""Sum of exp(-|f_i - f_j|^2 / 2) v_j over j, as softmax attention with one more key.

    The logits, products of query and key rows, are the exponents. Attention would divide by the
    weights' sum Z; a key of zeros adds a known weight of exp(0) = 1, so that its own share is
    1 / (Z + 1), and dividing by that share undoes the division. Z is at least 1 (j = i), so the
    share is never small against its rounding, and nothing can overflow.

    Args:
        values: v, ``(B, N, K)``.
        features: f, ``(B, N, F)``, of the same type.

    Returns:
        The sums, ``(B, N, K)``.
    """
    if values.dtype == torch.float32 and kernels_wanted(values):
        from fsr.filters._gaussian_kernel import gaussian_sum_in_tiles

        return gaussian_sum_in_tiles(values, features)
    count, channels = values.shape[1:]
    on_tensor_cores = features.device.type == "cuda" and features.dtype == torch.float32
    query, key = split_rows(features) if on_tensor_cores else plain_rows(features)
    width = _up(max(channels + 1, query.shape[-1]))
    query, key = _pad(query, width), F.pad(_pad(key, width), (0, 0, 0, 1))
    share = F.pad(torch.zeros_like(features[..., :1]), (0, 0, 0, 1), value=1.0)
    value = _pad(torch.cat([F.pad(values, (0, 0, 0, 1)), share], dim=-1), width)

    blocks = torch.split(query, rows_at_once(query, count + 1), dim=1)
    sums = [
        F.scaled_dot_product_attention(
            block.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1), scale=1.0
        ).squeeze(1)
        for block in blocks
    ]
    attended = torch.cat(sums, dim=1)
    return attended[..., :channels] / attended[..., channels : channels + 1]


def plain_rows(features: Tensor) -> tuple[Tensor, Tensor]:
    """Query rows [f, 1, -|f|^2/2] and key rows [f, -|f|^2/2, 1], whose products are exponents."""
    half_norm = features.square().sum(dim=-1, keepdim=True) / 2
    ones = torch.ones_like(half_norm)
    query = torch.cat([features, ones, -half_norm], dim=-1)
    return query, torch.cat([features, -half_norm, ones], dim=-1)


def split_rows(features: Tensor) -> tuple[Tensor, Tensor]:
    r"""Rows with the same products for tensor cores, exact to about 1e-6 in the exponents.

    From compute capability 8.0 on, torch's fused attention multiplies float32 as three products of
    TF32 parts and drops a fourth, up to :math:`2^{-20}` of a product, always to the same side, and
    cuts sums off at the place of their largest term. Of near points the exponent is a small
    difference of terms of :math:`|f|^2/2`, a few hundred for colours: 1e-4 of a weight is lost.

    Hence :math:`f = q + r` with q on a grid of 9 bits. The first columns hold the exponent of the
    q, in which every product and every sum is exact. What is left,
    :math:`f_i r_j + r_i q_j - c_i - c_j` with :math:`c = q r + |r|^2/2`, comes in columns that are
    added afterwards, when the large terms have cancelled, and is small itself. The figures are
    those of an imitation of this arithmetic, which ``tests/filters/test_tensor_cores.py`` holds.

    Args:
        features: f, ``(B, N, F)`` float32.

    Returns:
        Query and key rows, ``(B, N, width)``.
    """
    # The power of two below the largest feature, by its bits: exact on every device.
    largest = features.abs().amax(dim=(1, 2), keepdim=True).clamp_min(2.0**-20)
    power = (largest.view(torch.int32) & 0x7F800000).view(torch.float32)
    step = power / 2 ** (COARSE_BITS - 1)
    coarse = (features / step).round() * step
    rest = features - coarse
    half_norm = coarse.square().sum(dim=-1, keepdim=True) / 2
    cross = (coarse * rest).sum(dim=-1, keepdim=True) + rest.square().sum(dim=-1, keepdim=True) / 2
    ones = torch.ones_like(cross)

    width = _up(features.shape[-1] + 2)
    query = _pad(torch.cat([coarse, ones, -half_norm], dim=-1), width)
    key = _pad(torch.cat([coarse, -half_norm, ones], dim=-1), width)
    query = torch.cat([query, features, rest, ones, -cross], dim=-1)
    return query, torch.cat([key, rest, coarse, -cross, ones], dim=-1)


def rows_at_once(query: Tensor, keys: int) -> int:
    """Query rows per attention call: all where torch fuses it, else as many as memory allows."""
    device = query.device.type
    if device == "cpu" or (device == "cuda" and query.dtype == torch.float32):
        return query.shape[1]
    return max(1, MAX_SCORES // (query.shape[0] * keys))


def _up(width: int) -> int:
    """Round a width up to what the kernels want."""
    return math.ceil(width / HEAD_MULTIPLE) * HEAD_MULTIPLE


def _pad(rows: Tensor, width: int) -> Tensor:
    """Fill rows with zeros up to a width."""
    return F.pad(rows, (0, width - rows.shape[-1]))
