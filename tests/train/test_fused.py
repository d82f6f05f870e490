"""The fused optimiser of GPUs, on a CPU: states of earlier checkpoints, and resumed runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import Optimizer

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from accelerate.state import AcceleratorState, GradientState

from fsr.train import _loop, _parts, _step, load_config
from fsr.train._launched import Launched
from fsr.train._optimizer import build_optimizer
from fsr.train._state import restore, save_checkpoint
from tests.train.test_train import (
    _arguments,
    _fresh_accelerate,  # noqa: F401
    _losses,
    main,
    tiny,  # noqa: F401
)


def stepped(optimizer: Optimizer, seed: int) -> None:
    """Make a step with gradients of a seed."""
    generator = torch.Generator().manual_seed(seed)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


@pytest.mark.parametrize("fused", [False, True])
def test_either_optimizer_goes_on_from_the_state_of_the_other(
    fused: bool,
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    config = load_config(tiny)
    networks, optimizers = [], []
    for each in (fused, not fused):
        networks.append(_parts.build_student(config, ["cat", "dog"]))
        optimizers.append(build_optimizer(config, networks[-1], fused=each))
        assert bool(optimizers[-1].defaults["fused"]) is each
    stepped(optimizers[0], 1)
    saved: dict[str, Any] = {"modules": {"student": networks[0]}, "optimizer": optimizers[0]}
    folder = save_checkpoint(tmp_path, 1, **saved, state={}, keep=1)
    restore(folder, modules={"student": networks[1]}, optimizer=optimizers[1])
    for optimizer in optimizers:
        stepped(optimizer, 2)
    for ours, theirs in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    counts = {state["step"].item() for o in optimizers for state in o.state.values()}
    assert counts == {2.0}


def test_a_resumed_run_ends_the_same_to_the_last_bit(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fused(config: Any, student: Any, **options: bool) -> Optimizer:
        return build_optimizer(config, student, fused=True)

    monkeypatch.setattr(_parts, "build_optimizer", fused)
    whole, cut, original = tmp_path / "whole", tmp_path / "cut", _step.train_step

    def stops(parts: Any, step: int, *rest: Any) -> Launched:
        if step == 3:
            raise SystemExit
        return original(parts, step, *rest)

    def fresh() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    short = ("steps=5", "run.checkpoint_every=2")
    assert main(_arguments(tiny, whole, *short)) == 0
    fresh()
    with monkeypatch.context() as patch:
        patch.setattr(_loop, "train_step", stops)
        with pytest.raises(SystemExit):
            main(_arguments(tiny, cut, *short))
    fresh()
    assert main([*_arguments(tiny, cut, *short), "--resume"]) == 0
    assert _losses(cut) == _losses(whole)
    assert (cut / "student.safetensors").read_bytes() == (
        whole / "student.safetensors"
    ).read_bytes()
