"""The settings of methods as plain data: the source of each CAM, every weight, every phase."""

from fsr.presets._afa import AFA
from fsr.presets._beco import BECO
from fsr.presets._beyond_checks import FURTHER_TERMS, UNCERTAIN_FORMS, UncertainForm
from fsr.presets._cam_source import CAMSource
from fsr.presets._mctformer import MCTformerPlus
from fsr.presets._method import METHODS, VIEWS, Method, Views, register_method
from fsr.presets._one_stage import OneStage
from fsr.presets._preset import Preset
from fsr.presets._preset_checks import CAM_STRATEGIES, LOSS_TERMS, PHASES
from fsr.presets._recam import ReCAM
from fsr.presets._registry import COCO, PRESETS, get_method, get_preset
from fsr.presets._rrm import RRM
from fsr.presets._seam import SEAM
from fsr.presets._segmentation import Supervised
from fsr.presets._toco import ToCo
from fsr.presets._turnover import TEACHER_TURNOVER, teacher_source_step
from fsr.presets._urn import URN
from fsr.presets._vit_pcm import ViTPCM

__all__ = [
    "AFA",
    "BECO",
    "CAM_STRATEGIES",
    "COCO",
    "FURTHER_TERMS",
    "LOSS_TERMS",
    "METHODS",
    "PHASES",
    "PRESETS",
    "RRM",
    "SEAM",
    "TEACHER_TURNOVER",
    "UNCERTAIN_FORMS",
    "URN",
    "VIEWS",
    "CAMSource",
    "MCTformerPlus",
    "Method",
    "OneStage",
    "Preset",
    "ReCAM",
    "Supervised",
    "ToCo",
    "UncertainForm",
    "ViTPCM",
    "Views",
    "get_method",
    "get_preset",
    "register_method",
    "teacher_source_step",
]
