"""Mean field of a fully connected CRF, with exact or approximate filters, no compiled extension."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from einops import rearrange
from torch import Tensor

from fsr._core.arguments import check_number, check_positive
from fsr._core.checks import (
    check_between,
    check_floating,
    check_integer,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.cam import ignore_label
from fsr.filters import PermutohedralLattice, bilateral_filter, pixel_features

Filter = Callable[[Tensor], Tensor]

# Probabilities below this count as this, so that no label is ever impossible.
CLIP = 1e-5
# Images of at most this many pixels are filtered in float64: it costs next to nothing there, and
# the rounding of narrow kernels would grow with their weight from update to update.
SMALL = 4096


def mean_field(
    probabilities: Tensor,
    image: Tensor,
    *,
    iterations: int = 10,
    gaussian_sxy: float = 1.0,
    gaussian_weight: float = 1.0,
    bilateral_sxy: float = 121.0,
    bilateral_srgb: float = 5.0,
    bilateral_weight: float = 4.0,
    approximate: bool = False,
) -> Tensor:
    r"""Marginals of a fully connected CRF with Potts compatibility, by mean field.

    .. math:: Q^{(0)} = \sigma(-\psi), \qquad
              Q^{(t+1)} = \sigma\Bigl(-\psi + \sum_m w_m \tilde K_m Q^{(t)}\Bigr), \qquad
              \tilde K = D^{-1/2} K D^{-1/2}, \; D = \operatorname{diag}(K 1)

    with the unary energy :math:`\psi = -\log p`, a spatial and a bilateral Gaussian kernel K, and
    the softmax :math:`\sigma` over labels. A pixel hears itself too, as in the authors' code.

    Args:
        probabilities: p, ``(L, height, width)``, 0 to 1; values below 1e-5 count as that.
        image: RGB in 0..255, ``(3, height, width)``, of any type.
        iterations: number of updates.
        gaussian_sxy: width of the spatial kernel in pixels.
        gaussian_weight: its weight.
        bilateral_sxy: spatial width of the bilateral kernel in pixels.
        bilateral_srgb: its colour width, in 0..255.
        bilateral_weight: its weight.
        approximate: filter with the bilateral kernel on a lattice,
            :class:`fsr.filters.PermutohedralLattice`, as the authors do.

    Returns:
        Marginals Q, ``(L, height, width)``, in float32 at least; they sum to 1 over labels. Time
        grows with the square of the pixel count, memory linearly; approximate, both do linearly.

    Raises:
        ShapeError: the shapes are wrong or do not fit each other.
        ValueError: an option is out of range.

    Source:
        Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
        Potentials", NeurIPS 2011, Algorithm 1; there both filters are approximate.

    Example:
        >>> probabilities = torch.tensor([[[0.9, 0.9, 0.4]], [[0.1, 0.1, 0.6]]])
        >>> same = torch.zeros(3, 1, 3)
        >>> mean_field(probabilities, same).argmax(dim=0)
        tensor([[0, 0, 0]])
    """
    _, height, width = check_shape("probabilities", probabilities, "L H W")
    check_shape("image", image, "channels H W", channels=3, H=height, W=width)
    check_same_device(probabilities=probabilities, image=image)
    check_floating("probabilities", probabilities)
    if image.is_floating_point():
        check_floating("image", image)
    for name, spread in (
        ("gaussian_sxy", gaussian_sxy),
        ("bilateral_sxy", bilateral_sxy),
        ("bilateral_srgb", bilateral_srgb),
    ):
        check_positive(name, spread)
    check_positive_int("iterations", iterations)
    for name, weight in (
        ("gaussian_weight", gaussian_weight),
        ("bilateral_weight", bilateral_weight),
    ):
        check_between(name, weight, 0.0, math.inf)
        check_number(name, weight)
    with torch.no_grad(), no_autocast(probabilities):
        given = at_least_float32(probabilities)
        double = height * width <= SMALL and given.device.type != "mps" and not approximate
        working = given.double() if double else given
        log_p = working.clamp(CLIP, 1.0).log()[None]
        colours = image[None].to(log_p)
        kernels: list[_Kernel] = []
        if gaussian_weight > 0:
            near = partial(bilateral_filter, sigma_xy=gaussian_sxy)
            kernels.append(_Kernel(gaussian_weight, near, log_p))
        if bilateral_weight > 0:
            build = _on_lattice if approximate else _exactly
            alike = build(colours, bilateral_sxy, bilateral_srgb)
            kernels.append(_Kernel(bilateral_weight, alike, log_p))
        marginals = log_p.softmax(dim=1)
        for _ in range(iterations):
            energy = log_p.clone()
            for kernel in kernels:
                kernel.tell(marginals, energy)
            marginals = energy.softmax(dim=1)
        return marginals[0].to(given.dtype)


def label_map_probabilities(labels: Tensor, num_classes: int, confidence: float = 0.7) -> Tensor:
    """Probabilities that a label map stands for, as the input of a CRF.

    Args:
        labels: ``(height, width)`` integers: 0 = background, c + 1 = class c, 255 = unknown.
        num_classes: number of foreground classes C.
        confidence: probability of a pixel's label, from ``1 / (C + 1)`` to 1; the others share the
            rest evenly. Unknown pixels get the same for every label.

    Returns:
        ``(C + 1, height, width)`` float32.

    Raises:
        ShapeError: ``labels`` has another shape.
        ValueError: ``confidence`` is out of range, or a label is.

    Example:
        >>> label_map_probabilities(torch.tensor([[1, 255]]), 1, 0.75)
        tensor([[[0.2500, 0.5000]],
        <BLANKLINE>
                [[0.7500, 0.5000]]])
    """
    check_shape("labels", labels, "H W")
    check_integer("labels", labels)
    check_positive_int("num_classes", num_classes)
    check_between("confidence", confidence, 1 / (num_classes + 1), 1.0)
    ignored = ignore_label(num_classes)
    unknown = labels == ignored
    if bool(((labels < 0) | (labels > num_classes) & ~unknown).any()):
        raise ValueError(f"labels: expected 0..{num_classes} or {ignored}, got others")
    channels = torch.arange(num_classes + 1, device=labels.device).view(-1, 1, 1)
    rest = (1 - confidence) / num_classes
    result = torch.where(channels == labels, confidence, rest)
    return result.masked_fill(unknown, 1 / (num_classes + 1)).float()


class _Kernel:
    """One symmetrically normalised kernel: what it says of marginals, times its weight."""

    def __init__(self, weight: float, filter_: Filter, like: Tensor) -> None:
        self.weight = weight
        self.filter = filter_
        self.scale = filter_(torch.ones_like(like[:, :1])).rsqrt()

    def tell(self, marginals: Tensor, energy: Tensor) -> None:
        """Add ``weight * K~ Q`` to energies."""
        energy.addcmul_(self.scale, self.filter(self.scale * marginals), value=self.weight)


def _exactly(colours: Tensor, sigma_xy: float, sigma_rgb: float) -> Filter:
    """Return the exact filter of one image's pixels, ``(1, 3, height, width)``."""
    return partial(bilateral_filter, images=colours, sigma_xy=sigma_xy, sigma_rgb=sigma_rgb)


def _on_lattice(colours: Tensor, sigma_xy: float, sigma_rgb: float) -> Filter:
    """Return the same on a lattice."""
    height, width = colours.shape[2:]
    lattice = PermutohedralLattice(
        pixel_features(colours, sigma_xy=sigma_xy, sigma_rgb=sigma_rgb)[0]
    )

    def filter_(values: Tensor) -> Tensor:
        rows = lattice(rearrange(values, "1 k h w -> (h w) k"))
        return rearrange(rows, "(h w) k -> 1 k h w", h=height, w=width)

    return filter_
