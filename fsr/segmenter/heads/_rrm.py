"""The heads of RRM: averaged class scores, and a segmentation by two dilated convolutions."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.checks import check_between, check_positive_int
from fsr.segmenter._method_head import HeadInput, MethodHead

FEATURES = "segmentation_features"


class MeanScores(MethodHead, kind="mean_scores"):
    """Class logits of the mean token, ``(B, C)``, by the network's own classifier.

    Args:
        dropout: probability that a channel of the mean token is left out in training.

    Source:
        Zhang et al., "Reliability Does Matter", AAAI 2020; zbf1991/RRM@6d4191c.

    Example:
        >>> import torch
        >>> classifier = nn.Conv2d(4, 2, 1, bias=False)
        >>> read = HeadInput(*torch.ones(4, 1, 6, 4), (2, 3), nn.Identity(), classifier=classifier)
        >>> torch.allclose(MeanScores(dropout=0.0)(read), classifier.weight.sum(dim=(1, 2, 3)))
        True
    """

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        check_between("dropout", dropout, 0.0, 1.0)
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> MeanScores:
        """Return the head with its options."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the logits."""
        if read.classifier is None:
            raise ValueError("classifier: expected that of the network, got None")
        mean = self.dropout(read.tokens.mean(dim=1))
        logits: Tensor = read.classifier(mean[:, :, None, None])
        return logits.flatten(1)


class DilatedFeatures(MethodHead, kind="dilated_features"):
    """Features that a segmentation is read off: a dilated 3x3 convolution and ReLU.

    Args:
        dim: width of the tokens.
        out_dim: width of the features.
        dilation: distance of the taps, in tokens.

    Source:
        Zhang et al., "Reliability Does Matter", AAAI 2020; zbf1991/RRM@6d4191c.

    Example:
        >>> import torch
        >>> read = HeadInput(*torch.ones(4, 1, 6, 4), (2, 3), nn.Identity())
        >>> DilatedFeatures(4, out_dim=5, dilation=1)(read).shape
        torch.Size([1, 5, 2, 3])
    """

    def __init__(self, dim: int, out_dim: int = 512, dilation: int = 12) -> None:
        super().__init__()
        self.conv = dilated(dim, out_dim, dilation)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> DilatedFeatures:
        """Return the head for an encoder."""
        return cls(backbone.embed_dim, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the features, ``(B, out_dim, H, W)``, at least 0."""
        return F.relu(self.conv(read.as_map(read.tokens)))


class SegmentationOfFeatures(MethodHead, kind="segmentation_of_features"):
    """Segmentation logits of the head ``"segmentation_features"``, ``(B, C + 1, H, W)``.

    Args:
        dim: width of those features.
        channels: C + 1.
        dilation: distance of the taps of its 3x3 convolution, in tokens.

    Source:
        Zhang et al., "Reliability Does Matter", AAAI 2020; zbf1991/RRM@6d4191c.

    Example:
        >>> import torch
        >>> maps = torch.ones(1, 5, 2, 3)
        >>> read = HeadInput(
        ...     *torch.zeros(4, 1, 6, 4), (2, 3), nn.Identity(), other=lambda name: maps)
        >>> SegmentationOfFeatures(5, 3, dilation=1)(read).shape
        torch.Size([1, 3, 2, 3])
    """

    reads = (FEATURES,)

    def __init__(self, dim: int, channels: int, dilation: int = 12) -> None:
        super().__init__()
        check_positive_int("channels", channels)
        self.conv = dilated(dim, channels, dilation)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> SegmentationOfFeatures:
        """Return the head for a number of classes; its width is 512 unless an option says."""
        return cls(**{"dim": 512, "channels": num_classes + 1, **options})

    def forward(self, read: HeadInput) -> Tensor:
        """Return the logits, background first."""
        logits: Tensor = self.conv(read.head(FEATURES))
        return logits


def dilated(in_dim: int, out_dim: int, dilation: int) -> nn.Conv2d:
    """Return a 3x3 convolution with bias that keeps the map's size."""
    for name, value in (("dim", in_dim), ("out_dim", out_dim), ("dilation", dilation)):
        check_positive_int(name, value)
    conv = nn.Conv2d(in_dim, out_dim, 3, padding=dilation, dilation=dilation)
    nn.init.xavier_uniform_(conv.weight)
    return conv
