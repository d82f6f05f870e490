"""Maps of an image, of its mirror image and of several sizes, added up."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_positive, check_tensors
from fsr._core.checks import check_floating, check_same_device, check_shape
from fsr._core.numerics import at_least_float32
from fsr.cam._maps import EPS, resize_cam


def sum_flip(cam: Tensor, cam_of_flipped: Tensor) -> Tensor:
    r"""Merge the CAM of an image with that of its mirror image: the sum of the positive parts.

    :func:`merge_flip` takes the maximum, as ToCo and FSR do; ReCAM, SEAM and MCTformer+ add.

    Args:
        cam: raw scores, ``(B, C, H, W)``.
        cam_of_flipped: raw scores of the horizontally flipped images, ``(B, C, H, W)``, still
            flipped.

    Returns:
        ``(B, C, H, W)`` of at least 0, in at least float32.

    Raises:
        ShapeError: the shapes are wrong or differ.
        TypeError: a CAM is not floating point.

    Source:
        Chen et al., "Class Re-Activation Maps for Weakly-Supervised Semantic Segmentation", CVPR
        2022; zhaozhengChen/ReCAM@2bdbcd2.

    Example:
        >>> import torch
        >>> sum_flip(torch.tensor([[[[1.0, -1.0]]]]), torch.tensor([[[[3.0, 0.5]]]]))
        tensor([[[[1.5000, 3.0000]]]])
    """
    batch, classes, height, width = check_shape("cam", cam, "B C H W")
    check_shape("cam_of_flipped", cam_of_flipped, "B C H W", B=batch, C=classes, H=height, W=width)
    check_same_device(cam=cam, cam_of_flipped=cam_of_flipped)
    check_floating("cam", cam)
    check_floating("cam_of_flipped", cam_of_flipped)
    return F.relu(at_least_float32(cam)) + F.relu(at_least_float32(cam_of_flipped)).flip(-1)


def sum_sizes(cams: Sequence[Tensor], size: tuple[int, int], eps: float = EPS) -> Tensor:
    r"""Maps of several sizes, resized, added, and divided by the maximum of each class.

    .. math:: M_{ci} = \frac{S_{ci}}{\max_j S_{cj} + \epsilon}, \qquad
              S = \sum_s \mathrm{resize}(M^{(s)})

    Unlike :func:`sum_scales` this subtracts no minimum: a class that is everywhere stays so.

    Args:
        cams: maps of at least 0, ``(B, C, h, w)`` each, of any sizes.
        size: ``(height, width)`` of the result.
        eps: added to the maximum, so that a map of zeros stays 0.

    Returns:
        ``(B, C, height, width)``, 0 to 1, in at least float32. Absent classes are in it too:
        :func:`keep_present` takes them out.

    Raises:
        ShapeError: a shape is wrong, or batch or classes differ.
        TypeError: a CAM is not floating point, or ``size`` is no pair of integers.
        ValueError: no CAM is given, or ``size`` is not positive.

    Source:
        Chen et al., "Class Re-Activation Maps for Weakly-Supervised Semantic Segmentation", CVPR
        2022; zhaozhengChen/ReCAM@2bdbcd2.

    Example:
        >>> import torch
        >>> small, large = torch.tensor([[[[1.0]]]]), torch.tensor([[[[1.0, 3.0]]]])
        >>> sum_sizes([small, large], size=(1, 2)).round(decimals=3)
        tensor([[[[0.5000, 1.0000]]]])
    """
    check_tensors("cams", cams)
    check_positive("eps", eps)
    batch, classes, _, _ = check_shape("cams[0]", cams[0], "B C h w")
    for index, cam in enumerate(cams):
        check_shape(f"cams[{index}]", cam, "B C h w", B=batch, C=classes)
        check_floating(f"cams[{index}]", cam)
    total = resize_cam(at_least_float32(cams[0]), size)
    for cam in cams[1:]:
        total = total + resize_cam(at_least_float32(cam), size)
    return total / (total.amax(dim=(2, 3), keepdim=True) + eps)
