"""Settings of plain training on label maps, the second stage of methods in two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fsr.presets._method import Method, Views, register_method


@dataclass(frozen=True)
class Supervised(Method):
    """Settings of training on label maps: true masks, or pseudo labels that a method exported.

    Args:
        name: what to call it.
        segmentation_weight: weight of the cross entropy.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        learning_rate_warmup_ratio: where that warm-up starts, relative to the base rate.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Example:
        >>> Supervised().views
        'labelled'
    """

    name: str = "segmentation"
    segmentation_weight: float = 1.0
    learning_rate_warmup: float = 0.05
    learning_rate_warmup_ratio: float = 0.1
    drop_path_rate: float = 0.1
    total_steps: int = 20_000

    title: ClassVar[str] = "Training on label maps, true or exported"
    views: ClassVar[Views] = "labelled"
    phases: ClassVar[tuple[str, ...]] = ("learning_rate_warmup",)

    def heads(self) -> Mapping[str, Any]:
        """Return a segmenter alone: class scores are read off the segmentation."""
        return {
            "class_logits": "segmentation_scores",
            "aux_class_logits": None,
            "projections": None,
        }


register_method(Supervised())
