"""Cross entropy of every pixel: what the losses on label maps are means of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_integer, check_shape
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    r"""Cross entropy of every pixel, :math:`-\log \mathrm{softmax}(z)_y`; 0 without a label.

    Args:
        logits: decoder scores, ``(B, C+1, h, w)``, background first; interpolated bilinearly to
            the labels' size.
        labels: ``(B, H, W)`` integers: 0 background, c+1 foreground class c, ``ignore_index`` no
            label.
        ignore_index: label of pixels to leave out; they get 0.

    Returns:
        ``(B, H, W)`` of at least 0, in float32 for half-precision logits.

    Raises:
        ShapeError: ``logits`` or ``labels`` has the wrong shape.
        TypeError: ``logits`` is not floating point or ``labels`` is not integer.
        ValueError: a label is neither a class of ``logits`` nor ``ignore_index`` (not tested under
            ``torch.compile``).

    Source:
        The usual cross entropy.

    Example:
        >>> pixel_cross_entropy(torch.zeros(1, 2, 1, 2), torch.tensor([[[1, 255]]]))
        tensor([[[0.6931, 0.0000]]])
    """
    scores = scores_at_labels(logits, labels, ignore_index)
    return F.cross_entropy(scores, labels.long(), ignore_index=ignore_index, reduction="none")


def scores_at_labels(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """Check logits and labels; return the logits at the labels' size, in at least float32."""
    batch, channels, *size = check_shape("logits", logits, "B C+1 h w")
    _, *label_size = check_shape("labels", labels, "B H W", B=batch)
    check_floating("logits", logits)
    check_integer("labels", labels)
    if min(channels, *size, *label_size) < 1:
        raise ShapeError(
            f"logits, labels: expected at least one channel and pixel, got {tuple(logits.shape)} "
            f"and {tuple(labels.shape)}"
        )
    _check_classes(labels, channels, ignore_index)
    scores = at_least_float32(logits)
    if size != label_size:
        scores = F.interpolate(scores, size=label_size, mode="bilinear", align_corners=False)
    return scores


def _check_classes(labels: Tensor, channels: int, ignore_index: int) -> None:
    """Raise ``ValueError`` that names a label without a channel; not under ``torch.compile``."""
    if torch.compiler.is_compiling():
        return
    outside = ((labels < 0) | (labels >= channels)) & (labels != ignore_index)
    if bool(outside.any()):
        found = labels[outside][0].item()
        raise ValueError(
            f"labels: expected classes 0..{channels - 1} (logits have {channels} channels) or "
            f"{ignore_index}, got {found}"
        )
