"""How the trainer gets its batches: workers by the machine, and the line about waiting."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, count, cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

for package in ("accelerate", "omegaconf"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr.errors import ConfigError
from fsr.train import (
    Config,
    Loading,
    _loading,
    check_same_run,
    choose_loading,
    load_config,
    micro_batches,
    read_log,
    run,
)
from fsr.train._data import cache_for_all
from fsr.train._loading import AHEAD_BYTES, batches_ahead, loading_here, processes_here
from fsr.train._waiting import Waiting, advice

ON_CPU = Loading(workers=0, cores=2, gpu=False)
ON_GPU = Loading(workers=2, cores=8, gpu=True)
TINY = [
    "steps=8",
    "data.train_size=4",
    "data.eval_size=1",
    "data.image_size=32",
    "data.batch_size=2",
    "model.backbone=vit_tiny_patch16_224",
    "model.pretrained=false",
    "model.backbone_options={patch_size: 8, embed_dim: 16, depth: 3, num_heads: 2, "
    "class_token: false, global_pool: ''}",
    "model.projection_dim=8",
    "preset.mask_block=1",
    "eval.at_start=false",
    "run.log_every=4",
    "run.tensorboard=false",
    "run.sheet_images=0",
]


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def _config(*overrides: str) -> Config:
    return load_config(overrides=overrides)


@pytest.mark.parametrize(
    ("device", "cores", "processes", "workers"),
    [
        ("cpu", 64, 1, 0),  # the network computes on all of them
        ("cuda", 6, 1, 6),
        ("cuda", 64, 1, 8),
        ("cuda", 16, 4, 4),
        ("cuda", 15, 4, 3),
        ("cuda", 2, 4, 1),
        ("mps", 10, 1, 8),
    ],
)
def test_workers_are_chosen_by_the_machine(
    device: str, cores: int, processes: int, workers: int
) -> None:
    chosen = choose_loading(None, device=device, cores=cores, processes=processes)
    assert chosen.workers == workers
    assert chosen.cores == max(1, cores // processes)
    assert chosen.gpu == (device != "cpu")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("asked", [0, 3, 20])
def test_workers_asked_for_are_kept(device: str, asked: int) -> None:
    assert choose_loading(asked, device=device, cores=2, processes=2).workers == asked


def test_the_cores_are_shared_by_the_processes_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert processes_here(16, {"LOCAL_WORLD_SIZE": "4"}) == 4
    assert processes_here(16, {}) == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(_loading, "usable_cores", lambda: 12)
    accelerator: Any = SimpleNamespace(device=torch.device("cuda", 0), num_processes=16)
    assert loading_here(_config(), accelerator) == Loading(workers=3, cores=3, gpu=True)
    assert loading_here(_config("data.workers=5"), accelerator).workers == 5


def test_usable_cores_are_those_of_the_process_or_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5, 7}, raising=False)
    assert _loading.usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert _loading.usable_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert _loading.usable_cores() == 1


def test_fewer_batches_wait_where_they_are_large() -> None:
    assert batches_ahead(0, 10**6) is None
    assert batches_ahead(8, 10**6) == 4
    assert batches_ahead(8, AHEAD_BYTES // 24) == 3
    assert batches_ahead(8, 10**9) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_from_workers_that_draw_ahead(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}

    def loader(stream: Any, **given: Any) -> Any:
        options.update(given)
        return [({"view1": torch.zeros(1), "view2": torch.ones(1)}, torch.ones(1))]

    monkeypatch.setattr(_loading, "DataLoader", loader)
    accelerator: Any = SimpleNamespace(
        device=torch.device("cpu"),
        gradient_accumulation_steps=1,
        process_index=0,
        num_processes=1,
    )
    stream: Any = None
    (batch,) = micro_batches(stream, _config(), accelerator, workers, start=0)
    assert [batch.view1.item(), batch.view2.item(), batch.labels.item()] == [0.0, 1.0, 1.0]
    assert batch.given == {}
    assert (options["num_workers"], options["prefetch_factor"]) == (workers, 4 if workers else None)
    assert options["pin_memory"] is False


@pytest.mark.parametrize("name", ["default", "voc", "coco", "folder", "folder_cpu"])
def test_no_shipped_file_carries_a_number_of_workers(name: str) -> None:
    folder = ["data.name=folder", "data.root=images", "data.labels=labels.csv"]
    assert load_config(name, overrides=folder).data.workers is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.workers=-1", r"data\.workers: expected an integer in \[0, inf\), got -1"),
        ("data.workers=2.5", r"data\.workers: Value '2\.5' of type 'float'"),
        ("data.workers=many", r"data\.workers: Value 'many' of type 'str'"),
    ],
)
def test_bad_workers_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _config(override)
    assert _config("data.workers=0").data.workers == 0


def test_a_run_goes_on_with_other_workers() -> None:
    check_same_run(_config(), asdict(_config("data.workers=4")))
    check_same_run(_config("data.workers=4"), asdict(_config()))


def _shares(waiting: Waiting, *shares: float) -> list[str | None]:
    """Return the lines of intervals of two steps of a second each, of which a share is waited."""
    lines, steps = [], count(1)
    waiting.add(next(steps), 100.0, 100.0)  # the first step, which does not count
    for share in shares:
        waiting.add(next(steps), share, 1.0)
        waiting.add(next(steps), share, 1.0)
        told, line = waiting.tell()
        assert told == pytest.approx(share)
        lines.append(line)
    return lines


def test_a_line_tells_the_share_the_steps_and_the_way_out() -> None:
    waiting = Waiting(ON_GPU)
    assert _shares(waiting, 0.34) == [
        "waited for data 34% of the time (steps 2-3): "
        "raise data.workers (now 2, cores for 8), or store smaller images"
    ]


def test_the_share_is_of_seconds_not_of_steps() -> None:
    waiting = Waiting(ON_GPU)
    for step, waited, seconds in ((1, 9.0, 9.0), (2, 1.0, 1.0), (3, 0.0, 3.0)):
        waiting.add(step, waited, seconds)
    assert waiting.tell()[0] == 0.25


def test_nothing_is_told_where_little_is_waited_or_no_step_counts() -> None:
    assert _shares(Waiting(ON_GPU), 0.0, 0.05, 0.1) == [None] * 3
    waiting = Waiting(ON_GPU)
    assert waiting.tell() == (None, None)
    waiting.add(1, 5.0, 6.0)
    assert waiting.tell() == (None, None)
    waiting.add(2, 0.0, 0.0)  # faster than the clock
    assert waiting.tell() == (None, None)


def test_a_line_comes_again_only_for_a_share_larger_by_half() -> None:
    lines = _shares(Waiting(ON_GPU), 0.2, 0.2, 0.29, 0.31, 0.2, 0.46, 0.5, 0.9, 1.0)
    assert [line is not None for line in lines] == [
        *(True, False, False, True, False, False, True, True, False),
    ]


def test_drawing_between_the_steps_of_a_cpu_is_told_later() -> None:
    lines = _shares(Waiting(ON_CPU), 0.2, 0.25, 0.26)
    assert [line is not None for line in lines] == [False, False, True]
    assert lines[-1] is not None
    assert "data.workers is 0, so batches are drawn between the steps; try" in lines[-1]
    # A worker that the network waits for leaves cores idle.
    assert _shares(Waiting(Loading(workers=1, cores=2, gpu=False)), 0.2) != [None]


@pytest.mark.parametrize(
    ("loading", "words"),
    [
        (Loading(0, 2, gpu=False), "try data.workers=1"),
        (Loading(0, 16, gpu=True), "try data.workers=8"),
        (Loading(0, 1, gpu=True), "try data.workers=1"),
        (Loading(0, 1, gpu=False), "data.workers is 0 and no core is left for more"),
        (Loading(1, 2, gpu=False), "data.workers is 1 and no core is left for more"),
        (Loading(1, 4, gpu=False), "raise data.workers (now 1, cores for 3)"),
        (Loading(4, 4, gpu=True), "data.workers is 4 and no core is left for more"),
        (Loading(8, 64, gpu=True), "raise data.workers (now 8, cores for 64)"),
    ],
)
def test_the_advice_fits_the_machine(loading: Loading, words: str) -> None:
    assert words in advice(loading)


@pytest.mark.parametrize(
    ("loading", "words"),
    [
        (Loading(2, 8, gpu=True), "raise data.workers (now 2, cores for 8), or lower data.image_"),
        (Loading(1, 2, gpu=False), "no core is left for more; a smaller data.image_size helps"),
    ],
)
def test_scenes_that_are_drawn_again_and_again_have_a_cure(loading: Loading, words: str) -> None:
    told = advice(loading, 1532)
    assert told.startswith("data.scene_cache=1532 draws every scene once; or ")
    assert words in told
    (line,) = _shares(Waiting(loading, 1532), 0.9)
    assert line is not None
    assert told in line


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ([], None),
        (["data.image_size=448"], 1532),
        (["data.scene_cache=0"], 71),
        (["data.scene_cache=71"], None),
    ],
)
def test_the_cure_is_enough(options: list[str], needed: int | None) -> None:
    assert cache_for_all(load_config(overrides=options)) == needed
    if needed is not None:
        enough = [*options, f"data.scene_cache={needed}"]
        assert cache_for_all(load_config(overrides=enough)) is None


def test_files_have_no_cache_of_scenes() -> None:
    assert cache_for_all(load_config("voc", overrides=["data.root=VOC"])) is None


class _Clock:
    """A clock that is read three times a step: when it begins, has its data and ends."""

    def __init__(self, first: float, waited: float, worked: float) -> None:
        self.now = 0.0
        self._passing = chain((0.0, first, worked), cycle((7.0, waited, worked)))

    def __call__(self) -> float:
        self.now += next(self._passing)
        return self.now


@pytest.mark.parametrize("waited", [0.0625, 1.0])
def test_a_run_logs_what_each_step_waited_and_says_so_once(
    waited: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, clock = tmp_path / "run", _Clock(first=3.0, waited=waited, worked=1.0)
    config = _config(*TINY, f"run.output={folder}", "data.workers=0")
    scores = run(config, tell=print, clock=clock)
    assert scores["student"]["images"] == 1
    steps = [r for r in read_log(folder / "log.jsonl") if r["kind"] == "train"]
    assert [r["waited"] for r in steps] == [3.0, *[waited] * 7]
    assert [r["seconds"] for r in steps] == [4.0, *[1.0 + waited] * 7]
    told = capsys.readouterr().out.splitlines()
    lines = [line for line in told if line.startswith("waited for data")]
    shown = f"  {waited / (1 + waited):.0%} waited for data  "
    assert sum(shown in line for line in told) == 2
    if waited < 0.1:
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith("waited for data 50% of the time (steps 2-4): data.workers is 0")
    assert json.loads((folder / "results.json").read_text())["workers"] == 0
