"""What is left at the end of a run: the table, results.json, the picture sheet, the networks."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fsr._core.files import whole_file
from fsr._core.records import read_log, to_json, write_atomically
from fsr._core.text import read_json
from fsr.data import derive_seed
from fsr.report import REPORT, write_report
from fsr.train._about import versions
from fsr.train._maps import SheetOptions, shown
from fsr.train._measure import all_background
from fsr.train._options import Config
from fsr.train._parts import SHEET, Parts
from fsr.train._pictures import PICTURES, pictures_of, worst_images
from fsr.train._preset_options import build_method
from fsr.train._recorder import SCORES_FILE, Recorder
from fsr.train._sheet import first_with_classes, sheet_of
from fsr.train._table import results_rows, results_table, upper_bound
from fsr.train._teaching import summary_line, target_summary
from fsr.train._writing import writing


def report(
    parts: Parts, config: Config, folder: Path, recorder: Recorder, eval_set: Any, seconds: float
) -> None:
    """Print the table; write results.json, the picture sheet and the two networks.

    Args:
        parts: networks and processes.
        config: options of the run.
        folder: folder of the run.
        recorder: has the evaluations, and prints.
        eval_set: what is evaluated on.
        seconds: that the run took.
    """
    bound = upper_bound(config)
    background = all_background(eval_set, len(eval_set.class_names))
    rows = results_rows(recorder.evaluations, background, bound)
    recorder.say("\n" + results_table(rows, bound) + "\n")
    targets = target_summary(read_log(folder / "log.jsonl"), config.steps)
    if (line := summary_line(targets, config.model.projection_dim)) is not None:
        recorder.say(line)
    if config.run.sheet_images:
        _draw(parts, config, folder, eval_set)
    networks: dict[str, Any] = parts.modules
    for name in networks.keys() & {"student", "teacher"}:
        path = folder / f"{name}.safetensors"
        with writing(path):
            networks[name].save(path)
    found = {
        "table": rows,
        "bound": bound,
        "targets": targets,
        "evaluations": recorder.evaluations,
    }
    results = _results(config, found, _circumstances(parts, config, seconds))
    with writing(folder / "results.json"):
        write_atomically(folder / "results.json", to_json(results, indent=2) + "\n")
    with writing(folder / REPORT):
        write_report(folder)
    recorder.say(
        f"{seconds:.0f} s; report.html, results.json, sheet.png and the networks are in {folder}"
    )


def _draw(parts: Parts, config: Config, folder: Path, eval_set: Any) -> None:
    """Draw the picture sheet, and the pictures of the report: its images and the worst ones."""
    options = SheetOptions(
        config.run.sheet_images,
        config.eval.cam_scales,
        config.eval.scales,
        config.eval.image_size,
    )
    generator = torch.Generator().manual_seed(derive_seed(config.seed, SHEET, 0))
    first = list(first_with_classes(eval_set, options.count))
    drawn = {index: shown(parts.objective, eval_set[index], options, generator) for index in first}
    sheet = sheet_of([*drawn.values()], eval_set.class_names, options.tile)
    path = folder / "sheet.png"
    with writing(path), whole_file(path) as draft:
        sheet.save(draft, format="PNG")
    worst: list[int] = []
    if (folder / SCORES_FILE).is_file():  # an earlier release left none
        networks = read_json(folder / SCORES_FILE)["networks"]
        worst = worst_images(networks["student"], options.count)
    for index in worst:
        if index not in drawn:
            drawn[index] = shown(parts.objective, eval_set[index], options, generator)
    pictures = pictures_of(drawn, first, worst, "student", config.steps)
    with writing(folder / PICTURES):
        write_atomically(folder / PICTURES, to_json(pictures) + "\n")


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the most memory used so far: of the GPU, else of this process; None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**30 if sys.platform == "darwin" else 2**20)


def _circumstances(parts: Parts, config: Config, seconds: float) -> dict[str, Any]:
    """Return where and how the run was made."""
    accelerator = parts.accelerator
    return {
        "steps": config.steps,
        "seconds": seconds,
        "effective_batch": config.data.batch_size,
        "processes": accelerator.num_processes,
        "accumulation": parts.accumulation,
        "workers": parts.loading.workers,
        "mixed_precision": accelerator.mixed_precision,
        "device": str(accelerator.device),
        "threads": torch.get_num_threads(),
        "peak_memory_gib": peak_memory_gib(accelerator.device),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _results(
    config: Config, found: dict[str, Any], circumstances: dict[str, Any]
) -> dict[str, Any]:
    """Return what results.json holds: what came out, and everything that it came from."""
    preset, evaluations = build_method(config), found["evaluations"]
    return {
        "table": found["table"],
        "split": config.data.eval_split,
        "seed": config.seed,
        "bound": found["bound"],
        "targets": found["targets"],
        **circumstances,
        "preset": {
            "name": preset.name,
            "resolved_steps": preset.resolve(),
            "fields": preset.to_dict(),
        },
        "config": asdict(config),
        "versions": versions(),
        "evaluations": {step: evaluations[step] for step in sorted(evaluations)},
    }
