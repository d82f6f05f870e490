"""Folders of runs made up in a moment, as `fsr train` leaves them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

# The smallest whole pictures of their kinds.
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA"
    "60e6kgAAAABJRU5ErkJggg=="
)
LAYERS = dict.fromkeys(("pseudo", "prediction", "truth"), PNG)


def made_run(folder: Path, *, classes: int = 3, steps: int = 8, **changes: Any) -> Path:
    """Write the folder of a finished run of two networks.

    Args:
        folder: where to; made.
        classes: number of foreground classes.
        steps: length of the run.
        changes: by name of a file, without its end, what to lay over its content; None leaves the
            file out.
    """
    folder.mkdir(parents=True)
    names = [f"class {number}" for number in range(1, classes + 1)]
    made = {
        "about": about(names, steps),
        "results": results(steps),
        "scores": scores(classes + 1, steps),
        "pictures": pictures(steps),
    }
    records = log(classes + 1, steps)
    if "log" in changes:
        records = [record for record in records if changes["log"](record)]
    lines = [*map(json.dumps, records), *map(json.dumps, changes.get("more", []))]
    (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    for name, content in made.items():
        if changes.get(name, {}) is not None:
            merged = content | changes.get(name, {})
            (folder / f"{name}.json").write_text(json.dumps(merged))
    return folder


def log(labels: int, steps: int) -> list[dict[str, Any]]:
    """Steps, and an evaluation after every second of them."""
    found: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        found.append(
            {
                "kind": "train",
                "step": step,
                "total": 2.0 / step,
                "classification": 1.0 / step,
                "affinity": 0.5,
                "energy": 0.25,
                "masked": 0.4,
                "patches_nats": 0.1 * step,
                "learning_rate": 1e-4 * math.cos(step / steps),
                "momentum": None,
                "teacher_temperature": 0.07,
                "gradient_norm": 1.5,
                "weights": {"classification": 1.0, "affinity": 0.2, "energy": 0.0},
                "mask_strategy": "random",
                "seconds": 9.0 if step == 1 else 0.5,
                "waited": 0.1,
            }
        )
        if step % 2 == 0:
            made = network_scores(labels, step / steps)
            networks = {"student": made, "teacher": dict(made)}
            found.append({"kind": "evaluation", "step": step, **networks})
    return found


def network_scores(labels: int, done: float) -> dict[str, Any]:
    share = done / 2
    return {
        "cam_miou": share,
        "aux_cam_miou": share,
        "prediction_miou": share + 0.1,
        "label_f1": 0.9,
        "pixel_accuracy": 0.8,
        "cam_iou": [share] * labels,
        "segmentation_iou": [share + 0.1] * (labels - 1) + [None],
        "images": 4,
    }


def without_masks(record: dict[str, Any]) -> dict[str, Any]:
    """An evaluation of the log as it is without masks."""
    for network in ("student", "teacher"):
        if record["kind"] == "evaluation":
            record[network] = {
                key: [None] * len(value) if isinstance(value, list) else None
                for key, value in record[network].items()
            } | {"label_f1": 0.9, "images": 4}
    return record


def scores(labels: int, steps: int) -> dict[str, Any]:
    rng = random.Random(0)
    matrix = [[rng.randrange(1000) for _ in range(labels)] for _ in range(labels)]
    for place in range(labels):
        matrix[place][place] += 4000
    matrix[-1] = [0] * labels
    network = {
        "of": "prediction",
        "confusion": matrix,
        "image_iou": [0.5, 0.125, None, 0.75],
        "image_certainty": [0.9, 0.8, 0.7, 0.6],
    }
    return {
        "step": steps,
        "images": ["one", "two", "three", "four"],
        "networks": {"student": network, "teacher": network},
    }


def pictures(steps: int) -> dict[str, Any]:
    def picture(name: str) -> dict[str, Any]:
        told = {"name": name, "classes": [0, 1], "size": [120, 80]}
        return told | {"image": PNG, "cam": PNG} | LAYERS

    return {
        "step": steps,
        "network": "student",
        "first": [0, 3],
        "worst": [1, 0],
        "pictures": {"0": picture("one"), "1": picture("two"), "3": picture("four")},
    }


def about(names: list[str], steps: int) -> dict[str, Any]:
    return {
        "steps": steps,
        "method": "fast",
        "class_names": names,
        "data": {
            "name": "folder",
            "train": {"images": 12, "with_class": [5] * len(names)},
            "evaluation": {"images": 4},
        },
        "warnings": [],
        "options": [
            {"name": "optim.lr", "value": 0.5, "default": 6e-05, "meaning": "learning rate"},
            {"name": "optim.name", "value": "adamw", "default": "adamw", "meaning": "optimiser"},
        ],
        "versions": {"fsr": "0.1.0"},
        "device": "cpu",
        "processes": 1,
        "mixed_precision": "no",
        "threads": 1,
    }


def results(steps: int) -> dict[str, Any]:
    return {
        "table": [
            {"name": "all background", "prediction_miou": 0.1},
            {"name": "this run, student", "cam_miou": 0.4, "prediction_miou": 0.5, "label_f1": 0.9},
        ],
        "bound": None,
        "steps": steps,
        "seconds": 125.0,
        "effective_batch": 4,
        "peak_memory_gib": 1.25,
        "command": ["fsr", "train", "optim.lr=0.5"],
        "config": {"seed": 0, "optim": {"lr": 0.5}},
        "versions": {"fsr": "0.1.0", "torch": "2.6.0"},
        "evaluations": {},
    }
