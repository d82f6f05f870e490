"""Dense energy: near pixels of like colour should be given the same class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fsr._core.checks import (
    check_between,
    check_bool,
    check_finite,
    check_floating,
    check_integer,
    check_same_device,
    check_shape,
    check_some,
)
from fsr._core.labels import BYTE_CLASSES, ignore_label
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32, attached_zero
from fsr.errors import ShapeError
from fsr.filters import bilateral_filter


def uncertainty_gate(probabilities: Tensor, unlabelled: Tensor) -> Tensor:
    r"""Weight of each pixel's own energy: :math:`G = 1 - \max_k S_k`, and 1 without a label.

    Args:
        probabilities: S, ``(B, C+1, H, W)``.
        unlabelled: True where the pseudo label is unknown, ``(B, H, W)`` boolean.

    Returns:
        Gate in [0, 1], ``(B, 1, H, W)``, without gradient.

    Source:
        Zhang et al., "Reliability Does Matter", AAAI 2020.

    Example:
        >>> import torch
        >>> probabilities = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1)
        >>> uncertainty_gate(probabilities, torch.zeros(1, 1, 1, dtype=torch.bool)).item()
        0.25
    """
    batch, _, height, width = check_shape("probabilities", probabilities, "B C+1 H W")
    check_shape("unlabelled", unlabelled, "B H W", B=batch, H=height, W=width)
    check_same_device(probabilities=probabilities, unlabelled=unlabelled)
    check_floating("probabilities", probabilities)
    check_bool("unlabelled", unlabelled)
    gate = (1 - probabilities.detach().amax(dim=1, keepdim=True)).clamp(min=0)
    return gate.masked_fill(unlabelled.unsqueeze(1), 1.0)


def gated_dense_energy(
    images: Tensor, probabilities: Tensor, gate: Tensor, sigma_rgb: float, sigma_xy: float
) -> Tensor:
    r"""Energy :math:`E = -\frac1B \sum_k S_k^\top G K S_k` with the bilateral kernel K.

    The gradient is the true one, :math:`-\frac1B (G K S + K G S)`; value and gradient come from one
    walk over the pairs of pixels.

    Args:
        images: colours, ``(B, 3, H, W)`` in the unit of ``sigma_rgb``; constants.
        probabilities: S, ``(B, C+1, H, W)``.
        gate: G, ``(B, 1, H, W)``.
        sigma_rgb: colour width of K, above 0.
        sigma_xy: spatial width of K in pixels, above 0.

    Returns:
        Scalar of at most 0; the more alike pixels agree, the lower.

    Source:
        Tang et al., "On Regularized Losses for Weakly-supervised CNN Segmentation", ECCV 2018, as
        gated by Zhang et al., AAAI 2020. Not part of the paper's Eq. 10; the authors' code adds it.

    Example:
        >>> import torch
        >>> one = torch.ones(1, 1, 1, 1)
        >>> gated_dense_energy(torch.zeros(1, 3, 1, 1), one, one, 15.0, 100.0)
        tensor(-1.)
    """
    batch, _, height, width = check_shape("probabilities", probabilities, "B C+1 H W")
    check_shape("images", images, "B 3 H W", B=batch, H=height, W=width)
    check_shape("gate", gate, "B 1 H W", B=batch, H=height, W=width, **{"1": 1})
    check_same_device(probabilities=probabilities, images=images, gate=gate)
    check_some("probabilities", probabilities)
    for name, value in (("images", images), ("probabilities", probabilities), ("gate", gate)):
        check_floating(name, value)
    energy: Tensor = _GatedEnergy.apply(
        at_least_float32(probabilities), at_least_float32(gate), images, sigma_rgb, sigma_xy
    )
    return energy


class _GatedEnergy(torch.autograd.Function):
    """The energy, with its gradient from the same walk over all pairs of pixels.

    Both need the kernel's weights, which are the cost: maps and gated maps are filtered together.
    """

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, gate: Tensor, images: Tensor, sigma_rgb: float, sigma_xy: float
    ) -> Tensor:
        """Return the energy and keep its gradient."""
        agreements, gradients = [], []
        # Of many classes the filtered maps of one image are held at a time.
        at_once = scores.shape[0] if scores.shape[1] <= BYTE_CLASSES + 1 else 1
        for part in zip(*(t.split(at_once) for t in (scores, gate, images)), strict=True):
            maps, weight, colours = part
            given = torch.cat([maps, weight * maps], dim=1) if ctx.needs_input_grad[0] else maps
            smooth = bilateral_filter(given, colours, sigma_xy=sigma_xy, sigma_rgb=sigma_rgb)
            smooth, gated = smooth[:, : maps.shape[1]], smooth[:, maps.shape[1] :]
            agreements.append((maps * smooth).sum(dim=1, keepdim=True))
            if ctx.needs_input_grad[0]:
                gradients.append(weight * smooth + gated)
        agreement = torch.cat(agreements)
        ctx.widths = {"sigma_rgb": sigma_rgb, "sigma_xy": sigma_xy}
        ctx.save_for_backward(
            scores, gate, images, agreement, torch.cat(gradients) if gradients else agreement
        )
        return -(gate * agreement).sum() / scores.shape[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Return what was kept, times the loss's own gradient."""
        scores, gate, images, agreement, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to have one itself: form it again
            smooth = bilateral_filter(scores, images, **ctx.widths)
            gradient = gate * smooth + bilateral_filter(gate * scores, images, **ctx.widths)
            agreement = (scores * smooth).sum(dim=1, keepdim=True)
        scale = -grad / scores.shape[0]
        return scale * gradient, scale * agreement, None, None, None


