"""Pictures that are in memory, of Pillow, NumPy or torch, as those of files are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fsr.data._depth import to_bytes
from fsr.data._reading import Reading
from fsr.errors import DataError

# Grey, grey with alpha, colours, colours with alpha.
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def picture_of(value: Any, where: str, reading: Reading | None = None) -> Image.Image:
    """Bring a picture in memory to 8-bit RGB.

    Args:
        value: a PIL image of any mode; an array ``(height, width)`` or ``(height, width,
            channels)``; or a tensor ``(height, width)`` or ``(channels, height, width)``; of 1
            (grey), 2 (grey, alpha), 3 (RGB) or 4 channels (RGB, alpha). Numbers are bytes, integers
            of more bits, or floating-point between 0 and 1; truths are black and white.
        where: what messages call it.
        reading: what lies under alpha, how many bits integers have, and whether EXIF data of a PIL
            image turn it; the defaults if None.

    Raises:
        TypeError: it is none of these.
        DataError: it has other axes, or holds numbers of no known range, as normalised ones are.

    Example:
        >>> picture_of(np.full((2, 3), 0.5), "a").getpixel((0, 0))
        (128, 128, 128)
        >>> picture_of(torch.zeros(3, 2, 5, dtype=torch.uint8), "a").size
        (5, 2)
    """
    reading = Reading() if reading is None else reading
    if isinstance(value, Image.Image):
        return reading.picture(value)
    array = array_of(value, where)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or 0 in array.shape or array.shape[2] not in _MODES:
        raise DataError(f"{where}: expected a picture, {_form(value)}")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise DataError(f"{where}: expected real numbers, got {array.dtype}")
    if array.dtype != np.uint8:
        white = None if reading.bits is None else 2**reading.bits - 1
        try:
            array = to_bytes(array, white)
        except ValueError as error:
            raise DataError(
                f"{where}: {error}; pictures are handed over as they are, not normalised"
            ) from error
    mode = _MODES[array.shape[2]]
    squeezed = array[..., 0] if mode == "L" else array
    image = Image.fromarray(np.ascontiguousarray(squeezed))
    return reading.picture(image, Path(where))


def array_of(value: Any, where: str) -> NDArray[Any]:
    """Return an array ``(height, width, ...)`` of an array, or of a tensor with channels first.

    Args:
        value: the array or tensor.
        where: what messages call it.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        found: NDArray[Any] = tensor.numpy()
        return found.transpose(1, 2, 0) if found.ndim == 3 else found
    if isinstance(value, np.ndarray):
        return value
    raise TypeError(
        f"{where}: expected a path, a PIL image, an array or a tensor, got {type(value).__name__}"
    )


def _form(value: Any) -> str:
    """Say which axes an array or a tensor should have, and has."""
    tensor = isinstance(value, torch.Tensor)
    right = "(channels, height, width)" if tensor else "(height, width, channels)"
    kind, turned = ("a tensor", "an array") if tensor else ("an array", "a tensor")
    other = "(height, width, channels)" if tensor else "(channels, height, width)"
    return (
        f"{kind} {right} of 1 to 4 channels or (height, width), got {tuple(value.shape)}; "
        f"{other} is the form of {turned}"
    )
