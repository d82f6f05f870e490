"""Cross entropy of every pixel: what the losses on label maps are means of."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_int
from fsr._core.checks import check_floating, check_integer, check_same_device, check_shape
from fsr._core.labels import chosen_ignore
from fsr._core.numerics import at_least_float32
from fsr._core.values import may_look
from fsr.errors import ShapeError
from fsr.losses._streamed_entropy import streamed_entropy, streams


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int | None = None) -> Tensor:
    r"""Cross entropy of every pixel, :math:`-\log \mathrm{softmax}(z)_y`; 0 without a label.

    Of more than 255 channels no map of all scores at the labels' size is made: memory grows with
    the logits and not with the image, and the gradient can be taken once.

    Args:
        logits: decoder scores, ``(B, C+1, h, w)``, background first; interpolated bilinearly to
            the labels' size.
        labels: ``(B, H, W)`` integers: 0 background, c+1 foreground class c, ``ignore_index`` no
            label.
        ignore_index: label of pixels to leave out; they get 0. None is that of
            :func:`fsr.cam.ignore_label`: 255 of at most 254 classes.

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
        >>> import torch
        >>> pixel_cross_entropy(torch.zeros(1, 2, 1, 2), torch.tensor([[[1, 255]]]))
        tensor([[[0.6931, 0.0000]]])
    """
    channels = check_logits("logits", logits, labels)
    ignore_index = chosen_ignore(ignore_index, channels - 1)
    check_classes(labels, channels, ignore_index)
    if streams(logits, labels):
        return streamed_entropy(logits, labels, ignore_index)
    return entropy_of(scores_at(logits, labels), labels, ignore_index)


def check_logits(name: str, logits: Tensor, labels: Tensor) -> int:
    """Check the shapes and types of logits and labels; return the number of channels."""
    batch, channels, *size = check_shape(name, logits, "B C+1 h w")
    _, *label_size = check_shape("labels", labels, "B H W", B=batch)
    check_same_device(logits=logits, labels=labels)
    check_floating(name, logits)
    check_integer("labels", labels)
    if min(channels, *size, *label_size) < 1:
        raise ShapeError(
            f"{name}, labels: expected at least one channel and pixel, got {tuple(logits.shape)} "
            f"and {tuple(labels.shape)}"
        )
    return channels


def check_classes(labels: Tensor, channels: int, ignore_index: int) -> None:
    """Raise ``ValueError`` that names a label without a channel; not under ``torch.compile``."""
    check_int("ignore_index", ignore_index)
    if not may_look(labels):
        return
    outside = ((labels < 0) | (labels >= channels)) & (labels != ignore_index)
    if bool(outside.any()):
        found = labels[outside][0].item()
        raise ValueError(
            f"labels: expected classes 0..{channels - 1} (logits have {channels} channels) or "
            f"{ignore_index}, got {found}"
        )


def scores_at(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logits at the labels' size, in at least float32."""
    scores = at_least_float32(logits)
    if scores.shape[2:] == labels.shape[1:]:
        return scores
    return F.interpolate(scores, size=labels.shape[1:], mode="bilinear", align_corners=False)


def entropy_of(scores: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """Return the cross entropy of every pixel, of scores at the labels' size."""
    return F.cross_entropy(scores, labels.long(), ignore_index=ignore_index, reduction="none")
