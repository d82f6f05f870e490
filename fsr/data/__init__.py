"""Data sets and training views."""

from fsr.data.coco import COCO2014
from fsr.data.folder import FolderDataset
from fsr.data.sample import Sample
from fsr.data.scenes import SCENE_SEEDS, Scenes
from fsr.data.views import TwoViews, View
from fsr.data.voc import VOC2012

__all__ = [
    "COCO2014",
    "SCENE_SEEDS",
    "VOC2012",
    "FolderDataset",
    "Sample",
    "Scenes",
    "TwoViews",
    "View",
]
