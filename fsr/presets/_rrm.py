"""Settings of RRM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fsr._core.checks import check_choice
from fsr.presets._method import Method, Views, register_method
from fsr.refine import BACKENDS, Backend


@dataclass(frozen=True)
class RRM(Method):
    """Settings of RRM: a segmentation that learns where CAM and dense CRF are both sure.

    Args:
        name: what to call it.
        classification_weight: weight of the classification.
        segmentation_weight: weight of the joint cross entropy on reliable regions.
        energy_weight: weight of the dense energy, in units of 1e-7.
        prototype_weight: weight of the feature loss of the journal version; 0 leaves it out.
        joint_from: fraction of the run at which all but the classification starts.
        cam_scales: image sizes whose CAMs the regions are made from, relative to the view.
        feature_dim: width of the features between the two convolutions of the segmentation.
        feature_dilation: dilation of both convolutions, in tokens.
        classifier_dropout: dropout before the classifier.
        energy_sigma_rgb: colour width of the dense energy's kernel.
        energy_sigma_xy: spatial width of the same in pixels.
        energy_scale: size at which the dense energy is computed, relative to the view.
        crf_backend: ``"pydensecrf"`` (extra ``crf``); ``"lattice"``, without an extra; or
            ``"torch"``, exact, for small images.
        crf_workers: processes that run the dense CRF; 0 runs it in the step itself.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up, of those
            schedules that have one.
        learning_rate_warmup_ratio: where that warm-up starts, relative to the base rate.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Source:
        Zhang et al., "Reliability Does Matter: An End-to-End Weakly Supervised Semantic
        Segmentation Approach", AAAI 2020 (zbf1991/RRM@6d4191c).

    Example:
        >>> RRM().resolve()["joint_from"]
        10000
    """

    name: str = "rrm"
    classification_weight: float = 1.0
    segmentation_weight: float = 1.0
    energy_weight: float = 1.0
    prototype_weight: float = 0.0
    joint_from: float = 0.5
    cam_scales: tuple[float, ...] = (1.0, 0.5, 1.5, 2.0)
    feature_dim: int = 512
    feature_dilation: int = 12
    classifier_dropout: float = 0.5
    energy_sigma_rgb: float = 15.0
    energy_sigma_xy: float = 100.0
    energy_scale: float = 0.5
    crf_backend: Backend = "pydensecrf"
    crf_workers: int = 0
    learning_rate_warmup: float = 0.0
    learning_rate_warmup_ratio: float = 1e-6
    drop_path_rate: float = 0.0
    total_steps: int = 20_000

    title: ClassVar[str] = "Reliable Region Mining (Zhang et al., AAAI 2020)"
    views: ClassVar[Views] = "padded"
    phases: ClassVar[tuple[str, ...]] = ("joint_from", "learning_rate_warmup")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("crf_backend", self.crf_backend, BACKENDS)

    def heads(self) -> Mapping[str, Any]:
        """Return averaged scores and the segmentation with the features that it is read off."""
        dilation = self.feature_dilation
        return {
            "class_logits": {"kind": "mean_scores", "dropout": self.classifier_dropout},
            "segmentation_features": {
                "kind": "dilated_features",
                "out_dim": self.feature_dim,
                "dilation": dilation,
            },
            "segmentation": {
                "kind": "segmentation_of_features",
                "dim": self.feature_dim,
                "dilation": dilation,
            },
            "aux_class_logits": None,
            "projections": None,
        }


register_method(RRM())
