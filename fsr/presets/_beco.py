"""Settings of BECO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fsr.presets._method import Method, Views, register_method


@dataclass(frozen=True)
class BECO(Method):
    """Settings of BECO: two networks trained together on label maps, images mixed by their classes.

    Args:
        name: what to call it.
        cotraining_weight: weight of the loss of both networks.
        confident_weight: how much more a pixel on the boundary of a paste counts, where its label
            is trusted.
        unconfident_weight: the same where the networks learn from each other.
        boundary_size: how far a boundary reaches on either side, in pixels.
        confidence: largest probability above which the networks' own label is trusted.
        mix_probability: probability that another image is pasted onto an image.
        mix_background: whether the background may be pasted too.
        online_from: fraction of the run before which images are mixed by the labels given, without
            weight on boundaries, and from which on by the networks' own.
        decoders: options of both decoders, for example ``hidden_dim``.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        learning_rate_warmup_ratio: where that warm-up starts, relative to the base rate.
        drop_path_rate: stochastic depth of the encoders.
        total_steps: length of the run in optimiser steps.

    Source:
        Rong et al., "Boundary-enhanced Co-training for Weakly Supervised Semantic Segmentation",
        CVPR 2023 (ShenghaiRong/BECO@6a57bed).

    Example:
        >>> BECO(total_steps=8000).resolve()["online_from"]
        100
    """

    name: str = "beco"
    cotraining_weight: float = 1.0
    confident_weight: float = 0.2
    unconfident_weight: float = 0.0
    boundary_size: int = 1
    confidence: float = 0.95
    mix_probability: float = 0.5
    mix_background: bool = False
    online_from: float = 0.0125
    decoders: Mapping[str, Any] | None = None
    learning_rate_warmup: float = 0.0
    learning_rate_warmup_ratio: float = 0.1
    drop_path_rate: float = 0.0
    total_steps: int = 52_880

    title: ClassVar[str] = "Boundary-enhanced Co-training (Rong et al., CVPR 2023)"
    views: ClassVar[Views] = "labelled"
    phases: ClassVar[tuple[str, ...]] = ("online_from", "learning_rate_warmup")

    def heads(self) -> Mapping[str, Any]:
        """Return both networks and their mean, which is the segmentation of the two together."""
        options = dict(self.decoders or {})
        return {
            "first": {"kind": "first_segmenter", **options},
            "second": {"kind": "second_segmenter", **options},
            "segmentation": {"kind": "mean_segmentation", "of": ["first", "second"]},
            "class_logits": "segmentation_scores",
            "aux_class_logits": None,
            "projections": None,
        }


register_method(BECO())
