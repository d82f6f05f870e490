"""Preparing MS COCO 2014: fetching it, looking it over, drawing all its masks."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from fsr._core.files import clear_unfinished, looks_whole
from fsr.data._coco import COCO2014
from fsr.data._label_table import LabelRow, LabelTable
from fsr.errors import DataError

# Images with annotations, as papers have them, and images in all.
COCO_IMAGES = {"train": 82_081, "val": 40_137}
_IMAGES = {"train": 82_783, "val": 40_504}
_SITE = "http://images.cocodataset.org"
_ANNOTATIONS = (
    f"{_SITE}/annotations/annotations_trainval2014.zip",
    "0a379cfc70b0e71301e0f377548639bd",
)
_ARCHIVES = {
    "train": (f"{_SITE}/zips/train2014.zip", "0da8c0bd3d6becc4dcb32757491aca88"),
    "val": (f"{_SITE}/zips/val2014.zip", "a3d79f5ed8d289b7a7554ce06a5782b3"),
}


def download_coco(root: Path, splits: Sequence[str] = ("train", "val")) -> None:
    """Fetch the official archives with torchvision, check them and unpack them.

    Archives whose content is there already are not fetched again. Those of the images have 13 and
    6 GB and are removed once unpacked.

    Args:
        root: folder to unpack into; made if need be.
        splits: "train", "val" or both.

    Raises:
        ValueError: a split has no archive.
        DataError: an archive cannot be fetched, or is damaged.
    """
    from torchvision.datasets.utils import download_and_extract_archive

    for split in splits:
        if split not in _ARCHIVES:
            raise ValueError(f"splits: expected some of {', '.join(_ARCHIVES)}, got {split!r}")
    wanted = [_ARCHIVES[split] for split in splits if not _unpacked(root, split)]
    files = [root / "annotations" / f"instances_{split}2014.json" for split in splits]
    if not all(file.is_file() for file in files):
        wanted.append(_ANNOTATIONS)
    for url, md5 in wanted:
        try:
            download_and_extract_archive(url, str(root), md5=md5, remove_finished=True)
        # torchvision reports a wrong checksum as RuntimeError.
        except (OSError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{url}: cannot be fetched ({error}); fetch it on a machine with a network and "
                f"unpack it in {root}"
            ) from error


def missing_images(dataset: COCO2014) -> list[Path]:
    """Return the image files that are not there, in order.

    Args:
        dataset: the split.
    """
    paths = map(dataset.image_path, range(len(dataset)))
    return [path for path in paths if not path.is_file()]


def label_table(dataset: COCO2014) -> LabelTable:
    """Return the image-level labels as a table, for :class:`fsr.data.FolderDataset`.

    Args:
        dataset: the split.

    Returns:
        One row per image; paths are relative to the folder of the split's images.
    """
    names = dataset.class_names
    rows = []
    for index in range(len(dataset)):
        present = dataset.load_labels(index).nonzero().flatten().tolist()
        image = dataset.image_path(index).relative_to(dataset.images).as_posix()
        rows.append(LabelRow(image, tuple(names[c] for c in present)))
    return LabelTable(names, tuple(rows))


def write_masks(
    dataset: COCO2014,
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Draw all masks of a split into its cache; those that are there, whole, are left alone.

    Args:
        dataset: the split, made with ``cache=``.
        workers: processes that draw; 0 draws in this one.
        progress: called with (masks done, masks in all).

    Returns:
        The number of masks that were drawn now.

    Raises:
        ValueError: the data set has no cache.
        OSError: a mask cannot be written.
    """
    cache = dataset.cache
    if cache is None:
        raise ValueError("dataset: expected COCO2014 with masks=True and cache=FOLDER, got none")
    names = dataset.names
    clear_unfinished(map(cache.path, names))
    missing = [i for i in range(len(dataset)) if not looks_whole(cache.path(names[i]))]
    done = len(dataset) - len(missing)
    for _ in _drawn(dataset, missing, workers):
        done += 1
        if progress is not None:
            progress(done, len(dataset))
    return len(missing)


def _unpacked(root: Path, split: str) -> bool:
    """Whether all images of a split are there; half an archive is none."""
    folder = root / f"{split}2014"
    return folder.is_dir() and sum(1 for _ in folder.glob("*.jpg")) >= _IMAGES[split]


def _drawn(dataset: COCO2014, missing: Sequence[int], workers: int) -> Iterator[None]:
    """Draw masks here or in processes, each of which gets the data set once."""
    if workers < 1 or len(missing) < 2:
        for index in missing:
            dataset.load_target(index)
            yield
        return
    with ProcessPoolExecutor(workers, initializer=_hold, initargs=(dataset,)) as pool:
        try:
            yield from pool.map(_draw, missing, chunksize=16)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_held: list[COCO2014] = []


def _hold(dataset: COCO2014) -> None:
    """Keep the data set in a worker process."""
    _held[:] = [dataset]


def _draw(index: int) -> None:
    """Draw one mask in a worker process."""
    _held[0].load_target(index)
