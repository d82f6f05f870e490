"""Tables of what ``benchmarks/`` measured, from its JSON files; without Sphinx, so tests run it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
Rows = list[list[str]]


def load(name: str) -> Any:
    """Return a result by its file name without extension; None if it was not measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def targets() -> Rows:
    """Return what was aimed at beside what was measured."""
    step = load("step")["variants"]
    cases = {name: case["sides"] for name, case in load("components")["cases"].items()}
    par, loss = cases["par"], cases["ptc"]
    predictions = load("inference")["variants"]
    fast = step["fast, fp32"]
    ema = cases["ema"]["fsr"]["median_seconds"] / fast["median_seconds"]
    rows = [
        ["`reference`, float32, a step", "at least 2.5x", _speed(step["reference, fp32"]), STEP],
        ["`fast`, float32, a step", "at least 4x", _speed(fast), STEP],
        ["`fast`, bfloat16, a step", "at least 8x", _speed(step["fast, bf16"]), STEP],
        *(
            [
                f"memory of a step, `{name.partition(',')[0]}`, {PRECISIONS[name[-4:]]}",
                "at most 0.5x",
                f"{row['memory_of_released']:.2f}x",
                STEP,
            ]
            for name, row in step.items()
            if "memory_of_released" in row and name != "released"
        ),
        [
            "`fast`, float32: share of this machine's best product",
            "at least 75%",
            f"{fast['share_of_peak']:.0%}",
            STEP,
        ],
        [
            "PAR, batch 8, 224x224, 4 channels, 10 iterations",
            "at least 6x",
            f"{par['released']['ours_times_faster']:.1f}x",
            PARTS,
        ],
        [
            "the same: memory",
            "at most 0.3x",
            f"{par['released']['memory_of_ours']:.2f}x",
            PARTS,
        ],
        [
            "affinity and PTC, N 784, batch 8, a quarter unknown",
            "at least 3x",
            f"{loss['released']['ours_times_faster']:.1f}x",
            PARTS,
        ],
        [
            "the same, every token known",
            "at least 3x",
            f"{cases['ptc-known']['released']['ours_times_faster']:.1f}x",
            PARTS,
        ],
        *(
            [
                f"prediction of 500x375 photographs, 3 scales and flips, {PRECISIONS[kind]}",
                "at least 2.5x",
                _speed(predictions[f"fsr,{kind}, batch 1"]),
                "inference.py",
            ]
            for kind in PRECISIONS
            if f"fsr,{kind}, batch 1" in predictions
        ),
        ["EMA update: share of a `fast` step", "below 1%", f"{ema:.1%}", PARTS],
    ]
    return [["what", "target", "measured", "by"], *rows]


def steps() -> Rows:
    """Return time, memory and arithmetic of a training step."""
    rows = []
    for name, row in load("step")["variants"].items():
        rows.append(
            [
                name,
                f"{row['median_seconds']:.1f}",
                f"{row['memory_bytes'] / 2**30:.1f}",
                f"{row['arithmetic'] / 1e12:.1f}" if row.get("arithmetic") else "",
                f"{row['share_of_peak']:.0%}" if "share_of_peak" in row else "",
                _speed(row) if name != "released" else "1",
            ]
        )
    return [["step", "seconds", "GiB", "TFLOP", "of the best product", "times as fast"], *rows]


def pieces() -> Rows:
    """Return the seconds of every piece of a step, by variant."""
    measured = {n: r["pieces"] for n, r in load("step")["variants"].items() if r.get("pieces")}
    names = list(dict.fromkeys(piece for row in measured.values() for piece in row))
    last = measured[next(iter(measured))]
    names.sort(key=lambda piece: -last.get(piece, 0.0))
    rows = [[n, *(f"{row.get(n, 0.0):.2f}" for row in measured.values())] for n in names]
    return [["seconds", *measured], *rows]


def components() -> Rows:
    """Return each component beside the other ways to the same result."""
    rows = []
    for case in load("components")["cases"].values():
        for number, (side, row) in enumerate(case["sides"].items()):
            rows.append(
                [
                    "" if number else case["title"],
                    side,
                    f"{1e3 * row['median_seconds']:.1f}",
                    f"{row['memory_bytes'] / 2**20:.0f}",
                    f"{row['ours_times_faster']:.1f}x" if number else "",
                    f"{row['memory_of_ours']:.2f}x" if number else "",
                ]
            )
    return [["what", "side", "ms", "MiB", "fsr is faster by", "with memory of"], *rows]


def inference() -> Rows:
    """Return images a second of prediction and of the dense CRF."""
    result = load("inference")
    rows = [
        [name, f"{row['images_per_second']:.3f}", f"{row['memory_bytes'] / 2**30:.1f}", _speed(row)]
        for name, row in result["variants"].items()
    ]
    for workers, rate in result["crf_images_per_second_by_workers"].items():
        rows.append([f"dense CRF, {workers} worker processes", f"{rate:.2f}", "", ""])
    return [["prediction", "images a second", "GiB", "times as fast"], *rows]


def loading() -> Rows:
    """Return what reading and augmenting an image costs."""
    result = load("loading")
    times = result["milliseconds_an_image"].items()
    rows = [[name, f"{value:.1f} ms an image"] for name, value in times]
    for workers, rate in result["images_per_second_by_workers"].items():
        rows.append([f"batches, {workers} worker processes", f"{rate:.0f} images a second"])
    return [["JPEGs of 500x375, two views of 448", ""], *rows]


def scaling() -> Rows:
    """Return seconds and memory along each sweep."""
    rows = []
    for sweep, points in load("scaling")["sweeps"].items():
        for number, (value, point) in enumerate(points.items()):
            if "median_seconds" in point:
                seconds = f"{point['median_seconds']:.2f}"
                memory = f"{point['memory_bytes'] / 2**30:.2f}"
            else:
                seconds, memory = point["failed"], ""
            rows.append(["" if number else sweep, value, seconds, memory])
    return [["sweep", "value", "seconds a step", "GiB"], *rows]


def presets() -> Rows:
    """Return the scores of presets on the built-in scenes over paired seeds."""
    lines = (RESULTS / "presets.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in lines]
    names = list(dict.fromkeys((run["preset"], *run["overrides"]) for run in runs))
    scores = list(runs[0]["scores"])
    rows = []
    for name in names:
        mine = [run for run in runs if (run["preset"], *run["overrides"]) == name]
        cells = []
        for score in scores:
            values = [100 * run["scores"][score] for run in mine]
            cells.append(f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}")
        rows.append([" ".join(name), str(len(mine)), *cells])
    return [["preset", "seeds", *scores], *rows]


def machine() -> Rows:
    """Return the machine that each file was measured on."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        measured = json.loads(path.read_text())
        if "machine" in measured:
            named = measured["machine"]
            cells = [named.get("gpu", named["processor"]), str(named["cores"]), named["torch"]]
            rows.append([path.name, *cells])
    return [["file", "processor", "cores", "torch"], *rows]


TABLES: dict[str, Callable[[], Rows]] = {
    table.__name__: table
    for table in (
        targets,
        steps,
        pieces,
        components,
        inference,
        loading,
        scaling,
        presets,
        machine,
    )
}
STEP, PARTS = "step.py", "components.py"
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}


def _speed(row: dict[str, Any]) -> str:
    """Spell how many times as fast as the released code."""
    return f"{row['times_faster_than_released']:.1f}x"
