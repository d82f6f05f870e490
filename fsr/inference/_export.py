"""Pseudo labels of a training set, in the folder layout that VOC-style trainers read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader

from fsr._core.checks import check_choice, check_positive_int
from fsr._core.distributed import gather_objects, is_main_process
from fsr.errors import DataError
from fsr.inference._evaluation import find_segmenter
from fsr.inference._export_folder import Done, ExportFolder, image_path
from fsr.inference._export_reading import SampleRead, Share
from fsr.inference._label_sources import LabelSource
from fsr.inference._loading import SampleSource, own_share
from fsr.inference._maps import CRF, check_max_size
from fsr.inference._provenance import describe, versions, weights_hash
from fsr.inference._runner import SegmenterRunner
from fsr.inference._writing import record_settings, write_class_names
from fsr.refine import PAR
from fsr.segmenter import Reduction

IMAGES = ("none", "link", "copy")


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
    source: str = "prediction",
    confidence: float | None = None,
    low: float | None = None,
    high: float | None = None,
    threshold: float | None = None,
    scales: Sequence[float] = (1.0, 1.25, 1.5),
    cam_scales: Sequence[float] = (1.0, 0.5, 1.5),
    flip: bool = True,
    reduce: Reduction = "max_logits",
    par: PAR | None = None,
    crf: CRF | None = None,
    certainty: float = 0.7,
    max_size: int | None = None,
    images: str = "none",
    split: str = "train",
    class_names: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    on_error: str = "raise",
    batch_size: int = 1,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    autocast: torch.dtype | None = None,
    progress: Callable[[int, int], None] | None = None,
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
        source: ``"prediction"``, ``"cam"`` or ``"cam+par"``, see
            :class:`fsr.inference.LabelSource`, also for the next eight.
        confidence: probability below which a pixel becomes 255.
        low: CAM scores up to this are background.
        high: CAM scores above this take their class.
        threshold: the one border of a CAM instead.
        scales: image scales of the prediction.
        cam_scales: image scales of the CAM.
        flip: whether mirrored images are seen too.
        reduce: how scales and flips of the prediction are merged.
        par: refinement of ``"cam+par"``; that of the paper by default.
        crf: dense CRF, see :func:`fsr.inference.predict_paths`.
        certainty: probability of a CAM's label for the CRF.
        max_size: longer side in pixels that larger images are shrunk to for the network.
        images: ``"none"``: masks only; ``"link"``: symbolic links to the data set's files, which
            are called ``.jpg`` whatever they hold; ``"copy"``: their JPEG files copied, other
            images written as JPEG of quality 95. Photographs that EXIF data turn, and 16-bit
            images, are written as JPEG either way: readers would not agree on them.
        split: name of the list.
        class_names: C names; those of the model or the data set by default.
        settings: more for ``settings.json``, such as the path of the checkpoint.
        on_error: ``"raise"`` at the first sample that cannot be used, or ``"skip"`` it and tell in
            the result.
        batch_size: images that are read together; those of one size are seen together.
        num_workers: processes that read images.
        device: where to run; the model's own device by default.
        autocast: type of autocast, such as ``torch.bfloat16``.
        progress: called with (images done, images in all) of this process after every image.

    Returns:
        How many masks there are, and what went wrong.

    Raises:
        TypeError: ``model`` is no segmenter, or an option has the wrong type.
        ValueError: the data set is empty or has other classes than the model, an option is out of
            range or does not belong to the source.
        DataError: a sample cannot be used (``on_error="raise"``), two have one name, or
            ``images="link"`` and the data set does not tell where its files are.
        SettingsError: the folder was begun with other settings.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from fsr.data import Sample
        >>> from fsr.segmenter import SingleStageSegmenter
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
    check_positive_int("batch_size", batch_size)
    check_max_size(max_size, network.backbone.patch_size)
    check_choice("images", images, IMAGES)
    check_choice("on_error", on_error, ("raise", "skip"))
    recipe = LabelSource(
        source=source,
        confidence=confidence,
        low=low,
        high=high,
        threshold=threshold,
        scales=tuple(scales),
        cam_scales=tuple(cam_scales),
        reduce=reduce,
        certainty=certainty,
    )
    if confidence is not None and source != "prediction" and crf is None:
        raise ValueError(
            f"confidence: source {source!r} has no probabilities without a CRF; use low and high"
        )
    if len(dataset) < 1:
        raise ValueError("dataset: expected at least one sample, got none")
    theirs = getattr(dataset, "class_names", None)
    if theirs and network.class_names and tuple(theirs) != tuple(network.class_names):
        raise ValueError(
            "dataset: its classes are not the model's: "
            f"{', '.join(theirs)} and not {', '.join(network.class_names)}"
        )
    names = class_names or network.class_names or theirs
    names = tuple(names or (f"class{i}" for i in range(1, network.num_classes + 1)))
    if len(names) != network.num_classes:
        raise ValueError(f"class_names: expected {network.num_classes} names, got {len(names)}")
    if images == "link" and image_path(dataset, 0) is None:
        raise DataError(
            "images: this data set does not tell where its files are (image_path); "
            "take images='copy' instead of 'link'"
        )
    par = PAR() if par is None else par
    target = ExportFolder(Path(folder), images)
    record_settings(
        target.root,
        {
            **recipe.settings(),
            "flip": flip,
            "max_size": max_size,
            "autocast": None if autocast is None else str(autocast),
            "par": describe(par) if source == "cam+par" else None,
            "crf": None if crf is None else describe(getattr(crf, "crf", crf)),
            "class_names": names,
            "dataset": describe(dataset),
            "samples": len(dataset),
            "split": split,
            "weights_sha256": weights_hash(network),
            "versions": versions(),
            **(settings or {}),
        },
    )
    write_class_names(target.root / "classes.txt", names)
    share = Share(dataset, own_share(len(dataset)), network, max_size, target)
    loader: Any = DataLoader(
        share,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_as_list,
        generator=torch.Generator(),
    )
    known: dict[int, SampleRead] = {}
    done: list[Done] = []

    def read() -> Any:
        for batch in loader:
            known.update((item.mapped.number, item) for item in batch)
            yield [item.mapped for item in batch]

    home = next(network.parameters()).device
    try:
        network.to(home if device is None else device)
        runner = SegmenterRunner(network, flip=flip, autocast=autocast)
        for item in recipe.label_maps(runner, read(), lambda index: known[index].labels, par, crf):
            one = known.pop(item.number)
            if item.labels is not None and one.name is not None:
                target.write_mask(one.name, item.labels)
            elif not one.kept and on_error == "raise":
                raise DataError(item.error)
            done.append(Done(item.number, one.name, one.kept, None if one.kept else item.error))
            if progress is not None:
                progress(len(done), len(share))
    finally:
        network.to(home)
    every = sorted(
        (one for part in gather_objects(done) for one in part), key=lambda one: one.number
    )
    if is_main_process():
        target.write_lists(split, every, dataset)
    kept = sum(one.kept for one in every)
    failed = tuple(one.error for one in every if one.error is not None)
    return ExportResult(len(every) - kept - len(failed), kept, failed)


def _as_list(items: list[SampleRead]) -> list[SampleRead]:
    """Leave a batch a list: images differ in size."""
    return items
