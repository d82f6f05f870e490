"""Reusable components for weakly supervised semantic segmentation.

The names below are the components that a training pipeline is built from; everything around them
lives in the submodules. All are loaded on first use: ``fsr.cam`` is there after ``import fsr``.
Importing the package prints nothing and loads neither torch nor an optional package.
"""

import importlib
import typing

from fsr._core import moved
from fsr._core.version import __version__

if typing.TYPE_CHECKING:
    from fsr.aggregation import MaskedCrossAttentionAggregator
    from fsr.inference import load
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
    "load",
]

# Loaded on first use too, with torch: the command `fsr` lists what it does without either.
_COMPONENTS = {
    "EMATeacher": "teacher",
    "MaskedCrossAttentionAggregator": "aggregation",
    "PTCLoss": "losses",
    "SelfReinforcementLoss": "losses",
    "SingleStageSegmenter": "segmenter",
    "UncertainMasker": "masking",
    "load": "inference",
}
_ROOMS = (
    "affinity",
    "aggregation",
    "attention",
    "backbone",
    "cam",
    "cli",
    "data",
    "decoder",
    "deploy",
    "errors",
    "filters",
    "formats",
    "inference",
    "interop",
    "losses",
    "masking",
    "metrics",
    "objective",
    "optim",
    "pooling",
    "presets",
    "projection",
    "refine",
    "report",
    "schedules",
    "segmenter",
    "teacher",
    "train",
    "visualize",
)

moved.redirect_old_modules()


def __getattr__(name: str) -> typing.Any:
    """Load a room or a component on first use."""
    if name in _ROOMS:
        return importlib.import_module(f"fsr.{name}")
    if name in _COMPONENTS:
        component = getattr(importlib.import_module(f"fsr.{_COMPONENTS[name]}"), name)
        globals()[name] = component
        return component
    raise AttributeError(f"module 'fsr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_COMPONENTS, *_ROOMS})
