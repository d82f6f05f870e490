"""Settings of ReCAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fsr.presets._method import Method, Views, register_method


@dataclass(frozen=True)
class ReCAM(Method):
    """Settings of ReCAM: a trained CAM network learns to tell each present class from all others.

    Without ``reactivation_weight`` it is training of such a CAM network: classification alone.

    Args:
        name: what to call it.
        classification_weight: weight of the classification of the image.
        reactivation_weight: weight of the classification of each present class by itself.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Source:
        Chen et al., "Class Re-Activation Maps for Weakly-Supervised Semantic Segmentation", CVPR
        2022; zhaozhengChen/ReCAM@2bdbcd2.

    Example:
        >>> "maps" in ReCAM().heads(), "maps" in ReCAM(reactivation_weight=0.0).heads()
        (True, False)
    """

    name: str = "recam"
    classification_weight: float = 1.0
    reactivation_weight: float = 1.0
    learning_rate_warmup: float = 0.0
    drop_path_rate: float = 0.0
    total_steps: int = 2_644

    title: ClassVar[str] = "Class re-activation maps (Chen et al., CVPR 2022)"
    views: ClassVar[Views] = "padded"
    stages: ClassVar[Literal[1, 2]] = 2
    phases: ClassVar[tuple[str, ...]] = ("learning_rate_warmup",)

    def heads(self) -> Mapping[str, Any]:
        """Return maps of both classifiers; class scores are averages of the first one's."""
        heads: dict[str, Any] = {
            "cam": {"kind": "cam_with_background", "dropout": 0.0},
            "class_logits": {"kind": "average_logits", "of": "cam"},
            "aux_class_logits": None,
            "segmentation": None,
            "projections": None,
        }
        if self.reactivation_weight > 0:
            # Of a predictor that nothing trains there are no maps: the classifier's stand for them.
            heads |= {"predictor": "class_predictor", "maps": "recam"}
        return heads


register_method(ReCAM())
