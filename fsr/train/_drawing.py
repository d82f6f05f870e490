"""How the picture sheet is laid out: titles, captions, tiles, legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from fsr.visualize import colorize, legend

GAP, TITLE, CAPTION = 6, 22, 20
TINT, DARK = (255, 140, 0), (50, 50, 50)
LINE = (200, 200, 200)


def paint_labels(labels: Tensor, size: tuple[int, int]) -> Image.Image:
    """Paint a label map; nearest, so that no label is invented."""
    return colorize(labels).resize(size, Image.Resampling.NEAREST)


def paint_mask(photo: Image.Image, zone: Tensor, mask: Tensor) -> Image.Image:
    """Tint the uncertain zone, darken the masked patches."""
    size = (photo.height, photo.width)
    tint, dark = (
        F.interpolate(patches[None, None].float(), size)[0, 0, :, :, None].cpu().numpy()
        for patches in (zone, mask)
    )
    picture = np.asarray(photo) / 255
    picture = picture * (1 - 0.5 * tint) + 0.5 * tint * np.array(TINT) / 255
    return Image.fromarray(np.uint8(255 * picture * (1 - 0.75 * dark)))


def arrange(
    rows: Sequence[tuple[str, Sequence[Image.Image]]],
    titles: Sequence[str],
    class_names: Sequence[str],
    tile: int,
) -> Image.Image:
    """Put rows of tiles under their titles, each below its caption and a line, then the legend.

    Args:
        rows: caption and tiles of each row.
        titles: what the columns show.
        class_names: names of the classes, for the legend.
        tile: longer side of a tile in pixels.
    """
    font = ImageFont.load_default(size=13)
    step, high = tile + GAP, CAPTION + tile + GAP
    width = len(titles) * step + GAP
    colours = legend(class_names, width=width, extra=(("uncertain", TINT), ("masked", DARK)))
    sheet = Image.new("RGB", (width, TITLE + len(rows) * high + colours.height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((GAP + column * step, 4), title, fill="black", font=font)
    for row, (caption, tiles) in enumerate(rows):
        top = TITLE + row * high
        draw.line((0, top, width, top), fill=LINE)
        draw.text((GAP, top + 2), caption, fill="black", font=font)
        for column, picture in enumerate(tiles):
            sheet.paste(picture, (GAP + column * step, top + CAPTION))
    sheet.paste(colours, (GAP, TITLE + len(rows) * high + GAP))
    return sheet
