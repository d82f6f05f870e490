"""Finished runs as JSON lines: appended whole, read with whatever does not belong left out."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _ablation_scores import Row, changed
from _ablation_setting import Setting
from _ablation_variants import Variant
from _machine import write_json


class ResultLog:
    """The finished runs of one experiment.

    `NAME.jsonl` has one line per run, `NAME.settings.json` every setting by its hash, so that a
    line can be told from one of another setting, and the difference named.

    Args:
        folder: where the two files lie.
        name: their name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.jsonl"
        self.settings_path = folder / f"{name}.settings.json"

    def append(self, row: Row, setting: Setting) -> None:
        """Add a finished run: its whole line or, after a kill, nothing that counts."""
        recorded = self.settings()
        if setting.hash not in recorded:
            write_json(self.settings_path, {**recorded, setting.hash: dict(setting.options)})
        text = json.dumps(row, allow_nan=False) + "\n"
        with self.path.open("a+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a kill left a line unfinished: close it off
                    text = "\n" + text
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return every recorded setting by its hash."""
        if not self.settings_path.exists():
            return {}
        recorded: dict[str, dict[str, Any]] = json.loads(self.settings_path.read_text())
        return recorded

    def rows(self, setting: Setting, variants: Mapping[str, Variant]) -> list[Row]:
        """Return the runs of a setting, in the order of the file; the first of a kind counts.

        What is left out is counted in a warning: other settings, variants that are unknown or had
        other options, lines that are not whole.
        """
        warnings: Counter[str] = Counter()
        kept: dict[tuple[str, int], Row] = {}
        fits: dict[str, str] = {}
        for row in self._lines(warnings):
            if row["setting"] not in fits:
                fits[row["setting"]] = self._difference(row["setting"], setting)
            variant = variants.get(row["variant"])
            if fits[row["setting"]]:
                warnings[f"of setting {row['setting']} ({fits[row['setting']]})"] += 1
            elif variant is None:
                warnings[f"of the unknown variant {row['variant']}"] += 1
            elif tuple(row["overrides"]) != variant.overrides:
                warnings[f"of {row['variant']} with other options than now"] += 1
            else:
                kept.setdefault((row["variant"], row["seed"]), row)
        for reason, count in warnings.items():
            print(f"{self.path.name}: ignored {count} {reason}", file=sys.stderr, flush=True)
        return list(kept.values())

    def _lines(self, warnings: Counter[str]) -> Iterator[Row]:
        if not self.path.exists():
            return
        for line in self.path.read_text().splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                warnings["unfinished lines"] += bool(line)

    def _difference(self, key: str, setting: Setting) -> str:
        """Say how a recorded setting differs from one; empty if it does not."""
        if key == setting.hash:
            return ""
        recorded = self.settings().get(key)
        if recorded is None:
            return "not recorded"
        names = changed(recorded, setting.options)
        if not names:
            return ""
        shown = ", ".join(
            f"{name} {recorded[name]!r}, now {setting.options.get(name)!r}" for name in names[:3]
        )
        return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
