"""ReCAM's maps: those of the classifier and of a predictor of class features at once."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fsr._core.checks import check_positive_int
from fsr.cam import recam
from fsr.segmenter._method_head import HeadInput, MethodHead


class ClassPredictor(MethodHead, kind="class_predictor"):
    """Linear predictor without bias of the class of features; the head gives its weight.

    :func:`fsr.losses.recam_loss` applies it to one vector for each class, and :class:`ReCAMMaps`
    to every cell, so that the weight alone is what others read: a view on it for each image.

    Args:
        dim: width D of the features.
        num_classes: number C of classes.

    Source:
        Chen et al., CVPR 2022; zhaozhengChen/ReCAM@2bdbcd2.

    Example:
        >>> ClassPredictor(4, 2).linear.weight.shape
        torch.Size([2, 4])
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        check_positive_int("dim", dim)
        check_positive_int("num_classes", num_classes)
        self.linear = nn.Linear(dim, num_classes, bias=False)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> ClassPredictor:
        """Return the head for an encoder and a number of classes."""
        return cls(backbone.embed_dim, num_classes, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the weight for each image, ``(B, C, D)``, the same for all."""
        weight: Tensor = self.linear.weight
        return weight.expand(len(read.images), -1, -1)


class ReCAMMaps(MethodHead, kind="recam"):
    """Maps of the classifier and of the head ``"predictor"``, :func:`fsr.cam.recam`.

    Source:
        Chen et al., CVPR 2022; zhaozhengChen/ReCAM@2bdbcd2.

    Example:
        >>> import torch
        >>> read = HeadInput(*torch.ones(4, 1, 6, 4), (2, 3), nn.Identity(),
        ...     classifier=nn.Conv2d(4, 5, 1), other=lambda name: torch.ones(1, 5, 4))
        >>> ReCAMMaps()(read).shape
        torch.Size([1, 5, 2, 3])
    """

    reads = ("predictor",)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> ReCAMMaps:
        """Return the head; it has no options and no weights of its own."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return raw maps, ``(B, C, H, W)``."""
        if read.classifier is None:
            raise ValueError("classifier: expected that of the network, got None")
        features = read.as_map(read.tokens)
        return recam(features, read.classifier.weight, read.head("predictor")[0])
