"""Commands killed at random moments and started again: they end as if nothing had been.

``FSR_KILLS=500 pytest -s tests/trust/test_kills.py`` kills so often in all and prints the counts;
``FSR_SEED`` is the seed of the moments.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from fsr.cli import main
from fsr.segmenter import SingleStageSegmenter
from tests.processes import FORKED
from tests.train.test_train import TINY

KILLS = int(os.environ.get("FSR_KILLS", "8"))
SEED = int(os.environ.get("FSR_SEED", "0"))
A_ROW = 5  # kills of one run before it may end
# Of training, whose every start takes seconds, and of each of both others.
OF_TRAINING = max(1, KILLS // 10)
OF_FILES = (KILLS - OF_TRAINING + 1) // 2
# Workers outlive a killed process by seconds, and would have to be waited for.
ALONE = ("--workers", "0")
SMALL = """\
  decoder_options: {hidden_dim: 8}
  projector_options: {hidden_dim: 8, bottleneck_dim: 4}
"""
# A checkpoint at every step, so that many kills fall into the writing of one.
TRAINING = (
    TINY.replace("checkpoint_every: 5", "checkpoint_every: 1, keep_checkpoints: 2")
    .replace("batch_size: 4\n", "batch_size: 4\n  workers: 0\n", 1)
    # Small files, so that many steps and writings fall into the seconds of a run.
    .replace("  projection_dim: 8\n", f"  projection_dim: 8\n{SMALL}")
)


def _run(words: list[str], threads: int) -> None:
    torch.set_num_threads(threads)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(main(words))


def finish(words: list[str]) -> float:
    """Run a command in a process of its own to its end; return its seconds."""
    begun = time.monotonic()
    process = FORKED.Process(target=_run, args=(words, torch.get_num_threads()))
    process.start()
    process.join()
    assert process.exitcode == 0, words
    return time.monotonic() - begun


def killed(words: list[str], seconds: float) -> float | None:
    """Start a command and kill it after so many seconds; if it ends before, return its seconds."""
    begun = time.monotonic()
    process = FORKED.Process(target=_run, args=(words, torch.get_num_threads()))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), words
    return None if process.exitcode else time.monotonic() - begun


def contents(folder: Path, *left_out: str) -> dict[str, str]:
    """Return the digest of every file of a folder by its name in it."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {str(path.relative_to(folder)): path for path in files if path.name not in left_out}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


def results(folder: Path) -> dict[str, str]:
    """All files that a command of files leaves, but the record, whose lines tell of every start."""
    return contents(folder, "made_of.jsonl")


def kill_often(
    words: Callable[[Path], list[str]],
    equal: Callable[[Path], object],
    whole: Path,
    kills: int,
    folder: Path,
) -> None:
    """Kill a command again and again, let it end, and compare what it leaves with a whole run."""
    rng = random.Random(f"{SEED} {folder.name}")
    finish(words(folder / "first"))  # which loads torch for all, and takes longer
    seconds = finish(words(whole))
    done = rows = 0
    while done < kills:
        place = folder / f"run-{rows}"
        for start in range(min(A_ROW, kills - done)):
            ended = killed(words(place), rng.uniform(0.2, 1.0) * seconds)
            if ended is not None:  # there is nothing left to cut off
                # Only the first start of a row does all of the work and tells how long that takes.
                seconds = min(seconds, ended) if start == 0 else seconds
                break
            done += 1
        finish(words(place))
        assert equal(place) == equal(whole), f"row {rows}"
        rows += 1
    print(f"{done} kills in {rows} rows, none with another end")


@pytest.mark.slow
def test_training(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TRAINING)

    def words(place: Path) -> list[str]:
        return ["train", "--config", str(config), f"run.output={place}", "--resume"]

    def equal(place: Path) -> object:
        log = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
        steps = [(line["step"], line["total"]) for line in log if line["kind"] == "train"]
        assert [step for step, _ in steps] == list(range(1, 13))
        networks = [(place / f"{name}.safetensors").read_bytes() for name in ("student", "teacher")]
        table = json.loads((place / "results.json").read_text())["table"]
        # Nothing unfinished, and no checkpoint but the last two.
        hidden = [path.name for path in place.rglob(".*")]
        scores = (place / "scores.json").read_bytes()
        return steps, networks, table, scores, hidden, sorted(os.listdir(place / "checkpoints"))

    kill_often(words, equal, tmp_path / "whole", OF_TRAINING, tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network, and beside it the folder `photos` with twelve pictures."""
    torch.manual_seed(0)
    options = {
        "patch_size": 8,
        "embed_dim": 16,
        "depth": 3,
        "num_heads": 2,
        "class_token": False,
        "global_pool": "",
    }
    network = SingleStageSegmenter(
        2, "vit_tiny_patch16_224", image_size=32, aux_block=-2, backbone_options=options
    )
    path = tmp_path / "model.safetensors"
    network.save(path, class_names=("cat", "dog"))
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 40, 48, 3), dtype=np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number}.png")
    return path


@pytest.mark.slow
def test_predicting(model: Path, tmp_path: Path) -> None:
    photos = str(tmp_path / "photos")

    def words(place: Path) -> list[str]:
        return ["predict", str(model), photos, "--output", str(place), "--resume", *ALONE]

    kill_often(words, results, tmp_path / "whole", OF_FILES, tmp_path)


@pytest.mark.slow
def test_exporting(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    lines = [f"{number}.png,{'cat' if number % 2 else 'dog'}" for number in range(12)]
    table.write_text("\n".join(["image,labels", *lines]) + "\n")
    data = ["--dataset", "folder", "--root", str(tmp_path / "photos"), "--labels", str(table)]

    def words(place: Path) -> list[str]:
        return ["export", str(model), *data, "--output", str(place), *ALONE]

    kill_often(words, results, tmp_path / "whole", OF_FILES, tmp_path)
