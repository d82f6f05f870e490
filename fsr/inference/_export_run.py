"""One export of pseudo labels: what it refuses, records, reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.alone import alone_in
from fsr._core.distributed import in_main_process
from fsr._core.outputs import FullDisk
from fsr._core.spelled import describe
from fsr.data import SampleSource
from fsr.errors import DataError, OutputError
from fsr.inference._export_folder import Done, ExportFolder, flat_name, image_path
from fsr.inference._export_options import ExportOptions
from fsr.inference._export_reading import LabelledSamples
from fsr.inference._item import Item, raise_error
from fsr.inference._label_maps import CamStage, ProbabilityStage, at_own_size, within_labels
from fsr.inference._label_sources import recipe_settings
from fsr.inference._loading import chunks, own_share
from fsr.inference._made_of import UNKNOWN
from fsr.inference._maps import check_max_size
from fsr.inference._pipeline import Pipeline, Stage, on_device
from fsr.inference._provenance import (
    describe_crf,
    fingerprint,
    structure_hash,
    versions,
    weights_hash,
)
from fsr.inference._records import Records
from fsr.inference._runner import SegmenterRunner, check_decoder, find_segmenter
from fsr.inference._settings import record_settings, settings_fingerprint
from fsr.inference._writing import write_class_names
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter


class ExportRun:
    """One process's part of an export.

    Args:
        model: the segmenter, wrapped or not.
        dataset: samples whose image-level labels are known.
        folder: where to write.
        options: what the labels are and what is written.

    Raises:
        TypeError: ``model`` is no segmenter.
        ValueError: the data set or an option does not fit the model.
        DataError: images are to be linked and the data set does not tell where they are.
    """

    def __init__(
        self, model: nn.Module, dataset: SampleSource, folder: Path, options: ExportOptions
    ) -> None:
        self.network = find_segmenter(model)
        self.dataset = dataset
        self.options = options
        self.par = PAR() if options.par is None else options.par
        if options.source == "prediction":
            check_decoder(self.network)
        check_max_size(options.max_size, self.network.backbone.patch_size)
        if len(dataset) < 1:
            raise ValueError("dataset: expected at least one sample, got none")
        self.class_names = _class_names(self.network, dataset, options.class_names)
        if options.images == "link" and image_path(dataset, 0) is None:
            raise DataError(
                "images: this data set does not tell where its files are (image_path); "
                "take images='copy' instead of 'link'"
            )
        self.fingerprint = ""
        self.target = ExportFolder(folder, options.images, with_certainty=options.uncertainty)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Hold the folder, with the settings and the names of the classes recorded, for a while.

        Raises:
            BusyError: another run is writing into the folder.
            SettingsError: the folder was begun with other settings.
            OutputError: the folder cannot be written.
        """
        settings = self.settings()
        self.fingerprint = settings_fingerprint(settings)
        root, target = self.target.root, self.target
        with ExitStack() as stack:

            def prepare() -> None:
                stack.enter_context(alone_in(root))
                record_settings(root, settings)
                names = map(flat_name, getattr(self.dataset, "names", ()))
                target.clear(list(names), self.options.split)
                write_class_names(root / "classes.txt", self.class_names)

            in_main_process(prepare)
            target.records = Records(root)
            yield

    def settings(self) -> dict[str, Any]:
        """Return all that changes a label, and what made it."""
        options = self.options
        names: Sequence[str] | None = getattr(self.dataset, "names", None)
        return {
            **recipe_settings(options),
            "flip": options.flip,
            "max_size": options.max_size,
            "autocast": None if options.autocast is None else str(options.autocast),
            "par": describe(self.par) if options.source == "cam+par" else None,
            "crf": None if options.crf is None else describe_crf(options.crf),
            "class_names": self.class_names,
            "dataset": describe(self.dataset),
            "samples": len(self.dataset),
            **({"uncertainty": True} if options.uncertainty else {}),
            "split": options.split,
            **({} if names is None else {"names_sha256": fingerprint(list(names))}),
            "weights_sha256": weights_hash(self.network),
            "network_sha256": structure_hash(self.network),
            "versions": versions(),
            **(options.settings or {}),
        }

    def write_masks(self) -> list[Done]:
        """Write the masks of this process's share; return what became of each sample.

        Raises:
            DataError: a sample cannot be used, with ``on_error="raise"``.
            OutputError: a file cannot be written, with ``on_error="raise"``, or the disk is full.
        """
        options, network = self.options, self.network
        read = LabelledSamples(
            self.dataset,
            network.num_classes,
            network.backbone.patch_size,
            options.max_size,
            self.target,
            self.fingerprint,
        )
        share = own_share(len(self.dataset))
        batches = chunks(share, options.batch_size)
        done, full = [], FullDisk()
        with on_device(network, options.device):
            for read_item in Pipeline(read, self._stage(), options).items(
                batches, total=len(share)
            ):
                item = self._written(read_item)
                full.count(item.error if item.full else None)
                done.append(Done(item.number, item.name, item.kept, item.error))
        return done

    def _stage(self) -> Stage:
        options = self.options
        runner = SegmenterRunner(self.network, flip=options.flip, autocast=options.autocast)
        if options.source == "prediction":
            return ProbabilityStage(
                runner,
                options.scales,
                options.reduce,
                uncertainty=options.uncertainty,
                # A pool keeps it; the powers of one image are refined in this process.
                crf=_function(options.crf),
            )
        return CamStage(runner, options, self.par, soft=options.crf is not None)

    def _written(self, item: Item) -> Item:
        """Write the files of a sample, unless they are there already or cannot be made."""
        if self.options.on_error == "raise":
            raise_error(item)
        if item.kept or item.name is None:
            return item
        records = self.target.records
        if item.error is not None:
            before = records.made(item.name)
            if before and item.made and before.digest != item.made.digest:
                records.begin(item.name)  # its mask is that of another image or other labels
            return item
        try:
            files = self.target.files(item.name)
            records.begin(item.name, files)
            self._write_maps(item.name, item)
            records.finish(item.name, item.made or UNKNOWN, files)
        except OutputError as error:
            if self.options.on_error == "raise":
                raise
            return item.refused(str(error), error)
        return item

    def _write_maps(self, name: str, item: Item) -> None:
        """Write the mask of a sample, and its certainty if there is one; the mask comes last."""
        if item.probabilities is not None and self.options.crf is not None:
            item = within_labels(item, item.probabilities)
        labels = at_own_size(item, self.options.confidence or 0.0).label_map
        if item.certainty is not None:
            certainty = item.certainty[None, None]
            if tuple(certainty.shape[2:]) != item.size:
                certainty = F.interpolate(certainty, item.size, mode="nearest-exact")
            self.target.write_certainty(name, certainty[0, 0])
        if labels is not None:
            self.target.write_mask(name, labels, self.network.num_classes)


def _function(crf: Any) -> Callable[[Any, Tensor], Tensor] | None:
    """Return the CRF as a function of one image; a pool keeps one, which it sends to processes."""
    found: Callable[[Any, Tensor], Tensor] | None = getattr(crf, "crf", crf)
    return found


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
