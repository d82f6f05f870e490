"""ReCAM's maps: a classifier reweighted by one that was trained with softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.checks import check_floating, check_same_device, check_shape
from fsr._core.classifiers import class_weight as check_weight
from fsr._core.numerics import at_least_float32, no_autocast


def recam(features: Tensor, class_weight: Tensor, predictor_weight: Tensor) -> Tensor:
    r"""Maps of the classifier and of the softmax predictor at once, before ReLU.

    .. math:: M_{ci} = \sum_d w_{cd}\, p_{cd}\, f_{di}

    with features f, the weight w of the image classifier and p of the predictor of class features
    that :func:`fsr.losses.recam_loss` trains.

    Args:
        features: the last features f of the encoder, ``(B, D, H, W)``.
        class_weight: weight w of the classifier, without bias, ``(C, D)`` or ``(C, D, 1, 1)``.
        predictor_weight: weight p of the predictor, without bias, of the same shapes.

    Returns:
        ``(B, C, H, W)``, of either sign, in at least float32. :func:`sum_flip` merges those of an
        image and of its mirror image, :func:`sum_sizes` those of several sizes.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: an argument is not floating point.

    Source:
        Chen et al., "Class Re-Activation Maps for Weakly-Supervised Semantic Segmentation", CVPR
        2022; zhaozhengChen/ReCAM@2bdbcd2.

    Example:
        >>> features = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])
        >>> recam(features, torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 1.0]]))
        tensor([[[[ 6.5000, -1.0000]]]])
    """
    _, width, _, _ = check_shape("features", features, "B D H W")
    first = check_weight("class_weight", class_weight, width)
    second = check_weight("predictor_weight", predictor_weight, width)
    check_shape("predictor_weight", second, "C D", C=first.shape[0])
    check_same_device(
        features=features, class_weight=class_weight, predictor_weight=predictor_weight
    )
    check_floating("features", features)
    with no_autocast(features):
        exact = at_least_float32(features)
        weight = first.to(exact.dtype) * second.to(exact.dtype)
        return torch.einsum("bdhw,cd->bchw", exact, weight)
