"""Steps whose numbers come later, as they do on a GPU: what is read when, and what is kept."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr._core.values import values_unread
from fsr.cli import _train as command
from fsr.errors import NotFiniteError
from fsr.objective import TrainingObjective
from fsr.train import _loop, _step
from fsr.train._launched import LEAST_SCALE, SCALE, Launched, Numbers
from tests.train.test_train import (
    _arguments,
    _fresh_accelerate,  # noqa: F401
    _losses,
    _newest,
    main,
    tiny,  # noqa: F401
)
from tests.train.test_train_targets import batch_of, build

# What a device must have finished before the host goes on.
WAITS = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "unique")


class Waits(TorchDispatchMode):
    """Notes every operation for which the host would wait for a device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the operation, or that a mask picks elements, whose number the host must know."""
        name = func.overloadpacket.__name__
        picks = name.startswith("index") and len(args) > 1 and isinstance(args[1], (list, tuple))
        picked = picks and any(
            isinstance(place, Tensor) and place.dtype == torch.bool for place in args[1]
        )
        if name.startswith(WAITS) or picked:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class Late(Numbers):
    """Numbers that are not at hand, as those of a GPU."""

    def __init__(self, values: Tensor) -> None:
        super().__init__(values)
        self.at_hand = False


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train as where the numbers of a step come while the next is under way."""
    monkeypatch.setattr(_step, "Numbers", Late)


def elsewhere(device: torch.device) -> Any:
    """Read no values, whatever the device."""
    return values_unread(torch.device("cuda"))


@pytest.mark.parametrize("preset", ["fast", "reference", "paper"])
def test_a_step_waits_for_a_device_once_for_each_micro_batch_at_most(
    preset: str,
    tiny: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = build(tiny, f"preset.base={preset}", "data.micro_batch=2", "optim.name=sgd")
    monkeypatch.setattr(_step, "values_unread", elsewhere)
    for step in (0, 11):  # the first and the last phase
        with Waits() as waits:
            launched = _step.train_step(parts, step, [batch_of(1)] * 2, 0, 0.0, lambda: False)
        # The number of classes that an image shows decides how many maps are refined.
        assert waits.found in ([], ["_local_scalar_dense"] * 2)
        assert launched.read()["total"] > 0


def test_waits_are_noticed(tiny: Path) -> None:  # noqa: F811
    parts = build(tiny, "data.micro_batch=2")
    with Waits() as waits:
        _step.train_step(parts, 11, [batch_of(1)] * 2, 0, 0.0, lambda: False)
    assert len(waits.found) > 5


@pytest.mark.usefixtures("late")
def test_late_numbers_leave_the_log_of_a_run_whose_numbers_are_at_hand(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, plain = tmp_path / "late", tmp_path / "plain"
    short = ("steps=5", "eval.every=3", "run.checkpoint_every=2")
    assert main(_arguments(tiny, folder, *short)) == 0
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    monkeypatch.setattr(_step, "Numbers", Numbers)
    assert main(_arguments(tiny, plain, *short)) == 0
    assert _losses(folder) == _losses(plain)
    assert (folder / "student.safetensors").read_bytes() == (
        plain / "student.safetensors"
    ).read_bytes()


@pytest.mark.usefixtures("late")
def test_a_step_is_read_while_the_next_is_under_way(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[tuple[str, int]] = []
    original, read = _step.train_step, Launched.read

    def launching(parts: Any, step: int, *rest: Any) -> Launched:
        order.append(("launched", step))
        return original(parts, step, *rest)

    def reading(self: Launched) -> dict[str, Any]:
        order.append(("read", self.step))
        return read(self)

    monkeypatch.setattr(_loop, "train_step", launching)
    monkeypatch.setattr(Launched, "read", reading)
    assert main(_arguments(tiny, tmp_path / "run", "steps=3")) == 0
    assert order == [
        ("launched", 0),
        ("launched", 1),
        ("read", 0),
        ("launched", 2),
        ("read", 1),
        ("read", 2),
    ]


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize(("step", "kept"), [(6, 5), (4, None)])
def test_a_late_nan_is_told_by_its_step_and_never_saved(
    step: int,
    kept: int | None,
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forward = TrainingObjective.forward

    def poisoned(self: TrainingObjective, *args: Any, step: int, **kwargs: Any) -> Any:
        output = forward(self, *args, step=step, **kwargs)
        if step != wrong:
            return output
        bad = output.segmentation * float("nan")
        return output._replace(segmentation=bad, total=output.total + bad)

    wrong, folder = step, tmp_path / "run"
    monkeypatch.setattr(TrainingObjective, "forward", poisoned)
    assert main(_arguments(tiny, folder)) == command.NOT_FINITE
    assert f"step {wrong + 1}: the segmentation loss is nan" in capsys.readouterr().err
    assert f"Stopped after step {wrong} of 12: step" in (folder / "report.html").read_text()
    assert len(_losses(folder)) == wrong
    if kept is None:
        assert not list((folder / "checkpoints").glob("step-*"))
    else:
        assert _newest(folder).name == f"step-{kept:08d}"


@pytest.mark.usefixtures("late")
def test_a_signal_is_followed_a_step_later(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, original = tmp_path / "run", _step.train_step

    def interrupted(parts: Any, step: int, *rest: Any) -> Launched:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return original(parts, step, *rest)

    monkeypatch.setattr(_loop, "train_step", interrupted)
    assert main(_arguments(tiny, folder)) == 130
    assert _newest(folder).name == "step-00000004"
    assert len(_losses(folder)) == 4


@pytest.mark.parametrize(("scale", "told"), [(None, True), (1.0, False), (LEAST_SCALE / 2, True)])
def test_an_infinite_gradient_is_skipped_by_fp16_but_not_for_ever(
    scale: float | None, told: bool
) -> None:
    names = ["total", "gradient_norm", *([] if scale is None else [SCALE])]
    values = torch.tensor([1.0, torch.inf, *([] if scale is None else [scale])])
    launched = Launched(3, names, Numbers(values), ["total"], {"momentum": None})
    if told:
        with pytest.raises(NotFiniteError, match=r"step 4: the gradient.* is inf"):
            launched.read()
    else:
        assert launched.read() == {"total": 1.0, "gradient_norm": torch.inf, "momentum": None}
