"""Labels made from class activation maps, with the image-level labels at hand."""

from __future__ import annotations

from torch import Tensor

from fsr._core.boxes import check_box, outside_box
from fsr._core.checks import (
    check_between,
    check_floating,
    check_multi_hot,
    check_same_device,
    check_shape,
    check_unit_interval,
)
from fsr._core.labels import BACKGROUND, chosen_ignore
from fsr._core.numerics import at_least_float32


def keep_present(cam: Tensor, labels: Tensor) -> Tensor:
    """Set the maps of classes that an image does not show to 0.

    Args:
        cam: ``(B, C, H, W)``, at least 0.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.

    Returns:
        ``(B, C, H, W)``.

    Raises:
        ShapeError: ``cam`` or ``labels`` has the wrong shape.

    Source:
        Eq. 2 and 3 with image-level labels: only classes known to be there can explain a patch.

    Example:
        >>> import torch
        >>> keep_present(torch.ones(1, 2, 1, 1), torch.tensor([[0.0, 1.0]])).flatten()
        tensor([0., 1.])
    """
    batch, classes, _, _ = check_shape("cam", cam, "B C H W")
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_multi_hot("labels", labels)
    check_same_device(cam=cam, labels=labels)
    if cam.is_floating_point():
        check_floating("cam", cam)
    return cam.masked_fill((labels <= 0)[:, :, None, None], 0.0)


def cam_to_labels(
    cam: Tensor,
    labels: Tensor,
    *,
    low: float | None = None,
    high: float | None = None,
    threshold: float | None = None,
    ignore_index: int | None = None,
    box: Tensor | None = None,
) -> Tensor:
    """Label map of a normalised CAM: the strongest present class, unless its score is too low.

    With ``low`` and ``high``, scores up to ``low`` are background and those above it, up to
    ``high``, are ignored; with ``threshold``, scores up to it are background. Give one of the two.

    Args:
        cam: normalised CAM (Eq. 2), ``(B, C, H, W)``, 0 to 1.
        labels: multi-hot image-level labels, ``(B, C)``.
        low: scores of at most this are background; 0 to 1, below ``high``.
        high: scores above this take their class; 0 to 1.
        threshold: the one border between background and classes; 0 to 1.
        ignore_index: label of the scores in between; None is that of
            :func:`fsr.cam.ignore_label`: 255 of at most 254 classes.
        box: the real pixels of padded crops, ``(B, 4)`` integers top, bottom, left, right,
            half-open, as :class:`fsr.data.RandomRescaleCrop` gives them (the ``box`` of
            :class:`fsr.data.View` is another: top, left, height, width). What lies outside is
            unknown, ``ignore_index``. None for images without padding.

    Returns:
        Label map ``(B, H, W)``, int64: 0 background, c + 1 class c, ``ignore_index`` unknown.

    Raises:
        ShapeError: ``cam``, ``labels`` or ``box`` has the wrong shape.
        TypeError: ``cam`` is not floating point, a threshold no number, or ``box`` not of integers.
        ValueError: the thresholds given are not exactly one of the two forms, are out of order or
            outside 0 to 1, ``cam`` holds NaN or values outside 0 to 1, or a box is empty or leaves
            its image.

    Source:
        The two background thresholds of section "Uncertain Patch Token Selection"; Ru et al.,
        CVPR 2022 and 2023 (rulixiang/ToCo@e13514d, with the box).

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[[0.1, 0.5, 0.9]]]])
        >>> cam_to_labels(cam, torch.ones(1, 1), low=0.2, high=0.7)
        tensor([[[  0, 255,   1]]])
        >>> cam_to_labels(cam, torch.ones(1, 1), threshold=0.4)
        tensor([[[0, 1, 1]]])
        >>> box = torch.tensor([[0, 1, 0, 2]])
        >>> cam_to_labels(cam, torch.ones(1, 1), threshold=0.4, box=box)
        tensor([[[  0,   1, 255]]])
    """
    below, upto = _thresholds(low, high, threshold)
    batch, _, height, width = check_shape("cam", cam, "B C H W")
    check_floating("cam", cam, finite=False)
    check_shape("labels", labels, "B C", B=batch, C=cam.shape[1])
    check_same_device(cam=cam, labels=labels)
    check_unit_interval(cam=cam, labels=labels)
    ignore_index = chosen_ignore(ignore_index, cam.shape[1])
    if box is not None:
        check_box(box, batch, height, width)
        if box.is_meta:
            check_same_device(cam=cam, box=box)
    score, best = strongest_class(cam, labels)
    best = best.masked_fill(score <= upto, ignore_index).masked_fill(score <= below, BACKGROUND)
    if box is None:
        return best
    return best.masked_fill(outside_box(box.to(best.device), height, width), ignore_index)


def strongest_class(cam: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Class with the highest score of each pixel, of those that the image shows.

    Args:
        cam: ``(B, C, H, W)``.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.

    Returns:
        The score, in float32 at least, and the label c + 1, int64, each ``(B, H, W)``.

    Raises:
        ShapeError: ``cam`` or ``labels`` has the wrong shape.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[[0.1, 0.5]], [[0.9, 0.2]]]])
        >>> strongest_class(cam, torch.tensor([[1.0, 0.0]]))
        (tensor([[[0.1000, 0.5000]]]), tensor([[[1, 1]]]))
    """
    score, best = keep_present(cam, labels).max(dim=1)
    # Half-precision thresholds would be other numbers: 0.7 is 0.69922 in bfloat16.
    return at_least_float32(score), best + 1


def _thresholds(
    low: float | None, high: float | None, threshold: float | None
) -> tuple[float, float]:
    """Return the borders (background up to, ignored up to) of one of the two forms."""
    if threshold is not None and low is None and high is None:
        check_between("threshold", threshold, 0, 1)
        return threshold, threshold
    if threshold is None and low is not None and high is not None:
        check_between("low", low, 0, 1)
        check_between("high", high, 0, 1)
        if low >= high:
            raise ValueError(f"low: expected a number below high={high}, got {low}")
        return low, high
    raise ValueError(
        "expected either threshold= or both low= and high=, "
        f"got low={low}, high={high}, threshold={threshold}"
    )
