"""Label maps as pictures: in colours, over their image, and the colours' legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_int, check_picture, check_sequence
from fsr._core.checks import check_between, check_integer, check_positive_int, check_shape
from fsr._core.labels import WIDE_IGNORE
from fsr._core.palette import voc_palette
from fsr.cam import BACKGROUND, IGNORE, ignore_label

CELL = (130, 22)


def colorize(labels: Tensor) -> Image.Image:
    """Label map in the colours of VOC.

    Args:
        labels: ``(height, width)`` integers in 0..255, of more than 254 classes in 0..65535.

    Returns:
        RGB image of the same size.

    Raises:
        ShapeError: ``labels`` has another shape.
        TypeError: ``labels`` is not an integer tensor.
        ValueError: a label is out of range.

    Example:
        >>> colorize(torch.tensor([[0, 15]])).getpixel((1, 0))
        (192, 128, 128)
    """
    return Image.fromarray(_coloured(_indices(labels)))


def overlay(
    image: Image.Image, labels: Tensor, *, alpha: float = 0.5, contours: bool = True
) -> Image.Image:
    """Lay the colours of a label map over its image; background stays as it is.

    Args:
        image: the image.
        labels: ``(height, width)`` integers in 0..255, of the image's size; ignored pixels (255)
            are shown in their pale colour. Of more than 254 classes in 0..65535.
        alpha: share of the colour, 0 to 1.
        contours: draw a line in a region's full colour along its border, a 300th of the longer side
            wide.

    Returns:
        RGB image of the same size.

    Raises:
        ShapeError: ``labels`` does not have the image's size.
        TypeError: ``labels`` is not an integer tensor.
        ValueError: a label, or ``alpha``, is out of range.

    Example:
        >>> grey = Image.new("RGB", (2, 1), (100, 100, 100))
        >>> picture = overlay(grey, torch.tensor([[0, 1]]), contours=False)
        >>> picture.getpixel((0, 0)), picture.getpixel((1, 0))
        ((100, 100, 100), (114, 50, 50))
    """
    check_picture("image", image)
    check_between("alpha", alpha, 0.0, 1.0)
    width, height = image.size
    check_shape("labels", labels, "height width", height=height, width=width)
    values = _indices(labels)
    colours = _coloured(values)
    photograph = image.convert("RGB")
    mixed = np.asarray(Image.blend(photograph, Image.fromarray(colours), alpha))
    picture = np.where((values == BACKGROUND)[..., None], np.asarray(photograph), mixed)
    if contours:
        border = _borders(values, max(1, round(max(image.size) / 300)))
        picture[border] = colours[border]
    return Image.fromarray(picture.astype(np.uint8))


def legend(
    class_names: Sequence[str],
    *,
    width: int = 4 * CELL[0],
    labels: Sequence[int] | None = None,
    extra: Sequence[tuple[str, Sequence[int]]] = (),
) -> Image.Image:
    """Colours of the labels with their names, background first and ignored last.

    Args:
        class_names: names of the C classes.
        width: width of the picture in pixels; as many columns as fit.
        labels: labels to name; None names all, 255 (ignored) too.
        extra: further names and colours ``(red, green, blue)``.

    Returns:
        RGB image on white.

    Example:
        >>> legend(("cat", "dog"), width=260).size
        (260, 44)
    """
    check_sequence("class_names", class_names, "names")
    if labels is not None:
        check_sequence("labels", labels, "integers")
        for label in labels:
            check_int("labels", label)
            if not (0 <= label <= len(class_names) or label == IGNORE):
                raise ValueError(f"labels: expected 0..{len(class_names)} or 255, got {label}")
    for name in class_names:
        if not isinstance(name, str):
            raise TypeError(f"class_names: expected strings, got {name!r}")
    check_positive_int("width", width)
    ignored = ignore_label(max(1, len(class_names)))
    palette = voc_palette(ignored + 1)
    named = {**dict(enumerate(["background", *class_names])), ignored: "ignored"}
    shown = named if labels is None else labels
    entries = [(named[label], palette[label]) for label in shown]
    entries += [(name, np.array(rgb)) for name, rgb in extra]
    columns = max(1, width // CELL[0])
    picture = Image.new("RGB", (width, -(-len(entries) // columns) * CELL[1]), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=13)
    for number, (name, rgb) in enumerate(entries):
        left, line = number % columns * CELL[0], number // columns * CELL[1]
        fill = (int(rgb[0]), int(rgb[1]), int(rgb[2]))
        draw.rectangle((left, line + 2, left + 14, line + 14), fill=fill, outline="black")
        draw.text((left + 19, line), name, fill="black", font=font)
    return picture


def _coloured(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return the colours of labels."""
    return voc_palette(_labels_of(values))[values]


def _labels_of(values: NDArray[np.uint16]) -> int:
    """Return how many labels there are, the ignored one among them: a byte's unless more occur."""
    return 1 + (WIDE_IGNORE if values.size and values.max() > IGNORE else IGNORE)


def _indices(labels: Tensor) -> NDArray[np.uint16]:
    """Return a label map as indices of colours."""
    check_shape("labels", labels, "height width")
    check_integer("labels", labels)
    values = labels.cpu().numpy()
    if values.size and (values.min() < 0 or values.max() > WIDE_IGNORE):
        raise ValueError(f"labels: expected 0..{WIDE_IGNORE}, got {values.min()}..{values.max()}")
    return values.astype(np.uint16)


def _borders(values: NDArray[np.uint16], thickness: int) -> NDArray[np.bool_]:
    """Pixels of classes that lie within some pixels of another label."""
    maps = torch.from_numpy(values.astype(np.float32))[None]
    highest, lowest = (
        sign * F.max_pool2d(sign * maps, 2 * thickness + 1, stride=1, padding=thickness)[0].numpy()
        for sign in (1, -1)
    )
    ignored = _labels_of(values) - 1
    border: NDArray[np.bool_] = (lowest != highest) & (values != BACKGROUND) & (values != ignored)
    return border
