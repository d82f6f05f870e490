"""What a run shows: a progress bar or lines, TensorBoard, the table at the end, results.json."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from train_config import Config
from train_state import JsonLog, to_json, write_atomically
from train_waiting import Waiting

import fsr
from fsr.data import SampleSource
from fsr.metrics import SegmentationMetrics
from fsr.presets import LOSS_TERMS, Preset

SCORES = ("cam_miou", "prediction_miou", "label_f1")
SHORT = {
    "total": "loss",
    "classification": "cls",
    "auxiliary": "aux",
    "affinity": "aff",
    "segmentation": "seg",
    "uncertain": "unc",
    "confident": "conf",
    "energy": "energy",
}


class Recorder:
    """Writes the log, TensorBoard and the terminal; on processes but the main one, nothing.

    Args:
        folder: folder of the run.
        config: options of the run.
        waiting: sums up what steps waited for data.
        start: completed steps from which the run goes on.
        main: whether this is the main process.
    """

    def __init__(
        self, folder: Path, config: Config, waiting: Waiting, *, start: int, main: bool
    ) -> None:
        self.main = main
        self._waiting = waiting
        self.evaluations: dict[int, dict[str, Any]] = {}
        self._every = config.run.log_every
        self._total, self._start = config.steps, start
        self._writer: Any = None
        self._bar: Any = None
        if not main:
            return
        self._log = JsonLog(folder / "log.jsonl", step=start)
        for record in self._log.kept("evaluation"):
            del record["kind"]
            self.evaluations[record.pop("step")] = record
        if config.run.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        self._seconds = 0.0

    def __enter__(self) -> Recorder:
        if self.main and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._total, initial=self._start, unit="step", dynamic_ncols=True
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._writer is not None:
            self._writer.close()
        if self.main:
            self._log.close()

    def say(self, text: str) -> None:
        """Print a line without breaking the bar."""
        if not self.main:
            return
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)

    def step(self, step: int, values: dict[str, Any]) -> None:
        """Record a completed step."""
        if not self.main:
            return
        self._log.write("train", step, **values)
        self._seconds += values["seconds"]
        self._waiting.add(step, values["waited"], values["seconds"])
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix(loss=f"{values['total']:.3f}", refresh=False)
        if step % self._every and step != self._total:
            return
        if self._bar is None:
            each = self._seconds / (step - self._start)
            left = timedelta(seconds=round((self._total - step) * each))
            terms = "  ".join(f"{short} {values[term]:.3f}" for term, short in SHORT.items())
            rate = f"{1 / each:.2f} steps/s" if each < 1 else f"{each:.1f} s a step"
            self.say(f"step {step}/{self._total}  {terms}  {rate}  {left} left")
        share, line = self._waiting.tell()
        if line is not None:
            self.say(line)
        if self._writer is not None:
            weights = values["weights"]
            for name in ("total", *LOSS_TERMS):
                self._writer.add_scalar(f"loss/{name}", values[name], step)
            for name in ("learning_rate", "momentum", "teacher_temperature", "masked"):
                self._writer.add_scalar(f"schedule/{name}", values[name], step)
            for name, weight in weights.items():
                self._writer.add_scalar(f"weight/{name}", weight, step)
            self._writer.add_scalar("gradient_norm", values["gradient_norm"], step)
            if share is not None:
                self._writer.add_scalar("waited_for_data", share, step)

    def evaluating(self, done: int, images: int) -> None:
        """Show how far an evaluation is, where there is a bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"evaluating {done}/{images}" if done < images else "")

    def evaluation(self, step: int, scores: dict[str, dict[str, Any]]) -> None:
        """Record an evaluation."""
        self.evaluations[step] = scores
        if not self.main:
            return
        self._log.write("evaluation", step, **scores)
        for network, values in scores.items():
            listed = "  ".join(f"{name} {100 * values[name]:.1f}" for name in SCORES)
            self.say(f"step {step}  {network:7}  {listed}")
            if self._writer is not None:
                for name in SCORES:
                    self._writer.add_scalar(f"{network}/{name}", values[name], step)


def all_background(dataset: SampleSource, num_classes: int) -> float:
    """Return the mIoU of a prediction that is background everywhere; NaN without masks."""
    metrics = SegmentationMetrics(num_classes)
    for index in range(len(dataset)):
        target = dataset[index].target
        if target is not None:
            metrics.update(torch.zeros_like(target), target)
    return metrics.compute().miou


def upper_bound(config: Config) -> dict[str, Any] | None:
    """Return the recorded scores of training with full masks, if they are of this very setting.

    The file names the options that it was measured under in its entry `for`; if one differs here
    the figure would not be comparable, and None is returned.
    """
    if config.run.upper_bound is None:
        return None
    path = Path(config.run.upper_bound)
    path = path if path.exists() else Path(__file__).resolve().parents[1] / path
    if not path.exists():
        return None
    bound: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    options = asdict(config)
    for name, expected in bound["for"].items():
        value: Any = options
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value != expected:
            return None
    return bound


def results_rows(
    evaluations: dict[int, dict[str, Any]], background: float, bound: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Collect the rows of the final table: floor, start, this run, bound."""
    last = max(evaluations)
    rows: list[dict[str, Any]] = [
        {"name": "all background", "prediction_miou": background},
        {"name": "start (heads untrained)", **evaluations.get(0, {}).get("student", {})},
        *(
            {"name": f"this run, {network}", **evaluations[last][network]}
            for network in ("student", "teacher")
            if network in evaluations[last]
        ),
        {"name": "trained with full masks", **(bound or {})},
    ]
    return [{key: row.get(key) for key in ("name", *SCORES)} for row in rows]


def results_table(rows: list[dict[str, Any]], bound: dict[str, Any] | None) -> str:
    """Spell the rows as a table, in per cent."""
    lines = [f"{'':26}{'CAM mIoU':>10}{'prediction mIoU':>17}{'label F1':>10}"]
    for row in rows:
        cells = [
            "-" if row[key] is None or row[key] != row[key] else f"{100 * row[key]:.1f}"
            for key in SCORES
        ]
        lines.append(f"{row['name']:26}{cells[0]:>10}{cells[1]:>17}{cells[2]:>10}")
    if bound is None:
        lines.append("(trained with full masks: not measured for these options)")
    else:
        lines.append(f"(trained with full masks: {bound['source']})")
        share = next(r for r in rows if r["name"] == "this run, student")["prediction_miou"]
        lines.append(f"prediction: {share / bound['prediction_miou']:.0%} of that bound")
    return "\n".join(lines)


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


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    import timm
    import torchvision

    return {
        "fsr": fsr.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "platform": platform.platform(),
    }


def write_results(
    folder: Path,
    config: Config,
    preset: Preset,
    *,
    rows: list[dict[str, Any]],
    evaluations: dict[int, dict[str, Any]],
    **rest: Any,
) -> Path:
    """Write results.json: what came out, and everything that it came from."""
    path = folder / "results.json"
    results = {
        "table": rows,
        "split": config.data.eval_split,
        "seed": config.seed,
        **rest,
        "preset": {
            "name": preset.name,
            "resolved_steps": preset.resolve(),
            "fields": asdict(preset),
        },
        "config": asdict(config),
        "versions": versions(),
        "evaluations": {step: evaluations[step] for step in sorted(evaluations)},
    }
    write_atomically(path, to_json(results, indent=2) + "\n")
    return path
