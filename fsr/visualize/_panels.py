"""Panels of a sheet: images, label maps and score maps as pixels, laid out in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fsr._core.checks import check_between, check_shape, check_unit_interval
from fsr._core.labels import WIDE_IGNORE
from fsr._core.optional import import_extra
from fsr.visualize._heatmap import heat_colours, heatmap_overlay
from fsr.visualize._labels import colorize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Panel = Image.Image | Tensor | NDArray[Any] | None


def is_label_map(panel: Panel) -> bool:
    """Whether a panel is an integer array of two axes.

    Example:
        >>> is_label_map(torch.zeros(2, 2, dtype=torch.long)), is_label_map(torch.zeros(2, 2))
        (True, False)
    """
    if panel is None or isinstance(panel, Image.Image):
        return False
    values = torch.as_tensor(panel)
    whole = not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)
    return values.ndim == 2 and whole


def pixels(name: str, panel: Panel, image: Image.Image | None) -> NDArray[Any] | None:
    """Return what to show of a panel, ``(height, width, 3)`` in 0..255; None stays None.

    Args:
        name: what the panel is, for messages.
        panel: an image, label map ``(height, width)``, score map ``(H, W)`` in [0, 1], or
            ``(height, width, 3)`` uint8.
        image: image to lay a score map over, or None.

    Raises:
        ShapeError: an array has another number of axes.
        TypeError: the panel is nothing of the kind.
        ValueError: a label or score is out of range.
    """
    if panel is None:
        return None
    if isinstance(panel, Image.Image):
        return np.asarray(panel.convert("RGB"))
    if not isinstance(panel, Tensor | np.ndarray):
        raise TypeError(f"{name}: expected an image, an array or None, got {type(panel).__name__}")
    values = torch.as_tensor(panel).detach()
    if values.dtype == torch.uint8 and values.ndim == 3:
        check_shape(name, values, "height width channels", channels=3)
        return values.cpu().numpy()
    check_shape(name, values, "height width")
    if is_label_map(values):
        lowest, highest = (int(x) for x in values.aminmax()) if values.numel() else (0, 0)
        if lowest < 0 or highest > WIDE_IGNORE:
            raise ValueError(
                f"{name}: expected labels in 0..{WIDE_IGNORE}, got {lowest}..{highest}"
            )
        return np.asarray(colorize(values))
    if not values.is_floating_point():
        raise TypeError(f"{name}: expected integer labels or floating scores, got {values.dtype}")
    check_unit_interval(**{name: values})
    if image is None:
        return (255 * heat_colours(values)).astype(np.uint8)
    return np.asarray(heatmap_overlay(image, values))


def draw_panels(
    panels: Sequence[Sequence[NDArray[Any] | None]],
    titles: Sequence[str],
    rows: Sequence[str],
    size: float,
) -> Figure:
    """Lay rows of pixels out in a figure of its own, without pyplot: nothing global, no window.

    Args:
        panels: pixels by row and column; None leaves the place empty.
        titles: what stands above each column.
        rows: what stands beside each row; empty writes nothing.
        size: width of a panel in inches.
    """
    check_between("size", size, 0.0, float("inf"), inclusive=False)
    figures = import_extra("matplotlib.figure", "viz", "a sheet")
    shown = [[panel for panel in row if panel is not None] for row in panels]
    heights = [row[0].shape[0] / row[0].shape[1] if row else 1.0 for row in shown]
    figure: Figure = figures.Figure(
        figsize=(size * len(titles) + 0.2, size * sum(heights) + 0.4), layout="compressed"
    )
    table = figure.subplots(
        len(panels), len(titles), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for row, line in enumerate(panels):
        for column, panel in enumerate(line):
            axes = table[row, column]
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if panel is not None:
                axes.imshow(panel, interpolation="nearest")
            if row == 0:
                axes.set_title(titles[column], fontsize=9)
        if rows:
            table[row, 0].set_ylabel(rows[row], rotation=0, ha="right", va="center", fontsize=9)
    return figure
