"""Trained models at work: evaluation of a data set, prediction of files."""

from fsr.inference.evaluation import EvaluationResult, evaluate
from fsr.inference.photographs import ImageFile, find_images
from fsr.inference.prediction import Prediction, predict_paths

__all__ = [
    "EvaluationResult",
    "ImageFile",
    "Prediction",
    "evaluate",
    "find_images",
    "predict_paths",
]
