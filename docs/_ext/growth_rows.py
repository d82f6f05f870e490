"""Tables of how cost grows: steps, tables of labels, classes; and the trainer beside its step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from _growth import SWEEPS, completed, exponents
from measured import load

Rows = list[list[str]]
# Cost of `table_growth.json`: what it is called, for which of its kinds.
TABLE = {
    ("folder", "open_cpu_seconds"): "opening a folder with its table",
    ("masks", "open_cpu_seconds"): "the same with a mask for every image",
    ("coco", "open_cpu_seconds"): "opening COCO's annotations",
    ("folder", "shuffle_seconds"): "a new order of all images",
    ("folder", "kept_bytes"): "memory that the table keeps",
    ("coco", "kept_bytes"): "memory that COCO's annotations keep",
    ("folder", "worker_bytes"): "memory of a worker of its own",
}


def ran(sweep: str) -> list[dict[str, Any]]:
    """Return the points of a sweep of a step that did not fail."""
    return completed(load("scaling"), sweep)


def step_growth() -> Rows:
    """Return the exponents of time and memory of a step along each sweep."""
    rows = []
    for sweep, (title, count) in SWEEPS.items():
        points = ran(sweep)
        values = [count(point) for point in points]
        first, last = points[0], points[-1]
        time, memory = (
            exponents(values, [point[cost] for point in points])
            for cost in ("median_seconds", "memory_bytes")
        )
        rows.append(
            [
                title,
                f"{values[0]:,} to {values[-1]:,}",
                f"{first['median_seconds']:.2f} to {last['median_seconds']:.2f} s",
                *_both(time),
                f"{first['memory_bytes'] / 2**30:.2f} to {last['memory_bytes'] / 2**30:.2f} GiB",
                *_both(memory),
            ]
        )
    largest = "of the last two"
    head = ["what grows", "from", "a step", "exponent", largest, "memory", "exponent", largest]
    return [head, *rows]


def step_pieces() -> Rows:
    """Return what the largest image's step is made of, and how each piece grows with patches."""
    points = ran("size")
    values = [SWEEPS["size"][1](point) for point in points]
    last = points[-1]["pieces"]
    rows = []
    for name in sorted(last, key=lambda name: -last[name]):
        share = last[name] / sum(last.values())
        if share < 0.01:
            continue
        grown = exponents(values, [point["pieces"][name] for point in points])
        first = points[0]["pieces"][name]
        rows.append([name, f"{first:.2f}", f"{last[name]:.2f}", f"{share:.0%}", *_both(grown)])
    sides = [f"{point['image_size']} px, s" for point in (points[0], points[-1])]
    return [["piece", *sides, "share", "exponent", "of the last two"], *rows]


def table_growth() -> Rows:
    """Return the exponents of what a table of labels costs."""
    kinds = load("table_growth")["kinds"]
    rows = []
    for (kind, cost), title in TABLE.items():
        points, grown = kinds[kind]["points"], kinds[kind]["exponents"][cost]
        values = [point["images"] for point in points]
        costs = [_spelled(cost, point[cost]) for point in (points[0], points[-1])]
        span = f"{values[0]:,} to {values[-1]:,}"
        rows.append([title, span, " to ".join(costs), *_both(grown)])
    return [["what", "images", "cost", "exponent", "of the last two"], *rows]


def many_classes() -> Rows:
    """Return what a step, a prediction and an evaluation cost with more classes."""
    points = ran("classes")
    told: list[tuple[str, str, float, float]] = [
        ("a training step", f"{p['classes']:,}", p["median_seconds"], p["memory_bytes"])
        for p in points
    ]
    for task, found in load("many_classes")["tasks"].items():
        told += [
            (f"{task} of a photograph", f"{int(n):,}", row["median_seconds"], row["memory_bytes"])
            for n, row in found.items()
        ]
    rows, first = [], told[0]
    for before, (title, count, seconds, memory) in pairwise([("", "", 0.0, 0.0), *told]):
        if new := title != before[0]:
            first = (title, count, seconds, memory)
        ratios = ["", ""] if new else [f"{seconds / first[2]:.2f}x", f"{memory / first[3]:.2f}x"]
        name = title if new else ""
        rows.append([name, count, f"{seconds:.2f}", f"{memory / 2**30:.2f}", *ratios])
    return [["what", "classes", "seconds", "GiB", "time", "memory"], *rows]


def trainer_rate() -> Rows:
    """Return images a second of the trainer beside those of its bare step."""
    rows = [
        [
            data,
            f"{row['bare_images_per_second']:.3f}",
            f"{row['trainer_images_per_second']:.3f}",
            f"{row['ratio']:.0%}",
            f"{row['waited_for_data']:.1%}",
        ]
        for data, row in load("trainer_rate")["data"].items()
    ]
    return [["data", "bare step, images a second", "trainer", "ratio", "waited for data"], *rows]


def _both(grown: dict[str, float | None]) -> list[str]:
    """Spell an exponent over all values and that of the largest two."""
    return ["" if value is None else f"{value:.2f}" for value in grown.values()]


def _spelled(cost: str, value: float) -> str:
    """Spell seconds or bytes."""
    if cost.endswith("bytes"):
        return f"{value / 2**20:.1f} MiB"
    return f"{value:.2f} s" if value >= 0.1 else f"{1e3 * value:.1f} ms"


TABLES: dict[str, Callable[[], Rows]] = {
    table.__name__: table
    for table in (step_growth, step_pieces, table_growth, many_classes, trainer_rate)
}
