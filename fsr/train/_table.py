"""The table at the end of a run: floor, start, this run, and the bound where it was measured."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fsr._core.text import read_json
from fsr.errors import ConfigError
from fsr.train._files import BOUNDS
from fsr.train._options import Config

# Scores of the table, and what its columns are called.
SCORES = {"cam_miou": "CAM mIoU", "prediction_miou": "prediction mIoU", "label_f1": "label F1"}
BOUND = "trained with full masks"


def upper_bound(config: Config) -> dict[str, Any] | None:
    """Return the recorded scores of training with full masks, if they are of this very setting.

    The file names the options that it was measured under in its entry `for`; if one differs here
    the figure would not be comparable, and None is returned.

    Args:
        config: options of the run; ``run.upper_bound`` names a shipped file or one's own.

    Raises:
        ConfigError: the file cannot be read as such scores.

    Example:
        >>> from fsr.train import load_config
        >>> round(upper_bound(load_config())["prediction_miou"], 3)
        0.549
        >>> upper_bound(load_config(overrides=["steps=401"])) is None
        True
    """
    if config.run.upper_bound is None:
        return None
    path = BOUNDS / f"{config.run.upper_bound}.json"
    path = path if path.exists() else Path(config.run.upper_bound)
    if not path.is_file():  # a pipe is never opened
        return None
    bound = _read_bound(path)
    options = asdict(config)
    for name, expected in bound["for"].items():
        value: Any = options
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value != expected:
            return None
    return bound


def _read_bound(path: Path) -> dict[str, Any]:
    """Read the recorded scores, and raise now rather than in the table at the end."""
    try:
        bound: dict[str, Any] = read_json(path)
        whole = isinstance(bound["for"], dict) and isinstance(bound["source"], str)
        whole = whole and float(bound["prediction_miou"]) > 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        whole, why = False, f" ({type(error).__name__}: {' '.join(str(error).split())})"
    else:
        why = ""
    if not whole:
        raise ConfigError(
            f"run.upper_bound: expected a JSON file with 'prediction_miou' above 0, 'source' and "
            f"'for', as benchmarks/upper_bound.py writes it, got {str(path)!r}{why}"
        )
    return bound


def results_rows(
    evaluations: dict[int, dict[str, Any]], background: float, bound: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Collect the rows of the final table: floor, start, this run, bound."""
    last = max(evaluations)
    rows: list[dict[str, Any]] = [
        {"name": "all background", "prediction_miou": background},
        {"name": "start (heads untrained)", **evaluations.get(0, {}).get("student", {})},
        *(
            {"name": f"this run, {network}", **evaluations[last][network]}
            for network in ("student", "teacher")
            if network in evaluations[last]
        ),
        {"name": BOUND, **(bound or {})},
    ]
    return [{key: row.get(key) for key in ("name", *SCORES)} for row in rows]


def results_table(rows: list[dict[str, Any]], bound: dict[str, Any] | None) -> str:
    """Spell the rows as a table, in per cent; rows and columns without any score are left out.

    Args:
        rows: what :func:`results_rows` returned.
        bound: what :func:`upper_bound` returned.
    """
    masks = any(known(row["prediction_miou"]) for row in rows if row["name"] != BOUND)
    shown = [row for row in rows if masks or row["name"] != BOUND]
    columns = [key for key in SCORES if any(known(row[key]) for row in shown)]
    if not masks:
        shown = [row for row in shown if any(known(row[key]) for key in columns)]
    # A column is as wide as its title and two spaces; 10 at least.
    widths = {key: max(10, len(SCORES[key]) + 2) for key in columns}
    lines = [f"{'':26}" + "".join(f"{SCORES[key]:>{widths[key]}}" for key in columns)]
    for row in shown:
        cells = {key: f"{100 * row[key]:.1f}" if known(row[key]) else "-" for key in columns}
        lines.append(
            f"{row['name']:26}" + "".join(f"{cells[key]:>{widths[key]}}" for key in columns)
        )
    if not masks:
        lines.append("(no masks to score against: data.masks)")
    elif bound is None:
        lines.append(f"({BOUND}: not measured for these options)")
    else:
        lines.append(f"({BOUND}: {bound['source']})")
        share = next(r for r in rows if r["name"] == "this run, student")["prediction_miou"]
        if known(share):
            lines.append(f"prediction: {share / bound['prediction_miou']:.0%} of that bound")
    return "\n".join(lines)


def known(score: float | None) -> bool:
    """Whether there is such a score: it is neither None nor NaN."""
    return score is not None and not math.isnan(score)
