"""Settings of URN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fsr.presets._method import register_method
from fsr.presets._segmentation import Supervised


@dataclass(frozen=True)
class URN(Supervised):
    """Settings of URN: training on pseudo labels that a first training was unsure of in part.

    Trained twice: first on pseudo labels alone, under-fitting; then on the same labels with weights
    of how far that first network's predictions can be scaled without changing
    (:func:`fsr.refine.response_scaling_uncertainty`), which ``fsr export --uncertainty`` writes.

    Args:
        name: what to call it.
        segmentation_weight: weight of the cross entropy.
        trust: weights up to this count this much, others 1, where maps of weights are given.
        ceiling: without weights, what an easy batch teaches a pixel at most; None: no such bound.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        learning_rate_warmup_ratio: where that warm-up starts, relative to the base rate.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Source:
        Li et al., "Uncertainty Estimation via Response Scaling for Pseudo-mask Noise Mitigation in
        Weakly-supervised Semantic Segmentation", AAAI 2022; XMed-Lab/URN@5e56e5e.

    Example:
        >>> URN().trust, URN().ceiling
        (0.05, 0.5)
    """

    name: str = "urn"
    segmentation_weight: float = 1.0
    trust: float | None = 0.05
    ceiling: float | None = 0.5
    learning_rate_warmup: float = 0.0
    learning_rate_warmup_ratio: float = 0.1
    drop_path_rate: float = 0.0
    total_steps: int = 20_000

    title: ClassVar[str] = "Uncertainty by Response Scaling (URN; Li et al., AAAI 2022)"


register_method(URN())
