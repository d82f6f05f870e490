"""Trained models at work: evaluation, prediction of files, export of pseudo labels."""

from fsr.inference._scoring import PseudoLabelOptions
from fsr.inference.evaluation import EvaluationResult, evaluate
from fsr.inference.export import ExportResult, export_pseudo_labels
from fsr.inference.photographs import ImageFile, find_images
from fsr.inference.prediction import Prediction, predict_paths
from fsr.inference.writing import PredictionWriter

__all__ = [
    "EvaluationResult",
    "ExportResult",
    "ImageFile",
    "Prediction",
    "PredictionWriter",
    "PseudoLabelOptions",
    "evaluate",
    "export_pseudo_labels",
    "find_images",
    "predict_paths",
]
