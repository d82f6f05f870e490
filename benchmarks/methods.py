"""All methods on the built-in scenes: one encoder, one data pipeline, one budget of steps.

    python benchmarks/methods.py --seeds 0-3            # runs what is missing
    python benchmarks/methods.py --table

A method in one stage trains for all steps. One in two trains its maps for half of them and a
segmenter on the exported labels for the other half, and so do URN and BECO on the labels of plain
classification. A finished run is a line of `results/methods.jsonl` and is not repeated.

Exit status: 0 done or time is up, 1 a run failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _ablation_options import seeds_of
from _machine import machine
from _methods_tables import BASELINE, finished, table

from fsr.data import SCENE_SEEDS, Scenes
from fsr.inference import PseudoLabelOptions, evaluate
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter

RESULTS = Path(__file__).resolve().parent / "results" / "methods.jsonl"
THRESHOLDS = [0.05 * k for k in range(1, 15)]
COMMON = (
    "eval.at_start=false",
    "eval.every=1000000",
    "data.eval_size=2",
    "run.tensorboard=false",
    "run.sheet_images=0",
    "run.upper_bound=null",
)
# The labels that a second stage learns from: maps up to the first are background.
LOW, HIGH = 0.15, 0.35
BORDERS = ("--low", LOW, "--high", HIGH)
PLAIN = "preset.reactivation_weight=0"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        config: the shipped options of its first or only stage.
        options: further options of that.
        second: shipped options of a second stage on its labels, None for a method of one.
        start: options of a training that it starts from, which takes half of its steps.
    """

    config: str
    options: tuple[str, ...] = ()
    second: str | None = None
    start: tuple[str, ...] | None = None


ROWS = {
    BASELINE: Row("default", ("preset.uncertain_weight=0", "preset.confident_weight=0")),
    "FSR": Row("default"),
    "FSR, standardised targets": Row("default", ("preset.target=standardised",)),
    "ToCo": Row("toco"),
    "AFA": Row("afa"),
    "1Stage": Row("one_stage"),
    "RRM": Row("rrm"),
    "ViT-PCM": Row("vit_pcm"),
    "classification, segmentation": Row("recam", (PLAIN,), "segmentation"),
    "ReCAM, segmentation": Row("recam", (), "segmentation", (PLAIN,)),
    "SEAM, segmentation": Row("seam", (), "segmentation"),
    "MCTformer+, segmentation": Row("mctformer", (), "segmentation"),
    "classification, URN": Row("recam", (PLAIN,), "urn"),
    "classification, BECO": Row("recam", (PLAIN,), "beco"),
}


def fsr(*words: object) -> None:
    """Run a command of the package in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "fsr", *map(str, words)], capture_output=True)
    if done.returncode:
        raise RuntimeError(f"fsr {' '.join(map(str, words))}\n{done.stderr.decode()[-2000:]}")


def train(folder: Path, steps: int, seed: int, configs: list[str], options: tuple[str, ...]) -> Any:
    """Train, and return the seconds of its median step and its memory in GiB."""
    named = [word for name in configs for word in ("--config", name)]
    own = (*COMMON, *options, f"steps={steps}", f"seed={seed}", f"run.output={folder}")
    fsr("train", *named, *own)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    each = statistics.median(line["seconds"] for line in lines if line["kind"] == "train")
    return each, json.loads((folder / "results.json").read_text())["peak_memory_gib"]


def run(row: Row, seed: int, steps: int, size: int, scenes: int) -> dict[str, Any]:
    """Train a row of the table on so many scenes and score it on others."""
    drawn = f"data.train_size={scenes}"
    with tempfile.TemporaryDirectory(prefix="methods-") as scratch:
        first, second, labels = (Path(scratch) / name for name in ("first", "second", "labels"))
        own, options = steps if row.second is None else steps // 2, (*row.options, drawn)
        if row.start is not None:
            own //= 2
            train(Path(scratch) / "start", own, seed, [row.config], (*row.start, drawn))
            options = (*options, f"model.start={Path(scratch) / 'start' / 'student.safetensors'}")
        seconds, memory = train(first, own, seed, [row.config], options)
        found = scores(first / "student.safetensors", size)
        if row.second is not None:
            made = (
                "--dataset",
                "scenes",
                "--split",
                "train",
                "--scenes",
                scenes,
                "--images",
                "none",
            )
            source = ("--source", "cam", *BORDERS, "--output", labels)
            fsr("export", first / "student.safetensors", *made, *source)
            pseudo = (f"data.pseudo={labels}", drawn)
            train(second, steps - steps // 2, seed, ["default", row.second], pseudo)
            found["prediction"] = scores(second / "student.safetensors", size)["prediction"]
        return {"scores": found, "step_seconds": seconds, "memory_gib": memory}


def scores(path: Path, size: int) -> dict[str, float | None]:
    """Return the scores of a network on test scenes; None where it has none."""
    scenes = Scenes(size, seed=SCENE_SEEDS.test, image_size=96, masks=True)
    result = evaluate(
        SingleStageSegmenter.load(path),
        scenes,
        cam_threshold=THRESHOLDS,
        cam_scales=(1.0,),
        scales=(1.0,),
        pseudo=PseudoLabelOptions(PAR(), LOW, HIGH),
        batch_size=16,
    )
    best = max(result.cam_sweep, key=lambda threshold: result.cam_sweep[threshold][0])
    found = {
        "cam": result.cam_sweep[best][0],
        "threshold": best,
        "prediction": result.prediction_miou,
        "pseudo": result.pseudo_label.miou if result.pseudo_label else math.nan,
        "label_f1": result.label_f1,
    }
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def missing(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yield what is to be run, seed by seed."""
    done = {(line["method"], line["seed"], line["steps"]) for line in finished(options.results)}
    for seed in options.seeds:
        for name in options.methods:
            if (name, seed, options.steps) not in done:
                yield name, seed


def main(argv: list[str] | None = None) -> int:
    """Do what was asked for; see the exit statuses at the top."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table")
    parser.add_argument("--methods", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", default=["0-3"], metavar="A-B")
    parser.add_argument("--steps", type=int, default=400, help="of both stages together")
    parser.add_argument("--size", type=int, default=300, help="test scenes to score on")
    parser.add_argument("--scenes", type=int, default=2000, help="scenes to train on")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--hours", type=float, default=math.inf, help="begin no run after so long")
    options = parser.parse_args(argv)
    options.seeds = seeds_of(options.seeds)
    if options.table:
        print(table(finished(options.results), ROWS))
        return 0
    begun = time.monotonic()
    for name, seed in missing(options):
        if time.monotonic() - begun > 3600 * options.hours:
            break
        made = run(ROWS[name], seed, options.steps, options.size, options.scenes)
        here = {**machine(torch.device("cpu")), "threads": torch.get_num_threads()}
        line = {"method": name, "seed": seed, "steps": options.steps, **made, "machine": here}
        options.results.parent.mkdir(exist_ok=True)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{name}, seed {seed}: {made['scores']}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
