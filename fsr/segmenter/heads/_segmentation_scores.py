"""Class logits read off a segmentation, for networks that are trained on label maps."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fsr.segmenter._method_head import HeadInput, MethodHead


class SegmentationScores(MethodHead, kind="segmentation_scores"):
    """By class the largest margin over the background among all patches, ``(B, C)``.

    Above 0 somewhere the class wins over the background.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> logits = torch.tensor([[[[0.0, 1.0]], [[2.0, -1.0]]]])
        >>> read = HeadInput(
        ...     *torch.zeros(4, 1, 2, 4), (1, 2), nn.Identity(), other=lambda name: logits)
        >>> SegmentationScores()(read)
        tensor([[2.]])
    """

    reads = ("segmentation",)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> SegmentationScores:
        """Return the head; it has no options."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return class logits, ``(B, C)``."""
        logits = read.head("segmentation")
        return (logits[:, 1:] - logits[:, :1]).amax(dim=(2, 3))
