"""Which classes are taken for which: the confusion matrix of an evaluation, as a drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fsr.report._numbers import percent

# Up to so many labels a cell is wide enough for its number.
ROOMY = 25
SHADES = 10
LEAST = 0.005  # share from which a cell is drawn
LONGEST, LETTER = 18, 6.2  # letters of a name that are shown, and their width
MOST = 12  # pairs that are listed

# Shares of each true label; None where the truth has none of it.
Rows = Sequence[list[float] | None]


@dataclass(frozen=True)
class Confusion:
    """A matrix laid out.

    Attributes:
        of: the map that it is of, ``"prediction"`` or ``"CAM"``.
        cell: side of a cell.
        left: width of the names.
        width: width and height of the drawing.
        shades: per shade, from pale to full, the path of its cells that are right and wrong.
        texts: place and text of every number written into a cell.
        pairs: the largest errors: truth, prediction, share and pixels.
        data: plain data for the script.
    """

    of: str
    cell: int
    left: int
    width: int
    shades: list[tuple[float, str, str]]
    texts: list[tuple[float, float, str, bool]]
    pairs: list[dict[str, str]]
    data: dict[str, Any]


def shares(matrix: Sequence[Sequence[int]]) -> list[list[float] | None]:
    """Return each row as shares of its sum; None where a label is not in the truth.

    Example:
        >>> shares([[3, 1], [0, 0]])
        [[0.75, 0.25], None]
    """
    sums = [sum(row) for row in matrix]
    return [
        [count / total for count in row] if total else None
        for row, total in zip(matrix, sums, strict=True)
    ]


def largest_errors(matrix: Sequence[Sequence[int]], most: int) -> list[tuple[int, int, float, int]]:
    """Return truth, prediction, share of the truth and pixels of the largest shares off diagonal.

    Example:
        >>> largest_errors([[3, 1], [6, 2]], most=1)
        [(1, 0, 0.75, 6)]
    """
    found = [
        (row, column, share, matrix[row][column])
        for row, line in enumerate(shares(matrix))
        for column, share in enumerate(line or ())
        if row != column and share > 0
    ]
    return sorted(found, key=lambda each: (-each[2], -each[3]))[:most]


def lay_out(detail: dict[str, Any], names: Sequence[str]) -> Confusion | None:
    """Lay the matrix of a network out; None where nothing was counted.

    Args:
        detail: what ``scores.json`` has of the network.
        names: names of the labels, background first.
    """
    matrix = detail.get("confusion") or []
    if not any(map(any, matrix)) or len(matrix) != len(names):
        return None
    count, rows = len(matrix), shares(matrix)
    left = round(12 + LETTER * min(LONGEST, max(map(len, names))))
    cell = 30 if count <= 12 else 26 if count <= ROOMY else 12
    pairs = [
        {
            "truth": names[row],
            "taken_for": names[column],
            "share": percent(share),
            "pixels": f"{pixels:,}",
        }
        for row, column, share, pixels in largest_errors(matrix, MOST)
    ]
    data = {
        "left": left,
        "cell": cell,
        "rows": [None if line is None else [round(share, 4) for share in line] for line in rows],
        "pixels": [sum(row) for row in matrix],
    }
    width = left + count * cell + 1
    of = str(detail.get("of", "prediction"))
    texts = _texts(rows, cell, left) if count <= ROOMY else []
    return Confusion(of, cell, left, width, _shades(rows, cell, left), texts, pairs, data)


def _shown(rows: Rows) -> Iterator[tuple[int, int, float]]:
    """Yield row, column and share of the cells that are not left blank."""
    for row, line in enumerate(rows):
        for column, share in enumerate(line or ()):
            if share >= LEAST:
                yield row, column, share


def _shades(rows: Rows, cell: int, left: int) -> list[tuple[float, str, str]]:
    """Return the cells of a shade as one path each, right ones and wrong ones."""
    right, wrong = ([""] * SHADES for _ in range(2))
    for row, column, share in _shown(rows):
        x, y = left + column * cell, left + row * cell
        path = f"M{x} {y}h{cell}v{cell}h{-cell}z"
        (right if row == column else wrong)[min(SHADES - 1, int(share * SHADES))] += path
    opacities = [0.12 + 0.88 * (shade + 1) / SHADES for shade in range(SHADES)]
    return list(zip(opacities, right, wrong, strict=True))


def _texts(rows: Rows, cell: int, left: int) -> list[tuple[float, float, str, bool]]:
    """Return the numbers in the cells: place, per cent, and whether the cell is dark."""
    return [
        (
            left + (column + 0.5) * cell,
            left + (row + 0.5) * cell + 3.5,
            f"{100 * share:.0f}",
            share >= 0.55,
        )
        for row, column, share in _shown(rows)
    ]
