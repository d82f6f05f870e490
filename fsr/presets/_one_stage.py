"""Settings of 1Stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fsr.presets._method import Method, Views, register_method


@dataclass(frozen=True)
class OneStage(Method):
    """Settings of 1Stage: masks that are pooled into class scores, and learn from themselves.

    Args:
        name: what to call it.
        classification_weight: weight of the classification of the pooled scores.
        mask_weight: weight of the self-supervised mask loss.
        mask_from: fraction of the run at which that starts.
        gci: decode deep and shallow stages with global cue injection and the stochastic gate; false
            decodes the final tokens alone, for encoders without stages.
        gate_rate: probability that the gate lets a shallow value through.
        decoder_head: further options of the decoder, for example ``hidden_dim``.
        focal_power: exponent of the focal penalty.
        focal_offset: its bound for an empty mask, as a logarithm.
        pamr_iterations: how often masks are refined.
        pamr_dilations: distances of the neighbours that they are refined by, in cells of the masks.
        pseudo_top: share of a class's largest value that a pixel needs to be claimed.
        pseudo_background_top: the same of the background.
        pseudo_lowest: no pixel is claimed below this.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        learning_rate_warmup_ratio: where that warm-up starts, relative to the base rate.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020
        (visinf/1-stage-wseg@d905fca).

    Example:
        >>> OneStage().resolve()["mask_from"]
        4000
    """

    name: str = "one_stage"
    classification_weight: float = 1.0
    mask_weight: float = 1.0
    mask_from: float = 0.2
    gci: bool = True
    gate_rate: float = 0.3
    decoder_head: Mapping[str, Any] | None = None
    focal_power: float = 3.0
    focal_offset: float = 0.01
    pamr_iterations: int = 10
    pamr_dilations: tuple[float, ...] = (1, 2, 4, 8, 12, 24)
    pseudo_top: float = 0.6
    pseudo_background_top: float = 0.7
    pseudo_lowest: float = 0.2
    learning_rate_warmup: float = 0.0
    learning_rate_warmup_ratio: float = 1e-6
    drop_path_rate: float = 0.0
    total_steps: int = 20_000

    title: ClassVar[str] = "1Stage (Araslanov and Roth, CVPR 2020)"
    views: ClassVar[Views] = "one"
    phases: ClassVar[tuple[str, ...]] = ("mask_from", "learning_rate_warmup")

    def heads(self) -> Mapping[str, Any]:
        """Return the maps, which scores and masks are read off; no other head is built."""
        maps: dict[str, Any] = {"kind": "one_stage_segmentation", "gci": self.gci}
        if self.gci:
            maps["gate_rate"] = self.gate_rate
        return {
            "segmentation": {**maps, **(self.decoder_head or {})},
            "class_logits": {
                "kind": "pooled_scores",
                "focal_power": self.focal_power,
                "focal_offset": self.focal_offset,
            },
            "maps": "foreground_masks",
            "aux_class_logits": None,
            "projections": None,
        }


register_method(OneStage())
