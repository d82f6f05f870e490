"""Prediction of people's own image files, whatever their size, with or without known labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from fsr.inference._given_pictures import suffixes_for
from fsr.inference._image_labels import labels_of_files
from fsr.inference._item import Item
from fsr.inference._label_maps import ProbabilityStage
from fsr.inference._maps import check_max_size, labels_at, resize_maps, restrict_to_labels
from fsr.inference._options import with_changes
from fsr.inference._photograph_reading import Photographs
from fsr.inference._photographs import ImageFile, find_images
from fsr.inference._pipeline import Pipeline, on_device
from fsr.inference._prediction_options import PredictionChanges, PredictionOptions
from fsr.inference._runner import SegmenterRunner, check_decoder, find_segmenter
from fsr.inference._tiles import TileStage, joined
from fsr.inference._tiling import check_tiles
from fsr.segmenter import SingleStageSegmenter

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Prediction(NamedTuple):
    """What became of one image file.

    Attributes:
        path: the file.
        name: name of the result, see :func:`fsr.inference.find_images`.
        labels: label map ``(height, width)`` int64 at the image's own size, 0 = background and
            c + 1 = class c; None if the file could not be read.
        probabilities: ``(C + 1, height, width)`` float if asked for, else None.
        error: why there are no labels, else None.
    """

    path: Path
    name: str
    labels: Tensor | None
    probabilities: Tensor | None
    error: str | None


def predict_paths(
    model: nn.Module,
    paths: str | Path | Iterable[str | Path | ImageFile],
    *,
    options: PredictionOptions | None = None,
    **changes: Unpack[PredictionChanges],
) -> Iterator[Prediction]:
    """Segment image files and folders of them; a generator of one result per file.

    The arguments are checked at once, files are read as the results are asked for. A file that
    cannot be read, or that the CRF refuses, gives a result that says so; the others go on. Only a
    few images are held at a time. While the generator lives, the model is on ``device``; it is
    left as it was found.

    Images whose sizes coincide at every scale, once rounded to patches, go through the network
    together, up to ``batch_size``; results equal those of the images alone up to rounding. With
    ``batch_size=1`` results come in the order of the files; else the images of a batch come
    together, within windows of 256 files.

    Args:
        model: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled, or an
            :class:`fsr.EMATeacher`.
        paths: image files and folders, see :func:`fsr.inference.find_images`, or what
            that function returned.
        options: how they are segmented; the defaults if None.
        changes: fields of :class:`PredictionOptions` to change, such as ``flip=False``.

    Returns:
        Generator of results. An image smaller than a patch is stretched to one.

    Raises:
        MissingDataError: a path does not exist.
        DataError: a folder holds no image, or no path is given.
        TypeError: ``model`` is no segmenter, there is no such option, or one has the wrong type.
        ValueError: the model has no decoder, an option is out of range, or ``labels`` name a class
            that does not exist, have another size, or fit several files.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 32)).save(folder / "grey.png")
        >>> _ = (folder / "text.jpg").write_text("no image")
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> for result in predict_paths(model, folder):
        ...     print(result.name, result.labels if result.error else result.labels.shape)
        grey torch.Size([32, 40])
        text None
    """
    network = find_segmenter(model)
    chosen = with_changes(PredictionOptions, options, changes)
    check_prediction(network, chosen)
    files = _as_files(paths, network.backbone.in_chans)
    photographs = photographs_of(network, files, chosen)
    return (result for _, result in numbered(network, photographs, chosen))


def check_prediction(network: SingleStageSegmenter, options: PredictionOptions) -> None:
    """Raise unless a network can predict with these options.

    Raises:
        ValueError: it has no decoder, or an option does not fit its patches or bands.
    """
    check_decoder(network)
    check_max_size(options.max_size, network.backbone.patch_size)
    check_tiles(options.tile, options.tile_overlap, network.backbone.patch_size)
    if options.crf is not None and network.backbone.in_chans != 3:
        raise ValueError(
            "crf: expected None, as a dense CRF needs red, green and blue and this network takes "
            f"{network.backbone.in_chans} bands"
        )


def photographs_of(
    network: SingleStageSegmenter,
    files: Sequence[ImageFile],
    options: PredictionOptions,
    given: Sequence[Any] | None = None,
) -> Photographs:
    """Return what reads pictures, with their labels.

    Args:
        network: the network.
        files: the files.
        options: how they are read, and their labels.
        given: pictures in memory in their place, None for files; None if all are files.
    """
    names = network.class_names if options.class_names is None else options.class_names
    labels = labels_of_files(files, options.labels, names, network.num_classes)
    patch = network.backbone.patch_size
    max_size = options.max_size if options.tile is None else None
    return Photographs(
        files,
        labels,
        patch,
        max_size,
        options.reading(),
        tile=options.tile,
        bands=network.backbone.in_chans,
        given=None if given is None or all(value is None for value in given) else given,
    )


def numbered(
    network: SingleStageSegmenter, photographs: Photographs, options: PredictionOptions
) -> Iterator[tuple[int, Prediction]]:
    """Yield the results with the numbers of their files; nothing is done before the first."""
    batches = photographs.batches(options.scales, options.batch_size)
    total = len(photographs.files)
    with on_device(network, options.device):
        pipeline = _pipeline(network, photographs, options)
        for item in pipeline.items(batches, total=total):
            yield item.number, _prediction(item, photographs.files[item.number], options)


def _pipeline(
    network: SingleStageSegmenter, photographs: Photographs, options: PredictionOptions
) -> Pipeline:
    """Return what the files go through, whole or in tiles."""
    runner = SegmenterRunner(network, flip=options.flip, autocast=options.autocast)
    labels = options.crf is None and not options.probabilities
    stage = ProbabilityStage(runner, options.scales, options.reduce, labels=labels)
    tiles = check_tiles(options.tile, options.tile_overlap, network.backbone.patch_size)
    if tiles is None:
        return Pipeline(photographs, stage, options)
    join = partial(joined, keep=options.probabilities, within=options.crf is not None)
    tiled = TileStage(stage, *tiles, options.batch_size)
    return Pipeline(photographs, tiled, options, join=join)


def _prediction(item: Item, file: ImageFile, options: PredictionOptions) -> Prediction:
    """Bring an image's result to its own size."""
    if item.label_map is not None:
        return Prediction(file.path, file.name, item.label_map, item.probabilities, None)
    if item.error is not None or item.probabilities is None:
        return Prediction(file.path, file.name, None, None, item.error)
    maps = item.probabilities
    if options.crf is not None and item.labels is not None:
        maps = restrict_to_labels(maps, item.labels)
    if not options.probabilities:
        labels = labels_at(maps, item.size).cpu()
        return Prediction(file.path, file.name, labels, None, None)
    maps = resize_maps(maps, item.size).cpu()
    return Prediction(file.path, file.name, maps.argmax(dim=0), maps, None)


def _as_files(paths: str | Path | Iterable[str | Path | ImageFile], bands: int) -> list[ImageFile]:
    """Find the files, or take those that were found before."""
    suffixes = suffixes_for(bands)
    if isinstance(paths, str | Path):
        return find_images(paths, suffixes=suffixes)
    given = [paths] if isinstance(paths, ImageFile) else list(paths)
    known = [path for path in given if isinstance(path, ImageFile)]
    if known and len(known) == len(given):
        return known
    if known:
        raise TypeError("paths: expected either paths or results of find_images, got both")
    several = [path for path in given if not isinstance(path, ImageFile)]
    return find_images(several, suffixes=suffixes)
