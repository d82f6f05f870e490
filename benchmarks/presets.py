"""Are the cheaper CAM sources of `fast` as good as those of `reference`? Paired seeds on scenes.

    python benchmarks/presets.py                    # 2 presets x 4 seeds; goes on where it stopped
    python benchmarks/presets.py --seeds 0 1 --jobs 2

Each run is `fsr train` in a process of its own, with its default configuration and nothing
changed but preset and seed. A finished run is a line in the log file and is not repeated. The
table gives the mean over seeds, and the mean and 95% interval (Student's t) of the paired
difference to `reference`, beside the spread of `reference` over its seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

RESULTS = Path(__file__).parent / "results" / "presets.jsonl"
TRAINER = Path(__file__).parents[1] / "examples" / "train.py"
# Two-sided 97.5% points of Student's t by degrees of freedom; beyond, the normal one.
STUDENT_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def run(preset: str, seed: int, overrides: list[str], threads: int) -> dict[str, Any]:
    """Train once and return what is kept of it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            str(TRAINER),
            f"preset.base={preset}",
            f"seed={seed}",
            f"run.output={folder}",
            "run.tensorboard=false",
            "run.sheet_images=0",
            "eval.at_start=false",
            *overrides,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        results = json.loads((Path(folder) / "results.json").read_text())
    last = results["evaluations"][max(results["evaluations"], key=int)]
    scores = {
        f"{network} {name}": last[network][name]
        for network in ("student", "teacher")
        for name in ("cam_miou", "prediction_miou")
    }
    kept = {key: results[key] for key in ("steps", "seconds", "threads", "versions")}
    return {"preset": preset, "seed": seed, "overrides": overrides, "scores": scores, **kept}


def summary(rows: list[dict[str, Any]]) -> str:
    """Return the table of means and paired differences, in per cent."""
    by_run = {(row["preset"], row["seed"]): row["scores"] for row in rows}
    presets = list(dict.fromkeys(row["preset"] for row in rows))
    names = list(rows[0]["scores"])
    lines = [f"{'':32}" + "".join(f"{name:>26}" for name in names)]
    for preset in presets:
        seeds = sorted(seed for name, seed in by_run if name == preset)
        cells = []
        for name in names:
            values = [100 * by_run[preset, seed][name] for seed in seeds]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            cells.append(f"{statistics.mean(values):.1f} (sd {spread:.1f})")
        lines.append(f"{preset + f', {len(seeds)} seeds':32}" + "".join(f"{c:>26}" for c in cells))
    for preset in presets:
        shared = sorted(s for p, s in by_run if p == preset and ("reference", s) in by_run)
        if preset == "reference" or len(shared) < 2:
            continue
        cells = []
        for name in names:
            gaps = [100 * (by_run[preset, s][name] - by_run["reference", s][name]) for s in shared]
            point = STUDENT_T.get(len(gaps) - 1, 1.96)
            half = point * statistics.stdev(gaps) / math.sqrt(len(gaps))
            cells.append(f"{statistics.mean(gaps):+.1f} +- {half:.1f}")
        title = f"{preset} - reference, paired"
        lines.append(f"{title:32}" + "".join(f"{c:>26}" for c in cells))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Make the runs that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--presets", nargs="+", default=["reference", "fast"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--threads", type=int, default=1, help="threads of each run")
    parser.add_argument("--log", type=Path, default=RESULTS, metavar="JSONL")
    parser.add_argument("overrides", nargs="*", metavar="option=value", help="of the trainer")
    options = parser.parse_intermixed_args(argv)
    done = []
    if options.log.exists():
        done = [json.loads(line) for line in options.log.read_text().splitlines()]
        done = [row for row in done if row["overrides"] == options.overrides]
    known = {(row["preset"], row["seed"]) for row in done}
    wanted = [(p, s) for s in options.seeds for p in options.presets if (p, s) not in known]
    lock = Lock()

    def work(preset: str, seed: int) -> None:
        row = run(preset, seed, options.overrides, options.threads)
        with lock:
            done.append(row)
            with options.log.open("a") as log:
                log.write(json.dumps(row) + "\n")
        print(f"{preset}, seed {seed}: {row['seconds']:.0f} s", file=sys.stderr, flush=True)

    options.log.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for future in [pool.submit(work, *pair) for pair in wanted]:
            future.result()
    print(summary(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
