"""A whole run: build, go on from a checkpoint, step, evaluate, save, report.

What is random in a step is a function of the seed and the step, see `fsr.data._stream`, so on the
CPU the losses of a resumed run equal those of an uninterrupted one to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsr._core.optional import import_extra
from fsr.data import ViewStream
from fsr.errors import InputError
from fsr.teacher import EMATeacher
from fsr.train._batch import Batch
from fsr.train._checks import check_same_run
from fsr.train._data import build_datasets
from fsr.train._drawn import build_drawn
from fsr.train._inputs import look_over, readable
from fsr.train._interrupt import Interrupt
from fsr.train._loading import micro_batches
from fsr.train._measure import measure
from fsr.train._options import Config
from fsr.train._parts import (
    Parts,
    TeacherFactory,
    build_accelerator,
    build_parts,
    build_student,
)
from fsr.train._preset_options import build_method
from fsr.train._recorder import Recorder
from fsr.train._results import report
from fsr.train._start import start_report
from fsr.train._state import latest_checkpoint, read_state, restore, run_folder, save_checkpoint
from fsr.train._step import train_step
from fsr.train._waiting import Waiting

if TYPE_CHECKING:
    from accelerate import Accelerator

Scores = dict[str, dict[str, Any]]


@dataclass
class Run:
    """A run under way: what its loop moves along."""

    config: Config
    folder: Path
    parts: Parts
    eval_set: Any
    batches: Iterator[Batch]
    recorder: Recorder
    interrupt: Interrupt
    clock: Callable[[], float]
    begun: float
    step: int

    def to_the_end(self) -> None:
        """Make the steps and evaluations that are left.

        Raises:
            KeyboardInterrupt: asked to stop; the state is saved.
        """
        config, recorder = self.config, self.recorder
        try:
            while True:
                if _evaluation_due(config, self.step) and self.step not in recorder.evaluations:
                    self._evaluate()
                if self.step == config.steps:
                    break
                stop = self._advance()
                checkpoint = self.step % config.run.checkpoint_every == 0
                if stop or checkpoint or self.step == config.steps:
                    self.save()
                if stop:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.save()
            recorder.say(
                f"interrupted after step {self.step}; the same command with --resume goes on"
            )
            raise

    def save(self) -> None:
        """Write a checkpoint of the completed steps, if there are any."""
        accelerator = self.parts.accelerator
        if not accelerator.is_main_process or self.step == 0:
            return
        save_checkpoint(
            self.folder / "checkpoints",
            self.step,
            modules=self.parts.modules,
            optimizer=self.parts.optimizer.optimizer,
            state={
                "config": asdict(self.config),
                "seconds": time.monotonic() - self.begun,
                "scaler": accelerator.scaler and accelerator.scaler.state_dict(),
            },
            keep=self.config.run.keep_checkpoints,
        )

    def _evaluate(self) -> None:
        began = time.monotonic()
        with self.interrupt.leaving_at_once(), readable():
            scores = measure(
                self.parts, self.config, self.eval_set, self.step, self.recorder.evaluating
            )
        self.recorder.evaluation(self.step, scores, time.monotonic() - began)

    def _advance(self) -> bool:
        """Make a step and record it; return whether some process was asked to stop."""
        began = self.clock()
        with readable():
            batch = [next(self.batches) for _ in range(self.parts.accumulation)]
        waited = self.clock() - began
        values = train_step(
            self.parts, self.step, batch, self.config.seed, waited, lambda: self.interrupt.asked
        )
        self.step += 1
        stop: bool = values.pop("stop") > 0
        self.recorder.step(self.step, {**values, "seconds": self.clock() - began})
        return stop


def run(
    config: Config,
    *,
    resume: bool = False,
    tell: Callable[[str], None] | None = None,
    make_teacher: TeacherFactory = EMATeacher,
    clock: Callable[[], float] = time.perf_counter,
) -> Scores:
    """Train, evaluate and report, as ``fsr train`` does; everything is written to ``run.output``.

    Args:
        config: options of the run, see :func:`load_config`.
        resume: go on from the last checkpoint of ``run.output``, where there is one.
        tell: takes a line of progress or of the table, such as ``print``; None runs in silence.
        make_teacher: makes the teacher from the student and its momentum.
        clock: returns seconds, to time steps with.

    Returns:
        Scores of the last evaluation, by network (``"student"``, ``"teacher"``) and name
        (``"prediction_miou"``, ...), in 0 to 1; NaN where there was nothing to score.

    Raises:
        ConfigError: an option cannot be used.
        ImportError: Accelerate is not installed (extra ``train``).
        InputError: data or weights cannot be read.
        KeyboardInterrupt: interrupted; a checkpoint was written.
        NotFiniteError: a loss or the gradient is NaN or infinite; the last checkpoint is kept.

    Example:
        >>> from fsr.train import load_config
        >>> config = load_config("default", "smoke")
        >>> run(config, tell=print)["student"]["prediction_miou"]  # doctest: +SKIP
        0.0513
    """
    begun = time.monotonic()
    accelerator = build_accelerator(config)
    main = accelerator.is_main_process
    folder: Path = _agree(run_folder(config.run.output, resume=resume) if main else None)
    parts, stream, eval_set, doubts = _build(config, accelerator, make_teacher)
    step, spent = _go_on(config, folder, parts) if resume else (0, 0.0)
    accelerator.wait_for_everyone()
    batches = micro_batches(stream, config, accelerator, parts.loading.workers, start=step)
    waiting, begun = Waiting(parts.loading), begun - spent
    with (
        Recorder(folder, config, waiting, start=step, main=main, tell=tell) as recorder,
        Interrupt() as interrupt,
    ):
        recorder.evaluations = _agree(recorder.evaluations if main else None)
        for line in (_heading(config, folder, step, parts), *doubts):
            recorder.say(line)
        if config.model.start is not None and step == 0:
            recorder.say(start_report(parts.modules["student"], config.model.start))
        Run(
            config, folder, parts, eval_set, batches, recorder, interrupt, clock, begun, step
        ).to_the_end()
        if main:
            report(parts, config, folder, recorder, eval_set, time.monotonic() - begun)
    accelerator.end_training()
    scores: Scores = recorder.evaluations[config.steps]
    return scores


def _build(
    config: Config, accelerator: Accelerator, make_teacher: TeacherFactory
) -> tuple[Parts, ViewStream, Any, list[str]]:
    """Return what a step touches, the views and what is evaluated on, and what to warn of."""
    with readable():
        train_set, eval_set = build_datasets(config)
        # One process looks, all raise.
        looks = accelerator.is_main_process
        fault, doubts = _agree(look_over(config, train_set, eval_set) if looks else None)
        if fault:
            raise InputError(fault)
        student = build_student(config, train_set.class_names)
        backbone, kind = student.backbone, build_method(config).views
        drawn = build_drawn(config, kind, backbone.mean, backbone.std, student.num_classes)
        drawn.check(train_set)
        parts = build_parts(config, student, accelerator, make_teacher)
    views = ViewStream(train_set, drawn, seed=config.seed, whole=True)
    return parts, views, eval_set, [f"WARNING: {line}" for line in doubts]


def _go_on(config: Config, folder: Path, parts: Parts) -> tuple[int, float]:
    """Restore the last checkpoint, if there is one; return its step and the seconds it took."""
    checkpoint = latest_checkpoint(folder / "checkpoints")
    if checkpoint is None:
        return 0, 0.0
    state = read_state(checkpoint)
    check_same_run(config, state["config"])
    restore(checkpoint, modules=parts.modules, optimizer=parts.optimizer.optimizer)
    scaler = parts.accelerator.scaler
    if scaler is not None and state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    return state["step"], state["seconds"]


def _evaluation_due(config: Config, step: int) -> bool:
    if step == 0:
        return config.eval.at_start
    return step == config.steps or step % config.eval.every == 0


def _heading(config: Config, folder: Path, step: int, parts: Parts) -> str:
    """Say what runs where, and at which effective batch."""
    accelerator, batch = parts.accelerator, config.data.batch_size
    each = batch // (parts.accumulation * accelerator.num_processes)
    return (
        f"{folder}: steps {step} to {config.steps}, preset {parts.objective.recipe.name}, "
        f"effective batch {batch} = {each} images x {parts.accumulation} micro-batches x "
        f"{accelerator.num_processes} processes, on {accelerator.device}, "
        f"precision {accelerator.mixed_precision}, data workers {parts.loading.workers}"
    )


def _agree(value: Any) -> Any:
    """Return the main process's value in every process."""
    utils = import_extra("accelerate.utils", "train", "fsr.train")
    return utils.broadcast_object_list([value])[0]
