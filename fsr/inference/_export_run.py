"""One export of pseudo labels: what it refuses, records, reads and writes."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fsr.data import SampleSource
from fsr.errors import DataError
from fsr.inference._export_folder import Done, ExportFolder, image_path
from fsr.inference._export_options import ExportOptions
from fsr.inference._export_reading import LabelledSamples
from fsr.inference._item import Item, raise_error
from fsr.inference._label_maps import CamStage, ProbabilityStage, at_own_size, within_labels
from fsr.inference._label_sources import recipe_settings
from fsr.inference._loading import chunks, own_share
from fsr.inference._maps import check_max_size
from fsr.inference._pipeline import Pipeline, Stage, on_device
from fsr.inference._provenance import describe, describe_crf, versions, weights_hash
from fsr.inference._runner import SegmenterRunner, check_decoder, find_segmenter
from fsr.inference._writing import record_settings, write_class_names
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
        self.target = ExportFolder(folder, options.images, with_certainty=options.uncertainty)

    def begin(self) -> None:
        """Record the settings and the names of the classes.

        Raises:
            SettingsError: the folder was begun with other settings.
        """
        record_settings(self.target.root, self.settings())
        write_class_names(self.target.root / "classes.txt", self.class_names)

    def settings(self) -> dict[str, Any]:
        """Return all that changes a label, and what made it."""
        options = self.options
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
            "weights_sha256": weights_hash(self.network),
            "versions": versions(),
            **(options.settings or {}),
        }

    def write_masks(self) -> list[Done]:
        """Write the masks of this process's share; return what became of each sample.

        Raises:
            DataError: a sample cannot be used, with ``on_error="raise"``.
        """
        options, network = self.options, self.network
        read = LabelledSamples(
            self.dataset,
            network.num_classes,
            network.backbone.patch_size,
            options.max_size,
            self.target,
        )
        share = own_share(len(self.dataset))
        batches = chunks(share, options.batch_size)
        done = []
        with on_device(network, options.device):
            for item in Pipeline(read, self._stage(), options).items(batches, total=len(share)):
                item = self._written(item)
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
        """Write the mask of a sample; return what became of it."""
        try:
            self._write_mask(item)
        except OSError as error:
            # Another name may do; nothing else that the system refuses is of one sample alone.
            if error.errno != errno.ENAMETOOLONG or self.options.on_error == "raise":
                raise
            return item.refused(f"its mask's name is too long for a file: {error.filename}", error)
        return item

    def _write_mask(self, item: Item) -> None:
        """Write the mask of a sample, unless it is there already or cannot be made."""
        if self.options.on_error == "raise":
            raise_error(item)
        if item.probabilities is not None and self.options.crf is not None:
            item = within_labels(item, item.probabilities)
        labels = at_own_size(item, self.options.confidence or 0.0).label_map
        if item.certainty is not None and item.name is not None:
            certainty = item.certainty[None, None]
            if tuple(certainty.shape[2:]) != item.size:
                certainty = F.interpolate(certainty, item.size, mode="nearest-exact")
            self.target.write_certainty(item.name, certainty[0, 0])
        if labels is not None and item.name is not None:
            self.target.write_mask(item.name, labels)


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
