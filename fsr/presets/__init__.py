"""The training recipes as plain data: the source of each CAM, every weight, every phase."""

from fsr.presets._beyond_checks import FURTHER_TERMS, UNCERTAIN_FORMS, UncertainForm
from fsr.presets._cam_source import CAMSource
from fsr.presets._preset import Preset
from fsr.presets._preset_checks import CAM_STRATEGIES, LOSS_TERMS, PHASES
from fsr.presets._registry import COCO, PRESETS, get_preset
from fsr.presets._turnover import TEACHER_TURNOVER, teacher_source_step

__all__ = [
    "CAM_STRATEGIES",
    "COCO",
    "FURTHER_TERMS",
    "LOSS_TERMS",
    "PHASES",
    "PRESETS",
    "TEACHER_TURNOVER",
    "UNCERTAIN_FORMS",
    "CAMSource",
    "Preset",
    "UncertainForm",
    "get_preset",
    "teacher_source_step",
]
