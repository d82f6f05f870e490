"""Reusable components for weakly supervised semantic segmentation.

The names below are the components that a training pipeline is built from; everything around them
lives in the submodules, which are loaded on first use: ``fsr.cam`` is there after ``import fsr``.
Importing the package prints nothing and loads no optional package.
"""

import importlib
import types

from fsr._core import moved
from fsr._core.version import __version__
from fsr.aggregation import MaskedCrossAttentionAggregator
from fsr.losses import PTCLoss, SelfReinforcementLoss
from fsr.masking import UncertainMasker
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher

__all__ = [
    "EMATeacher",
    "MaskedCrossAttentionAggregator",
    "PTCLoss",
    "SelfReinforcementLoss",
    "SingleStageSegmenter",
    "UncertainMasker",
    "__version__",
]

_ROOMS = (
    "aggregation",
    "backbone",
    "cam",
    "cli",
    "data",
    "decoder",
    "errors",
    "filters",
    "inference",
    "interop",
    "losses",
    "masking",
    "metrics",
    "objective",
    "optim",
    "presets",
    "projection",
    "refine",
    "schedules",
    "segmenter",
    "teacher",
    "train",
    "visualize",
)

moved.redirect_old_modules()


def __getattr__(name: str) -> types.ModuleType:
    """Load a room on first use."""
    if name in _ROOMS:
        return importlib.import_module(f"fsr.{name}")
    raise AttributeError(f"module 'fsr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
