"""Pseudo labels of a training set, in the folder layout that VOC-style trainers read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from fsr._core.distributed import gather_objects, is_main_process
from fsr.data import SampleSource
from fsr.errors import DataError
from fsr.inference._export_folder import Done, ExportFolder, image_path
from fsr.inference._export_options import ExportChanges, ExportOptions
from fsr.inference._export_reading import LabelledSamples
from fsr.inference._item import Item, raise_error
from fsr.inference._label_maps import CamStage, ProbabilityStage, at_own_size, within_labels
from fsr.inference._label_sources import recipe_settings
from fsr.inference._loading import chunks, own_share
from fsr.inference._maps import check_max_size
from fsr.inference._options import with_changes
from fsr.inference._pipeline import Pipeline, Stage, on_device
from fsr.inference._provenance import describe, describe_crf, versions, weights_hash
from fsr.inference._runner import SegmenterRunner, find_segmenter
from fsr.inference._writing import record_settings, write_class_names
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ExportResult(NamedTuple):
    """What an export did, over all processes.

    Attributes:
        written: number of masks written.
        kept: number of masks that an earlier run had written.
        failed: what went wrong, one message per sample without a mask.
    """

    written: int
    kept: int
    failed: tuple[str, ...]


def export_pseudo_labels(
    model: nn.Module,
    dataset: SampleSource,
    folder: str | Path,
    *,
    options: ExportOptions | None = None,
    **changes: Unpack[ExportChanges],
) -> ExportResult:
    r"""Write label maps that a fully supervised trainer learns from, out of image-level labels.

    The folder is laid out as VOC 2012::

        SegmentationClass/NAME.png           palette PNG, 0 background, c + 1 class c, 255 unknown
        JPEGImages/NAME.jpg                  with images="link" or "copy"
        ImageSets/Segmentation/train.txt     names of the masks, in the order of the data set
        images.csv                           where each image lies, if the data set tells
        classes.txt                          name of label n in line n + 1
        settings.json                        all that changes a label

    so that ``VOC2012(folder, "train")`` reads it if the classes are VOC's, and torchvision's
    ``VOCSegmentation`` if the folder is called ``VOCdevkit/VOC2012``. Slashes in names become
    ``__``, since such lists name files of one folder.

    An interrupted export goes on where it stopped: masks that are there are kept, and a folder that
    was begun with other settings is refused. Of several processes each takes a share. Only a few
    images are held at a time.

    Args:
        model: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled, or an
            :class:`fsr.EMATeacher`. It runs in eval mode and is left as it was found.
        dataset: indexes to :class:`fsr.data.Sample`; its masks are not looked at. ``names``, the
            names of all samples, spares reading samples that are done; ``image_path(index)``, if it
            has such a method, gives the files of ``images``.
        folder: where to write.
        options: what the labels are and what is written; the defaults if None.
        changes: fields of :class:`ExportOptions` to change, such as ``source="cam"``.

    Returns:
        How many masks there are, and what went wrong.

    Raises:
        TypeError: ``model`` is no segmenter, there is no such option, or one has the wrong type.
        ValueError: the data set is empty or has other classes than the model, an option is out of
            range or does not belong to the source.
        DataError: a sample cannot be used (``on_error="raise"``), two have one name, or
            ``images="link"`` and the data set does not tell where its files are.
        SettingsError: the folder was begun with other settings.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from PIL import Image
        >>> from fsr.data import Sample
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> sample = Sample(Image.new("RGB", (40, 32)), torch.tensor([0.0, 1.0]), None, "grey")
        >>> folder = Path(tempfile.mkdtemp())
        >>> export_pseudo_labels(model, [sample], folder, class_names=("cat", "dog"))
        ExportResult(written=1, kept=0, failed=())
        >>> (folder / "ImageSets/Segmentation/train.txt").read_text()
        'grey\n'
    """
    network = find_segmenter(model)
    chosen = with_changes(ExportOptions, options, changes)
    check_max_size(chosen.max_size, network.backbone.patch_size)
    if len(dataset) < 1:
        raise ValueError("dataset: expected at least one sample, got none")
    names = _class_names(network, dataset, chosen.class_names)
    if chosen.images == "link" and image_path(dataset, 0) is None:
        raise DataError(
            "images: this data set does not tell where its files are (image_path); "
            "take images='copy' instead of 'link'"
        )
    target = ExportFolder(Path(folder), chosen.images)
    record_settings(target.root, _settings(network, dataset, names, chosen))
    write_class_names(target.root / "classes.txt", names)
    done = _write_masks(network, dataset, target, chosen)
    every = sorted(
        (one for part in gather_objects(done) for one in part), key=lambda one: one.number
    )
    if is_main_process():
        target.write_lists(chosen.split, every, dataset)
    kept = sum(one.kept for one in every)
    failed = tuple(one.error for one in every if one.error is not None)
    return ExportResult(len(every) - kept - len(failed), kept, failed)


def _class_names(
    network: SingleStageSegmenter, dataset: SampleSource, given: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the classes, those of the model or the data set by default."""
    theirs = getattr(dataset, "class_names", None)
    if theirs and network.class_names and tuple(theirs) != tuple(network.class_names):
        raise ValueError(
            "dataset: its classes are not the model's: "
            f"{', '.join(theirs)} and not {', '.join(network.class_names)}"
        )
    names = given or network.class_names or theirs
    names = tuple(names or (f"class{i}" for i in range(1, network.num_classes + 1)))
    if len(names) != network.num_classes:
        raise ValueError(f"class_names: expected {network.num_classes} names, got {len(names)}")
    return names


