"""VOC's augmented training set, built from the Semantic Boundaries Dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fsr._core.files import clear_unfinished, looks_whole, whole_file
from fsr._core.optional import import_extra
from fsr.data._files import read_label_map, write_label_map
from fsr.data._voc_classes import VOC_CLASSES, read_class_list
from fsr.data._voc_list import read_voc_list
from fsr.data._voc_root import find_voc_root
from fsr.errors import DataError, MissingDataError

# Images of the lists that papers use.
VOC_IMAGES = {"train_aug": 10_582, "val": 1_449, "test": 1_456}
PURPOSE = "reading the Semantic Boundaries Dataset"


class AugmentedSet(NamedTuple):
    """What :func:`build_train_aug` did.

    Attributes:
        names: images of the list ``train_aug``, in its order.
        written: masks that were written now; the others were there.
        counts: images per list found: ``train_aug``, and ``val`` and ``test`` where there are.
    """

    names: tuple[str, ...]
    written: int
    counts: dict[str, int]


def train_aug_names(voc: Path, sbd: Path) -> tuple[str, ...]:
    """Names of ``train_aug``: VOC's train, then SBD's train and val, less VOC's val, each once.

    Args:
        voc: VOC 2012, as for :class:`fsr.data.VOC2012`.
        sbd: the Semantic Boundaries Dataset, see :func:`find_sbd_root`.

    Raises:
        MissingDataError: a list is not there.
        DataError: a list is empty.
    """
    lists = find_voc_root(voc) / "ImageSets" / "Segmentation"
    root = find_sbd_root(sbd)
    held_out = set(read_voc_list(lists, "val"))
    names = [
        *read_voc_list(lists, "train"),
        *(name for split in ("train", "val") for name in read_voc_list(root, split)),
    ]
    return tuple(dict.fromkeys(name for name in names if name not in held_out))


def build_train_aug(
    voc: Path,
    sbd: Path,
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> AugmentedSet:
    """Write ``SegmentationClassAug`` and the list ``train_aug`` into VOC's folder.

    Masks come from VOC's own ``SegmentationClass`` where it has one, else from SBD, and are palette
    PNGs in VOC's colours. VOC's val masks are copied too, so that the folder serves all lists.
    Masks that are there already are left alone, so that an interrupted run goes on; so is a list of
    the same images, in whatever order. The list comes last: where it is, the masks are complete.

    Args:
        voc: VOC 2012, as for :class:`fsr.data.VOC2012`.
        sbd: the Semantic Boundaries Dataset.
        workers: processes that write masks; 0 writes them in this one.
        progress: called with (masks done, masks in all).

    Raises:
        ImportError: SciPy is not installed (extra ``voc``).
        MissingDataError: a folder, a list, or the masks of an image are not there.
        DataError: a mask cannot be read, there is a list ``train_aug`` of other images already, or
            VOC's folder lists other classes.
        BrokenProcessPool: a process that writes masks died.
    """
    import_extra("scipy.io", "voc", PURPOSE)
    root, source = find_voc_root(voc), find_sbd_root(sbd)
    listed = read_class_list(root)
    # Beside masks of other classes those of SBD would be read as theirs.
    if listed is not None and listed.names != VOC_CLASSES:
        raise DataError(
            f"{listed.source}: lists other classes than VOC's 20, which are those of the Semantic "
            "Boundaries Dataset; take it out if the folder holds VOC 2012"
        )
    lists = root / "ImageSets" / "Segmentation"
    names, path = train_aug_names(root, source), lists / "train_aug.txt"
    kept = path.is_file()
    if kept:
        names = _same_images(path, names)
    folder = root / "SegmentationClassAug"
    folder.mkdir(exist_ok=True)
    wanted = [*names, *read_voc_list(lists, "val")]
    clear_unfinished([path, *(folder / f"{name}.png" for name in wanted)])
    missing = [name for name in wanted if not looks_whole(folder / f"{name}.png")]
    jobs = [(name, root, source) for name in missing]
    done = len(wanted) - len(missing)
    for _ in _mapped(jobs, workers):
        done += 1
        if progress is not None:
            progress(done, len(wanted))
    if not kept:
        with whole_file(path) as draft:
            draft.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    counts = {"train_aug": len(names), "val": len(wanted) - len(names)}
    if (lists / "test.txt").is_file():
        counts["test"] = len(read_voc_list(lists, "test"))
    return AugmentedSet(names, len(missing), counts)


def read_sbd_mask(path: Path) -> Tensor:
    """Read a category segmentation of the Semantic Boundaries Dataset.

    Args:
        path: ``.mat`` file of the folder ``cls``.

    Returns:
        ``(height, width)`` int64, 0 = background, c + 1 = class c of VOC.

    Raises:
        ImportError: SciPy is not installed (extra ``voc``).
        MissingDataError: there is no such file.
        DataError: it is no such file, is damaged, or holds other labels.

    Source:
        Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011.
    """
    scipy_io = import_extra("scipy.io", "voc", PURPOSE)
    if not path.is_file():
        raise MissingDataError(f"{path}: no such mask")
    try:
        content = scipy_io.loadmat(path, variable_names=["GTcls"])
        labels = np.asarray(content["GTcls"]["Segmentation"][0, 0])
        if labels.dtype.kind not in "ui":
            raise TypeError(f"Segmentation holds {labels.dtype}")
    # SciPy's reader has no error of its own for what it cannot make sense of.
    except Exception as error:
        raise DataError(
            f"{path}: expected a MATLAB file with GTcls.Segmentation, as in SBD's folder cls "
            f"({type(error).__name__}: {error})"
        ) from error
    wrong = sorted(set(np.unique(labels).tolist()) - set(range(len(VOC_CLASSES) + 1)))
    if labels.ndim != 2 or wrong:
        raise DataError(
            f"{path}: expected a map of labels in 0..{len(VOC_CLASSES)}, got shape {labels.shape}"
            + (f" with {', '.join(map(str, wrong[:10]))}" if wrong else "")
        )
    return torch.from_numpy(labels.astype(np.int64))


def find_sbd_root(path: Path) -> Path:
    """Return the folder of SBD that holds ``cls`` and the lists.

    Args:
        path: that folder (``dataset``), ``benchmark_RELEASE`` above it, or the folder above that.

    Raises:
        MissingDataError: there is no such folder.
    """
    path = path.expanduser()
    for candidate in (path, path / "dataset", path / "benchmark_RELEASE" / "dataset"):
        if (candidate / "cls").is_dir():
            return candidate
    raise MissingDataError(
        f"{path}: expected the Semantic Boundaries Dataset: a folder that holds cls, dataset/cls "
        "or benchmark_RELEASE/dataset/cls"
    )


def _write_mask(job: tuple[str, Path, Path]) -> None:
    """Write the mask of one image; VOC's own annotation goes before SBD's."""
    name, root, source = job
    own = root / "SegmentationClass" / f"{name}.png"
    mat = source / "cls" / f"{name}.mat"
    if own.is_file():
        labels = read_label_map(own, len(VOC_CLASSES))
    elif mat.is_file():
        labels = read_sbd_mask(mat)
    else:
        raise MissingDataError(f"{name}: no mask; expected {own} or {mat}")
    write_label_map(root / "SegmentationClassAug" / f"{name}.png", labels)


def _mapped(jobs: Sequence[tuple[str, Path, Path]], workers: int) -> Iterator[None]:
    """Do all jobs here or in processes."""
    if workers < 1 or len(jobs) < 2:
        yield from map(_write_mask, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        try:
            yield from pool.map(_write_mask, jobs, chunksize=8)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _same_images(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return the list that is there; raise if it has other images, as papers compare on one."""
    existing = read_voc_list(path.parent, path.stem)
    more, less = set(existing) - set(names), set(names) - set(existing)
    if more or less:
        raise DataError(
            f"{path}: lists {len(existing)} images, the rule (VOC train and SBD less VOC val) "
            f"{len(names)}: {len(more)} too many, {len(less)} missing; move it away to have it "
            "made anew"
        )
    return existing
