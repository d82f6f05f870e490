"""Outlines of the regions of a mask along the edges of its pixels, with holes and without."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fsr._core.checks import check_between
from fsr._core.optional import import_extra

Point = tuple[float, float]
# Pixels: no picture is wider.
MOST_SIMPLIFIED = 1e5


class Outline(NamedTuple):
    """The outline of one region: points ``(x, y)``, pixel (0, 0) reaching from 0 to 1.

    Attributes:
        outer: its points, the first not repeated at the end.
        holes: the points of each of its holes.
    """

    outer: tuple[Point, ...]
    holes: tuple[tuple[Point, ...], ...]


def outlines(pixels: NDArray[np.bool_], *, simplify: float = 0.0) -> list[Outline]:
    """Outlines of the regions of a mask; pixels that share an edge are of one region.

    They run along the edges of the pixels, so that what lies inside is the mask to the pixel, of
    one pixel too.

    Args:
        pixels: mask ``(height, width)``.
        simplify: how far an outline may leave the edges of the pixels, for fewer points; 0 leaves
            it exact.

    Returns:
        One outline per region, in no particular order; none for a mask without a pixel.

    Raises:
        TypeError: ``pixels`` is no boolean array of two axes.
        ValueError: ``simplify`` is negative or not finite.
        ImportError: shapely is not installed (extra ``formats``).

    Example:
        >>> ring = np.array([[True, True, True], [True, False, True], [True, True, True]])
        >>> (found,) = outlines(ring)
        >>> len(found.outer), sorted(found.holes[0])
        (4, [(1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (2.0, 2.0)])
    """
    check_between("simplify", simplify, 0.0, MOST_SIMPLIFIED)
    return [_outline(region) for region in _regions(pixels, simplify)]


def without_holes(pixels: NDArray[np.bool_], *, simplify: float = 0.0) -> list[list[Outline]]:
    """Outlines of pieces without holes: every region is cut through its holes.

    Many formats know no holes; all pieces of a region together are the region.

    Args:
        pixels: mask ``(height, width)``.
        simplify: as of :func:`outlines`.

    Returns:
        For every region its pieces, one where it has no hole.

    Raises:
        TypeError: ``pixels`` is no boolean array of two axes.
        ValueError: ``simplify`` is negative or not finite.
        ImportError: shapely is not installed (extra ``formats``).

    Example:
        >>> ring = np.array([[True, True, True], [True, False, True], [True, True, True]])
        >>> [[piece.holes for piece in pieces] for pieces in without_holes(ring)]
        [[(), ()]]
    """
    check_between("simplify", simplify, 0.0, MOST_SIMPLIFIED)
    return [[_outline(piece) for piece in _cut(region)] for region in _regions(pixels, simplify)]


def _shapely() -> Any:
    return import_extra("shapely", "formats", "outlines of masks")


def _regions(pixels: NDArray[np.bool_], simplify: float) -> list[Any]:
    """Return a polygon of every region."""
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.bool_ or pixels.ndim != 2:
        what = f"{pixels.dtype}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise TypeError(f"pixels: expected a boolean array (height, width), got {what}")
    shapely = _shapely()
    framed = np.pad(pixels, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(framed, axis=1)
    rows, starts = np.nonzero(change == 1)
    ends = np.nonzero(change == -1)[1]
    # A box for every run of a row; where boxes meet, the library takes the edge between away.
    whole = shapely.union_all(shapely.box(starts, rows, ends, rows + 1))
    if whole.is_empty:
        return []
    # Points on straight edges go at a tolerance of 0 too.
    return [part.simplify(simplify) for part in shapely.get_parts(whole)]


def _cut(region: Any) -> list[Any]:
    """Cut a region through its holes until none is left."""
    shapely = _shapely()
    todo, done = [region], []
    while todo:
        piece = todo.pop()
        if not piece.interiors:
            done.append(piece)
            continue
        left, low, right, high = piece.bounds
        _, begin, _, end = piece.interiors[0].bounds
        # Along an edge of pixels, which leaves both parts exact. Simplified holes may reach the
        # outline in a point: those are cut through the middle.
        middle = (begin + end) / 2
        at = next(y for y in (begin, end, middle) if low < y < high)
        for lower, upper in ((low, at), (at, high)):
            part = piece.intersection(shapely.box(left, lower, right, upper))
            todo += [p for p in shapely.get_parts(part) if p.geom_type == "Polygon"]
    return [piece.simplify(0.0) for piece in done]


def _outline(polygon: Any) -> Outline:
    """Return the points of a polygon, rings not closed."""
    rings = [ring.coords[:-1] for ring in (polygon.exterior, *polygon.interiors)]
    outer, *holes = [tuple((float(x), float(y)) for x, y in ring) for ring in rings]
    return Outline(outer, tuple(holes))
