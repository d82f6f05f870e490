"""Prediction of people's own image files, whatever their size, with or without known labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fsr._core.checks import check_choice, check_positive_int
from fsr.errors import DataError
from fsr.inference._evaluation import find_segmenter
from fsr.inference._image_labels import labels_of_files
from fsr.inference._maps import (
    CRF,
    Mapped,
    Present,
    check_max_size,
    fitted,
    fitted_size,
    labels_at,
    refined,
    resize_maps,
    restrict_to_labels,
)
from fsr.inference._photographs import (
    ImageFile,
    find_images,
    image_size,
    read_photograph,
)
from fsr.inference._runner import SegmenterRunner
from fsr.segmenter import REDUCTIONS, Reduction, check_scales, scaled_size

WINDOW = 256


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
    labels: Mapping[str, Sequence[str] | Tensor] | None = None,
    class_names: Sequence[str] | None = None,
    scales: Sequence[float] = (1.0, 1.25, 1.5),
    flip: bool = True,
    reduce: Reduction = "max_logits",
    crf: CRF | None = None,
    probabilities: bool = False,
    max_size: int | None = 1024,
    orient: bool = True,
    batch_size: int = 1,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    autocast: torch.dtype | None = None,
) -> Iterator[Prediction]:
    """Segment image files and folders of them; a generator of one result per file.

    The arguments are checked at once, files are read as the results are asked for. A file that
    cannot be read gives a result that says so; the others go on. Only a few images are held at a
    time. While the generator lives, the model is on ``device``; it is left as it was found.

    Images whose sizes coincide at every scale, once rounded to patches, go through the network
    together, up to ``batch_size``; results equal those of the images alone up to rounding. With
    ``batch_size=1`` results come in the order of the files; else the images of a batch come
    together, within windows of 256 files.

    Args:
        model: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled, or an
            :class:`fsr.EMATeacher`.
        paths: image files and folders, see :func:`fsr.inference.find_images`, or what
            that function returned.
        labels: image-level labels where they are known, by path, name of the result, file name, or
            file name without suffix: class names, or multi-hot ``(C,)``. Classes that an image does
            not show cannot win a pixel. An image without an entry is an error of that image.
        class_names: C names for ``labels``; those of the model by default.
        scales: factors of the image size.
        flip: whether mirrored images are seen too.
        reduce: how scales and flips are merged, see :meth:`fsr.SingleStageSegmenter.predict`.
        crf: refines probabilities: ``crf(image, probabilities) -> probabilities`` with an RGB image
            ``(height, width, 3)`` uint8, or an object with ``map``, which gets pairs of them and
            returns the refined in order. Such an object gets tensors on the CPU.
        probabilities: whether results hold probabilities, at the image's own size.
        max_size: longer side in pixels that larger images are shrunk to for the network and the
            CRF; results are at the image's own size all the same. None: never.
        orient: turn photographs as their EXIF data say, as viewers do; False: as stored.
        batch_size: images that are seen together at most.
        num_workers: processes that read images.
        device: where to run; the model's own device by default.
        autocast: type of autocast, such as ``torch.bfloat16``.

    Returns:
        Generator of results. An image smaller than a patch is stretched to one.

    Raises:
        MissingDataError: a path does not exist.
        DataError: a folder holds no image, or no path is given.
        TypeError: ``model`` is no segmenter, or an argument has the wrong type.
        ValueError: an option is out of range, or ``labels`` name a class that does not exist,
            have another size, or fit several files.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from fsr.segmenter import SingleStageSegmenter
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
    check_choice("reduce", reduce, REDUCTIONS)
    check_positive_int("batch_size", batch_size)
    patch = network.backbone.patch_size
    check_max_size(max_size, patch)
    scales = check_scales("scales", scales)
    files = _as_files(paths)
    names = network.class_names if class_names is None else class_names
    present = labels_of_files(files, labels, names, network.num_classes)
    reading = _Reading(files, patch, max_size, orient)
    loader: Any = DataLoader(
        reading,
        batch_sampler=_Batches(reading, scales, batch_size),
        num_workers=num_workers,
        collate_fn=_as_list,
        generator=torch.Generator(),
    )
    runner = SegmenterRunner(network, flip=flip, autocast=autocast)

    def generate() -> Iterator[Prediction]:
        home = next(network.parameters()).device
        try:
            network.to(home if device is None else device)
            mapped = _mapped(runner, loader, present, scales, reduce)
            for item in mapped if crf is None else refined(mapped, crf, present):
                yield _finished(item, files[item.number], probabilities)
        finally:
            network.to(home)

    return generate()


