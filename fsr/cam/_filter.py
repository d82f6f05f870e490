"""Probabilities of patches with the image-level labels at hand: what the absent classes had."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.checks import check_floating, check_multi_hot, check_same_device, check_shape
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.cam._labels import keep_present
from fsr.errors import ShapeError


def filter_by_labels(probabilities: Tensor, labels: Tensor) -> Tensor:
    r"""Maps of the present classes, each brought to a maximum of 1, then to a sum of 1 a pixel.

    .. math:: q_{c,i} = \frac{\ell_c \, p_{c,i}}{\max_j \ell_c \, p_{c,j}}, \qquad
              \hat p_{c,i} = \frac{q_{c,i}}{\sum_k q_{k,i}}, \qquad \tfrac00 = 0.

    Args:
        probabilities: of at least 0, ``(B, K, h, w)``, for example the softmax over background and
            classes of every patch.
        labels: multi-hot labels of the same channels, ``(B, K)``; a channel is kept where they are
            > 0. With a background channel first, its label is 1 in every image:
            ``torch.nn.functional.pad(labels, (1, 0), value=1)``.

    Returns:
        ``(B, K, h, w)``, 0 to 1, in at least float32. A pixel at which no present class has
        anything is 0 in all channels.

    Raises:
        ShapeError: a shape is wrong or does not fit the other, or there is no channel or pixel.
        TypeError: ``probabilities`` is not floating point.

    Source:
        Rossetti et al., "Max Pooling with Vision Transformers Reconciles Class and Shape in Weakly
        Supervised Semantic Segmentation", ECCV 2022; deepplants/ViT-PCM@1fea66f (CC0).

    Example:
        >>> probabilities = torch.tensor([[[[0.8, 0.4]], [[0.1, 0.2]], [[0.1, 0.4]]]])
        >>> filter_by_labels(probabilities, torch.tensor([[1, 1, 0]]))[0, :, 0]
        tensor([[0.6667, 0.3333],
                [0.3333, 0.6667],
                [0.0000, 0.0000]])
    """
    check_shape("probabilities", probabilities, "B K h w")
    check_shape("labels", labels, "B K", **dict(zip("BK", probabilities.shape[:2], strict=True)))
    check_multi_hot("labels", labels)
    check_same_device(probabilities=probabilities, labels=labels)
    check_floating("probabilities", probabilities)
    if min(probabilities.shape[1:]) < 1:
        raise ShapeError(
            "probabilities: expected at least one channel and pixel, "
            f"got {tuple(probabilities.shape)}"
        )
    with no_autocast(probabilities):
        kept = keep_present(at_least_float32(probabilities), labels)
        kept = _ratio(kept, kept.amax(dim=(2, 3), keepdim=True))
        return _ratio(kept, kept.sum(dim=1, keepdim=True))


def _ratio(value: Tensor, whole: Tensor) -> Tensor:
    """Divide, where 0 / 0 is 0 and has no gradient that is not a number."""
    return value / torch.where(whole > 0, whole, 1.0)
