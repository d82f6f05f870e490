"""Memory, disk, terminal and signals: what ends a run ends it in one line, and nothing is lost."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

for package in ("accelerate", "omegaconf"):
    pytest.importorskip(package)

from fsr.cli import _train as command
from fsr.errors import ConfigError, NotFiniteError, ResourceError
from fsr.train import Config, _step
from fsr.train._interrupt import STOPPING, Interrupt, ignore_interrupts
from fsr.train._log import JsonLog
from fsr.train._memory import enough_memory
from fsr.train._screen import Screen
from fsr.train._state import run_folder
from fsr.train._writing import check_output, reason, writing


def told(error: Exception, *, training: bool = True, **options: Any) -> str:
    """What is told of an error of memory."""
    config = Config()
    config.data.micro_batch = options.get("micro_batch")
    config.optim.mixed_precision = options.get("mixed_precision")
    config.model.grad_checkpointing = options.get("grad_checkpointing", False)
    with pytest.raises(ResourceError) as caught:  # noqa: SIM117
        with enough_memory(config, "step 3", training=training):
            raise error
    assert caught.value.__cause__ is error
    return str(caught.value)


def test_a_device_without_memory_names_the_options_that_help() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
    assert told(error) == (
        "step 3: the device is out of memory (CUDA out of memory. Tried to allocate 2.00 GiB); "
        "lower data.micro_batch (now 8), set model.grad_checkpointing=true, set "
        "optim.mixed_precision=bf16, or lower data.image_size (now 448)"
    )
    used = {"micro_batch": 1, "mixed_precision": "bf16", "grad_checkpointing": True}
    assert told(error, **used).endswith("); lower data.image_size (now 448)")
    assert "lower eval.batch_size (now 1), set eval.image_size" in told(error, training=False)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
def test_a_machine_without_memory_is_told_apart(error: Exception) -> None:
    assert told(error).startswith("step 3: this machine is out of memory (")


def test_a_killed_worker_is_named_with_what_helps() -> None:
    killed = "DataLoader worker (pid 7) is killed by signal: Killed. "
    assert "a process that loads data was killed (DataLoader worker (pid 7)" in told(
        RuntimeError(killed)
    )
    assert "lower data.workers, or set data.workers=0" in told(RuntimeError(killed))
    bus = (
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's"
    )
    assert "docker run --shm-size 1g" in told(RuntimeError(bus))


def test_other_errors_pass() -> None:
    for error in (RuntimeError("size mismatch"), ResourceError("disk"), ValueError("x")):
        with pytest.raises(type(error)) as caught:  # noqa: SIM117
            with enough_memory(Config(), "step 1", training=True):
                raise error
        assert caught.value is error


def test_what_the_disk_refuses_names_path_reason_and_way_out() -> None:
    with pytest.raises(ResourceError, match=r"^a/b: cannot be written \(File too large\); make "):  # noqa: SIM117
        with writing(Path("a/b")):
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), "other")
    assert reason(OSError("no words")) == "no words"
    assert reason(OSError()) == "OSError"


def test_a_record_that_does_not_fit_the_disk_is_an_error_and_closing_is_none(
    tmp_path: Path,
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    log = JsonLog(tmp_path / "log.jsonl")
    log._file.close()
    log._file = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115
    with pytest.raises(OSError, match="No space left"):
        log.write("train", 1)
    log.close()


def test_an_output_that_cannot_be_written_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    check_output(tmp_path / "new" / "run")
    assert list((tmp_path / "new" / "run").iterdir()) == []
    with pytest.raises(ConfigError, match=r"run.output: nothing can be written into .*file/run"):
        check_output(tmp_path / "file" / "run")
    for name in ("file", "x" * 300):
        with pytest.raises(ConfigError, match=r"run\.output: .* cannot be used as a folder"):
            run_folder(tmp_path / name, resume=False)
    for name in (".", "..", "/"):
        with pytest.raises(ConfigError, match="expected the name of a new folder"):
            run_folder(name, resume=False)
    monkeypatch.setattr("fsr.train._loop._build", None)  # nothing is built
    arguments = ["--short", f"run.output={tmp_path / 'file' / 'run'}"]
    assert command.main(arguments, "fsr train") == command.BAD_OPTION
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "run.output: nothing can be written into" in error


def test_a_closed_terminal_ends_the_lines_and_not_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reading, write = os.pipe()
    os.close(reading)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        for _ in range(2):
            command._tell("a line")


class _Hung:
    """A bar on a terminal that is gone."""

    disable = False

    def update(self) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    write = set_postfix_str = update


def test_a_bar_on_a_terminal_that_is_gone_is_left_out() -> None:
    shown: list[str] = []
    screen, bar = Screen(shown.append), _Hung()
    screen._bar = bar
    screen.advance(0.5)
    assert (screen.has_bar, bar.disable) == (False, True)
    screen.advance(0.5)
    screen.evaluating(1, 2)
    screen.say("a line")
    assert shown == ["a line"]
    screen.close()


@pytest.mark.parametrize("number", STOPPING)
def test_every_signal_that_ends_a_run_asks_for_it_once(number: int) -> None:
    before = {each: signal.getsignal(each) for each in STOPPING}
    signal.signal(number, signal.default_int_handler)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), number)
            assert interrupt.asked
            with pytest.raises(SystemExit, match="130"):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_the_end_of_a_terminal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.asked
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_workers_leave_the_terminal_to_the_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", given.__setitem__)
    ignore_interrupts(0)
    assert given[signal.SIGHUP] == given[signal.SIGINT] == signal.SIG_IGN
    assert given[signal.SIGTERM] == signal.SIG_DFL


def test_other_threads_leave_signals_alone() -> None:
    asked: list[bool] = []

    def enter() -> None:
        with Interrupt() as interrupt:
            asked.append(interrupt.asked)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert asked == [False]


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_weights_that_are_not_finite_are_the_reason_whatever_a_component_says(kind: Any) -> None:
    student = torch.nn.Linear(1, 1)
    with pytest.raises(kind if kind is RuntimeError else ValueError, match="odd"):  # noqa: SIM117
        with _step._step_named(3, student):
            raise kind("odd")
    student.weight.data.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="step 3: weight of the student is not finite"):  # noqa: SIM117
        with _step._step_named(3, student):
            raise kind("odd")


@pytest.mark.parametrize("text", ["got nan", "expected finite values, got NaN or infinity", "-inf"])
def test_a_refusal_of_what_is_not_finite_is_told_as_such(text: str) -> None:
    with pytest.raises(NotFiniteError, match="step 4: "):  # noqa: SIM117
        with _step._step_named(3, torch.nn.Linear(1, 1)):
            raise ValueError(text)
