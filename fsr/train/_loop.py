"""A whole run: build, go on from a checkpoint, step, evaluate, save, report.

What is random in a step is a function of the seed and the step, see `fsr.data._stream`, so on the
CPU the losses of a resumed run equal those of an uninterrupted one to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsr.data import ViewStream
from fsr.errors import InputError, NotFiniteError, ResourceError
from fsr.teacher import EMATeacher
from fsr.train._about import about, write_about
from fsr.train._batch import Batch
from fsr.train._data import build_datasets, cache_for_all
from fsr.train._drawn import build_drawn
from fsr.train._finite import check_finite_state
from fsr.train._inputs import look_over, readable
from fsr.train._interrupt import Interrupt
from fsr.train._launched import Launched
from fsr.train._loading import micro_batches
from fsr.train._measure import evaluation_due, measure
from fsr.train._memory import enough_memory
from fsr.train._options import Config
from fsr.train._parts import (
    Parts,
    TeacherFactory,
    build_accelerator,
    build_parts,
    build_student,
    heading,
)
from fsr.train._peers import joined
from fsr.train._preset_options import build_method
from fsr.train._recorder import Recorder
from fsr.train._results import report
from fsr.train._resume import CHECKPOINTS, Resumed, agree, choose_folder, go_on
from fsr.train._start import start_report
from fsr.train._state import optimizer_tensors, save_checkpoint
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
    _unread: list[tuple[Launched, float]] = field(default_factory=list)
    _stop: bool = False

    def to_the_end(self) -> None:
        """Make the steps and evaluations that are left.

        Raises:
            KeyboardInterrupt: asked to stop; the state is saved.
        """
        config, recorder = self.config, self.recorder
        try:
            while True:
                if evaluation_due(config, self.step) and self.step not in recorder.evaluations:
                    self._read_steps()
                    self._check_finite()
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
            recorder.ended(self.step, "interrupted")
            again = "the same command with --resume goes on"
            recorder.say(f"interrupted after step {self.step}; {again}")
            raise
        except (InputError, NotFiniteError, ResourceError) as error:
            recorder.ended(self.step, str(error))
            raise

    def _check_finite(self) -> None:
        """Raise where what was learned is not finite; every process has learned the same."""
        states = {name: module.state_dict() for name, module in self.parts.modules.items()}
        optimizer = optimizer_tensors(self.parts.optimizer.optimizer)
        check_finite_state(self.step, {**states, "optimizer": optimizer})

    def save(self) -> None:
        """Write a checkpoint of the completed steps, if there are any and they are finite."""
        accelerator = self.parts.accelerator
        if self.step == 0:
            return
        self._read_steps()
        if not accelerator.is_main_process:
            self._check_finite()
            return
        save_checkpoint(
            self.folder / CHECKPOINTS,
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
        memory = enough_memory(self.config, f"evaluation of step {self.step}", training=False)
        with self.interrupt.leaving_at_once(), memory, readable():
            scores, details = measure(
                self.parts, self.config, self.eval_set, self.step, self.recorder.evaluating
            )
        self.recorder.evaluation(self.step, scores, time.monotonic() - began, details)

    def _advance(self) -> bool:
        """Make a step and record the one before; return whether some process was asked to stop.

        Where nothing is waited for, on a CPU, the step itself is recorded.
        """
        began = self.clock()
        with enough_memory(self.config, f"step {self.step + 1}", training=True):
            with readable():
                batch = [next(self.batches) for _ in range(self.parts.accumulation)]
            waited = self.clock() - began
            try:
                launched = train_step(
                    self.parts,
                    self.step,
                    batch,
                    self.config.seed,
                    waited,
                    lambda: self.interrupt.asked,
                )
            except (InputError, NotFiniteError):
                self._read_steps()  # of which the numbers may tell why
                raise
        self.step += 1
        # The device is at this step meanwhile.
        self._read_steps()
        self._unread.append((launched, self.clock() - began))
        if launched.numbers.at_hand:
            self._read_steps()
        return self._stop

    def _read_steps(self) -> None:
        """Read and record the steps that were launched; raise where one was not finite."""
        while self._unread:
            launched, seconds = self._unread.pop(0)
            try:
                values = launched.read()
            except NotFiniteError:
                self.step = launched.step  # what came after is worth nothing
                raise
            self._stop |= values.pop("stop") > 0
            self.recorder.step(launched.step + 1, {**values, "seconds": seconds})


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
        ConfigError: an option cannot be used, or nothing can be written into ``run.output``.
        ImportError: Accelerate is not installed (extra ``train``).
        InputError: data or weights cannot be read, or no checkpoint is whole.
        KeyboardInterrupt: interrupted; a checkpoint was written.
        NotFiniteError: a loss, the gradient or a parameter is NaN or infinite; the last checkpoint
            is kept.
        ResourceError: the disk is full, memory ran out, or another training process has ended.

    Example:
        >>> from fsr.train import load_config
        >>> config = load_config("default", "smoke")
        >>> run(config, tell=print)["student"]["prediction_miou"]  # doctest: +SKIP
        0.0513
    """
    accelerator = build_accelerator(config)
    with joined(accelerator, config.run.timeout):
        scores = _run(config, accelerator, resume, tell, make_teacher, clock)
    accelerator.end_training()
    return scores


