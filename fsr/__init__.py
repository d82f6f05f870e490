"""Reusable components for weakly supervised semantic segmentation.

The names below are the components that a training pipeline is built from; everything around them
lives in the submodules. Importing the package prints nothing and loads no optional package.
"""

from fsr.aggregation import MaskedCrossAttentionAggregator
from fsr.losses.ptc import PTCLoss
from fsr.losses.reinforcement import SelfReinforcementLoss
from fsr.masking import UncertainMasker
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher

__version__ = "0.1.0"

__all__ = [
    "EMATeacher",
    "MaskedCrossAttentionAggregator",
    "PTCLoss",
    "SelfReinforcementLoss",
    "SingleStageSegmenter",
    "UncertainMasker",
    "__version__",
]
