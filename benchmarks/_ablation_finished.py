"""The finished runs of a file of results that count, for tables and figures."""

from __future__ import annotations

import json
from pathlib import Path

from _ablation_scores import Row, changed
from _ablation_variants import VARIANTS


def finished(path: Path) -> list[Row]:
    """Return the runs of a file, those of the setting of its last line; the first of a kind.

    An option that came later does not make another setting of what was run before. A variant whose
    options are others now does not count, nor does a line that a kill left unfinished.

    Args:
        path: of the lines; the settings lie beside it. Where there is none, nothing was run.
    """
    if not path.exists():
        return []
    settings = json.loads(path.with_name(f"{path.stem}.settings.json").read_text())
    lines = [line for line in map(_parsed, path.read_text().splitlines()) if line is not None]
    kept: dict[tuple[str, int], Row] = {}
    for line in lines:
        variant = VARIANTS.get(line["variant"])
        same = variant is not None and list(variant.overrides) == line["overrides"]
        if same and not changed(settings[line["setting"]], settings[lines[-1]["setting"]]):
            kept.setdefault((line["variant"], line["seed"]), line)
    return list(kept.values())


def _parsed(line: str) -> Row | None:
    try:
        row: Row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row
