"""Loss terms, those of Eq. 8-10 and of other methods: pure functions, and modules over them."""

from fsr.losses._affinity import affinity_loss
from fsr.losses._boundary import boundary_weights, label_boundary
from fsr.losses._cam_consistency import cam_consistency_loss
from fsr.losses._center import Center
from fsr.losses._class_token_contrast import ClassTokenContrastLoss, class_token_contrast
from fsr.losses._class_token_separation import class_token_separation
from fsr.losses._classification import classification_loss
from fsr.losses._cotraining import CotrainingLoss, CotrainingParts, cotraining_loss
from fsr.losses._dense_energy import DenseEnergyLoss, gated_dense_energy, uncertainty_gate
from fsr.losses._distributions import confident_loss, teacher_distribution, uncertain_loss
from fsr.losses._equivariance import equivariance_losses
from fsr.losses._information import TargetInformation, target_information
from fsr.losses._joint import joint_cross_entropy
from fsr.losses._min_pooling import min_pooling_loss
from fsr.losses._pair_labels import pair_labels
from fsr.losses._patch_equivariance import equivariance_targets, patch_cross_entropy
from fsr.losses._patch_scores import patch_score_loss
from fsr.losses._pixel_entropy import pixel_cross_entropy
from fsr.losses._prototypes import prototype_loss
from fsr.losses._ptc import PTCLoss, patch_token_contrast
from fsr.losses._recam import recam_loss
from fsr.losses._regression import REGRESSION_FORMS, RegressionForm, regression_loss
from fsr.losses._reinforcement import ReinforcementLosses, SelfReinforcementLoss
from fsr.losses._relations import relation_loss
from fsr.losses._scale import Scale, output_spread
from fsr.losses._segmentation import balanced_segmentation_loss
from fsr.losses._self_supervised_mask import self_supervised_mask_loss
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
    "ClassTokenContrastLoss",
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
    "affinity_loss",
    "balanced_segmentation_loss",
    "boundary_weights",
    "cam_consistency_loss",
    "class_token_contrast",
    "class_token_separation",
    "classification_loss",
    "confident_loss",
    "cotraining_loss",
    "equivariance_losses",
    "equivariance_targets",
    "gated_dense_energy",
    "joint_cross_entropy",
    "label_boundary",
    "min_pooling_loss",
    "output_spread",
    "pair_labels",
    "patch_cross_entropy",
    "patch_score_loss",
    "patch_token_contrast",
    "pixel_cross_entropy",
    "prototype_loss",
    "recam_loss",
    "regression_loss",
    "relation_loss",
    "self_supervised_mask_loss",
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
