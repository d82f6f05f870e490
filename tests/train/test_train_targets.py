"""The trainer with targets that have a spread: its pace, its state, processes, and what is seen."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)

from safetensors.torch import load_file
from torch import nn

from fsr.errors import ConfigError
from fsr.losses import output_spread
from fsr.objective import TeacherTargets, Term
from fsr.presets import LOSS_TERMS
from fsr.teacher import unwrap
from fsr.train import Batch, build_student, load_config, run
from fsr.train._parts import Parts, _compile, build_accelerator, build_parts
from fsr.train._step import train_step
from tests.processes import FORKED
from tests.train.test_train import (
    _arguments,
    _fresh_accelerate,  # noqa: F401
    _losses,
    main,
    tiny,  # noqa: F401
)

SPREAD = ("preset.target=standardised", "preset.scale_momentum=0.81")
# What is slow and not asked about here.
QUICK = (
    "preset.energy_weight=0",
    "preset.refine_labels=false",
    "data.eval_size=1",
    "data.workers=0",
)


def build(tiny: Path, *overrides: str) -> Parts:  # noqa: F811
    """Build everything that a step touches."""
    config = load_config(tiny, overrides=overrides)
    student = build_student(config, [f"class {number}" for number in range(6)])
    return build_parts(config, student, build_accelerator(config))


def patch_targets(parts: Parts) -> TeacherTargets:
    """Return the targets of the patches."""
    found = [part for part in parts.objective.modules() if isinstance(part, TeacherTargets)]
    (patches,) = {part for part in found if part.rows == "patches"}
    return patches


def batch_of(seed: int) -> Batch:
    """Return two views of two images, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    view1, view2 = torch.randn(2, 2, 3, 32, 32, generator=generator)
    return Batch(view1, view2, torch.eye(6)[:2], {})


def spread_of(parts: Parts, batch: Batch) -> torch.Tensor:
    """Return the spread of the teacher's patch outputs around a centre of 0."""
    with torch.no_grad():
        teacher: Any = parts.teacher
        outputs = teacher(batch.view2, outputs=("projections",))
    return output_spread(outputs.projections[:, 1:])


@pytest.mark.parametrize("micro", [2, 4])
def test_the_spread_moves_at_the_pace_of_the_preset_whatever_the_micro_batches(
    micro: int,
    tiny: Path,  # noqa: F811
) -> None:
    # A centre that rests lets all micro-batches of the same images have one spread.
    more = [f"data.micro_batch={micro}", "preset.center_momentum=1.0", *SPREAD, *QUICK]
    parts = build(tiny, *more)
    assert parts.accumulation == 4 // micro
    scale = patch_targets(parts).scale
    assert scale is not None
    assert scale.momentum == pytest.approx(0.81 ** (micro / 4))
    expected = None
    for step, seed in enumerate((1, 2)):
        batch = batch_of(seed)
        own = spread_of(parts, batch)
        expected = own if expected is None else 0.81 * expected + 0.19 * own
        train_step(parts, step, [batch] * parts.accumulation, 0, 0.0, lambda: False)
        torch.testing.assert_close(scale.value, expected)
    # At the preset's own momentum for each micro-batch it would lie elsewhere.
    assert abs(float(own - expected)) > 1e-3


def test_a_resumed_run_has_the_spread_and_ends_the_same_to_the_last_bit(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder, resumed = tmp_path / "run", tmp_path / "resumed"
    more = [*SPREAD, *QUICK, "steps=4", "run.checkpoint_every=2"]
    assert main(_arguments(tiny, folder, *more)) == 0
    shutil.copytree(folder, resumed)
    shutil.rmtree(resumed / "checkpoints" / "step-00000004")
    assert main([*_arguments(tiny, resumed, *more), "--resume"]) == 0
    assert _losses(resumed) == _losses(folder)
    half, end, again = (
        load_file(path / "checkpoints" / f"step-0000000{step}" / "objective.safetensors")
        for path, step in ((folder, 2), (folder, 4), (resumed, 4))
    )
    spreads = [name for name in half if name.endswith("scale.value")]
    assert len(spreads) == 2
    for name in spreads:
        assert 0 < half[name] != end[name]
    assert again.keys() == end.keys()
    assert all(torch.equal(again[name], end[name]) for name in end)


def whole_run(rank: int, port: int, config: Path, overrides: list[str]) -> None:
    """Make one process's part of a run of two."""
    torch.set_num_threads(1)
    os.environ |= {
        "ACCELERATE_USE_CPU": "true",  # where there is a GPU, too
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    run(load_config(config, overrides=overrides))


@pytest.mark.slow
def test_two_processes_with_entropy_masks_draw_the_sheet_and_end(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    # The sheet is drawn by one process while the other is done: what asks both would wait for good.
    folder = tmp_path / "run"
    options = ["preset.mask_strategy=entropy", *SPREAD, *QUICK, "run.sheet_images=1"]
    options += ["steps=2", "eval.every=2", f"run.output={folder}"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        FORKED.Process(target=whole_run, args=(rank, port, tiny, options)) for rank in range(2)
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=240)
        assert [process.exitcode for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    assert (folder / "sheet.png").is_file()
    assert [step["step"] for step in _losses(folder)] == [1, 2]


class Showy(Term):
    """A term that leaves scalars under names that are taken, and one that is not."""

    name = "showy"

    def forward(self, step: Any) -> torch.Tensor:
        taken = (*LOSS_TERMS, "total", "masked", "showy", "mine")
        step.seen |= {name: torch.tensor(99.0) for name in taken}
        step.seen["map"] = torch.zeros(2, 2)
        return torch.tensor(3.0)


def test_what_a_part_leaves_to_be_seen_overwrites_no_term_in_the_log(
    tiny: Path,  # noqa: F811
) -> None:
    plain, parts = build(tiny), build(tiny)
    parts.objective = type(parts.objective)(
        parts.objective.student, parts.teacher, preset=parts.objective.preset, terms=[Showy()]
    )
    logged, expected = (
        train_step(each, 0, [batch_of(1)], 0, 0.0, lambda: False).read() for each in (parts, plain)
    )
    for name in (*LOSS_TERMS, "masked"):
        assert logged[name] == expected[name] != 99.0
    assert logged["total"] == pytest.approx(expected["total"] + 3.0, rel=1e-6)
    assert logged["showy"] == 3.0
    assert logged["mine"] == 99.0
    assert "map" not in logged


def test_blocks_of_student_and_teacher_are_compiled_when_asked(tiny: Path) -> None:  # noqa: F811
    for asked in (False, True):
        parts = build(tiny, f"run.compile_blocks={str(asked).lower()}")
        networks = [unwrap(parts.objective.student), parts.teacher.module]
        for network in networks:
            blocks = list(network.backbone.model.blocks)
            assert all((block._compiled_call_impl is not None) is asked for block in blocks)


def test_an_encoder_without_blocks_is_refused_by_the_options_name() -> None:
    with pytest.raises(ConfigError, match=r"run\.compile_blocks: expected a transformer encoder"):
        _compile(nn.Linear(1, 1))
