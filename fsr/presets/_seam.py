"""Settings of SEAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fsr.presets._method import Method, Views, register_method


@dataclass(frozen=True)
class SEAM(Method):
    """Settings of SEAM: maps of an image and of its smaller copy agree, revised by similar pixels.

    Args:
        name: what to call it.
        classification_weight: weight of the classification, a mean of both views.
        min_pooling_weight: weight of what holds the lowest quarter of the revised maps down.
        equivariance_weight: weight of the difference of both views' maps.
        cross_equivariance_weight: weight of each view's difference from the other's revised maps.
        small_scale: size of the second view, relative to the first.
        hardest_share: which part of an image's values counts in the crosswise difference.
        dropout: share of the features' channels that classification does without.
        correlation_dim: width of the features that pixels are compared by.
        correlation_layers: two earlier stages, or blocks of a transformer, that these come from.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Source:
        Wang et al., "Self-Supervised Equivariant Attention Mechanism for Weakly Supervised
        Semantic Segmentation", CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> SEAM().stages, sorted(SEAM().heads())[:3]
        (2, ['aux_class_logits', 'cam', 'class_logits'])
    """

    name: str = "seam"
    classification_weight: float = 1.0
    min_pooling_weight: float = 1.0
    equivariance_weight: float = 1.0
    cross_equivariance_weight: float = 1.0
    small_scale: float = 0.3
    hardest_share: float = 0.2
    dropout: float = 0.5
    correlation_dim: int = 192
    correlation_layers: tuple[float, ...] = (-3, -2)
    learning_rate_warmup: float = 0.0
    drop_path_rate: float = 0.0
    total_steps: int = 10_576

    title: ClassVar[str] = "Self-supervised equivariant attention (Wang et al., CVPR 2020)"
    views: ClassVar[Views] = "padded"
    stages: ClassVar[Literal[1, 2]] = 2
    phases: ClassVar[tuple[str, ...]] = ("learning_rate_warmup",)

    def heads(self) -> Mapping[str, Any]:
        """Return plain and revised maps; class scores are averages of the plain ones."""
        return {
            "cam": {"kind": "cam_with_background", "dropout": self.dropout},
            "class_logits": {"kind": "average_logits", "of": "cam"},
            "revised": {
                "kind": "pixel_correlation",
                "dim": self.correlation_dim,
                "layers": [int(layer) for layer in self.correlation_layers],
            },
            "maps": {"kind": "foreground", "of": "revised"},
            "aux_class_logits": None,
            "segmentation": None,
            "projections": None,
        }


register_method(SEAM())
