"""What the trainer tells of the teacher's targets, and when it warns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("omegaconf")

from fsr.train import load_config, run
from fsr.train._teaching import MEASURED, Teaching, summary_line, target_summary, taught


def watch(*overrides: str) -> Teaching:
    options = ["steps=200", "preset.target=centred", *overrides]
    return Teaching(load_config("default", overrides=options))


def told(watching: Teaching, nats: Any, steps: int = 200, **values: Any) -> list[tuple[int, str]]:
    weights = {"uncertain": 0.1, "confident": 0.1}
    found = []
    for step in range(1, steps + 1):
        logged = {"weights": weights, "patches_nats": nats(step), **values}
        if (text := watching.add(step, logged)) is not None:
            found.append((step, text))
    return found


def test_low_targets_are_told_once_after_the_warm_up_and_a_whole_window() -> None:
    # The temperature rises for an eighth of the run: steps 26 to 45 are the first window of 20.
    ((step, text),) = told(watch(), lambda step: 0.5)
    assert step == 45
    assert "patch targets are 0.50 nats from uniform (steps 26 to 45)" in text
    assert "preset.target=standardised makes them say more" in text


def test_targets_that_say_enough_or_did_so_only_at_first_are_told_apart() -> None:
    assert told(watch(), lambda step: 1.0) == []
    ((step, text),) = told(watch(), lambda step: 2.0 if step <= 100 else 0.0)
    # The mean of 20 falls below 1 when 11 of them are 0.
    assert (step, "0.90 nats" in text) == (111, True)


def test_where_l_u_has_no_weight_the_aggregates_targets_count() -> None:
    weights = {"uncertain": 0.0, "confident": 0.1}
    ((_, text),) = told(watch(), lambda step: 3.0, weights=weights, aggregate_nats=0.2)
    assert "the teacher's aggregated targets are 0.20 nats" in text
    assert told(watch(), lambda step: 0.0, weights=dict.fromkeys(weights, 0.0)) == []
    # L_u without prototypes measures no targets of patches.
    assert taught({"weights": {"uncertain": 0.1}, "total": 1.0}) is None


def test_a_window_holds_targets_of_one_kind() -> None:
    watching = watch()
    for step in range(1, 201):
        weights = {"uncertain": 0.1 if step > 100 else 0.0, "confident": 0.1}
        # The aggregate's say 1.1 nats, then the patches' 0.9: their own window is full at 120.
        logged = {"weights": weights, "aggregate_nats": 1.1, "patches_nats": 0.9}
        if (text := watching.add(step, logged)) is not None:
            assert "patch targets are 0.90 nats from uniform (steps 101 to 120)" in text
            return
    pytest.fail("nothing was told")


def test_another_form_is_told_of_its_temperature_and_few_prototypes_ask_for_less() -> None:
    ((_, text),) = told(watch("preset.target=standardised"), lambda step: 0.5)
    assert "a lower preset.target_temperature makes" in text
    ((_, text),) = told(watch("preset.target=sinkhorn"), lambda step: 0.5)
    assert "preset.target=standardised makes" in text
    # ln 4 = 1.39 is all that four prototypes can say.
    assert told(watch("model.projection_dim=4"), lambda step: 0.8) == []
    assert told(watch("model.projection_dim=4"), lambda step: 0.6) != []


def test_the_summary_is_of_the_last_tenth_and_of_what_was_measured() -> None:
    records = [
        {"kind": "train", "step": step, "patches_nats": float(step), "patches_used": None}
        for step in range(1, 101)
    ]
    assert target_summary([*records, {"kind": "evaluation", "step": 100}], 100) == {
        "patches_nats": 95.5
    }
    assert summary_line({}, 256) is None


TINY = (
    "steps=24",
    "data.train_size=4",
    "data.eval_size=1",
    "data.image_size=32",
    "data.batch_size=1",
    "data.workers=0",
    "model.backbone=vit_tiny_patch16_224",
    "model.pretrained=false",
    "model.backbone_options={patch_size: 16, embed_dim: 16, depth: 3, num_heads: 2}",
    "model.projection_dim=16",
    "preset.mask_block=1",
    "preset.energy_weight=0",
    "preset.refine_labels=false",
    "eval.every=24",
    "eval.at_start=false",
    "run.sheet_images=0",
    "run.log_every=24",
)


@pytest.mark.parametrize("temperature", [0.4, 50.0])
def test_a_run_logs_shows_and_keeps_what_its_targets_said(
    tmp_path: Path, temperature: float
) -> None:
    lines: list[str] = []
    chosen = [f"preset.target_temperature={temperature}", "preset.target=standardised"]
    folder = tmp_path / "run"
    options = [*TINY, *chosen, f"run.output={folder}", "run.tensorboard=true"]
    run(load_config("default", overrides=options), tell=lines.append)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "train"]
    assert all(name in record for record in steps for name in MEASURED)
    results = json.loads((folder / "results.json").read_text())
    assert results["targets"] == pytest.approx(target_summary(records, 24))
    assert any(line.startswith("targets, last tenth: patches ") for line in lines)
    warned = [line for line in lines if "there is little to learn" in line]
    assert len(warned) == (1 if temperature == 50.0 else 0)
    drawn: Any = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(folder / "tensorboard"))
    drawn.Reload()
    assert {f"targets/{name}" for name in MEASURED} <= set(drawn.Tags()["scalars"])
