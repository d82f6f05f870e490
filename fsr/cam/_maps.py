"""Class activation maps (CAMs): scores, normalisation and multi-scale sums (Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_positive, check_tensors
from fsr._core.checks import (
    check_finite,
    check_floating,
    check_grid,
    check_same_device,
    check_shape,
)
from fsr._core.classifiers import class_weight
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError

EPS = 1e-5
# Which tokens a segmenter's CAM is made from.
Layer = Literal["final", "auxiliary"]
LAYERS: tuple[Layer, ...] = get_args(Layer)


def class_activation_maps(tokens: Tensor, weight: Tensor, grid: tuple[int, int]) -> Tensor:
    r"""CAM scores of Eq. 2 before min-max: :math:`\mathrm{ReLU}(Z W^\top)`, as maps.

    Args:
        tokens: patch tokens Z in row-major order, ``(B, N, D)``, any real scale.
        weight: classifier W, ``(C, D)``, or ``(C, D, 1, 1)`` of a 1x1 convolution.
        grid: patch grid ``(H, W)`` with ``H * W = N``.

    Returns:
        Scores of at least 0, ``(B, C, H, W)``, in the common type of tokens and weight.

    Raises:
        ShapeError: a shape is wrong, or the grid does not hold N patches.
        TypeError: ``tokens`` or ``weight`` is not floating point, or ``grid`` is no pair.

    Source:
        Section "Uncertain Patch Token Selection", Eq. 2.

    Example:
        >>> tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> class_activation_maps(tokens, torch.tensor([[2.0, -1.0]]), grid=(1, 2))
        tensor([[[[2., 0.]]]])
    """
    _, count, width = check_shape("tokens", tokens, "B N D")
    height, columns = check_grid("grid", grid)
    if height * columns != count:
        raise ShapeError(f"grid: expected H * W = {count} patches, got {(height, columns)}")
    weight = class_weight("weight", weight, width)
    check_same_device(tokens=tokens, weight=weight)
    check_floating("tokens", tokens)

    dtype = torch.promote_types(tokens.dtype, weight.dtype)
    # Scores are compared with thresholds later: half-precision products would move the borders.
    with no_autocast(tokens):
        exact = at_least_float32(torch.empty(0, dtype=dtype)).dtype
        scores = F.relu(F.linear(tokens.to(exact), weight.to(exact)))
    # Not by einops, whose first releases take no sizes that torch.export leaves open.
    maps: Tensor = scores.transpose(1, 2).unflatten(2, (height, columns))
    return maps.to(dtype)


def normalize_cam(cam: Tensor, eps: float = EPS) -> Tensor:
    r"""Normalised CAM :math:`M_c` of Eq. 2: ReLU, then min-max over space for every class.

    Args:
        cam: raw scores, ``(B, C, H, W)``, any real scale.
        eps: added to the maximum, so that a constant map becomes 0 instead of 0/0.

    Returns:
        Map between 0 and 1, ``(B, C, H, W)``, of the input's type.

    Raises:
        ShapeError: ``cam`` has the wrong shape.
        TypeError: ``cam`` is not floating point.
        ValueError: ``cam`` holds NaN or infinity.

    Source:
        Section "Uncertain Patch Token Selection", Eq. 2.

    Example:
        >>> normalize_cam(torch.tensor([[[[-1.0, 1.0, 3.0]]]])).round(decimals=3)
        tensor([[[[0.0000, 0.3330, 1.0000]]]])
    """
    check_positive("eps", eps)
    check_shape("cam", cam, "B C H W")
    check_floating("cam", cam)
    check_finite("cam", cam)
    # A sum of half-precision maximum and eps would lose eps.
    # One name, so that no more than two maps are held at once.
    scaled = F.relu(at_least_float32(cam))
    scaled = scaled - scaled.amin(dim=(2, 3), keepdim=True)
    scaled = scaled / (scaled.amax(dim=(2, 3), keepdim=True) + eps)
    return scaled.to(cam.dtype)


def merge_flip(cam: Tensor, cam_of_flipped: Tensor) -> Tensor:
    """Merge the CAM of an image with that of its mirror image: the maximum, flipped back.

    Args:
        cam: ``(B, C, H, W)``.
        cam_of_flipped: CAM of the horizontally flipped images, ``(B, C, H, W)``, still flipped.

    Returns:
        ``(B, C, H, W)``.

    Raises:
        ShapeError: the shapes are wrong or differ.

    Source:
        Multi-scale CAMs with flips, as in Ru et al., CVPR 2023, and the released code.

    Example:
        >>> merge_flip(torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[3.0, 0.5]]]]))
        tensor([[[[1., 3.]]]])
    """
    batch, classes, height, width = check_shape("cam", cam, "B C H W")
    check_shape("cam_of_flipped", cam_of_flipped, "B C H W", B=batch, C=classes, H=height, W=width)
    check_same_device(cam=cam, cam_of_flipped=cam_of_flipped)
    check_floating("cam", cam)
    check_floating("cam_of_flipped", cam_of_flipped)
    return torch.maximum(cam, cam_of_flipped.flip(-1))


def resize_cam(cam: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a CAM bilinearly (pixel centres aligned, no antialiasing).

    Args:
        cam: ``(B, C, H, W)``.
        size: ``(height, width)`` in pixels.

    Returns:
        ``(B, C, height, width)``, of the input's type.

    Raises:
        ShapeError: ``cam`` has the wrong shape.
        TypeError: ``cam`` is not floating point, or ``size`` is no pair of integers.
        ValueError: ``size`` is not positive.

    Source:
        Multi-scale CAMs, as in Ru et al., CVPR 2023, and the released code.

    Example:
        >>> resize_cam(torch.tensor([[[[0.0, 1.0]]]]), (1, 4))
        tensor([[[[0.0000, 0.2500, 0.7500, 1.0000]]]])
    """
    check_shape("cam", cam, "B C H W")
    check_floating("cam", cam)
    size = check_grid("size", size)
    # Not every device interpolates half precision, and rounding twice would shift thresholds.
    resized = F.interpolate(at_least_float32(cam), size=size, mode="bilinear", align_corners=False)
    return resized.to(cam.dtype)


def sum_scales(cams: Sequence[Tensor], eps: float = EPS) -> Tensor:
    r"""Multi-scale CAM: positive parts of all scales summed, then normalised as in Eq. 2.

    Args:
        cams: raw CAMs of every scale, resized to one common size, each ``(B, C, H, W)``.
        eps: see :func:`normalize_cam`.

    Returns:
        Map between 0 and 1, ``(B, C, H, W)``, of the inputs' type.

    Raises:
        ShapeError: the shapes are wrong or differ.
        TypeError: a CAM is not floating point.
        ValueError: no CAM is given, or one holds NaN or infinity.

    Source:
        Multi-scale CAMs, as in Ru et al., CVPR 2023, and the released code.

    Example:
        >>> one, two = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[-9.0, 3.0]]]])
        >>> sum_scales([one, two]).round(decimals=3)
        tensor([[[[0., 1.]]]])
    """
    check_positive("eps", eps)
    check_tensors("cams", cams)
    batch, classes, height, width = check_shape("cams[0]", cams[0], "B C H W")
    for index, cam in enumerate(cams):
        check_shape(f"cams[{index}]", cam, "B C H W", B=batch, C=classes, H=height, W=width)
        check_floating(f"cams[{index}]", cam)
    total = F.relu(at_least_float32(cams[0]))
    for cam in cams[1:]:  # stacked, they would be held twice
        total = total + F.relu(at_least_float32(cam))
    return normalize_cam(total, eps).to(cams[0].dtype)
