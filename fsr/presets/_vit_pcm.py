"""Settings of ViT-PCM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fsr.presets._method import Method, Views, register_method


@dataclass(frozen=True)
class ViTPCM(Method):
    """Settings of ViT-PCM: patches classified one by one, pooled by their maximum.

    The rate of the optimiser, which blocks learn and when are options of a run, see the shipped
    ``vit_pcm_voc.yaml``.

    Args:
        name: what to call it.
        classification_weight: weight of the classification of the surest patches.
        equivariance_weight: weight of the agreement of second views with the first.
        penalty_weight: weight of the sum of squares of the patch classifier's weights.
        lstm_dim: width of the state of each of the four directions of the recurrent conditioning.
        head_dropout: dropout before the conditioning and before the patch classifier.
        view_tiles: rows and columns of second views in one picture.
        view_crop: side of the crop that a second view shows, relative to the first view; it is
            rounded to whole patches.
        view_crop_prob: probability that a second view shows a crop, not all; 0 on COCO.
        view_flip: probability of each mirror and of the transposition of a second view.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Raises:
        ValueError: a number is out of range.

    Source:
        Rossetti et al., "Max Pooling with Vision Transformers Reconciles Class and Shape in Weakly
        Supervised Semantic Segmentation", ECCV 2022 (deepplants/ViT-PCM@1fea66f).

    Example:
        >>> ViTPCM().heads()["class_logits"]
        'patch_max_logits'
    """

    name: str = "vit_pcm"
    classification_weight: float = 1.0
    equivariance_weight: float = 1.0
    penalty_weight: float = 0.01
    lstm_dim: int = 192
    head_dropout: float = 0.2
    view_tiles: int = 2
    view_crop: float = 1 / 3
    view_crop_prob: float = 0.3
    view_flip: float = 0.5
    drop_path_rate: float = 0.0
    total_steps: int = 13_200

    title: ClassVar[str] = "ViT-PCM (Rossetti et al., ECCV 2022)"
    offers: ClassVar[frozenset[str]] = frozenset({"blocks"})
    views: ClassVar[Views] = "one"
    stages: ClassVar[Literal[1, 2]] = 2

    def heads(self) -> Mapping[str, Any]:
        """Return the patch classifier as the segmentation, and what is read off it."""
        return {
            "segmentation": {
                "kind": "patch_classifier",
                "hidden": self.lstm_dim,
                "dropout": self.head_dropout,
            },
            "class_logits": "patch_max_logits",
            "maps": "patch_probabilities",
            "aux_class_logits": None,
            "projections": None,
        }


register_method(ViTPCM())
