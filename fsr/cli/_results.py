"""What ``fsr evaluate --output`` leaves behind: the scores, and all that changes them."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from fsr._core.files import whole_file
from fsr.inference import EvaluationResult, file_hash, result_to_dict, versions
from fsr.visualize import plot_threshold_sweep


def write_results(
    options: argparse.Namespace, dataset: Any, result: EvaluationResult, crf: Any
) -> None:
    """Write ``results.json``, with all that changes a number, and the plot of a sweep."""
    given = {key: str(v) if isinstance(v, Path) else v for key, v in vars(options).items()}
    content = {
        **result_to_dict(result, dataset.class_names),
        "data": repr(dataset),
        "options": given,
        "crf": None if crf is None else repr(getattr(crf, "crf", crf)),
        "checkpoint": {"file": str(options.checkpoint), "sha256": file_hash(options.checkpoint)},
        "classes": len(dataset.class_names),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "versions": versions(),
    }
    if result.skipped:
        names = getattr(dataset, "names", None)
        content["skipped_names"] = [names[i] if names else str(i) for i in result.skipped]
    with whole_file(options.output / "results.json") as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    print(f"{options.output / 'results.json'}")
    if options.sweep:
        plot = options.output / "cam_thresholds.png"
        plot_threshold_sweep(result.cam_sweep, plot, title=repr(dataset))
        print(f"{plot}")
