"""Tables of what ``benchmarks/`` measured, from its JSON files; without Sphinx, so tests run it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from typing import Any

from crf_rows import crf_agreement, crf_seconds
from growth_rows import TABLES as GROWTH
from measured import RESULTS, load
from memory_rows import encoder_memory

Rows = list[list[str]]
GPU = "gpu_h100"


def targets() -> Rows:
    """Return what was aimed at beside what was measured; steps in two runs."""
    runs = [load(name)["variants"] for name in STEPS]
    cases = {name: case["sides"] for name, case in load("components")["cases"].items()}
    par, known = cases["par"]["released"], cases["ptc-known"]["released"]
    predictions = load("inference")["variants"]
    ema = cases["ema"]["fsr"]["median_seconds"]
    rows = [
        [f"`{preset}`, {PRECISIONS[kind]}, a step", f"at least {aim}x", *cells, STEP]
        for preset, kind, aim in (
            ("reference", "fp32", 2.5),
            ("fast", "fp32", 4),
            ("fast", "bf16", 8),
        )
        for cells in [[_speed(run[f"{preset}, {kind}"]) for run in runs]]
    ]
    rows += [
        [
            f"memory of a step, `{preset}`, {PRECISIONS[kind]}",
            "at most 0.5x",
            *(f"{run[f'{preset}, {kind}']['memory_of_released']:.2f}x" for run in runs),
            STEP,
        ]
        for preset, kind in (("reference", "fp32"), ("fast", "fp32"), ("fast", "bf16"))
    ]
    shares = [f"{run['fast, fp32']['share_of_peak']:.0%}" for run in runs]
    rows.append(
        ["`fast`, float32: share of this machine's best product", "at least 75%", *shares, STEP]
    )
    title = "PAR, batch 8, 224x224, 4 channels, 10 iterations"
    rows += [
        [title, "at least 6x", f"{par['ours_times_faster']:.1f}x", "", PARTS],
        ["the same: memory", "at most 0.3x", f"{par['memory_of_ours']:.2f}x", "", PARTS],
    ]
    title = "affinity and PTC, N 784, batch 8"
    partly = f"{cases['ptc']['released']['ours_times_faster']:.1f}x"
    rows += [
        [f"{title}, a quarter unknown", "at least 3x", partly, "", PARTS],
        [f"{title}, all known", "at least 3x", f"{known['ours_times_faster']:.1f}x", "", PARTS],
    ]
    for kind, name in PRECISIONS.items():
        title = f"prediction of 500x375 photographs, 3 scales and flips, {name}"
        speed = _speed(predictions[f"fsr, {kind}, batch 1"])
        rows.append([title, "at least 2.5x", speed, "", "inference.py"])
    shares = [f"{ema / run['fast, fp32']['median_seconds']:.1%}" for run in runs]
    rows.append(["EMA update: share of a `fast` step", "below 1%", *shares, PARTS])
    return [["what", "target", "measured", "second run", "by"], *rows]


def steps() -> Rows:
    """Return time, memory and arithmetic of a training step, run by run."""
    return [["step", *HEADING], *_steps("step"), ["second run"] + 5 * [""], *_steps("step_again")]


def _steps(file: str) -> Rows:
    rows = []
    for name, row in load(file)["variants"].items():
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
    return rows


def gpu() -> Rows:
    """Return steps, prediction and dense CRF on a GPU."""
    sections = load(GPU)["sections"]
    timed = [
        (kind, name, row)
        for kind, section in (("step", "steps"), ("prediction", "prediction"), ("", "crf"))
        for name, row in sections[section].items()
    ]
    rows = [
        [
            f"{kind}: {name}" if kind else name,
            f"{row['median_seconds']:.3f}",
            f"{row['images_per_second']:.1f}" if "images_per_second" in row else "",
            f"{row['memory_bytes'] / 2**30:.1f}",
            f"{row['mfu']:.1%}" if "mfu" in row else "",
            _speed(row) if "times_faster_than_released" in row and name != "released" else "",
        ]
        for kind, name, row in timed
    ]
    head = ["what", "seconds", "images a second", "GiB", "of the peak", "times as fast"]
    return [head, *rows]


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
        plain = bool(name[1:]) and all(each.endswith("={extra: []}") for each in name[1:])
        called = f"{name[0]} without half-size passes" if plain else " ".join(name)
        rows.append([called, str(len(mine)), *cells])
    shown = [s.replace("cam_miou", "CAM mIoU").replace("_miou", " mIoU") for s in scores]
    return [["preset", "seeds", *shown], *rows]


def machine() -> Rows:
    """Return the machine that each file was measured on."""
    rows = []
    for name in (*STEPS, *OTHERS, GPU):
        named = load(name)["machine"]
        processor = named.get("gpu", named["processor"])
        rows.append([f"{name}.json", processor, str(named["cores"]), named["torch"]])
    return [["file", "processor", "cores", "torch"], *rows]


TABLES: dict[str, Callable[[], Rows]] = {
    **{
        table.__name__: table
        for table in (
            targets,
            steps,
            gpu,
            pieces,
            components,
            inference,
            loading,
            presets,
            machine,
        )
    },
    **GROWTH,
    **{table.__name__: table for table in (encoder_memory, crf_agreement, crf_seconds)},
}
STEP, PARTS = "step.py", "components.py"
STEPS = ("step", "step_again")
OTHERS = ("components", "inference", "loading", "trainer_rate")
OTHERS += ("scaling", "many_classes", "table_growth")
HEADING = ("seconds", "GiB", "TFLOP", "of the best product", "times as fast")
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}


def _speed(row: dict[str, Any]) -> str:
    """Spell how many times as fast as the released code."""
    return f"{row['times_faster_than_released']:.1f}x"
