"""Trained models at work: streaming evaluation over a data set."""

from fsr.inference.evaluation import EvaluationResult, evaluate

__all__ = ["EvaluationResult", "evaluate"]
