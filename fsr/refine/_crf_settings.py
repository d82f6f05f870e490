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
# unary is made by fsr.refine.label_map_probabilities. Both are those of the released code.
CRFPreset = Literal["test", "labels"]
CRF_PRESETS: dict[CRFPreset, CRFSettings] = {
    "test": CRFSettings(),
    "labels": CRFSettings(
        gaussian_sxy=3.0,
        gaussian_weight=3.0,
        bilateral_sxy=50.0,
        bilateral_srgb=5.0,
        bilateral_weight=10.0,
    ),
}
