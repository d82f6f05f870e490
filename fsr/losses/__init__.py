"""Loss terms of the training objective (Eq. 8-10): pure functions, and modules over them."""

from fsr.losses._boundary import boundary_weights, label_boundary
from fsr.losses._cam_consistency import cam_consistency_loss
from fsr.losses._center import Center
from fsr.losses._classification import classification_loss
from fsr.losses._cotraining import CotrainingLoss, CotrainingParts, cotraining_loss
from fsr.losses._dense_energy import DenseEnergyLoss, gated_dense_energy, uncertainty_gate
from fsr.losses._distributions import confident_loss, teacher_distribution, uncertain_loss
from fsr.losses._information import TargetInformation, target_information
from fsr.losses._joint import joint_cross_entropy
from fsr.losses._pixel_entropy import pixel_cross_entropy
from fsr.losses._prototypes import prototype_loss
from fsr.losses._ptc import PTCLoss, patch_token_contrast
from fsr.losses._regression import REGRESSION_FORMS, RegressionForm, regression_loss
from fsr.losses._reinforcement import ReinforcementLosses, SelfReinforcementLoss
from fsr.losses._relations import relation_loss
from fsr.losses._scale import Scale, output_spread
from fsr.losses._segmentation import balanced_segmentation_loss
from fsr.losses._target_forms import (
    TARGET_FORMS,
    TargetForm,
    sinkhorn_distribution,
    standardised_distribution,
    target_distribution,
)
from fsr.losses._weighted import underfit, weighted_cross_entropy

__all__ = [
    "REGRESSION_FORMS",
    "TARGET_FORMS",
    "Center",
    "CotrainingLoss",
    "CotrainingParts",
    "DenseEnergyLoss",
    "PTCLoss",
    "RegressionForm",
    "ReinforcementLosses",
    "Scale",
    "SelfReinforcementLoss",
    "TargetForm",
    "TargetInformation",
    "balanced_segmentation_loss",
    "boundary_weights",
    "cam_consistency_loss",
    "classification_loss",
    "confident_loss",
    "cotraining_loss",
    "gated_dense_energy",
    "joint_cross_entropy",
    "label_boundary",
    "output_spread",
    "patch_token_contrast",
    "pixel_cross_entropy",
    "prototype_loss",
    "regression_loss",
    "relation_loss",
    "sinkhorn_distribution",
    "standardised_distribution",
    "target_distribution",
    "target_information",
    "teacher_distribution",
    "uncertain_loss",
    "uncertainty_gate",
    "underfit",
    "weighted_cross_entropy",
]
