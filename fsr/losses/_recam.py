"""ReCAM: every present class of an image classified once more, alone, with softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_multi_hot, check_same_device, check_shape
from fsr._core.classifiers import class_weight as check_weight
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError

EPS = 1e-5


def recam_loss(
    features: Tensor, class_weight: Tensor, predictor_weight: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Softmax cross entropy of the features of each present class, and how many it gets right.

    .. math:: M_{ci} = \frac{r_{ci}}{\max_j r_{cj} + 10^{-5}}, \quad
              r = \mathrm{ReLU}(w f), \qquad
              v_c = \frac{1}{HW} \sum_i M_{ci} f_i, \qquad
              L = \frac1B \sum_b \frac{1}{|P_b|} \sum_{c \in P_b}
              -\log \mathrm{softmax}(p\, v_c)_c

    P are the present classes of an image, w and p the weights of classifier and predictor. The
    gradient reaches all three, through the map and its maximum too.

    Mended: in the released code the accuracy of a batch without any class is 0/0; here it is 0.

    Args:
        features: the last features f of the encoder, ``(B, D, H, W)``, any real scale.
        class_weight: weight w of the classifier, without bias, ``(C, D)`` or ``(C, D, 1, 1)``.
        predictor_weight: weight p of the predictor, without bias, of the same shapes.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.

    Returns:
        The loss L, and the share of the batch's present classes that the predictor names, without
        gradient; scalars in at least float32. An image without a class adds 0 to both; without any
        the loss is a zero that is attached to the graph.

    Raises:
        ShapeError: a shape is wrong or does not fit the others, or there is no image or pixel.
        TypeError: features or weights are not floating point.

    Source:
        Chen et al., "Class Re-Activation Maps for Weakly-Supervised Semantic Segmentation", CVPR
        2022; zhaozhengChen/ReCAM@2bdbcd2.

    Example:
        >>> features = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> weight = torch.eye(2)
        >>> loss, accuracy = recam_loss(features, weight, 4 * weight, torch.tensor([[1, 0]]))
        >>> loss, accuracy
        (tensor(0.1269), tensor(1.))
    """
    batch, width, height, columns = check_shape("features", features, "B D H W")
    first = check_weight("class_weight", class_weight, width)
    second = check_weight("predictor_weight", predictor_weight, width)
    classes = first.shape[0]
    check_shape("predictor_weight", second, "C D", C=classes)
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_multi_hot("labels", labels)
    check_same_device(
        features=features,
        class_weight=class_weight,
        predictor_weight=predictor_weight,
        labels=labels,
    )
    check_floating("features", features)
    if min(batch, height, columns) < 1:
        raise ShapeError(
            f"features: expected at least one image and pixel, got {tuple(features.shape)}"
        )
    with no_autocast(features):
        pixels = at_least_float32(features).flatten(2)
        first, second = first.to(pixels.dtype), second.to(pixels.dtype)
        scores = F.linear(_class_features(pixels, first), second)
        own = -scores.log_softmax(dim=-1).diagonal(dim1=1, dim2=2)
        present = labels > 0
        # All classes are scored, so that no shape depends on the labels; the absent ones are left.
        per_image = own.masked_fill(~present, 0.0).sum(dim=1) / present.sum(dim=1).clamp(min=1)
        right = scores.argmax(dim=-1) == torch.arange(classes, device=scores.device)
        accuracy = (right & present).sum().to(pixels.dtype) / present.sum().clamp(min=1)
        return per_image.mean(), accuracy


def _class_features(pixels: Tensor, weight: Tensor) -> Tensor:
    """Return features averaged by the map of each class, ``(B, C, D)``, from ``(B, D, N)``."""
    maps = F.relu(weight @ pixels)
    maps = maps / (maps.amax(dim=-1, keepdim=True) + EPS)
    return maps @ pixels.transpose(1, 2) / pixels.shape[-1]
