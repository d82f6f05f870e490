"""Images of any number of bands: arrays of NumPy, and TIFF with as many bands as it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr._core.optional import import_extra
from fsr._core.regular import check_regular
from fsr.errors import DataError, MissingDataError

# What files in a folder are taken for images of bands.
BAND_SUFFIXES = (".npy", ".tif", ".tiff")


def read_bands(path: Path) -> Tensor:
    """Read an image of any number of bands, its values as they are.

    Args:
        path: ``.npy`` of shape ``(height, width, bands)`` or ``(height, width)``, of which nothing
            is unpickled; or a TIFF, its bands side by side, in planes or in pages, with the extra
            ``bands``. Where the picture lies on the earth is not read.

    Returns:
        ``(bands, height, width)`` float32, in the units of the file.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is neither, is damaged, has other axes, or holds NaN or infinity.
        ImportError: a TIFF is to be read without the extra.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scene.npy"
        >>> np.save(path, np.full((4, 3, 6), 1200, dtype=np.uint16))
        >>> bands = read_bands(path)
        >>> bands.shape, bands.max()
        (torch.Size([6, 4, 3]), tensor(1200.))
    """
    check_regular(path)
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file")
    if path.suffix.lower() in (".tif", ".tiff"):
        return bands_of(_read_tiff(path), str(path))
    try:
        values: NDArray[Any] = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged head shows as many kinds of error
        raise DataError(
            f"{path}: cannot be read as an array of bands, .npy or .tif ({error})"
        ) from error
    return bands_of(values, str(path))


def bands_of(values: Any, where: str) -> Tensor:
    """Return an array ``(height, width, bands)`` as a tensor ``(bands, height, width)``.

    Args:
        values: the array, or one of two axes for one band.
        where: what messages call it.

    Raises:
        DataError: it has other axes, is empty, or holds no finite real numbers.
    """
    array = np.asarray(values)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or 0 in array.shape:
        raise DataError(
            f"{where}: expected an array (height, width, bands), got shape {array.shape}"
        )
    if array.dtype.kind not in "buif":
        raise DataError(f"{where}: expected real numbers, got {array.dtype}")
    bands = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1), dtype=np.float32))
    if not bool(torch.isfinite(bands).all()):
        raise DataError(
            f"{where}: holds NaN or infinity, as where there are no data: fill these pixels first "
            "(numpy.nan_to_num)"
        )
    return bands


def _read_tiff(path: Path) -> NDArray[Any]:
    """Read the first series of a TIFF as ``(height, width, bands)``."""
    tifffile: Any = import_extra("tifffile", "bands", "TIFF of several bands")
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            axes, values = str(series.axes), series.asarray()
    except Exception as error:
        raise DataError(f"{path}: cannot be read as TIFF ({error})") from error
    others = [number for number, axis in enumerate(axes) if axis not in "YX"]
    several = [number for number in others if values.shape[number] > 1]
    if "Y" not in axes or "X" not in axes or len(several) > 1:
        raise DataError(
            f"{path}: expected height, width and one axis of bands, got axes {axes} of "
            f"{values.shape}"
        )
    order = [axes.index("Y"), axes.index("X"), *others]
    moved = values.transpose(order)
    return np.asarray(moved.reshape(*moved.shape[:2], -1))
