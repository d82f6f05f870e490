"""Pseudo labels of a training set, in the folder layout that VOC-style trainers read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from fsr._core.distributed import gather_objects, in_main_process
from fsr.data import SampleSource
from fsr.inference._export_options import ExportChanges, ExportOptions
from fsr.inference._export_run import ExportRun
from fsr.inference._options import with_changes

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

    The folder is laid out as VOC 2012, see :class:`ExportOptions`. An interrupted export goes on
    where it stopped: masks that are there are kept if they are whole and made of the same image and
    labels, else made anew; a folder that was begun with other settings is refused. Of several
    processes each takes a share. Only a few images are held at a time.

    Args:
        model: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled, or an
            :class:`fsr.EMATeacher`. It runs in eval mode and is left as it was found.
        dataset: indexes to :class:`fsr.data.Sample`; its masks are not looked at. With ``names``,
            the names of all samples, ``load_labels(index)`` and ``image_path(index)`` it spares
            reading samples that are done; the last gives the files of ``images`` too.
        folder: where to write.
        options: what the labels are and what is written; the defaults if None.
        changes: fields of :class:`ExportOptions` to change, such as ``source="cam"``.

    Returns:
        How many masks there are, and what went wrong.

    Raises:
        TypeError: ``model`` is no segmenter, there is no such option, or one has the wrong type.
        ValueError: the data set is empty or has other classes than the model, which has no decoder
            for ``source="prediction"``, or an option is out of range or not of the source.
        DataError: a sample cannot be used (``on_error="raise"``), two have one name, the folder
            holds masks of other samples, or ``images="link"`` and the data set does not tell where
            its files are.
        SettingsError: the folder was begun with other settings, or, as a ``BusyError``, another run
            is writing there.
        OutputError: the folder or a file cannot be written; what is there is whole.

    Example:
        >>> import tempfile, torch
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
    run = ExportRun(model, dataset, Path(folder), with_changes(ExportOptions, options, changes))
    with run.begun():
        parts = gather_objects(run.write_masks())
        every = sorted((one for part in parts for one in part), key=lambda one: one.number)
        in_main_process(lambda: run.target.write_lists(run.options.split, every, dataset))
    kept = sum(one.kept for one in every)
    failed = tuple(one.error for one in every if one.error is not None)
    return ExportResult(len(every) - kept - len(failed), kept, failed)
