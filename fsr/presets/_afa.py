"""Settings of AFA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fsr.presets._method import Method, Views, register_method


@dataclass(frozen=True)
class AFA(Method):
    """Settings of AFA: affinity learned from attention, which labels are then spread along.

    Args:
        name: what to call it.
        classification_weight: weight of the classification by the maximum over tokens.
        segmentation_weight: weight of the cross entropy with pseudo labels.
        affinity_weight: weight of the affinity of patches.
        pseudo_low: lower score of the background; where it wins against this a pixel is background.
        pseudo_high: higher score of the background, which sure foreground exceeds.
        refinement_steps: iterations of the pixel-adaptive refinement; 15 on COCO.
        affinity_blocks: so many of the last blocks give their attention.
        affinity_radius: pairs of patches at most this far apart are compared and spread along.
        affinity_scale: image size at which the affinity is read to spread labels, relative to the
            view.
        affinity_from: fraction of the run at which the affinity term starts.
        segmentation_from: fraction of the run at which segmentation starts.
        propagated_from: fraction of the run from which segmentation learns from labels that were
            spread along the affinity, and from those of the CAM before.
        propagated_pairs: label pairs of patches by those labels too from then on, as on COCO.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        learning_rate_warmup_ratio: where that warm-up starts, relative to the base rate.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Source:
        Ru et al., "Learning Affinity from Attention: End-to-End Weakly-Supervised Semantic
        Segmentation with Transformers", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> AFA().resolve()["propagated_from"]
        6000
    """

    name: str = "afa"
    classification_weight: float = 1.0
    segmentation_weight: float = 0.1
    affinity_weight: float = 0.1
    pseudo_low: float = 0.35
    pseudo_high: float = 0.55
    refinement_steps: int = 10
    affinity_blocks: int = 2
    affinity_radius: int = 8
    affinity_scale: float = 1.5
    affinity_from: float = 0.1
    segmentation_from: float = 0.1
    propagated_from: float = 0.3
    propagated_pairs: bool = False
    learning_rate_warmup: float = 0.075
    learning_rate_warmup_ratio: float = 1e-6
    drop_path_rate: float = 0.1
    total_steps: int = 20_000

    title: ClassVar[str] = "Affinity from Attention (Ru et al., CVPR 2022)"
    offers: ClassVar[frozenset[str]] = frozenset({"attention"})
    views: ClassVar[Views] = "padded"
    phases: ClassVar[tuple[str, ...]] = (
        "affinity_from",
        "segmentation_from",
        "propagated_from",
        "learning_rate_warmup",
    )

    def heads(self) -> Mapping[str, Any]:
        """Return the affinity; an auxiliary classifier and projections are left out."""
        return {
            "affinity": {"kind": "attention_affinity", "blocks": self.affinity_blocks},
            "aux_class_logits": None,
            "projections": None,
        }


register_method(AFA())
