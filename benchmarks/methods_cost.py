"""What a training step of each method costs beside FSR's, taking turns on the built-in scenes.

    python benchmarks/methods_cost.py --rounds 3      # on a machine that does nothing else
    python benchmarks/methods_cost.py --table

Every round trains each configuration for a few steps, with the phases of its recipe in their
shares, FSR among them; a ratio is of two runs of one round. Batch 8 at 96 px, masks where a method
learns from label maps. A line of `results/methods_cost.jsonl` is one such training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from _machine import machine
from _methods_tables import Runs, finished
from methods import COMMON, fsr

RESULTS = Path(__file__).resolve().parent / "results" / "methods_cost.jsonl"
FSR = "FSR"
WARM = 3  # the first steps build what later ones reuse
CONFIGS = {
    FSR: ("default",),
    "ToCo": ("toco",),
    "AFA": ("afa",),
    "1Stage": ("one_stage",),
    "RRM": ("rrm",),
    "ViT-PCM": ("vit_pcm",),
    "ReCAM": ("recam",),
    "SEAM": ("seam",),
    "MCTformer+": ("mctformer",),
    "segmentation": ("default", "segmentation"),
    "URN": ("default", "urn"),
    "BECO": ("default", "beco"),
}


def measure(name: str, steps: int) -> dict[str, Any]:
    """Train a configuration for some steps; return its mean seconds a step and its memory."""
    with tempfile.TemporaryDirectory(prefix="cost-") as scratch:
        named = [word for config in CONFIGS[name] for word in ("--config", config)]
        fsr("train", *named, *COMMON, f"steps={steps}", f"run.output={scratch}")
        log = (Path(scratch) / "log.jsonl").read_text().splitlines()
        trained = [line for line in map(json.loads, log) if line["kind"] == "train"]
        each = statistics.fmean(line["seconds"] for line in trained[WARM:])
        memory = json.loads((Path(scratch) / "results.json").read_text())["peak_memory_gib"]
    return {"step_seconds": each, "memory_gib": memory}


def cost_rows(runs: Runs) -> list[list[str]]:
    """Return the costs as rows of a table, its heading first: medians over rounds, and most GiB."""
    of_fsr = {run["round"]: run["step_seconds"] for run in runs if run["method"] == FSR}
    rows = [["method", "s a step", "beside FSR", "GiB"]]
    for name in CONFIGS:
        own = [run for run in runs if run["method"] == name and run["round"] in of_fsr]
        if own:
            seconds = statistics.median(run["step_seconds"] for run in own)
            ratio = statistics.median(run["step_seconds"] / of_fsr[run["round"]] for run in own)
            memory = max(run["memory_gib"] for run in own)
            rows.append([name, f"{seconds:.2f}", f"{ratio:.2f}x", f"{memory:.1f}"])
    return rows


def main(argv: list[str] | None = None) -> int:
    """Do what was asked for; return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    options = parser.parse_args(argv)
    if options.table:
        for row in cost_rows(finished(options.results)):
            print("  ".join(f"{cell:>12}" for cell in row))
        return 0
    here = {**machine(torch.device("cpu")), "threads": torch.get_num_threads()}
    done = {(run["method"], run["round"]) for run in finished(options.results)}
    for turn in range(options.rounds):
        for name in CONFIGS:
            if (name, turn) in done:
                continue
            line = {"method": name, "round": turn, **measure(name, options.steps)}
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, "steps": options.steps, "machine": here}) + "\n")
            print(f"{name}: {line['step_seconds']:.3f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
