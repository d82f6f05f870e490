"""Methods as recipes, one file each: data that names terms, weights, phases and CAM sources."""

from fsr.objective.recipes._build import build_recipe
from fsr.objective.recipes._fsr import fsr_recipe
from fsr.objective.recipes._recam import recam_recipe
from fsr.objective.recipes._seam import seam_recipe
from fsr.objective.recipes._supervised import supervised_recipe
from fsr.objective.recipes._toco import toco_recipe

__all__ = [
    "build_recipe",
    "fsr_recipe",
    "recam_recipe",
    "seam_recipe",
    "supervised_recipe",
    "toco_recipe",
]
