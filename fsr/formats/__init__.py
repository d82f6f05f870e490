"""Masks in the files of annotation tools: COCO, CVAT, Label Studio, YOLO."""

from fsr.formats._brush import brush_runs
from fsr.formats._coco import write_coco
from fsr.formats._cvat import write_cvat
from fsr.formats._labelled import LabelledImage
from fsr.formats._labelstudio import write_labelstudio
from fsr.formats._outlines import Outline, outlines, without_holes
from fsr.formats._runs import run_lengths
from fsr.formats._write import FORMATS, write_annotations
from fsr.formats._yolo import write_yolo

__all__ = [
    "FORMATS",
    "LabelledImage",
    "Outline",
    "brush_runs",
    "outlines",
    "run_lengths",
    "without_holes",
    "write_annotations",
    "write_coco",
    "write_cvat",
    "write_labelstudio",
    "write_yolo",
]
