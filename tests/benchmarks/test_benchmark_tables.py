"""The tables of the documentation's page on benchmarks, from the results that are committed."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    return importlib.import_module("benchmark_rows")


def test_every_table_of_the_page_exists_and_is_whole(rows: Any) -> None:
    pages = (path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
    named = [name for page in pages for name in re.findall(r"\{benchmark-table\} (\w+)", page)]
    assert set(named) == set(rows.TABLES)
    for name in named:
        heading, *body = rows.TABLES[name]()
        assert body
        assert all(len(row) == len(heading) for row in body)
        assert all(isinstance(cell, str) for row in body for cell in row)


def test_targets_carry_the_measured_figures(rows: Any) -> None:
    step = json.loads((rows.RESULTS / "step.json").read_text())["variants"]
    _, *body = rows.targets()
    shown = {row[0]: row[2] for row in body}
    expected = step["fast, fp32"]["times_faster_than_released"]
    assert shown["`fast`, float32, a step"] == f"{expected:.1f}x"
    assert len(shown) == len(body) >= 12
    for _, target, measured, _, script in body:
        assert re.search(r"\d", target)
        assert re.fullmatch(r"[\d.]+(x|%)", measured)
        assert (ROOT / "benchmarks" / script).is_file()


def test_results_were_not_measured_in_the_quick_mode(rows: Any) -> None:
    for path in rows.RESULTS.glob("*.json"):
        assert not json.loads(path.read_text()).get("quick"), path.name