def _run(
    config: Config,
    accelerator: Accelerator,
    resume: bool,
    tell: Callable[[str], None] | None,
    make_teacher: TeacherFactory,
    clock: Callable[[], float],
) -> Scores:
    """Train, evaluate and report in one of the processes that were joined."""
    begun = time.monotonic()
    main = accelerator.is_main_process
    folder = choose_folder(config, main=main, resume=resume)
    with enough_memory(config, "building the networks", training=True):
        parts, stream, eval_set, doubts, told = _build(config, accelerator, make_teacher)
    done = go_on(config, folder, parts) if resume else Resumed()
    if main:
        write_about(folder, told)
    accelerator.wait_for_everyone()
    batches = micro_batches(stream, config, accelerator, parts.loading.workers, start=done.step)
    waiting, begun = Waiting(parts.loading, cache_for_all(config)), begun - done.seconds
    with (
        Recorder(folder, config, waiting, start=done.step, main=main, tell=tell) as recorder,
        Interrupt() as interrupt,
    ):
        recorder.evaluations = agree(recorder.evaluations if main else None)
        for line in (*done.told, heading(config, folder, done.step, parts), *doubts):
            recorder.say(line)
        if config.model.start is not None and done.step == 0:
            recorder.say(start_report(parts.modules["student"], config.model.start))
        Run(
            config, folder, parts, eval_set, batches, recorder, interrupt, clock, begun, done.step
        ).to_the_end()
        if main:
            with enough_memory(config, "the report", training=False):
                report(parts, config, folder, recorder, eval_set, time.monotonic() - begun)
    scores: Scores = recorder.evaluations[config.steps]
    return scores


def _build(
    config: Config, accelerator: Accelerator, make_teacher: TeacherFactory
) -> tuple[Parts, ViewStream, Any, list[str], dict[str, Any]]:
    """Return what a step touches, views, what is evaluated on, what to warn of and to keep."""
    with readable():
        train_set, eval_set = build_datasets(config)
        # One process looks, all raise.
        looks = accelerator.is_main_process
        fault, doubts = agree(look_over(config, train_set, eval_set) if looks else None)
        if fault:
            raise InputError(fault)
        student = build_student(config, train_set.class_names)
        backbone, kind = student.backbone, build_method(config).views
        drawn = build_drawn(config, kind, backbone.mean, backbone.std, student.num_classes)
        drawn.check(train_set)
        parts = build_parts(config, student, accelerator, make_teacher)
    views = ViewStream(train_set, drawn, seed=config.seed, whole=True)
    told = about(config, train_set, eval_set, parts, doubts)
    return parts, views, eval_set, [f"WARNING: {line}" for line in doubts], told
