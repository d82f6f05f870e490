"""Terms of training objectives, one file each: what they read, and the loss made of it."""

from fsr.objective.terms._affinity import Affinity
from fsr.objective.terms._auxiliary import AuxiliaryClassification
from fsr.objective.terms._cam_consistency import CamConsistency
from fsr.objective.terms._class_token_contrast import ClassTokenContrast
from fsr.objective.terms._class_token_separation import ClassTokenSeparation, PatchClassification
from fsr.objective.terms._classification import Classification
from fsr.objective.terms._confident import ConfidentReinforcement
from fsr.objective.terms._cotraining import Cotraining
from fsr.objective.terms._energy import DenseEnergy
from fsr.objective.terms._equivariance import (
    ClassificationOfViews,
    CrossEquivariance,
    Equivariance,
    MinPooling,
    ViewDifferences,
)
from fsr.objective.terms._labelled import LabelledSegmentation
from fsr.objective.terms._pair_affinity import PairAffinity
from fsr.objective.terms._patch_equivariance import PatchEquivariance
from fsr.objective.terms._patch_max import ClassifierPenalty, PatchMaxClassification
from fsr.objective.terms._prototypes import Prototypes
from fsr.objective.terms._reactivation import Reactivation
from fsr.objective.terms._region_segmentation import RegionSegmentation
from fsr.objective.terms._regression import RegressionReinforcement
from fsr.objective.terms._relations import FrozenRelations
from fsr.objective.terms._segmentation import Segmentation
from fsr.objective.terms._self_supervised_mask import SelfSupervisedMask
from fsr.objective.terms._uncertain import UncertainReinforcement

__all__ = [
    "Affinity",
    "AuxiliaryClassification",
    "CamConsistency",
    "ClassTokenContrast",
    "ClassTokenSeparation",
    "Classification",
    "ClassificationOfViews",
    "ClassifierPenalty",
    "ConfidentReinforcement",
    "Cotraining",
    "CrossEquivariance",
    "DenseEnergy",
    "Equivariance",
    "FrozenRelations",
    "LabelledSegmentation",
    "MinPooling",
    "PairAffinity",
    "PatchClassification",
    "PatchEquivariance",
    "PatchMaxClassification",
    "Prototypes",
    "Reactivation",
    "RegionSegmentation",
    "RegressionReinforcement",
    "Segmentation",
    "SelfSupervisedMask",
    "UncertainReinforcement",
    "ViewDifferences",
]
