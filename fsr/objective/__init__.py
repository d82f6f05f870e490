"""The training objective (Eq. 10): named terms over what one step has at hand."""

from fsr.objective._objective import TrainingObjective
from fsr.objective._output import ObjectiveOutput, total_loss

__all__ = ["ObjectiveOutput", "TrainingObjective", "total_loss"]
