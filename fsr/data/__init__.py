"""Data sets and training views."""

from fsr.data._annotation_labels import labels_from_coco, labels_from_voc
from fsr.data._bands import BAND_SUFFIXES, bands_of, read_bands
from fsr.data._coco import COCO2014, coco_splits, find_coco_root
from fsr.data._coco_prepare import (
    COCO_IMAGES,
    download_coco,
    label_table,
    missing_images,
    write_masks,
)
from fsr.data._contradictions import check_masks, compare_masks
from fsr.data._cvat_labels import labels_from_cvat
from fsr.data._files import read_label_map, write_label_map
from fsr.data._folder import FolderDataset
from fsr.data._huggingface import HuggingFaceDataset
from fsr.data._label_builders import labels_from_folders, labels_from_masks
from fsr.data._label_split import split_table
from fsr.data._label_table import FORMS, LabelTable, read_labels, write_labels
from fsr.data._labelstudio_labels import labels_from_labelstudio
from fsr.data._noisy_labels import NoisyLabels
from fsr.data._photographs import (
    IMAGE_SUFFIXES,
    image_size,
    read_image,
    read_photograph,
    shows_its_pixels,
)
from fsr.data._pictures import array_of, picture_of
from fsr.data._reading import Reading, ReadingChanges
from fsr.data._rescale_crop import CropDraw, PaddedCrop, RandomRescaleCrop, padded_crop
from fsr.data._sample import Sample
from fsr.data._sbd import VOC_IMAGES, build_train_aug
from fsr.data._scenes import SCENE_SEEDS, Scenes
from fsr.data._stream import SampleSource, StepBatches, ViewStream, derive_seed
from fsr.data._uneven_classes import uneven_classes
from fsr.data._views import TwoViews, View
from fsr.data._voc import VOC2012
from fsr.data._voc_classes import VocClasses, check_class_list, read_class_list
from fsr.data._voc_download import download_archives
from fsr.data._yolo_labels import labels_from_yolo

__all__ = [
    "BAND_SUFFIXES",
    "COCO2014",
    "COCO_IMAGES",
    "FORMS",
    "IMAGE_SUFFIXES",
    "SCENE_SEEDS",
    "VOC2012",
    "VOC_IMAGES",
    "CropDraw",
    "FolderDataset",
    "HuggingFaceDataset",
    "LabelTable",
    "NoisyLabels",
    "PaddedCrop",
    "RandomRescaleCrop",
    "Reading",
    "ReadingChanges",
    "Sample",
    "SampleSource",
    "Scenes",
    "StepBatches",
    "TwoViews",
    "View",
    "ViewStream",
    "VocClasses",
    "array_of",
    "bands_of",
    "build_train_aug",
    "check_class_list",
    "check_masks",
    "coco_splits",
    "compare_masks",
    "derive_seed",
    "download_archives",
    "download_coco",
    "find_coco_root",
    "image_size",
    "label_table",
    "labels_from_coco",
    "labels_from_cvat",
    "labels_from_folders",
    "labels_from_labelstudio",
    "labels_from_masks",
    "labels_from_voc",
    "labels_from_yolo",
    "missing_images",
    "padded_crop",
    "picture_of",
    "read_bands",
    "read_class_list",
    "read_image",
    "read_label_map",
    "read_labels",
    "read_photograph",
    "shows_its_pixels",
    "split_table",
    "uneven_classes",
    "write_label_map",
    "write_labels",
    "write_masks",
]
