"""Cross entropy of segmentation logits with the masks that the network is sure of itself."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import (
    check_floating,
    check_multi_hot,
    check_same_device,
    check_shape,
    check_unit_interval,
)
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError

# What the pooled class scores compete with too: fsr.pooling.masks_with_background.
BACKGROUND_LOGIT = 1.0


def self_supervised_mask_loss(logits: Tensor, pseudo_masks: Tensor, labels: Tensor) -> Tensor:
    r"""Segmentation loss of each image against its own confident masks, small classes heavier.

    A constant background logit of 1 is put before the logits, and both are interpolated to the
    masks. With :math:`n_c` the pixels that class c claims in an image and n those of all classes,

    .. math:: L = \frac{v}{HW} \sum_{c}\ \frac{n - n_c}{1 + n} \sum_{i: m_{c,i} = 1} \mathrm{CE}_i.

    A pixel that no class claims adds 0 but counts in HW. The loss of an image holds (v = 1) only
    if as many channels claim a pixel as the image shows classes, and the background; it is 0
    otherwise. As in the released code, numbers are compared, not classes: masks of
    :func:`fsr.refine.refine_masks` are 0 for absent classes, so that none can stand in for another.

    Args:
        logits: scores of the foreground classes, ``(B, C, h, w)``, any real scale.
        pseudo_masks: masks of 0 and 1, background first, ``(B, C + 1, H, W)``, at most one class a
            pixel, from :func:`fsr.refine.confident_masks`; constants.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.

    Returns:
        One loss of at least 0 for each image, ``(B,)``, in at least float32.

    Raises:
        ShapeError: a shape is wrong or does not fit the others, or there is no pixel.
        TypeError: ``logits`` or ``pseudo_masks`` is not floating point.
        ValueError: ``pseudo_masks`` are not within 0 to 1 (not tested under ``torch.compile``).

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.4; visinf/1-stage-wseg@d905fca.

    Example:
        >>> import torch
        >>> masks = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # background, one class
        >>> self_supervised_mask_loss(torch.ones(1, 1, 1, 2), masks, torch.ones(1, 1))
        tensor([0.2310])
    """
    batch, classes, *grid = check_shape("logits", logits, "B C? h w")
    channels = {"B": batch, "C+1": classes + 1}
    _, _, *size = check_shape("pseudo_masks", pseudo_masks, "B C+1 H W", **channels)
    check_shape("labels", labels, "B C?", B=batch, C=classes)
    check_multi_hot("labels", labels)
    check_same_device(logits=logits, pseudo_masks=pseudo_masks, labels=labels)
    check_floating("logits", logits)
    check_floating("pseudo_masks", pseudo_masks, finite=False)
    if min(*grid, *size) < 1:
        raise ShapeError(
            f"logits, pseudo_masks: expected at least one pixel, got {tuple(logits.shape)} and "
            f"{tuple(pseudo_masks.shape)}"
        )
    check_unit_interval(pseudo_masks=pseudo_masks)
    with no_autocast(logits):
        scores = F.pad(at_least_float32(logits), (0, 0, 0, 0, 1, 0), value=BACKGROUND_LOGIT)
        if grid != size:
            scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=True)
        masks = pseudo_masks.detach().to(scores.dtype)
        own = masks.sum(dim=(2, 3))
        total = own.sum(dim=1, keepdim=True)
        weights = (total - own) / (1 + total)
        # Masks of 0 and 1: the product with them is the cross entropy of claimed pixels alone.
        entropy = -(scores.log_softmax(dim=1) * masks).mean(dim=(2, 3))
        complete = (own > 0).sum(dim=1) == (labels > 0).sum(dim=1) + 1
        return (weights * entropy).sum(dim=1) * complete
