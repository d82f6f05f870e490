"""The official archives of PASCAL VOC 2012 and SBD, fetched."""

from __future__ import annotations

import tarfile
from pathlib import Path

from fsr._core.optional import import_extra
from fsr.data._sbd import PURPOSE, find_sbd_root
from fsr.data._voc_root import find_voc_root
from fsr.errors import DataError, MissingDataError

# Files in the official archives: images of VOC, masks of SBD.
_IMAGES, _MASKS = 17_125, 11_355


def download_archives(voc: Path, sbd: Path) -> None:
    """Fetch VOC 2012 and the Semantic Boundaries Dataset with torchvision, check and unpack them.

    Archives whose content is there already are not fetched again. They have 2 and 1.4 GB.

    Args:
        voc: folder to unpack VOC's training and validation images into.
        sbd: folder to unpack SBD into.

    Raises:
        ImportError: SciPy is not installed (extra ``voc``), without which SBD is of no use.
        DataError: an archive cannot be fetched, or is damaged.
    """
    import_extra("scipy.io", "voc", PURPOSE)
    from torchvision.datasets import SBDataset
    from torchvision.datasets.utils import download_and_extract_archive
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    official = DATASET_YEAR_DICT["2012"]
    for folder, complete, url, name, md5 in (
        (voc, _has_voc, official["url"], official["filename"], official["md5"]),
        (sbd, _has_sbd, SBDataset.url, SBDataset.filename, SBDataset.md5),
    ):
        if complete(folder):
            continue
        try:
            download_and_extract_archive(url, str(folder), filename=name, md5=md5)
        # torchvision reports a wrong checksum as RuntimeError.
        except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
            raise DataError(
                f"{url}: cannot be fetched ({error}); fetch it on a machine with a network and "
                f"unpack it in {folder}"
            ) from error


def _has_voc(folder: Path) -> bool:
    """Whether all images of VOC are there; half an archive is none."""
    try:
        images = find_voc_root(folder) / "JPEGImages"
    except MissingDataError:
        return False
    return sum(1 for _ in images.glob("*.jpg")) >= _IMAGES


def _has_sbd(folder: Path) -> bool:
    """Whether all masks of SBD are there; half an archive is none."""
    try:
        masks = find_sbd_root(folder) / "cls"
    except MissingDataError:
        return False
    return sum(1 for _ in masks.glob("*.mat")) >= _MASKS
