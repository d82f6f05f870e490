"""The tables of the documentation's page on evidence, from lines that the ablation wrote."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    return importlib.import_module("ablation_rows")


def _line(tables: Any, name: str, seed: int, cam: float, **changed: Any) -> dict[str, Any]:
    scores = {"student": {"cam": cam, "prediction": cam / 2}}
    line = {"variant": name, "seed": seed, "setting": "now", "scores": scores, "step_seconds": 0.5}
    line["revision"] = "first"
    return {**line, "overrides": list(tables.VARIANTS[name].overrides), **changed}


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def written(tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    final = [
        _line(tables, "both", 0, 0.1, setting="earlier"),
        _line(tables, "baseline", 0, 0.40),
        _line(tables, "both", 0, 0.9, overrides=["seed=5"]),
        _line(tables, "both", 0, 0.42),
        _line(tables, "both", 0, 0.99),
        _line(tables, "baseline", 1, 0.50),
        _line(tables, "both", 1, 0.53),
    ]
    final[1]["setting"] = "before an option was added"
    _write(tmp_path / "final.jsonl", final)
    settings = {
        "earlier": {"steps": 400},
        "before an option was added": {"steps": 600},
        "now": {"steps": 600, "preset.new": True},
    }
    for name in ("final", "confirmation"):
        (tmp_path / f"{name}.settings.json").write_text(json.dumps(settings))
    _write(
        tmp_path / "confirmation.jsonl",
        [
            _line(tables, n, s, c)
            for s in (8, 9)
            for n, c in (("baseline", 0.4), ("both", 0.41 + s / 1e3))
        ],
    )
    return tables


def test_a_run_counts_once_and_those_of_other_options_do_not(written: Any) -> None:
    kept = {(run["variant"], run["seed"]): run for run in written.runs("final")}
    assert len(kept) == 4
    assert kept["both", 0]["scores"]["student"]["cam"] == 0.42


def test_differences_are_paired_and_in_per_cent(written: Any) -> None:
    heading, baseline, both = written.scores("1", "student", "cam")
    assert dict(zip(heading, baseline, strict=True))["mean ± sd"] == "45.0 ± 7.1"
    cells = dict(zip(heading, both, strict=True))
    assert (cells["variant"], cells["mean ± sd"], cells["seeds"]) == ("`both`", "47.5 ± 7.8", "2")
    assert cells["difference"] == "+2.5"
    assert cells["paper"] == "75.7"


def test_empty_columns_and_pairs_that_are_the_seeds_are_left_out(written: Any) -> None:
    narrow = ["variant", "seeds", "mean ± sd", "difference", "95% bootstrap", "95% t"]
    heading, *_ = written.scores("1", "student", "cam")
    assert heading == [*narrow, "paper", "paper's difference"]
    one_more = [_line(written, "both", seed, 0.5) for seed in (0, 1, 2)]
    two = [_line(written, "baseline", seed, 0.5) for seed in (0, 1)]
    _write(written.RESULTS / "final.jsonl", [*one_more, *two])
    heading, _, both = written.scores("1", "student", "cam")
    cells = dict(zip(heading, both, strict=True))
    assert (cells["seeds"], cells["pairs"]) == ("3", "2")


def test_what_differences_are_taken_to_has_the_seeds_of_the_others(written: Any) -> None:
    with (written.RESULTS / "final.jsonl").open("a") as file:
        file.write(json.dumps(_line(written, "otsu", 1, 0.50)) + "\n")
    heading, both, otsu = written.scores("otsu", "student", "cam", "both")
    assert heading[:4] == ["variant", "seeds", "mean ± sd", "difference"]
    assert both[:4] == ["`both`", "1", "53.0", ""]
    assert otsu[:4] == ["`otsu`", "1", "50.0", "-3.0"]


def test_the_confirmation_stands_beside_the_first_runs(written: Any) -> None:
    heading, *body = written.agreement("1")
    assert [row[:3] for row in body] == [
        ["CAM", "`both`", "+2.5"],
        ["prediction", "`both`", "+1.2"],
    ]
    assert all(len(row) == len(heading) for row in body)


def test_differences_stand_beside_every_threshold(written: Any) -> None:
    assert written.thresholds("1") == [["threshold", "`baseline`"]]
    path = written.RESULTS / "final.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        cam = line["scores"]["student"]["cam"]
        line["scores"]["student"]["cam_sweep"] = {"0.5": cam / 2, "0.05": cam}
    _write(path, lines)
    assert written.thresholds("1") == [
        ["threshold", "`baseline`", "`both`"],
        ["0.05", "45.0", "+2.5 (-3.9 to +8.9)"],  # 2.5 +- 12.706 * sd 0.707 / sqrt(2)
        ["0.5", "22.5", "+1.2 (-1.9 to +4.4)"],
    ]


def test_each_variant_is_compared_at_its_own_best_threshold(written: Any) -> None:
    assert len(written.best_thresholds("1")) == 1
    gains = {"baseline": {"0.1": 0.0, "0.2": 0.01}, "both": {"0.1": 0.03, "0.2": 0.0}}
    for name in ("final", "confirmation"):
        path = written.RESULTS / f"{name}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            cam = line["scores"]["student"]["cam"]
            sweep = {t: cam + more for t, more in gains[line["variant"]].items()}
            line["scores"]["student"]["cam_sweep"] = sweep
        _write(path, lines)
    heading, row = written.best_thresholds("1")
    assert len(heading) == len(row)
    assert row[:5] == ["`both`", "0.1", "50.5", "0.2", "46.0"]
    assert (row[5], row[7]) == ("+4.5", "+3.8")  # 50.5 - 46.0; 40 + 1.85 + 3 less 40 + 1


def test_costs_and_variants_count_what_was_run(written: Any) -> None:
    assert ["`both`", "0.50"] in written.costs("1")
    assert ["`both`", "0.50"] not in written.costs("2")
    slow = _line(written, "both", 2, 0.5, step_seconds=0.9, revision="abc")
    with (written.RESULTS / "final.jsonl").open("a") as file:
        file.write(json.dumps(slow) + "\n")
    assert written.costs("1", "abc")[1:] == [["`both`", "0.90"]]
    assert ["`both`", "0.50"] in written.costs("1")
    both = next(row for row in written.variants("1") if row[0] == "`both`")
    assert both[2:] == ["none", "3"]
    bound = next(row for row in written.variants("1") if row[0] == "`full-masks`")
    assert bound[2:] == ["`optim.lr=1e-3`", "0"]
    again = written.variants("1", "confirmation")
    assert next(row for row in again if row[0] == "`both`")[3] == "2"


def test_nothing_measured_is_an_empty_table(
    tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert len(tables.scores("1", "student", "cam")) == 1
    assert len(tables.targets()) == 1


def test_an_unknown_score_is_refused(tables: Any) -> None:
    for arguments in (("miou", "cam"), ("student", "miou"), ("student", "cam", "miou")):
        with pytest.raises(ValueError, match=r"expected one of .*, got miou"):
            tables.scores("1", *arguments)
    for name in ("agreement", "thresholds", "best_thresholds"):
        with pytest.raises(ValueError, match=r"expected one of .*, got miou"):
            tables.TABLES[name]("1", "miou")


def test_what_differences_are_taken_to_is_no_table_alone(written: Any) -> None:
    assert written.scores("5", "student", "cam")[1:] == []
    assert written.scores("3", "student", "cam", "both")[1:] == []


def test_runs_of_several_files_are_taken_together(written: Any) -> None:
    assert len(written.runs("final+confirmation")) == 8
    assert [run["seed"] for run in written.runs("confirmation")] == [8, 8, 9, 9]
    assert written.runs("none") == []
    with (written.RESULTS / "final.jsonl").open("a") as file:
        file.write('{"variant": "both", "se')  # a kill left it
    assert len(written.runs("final")) == 4


def test_differences_can_be_taken_to_another_variant(written: Any) -> None:
    assert [row[1:3] for row in written.agreement("1", "both")] == [
        ["variant", "difference"],
        ["`baseline`", "-2.5"],
        ["`baseline`", "-1.2"],
    ]
    heading, baseline, _ = written.scores("1", "student", "cam", "both")
    assert dict(zip(heading, baseline, strict=True))["difference"] == "-2.5"


def test_variants_are_chosen_by_tier_and_by_name(tables: Any) -> None:
    def names(*arguments: str) -> list[str]:
        return [variant.name for variant in tables.chosen(*arguments)]

    tier_1 = [variant.name for variant in tables.VARIANTS.values() if variant.tier == 1]
    assert names("1") == tier_1
    assert names("confident-gap,1", "both") == [*tier_1, "confident-gap"]
    assert names("otsu,random-0.2", "uncertain") == ["uncertain", "random-0.2", "otsu"]
    for wrong in ("9", "ots", ""):
        with pytest.raises(ValueError, match=rf"expected one of .*'1'.*'otsu'.*, got {wrong}$"):
            tables.chosen(wrong)


def test_what_targets_said_is_the_mean_over_seeds_of_two_tenths(tables: Any, written: Any) -> None:
    told = [
        {"patches_nats": [0.0, nats, 9.0, 3.0], "patches_information": [0.0, 1.0, 0.0, 2.0]}
        for nats in (1.0, 2.0)
    ]
    lines = [
        _line(tables, "both-std", seed, 0.4, losses={**losses, "patches_used": [0, 0.25, 0, 0.5]})
        for seed, losses in enumerate(told)
    ]
    _write(tables.RESULTS / "targets.jsonl", lines)
    (tables.RESULTS / "targets.settings.json").write_text(json.dumps({"now": {"steps": 600}}))
    heading, row = written.information("both-std")
    assert row == ["`both-std`", "patches", "1.50", "3.00", "1.00", "2.00", "25%", "50%"]
    assert len(heading) == len(row)


def test_the_leaderboard_sorts_by_prediction_and_leaves_out_what_has_few_pairs(
    tables: Any, written: Any
) -> None:
    gains = {"otsu": 0.02, "entropy": 0.04}
    lines = [_line(tables, "baseline", seed, 0.4) for seed in range(4)]
    lines += [
        _line(tables, name, seed, 0.4 + gain) for name, gain in gains.items() for seed in range(4)
    ]
    lines += [_line(tables, "both", seed, 0.9) for seed in range(3)]
    for line in lines:
        cam = line["scores"]["student"]["cam"]
        line["scores"]["student"]["cam_sweep"] = {"0.1": cam, "0.3": cam / 2}
    _write(tables.RESULTS / "final.jsonl", lines)
    (tables.RESULTS / "confirmation.jsonl").unlink()
    _, *rows = written.leaderboard()
    assert [row[0] for row in rows] == ["`entropy`", "`otsu`"]
    assert rows[0][2:] == ["4", "+2.0 (+2.0 to +2.0)", "+4.0 (+4.0 to +4.0)"]


def test_the_leaderboard_takes_first_runs_and_confirmation_together(written: Any) -> None:
    lines = [json.loads(line) for line in (written.RESULTS / "final.jsonl").open()]
    more = [_line(written, name, seed, 0.4) for name in ("baseline", "both") for seed in (2, 3)]
    _write(written.RESULTS / "final.jsonl", [*lines, *more])
    (row,) = written.leaderboard()[1:]
    assert (row[0], row[2], row[-1]) == ("`both`", "6", "")  # no sweep, so no best threshold


def test_what_was_repeated_is_the_same_to_the_last_digit(tables: Any) -> None:
    first = {(run["variant"], run["seed"]): run for run in tables.runs("final")}
    repeated = tables.runs("repeated")
    assert {run["variant"] for run in repeated} == {"baseline", "uncertain", "both"}
    for run in repeated:
        other = first[run["variant"], run["seed"]]
        assert run["revision"] != other["revision"]
        assert (run["scores"], run["losses"]) == (other["scores"], other["losses"])


def test_every_table_of_the_page_can_be_made(tables: Any) -> None:
    text = (ROOT / "docs" / "evidence_tables.md").read_text()
    named = [line.split() for line in re.findall(r"\{ablation-table\} (.+)", text)]
    assert named
    assert {name for name, *_ in named} <= set(tables.TABLES)
    for name, *arguments in named:
        heading, *body = tables.TABLES[name](*arguments)
        assert all(len(row) == len(heading) for row in body)
        assert all(isinstance(cell, str) for row in body for cell in row)


def test_robustness_shows_both_sides_of_each_condition(
    tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    names = ("baseline-noise-0.2", "both-std-noise-0.2", "both-std-images-100")
    lines = [
        _line(tables, name, seed, 0.4 + 0.02 * place + 0.01 * seed)
        for place, name in enumerate(names)
        for seed in (0, 1)
    ]
    _write(tmp_path / "robustness.jsonl", lines)
    (tmp_path / "robustness.settings.json").write_text(json.dumps({"now": {"steps": 2}}))
    _, *body = tables.robustness("cam")
    # A condition with one side, or none, is no row.
    assert body == [["`data.label_noise=0.2`", "40.5", "42.5", "+2.0", "2"]]
    assert tables.VARIANTS[names[1]].overrides == (
        "preset.target=standardised",
        "data.label_noise=0.2",
    )
    with pytest.raises(ValueError, match="expected one of"):
        tables.robustness("nothing")
