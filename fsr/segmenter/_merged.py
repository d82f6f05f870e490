"""CAMs of several scales and of mirror images, merged into one (Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_sequence
from fsr._core.numerics import at_least_float32
from fsr.cam import merge_flip, normalize_cam, resize_cam


def merged_cam(scales: Sequence[tuple[Tensor, Tensor | None]], size: tuple[int, int]) -> Tensor:
    """Sum a CAM over scales, the maximum over flips at each, and normalise it (Eq. 2).

    Args:
        scales: the CAM before min-max at each scale, ``(B, C, h, w)``, and that of the mirror
            image, still mirrored, or None.
        size: size of the result.

    Returns:
        CAM between 0 and 1, ``(B, C, *size)``, in float32 at least.

    Raises:
        TypeError: ``scales`` is no sequence of pairs.
        ValueError: there is no scale.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[[0.0, 1.0]]]])
        >>> merged_cam([(cam, cam), (cam, None)], (1, 2)).round(decimals=3)
        tensor([[[[0., 1.]]]])
    """
    check_sequence("scales", scales, "pairs of CAMs")
    if len(scales) == 0:
        raise ValueError("scales: expected at least one CAM, got none")
    total: Tensor | None = None
    for index, pair in enumerate(scales):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"scales[{index}]: expected a CAM and that of the mirror image or None")
        total = added(total, pair, size)
    return normalize_cam(scales[0][0] if total is None else total)


def added(
    total: Tensor | None, pair: tuple[Tensor, Tensor | None], size: tuple[int, int]
) -> Tensor:
    """Add the CAM of a scale to the sum of those before; no map is held longer than needed."""
    plain, mirrored = pair
    # Up-sampled before flips are merged: the released code's order.
    cam = resize_cam(at_least_float32(plain), size)
    if mirrored is not None:
        cam = merge_flip(cam, resize_cam(at_least_float32(mirrored), size))
    cam = F.relu(cam)
    return cam if total is None else total.add_(cam)
