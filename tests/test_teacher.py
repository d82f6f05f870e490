"""EMATeacher: the average, its two exact ends, wrappers, modes and processes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from fsr.schedules import cosine
from fsr.teacher import EMATeacher, unwrap
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)
from tests.processes import run_together


def network() -> nn.Sequential:
    """A few layers with parameters, frozen parameters, float and integer buffers, and dropout."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model[3].bias.requires_grad_(False)
    return model


def shift(model: nn.Module, seed: int = 1) -> None:
    """Move all parameters and buffers, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        model[1].running_mean += 1
        model[1].num_batches_tracked += 3


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def assert_equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_three_updates_match_plain_arithmetic() -> None:
    student = network().double()
    teacher = EMATeacher(student, momentum=0.75)
    expected = {name: p.detach().numpy().copy() for name, p in student.named_parameters()}
    for seed in range(3):
        shift(student, seed)
        teacher.update(student)
        for name, parameter in student.named_parameters():
            flat, new = expected[name].reshape(-1), parameter.detach().numpy().reshape(-1)
            for i in range(flat.size):
                flat[i] = 0.75 * flat[i] + 0.25 * new[i]
    for name, parameter in teacher.module.named_parameters():
        np.testing.assert_allclose(parameter.numpy(), expected[name], rtol=1e-12)


def test_buffers_are_copied_not_averaged() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=0.9995)
    shift(student)
    teacher.update(student)
    assert_equal(dict(teacher.module.named_buffers()), dict(student.named_buffers()))
    assert teacher.module[1].num_batches_tracked.dtype == torch.int64


def test_buffers_follow_at_momentum_one_while_parameters_stay() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=1.0)
    before = parameters_of(teacher.module)
    shift(student)
    teacher.update(student)
    assert_equal(parameters_of(teacher.module), before)
    assert torch.equal(teacher.module[1].running_mean, student[1].running_mean)


@given(st.integers(0, 1000), st.floats(1e-3, 1e6))
def test_momentum_one_changes_nothing_and_zero_copies(seed: int, size: float) -> None:
    student = network()
    still, copying = EMATeacher(student, momentum=1), EMATeacher(student, momentum=0)
    before = parameters_of(student)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * size
            )
    still.update(student)
    copying.update(student)
    assert_equal(parameters_of(still.module), before)
    assert_equal(parameters_of(copying.module), parameters_of(student))


@given(st.floats(0.0, 1.0), st.integers(0, 1000))
def test_the_average_lies_between_teacher_and_student(momentum: float, seed: int) -> None:
    student = network()
    teacher = EMATeacher(student, momentum=momentum)
    before = parameters_of(student)
    shift(student, seed)
    teacher.update(student)
    for name, mean in teacher.module.named_parameters():
        low = torch.minimum(before[name], student.get_parameter(name)) - 1e-6
        high = torch.maximum(before[name], student.get_parameter(name)) + 1e-6
        assert bool(((mean >= low) & (mean <= high)).all())


def test_nan_in_the_teacher_does_not_survive_a_copy_nor_nan_in_the_student_a_halt() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=0.0)
    with torch.no_grad():
        teacher.module[0].weight.fill_(torch.nan)
    teacher.update(student)
    assert_equal(parameters_of(teacher.module), parameters_of(student))
    teacher.momentum = 1.0
    with torch.no_grad():
        student[0].weight.fill_(torch.nan)
    teacher.update(student)
    assert bool(torch.isfinite(teacher.module[0].weight).all())


def test_frozen_parameters_of_the_student_are_followed() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=0.5)
    before = student[3].bias.detach().clone()
    with torch.no_grad():
        student[3].bias.add_(2)
    teacher.update(student)
    torch.testing.assert_close(teacher.module[3].bias, before + 1)


def test_integer_parameters_are_copied() -> None:
    student = nn.Module()
    student.table = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
    teacher = EMATeacher(student, momentum=0.9)
    student.table.add_(5)
    teacher.update(student)
    assert teacher.module.table.tolist() == [6, 7]


def test_tied_parameters_move_once() -> None:
    student = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    student[1].weight = student[0].weight
    teacher = EMATeacher(student, momentum=0.5)
    before = student[0].weight.detach().clone()
    with torch.no_grad():
        student[0].weight.add_(2)
    teacher.update(student)
    assert teacher.module[1].weight is teacher.module[0].weight
    torch.testing.assert_close(teacher.module[0].weight, before + 1)


def test_momentum_may_be_a_function_of_the_step() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=cosine(0.0, 1.0, total_steps=10))
    shift(student)
    teacher.update(student, step=10)
    assert not torch.equal(teacher.module[0].weight, student[0].weight)
    teacher.update(student, step=0)
    assert torch.equal(teacher.module[0].weight, student[0].weight)


def test_a_copy_is_made_and_the_student_stays_as_it_was() -> None:
    student = network().train()
    teacher = EMATeacher(student)
    assert student.training
    assert student[0].weight.requires_grad
    before = parameters_of(teacher.module)
    shift(student)
    assert_equal(parameters_of(teacher.module), before)


def test_a_parents_train_does_not_wake_the_teacher() -> None:
    parent = nn.ModuleList([EMATeacher(network())])
    parent.train()
    assert not any(module.training for module in parent[0].modules())
    x = torch.randn(8, 3)
    assert torch.equal(parent[0](x), parent[0](x))


def test_reaching_inside_does_not_wake_it_either() -> None:
    teacher = EMATeacher(network())
    teacher.module.train()
    x = torch.randn(8, 3)
    assert torch.equal(teacher(x), teacher(x))
    assert torch.equal(teacher.module[1].running_mean, torch.zeros(4))


def test_forward_needs_no_gradient_even_for_inputs_that_do() -> None:
    teacher = EMATeacher(network())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher(torch.randn(2, 3, requires_grad=True)).requires_grad


def test_forward_passes_keywords_and_any_result() -> None:
    class Wide(nn.Module):
        def forward(self, x: Tensor, *, scale: float) -> dict[str, Tensor]:
            return {"y": x * scale}

    assert EMATeacher(Wide())(torch.ones(1), scale=3.0)["y"].item() == 3.0


@pytest.mark.parametrize("wrapped_at_start", [False, True])
def test_compiled_and_data_parallel_students_match_by_name(wrapped_at_start: bool) -> None:
    def compiled(model: nn.Module) -> Any:
        return torch.compile(model, backend="eager")

    wraps: list[Callable[[nn.Module], Any]] = [
        compiled,
        DataParallel,
        lambda m: DataParallel(compiled(m)),
        lambda m: compiled(DataParallel(m)),
    ]
    for wrap in wraps:
        student = network()
        wrapped = wrap(student)
        teacher = EMATeacher(wrapped if wrapped_at_start else student, momentum=0.0)
        assert type(teacher.module) is nn.Sequential
        shift(student)
        teacher.update(wrapped)
        assert_equal(parameters_of(teacher.module), parameters_of(student))
        assert unwrap(wrapped) is student


def test_a_compiled_submodule_matches_by_name() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=0.0)
    student[0] = torch.compile(student[0], backend="eager")  # type: ignore[assignment]
    shift(student)
    teacher.update(student)
    assert torch.equal(teacher.module[0].weight, student[0].weight)


def test_a_child_called_module_is_no_wrapper() -> None:
    student = nn.Module()
    student.module = nn.Linear(2, 2)
    student.head = nn.Linear(2, 2)
    assert set(parameters_of(EMATeacher(student).module)) == set(parameters_of(student))


def test_a_float32_teacher_follows_a_half_precision_student() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=0.9995)
    student.bfloat16()
    shift(student)
    before = parameters_of(teacher.module)["0.weight"]
    teacher.update(student)
    after = teacher.module[0].weight
    assert after.dtype == torch.float32
    expected = 0.9995 * before + 0.0005 * student[0].weight.float()
    torch.testing.assert_close(after, expected)


def test_float64_stays_float64() -> None:
    student = network().double()
    teacher = EMATeacher(student, momentum=0.9995)
    shift(student)
    teacher.update(student)
    assert teacher(torch.randn(2, 3, dtype=torch.float64)).dtype == torch.float64


def test_forward_follows_autocast() -> None:
    teacher = EMATeacher(nn.Linear(3, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert teacher(torch.randn(2, 3)).dtype == torch.bfloat16


def test_it_follows_its_device(device: torch.device) -> None:
    student = network().to(device)
    teacher = EMATeacher(student, momentum=0.5)
    before = parameters_of(student)["0.weight"]
    shift(student.cpu())
    student.to(device)
    teacher.update(student)
    expected = (before + student[0].weight) / 2
    torch.testing.assert_close(teacher.module[0].weight, expected)
    assert teacher.module[0].weight.device.type == device.type


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_it_compiles(backend: str) -> None:
    assert_compiles(EMATeacher(network()), torch.randn(4, 3), backend=backend)


def test_state_dict_round_trip_and_deepcopy() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=cosine(0.5, 1.0, 10))
    shift(student)
    teacher.update(student, step=3)
    x = torch.randn(4, 3)
    assert_state_dict_round_trip(teacher, lambda: EMATeacher(network()), x)
    assert_deepcopy_after_forward(teacher, x)
    assert_pickles(teacher, x)
    twin = copy.deepcopy(teacher)
    for each in (teacher, twin):
        each.update(student, step=4)
    assert_equal(parameters_of(teacher.module), parameters_of(twin.module))
    assert all(name.startswith("module.") for name in teacher.state_dict())


def test_a_network_without_parameters_is_followed() -> None:
    EMATeacher(nn.ReLU()).update(nn.ReLU())


def test_options_are_shown() -> None:
    assert "momentum=cosine(start=0.5, end=1.0, total_steps=3)" in repr(
        EMATeacher(nn.ReLU(), cosine(0.5, 1.0, 3))
    )


def test_bad_arguments_are_refused_by_name() -> None:
    student = network()
    with pytest.raises(TypeError, match="student: expected a module, got int"):
        EMATeacher(3)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"momentum: expected a number in \[0.0, 1.0\], got 1.1"):
        EMATeacher(student, momentum=1.1)
    with pytest.raises(ValueError, match=r"momentum: .* got nan"):
        EMATeacher(student, momentum=float("nan"))
    with pytest.raises(TypeError, match="momentum: expected a number, got str"):
        EMATeacher(student, momentum="0.9")  # type: ignore[call-overload]
    teacher = EMATeacher(student, momentum=lambda step: 1 - step)
    with pytest.raises(ValueError, match=r"momentum at step 5: .* got -4"):
        teacher.update(student, step=5)
    with pytest.raises(TypeError, match="student: expected a module, got OrderedDict"):
        teacher.update(student.state_dict())  # type: ignore[arg-type]


def test_a_momentum_out_of_range_leaves_the_teacher_untouched() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=lambda step: 2.0)
    before = parameters_of(teacher.module)
    shift(student)
    with pytest.raises(ValueError, match="momentum at step 0"):
        teacher.update(student)
    assert_equal(parameters_of(teacher.module), before)


def test_another_network_is_refused_with_the_names_that_differ() -> None:
    teacher = EMATeacher(nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}))
    with pytest.raises(ValueError, match=r"\[b.bias, b.weight\] missing and \[c.weight\] unexp"):
        teacher.update(nn.ModuleDict({"a": nn.Linear(2, 2), "c": nn.Linear(2, 2, bias=False)}))
    with pytest.raises(
        ValueError, match=r"student: expected a.weight of shape \(2, 2\), got \(2, 3\)"
    ):
        teacher.update(nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(2, 2)}))
    many = nn.ModuleList([nn.Linear(1, 1) for _ in range(4)])
    with pytest.raises(ValueError, match=r"1.weight, 2.bias, 2.weight\] and 2 more missing"):
        EMATeacher(many).update(nn.ModuleList([nn.Linear(1, 1, bias=False)]))
    with pytest.raises(ValueError, match=r"running_mean, running_var\] missing"):
        EMATeacher(nn.BatchNorm1d(2)).update(nn.BatchNorm1d(2, track_running_stats=False))


def train_one_process(rank: int, world: int, folder: str) -> None:
    """Train a DDP student for three steps on this process's share and save its teacher."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    try:
        torch.manual_seed(0)
        student = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        data = torch.randn(3, 4, 3)
        share = data.chunk(world, dim=1)[rank]
        teacher = EMATeacher(student, momentum=0.5)
        wrapped = DistributedDataParallel(student)
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
        for step in range(3):
            optimizer.zero_grad()
            wrapped(share[step]).square().mean().backward()
            optimizer.step()
            teacher.update(wrapped, step)
        torch.save(teacher.state_dict(), f"{folder}/{world}_{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_teachers_of_two_processes_stay_equal_and_equal_to_one(tmp_path: Path) -> None:
    run_together(train_one_process, 2, str(tmp_path))
    (tmp_path / "rendezvous").unlink(missing_ok=True)
    train_one_process(0, 1, str(tmp_path))
    first, second, alone = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("2_0", "2_1", "1_0")
    )
    assert_equal(first, second)
    for name, tensor in alone.items():
        torch.testing.assert_close(first[name], tensor)


def test_a_network_that_has_changed_since_is_matched_anew_or_refused() -> None:
    student = network()
    teacher = EMATeacher(student, momentum=0.0)
    teacher.update(student)
    student[3] = nn.Linear(4, 2)
    teacher.update(student)
    assert_equal(parameters_of(teacher.module), parameters_of(student))
    student.append(nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"\[\] missing and \[4.bias, 4.weight\] unexpected"):
        teacher.update(student)
    del student[4]
    student[3].register_parameter("bias", None)
    with pytest.raises(ValueError, match=r"\[3.bias\] missing"):
        teacher.update(student)


def test_a_tie_on_one_side_alone_is_refused() -> None:
    student = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    teacher = EMATeacher(student)
    student[1].weight = student[0].weight
    with pytest.raises(ValueError, match=r"\[1.weight\] missing"):
        teacher.update(student)
    teacher, student = EMATeacher(student), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"\[1.weight\] unexpected"):
        teacher.update(student)
