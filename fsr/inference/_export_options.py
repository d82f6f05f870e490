"""What an export of pseudo labels is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fsr._core.checks import check_choice
from fsr.inference._label_sources import LabelKind, LabelRecipe
from fsr.inference._options import ON_ERROR, OnError, RunChanges, RunOptions
from fsr.refine import PAR
from fsr.segmenter import Reduction

ImagePlacement = Literal["none", "link", "copy"]

IMAGES: tuple[ImagePlacement, ...] = ("none", "link", "copy")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(LabelRecipe, RunOptions):
    """Options of :func:`fsr.inference.export_pseudo_labels`.

    They are those below, those of :class:`LabelSource`, which say what the labels are, and those of
    :class:`RunOptions`. A CRF is called as by :func:`fsr.inference.predict_paths`.

    The folder is laid out as VOC 2012::

        SegmentationClass/NAME.png           palette PNG, 0 background, c + 1 class c, 255 unknown
        Certainty/NAME.png                   with uncertainty: 255 where labels hold, 0 where not
        JPEGImages/NAME.jpg                  with images="link" or "copy"
        ImageSets/Segmentation/train.txt     names of the masks, in the order of the data set
        images.csv                           where each image lies, if the data set tells
        classes.txt                          name of label n in line n + 1
        settings.json                        all that changes a label, whatever the sample
        made_of.jsonl                        what each mask was made of: image, labels, settings

    so that ``VOC2012(folder, "train")`` reads it if the classes are VOC's, and torchvision's
    ``VOCSegmentation`` if the folder is called ``VOCdevkit/VOC2012``. Slashes in names become
    ``__``, since such lists name files of one folder.

    Args:
        par: refinement of ``"cam+par"``; that of the paper by default.
        max_size: longer side in pixels that larger images are shrunk to for the network.
        images: ``"none"``: masks only; ``"link"``: symbolic links to the data set's files, which
            are called ``.jpg`` whatever they hold; ``"copy"``: their JPEG files copied, other
            images written as JPEG of quality 95. Photographs that EXIF data turn, and 16-bit
            images, are written as JPEG either way: readers would not agree on them.
        split: name of the list.
        class_names: C names; those of the model or the data set by default.
        uncertainty: also write how well each pixel's label holds when scores are scaled, see
            :func:`fsr.refine.response_scaling_uncertainty`, as URN learns from; of a prediction.
            A CRF refines between the powers too, once for each present class and power.
        settings: more for ``settings.json``, such as the path of the checkpoint.
        on_error: ``"raise"`` at the first sample that cannot be used or that the CRF refuses, or
            ``"skip"`` it and tell in the result.

    Raises:
        TypeError: an option has the wrong type.
        ValueError: an option is out of range or does not belong to the source.

    Example:
        >>> ExportOptions(source="cam", threshold=0.4, batch_size=2).images
        'none'
    """

    par: PAR | None = None
    max_size: int | None = None
    images: ImagePlacement = "none"
    split: str = "train"
    class_names: Sequence[str] | None = None
    uncertainty: bool = False
    settings: Mapping[str, Any] | None = None
    on_error: OnError = "raise"

    def __post_init__(self) -> None:
        RunOptions.__post_init__(self)
        check_choice("images", self.images, IMAGES)
        check_choice("on_error", self.on_error, ON_ERROR)
        LabelRecipe.__post_init__(self)
        if self.uncertainty and self.source != "prediction":
            raise ValueError(
                f"uncertainty: expected source 'prediction', whose scores are scaled, "
                f"got {self.source!r}"
            )
        if self.confidence is not None and self.source != "prediction" and self.crf is None:
            raise ValueError(
                f"confidence: source {self.source!r} has no probabilities without a CRF; "
                "use low and high"
            )


class ExportChanges(RunChanges, total=False):
    """The fields of :class:`ExportOptions` as keywords."""

    source: LabelKind
    confidence: float | None
    low: float | None
    high: float | None
    threshold: float | None
    scales: Sequence[float]
    cam_scales: Sequence[float]
    reduce: Reduction
    certainty: float
    par: PAR | None
    max_size: int | None
    images: ImagePlacement
    split: str
    class_names: Sequence[str] | None
    uncertainty: bool
    settings: Mapping[str, Any] | None
    on_error: OnError
