"""Exact Gaussian bilateral filter, computed as attention: linear memory, no compiled extension."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_between, check_floating, check_same_device, check_shape
from fsr._core.numerics import at_least_float32, no_autocast
from fsr._core.values import may_look
from fsr.errors import ShapeError
from fsr.filters._gaussian_sum import GaussianSum

# Rows of a block of a purely spatial filter.
BLOCK = 64
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
    of the pixel count, memory linearly; without an image the kernel separates and costs little, and
    of wide images weights below the type's rounding, ``finfo.eps``, count as 0.

    Args:
        values: maps v to filter, ``(B, K, H, W)``, any unit; differentiable, any number of times.
        images: colours I in the unit of ``sigma_rgb``, ``(B, c, H, W)``, usually RGB in 0..255;
            constants. None for a purely spatial kernel.
        sigma_xy: spatial width in pixels, above 0.
        sigma_rgb: colour width in the images' unit, above 0; given exactly when images are.

    Returns:
        Filtered maps, ``(B, K, H, W)``, in the values' type, float32 for half precision. In
        float32 the relative error is about 1e-6 for widths of 10 and more in 0..255 and grows with
        ``1 / sigma_rgb**2``; give float64 values for narrower kernels. On CUDA devices the
        exponents are put together so that tensor cores keep it near 1e-6 for these too; the Triton
        kernel, on with ``FSR_TRITON=1``, is as exact as a CPU.

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
    check_same_device(values=values, images=images)
    check_between("sigma_rgb", sigma_rgb, 0.0, math.inf, inclusive=False)

    with no_autocast(values):
        rows = rearrange(at_least_float32(values), "b k h w -> b (h w) k")
        features = pixel_features(
            images.detach().to(rows.dtype), sigma_xy=sigma_xy, sigma_rgb=sigma_rgb
        )
        _check_rounding(features)
        filtered: Tensor = GaussianSum.apply(rows, features)
        return rearrange(filtered, "b (h w) k -> b k h w", h=height)


def pixel_features(images: Tensor, *, sigma_xy: float, sigma_rgb: float) -> Tensor:
    """Place and colour of every pixel in units of a bilateral kernel's widths.

    Such points are what :class:`fsr.filters.PermutohedralLattice` filters between.

    Args:
        images: colours in the unit of ``sigma_rgb``, ``(B, c, H, W)``.
        sigma_xy: spatial width in pixels, above 0.
        sigma_rgb: colour width in the images' unit, above 0.

    Returns:
        ``(B, H * W, 2 + c)``, row, column and colours, each image's less their mean: distances do
        not change, but shorter vectors leave less rounding in their products.

    Raises:
        ShapeError: ``images`` has another shape.
        TypeError: they are not floating point.
        ValueError: a width is not above 0.

    Example:
        >>> grey = torch.tensor([10.0, 30.0]).view(1, 1, 1, 2)
        >>> pixel_features(grey, sigma_xy=1.0, sigma_rgb=10.0)
        tensor([[[ 0.0000, -0.5000, -1.0000],
                 [ 0.0000,  0.5000,  1.0000]]])
    """
    batch, _, height, width = check_shape("images", images, "B c H W")
    check_floating("images", images)
    for name, sigma in (("sigma_xy", sigma_xy), ("sigma_rgb", sigma_rgb)):
        check_between(name, sigma, 0.0, math.inf, inclusive=False)
    rows, columns = (
        torch.arange(size, device=images.device, dtype=images.dtype) for size in (height, width)
    )
    place = torch.stack(torch.meshgrid(rows, columns, indexing="ij")) / sigma_xy
    features = torch.cat([place.expand(batch, -1, -1, -1), images / sigma_rgb], dim=1)
    features = rearrange(features, "b f h w -> b (h w) f")
    return features - features.mean(dim=1, keepdim=True)


def _check_rounding(features: Tensor) -> None:
    """Raise ``ValueError`` where exponents would be noise, or NaN; not under ``torch.compile``."""
    if not may_look(features):
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
    """Purely spatial kernel: one exact matrix per axis, of wide images in blocks of its band."""
    return _filter_columns(_filter_columns(values, sigma_xy).mT, sigma_xy).mT


def _filter_columns(values: Tensor, sigma: float) -> Tensor:
    """Filter each column of the maps ``(B, K, H, W)``."""
    size = values.shape[2]
    # Weights beyond are lost in the rounding of a sum that holds the weight 1.
    widths = math.sqrt(-2 * math.log(torch.finfo(values.dtype).eps))
    reach = math.ceil(min(sigma * widths, size))
    window = BLOCK + 2 * reach
    if size < 2 * window:
        return _gaussian_matrix(size, size, 0, sigma, values) @ values
    blocks = math.ceil(size / BLOCK)
    padded = F.pad(values, (0, 0, reach, reach + blocks * BLOCK - size))
    windows = padded.unfold(2, window, BLOCK).mT
    rows = _gaussian_matrix(BLOCK, window, reach, sigma, values) @ windows
    return rearrange(rows, "b k blocks rows w -> b k (blocks rows) w")[:, :, :size]


def _gaussian_matrix(rows: int, columns: int, offset: int, sigma: float, like: Tensor) -> Tensor:
    """Gaussian weights between positions of one axis: row i is at the place ``i + offset``."""
    place = torch.arange(columns, device=like.device, dtype=like.dtype)
    own = torch.arange(offset, offset + rows, device=like.device, dtype=like.dtype)
    # Distances between integers are exact; of quotients they would not be.
    return torch.exp(-((own[:, None] - place[None, :]) / sigma).square() / 2)
