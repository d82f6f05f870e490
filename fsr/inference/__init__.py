"""Trained models at work: evaluation, prediction of files, export of pseudo labels."""

from fsr._core.spelled import describe
from fsr.inference._evaluation import evaluate
from fsr.inference._evaluation_options import EvaluationOptions, PseudoLabelOptions
from fsr.inference._evaluation_result import EvaluationResult
from fsr.inference._export import ExportResult, export_pseudo_labels
from fsr.inference._export_folder import MASKS, flat_name
from fsr.inference._export_options import ExportOptions, ImagePlacement
from fsr.inference._folder_run import FolderRun, predict_folder
from fsr.inference._label_sources import LabelKind, LabelSource
from fsr.inference._load import load
from fsr.inference._network_source import find_network
from fsr.inference._options import OnError, RunOptions
from fsr.inference._photographs import Found, ImageFile, check_apart, find_images, search_images
from fsr.inference._prediction import Prediction, predict_paths
from fsr.inference._prediction_folder import PredictionFolder
from fsr.inference._prediction_options import PredictionOptions
from fsr.inference._prediction_settings import made_by_file
from fsr.inference._predictor import Predictor
from fsr.inference._provenance import file_hash, versions
from fsr.inference._report import result_table, result_to_dict
from fsr.inference._run_card import run_card
from fsr.inference._runner import SegmenterRunner, check_decoder
from fsr.inference._segmentation import Segmentation
from fsr.inference._settings import record_settings
from fsr.inference._writing import PredictionWriter, check_own

__all__ = [
    "MASKS",
    "EvaluationOptions",
    "EvaluationResult",
    "ExportOptions",
    "ExportResult",
    "FolderRun",
    "Found",
    "ImageFile",
    "ImagePlacement",
    "LabelKind",
    "LabelSource",
    "OnError",
    "Prediction",
    "PredictionFolder",
    "PredictionOptions",
    "PredictionWriter",
    "Predictor",
    "PseudoLabelOptions",
    "RunOptions",
    "Segmentation",
    "SegmenterRunner",
    "check_apart",
    "check_decoder",
    "check_own",
    "describe",
    "evaluate",
    "export_pseudo_labels",
    "file_hash",
    "find_images",
    "find_network",
    "flat_name",
    "load",
    "made_by_file",
    "predict_folder",
    "predict_paths",
    "record_settings",
    "result_table",
    "result_to_dict",
    "run_card",
    "search_images",
    "versions",
]
