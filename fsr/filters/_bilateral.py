"""Exact Gaussian bilateral filter, computed as attention: linear memory, no compiled extension."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_between, check_floating, check_shape
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError

# Fused attention kernels on GPUs want float32 rows of a multiple of 16 bytes; 8 also suits CPUs.
HEAD_MULTIPLE = 8
# Scores held at once where attention is not fused: 1 GiB in float64.
MAX_SCORES = 2**27
# Largest rounding error of an exponent that is let pass: weights are then right to 1%.
MAX_ROUNDING = 1e-2


def bilateral_filter(
    values: Tensor,
    images: Tensor | None = None,
    *,
    sigma_xy: float,
    sigma_rgb: float | None = None,
) -> Tensor:
    r"""Sum of all pixels' values, weighted by nearness in place and colour.

    .. math:: (K v)_i = \sum_j \exp\Bigl(-\frac{|p_i - p_j|^2}{2\sigma_{xy}^2}
              - \frac{|I_i - I_j|^2}{2\sigma_{rgb}^2}\Bigr) v_j

    The sum is exact, includes :math:`j = i` (whose weight is 1) and is not normalised; filter ones
    to get the weights' sum. K is symmetric and positive semi-definite. Work grows with the square
    of the pixel count, memory linearly; without an image the kernel separates and costs little.

    Args:
        values: maps v to filter, ``(B, K, H, W)``, any unit; differentiable, any number of times.
        images: colours I in the unit of ``sigma_rgb``, ``(B, c, H, W)``, usually RGB in 0..255;
            constants. None for a purely spatial kernel.
        sigma_xy: spatial width in pixels, above 0.
        sigma_rgb: colour width in the images' unit, above 0; given exactly when images are.

    Returns:
        Filtered maps, ``(B, K, H, W)``, in the values' type, float32 for half precision. In
        float32 the relative error is about 1e-6 for widths of 10 and more in 0..255 and grows with
        ``1 / sigma_rgb**2``; give float64 values for narrower kernels.

    Raises:
        ShapeError: shapes are wrong or do not fit each other.
        TypeError: a tensor is not floating point.
        ValueError: a width is not above 0, ``sigma_rgb`` is given without images or left out with
            them, or (not tested under ``torch.compile``) images are not finite or the widths too
            narrow for the values' type.

    Source:
        Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
        Potentials", NeurIPS 2011, Eq. 3: the kernel, there approximated on a lattice.

    Example:
        >>> ones = torch.ones(1, 1, 1, 2)
        >>> colours = torch.tensor([0.0, 30.0]).view(1, 1, 1, 2)
        >>> bilateral_filter(ones, colours, sigma_xy=100.0, sigma_rgb=15.0)
        tensor([[[[1.1353, 1.1353]]]])
    """
    batch, _, height, width = check_shape("values", values, "B K H W")
    check_floating("values", values)
    if values.numel() == 0:
        raise ShapeError(f"values: expected at least one channel and pixel, got {values.shape}")
    check_between("sigma_xy", sigma_xy, 0.0, math.inf, inclusive=False)
    if (images is None) != (sigma_rgb is None):
        raise ValueError(
            f"sigma_rgb: expected a width with images and None without, got {sigma_rgb}"
        )
    if images is None or sigma_rgb is None:
        with no_autocast(values):
            return _filter_space(at_least_float32(values), sigma_xy)
    check_shape("images", images, "B c H W", B=batch, H=height, W=width)
    check_floating("images", images)
    check_between("sigma_rgb", sigma_rgb, 0.0, math.inf, inclusive=False)

    with no_autocast(values):
        rows = at_least_float32(values).flatten(2).transpose(1, 2)
        features = _features(images.detach().to(rows.dtype), sigma_xy, sigma_rgb)
        _check_rounding(features)
        filtered: Tensor = _GaussianSum.apply(rows, features)
        return filtered.transpose(1, 2).reshape(values.shape)


class _GaussianSum(torch.autograd.Function):
    """Gaussian sum over points; K is symmetric, so its gradient is the same sum of gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, features: Tensor) -> Tensor:
        """Return K v for values ``(B, N, K)`` at features ``(B, N, F)``."""
        ctx.save_for_backward(features)
        return _gaussian_sum(values, features)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Return K g; the features are constants."""
        (features,) = ctx.saved_tensors
        with no_autocast(grad):
            result: Tensor = _GaussianSum.apply(grad, features)
        return result, None


def _gaussian_sum(values: Tensor, features: Tensor) -> Tensor:
    r"""Sum of exp(-|f_i - f_j|^2 / 2) v_j over j, as softmax attention with one more key.

    With q = [f, 1, -|f|^2/2] and k = [f, -|f|^2/2, 1] the logits are the exponents. Attention would
    divide by the weights' sum Z; a key of zeros adds a known weight of exp(0) = 1, so that its own
    share is 1 / (Z + 1), and dividing by that share undoes the division. Z is at least 1 (j = i),
    so the share is never small against its rounding, and nothing can overflow.
    """
    count, channels = values.shape[1:]
    half_norm = features.square().sum(dim=-1, keepdim=True) / 2
    ones = torch.ones_like(half_norm)
    width = max(channels + 1, features.shape[-1] + 2)
    width = math.ceil(width / HEAD_MULTIPLE) * HEAD_MULTIPLE
    query = _pad(torch.cat([features, ones, -half_norm], dim=-1), width)
    key = F.pad(_pad(torch.cat([features, -half_norm, ones], dim=-1), width), (0, 0, 0, 1))
    share = F.pad(torch.zeros_like(half_norm), (0, 0, 0, 1), value=1.0)
    value = _pad(torch.cat([F.pad(values, (0, 0, 0, 1)), share], dim=-1), width)

    blocks = torch.split(query, _rows_at_once(query, count + 1), dim=1)
    sums = [
        F.scaled_dot_product_attention(
            block.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1), scale=1.0
        ).squeeze(1)
        for block in blocks
    ]
    attended = torch.cat(sums, dim=1)
    return attended[..., :channels] / attended[..., channels : channels + 1]


def _pad(rows: Tensor, width: int) -> Tensor:
    """Fill rows with zeros up to a width."""
    return F.pad(rows, (0, width - rows.shape[-1]))


def _rows_at_once(query: Tensor, keys: int) -> int:
    """Query rows per attention call: all where torch fuses it, else as many as memory allows."""
    device = query.device.type
    if device == "cpu" or (device == "cuda" and query.dtype == torch.float32):
        return query.shape[1]
    return max(1, MAX_SCORES // (query.shape[0] * keys))


def _features(images: Tensor, sigma_xy: float, sigma_rgb: float) -> Tensor:
    """Place and colour of every pixel in units of their widths, ``(B, N, 2 + c)``, centred."""
    batch, _, height, width = images.shape
    rows, columns = (
        torch.arange(size, device=images.device, dtype=images.dtype) for size in (height, width)
    )
    place = torch.stack(torch.meshgrid(rows, columns, indexing="ij")) / sigma_xy
    features = torch.cat([place.expand(batch, -1, -1, -1), images / sigma_rgb], dim=1)
    features = features.flatten(2).transpose(1, 2)
    # Distances do not change, but shorter vectors leave less rounding in their products.
    return features - features.mean(dim=1, keepdim=True)


def _check_rounding(features: Tensor) -> None:
    """Raise ``ValueError`` where exponents would be noise, or NaN; not under ``torch.compile``."""
    if torch.compiler.is_compiling():
        return
    largest = features.square().sum(dim=-1).max().item() / 2
    rounding = largest * torch.finfo(features.dtype).eps
    if not rounding <= MAX_ROUNDING:
        raise ValueError(
            "images: expected finite colours and kernel widths that suit their type; got "
            f"exponents off by up to {rounding:.1g} in {features.dtype} (at most {MAX_ROUNDING}): "
            "give wider sigma_xy and sigma_rgb, or float64 values"
        )


def _filter_space(values: Tensor, sigma_xy: float) -> Tensor:
    """Purely spatial kernel: one exact matrix per axis."""
    vertical, horizontal = (
        _gaussian_matrix(size, sigma_xy, values) for size in (values.shape[2], values.shape[3])
    )
    return vertical @ values @ horizontal


def _gaussian_matrix(size: int, sigma: float, like: Tensor) -> Tensor:
    """Gaussian weights between the positions of one axis, ``(size, size)``."""
    place = torch.arange(size, device=like.device, dtype=like.dtype) / sigma
    return torch.exp(-(place[:, None] - place[None, :]).square() / 2)
