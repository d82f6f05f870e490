"""Loss terms of the training objective (Eq. 8-10): pure functions, and modules over them."""

from fsr.losses._boundary import boundary_weights, label_boundary
from fsr.losses._center import Center
from fsr.losses._classification import classification_loss
from fsr.losses._dense_energy import DenseEnergyLoss, gated_dense_energy, uncertainty_gate
from fsr.losses._distributions import confident_loss, teacher_distribution, uncertain_loss
from fsr.losses._ptc import PTCLoss, patch_token_contrast
from fsr.losses._reinforcement import ReinforcementLosses, SelfReinforcementLoss
from fsr.losses._segmentation import balanced_segmentation_loss

__all__ = [
    "Center",
    "DenseEnergyLoss",
    "PTCLoss",
    "ReinforcementLosses",
    "SelfReinforcementLoss",
    "balanced_segmentation_loss",
    "boundary_weights",
    "classification_loss",
    "confident_loss",
    "gated_dense_energy",
    "label_boundary",
    "patch_token_contrast",
    "teacher_distribution",
    "uncertain_loss",
    "uncertainty_gate",
]