def _mapped(
    runner: SegmenterRunner,
    loader: Iterable[list[Mapped]],
    present: Present,
    scales: Sequence[float],
    reduce: Reduction,
) -> Iterator[Mapped]:
    """Yield every image with its probabilities, or with what is wrong with it."""
    for batch in loader:
        checked = [_with_labels(item, present) for item in batch]
        images = [item.image for item in checked if item.image is not None]
        maps = iter(runner.probabilities(images, scales, reduce) if images else [])
        for item in checked:
            if item.image is None:
                yield item
                continue
            probabilities = next(maps)
            labels = present(item.number)
            if not bool(torch.isfinite(probabilities).all()):
                error = "the network gives NaN or infinity; mend its weights or leave autocast out"
                yield item._replace(image=None, error=error)
                continue
            if isinstance(labels, Tensor):
                probabilities = restrict_to_labels(probabilities, labels)
            yield item._replace(probabilities=probabilities)


def _with_labels(item: Mapped, present: Present) -> Mapped:
    """Turn an image whose labels are needed and not known into an error."""
    labels = present(item.number)
    if item.error is None and isinstance(labels, str):
        return item._replace(image=None, error=labels)
    return item


def _finished(item: Mapped, file: ImageFile, keep: bool) -> Prediction:
    """Bring an image's result to its own size."""
    if item.error is not None or item.probabilities is None:
        return Prediction(file.path, file.name, None, None, item.error)
    if not keep:
        labels = labels_at(item.probabilities, item.size).cpu()
        return Prediction(file.path, file.name, labels, None, None)
    maps = resize_maps(item.probabilities, item.size).cpu()
    return Prediction(file.path, file.name, maps.argmax(dim=0), maps, None)


class _Reading(Dataset[Mapped]):
    """Image files by index, at the size that the network gets; errors are values."""

    def __init__(
        self,
        files: Sequence[ImageFile],
        patch: tuple[int, int],
        max_size: int | None,
        orient: bool,
    ) -> None:
        self.files = files
        self.patch = patch
        self.max_size = max_size
        self.orient = orient

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Mapped:
        try:
            image = read_photograph(self.files[index].path, orient=self.orient)
            size = (image.height, image.width)
            return Mapped(index, size, fitted(image, self.patch, self.max_size))
        except Exception as error:
            return Mapped(index, error=str(error) or type(error).__name__)


class _Batches:
    """Indices of files whose scaled sizes coincide, from the heads of the files alone."""

    def __init__(self, reading: _Reading, scales: Sequence[float], batch_size: int) -> None:
        self.reading = reading
        self.scales = scales
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[int]]:
        total = len(self.reading)
        if self.batch_size == 1:
            yield from ([index] for index in range(total))
            return
        for start in range(0, total, WINDOW):
            groups: dict[Any, list[int]] = {}
            for index in range(start, min(start + WINDOW, total)):
                groups.setdefault(self._sizes(index), []).append(index)
            yield from sorted(
                group[first : first + self.batch_size]
                for group in groups.values()
                for first in range(0, len(group), self.batch_size)
            )

    def _sizes(self, index: int) -> tuple[tuple[int, int], ...]:
        """Sizes that the network sees of a file; none if it cannot be read."""
        reading = self.reading
        try:
            size = image_size(reading.files[index].path, orient=reading.orient)
        except DataError:
            return ()
        seen = fitted_size(size, reading.patch, reading.max_size)
        return tuple(scaled_size(seen, scale, reading.patch) for scale in self.scales)


def _as_files(paths: str | Path | Iterable[str | Path | ImageFile]) -> list[ImageFile]:
    """Find the files, or take those that were found before."""
    if isinstance(paths, str | Path):
        return find_images(paths)
    given = [paths] if isinstance(paths, ImageFile) else list(paths)
    known = [path for path in given if isinstance(path, ImageFile)]
    if known and len(known) == len(given):
        return known
    if known:
        raise TypeError("paths: expected either paths or results of find_images, got both")
    return find_images([path for path in given if not isinstance(path, ImageFile)])


def _as_list(items: list[Mapped]) -> list[Mapped]:
    """Leave a batch a list: images differ in size."""
    return items
