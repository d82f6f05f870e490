"""The table of all methods on the scenes: what is missing, what is shown, what is run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import methods
import pytest

from fsr.presets import METHODS
from fsr.train import build_method, load_config


def line(name: str, seed: int, prediction: float | None, steps: int = 600) -> str:
    scores = {"cam": 0.2 + seed / 10, "threshold": 0.3, "prediction": prediction, "label_f1": 0.5}
    row = {"method": name, "seed": seed, "steps": steps, "scores": scores}
    return json.dumps({**row, "step_seconds": 0.5 + seed, "memory_gib": 1.0 + seed}) + "\n"


def test_the_table_has_means_over_seeds_in_the_order_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "methods.jsonl"
    path.write_text(line("ToCo", 0, 0.1) + line("baseline", 0, 0.3) + line("baseline", 1, 0.4))
    assert methods.table(path).splitlines()[2:] == [
        "| baseline | 2 | 25.0 ± 7.1 | 35.0 ± 7.1 | 50.0 ± 0.0 | 1.00 | 2.0 |",
        "| ToCo | 1 | 20.0 | 10.0 | 50.0 | 0.50 | 1.0 |",
    ]
    path.write_text(line("FSR", 0, None))
    assert methods.table(path).splitlines()[2:] == ["| FSR | 1 | 20.0 | - | 50.0 | 0.50 | 1.0 |"]


def test_a_finished_run_is_not_repeated_and_one_of_other_steps_is_not_it(tmp_path: Path) -> None:
    path = tmp_path / "methods.jsonl"
    path.write_text(line("FSR", 0, 0.3) + line("ToCo", 0, 0.3, steps=8))
    asked = argparse.Namespace(results=path, steps=600, seeds=[0, 1], methods=["FSR", "ToCo"])
    assert list(methods.missing(asked)) == [("ToCo", 0), ("FSR", 1), ("ToCo", 1)]


@pytest.mark.parametrize("name", methods.ROWS)
def test_every_row_is_a_run_that_the_trainer_takes(name: str) -> None:
    row = methods.ROWS[name]
    options = [*methods.COMMON, "steps=600"]
    first = build_method(load_config(row.config, overrides=[*options, *row.options]))
    assert (row.second is None) == (first.stages == 1 or first.name == "vit_pcm")
    if row.second is not None:
        pseudo = ["data.pseudo=labels"]
        second = build_method(load_config("default", row.second, overrides=[*options, *pseudo]))
        assert second.views == "labelled"
    if row.start is not None:
        load_config(row.config, overrides=[*options, *row.start])


def test_no_method_is_left_out() -> None:
    taken = {build_method(load_config(row.config)).name for row in methods.ROWS.values()}
    taken |= {row.second for row in methods.ROWS.values() if row.second is not None}
    assert taken >= METHODS.keys() - {"paper", "reference"}
