"""Sheets of pictures: methods beside each other (Fig. 4), attention beside images (Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fsr._core.checks import check_finite, check_floating, check_shape
from fsr._core.optional import import_extra
from fsr._core.palette import voc_palette
from fsr.cam import ignore_label
from fsr.visualize._boundaries import boundary_overlay
from fsr.visualize._panels import (
    Panel,
    draw_panels,
    is_label_map,
    pixels,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison_sheet(
    columns: Sequence[tuple[str, Sequence[Panel]]],
    *,
    images: Sequence[Image.Image] | None = None,
    rows: Sequence[str] = (),
    class_names: Sequence[str] | None = None,
    size: float = 1.8,
) -> Figure:
    """Lay named columns of pictures beside each other, one row for each image (Fig. 4).

    The columns of Fig. 4 are the image, CAM and prediction of every method, and the truth; any
    others fit as well.

    Args:
        columns: pairs of a name and its pictures, one for each row. A picture is an image, an RGB
            array ``(height, width, 3)`` uint8, a label map ``(height, width)`` of integers (drawn
            in VOC's colours), scores ``(H, W)`` in [0, 1] such as a CAM (drawn as heat), or None,
            which leaves its place empty. Arrays are tensors or NumPy arrays.
        images: an image for each row to lay the scores of that row over; None draws heat alone.
        rows: a name for each row; empty writes none.
        class_names: names of the C classes, for a legend of the labels in the sheet; None leaves
            it out.
        size: width of a picture in inches.

    Returns:
        Figure with one axes for each picture, row by row; made without pyplot, so it shows itself
        nowhere and ``figure.savefig(path)`` writes it.

    Raises:
        ImportError: matplotlib is not installed (extra ``viz``).
        ShapeError: an array has another number of axes.
        TypeError: a picture is nothing of the kind, or ``size`` no number.
        ValueError: there is no column or no row, numbers of rows differ, a label or score is out of
            range, a label has no name in ``class_names``, or ``size`` is not positive.

    Source:
        Fig. 4.

    Example:
        >>> photograph = Image.new("RGB", (8, 6))
        >>> figure = comparison_sheet(
        ...     [
        ...         ("image", [photograph]),
        ...         ("CAM", [torch.rand(3, 4)]),
        ...         ("truth", [torch.zeros(6, 8, dtype=torch.long)]),
        ...     ],
        ...     images=[photograph],
        ... )
        >>> [axes.get_title() for axes in figure.axes]
        ['image', 'CAM', 'truth']
    """
    if not columns:
        raise ValueError("columns: expected at least one column, got none")
    count = len(columns[0][1])
    if count == 0:
        raise ValueError(f"columns: expected at least one row, got none in {columns[0][0]!r}")
    for name, pictures in columns:
        _check_count(f"columns: {name!r}", pictures, count)
    if images is not None:
        _check_count("images", images, count)
    if rows:
        _check_count("rows", rows, count)
    under: Sequence[Image.Image | None] = [None] * count if images is None else images
    table = [
        [pixels(f"columns: {name!r}", pictures[row], under[row]) for name, pictures in columns]
        for row in range(count)
    ]
    titles = [name for name, _ in columns]
    entries = [] if class_names is None else _legend_entries(columns, class_names)
    figure = draw_panels(table, titles, rows, size)
    if entries:
        patches = import_extra("matplotlib.patches", "viz", "a sheet")
        handles = [patches.Patch(color=colour, label=name) for name, colour in entries]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=max(1, min(len(handles), round(size * len(columns)))),
            fontsize=8,
            frameon=False,
        )
    return figure


def attention_sheet(
    images: Sequence[Image.Image],
    attention: Tensor,
    *,
    labels: Sequence[Tensor | None] | None = None,
    rows: Sequence[str] = (),
    size: float = 1.8,
) -> Figure:
    """Show the attention of every head beside its image, and their mean (Fig. 5).

    Every map is laid over the image, divided by its own maximum: red is where a head looks most,
    whatever its share. The last column is the mean of the heads' weights.

    Args:
        images: B images.
        attention: weights on the patches, ``(B, heads, H, W)``, of at least 0: one block of
            :meth:`fsr.segmenter.SingleStageSegmenter.attention_maps`, ``maps[:, -1]``, or of
            :meth:`fsr.visualize.EncoderAttention.maps`.
        labels: label map ``(height, width)`` of each image whose boundaries to draw on it, or None.
        rows: a name for each row, such as its classes; empty writes none.
        size: width of a picture in inches.

    Returns:
        Figure with ``heads + 2`` axes for each image, row by row: image, heads, mean.

    Raises:
        ImportError: matplotlib is not installed (extra ``viz``).
        ShapeError: ``attention`` or a label map has the wrong shape.
        TypeError: ``attention`` is not floating point, or a label map no integer tensor.
        ValueError: there is no image or no head, numbers of images differ, a weight is negative,
            NaN or infinite, or ``size`` is not positive.

    Source:
        Fig. 5.

    Example:
        >>> figure = attention_sheet([Image.new("RGB", (8, 6))], torch.rand(1, 2, 3, 4))
        >>> [axes.get_title() for axes in figure.axes]
        ['image', 'head 0', 'head 1', 'mean']
    """
    if not images:
        raise ValueError("images: expected at least one image, got none")
    _, heads, _, _ = check_shape("attention", attention, "B heads H W", B=len(images))
    check_floating("attention", attention)
    check_finite("attention", attention)
    if heads == 0:
        raise ValueError("attention: expected at least one head, got none")
    if bool((attention < 0).any()):
        raise ValueError(
            f"attention: expected weights of at least 0, got {attention.min().item():g}"
        )
    first = list(images)
    if labels is not None:
        _check_count("labels", labels, len(images))
        first = [
            image if target is None else boundary_overlay(image, target)
            for image, target in zip(images, labels, strict=True)
        ]
    weights = attention.detach().float()
    maps = torch.cat([weights, weights.mean(dim=1, keepdim=True)], dim=1)
    highest = maps.amax(dim=(2, 3), keepdim=True)
    maps = torch.where(highest > 0, maps / highest, 0.0)
    names = [*(f"head {head}" for head in range(heads)), "mean"]
    columns: list[tuple[str, Sequence[Panel]]] = [("image", first)]
    columns += [(name, list(maps[:, head])) for head, name in enumerate(names)]
    return comparison_sheet(columns, images=images, rows=rows, size=size)


def _check_count(name: str, values: Sequence[object], count: int) -> None:
    """Raise unless there is one value for each row."""
    if len(values) != count:
        raise ValueError(f"{name}: expected one for each of {count} rows, got {len(values)}")


def _legend_entries(
    columns: Sequence[tuple[str, Sequence[Panel]]], class_names: Sequence[str]
) -> list[tuple[str, tuple[float, ...]]]:
    """Return name and colour of every label in the sheet, ignored last."""
    maps = [p for _, pictures in columns for p in pictures if p is not None and is_label_map(p)]
    found = sorted({label for each in maps for label in np.unique(np.asarray(each)).tolist()})
    ignored = ignore_label(max(1, len(class_names)))
    names = {0: "background", ignored: "ignored"}
    names |= dict(enumerate(class_names, start=1))
    unknown = [label for label in found if label not in names]
    if unknown:
        raise ValueError(
            f"class_names: expected a name for every label, got {len(class_names)} names "
            f"and labels {unknown}"
        )
    palette = voc_palette(ignored + 1)
    return [(names[label], tuple(palette[label] / 255)) for label in found]
