"""Methods as recipes, one file each: data that names terms, weights, phases and CAM sources."""

from fsr.objective.recipes._afa import afa_recipe
from fsr.objective.recipes._beco import beco_recipe
from fsr.objective.recipes._build import build_recipe
from fsr.objective.recipes._fsr import fsr_recipe
from fsr.objective.recipes._mctformer import mctformer_recipe
from fsr.objective.recipes._one_stage import one_stage_recipe
from fsr.objective.recipes._recam import recam_recipe
from fsr.objective.recipes._rrm import rrm_recipe
from fsr.objective.recipes._seam import seam_recipe
from fsr.objective.recipes._supervised import supervised_recipe, urn_recipe
from fsr.objective.recipes._toco import toco_recipe
from fsr.objective.recipes._vit_pcm import vit_pcm_recipe

__all__ = [
    "afa_recipe",
    "beco_recipe",
    "build_recipe",
    "fsr_recipe",
    "mctformer_recipe",
    "one_stage_recipe",
    "recam_recipe",
    "rrm_recipe",
    "seam_recipe",
    "supervised_recipe",
    "toco_recipe",
    "urn_recipe",
    "vit_pcm_recipe",
]
