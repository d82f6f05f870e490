"""The table of all methods on the scenes: what is missing, what is shown, what is run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import methods
import methods_cost
import pytest
from _methods_tables import table, table_rows

from fsr.presets import METHODS
from fsr.train import build_method, load_config


def line(name: str, seed: int, prediction: float | None, steps: int = 400) -> dict[str, Any]:
    scores = {"cam": 0.2 + seed / 10, "pseudo": 0.3, "prediction": prediction, "label_f1": 0.5}
    row = {"method": name, "seed": seed, "steps": steps, "scores": scores}
    return {**row, "step_seconds": 0.5 + seed, "memory_gib": 1.0 + seed}


def test_the_table_has_means_and_paired_gains_in_the_order_of_the_rows() -> None:
    runs = [line("ToCo", 0, 0.1), line("baseline", 0, 0.3), line("baseline", 1, 0.4)]
    assert table_rows(runs, methods.ROWS)[1:] == [
        ["baseline", "25.0 ± 7.1", "30.0 ± 0.0", "35.0 ± 7.1", "50.0 ± 0.0", "", "2"],
        ["ToCo", "20.0", "30.0", "10.0", "50.0", "", "1"],
    ]
    more = table_rows([*runs, line("ToCo", 1, 0.21)], methods.ROWS)
    # Differences -20 and -19: mean -19.5, and 12.706 times 0.5 to either side.
    assert more[2][-2:] == ["-19.5 (-25.9 to -13.1)", "2"]
    assert table_rows([line("FSR", 0, None)], methods.ROWS)[1][3] == "-"
    assert table([line("FSR", 0, 0.25)], methods.ROWS).splitlines()[1:] == [
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| FSR | 20.0 | 30.0 | 25.0 | 50.0 |  | 1 |",
    ]


def test_costs_are_ratios_within_a_round() -> None:
    runs = [
        {"method": name, "round": turn, "step_seconds": seconds, "memory_gib": 1.0 + turn}
        for name, turn, seconds in (
            ("FSR", 0, 0.2), ("ToCo", 0, 0.1), ("FSR", 1, 2.0), ("ToCo", 1, 1.2), ("AFA", 2, 1.0),
        )
    ]  # fmt: skip
    assert methods_cost.cost_rows(runs)[1:] == [
        ["FSR", "1.10", "1.00x", "2.0"],
        ["ToCo", "0.65", "0.55x", "2.0"],
    ]


def test_every_cost_is_of_a_configuration_that_the_trainer_takes() -> None:
    for configs in methods_cost.CONFIGS.values():
        build_method(load_config(*configs, overrides=[*methods.COMMON, "steps=24"]))


def test_a_finished_run_is_not_repeated_and_one_of_other_steps_is_not_it(tmp_path: Path) -> None:
    path = tmp_path / "methods.jsonl"
    runs = [line("FSR", 0, 0.3), line("ToCo", 0, 0.3, steps=8)]
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    asked = argparse.Namespace(results=path, steps=400, seeds=[0, 1], methods=["FSR", "ToCo"])
    assert list(methods.missing(asked)) == [("ToCo", 0), ("FSR", 1), ("ToCo", 1)]


@pytest.mark.parametrize("name", methods.ROWS)
def test_every_row_is_a_run_that_the_trainer_takes(name: str) -> None:
    row = methods.ROWS[name]
    options = [*methods.COMMON, "steps=400"]
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
