"""The heads of 1Stage: maps with a constant background, their pooled scores, and their masks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fsr.backbone import BackboneRequest, check_offers
from fsr.decoder import CueDecoder, LargeFOV
from fsr.pooling import (
    BACKGROUND_LOGIT,
    focal_mask_penalty,
    masks_with_background,
    normalized_global_weighted_pooling,
)
from fsr.segmenter._method_head import HeadInput, MethodHead


class OneStageSegmentation(MethodHead, kind="one_stage_segmentation"):
    """Class maps behind a background whose logit is 1 everywhere, ``(B, C + 1, h, w)``.

    Args:
        decoder: gives ``(B, C, h, w)`` of the deepest and of a shallow stage, or of the final
            tokens as a map.
        shallow: number of the shallow stage from 0; None takes the final tokens alone.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        sections 3.1 and 3.5; visinf/1-stage-wseg@d905fca.

    Example:
        >>> import torch
        >>> head = OneStageSegmentation(nn.Conv2d(4, 2, 1))
        >>> head(HeadInput(*torch.zeros(4, 1, 6, 4), (2, 3), nn.Identity()))[:, 0].detach()
        tensor([[[1., 1., 1.],
                 [1., 1., 1.]]])
    """

    def __init__(self, decoder: nn.Module, shallow: int | None = None) -> None:
        super().__init__()
        self.decoder, self.shallow = decoder, shallow
        self.request = BackboneRequest(stages=shallow is not None)

    @classmethod
    def build(
        cls,
        backbone: Any,
        num_classes: int,
        *,
        gci: bool = True,
        gate_rate: float = 0.3,
        shallow: int | None = None,
        **options: Any,
    ) -> OneStageSegmentation:
        """Return the head for an encoder.

        Args:
            backbone: the encoder.
            num_classes: number C of classes.
            gci: decode with :class:`fsr.decoder.CueDecoder`, which needs the maps of stages;
                False: with :class:`fsr.decoder.LargeFOV` on the final tokens, for any encoder.
            gate_rate: rate of the stochastic gate.
            shallow: the shallow stage from 0; None takes the first of a stride of 4 or more.
            options: further options of the decoder.
        """
        if not gci:
            return cls(LargeFOV(backbone.embed_dim, num_classes, **options))
        check_offers(backbone, ["stages"], "one_stage_segmentation with gci")
        if shallow is None:
            strides = backbone.model.feature_info.reduction()
            shallow = next((place for place, stride in enumerate(strides) if stride >= 4), 0)
        shallow = backbone.check_block(shallow)
        widths = backbone.embed_dim, backbone.width(shallow)
        decoder = CueDecoder(*widths, num_classes, gate_rate=gate_rate, **options)
        return cls(decoder, shallow)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the logits, background first."""
        if self.shallow is None:
            maps = self.decoder(read.as_map(read.tokens))
        else:
            maps = self.decoder(read.stages[-1], read.stages[self.shallow])
        return F.pad(maps, (0, 0, 0, 0, 1, 0), value=BACKGROUND_LOGIT)


class PooledScores(MethodHead, kind="pooled_scores"):
    """Class scores of the segmentation's own masks, ``(B, C)``: nGWP and the focal penalty.

    Args:
        focal_power: exponent of the penalty.
        focal_offset: bound of the penalty of an empty mask, its logarithm.

    Source:
        Araslanov and Roth, CVPR 2020, Eq. 2 and 4; visinf/1-stage-wseg@d905fca.

    Example:
        >>> import torch
        >>> logits = torch.ones(1, 2, 1, 1)  # half of the pixel is the class: 0.5 / 1.5
        >>> read = HeadInput(
        ...     *torch.zeros(4, 1, 1, 4), (1, 1), nn.Identity(), other=lambda name: logits)
        >>> PooledScores(focal_power=3, focal_offset=0.5)(read)
        tensor([[0.3333]])
    """

    reads = ("segmentation",)

    def __init__(self, focal_power: float = 3.0, focal_offset: float = 0.01) -> None:
        super().__init__()
        self.focal_power, self.focal_offset = focal_power, focal_offset

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> PooledScores:
        """Return the head with its options."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the scores."""
        logits = read.head("segmentation")[:, 1:]
        masks = masks_with_background(logits)[:, 1:]
        penalty = focal_mask_penalty(masks, self.focal_power, self.focal_offset)
        return normalized_global_weighted_pooling(logits) + penalty


class ForegroundMasks(MethodHead, kind="foreground_masks"):
    """The masks of the classes, softmax of the segmentation without its background, as CAMs.

    Example:
        >>> import torch
        >>> logits = torch.ones(1, 2, 1, 1)
        >>> read = HeadInput(
        ...     *torch.zeros(4, 1, 1, 4), (1, 1), nn.Identity(), other=lambda name: logits)
        >>> ForegroundMasks()(read).item()
        0.5
    """

    reads = ("segmentation",)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> ForegroundMasks:
        """Return the head; it has no options."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the masks, ``(B, C, h, w)``, 0 to 1."""
        return masks_with_background(read.head("segmentation")[:, 1:])[:, 1:]
