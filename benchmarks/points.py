"""What points and boxes beside image-level labels gain on the built-in scenes.

    python benchmarks/points.py            # 6 runs, 7 minutes on one core

The code that trains is that of the page docs/tutorials/points.md, word for word: this script runs
its blocks and calls ``train``. Kinds are paired by seed: initial weights, order and crops are the
same. Nothing was tuned; the thresholds of pseudo labels are those of the default run. Scores are of
test scenes, of predictions at one scale.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from pathlib import Path
from typing import Any

import torch
from _machine import machine, write_json

from fsr.data import SCENE_SEEDS, Scenes
from fsr.inference import evaluate

PAGE = Path(__file__).parents[1] / "docs" / "tutorials" / "points.md"
RESULTS = Path(__file__).parent / "results" / "points.json"
KINDS = ("labels", "points", "boxes")
SIZE = (150, 2, 200, 40)  # steps, seeds, scenes to train on, scenes to score on


def code_of_page() -> dict[str, Any]:
    """Run the blocks of the page up to the one that defines ``train``; return what they define."""
    names: dict[str, Any] = {"__name__": "points"}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S):
        with contextlib.redirect_stdout(io.StringIO()):  # what the page shows
            exec(compile(block, PAGE.name, "exec"), names)
        if "train" in names:
            return names
    raise ValueError(f"{PAGE}: expected a block that defines train")


def score(kind: str, seed: int, steps: int, training: int, test: int) -> float:
    """Train a kind with a seed; return the mIoU of its predictions in per cent."""
    scenes = Scenes(training, seed=SCENE_SEEDS.train, image_size=96)
    tests = Scenes(test, seed=SCENE_SEEDS.test, image_size=96)
    model, _ = code_of_page()["train"](kind, steps, seed, scenes)
    result = evaluate(model, tests, scales=(1.0,), cam_scales=(1.0,), flip=False, batch_size=10)
    return round(100 * result.prediction_miou, 2)


def table(scores: dict[str, dict[int, float]]) -> dict[str, dict[str, Any]]:
    """Return the mean of each kind, and its difference to labels alone seed by seed, in points."""
    return {
        kind: {
            "mean": round(sum(found.values()) / len(found), 1),
            "gains": [round(found[seed] - scores["labels"][seed], 1) for seed in found],
        }
        for kind, found in scores.items()
    }


def main() -> None:
    """Measure, and write the file that the page's table is held against."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything once, in seconds")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    steps, seeds, training, test = (2, 1, 8, 2) if options.quick else SIZE
    scores: dict[str, dict[int, float]] = {kind: {} for kind in KINDS}
    for seed in range(seeds):
        for kind in KINDS:
            scores[kind][seed] = score(kind, seed, steps, training, test)
            print(f"seed {seed} {kind}: {scores[kind][seed]:.1f}", flush=True)
    found = {"steps": steps, "seeds": seeds, "training": training, "test": test, "scores": scores}
    found |= {"table": table(scores), "machine": machine(torch.device("cpu"))}
    write_json(options.output, found)


if __name__ == "__main__":
    main()
