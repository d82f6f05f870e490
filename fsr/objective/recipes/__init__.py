"""Methods as recipes, one file each: data that names terms, weights, phases and CAM sources."""

from fsr.objective.recipes._build import build_recipe
from fsr.objective.recipes._fsr import fsr_recipe
from fsr.objective.recipes._mctformer import mctformer_recipe
from fsr.objective.recipes._supervised import supervised_recipe
from fsr.objective.recipes._toco import toco_recipe
from fsr.objective.recipes._vit_pcm import vit_pcm_recipe

__all__ = [
    "build_recipe",
    "fsr_recipe",
    "mctformer_recipe",
    "supervised_recipe",
    "toco_recipe",
    "vit_pcm_recipe",
]
