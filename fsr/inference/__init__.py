"""Trained models at work: evaluation, prediction of files, export of pseudo labels."""

from fsr.inference._evaluation import EvaluationResult, evaluate
from fsr.inference._export import ExportResult, export_pseudo_labels
from fsr.inference._label_sources import LabelSource
from fsr.inference._photographs import ImageFile, find_images
from fsr.inference._prediction import Prediction, predict_paths
from fsr.inference._provenance import describe, file_hash, versions
from fsr.inference._report import result_table, result_to_dict
from fsr.inference._runner import SegmenterRunner
from fsr.inference._scoring import PseudoLabelOptions
from fsr.inference._writing import PredictionWriter, record_settings

__all__ = [
    "EvaluationResult",
    "ExportResult",
    "ImageFile",
    "LabelSource",
    "Prediction",
    "PredictionWriter",
    "PseudoLabelOptions",
    "SegmenterRunner",
    "describe",
    "evaluate",
    "export_pseudo_labels",
    "file_hash",
    "find_images",
    "predict_paths",
    "record_settings",
    "result_table",
    "result_to_dict",
    "versions",
]
