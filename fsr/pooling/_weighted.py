"""Class scores of segmentation maps, each weighted by its own mask (nGWP), and their focal term."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.arguments import check_number
from fsr._core.checks import check_between, check_floating, check_shape, check_unit_interval
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError

BACKGROUND_LOGIT = 1.0


def masks_with_background(logits: Tensor, background: float = BACKGROUND_LOGIT) -> Tensor:
    """Masks of the classes and of a background whose score is the same everywhere.

    Args:
        logits: scores of the foreground classes, ``(B, C, h, w)``, any real scale.
        background: the score of the background.

    Returns:
        Softmax over background and classes, ``(B, C + 1, h, w)``, background first, in at least
        float32; the masks of a pixel sum to 1.

    Raises:
        ShapeError: ``logits`` has the wrong shape.
        TypeError: ``logits`` is not floating point.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.1; visinf/1-stage-wseg@d905fca.

    Example:
        >>> masks_with_background(torch.ones(1, 3, 1, 1)).flatten()
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    check_number("background", background)
    batch, _, height, width = check_shape("logits", logits, "B C? h w")
    check_floating("logits", logits)
    with no_autocast(logits):
        scores = at_least_float32(logits)
        constant = scores.new_full((batch, 1, height, width), background)
        return torch.cat([constant, scores], dim=1).softmax(dim=1)


def normalized_global_weighted_pooling(logits: Tensor) -> Tensor:
    r"""Class scores: the mean of every class's logits, weighted by its own mask (nGWP).

    .. math:: y^{nGWP}_c = \frac{\sum_i m_{c,i} \, y_{c,i}}{1 + \sum_i m_{c,i}},

    where m are the masks of :func:`masks_with_background`. The 1 below the line is that of the
    released code: a class that no pixel belongs to scores 0, whatever its logits. The gradient
    goes through the masks as well.

    The classifier of the method adds :func:`focal_mask_penalty` of the same masks.

    Args:
        logits: scores of the foreground classes, ``(B, C, h, w)``, any real scale.

    Returns:
        ``(B, C)``, in at least float32.

    Raises:
        ShapeError: ``logits`` has the wrong shape, or there is no pixel.
        TypeError: ``logits`` is not floating point.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        Eq. 2; visinf/1-stage-wseg@d905fca.

    Example:
        >>> logits = torch.ones(1, 1, 2, 3)  # half of every pixel is the class: 3 / (1 + 3)
        >>> normalized_global_weighted_pooling(logits)
        tensor([[0.7500]])
    """
    _check_maps("logits", logits)
    with no_autocast(logits):
        masks = masks_with_background(logits)[:, 1:]
        weighted = (masks * at_least_float32(logits)).sum(dim=(2, 3))
        return weighted / (1 + masks.sum(dim=(2, 3)))


def focal_mask_penalty(masks: Tensor, power: float = 3, offset: float = 0.01) -> Tensor:
    r"""Term of the class scores that asks the masks to cover more of the image.

    .. math:: y^{size\text{-}focal}_c = (1 - \bar m_c)^p \log(\lambda + \bar m_c),
              \qquad \bar m_c = \frac{1}{hw} \sum_i m_{c,i}.

    Added to the score of a class, it holds the score down while the mask is small, and vanishes as
    the mask grows: nGWP alone is content with a few pixels.

    Args:
        masks: masks of one or more classes, ``(B, C, h, w)``, 0 to 1; the method takes those of
            the foreground, ``masks_with_background(logits)[:, 1:]``.
        power: the exponent p of at least 0; the larger, the sooner the term lets go.
        offset: the :math:`\lambda` above 0 that bounds the term of an empty mask, ``log(offset)``.

    Returns:
        ``(B, C)``, in at least float32; at most 0 but for a mask close to the whole image.

    Raises:
        ShapeError: ``masks`` has the wrong shape, or there is no pixel.
        TypeError: ``masks`` is not floating point, or an option is no number.
        ValueError: ``power`` is below 0 or ``offset`` is not above 0.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        Eq. 4; visinf/1-stage-wseg@d905fca.

    Example:
        >>> focal_mask_penalty(torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]]]]))
        tensor([[-0.0842, -4.6052]])
    """
    _check_maps("masks", masks)
    check_unit_interval(masks=masks)
    check_between("power", power, 0, float("inf"))
    check_between("offset", offset, 0, float("inf"), inclusive=False)
    with no_autocast(masks):
        mean = at_least_float32(masks).mean(dim=(2, 3))
        # Rounding may lift the mean above 1, where a power that is no integer is not a number.
        return (1 - mean).clamp(min=0) ** power * (offset + mean).log()


def _check_maps(name: str, maps: Tensor) -> None:
    """Raise unless the maps are ``(B, C, h, w)``, floating point, and have a pixel."""
    *_, height, width = check_shape(name, maps, "B C? h w")
    check_floating(name, maps)
    if min(height, width) < 1:
        raise ShapeError(f"{name}: expected at least one pixel, got {tuple(maps.shape)}")
