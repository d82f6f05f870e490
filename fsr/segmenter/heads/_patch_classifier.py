"""Patches classified one by one, and the class scores and maps that are read off them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fsr._core.checks import check_between, check_positive_int
from fsr._core.numerics import at_least_float32
from fsr.decoder import GridLSTM
from fsr.pooling import patch_max
from fsr.segmenter._method_head import HeadInput, MethodHead

# Probabilities nearer to 0 or 1 than this have no finite logit in float32.
EPS = 1e-7


class PatchClassifier(MethodHead, kind="patch_classifier"):
    """Logits of background and classes for each patch, which knows its row and its column.

    Args:
        dim: width D of the tokens.
        num_classes: number C of foreground classes.
        hidden: width of each of the four states of the conditioning.
        dropout: probability of dropout, before the conditioning and before the classifier.

    Attributes:
        classifier: 1x1 convolution without bias, whose weights the method keeps small.

    Source:
        Rossetti et al., ECCV 2022 (deepplants/ViT-PCM@1fea66f).

    Example:
        >>> import torch
        >>> head = PatchClassifier(8, num_classes=3, hidden=4)
        >>> tokens = torch.zeros(2, 6, 8)
        >>> read = HeadInput(torch.zeros(2, 3, 4, 6), *[tokens] * 3, (2, 3), nn.Identity())
        >>> head(read).shape
        torch.Size([2, 4, 2, 3])
    """

    def __init__(self, dim: int, num_classes: int, hidden: int = 192, dropout: float = 0.2) -> None:
        super().__init__()
        check_positive_int("num_classes", num_classes)
        check_between("dropout", dropout, 0.0, 1.0)
        self.dropout = nn.Dropout(dropout)
        self.conditioning = GridLSTM(dim, hidden)
        self.classifier = nn.Conv2d(4 * hidden, num_classes + 1, 1, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.05)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> PatchClassifier:
        """Return the head for an encoder."""
        return cls(backbone.embed_dim, num_classes, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the logits, ``(B, C + 1, H, W)``, background first."""
        conditioned = self.conditioning(self.dropout(read.as_map(read.tokens)))
        logits: Tensor = self.classifier(self.dropout(conditioned))
        return logits


class PatchMaxLogits(MethodHead, kind="patch_max_logits"):
    """Class logits whose sigmoid is the largest probability that any patch gives a class.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[[0.0, 1.0]], [[2.0, -1.0]]]])
        >>> read = HeadInput(
        ...     *torch.zeros(4, 1, 2, 4), (1, 2), nn.Identity(), other=lambda name: logits)
        >>> PatchMaxLogits()(read).round(decimals=3)
        tensor([[2.]])
    """

    reads = ("segmentation",)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> PatchMaxLogits:
        """Return the head; it has no options."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return class logits, ``(B, C)``."""
        return patch_max(read.head("segmentation"))[:, 1:].logit(EPS)


class PatchProbabilities(MethodHead, kind="patch_probabilities"):
    """Maps of each patch's probabilities of the classes, the background's left out.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[[0.0, 1.0]], [[0.0, 1.0]]]])
        >>> read = HeadInput(
        ...     *torch.zeros(4, 1, 2, 4), (1, 2), nn.Identity(), other=lambda name: logits)
        >>> PatchProbabilities()(read)
        tensor([[[[0.5000, 0.5000]]]])
    """

    reads = ("segmentation",)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> PatchProbabilities:
        """Return the head; it has no options."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return maps, ``(B, C, H, W)``."""
        return at_least_float32(read.head("segmentation")).softmax(dim=1)[:, 1:]
