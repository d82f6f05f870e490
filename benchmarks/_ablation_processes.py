"""One run: the trainer and the scoring, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

from _ablation_runs import RunFailed, Task
from _ablation_scores import Row
from _ablation_setting import Setting
from _machine import write_json

from fsr.losses import TargetInformation
from fsr.presets import LOSS_TERMS

HERE = Path(__file__).resolve().parent
TRAINER = HERE.parent / "examples" / "train.py"
NOISY_TEACHER = HERE / "_ablation_noisy_teacher.py"
# The trainer's own status for a loss that is not finite: a result, not an accident.
NOT_FINITE = 3
KEPT_SETTING = "setting.json"
# Whose targets' information is kept, where there are any.
ROWS = ("patches", "aggregate")
# In how many parts of the run losses are averaged.
PARTS = 10


class Children:
    """Processes that end with this one: an interrupt stops them all."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, command: Sequence[str], threads: int, output: Path) -> None:
        """Run a command to its end; what it prints goes to a file.

        Raises:
            RunFailed: with its last line.
        """
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        # The package of this checkout, whichever is installed: that is what `revision` names.
        paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        limits["PYTHONPATH"] = os.pathsep.join(paths)
        with output.open("wb") as file:
            with self._lock:
                if self._stopped:
                    raise RunFailed("stopped", -signal.SIGTERM)
                child = subprocess.Popen(
                    [sys.executable, *command],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **limits},
                    start_new_session=True,
                )
                self._running.add(child)
            status = child.wait()
            with self._lock:
                self._running.discard(child)
        if status:
            lines = output.read_text(errors="replace").strip().splitlines() or ["no output"]
            raise RunFailed(f"{Path(command[0]).name} ended with {status}: {lines[-1]}", status)

    def stop(self) -> None:
        """End all of them, and start no more."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)


def make_run(
    task: Task, setting: Setting, children: Children, threads: int, keep: Path | None = None
) -> Row:
    """Train and score once, and return the line to keep.

    Args:
        task: variant and seed.
        setting: what all runs share.
        children: where the processes are started.
        threads: of each process.
        keep: where the networks are put, see :func:`kept_networks`; None throws them away.

    Raises:
        RunFailed: something that may go well another time.
    """
    variant, seed = task
    begun = time.perf_counter()
    common = [*setting.arguments(variant), f"seed={seed}"]
    row: Row = {
        "variant": variant.name,
        "seed": seed,
        "overrides": list(variant.overrides),
        "setting": setting.hash,
        "scenes": setting.scenes,
        "revision": revision(),
    }
    with tempfile.TemporaryDirectory(prefix="ablation-") as name:
        folder = Path(name) / "run"
        worker = [*setting.worker(folder), *common]
        if variant.masks:
            worker.append("--masks")
        else:
            trainer = NOISY_TEACHER if variant.noisy_teacher else TRAINER
            try:
                children.run(
                    [str(trainer), *common, *setting.quiet(variant, folder)],
                    threads,
                    Path(name) / "trainer.txt",
                )
            except RunFailed as failed:
                if failed.status != NOT_FINITE:
                    raise
                return {**row, "scores": None, "failure": str(failed), "seconds": _since(begun)}
            row.update(_trained(folder))
        children.run(worker, threads, Path(name) / "worker.txt")
        # The trainer's own seconds stand where it trained.
        row = {**json.loads((folder / "scores.json").read_text()), **row}
        if keep is not None:
            target = kept_networks(keep, variant.name, seed)
            target.mkdir(parents=True, exist_ok=True)
            write_json(target / KEPT_SETTING, dict(setting.options))
            for network in folder.glob("*.safetensors"):
                shutil.copy2(network, target)
    return {**row, "seconds": _since(begun)}


def kept_networks(keep: Path, variant: str, seed: int) -> Path:
    """Return where the networks of a run are kept, with the setting that made them."""
    return keep / f"{variant}-{seed}"


def _trained(folder: Path) -> dict[str, Any]:
    """Return what is kept of a training run: time, phases, losses by tenth, scores on the way."""
    results = json.loads((folder / "results.json").read_text())
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "train"]
    told = [f"{rows}_{what}" for rows in ROWS for what in TargetInformation._fields]
    names = [name for name in (*LOSS_TERMS, "masked", *told) if all(name in s for s in steps)]
    bounds = [round(part * len(steps) / PARTS) for part in range(PARTS + 1)]
    parts = [steps[a:b] for a, b in pairwise(bounds) if b > a]
    looks = results["evaluations"] if len(results["evaluations"]) > 1 else {}
    return {
        "steps": results["steps"],
        "train_seconds": results["seconds"],
        "step_seconds": statistics.median(record["seconds"] for record in steps),
        "device": results["device"],
        "phases": results["preset"]["resolved_steps"],
        "losses": {n: [round(statistics.fmean(r[n] for r in p), 5) for p in parts] for n in names},
        "curve": {step: _look(networks) for step, networks in looks.items()},
    }


def _look(networks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        network: {"cam": scores["cam_miou"], "prediction": scores["prediction_miou"]}
        for network, scores in networks.items()
    }


def _since(begun: float) -> float:
    return round(time.perf_counter() - begun, 1)


def revision() -> str | None:
    """Return the commit of the code, with "+" if code has changed since; None outside git."""
    git = ["git", "-C", str(HERE.parent)]
    code = ["fsr", "examples", ":(glob)benchmarks/*.py"]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True
        )
        clean = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *code]).returncode == 0
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("" if clean else "+")
