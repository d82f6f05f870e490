"""The tables of `gpu_suite.py`, by section."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import components
import inference

SHARES = ("mfu", "share_of_measured_peak")
RATIOS = ("times_faster_than_released", "memory_of_released")


def step_table(rows: dict[str, Any]) -> str:
    """Spell the rows of training steps."""
    heads = ("s a step", "images/s", "MiB", "MFU", "of peak", "faster", "memory")
    lines = [f"{'':52}" + "".join(f"{head:>10}" for head in heads)]
    for name, row in rows.items():
        if "failure" in row:
            lines.append(f"{name:52}  {row['failure']}")
            continue
        cells = [f"{row['median_seconds']:.3f}", f"{row['images_per_second']:.2f}"]
        cells.append(f"{row['memory_bytes'] / 2**20:.0f}")
        cells += [f"{row[key]:.1%}" if key in row else "-" for key in SHARES]
        cells += [f"{row[key]:.2f}x" if key in row else "-" for key in RATIOS]
        lines.append(f"{name:52}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def components_table(rows: dict[str, Any]) -> str:
    """Spell the rows of the components."""
    timed = {name: row for name, row in rows.items() if "sides" in row}
    lines = [f"{name}: {row['failure']}" for name, row in rows.items() if "failure" in row]
    return "\n".join([components.table({"cases": timed}), *lines])


def kernels_table(rows: dict[str, Any]) -> str:
    """Spell what the kernels speed up."""
    lines = []
    for name, row in rows.items():
        if "failure" in row:
            lines.append(f"{name:28}  {row['failure']}")
            continue
        text = f"{name:28}{1000 * row['median_seconds']:>10.2f} ms"
        text += f"{row['memory_bytes'] / 2**20:>8.0f} MiB"
        if "times_faster_than_torch" in row:
            text += f"{row['times_faster_than_torch']:>8.1f}x"
        if "relative_difference" in row:
            text += f"   differs by {row['relative_difference']:.1e}"
        if "least_bytes" in row:
            rate = row["least_bytes"] / row["median_seconds"]
            text += f"   {rate / 1e9:.0f} GB/s of the least that moves"
        lines.append(text)
    return "\n".join(lines)


def trainer_table(rows: dict[str, Any]) -> str:
    """Spell the trainer's rate."""
    lines = []
    for name, row in rows.items():
        if "failure" in row:
            lines.append(f"{name:28}  {row['failure']}")
            continue
        text = f"{name:28}{row['mean_seconds']:>10.3f} s a step, waited {row['waited_share']:.0%}"
        if "share_of_bare_step" in row:
            text += f", {row['share_of_bare_step']:.0%} of the bare step's rate"
        lines.append(text)
    return "\n".join(lines)


def crf_table(rows: dict[str, Any]) -> str:
    """Spell the dense CRF."""
    lines = []
    for name, row in rows.items():
        if "failure" in row:
            lines.append(f"{name:28}  {row['failure']}")
            continue
        text = f"{name:28}{row['median_seconds']:>10.3f} s{row['memory_bytes'] / 2**20:>8.0f} MiB"
        text += f"   aim {row['aim_seconds']:g} s"
        text += f"   filter's relative error {row.get('filter_relative_error', math.nan):.1e}"
        if "differs_from_torch" in row:
            text += f"   differs from torch by {row['differs_from_torch']:.1e}"
        lines.append(text)
    return "\n".join(lines)


def prediction_table(rows: dict[str, Any]) -> str:
    """Spell the rows of prediction."""
    return inference.table({"variants": rows, "crf_images_per_second_by_workers": {}})


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "aims": step_table,
    "kernels": kernels_table,
    "trainer": trainer_table,
    "steps": step_table,
    "compiled": step_table,
    "sweep": step_table,
    "components": components_table,
    "crf": crf_table,
    "prediction": prediction_table,
}
