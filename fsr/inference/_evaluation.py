"""Streaming evaluation: every map of a whole data set in one pass, counted not stored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fsr._core.spelled import describe
from fsr.data import SampleSource
from fsr.inference._evaluation_options import EvaluationChanges, EvaluationOptions
from fsr.inference._evaluation_reading import ScoredSamples
from fsr.inference._evaluation_result import EvaluationResult, result_of
from fsr.inference._evaluation_state import EvaluationState
from fsr.inference._item import Item, raise_error
from fsr.inference._loading import chunks, own_share
from fsr.inference._made_of import stamp_of
from fsr.inference._options import with_changes
from fsr.inference._passes import ScoringStage
from fsr.inference._pipeline import Pipeline, on_device
from fsr.inference._provenance import describe_crf, structure_hash, weights_hash
from fsr.inference._runner import find_segmenter
from fsr.inference._scoring import Scoring
from fsr.segmenter import SingleStageSegmenter

if TYPE_CHECKING:
    from typing_extensions import Unpack

_log = logging.getLogger(__name__)


def evaluate(
    model: nn.Module,
    dataset: SampleSource,
    *,
    options: EvaluationOptions | None = None,
    **changes: Unpack[EvaluationChanges],
) -> EvaluationResult:
    """Score CAMs, pseudo labels, segmentation and image-level labels, in one pass over the data.

    Nothing but counts is kept, one confusion matrix each, so memory does not grow with the data
    set. CAM labels use the image-level labels, as papers do: only present classes compete. The
    prediction does not. With ``scales=(1.0,), cam_scales=(1.0,), flip=False`` one forward gives
    everything.

    In several processes every one takes its share, and all return the same scores over all images;
    all of them must call this function.

    Args:
        model: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled, or an
            :class:`fsr.EMATeacher`. It runs in eval mode and is left as it was found.
        dataset: indexes to :class:`fsr.data.Sample`, such as a data set of :mod:`fsr.data`.
        options: what is scored, and how; the defaults if None.
        changes: fields of :class:`EvaluationOptions` to change, such as ``flip=False``.

    Returns:
        The scores and the number of images.

    Raises:
        TypeError: ``model`` is no segmenter, or there is no such option.
        ValueError: the data set is empty, an option is out of range, a sample cannot be read or
            does not fit the model or the CRF refuses it (the message names it), or the file
            ``state`` belongs to another evaluation: other weights, options, or other images, labels
            or masks (told from the times of the files that ``dataset.files(index)`` lists).
        OutputError: ``state`` cannot be written.

    Source:
        Section "Experimental Settings".

    Example:
        >>> import torch
        >>> from PIL import Image
        >>> from fsr.data import Sample
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> image, target = Image.new("RGB", (40, 32)), torch.zeros(32, 40, dtype=torch.long)
        >>> result = evaluate(model, [Sample(image, torch.tensor([0.0, 1.0]), target, "grey")])
        >>> result.images, result.without_target
        (1, 0)
    """
    return _Evaluation(model, dataset, with_changes(EvaluationOptions, options, changes)).run()


class _Evaluation:
    """One evaluation: what it reads, runs, counts and keeps."""

    def __init__(self, model: nn.Module, dataset: SampleSource, options: EvaluationOptions) -> None:
        self.network = find_segmenter(model)
        self.options = options
        most = len(dataset) if options.max_images is None else options.max_images
        total = min(len(dataset), most)
        if total < 1:
            raise ValueError("dataset: expected at least one sample, got none")
        self.share = own_share(total)
        backbone: Any = self.network.backbone
        mean = backbone.mean if options.mean is None else options.mean
        std = backbone.std if options.std is None else options.std
        classes, pixels = self.network.num_classes, options.crf is not None
        self.scoring = Scoring(classes, options, total)
        self.pipeline = Pipeline(
            ScoredSamples(dataset, classes, mean, std, options.size, pixels),
            ScoringStage(self.network, options, mean, std),
            options,
            arrays=True,
        )
        self.state: EvaluationState | None = None
        if options.state is not None:
            settings = _settings(self.network, dataset, total, options, (mean, std))
            self.state = EvaluationState(Path(options.state), settings)

    def run(self) -> EvaluationResult:
        """Count everything, from where an interrupted evaluation stopped."""
        done, share = 0, self.share
        with on_device(self.network, self.options.device) as device:
            self.scoring.to(device)
            if self.state is not None:
                done = self.state.load(self.scoring)
            while done < len(share):
                end = len(share) if self.state is None else done + self.options.save_every
                batches = chunks(share[done:end], self.options.batch_size)
                self._count(self.pipeline.items(batches, total=len(share), done=done))
                done = min(end, len(share))
                if self.state is not None:
                    self.state.save(self.scoring, done)
        result = result_of(self.scoring, self.options.thresholds)
        if self.state is not None:
            self.state.remove()
        return result

    def _count(self, items: Iterable[Item]) -> None:
        """Count items; what cannot be used counts for no score."""
        for item in items:
            if item.error is None:
                self.scoring.count(item)
                continue
            if self.options.on_error == "raise":
                raise_error(item)
            _log.warning("skipped: %s", item.error)
            self.scoring.skip(item)


def _settings(
    network: SingleStageSegmenter,
    dataset: SampleSource,
    total: int,
    options: EvaluationOptions,
    normalisation: tuple[Sequence[float], Sequence[float]],
) -> dict[str, Any]:
    """Return all that changes a count; how images are batched and read does not."""
    mean, std = normalisation
    pseudo = options.pseudo
    spelled = pseudo and [describe(pseudo.refinement), pseudo.low, pseudo.high]
    scales, cam_scales = list(options.scales), list(options.cam_scales)
    return {
        "weights": [weights_hash(network), structure_hash(network)],
        "data set": [describe(dataset), list(getattr(dataset, "names", ())), total],
        "images, labels or masks": _stamps(dataset, total),
        "sizes or scales": [options.image_size, scales, cam_scales, options.flip],
        "thresholds or widths": [options.thresholds, list(options.trimap_widths)],
        "refinement": [describe_crf(options.crf), spelled],
        "normalisation or precision": [list(mean), list(std), str(options.autocast)],
        "rule for bad samples": options.on_error,
    }


def _stamps(dataset: SampleSource, total: int) -> list[Any]:
    """Return what the system says of all files of a data set, if it tells them."""
    files: Callable[[int], Sequence[Path]] | None = getattr(dataset, "files", None)
    if files is None:
        return []
    return [[stamp_of(path) for path in files(index)] for index in range(total)]
