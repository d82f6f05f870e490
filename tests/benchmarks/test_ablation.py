"""The ablation: statistics against plain loops, variants against the trainer, restarts."""

from __future__ import annotations

import importlib
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

from fsr.data import SCENE_SEEDS, Scenes
from fsr.losses import TargetInformation
from fsr.objective import TrainingObjective
from fsr.presets import LOSS_TERMS, PRESETS
from fsr.teacher import EMATeacher
from tests.processes import run_script

for package in ("accelerate", "omegaconf", "skimage", "tqdm"):
    pytest.importorskip(package)

ROOT = Path(__file__).resolve().parents[2]
TOLD = TargetInformation._fields
TINY = """
steps: 4
data:
  name: scenes
  train_split: train
  eval_split: test
  train_size: 4
  eval_size: 2
  image_size: 32
  batch_size: 2
  workers: 0
model:
  backbone: vit_tiny_patch16_224
  pretrained: false
  projection_dim: 8
  backbone_options:
    {patch_size: 8, embed_dim: 16, depth: 3, num_heads: 2, class_token: false, global_pool: ""}
preset: {base: fast, mask_block: 1}
eval: {batch_size: 2, cam_threshold: 0.2, cam_scales: [1.0], flip: false}
"""


@pytest.fixture
def load() -> Callable[[str], Any]:
    return importlib.import_module


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def _row(setting: Any, variant: Any, seed: int, **scores: float | None) -> dict[str, Any]:
    return {
        "variant": variant.name,
        "seed": seed,
        "overrides": list(variant.overrides),
        "setting": setting.hash,
        "scores": {"student": scores},
        "seconds": 36.0,
    }


def test_bootstrap_is_what_plain_loops_give(load: Callable[[str], Any]) -> None:
    gaps = [random.Random(seed).gauss(0.5, 1.0) for seed in range(8)]
    draws = np.random.default_rng(3).integers(0, 8, (500, 8)).tolist()
    means = sorted(sum(gaps[i] for i in draw) / 8 for draw in draws)

    def point(share: float) -> float:
        place = share * (len(means) - 1)
        low = int(place)
        return means[low] + (place - low) * (means[low + 1] - means[low])

    found = load("_paired").bootstrap_interval(gaps, resamples=500, seed=3)
    assert found == pytest.approx((point(0.025), point(0.975)))
    again = load("_paired").bootstrap_interval(gaps)
    assert again == load("_paired").bootstrap_interval(gaps)
    assert again[0] < statistics.fmean(gaps) < again[1]


def test_student_interval_is_the_textbook_one(load: Callable[[str], Any]) -> None:
    paired = load("_paired")
    gaps = [1.0, 2.0, 4.0, 5.0]
    half = 3.182 * math.sqrt(sum((g - 3.0) ** 2 for g in gaps) / 3) / 2
    assert paired.student_interval(gaps) == pytest.approx((3.0 - half, 3.0 + half))
    for freedom, point in ((9, 2.262), (10, 2.228), (11, 2.201), (15, 2.131), (30, 2.042)):
        assert paired.student_t(freedom) == pytest.approx(point, abs=6e-4)


def test_only_seeds_that_both_have_are_paired(load: Callable[[str], Any]) -> None:
    paired = load("_paired")
    found = paired.compare({0: 5.0, 1: 7.0, 9: 100.0}, {1: 4.0, 0: 3.0, 2: -50.0})
    assert (found.seeds, found.pairs) == (3, 2)
    assert found.difference == pytest.approx((2.0 + 3.0) / 2)
    assert found.mean == pytest.approx(112.0 / 3)
    assert paired.differences({0: 1.0}, {1: 1.0}) == []
    nothing = paired.compare({0: 1.0}, {})
    assert nothing.pairs == 0
    assert math.isnan(nothing.difference)
    assert math.isnan(nothing.spread)
    assert all(map(math.isnan, (*nothing.bootstrap, *nothing.student)))
    assert nothing.effect == ""


