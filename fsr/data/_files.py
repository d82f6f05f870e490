"""Reading and writing the files of a data set, with errors that name the file and the way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fsr._core.checks import check_shape
from fsr._core.files import whole_file
from fsr._core.labels import IGNORE, WIDE_IGNORE, ignore_label
from fsr._core.palette import voc_palette
from fsr.data._opening import decoded, open_image
from fsr.errors import DataError


def read_label_map(
    path: Path,
    num_classes: int,
    size: tuple[int, int] | None = None,
    *,
    max_pixels: int | None = None,
) -> Tensor:
    """Read a mask of class indices: a palette or greyscale PNG.

    Args:
        path: mask file.
        num_classes: number of foreground classes C; labels are 0..C or 255 (ignore), of more than
            254 classes 65535.
        size: width and height that the mask must have, those of its image.
        max_pixels: pixels that a mask may have, see :class:`fsr.data.Reading`.

    Returns:
        ``(height, width)`` int64.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is no image, is damaged, is too large, holds colours instead of
            indices, has another size, or holds other labels.
    """
    with open_image(path, max_pixels) as image:
        if len(image.getbands()) != 1:
            raise DataError(
                f"{path}: expected a mask of class indices (palette or greyscale PNG), got colours "
                f"(mode {image.mode}); map each colour to its class index first"
            )
        if size is not None and image.size != size:
            raise DataError(
                f"{path}: expected the size of its image, {size[0]} x {size[1]} pixels, "
                f"got {image.size[0]} x {image.size[1]}"
            )
        target = np.asarray(decoded(image, path)).astype(np.int64)
    ignored = ignore_label(num_classes)
    wrong = sorted(set(np.unique(target).tolist()) - {*range(num_classes + 1), ignored})
    if wrong:
        listed = ", ".join(map(str, wrong[:10])) + (", ..." if len(wrong) > 10 else "")
        raise DataError(f"{path}: expected labels in 0..{num_classes} or {ignored}, got {listed}")
    return torch.from_numpy(target)


def write_label_map(path: Path, labels: Tensor, num_classes: int | None = None) -> None:
    """Write a label map as a palette PNG in VOC's colours; it appears whole or not at all.

    A palette has 256 entries. Labels of more than 254 classes are written as greyscale of 16 bits,
    which :func:`read_label_map`, Pillow and OpenCV read as they are, and which viewers show dark.

    Args:
        path: file to write, ending in ``.png``; its folder is made.
        labels: ``(height, width)`` integers in 0..255, or in 0..65535 for more classes.
        num_classes: number of foreground classes C, which decides the format; None goes by the
            largest label.

    Raises:
        ShapeError: ``labels`` has another shape.
        ValueError: a label does not fit into the bits.
        OutputError: the file cannot be written; nothing is left of it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mask.png"
        >>> write_label_map(path, torch.tensor([[0, 1], [20, 255]]))
        >>> read_label_map(path, num_classes=20).tolist()
        [[0, 1], [20, 255]]
    """
    check_shape("labels", labels, "height width")
    values = labels.cpu().numpy()
    if num_classes is None:
        wide = bool(values.size) and values.max() > IGNORE
    else:
        wide = ignore_label(num_classes) > IGNORE
    most = WIDE_IGNORE if wide else IGNORE
    if values.size and (values.min() < 0 or values.max() > most):
        raise ValueError(f"labels: expected 0..{most}, got {values.min()}..{values.max()}")
    if wide:
        image = Image.fromarray(values.astype(np.uint16))
    else:
        image = Image.fromarray(values.astype(np.uint8)).convert("P")
        image.putpalette(voc_palette().tobytes())
    with whole_file(path) as draft:
        image.save(draft, format="PNG")
