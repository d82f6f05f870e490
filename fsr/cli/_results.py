"""What ``fsr evaluate --output`` leaves behind: the scores, and all that changes them."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fsr._core.alone import alone_in
from fsr._core.distributed import in_main_process
from fsr._core.files import clear_unfinished, whole_file
from fsr._core.outputs import writing
from fsr.inference import EvaluationResult, describe, file_hash, result_to_dict, versions
from fsr.visualize import plot_threshold_sweep

RESULTS, PLOT, COUNTS = "results.json", "cam_thresholds.png", "counts.safetensors"
BEFORE = "results.before.json"


def take_output(folder: Path, stack: ExitStack) -> None:
    """Hold the folder of the results until the stack ends, and put the old ones aside.

    An evaluation that does not come to its end must not leave the scores of another where its own
    would be. Those stay in ``results.before.json`` until there are new ones.

    Raises:
        BusyError: another run is writing into the folder.
        OutputError: it cannot be written.
    """

    def prepare() -> None:
        stack.enter_context(alone_in(folder))
        parts = {path.name.partition(".safetensors.")[2] for path in folder.glob(f".{COUNTS}.*")}
        shares = {f"{COUNTS}.{part.rpartition('.')[0]}" for part in parts if "-of-" in part}
        clear_unfinished(folder / name for name in (RESULTS, PLOT, COUNTS, *shares))
        with writing(folder / BEFORE):
            (folder / PLOT).unlink(missing_ok=True)
            if (folder / RESULTS).is_file():
                (folder / RESULTS).replace(folder / BEFORE)

    in_main_process(prepare)


def write_results(
    options: argparse.Namespace, dataset: Any, result: EvaluationResult, crf: Any
) -> None:
    """Write ``results.json``, with all that changes a number, and the plot of a sweep."""
    given = {key: str(v) if isinstance(v, Path) else v for key, v in vars(options).items()}
    content = {
        **result_to_dict(result, dataset.class_names),
        "data": describe(dataset),
        "options": given,
        "crf": None if crf is None else describe(getattr(crf, "crf", crf)),
        "checkpoint": {"file": str(options.checkpoint), "sha256": file_hash(options.checkpoint)},
        "classes": len(dataset.class_names),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "versions": versions(),
    }
    if result.skipped:
        names = getattr(dataset, "names", None)
        content["skipped_names"] = [names[i] if names else str(i) for i in result.skipped]
    with whole_file(options.output / RESULTS) as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    (options.output / BEFORE).unlink(missing_ok=True)
    print(f"{options.output / RESULTS}")
    if options.sweep:
        plot = options.output / PLOT
        plot_threshold_sweep(result.cam_sweep, plot, title=describe(dataset))
        print(f"{plot}")