def _probabilities(scores: Tensor, size: Sequence[int], small: Sequence[int]) -> Tensor:
    """Return the probabilities of scores at the labels' size, sampled down.

    Of many classes the maps of one image are held at a time, and made again for the gradient.
    """
    if scores.shape[1] <= BYTE_CLASSES + 1:
        return _sampled(scores, size, small)
    made = [
        checkpoint(_sampled, one, size, small, use_reentrant=False, preserve_rng_state=False)
        for one in scores.split(1)
    ]
    return torch.cat(made)


def _sampled(scores: Tensor, size: Sequence[int], small: Sequence[int]) -> Tensor:
    """Return probabilities at a size, sampled down to a smaller one."""
    if list(scores.shape[2:]) != list(size):
        scores = F.interpolate(scores, size=list(size), mode="bilinear", align_corners=False)
    return F.interpolate(
        scores.softmax(dim=1), size=list(small), mode="bilinear", align_corners=False
    )


class DenseEnergyLoss(TypedModule):
    r"""Gated dense energy of a segmentation, at reduced size, from logits and pseudo labels.

    The logits are interpolated bilinearly to the labels' size and turned into probabilities. Then,
    all by ``scale``, images and labels are sampled nearest and probabilities bilinearly, and
    ``sigma_xy`` shrinks with them.

    The exact kernel costs the square of the pixel count: 0.3 s an image of 112 x 112 and 5 s of
    224 x 224 on two CPU cores, which asks for a smaller ``scale`` there.

    Args:
        weight: factor on the energy, at least 0; 0 skips the work.
        sigma_rgb: colour width in the 0..255 of the images, above 0.
        sigma_xy: spatial width in pixels of the full-size image, above 0.
        scale: side length at which the energy is computed, as a fraction in (0, 1].

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Source:
        Tang et al., ECCV 2018; Zhang et al., AAAI 2020; constants of the authors' code.

    Example:
        >>> import torch
        >>> loss = DenseEnergyLoss(weight=1.0, scale=1.0)
        >>> images, logits = torch.zeros(1, 3, 1, 1), torch.zeros(1, 2, 1, 1)
        >>> loss(images, logits, torch.zeros(1, 1, 1, dtype=torch.long))
        tensor(-0.2500)
    """

    def __init__(
        self,
        weight: float = 1e-7,
        sigma_rgb: float = 15,
        sigma_xy: float = 100,
        scale: float = 0.5,
    ) -> None:
        super().__init__()
        check_between("weight", weight, 0.0, math.inf)
        check_between("sigma_rgb", sigma_rgb, 0.0, math.inf, inclusive=False)
        check_between("sigma_xy", sigma_xy, 0.0, math.inf, inclusive=False)
        check_between("scale", scale, 0.0, 1.0)
        if scale == 0:
            raise ValueError("scale: expected a number in (0, 1], got 0")
        self.weight = weight
        self.sigma_rgb = sigma_rgb
        self.sigma_xy = sigma_xy
        self.scale = scale

    def forward(
        self, images_rgb: Tensor, logits: Tensor, labels: Tensor, inside: Tensor | None = None
    ) -> Tensor:
        """Return the weighted energy.

        Args:
            images_rgb: RGB images in 0..255 (not normalised), ``(B, 3, H, W)``.
            logits: decoder scores, ``(B, C+1, h, w)``, of any size.
            labels: pseudo labels, ``(B, H, W)`` integers; 255 where there is none, of more than 254
                classes :func:`fsr.cam.ignore_label`.
            inside: which pixels take part, ``(B, H, W)`` boolean, such as those that are no
                padding; all if None.

        Returns:
            Scalar of at most 0, in float32 for half-precision logits.

        Raises:
            ShapeError: a shape is wrong or does not fit the others, or nothing is left at
                ``scale``.
            TypeError: images or logits are not floating point, labels not integer, or ``inside``
                not boolean.
            ValueError: images are not finite (not tested under ``torch.compile``).
        """
        batch, _, *logit_size = check_shape("logits", logits, "B C+1 h w")
        _, *size = check_shape("labels", labels, "B H W", B=batch)
        check_shape("images_rgb", images_rgb, "B 3 H W", B=batch, H=size[0], W=size[1], **{"3": 3})
        check_same_device(images_rgb=images_rgb, logits=logits, labels=labels, inside=inside)
        check_floating("images_rgb", images_rgb)
        check_floating("logits", logits)
        check_integer("labels", labels)
        if inside is not None:
            check_shape("inside", inside, "B H W", B=batch, H=size[0], W=size[1])
            check_bool("inside", inside)
        check_finite("images_rgb", images_rgb)
        small = [math.floor(length * self.scale) for length in size]
        if min(*small, *logit_size, *logits.shape[:2]) < 1:
            raise ShapeError(
                f"logits, labels: expected at least one pixel at scale {self.scale}, got "
                f"{tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        if self.weight == 0:
            return attached_zero(logits)

        # The kernel's exponents and sums over thousands of pixels do not survive half precision.
        scores = at_least_float32(logits)
        probabilities = _probabilities(scores, size, small)
        images = F.interpolate(images_rgb.detach().to(scores.dtype), size=small, mode="nearest")
        unlabelled = (
            (labels == ignore_label(max(1, logits.shape[1] - 1))).unsqueeze(1).to(scores.dtype)
        )
        unlabelled = F.interpolate(unlabelled, size=small, mode="nearest").squeeze(1) > 0
        gate = uncertainty_gate(probabilities, unlabelled)
        if inside is not None:
            part = F.interpolate(inside.unsqueeze(1).to(scores.dtype), size=small, mode="nearest")
            probabilities = probabilities * part
        energy = gated_dense_energy(
            images, probabilities, gate, self.sigma_rgb, self.sigma_xy * self.scale
        )
        return self.weight * energy

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return (
            f"weight={self.weight}, sigma_rgb={self.sigma_rgb}, sigma_xy={self.sigma_xy}, "
            f"scale={self.scale}"
        )
