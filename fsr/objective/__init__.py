"""The training objective (Eq. 10): named terms over what one step has at hand."""

from fsr.objective import recipes, terms
from fsr.objective._class_mix import ClassMix, GivenLabels, MixedView, OnlineLabels
from fsr.objective._crops import CropView, LocalCrops
from fsr.objective._draws import Draws, Place
from fsr.objective._labels import PhasedLabels, PixelLabels, TokenLabels
from fsr.objective._mask import PatchMask, check_masks
from fsr.objective._needs import Needs
from fsr.objective._objective import TrainingObjective
from fsr.objective._output import ObjectiveOutput, total_loss
from fsr.objective._part import Part, Term
from fsr.objective._propagated import PropagatedLabels
from fsr.objective._recipe import Recipe, Weighted
from fsr.objective._resized import ResizedView, SizedMaps
from fsr.objective._step import Step
from fsr.objective._targets import TeacherTargets
from fsr.objective._views import check_block
from fsr.objective.recipes import build_recipe

__all__ = [
    "ClassMix",
    "CropView",
    "Draws",
    "GivenLabels",
    "LocalCrops",
    "MixedView",
    "Needs",
    "ObjectiveOutput",
    "OnlineLabels",
    "Part",
    "PatchMask",
    "PhasedLabels",
    "PixelLabels",
    "Place",
    "PropagatedLabels",
    "Recipe",
    "ResizedView",
    "SizedMaps",
    "Step",
    "TeacherTargets",
    "Term",
    "TokenLabels",
    "TrainingObjective",
    "Weighted",
    "build_recipe",
    "check_block",
    "check_masks",
    "recipes",
    "terms",
    "total_loss",
]
