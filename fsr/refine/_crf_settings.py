"""Kernels and iterations of a dense CRF, and the settings of the released code by purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fsr._core.checks import check_between, check_positive_int


@dataclass(frozen=True)
class CRFSettings:
    """Kernels and iterations of a dense CRF.

    Args:
        iterations: mean-field updates.
        gaussian_sxy: width of the spatial kernel in pixels.
        gaussian_weight: its weight.
        bilateral_sxy: spatial width of the bilateral kernel in pixels.
        bilateral_srgb: its colour width, in 0..255.
        bilateral_weight: its weight.

    Raises:
        TypeError: a value is no number.
        ValueError: a value is out of range.

    Example:
        >>> CRF_PRESETS["test"].bilateral_sxy
        121.0
    """

    iterations: int = 10
    gaussian_sxy: float = 1.0
    gaussian_weight: float = 1.0
    bilateral_sxy: float = 121.0
    bilateral_srgb: float = 5.0
    bilateral_weight: float = 4.0

    def __post_init__(self) -> None:
        check_positive_int("iterations", self.iterations)
        for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb"):
            check_between(name, getattr(self, name), 0.0, float("inf"), inclusive=False)
        for name in ("gaussian_weight", "bilateral_weight"):
            check_between(name, getattr(self, name), 0.0, float("inf"))


# Settings by purpose: for predictions at test time, and for label maps or pseudo labels, whose
# unary is made by fsr.refine.label_map_probabilities; both are those of the released code. After
# them the other methods' own, by method: of the same numbers where their code has the same.
CRFPreset = Literal["test", "labels", "one_stage", "rrm", "toco", "urn", "vit_pcm"]
_WIDE = CRFSettings(
    gaussian_sxy=3.0,
    gaussian_weight=3.0,
    bilateral_sxy=80.0,
    bilateral_srgb=13.0,
    bilateral_weight=10.0,
)
_NARROW = CRFSettings(
    gaussian_sxy=1.0,
    gaussian_weight=3.0,
    bilateral_sxy=67.0,
    bilateral_srgb=3.0,
    bilateral_weight=4.0,
)
CRF_PRESETS: dict[CRFPreset, CRFSettings] = {
    "test": CRFSettings(),
    "labels": CRFSettings(
        gaussian_sxy=3.0,
        gaussian_weight=3.0,
        bilateral_sxy=50.0,
        bilateral_srgb=5.0,
        bilateral_weight=10.0,
    ),
    # 1Stage at test time: visinf/1-stage-wseg@d905fca.
    "one_stage": _WIDE,
    # RRM, inside the training step: zbf1991/RRM@6d4191c.
    "rrm": _WIDE,
    # ToCo at test time: rulixiang/ToCo@e13514d.
    "toco": CRFSettings(),
    # URN, where it refines scaled scores: XMed-Lab/URN@5e56e5e.
    "urn": _NARROW,
    # ViT-PCM at test time: deepplants/ViT-PCM@1fea66f.
    "vit_pcm": _NARROW,
}
