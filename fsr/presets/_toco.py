"""Settings of ToCo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from fsr.presets._method import Method, Views, register_method


@dataclass(frozen=True)
class ToCo(Method):
    """Settings of ToCo: patch-token contrast and class-token contrast over one ViT.

    Args:
        name: what to call it.
        classification_weight: weight of the classification of the final tokens.
        auxiliary_weight: weight of that of the auxiliary block.
        affinity_weight: weight of the patch-token contrast.
        contrast_weight: weight of the class-token contrast.
        segmentation_weight: weight of the cross entropy with pseudo labels.
        energy_weight: weight of the dense energy.
        contrast_temperature: temperature of the class-token contrast; 1.0 on COCO.
        contrast_dim: width of the projected class tokens.
        projection_options: further options of the projection head, for example ``hidden_dim``.
        crops: local crops of an image.
        crop_size: side of a local crop in pixels, a multiple of the patch.
        crop_threshold: largest mean region of a negative crop.
        head_momentum: momentum of the averaged projection head.
        pseudo_low: CAM scores up to this are background.
        pseudo_high: CAM scores above this are foreground; between the two is ignored.
        affinity_from: fraction of the run at which the patch-token contrast starts.
        contrast_from: fraction of the run at which the class-token contrast starts.
        segmentation_from: fraction of the run at which segmentation and dense energy start.
        final_labels_from: fraction of the run before which labels are made from the auxiliary CAM.
        energy_scale: size at which the dense energy is computed, relative to the view.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        learning_rate_warmup_ratio: where that warm-up starts, relative to the base rate.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Source:
        Ru et al., "Token Contrast for Weakly Supervised Semantic Segmentation", CVPR 2023
        (rulixiang/ToCo@e13514d).

    Example:
        >>> ToCo().resolve()["segmentation_from"]
        2000
    """

    name: str = "toco"
    classification_weight: float = 1.0
    auxiliary_weight: float = 1.0
    affinity_weight: float = 0.2
    contrast_weight: float = 0.5
    segmentation_weight: float = 0.1
    energy_weight: float = 0.05
    contrast_temperature: float = 0.5
    contrast_dim: int = 1024
    projection_options: Mapping[str, Any] | None = None
    crops: int = 8
    crop_size: int = 96
    crop_threshold: float = 0.2
    head_momentum: float = 0.9
    pseudo_low: float = 0.25
    pseudo_high: float = 0.7
    affinity_from: float = 0.0
    contrast_from: float = 0.0
    segmentation_from: float = 0.1
    final_labels_from: float = 0.0
    energy_scale: float = 0.5
    learning_rate_warmup: float = 0.075
    learning_rate_warmup_ratio: float = 1e-6
    drop_path_rate: float = 0.0
    total_steps: int = 20_000

    title: ClassVar[str] = "Token Contrast (Ru et al., CVPR 2023)"
    offers: ClassVar[frozenset[str]] = frozenset({"class_token"})
    views: ClassVar[Views] = "padded_and_second"
    phases: ClassVar[tuple[str, ...]] = (
        "affinity_from",
        "contrast_from",
        "segmentation_from",
        "final_labels_from",
        "learning_rate_warmup",
    )

    def heads(self) -> Mapping[str, Any]:
        """Return the class token and its projection; the projections of FSR are left out."""
        options = {"out_dim": self.contrast_dim, **(self.projection_options or {})}
        return {
            "class_token": "class_token",
            "class_projection": {"kind": "class_projection", **options},
            "projections": None,
        }

    def per_micro_batch(self, accumulation: int) -> ToCo:
        """Return the settings with a head average that moves once per micro-batch."""
        return replace(self, head_momentum=self.head_momentum ** (1 / accumulation))


register_method(ToCo())