def _settings(
    network: SingleStageSegmenter,
    dataset: SampleSource,
    names: tuple[str, ...],
    options: ExportOptions,
) -> dict[str, Any]:
    """Return all that changes a label, and what made it."""
    return {
        **recipe_settings(options),
        "flip": options.flip,
        "max_size": options.max_size,
        "autocast": None if options.autocast is None else str(options.autocast),
        "par": describe(_par(options)) if options.source == "cam+par" else None,
        "crf": None if options.crf is None else describe_crf(options.crf),
        "class_names": names,
        "dataset": describe(dataset),
        "samples": len(dataset),
        "split": options.split,
        "weights_sha256": weights_hash(network),
        "versions": versions(),
        **(options.settings or {}),
    }


def _par(options: ExportOptions) -> PAR:
    return PAR() if options.par is None else options.par


def _write_masks(
    network: SingleStageSegmenter,
    dataset: SampleSource,
    target: ExportFolder,
    options: ExportOptions,
) -> list[Done]:
    """Write the masks of this process's share; return what became of each sample."""
    runner = SegmenterRunner(network, flip=options.flip, autocast=options.autocast)
    soft = options.crf is not None
    stage: Stage = CamStage(runner, options, _par(options), soft=soft)
    if options.source == "prediction":
        stage = ProbabilityStage(runner, options.scales, options.reduce)
    patch = network.backbone.patch_size
    read = LabelledSamples(dataset, network.num_classes, patch, options.max_size, target)
    share = own_share(len(dataset))
    batches = chunks(share, options.batch_size)
    done = []
    with on_device(network, options.device):
        for item in Pipeline(read, stage, options).items(batches, total=len(share)):
            _write_mask(item, target, options)
            done.append(Done(item.number, item.name, item.kept, item.error))
    return done


def _write_mask(item: Item, target: ExportFolder, options: ExportOptions) -> None:
    """Write the mask of a sample, unless it is there already or cannot be made."""
    if options.on_error == "raise":
        raise_error(item)
    if item.probabilities is not None and options.crf is not None:
        item = within_labels(item, item.probabilities)
    labels = at_own_size(item, options.confidence or 0.0).label_map
    if labels is not None and item.name is not None:
        target.write_mask(item.name, labels)