def test_an_effect_needs_both_intervals_on_one_side(load: Callable[[str], Any]) -> None:
    paired = load("_paired")
    base = dict.fromkeys(range(4), 0.0)
    assert paired.compare({0: 2.0, 1: 2.2, 2: 1.9, 3: 2.1}, base).effect == "+"
    assert paired.compare({0: -2.0, 1: -2.2, 2: -1.9, 3: -2.1}, base).effect == "-"
    # All four are positive, so no resample is not; t knows that four are few.
    unsure = paired.compare({0: 0.1, 1: 0.2, 2: 3.0, 3: 0.1}, base)
    assert unsure.bootstrap[0] > 0 > unsure.student[0]
    assert unsure.effect == ""


def test_two_measurements_agree_within_their_half_widths(load: Callable[[str], Any]) -> None:
    paired = load("_paired")
    one = paired.compare({0: 1.0, 1: 1.2, 2: 0.8, 3: 1.0}, dict.fromkeys(range(4), 0.0))
    assert paired.agree(one, one)
    moved = one._replace(difference=one.difference + 10.0)
    assert not paired.agree(one, moved)
    assert not paired.agree(moved, one)


def test_the_trainer_knows_every_variant_and_no_two_are_equal(load: Callable[[str], Any]) -> None:
    variants, config = load("_ablation_variants"), load("fsr.train")
    setting = load("_ablation_setting").Setting("design")
    made: dict[str, Any] = {}
    for variant in variants.VARIANTS.values():
        options = setting.config(variant)
        preset = config.build_preset(options)
        options.preset = None
        scripts = [variant.masks, variant.noisy_teacher]
        key = json.dumps([*scripts, asdict(options), asdict(preset)], sort_keys=True)
        assert key not in made, f"{variant.name} is {made.get(key)}"
        made[key] = variant.name
    tiers = {1: 5, 2: 11}
    for tier, count in tiers.items():
        assert sum(v.tier == tier for v in variants.VARIANTS.values()) == count


def test_paper_figures_of_the_rows_that_two_tables_share(load: Callable[[str], Any]) -> None:
    known = load("_ablation_variants").VARIANTS
    assert (known["baseline"].paper.pseudo, known["baseline"].paper.prediction) == ("71.1", "67.9")
    assert known["both"].paper == ("Table 4", "75.7", "73.6")
    assert known["uncertain"].paper == ("Table 4", "74.4", "72.5")
    # That row is Table 3's at ratio 0.4, so it is not run again.
    assert "uncertain-0.4" not in known


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("preset.mask_temperature=2", "preset.mask_temperature: unknown option"),
        ("preset.mask_strategy=rim", "mask_strategy"),
        ("preset.mask_block=5", "mask_block: expected a divisor"),
        ("model.aggregator=sum", "aggregator"),
    ],
)
def test_a_variant_that_the_trainer_refuses_is_named_with_the_reason(
    load: Callable[[str], Any], override: str, said: str
) -> None:
    module = load("_ablation_setting")
    variant = load("_ablation_variants").Variant("strange", 3, (override,))
    reason = module.refusal(module.Setting("design", ("model.pretrained=false",)), variant)
    assert reason.startswith("strange: ")
    assert said in reason
    assert "\n" not in reason


def test_no_variant_is_refused(load: Callable[[str], Any]) -> None:
    module, known = load("_ablation_setting"), load("_ablation_variants").VARIANTS
    setting = module.Setting("design", ("model.pretrained=false",))
    assert [said for variant in known.values() if (said := module.refusal(setting, variant))] == []


