"""Heads over another head's maps: class scores as averages, and maps without their background."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fsr.segmenter._method_head import HeadInput, MethodHead


class AverageLogits(MethodHead, kind="average_logits"):
    """Class scores as averages over maps (global average pooling), ``(B, C)``.

    Args:
        num_classes: number C of foreground classes; the last C channels of the maps are theirs.
        of: name of the head that gives the maps.

    Source:
        Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[[0.0, 0.0]], [[1.0, 3.0]]]])
        >>> read = HeadInput(*maps.new_zeros(4, 1, 2, 4), (1, 2), None, other=lambda name: maps)
        >>> AverageLogits(1)(read)
        tensor([[2.]])
    """

    def __init__(self, num_classes: int, of: str = "cam") -> None:
        super().__init__()
        self.num_classes, self.reads = num_classes, (of,)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> AverageLogits:
        """Return the head for a number of classes."""
        return cls(num_classes, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return class scores, ``(B, C)``."""
        return read.head(self.reads[0])[:, -self.num_classes :].mean(dim=(2, 3))


class Foreground(MethodHead, kind="foreground"):
    """Maps of another head without those before the classes' own, ``(B, C, H, W)``.

    Args:
        num_classes: number C of foreground classes; the last C channels of the maps are theirs.
        of: name of the head that gives the maps.

    Example:
        >>> import torch
        >>> maps = torch.rand(1, 6, 2, 2)
        >>> read = HeadInput(*maps.new_zeros(4, 1, 4, 4), (2, 2), None, other=lambda name: maps)
        >>> Foreground(5)(read).shape
        torch.Size([1, 5, 2, 2])
    """

    def __init__(self, num_classes: int, of: str = "cam") -> None:
        super().__init__()
        self.num_classes, self.reads = num_classes, (of,)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> Foreground:
        """Return the head for a number of classes."""
        return cls(num_classes, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the maps of the classes, ``(B, C, H, W)``."""
        return read.head(self.reads[0])[:, -self.num_classes :]