def test_the_baseline_without_a_mask_cam_is_the_one_with_it_to_the_last_bit(
    load: Callable[[str], Any], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants, config = load("_ablation_variants"), load("fsr.train")
    setting = load("_ablation_setting").Setting("design", ("steps=20",), tiny)
    ours = variants.VARIANTS["baseline"]
    plain = replace(ours, overrides=(variants.NO_UNCERTAIN, variants.NO_CONFIDENT))
    views = torch.randn(2, 2, 3, 32, 32)
    labels = torch.eye(6)[:2]
    found, masks = [], []
    for variant in (ours, plain):
        options = setting.config(variant)
        student = load("fsr.train").build_student(options, [str(c) for c in range(6)])
        teacher = EMATeacher(student, momentum=0.0)
        if variant is ours:

            def refuse(*_: Any, **__: Any) -> None:
                pytest.fail("the teacher is asked")

            monkeypatch.setattr(teacher, "forward", refuse)
        objective = TrainingObjective(student, teacher, preset=config.build_preset(options))
        student.train()
        torch.manual_seed(1)
        generator = torch.Generator().manual_seed(2)
        output = objective(views[0], views[1], labels, step=15, generator=generator)
        output.total.backward()
        masks.append(output.mask)
        found.append((output.total, [p.grad for p in student.parameters()]))
    assert not any(mask.any() for mask in masks)  # no term looks at the masked view
    torch.testing.assert_close(found[0], found[1], rtol=0.0, atol=0.0)


def test_the_noisy_teacher_has_noise_of_its_own_and_leaves_the_students_alone(
    load: Callable[[str], Any], tiny: Path
) -> None:
    setting = load("_ablation_setting").Setting("design", (), tiny)
    options = setting.config(load("_ablation_variants").VARIANTS["teacher-train-mode"])
    student = load("fsr.train").build_student(options, [str(c) for c in range(6)])
    plain = EMATeacher(student)
    noisy = load("_ablation_noisy_teacher").NoisyTeacher(student)
    images = torch.randn(32, 3, 32, 32)

    def tokens(network: Any, seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        found: torch.Tensor = network(images, outputs=("tokens",)).tokens.detach()
        return found

    torch.testing.assert_close(tokens(plain, 0), tokens(plain, 1), rtol=0.0, atol=0.0)
    first = tokens(noisy, 0)
    assert torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(0).get_state())
    assert torch.equal(first, tokens(noisy, 0))
    assert not torch.equal(first, tokens(noisy, 1))
    assert not torch.equal(first, tokens(student.train(), 0))
    assert not torch.equal(first, tokens(plain, 0))
    assert not first.requires_grad
    # What else reads the teacher finds it in eval mode.
    assert not noisy.module.training


def test_the_noisy_teachers_script_is_the_trainer_with_that_teacher(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("_ablation_noisy_teacher")
    seen: list[Any] = []

    def trainer(argv: list[str], prog: str, **extra: Any) -> int:
        seen.extend((argv, prog, extra))
        return 3

    monkeypatch.setattr(module.command, "main", trainer)
    assert module.main(["seed=1"]) == 3
    name = "_ablation_noisy_teacher.py"
    assert seen == [["seed=1"], name, {"make_teacher": module.NoisyTeacher}]


def test_the_hash_changes_with_the_setting_and_with_nothing_else(
    load: Callable[[str], Any], tiny: Path
) -> None:
    module = load("_ablation_setting")

    def hashed(*overrides: str, scenes: str = "design") -> str:
        found: str = module.Setting(scenes, overrides, tiny).hash
        return found

    base = hashed()
    same = ("seed=7", "run.output=elsewhere", "data.workers=2", "eval.every=3", "data.eval_split=x")
    for override in same:
        assert hashed(override) == base, override
    others = [
        hashed("steps=5"),
        hashed("eval.cam_threshold=0.3"),
        hashed("data.eval_size=3"),
        hashed("preset.base=reference"),
        hashed("data.image_size=64"),
        hashed(scenes="test"),
    ]
    assert len({base, *others}) == 1 + len(others)


def test_a_changed_recipe_or_drawing_is_another_setting(
    load: Callable[[str], Any], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("_ablation_setting")
    changed = load("_ablation_scores").changed
    base = module.Setting("design", (), tiny)
    with monkeypatch.context() as patch:
        patch.setitem(PRESETS, "fast", replace(PRESETS["fast"], masking="exclude"))
        moved = module.Setting("design", (), tiny)
    assert changed(base.options, moved.options) == ["preset.masking"]
    assert moved.hash != base.hash
    monkeypatch.setattr(module, "_fingerprint", lambda *_: [0.0])
    drawn = changed(base.options, module.Setting("design", (), tiny).options)
    assert drawn == ["drawn.scored", "drawn.train"]


def test_an_option_that_came_later_does_not_spoil_what_is_done(
    load: Callable[[str], Any], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = load("_ablation_variants").VARIANTS
    setting = load("_ablation_setting").Setting("design", (), tiny)
    log = load("_ablation_log").ResultLog(tmp_path, "x")
    log.append(_row(setting, known["both"], 0, cam=0.5), setting)
    object.__setattr__(setting, "options", {**setting.options, "views.sharpen": 0.0})
    assert len(log.rows(setting, known)) == 1
    object.__setattr__(setting, "options", {**setting.options, "steps": 9})
    assert log.rows(setting, known) == []
    assert "ignored 1 of setting" in (warned := capsys.readouterr().err)
    assert "steps 4, now 9" in warned


def test_rows_of_other_options_and_unfinished_lines_are_ignored_with_a_warning(
    load: Callable[[str], Any], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = load("_ablation_variants").VARIANTS
    setting = load("_ablation_setting").Setting("design", (), tiny)
    log = load("_ablation_log").ResultLog(tmp_path, "x")
    good = _row(setting, known["both"], 0, cam=0.5)
    log.append({**good, "overrides": ["preset.mask_ratio=0.5"]}, setting)
    log.append({**good, "variant": "gone"}, setting)
    with log.path.open("a") as file:
        file.write('{"variant": "both", "se')  # a kill
    log.append(good, setting)
    log.append({**good, "seconds": 99.0}, setting)
    rows = log.rows(setting, known)
    assert [row["seconds"] for row in rows] == [36.0]
    warned = capsys.readouterr().err
    for part in ("of both with other options", "of the unknown variant gone", "unfinished lines"):
        assert part in warned


def test_runs_go_seed_by_seed_and_a_restart_makes_what_is_missing(
    load: Callable[[str], Any], tiny: Path, tmp_path: Path
) -> None:
    runs, known = load("_ablation_runs"), load("_ablation_variants").VARIANTS
    setting = load("_ablation_setting").Setting("design", (), tiny)
    log = load("_ablation_log").ResultLog(tmp_path, "x")
    chosen = [known["baseline"], known["both"], known["block-1"]]
    seeds = {"baseline": (0, 1, 2), "both": (0, 1, 2), "block-1": (0, 1)}
    made: list[tuple[str, int]] = []

    def work(allowed: int) -> list[str]:
        done = {(row["variant"], row["seed"]) for row in log.rows(setting, known)}
        tasks = runs.plan(chosen, lambda variant: seeds[variant.name], done)
        left = allowed

        def may_start() -> bool:
            nonlocal left
            left -= 1
            return left >= 0

        def run(task: Any) -> dict[str, Any]:
            made.append((task.variant.name, task.seed))
            if task == runs.Task(known["both"], 1) and made.count(made[-1]) == 1:
                raise runs.RunFailed("train.py ended with -9", -9)
            return _row(setting, task.variant, task.seed, cam=0.1)

        failed: list[str] = runs.work_through(
            tasks,
            run,
            lambda row: log.append(row, setting),
            jobs=1,
            may_start=may_start,
        )
        return failed

    assert work(3) == []
    assert made == [("baseline", 0), ("both", 0), ("block-1", 0)]
    assert work(100) == ["both, seed 1: train.py ended with -9"]
    assert made[3:] == [("baseline", 1), ("both", 1), ("block-1", 1), ("baseline", 2), ("both", 2)]
    assert work(100) == []
    assert made[8:] == [("both", 1)]
    assert work(100) == []
    assert len(made) == 9
    assert len(log.path.read_text().splitlines()) == 8


def test_an_error_of_the_script_itself_ends_all_workers(load: Callable[[str], Any]) -> None:
    runs, known = load("_ablation_runs"), load("_ablation_variants").VARIANTS
    tasks = [runs.Task(known["both"], seed) for seed in range(50)]
    stopped = []

    def run(task: Any) -> dict[str, Any]:
        time.sleep(0.01)
        if task.seed == 0:
            raise KeyError("scores")
        return {}

    kept: list[Any] = []
    with pytest.raises(KeyError):
        runs.work_through(tasks, run, kept.append, jobs=2, stop=lambda: stopped.append(True))
    assert stopped
    assert len(kept) < 40


def test_children_are_stopped_and_a_failure_tells_its_last_line(
    load: Callable[[str], Any], tmp_path: Path
) -> None:
    runs, processes = load("_ablation_runs"), load("_ablation_processes")
    children = processes.Children()
    with pytest.raises(runs.RunFailed, match=r"-c ended with 1: ValueError: no") as failed:
        children.run(["-c", "raise ValueError('no')"], 1, tmp_path / "out")
    assert failed.value.status == 1
    ended: list[Exception] = []

    def sleep() -> None:
        try:
            children.run(["-c", "import time; time.sleep(60)"], 1, tmp_path / "out")
        except runs.RunFailed as error:
            ended.append(error)

    thread = Thread(target=sleep)
    thread.start()
    while not children._running:
        time.sleep(0.01)
    children.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert len(ended) == 1
    with pytest.raises(runs.RunFailed, match="stopped"):
        children.run(["-c", "pass"], 1, tmp_path / "out")


def test_tables_show_differences_beside_the_papers(load: Callable[[str], Any], tiny: Path) -> None:
    tables, known = load("_ablation_tables"), load("_ablation_variants").VARIANTS
    setting = load("_ablation_setting").Setting("design", (), tiny)
    scores = {
        "baseline": (0.30, 0.32, 0.34),
        "both": (0.33, 0.352, 0.368),
        "edge-strict": (0.30,),
        "block-1": (0.40, 0.40, 0.40),
    }
    rows = [
        _row(setting, known[name], seed, cam=score, prediction=score, trimap=None)
        for name, listed in scores.items()
        for seed, score in enumerate(listed)
    ]
    rows.append({**_row(setting, known["uncertain"], 0), "scores": None, "failure": "step 3: NaN"})
    chosen = [*(known[name] for name in scores), known["uncertain"], known["full-masks"]]
    table = tables.score_table(rows, chosen, "student", "cam")
    by_name = {line[0]: dict(zip(table[0], line, strict=True)) for line in table[1:]}
    assert list(by_name) == list(scores)
    assert by_name["baseline"]["mean"] == "32.0"
    assert by_name["baseline"]["sd"] == "2.0"
    assert by_name["baseline"]["difference"] == ""
    both = by_name["both"]
    assert (both["pairs"], both["difference"], both["effect"]) == ("3", "+3.0", "+")
    assert (both["paper"], both["paper's difference"]) == ("75.7 (Table 4)", "+4.6")
    assert by_name["edge-strict"]["paper"] == "not legible (Table 3)"
    assert by_name["edge-strict"]["95% t"] == ""
    assert by_name["block-1"]["paper"] == ""
    prediction = tables.score_table(rows, chosen, "student", "prediction", against="both")
    assert prediction[1][-2:] == ["67.9 (Table 4)", "-5.7"]
    shown = tables.all_tables(rows, chosen, render=tables.markdown)
    assert shown.count("### student") == 2
    assert "- uncertain, seed 0: step 3: NaN" in shown
    assert tables.markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert tables.plain([["a", "b"], ["long", "2"]]) == "a     b\nlong  2"


def test_the_state_lists_missing_seeds_and_core_hours(load: Callable[[str], Any]) -> None:
    tables, runs = load("_ablation_tables"), load("_ablation_runs")
    known = load("_ablation_variants").VARIANTS
    chosen = [known["baseline"], known["both"]]
    missing = [runs.Task(known["baseline"], 1), runs.Task(known["both"], 0)]
    assert math.isnan(tables.hours_left(missing, []))
    assert tables.hours_left([], []) == 0
    rows = [{"variant": "baseline", "seconds": 1800.0, "machine": {"threads": 2}}]
    assert tables.hours_left(missing, rows) == pytest.approx(2.0)
    table = tables.state_table(chosen, lambda _: (0, 1), rows, missing)
    assert [line[2:5] for line in table[1:]] == [["1/2", "1", "1.0"], ["1/2", "0", "1.0"]]
    assert tables.spelled_hours(missing, []) == "?"


def test_agreement_compares_the_main_scores_of_two_sets_of_runs(
    load: Callable[[str], Any], tiny: Path
) -> None:
    tables, known = load("_ablation_tables"), load("_ablation_variants").VARIANTS
    setting = load("_ablation_setting").Setting("design", (), tiny)

    def rows(seeds: range, gain: float) -> list[dict[str, Any]]:
        noise = {seed: 0.001 * (seed % 3) for seed in seeds}
        return [
            _row(setting, known[name], seed, cam=0.3 + more, prediction=0.3 + 2 * more)
            for seed in seeds
            for name, more in (("baseline", 0.0), ("both", gain + noise[seed]))
        ]

    chosen = [known["baseline"], known["both"]]
    table = tables.agreement_table(rows(range(8), 0.02), rows(range(8, 12), 0.02), chosen)
    assert [line[6] for line in table[1:]] == ["yes", "yes"]
    table = tables.agreement_table(rows(range(8), 0.02), rows(range(8, 12), 0.05), chosen)
    assert [line[6] for line in table[1:]] == ["NO", "NO"]
    # (8 * 2 + 4 * 5) / 12 = 3.0 and 0.1 of noise; twice that in prediction.
    assert [line[7] for line in table[1:]] == ["+3.1", "+6.2"]
    _, _, *both = tables.agreement_table(rows(range(4), 0.02), rows(range(4), 0.05), chosen)[1]
    assert both[-2:] == ["", ""]  # a seed that both have has no one score


def test_the_command_line_keeps_to_the_protocol(
    load: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    module = load("_ablation_options")
    known = load("_ablation_variants").VARIANTS
    assert module.seeds_of(["0-3", "8"]) == [0, 1, 2, 3, 8]
    parsed = module.parse_arguments([])
    assert (parsed.name, parsed.scenes) == ("design", "design")
    assert module.seeds(parsed, known["both"]) == list(range(100, 108))
    parsed = module.parse_arguments(["--scenes", "test", "--tier", "2"])
    assert parsed.name == "final"
    assert module.seeds(parsed, known["block-1"]) == [0, 1, 2, 3]
    assert {variant.tier for variant in parsed.chosen} == {2}
    parsed = module.parse_arguments(["--confirm"])
    assert (parsed.name, parsed.scenes) == ("confirmation", "test")
    assert list(module.seeds(parsed, known["both"])) == [8, 9, 10, 11]
    assert {v.tier for v in module.parse_arguments(["--table"]).chosen} == {1, 2, 3, 4, 5, 6}
    parsed = module.parse_arguments(["--extra", "strong", "preset.uncertain_weight=1"])
    assert parsed.chosen[-1].overrides == ("preset.uncertain_weight=1",)
    for wrong, said in (
        (["--seeds", "5"], "designing takes seeds from 100 on"),
        (["--scenes", "test", "--seeds", "100"], "got 100"),
        (["--scenes", "test", "--set", "steps=5"], "--set"),
        (["--scenes", "test", "--extra", "x", "steps=5"], "--extra"),
        (["--seeds", "a-b"], "expected numbers or ranges"),
        (["--variants", "bth"], "no variant 'bth'"),
    ):
        with pytest.raises(SystemExit) as ended:
            module.parse_arguments(wrong)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


def test_a_refused_variant_ends_with_one_line_and_status_2(
    load: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = ["--extra", "odd", "preset.mask_shape=disc", "--variants", "odd"]
    setting = ["--results", str(tmp_path), "--set", "model.pretrained=false"]
    status = load("ablation").main([*extra, *setting])
    assert status == 2
    assert "refused: odd: preset.mask_shape: unknown option" in capsys.readouterr().err
    assert load("ablation").main(["--results", str(tmp_path), "--list", "--set", "step=5"]) == 2
    assert "step: unknown option (did you mean 'steps'?)" in capsys.readouterr().err


def test_scored_scenes_start_behind_those_that_were_scored_before(
    load: Callable[[str], Any], tiny: Path
) -> None:
    config = load("fsr.train").load_config(tiny)
    scenes = load("_ablation_worker").scored_scenes(config, "test")
    assert len(scenes) == 2
    whole = Scenes(202, seed=SCENE_SEEDS.test, image_size=32)
    assert scenes[0].name == whole[200].name
    assert torch.equal(scenes[1].target, whole[201].target)
    with pytest.raises(IndexError):
        scenes[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["both", "full-masks", "teacher-train-mode"])
def test_one_run_from_end_to_end(
    load: Callable[[str], Any], tiny: Path, tmp_path: Path, name: str
) -> None:
    processes, runs = load("_ablation_processes"), load("_ablation_runs")
    setting = load("_ablation_setting").Setting("design", (), tiny)
    variant = load("_ablation_variants").VARIANTS[name]
    keep = tmp_path / "networks"
    scripts: list[str] = []

    class Recorded(processes.Children):  # type: ignore[name-defined,misc]
        def run(self, command: list[str], threads: int, output: Path) -> None:
            scripts.append(Path(command[0]).name)
            if name == "full-masks":  # with a process of its own; the rest are spared the imports
                super().run(command, threads, output)
                return
            environment = {"OMP_NUM_THREADS": str(threads)}
            done = run_script(Path(command[0]), *command[1:], environment=environment)
            assert done.returncode == 0, done.stderr

    row = processes.make_run(runs.Task(variant, 100), setting, Recorded(), 1, keep)
    trainers = {"both": ["train.py"], "teacher-train-mode": ["_ablation_noisy_teacher.py"]}
    assert scripts == [*trainers.get(name, []), "_ablation_worker.py"]
    kept = {path.stem for path in processes.kept_networks(keep, name, 100).iterdir()}
    assert kept == {*row["scores"], "setting"}
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert (row["variant"], row["seed"], row["setting"]) == (name, 100, setting.hash)
    assert row["machine"]["threads"] == 1
    if name == "full-masks":
        assert set(row["scores"]) == {"student"}
        assert set(row["scores"]["student"]) == {"prediction", "trimap"}
        return
    assert set(row["scores"]) == {"student", "teacher"}
    for found in row["scores"].values():
        assert set(found) == {*load("_ablation_scores").SCORES, "cam_sweep"}
        assert found["cam_sweep"]["0.2"] == found["cam"]
        assert 0 <= found["prediction"] <= 1
    assert set(row["curve"]) == {"1", "2", "3", "4"}
    assert {len(part) for part in row["losses"].values()} == {4}
    told = {f"{rows}_{what}" for rows in ("patches", "aggregate") for what in TOLD}
    assert row["losses"].keys() == {*LOSS_TERMS, "masked", *told}
    assert row["steps"] == 4
    assert sys.version.split()[0] == row["machine"]["python"]
