"""SelfReinforcementLoss: Eq. 8 and 9, the centres, and two processes against one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import (
    Center,
    SelfReinforcementLoss,
    confident_loss,
    teacher_distribution,
    uncertain_loss,
)
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)
from tests.processes import run_together

Case = tuple[Tensor, Tensor, Tensor, Tensor]
Floats = NDArray[np.float64]


def make_case(
    batch: int = 2, count: int = 6, dim: int = 5, dtype: torch.dtype = torch.float64
) -> Case:
    """Student, teacher of view 1, teacher of view 2, and a mask of 1, 3, 5, ... tokens."""
    student, view1, view2 = torch.randn(3, batch, 1 + count, dim, dtype=dtype)
    mask = torch.arange(count) <= 2 * torch.arange(batch).unsqueeze(1)
    return student, view1, view2, mask


# -- what it computes -----------------------------------------------------------------------------


def softmax(row: Floats) -> Floats:
    weights = np.exp(row - row.max())
    return weights / weights.sum()


def cross_entropy(target: Floats, row: Floats) -> float:
    predicted = softmax(row)
    return -sum(float(target[k]) * float(np.log(predicted[k])) for k in range(len(row)))


def reference(
    student: Floats,
    view1: Floats,
    view2: Floats,
    mask: NDArray[np.bool_],
    centers: tuple[Floats, Floats],
    temperatures: tuple[float, float] = (0.1, 0.07),
) -> tuple[float, float]:
    """Eq. 8 and Eq. 9 in plain loops, with the centring and sharpening that the text names."""
    batch, rows, _ = student.shape
    cold, warm = temperatures
    uncertain, confident = 0.0, 0.0
    for b in range(batch):
        terms = [
            cross_entropy(softmax((view2[b, i] - centers[1]) / warm), student[b, i] / cold)
            for i in range(1, rows)
            if mask[b, i - 1]
        ]
        uncertain += sum(terms) / max(len(terms), 1)
        confident += cross_entropy(softmax((view1[b, 0] - centers[0]) / warm), student[b, 0] / cold)
    return uncertain / batch, confident / batch


def test_three_steps_match_plain_loops() -> None:
    loss = SelfReinforcementLoss(5, student_temperature=0.2, center_momentum=0.75).double()
    centers = (np.zeros(5), np.zeros(5))
    for _ in range(3):
        case = make_case()
        student, view1, view2, mask = (tensor.numpy() for tensor in case)
        expected = reference(student, view1, view2, mask, centers, (0.2, 0.05))
        actual = loss(*case, teacher_temperature=0.05)
        np.testing.assert_allclose([actual.uncertain, actual.confident], expected, rtol=1e-12)
        # The centres move after the value, by every token of every image, masked or not.
        means = np.zeros(5), np.zeros(5)
        for b in range(2):
            means[0][:] += view1[b, 0] / 2
            for i in range(1, 7):
                means[1][:] += view2[b, i] / 12
        centers = 0.75 * centers[0] + 0.25 * means[0], 0.75 * centers[1] + 0.25 * means[1]
        np.testing.assert_allclose(loss.class_center.value, centers[0], rtol=1e-12)
        np.testing.assert_allclose(loss.patch_center.value, centers[1], rtol=1e-12)


def test_three_steps_match_the_released_code(parity: Callable[[str], dict[str, Tensor]]) -> None:
    arrays = parity("fsr_loss")
    start, end, points = (
        arrays[key].item() for key in ("teacher_temp_warmup", "teacher_temp", "warmup_steps")
    )
    loss = SelfReinforcementLoss(
        32,
        student_temperature=arrays["student_temp"].item(),
        center_momentum=arrays["center_momentum"].item(),
    )
    for i in range(3):
        step = {k[3:]: v for k, v in arrays.items() if k.startswith(f"s{i}_")}
        temperature = start + (end - start) * min(step["step"].item() / (points - 1), 1.0)
        student = step["student2"].clone().requires_grad_()
        mask = step["mask"].flatten(1)
        uncertain, confident = loss(student, step["teacher1"], step["teacher2"], mask, temperature)
        (confident + 2 * uncertain).backward()
        close = {"rtol": 1e-5, "atol": 1e-6}
        torch.testing.assert_close(uncertain, step["uncertain"], **close)
        torch.testing.assert_close(confident, step["confident"], **close)
        expected = step["grad_of_confident_plus_2_uncertain"]
        torch.testing.assert_close(student.grad, expected, **close)
        for name in ("class_center", "patch_center"):
            center = step[f"{name}_after"].flatten()
            torch.testing.assert_close(getattr(loss, name).value, center, **close)


def test_gradient_is_that_of_finite_differences() -> None:
    student, view1, view2, mask = make_case()
    loss = SelfReinforcementLoss(5, student_temperature=0.5).double().eval()
    assert torch.autograd.gradcheck(
        lambda s: loss(s, view1, view2, mask, 0.3), student.requires_grad_()
    )


def test_a_student_that_equals_the_teacher_leaves_the_entropy() -> None:
    outputs = torch.randn(2, 4, 5, dtype=torch.float64)
    target = teacher_distribution(outputs, torch.zeros(5), 0.1)
    mask = torch.ones(2, 4, dtype=torch.bool)
    entropy = -(target * target.log()).sum(-1)
    torch.testing.assert_close(uncertain_loss(outputs, target, mask, 0.1), entropy.mean())
    torch.testing.assert_close(confident_loss(outputs[:, 0], target[:, 0]), entropy[:, 0].mean())
    worse = uncertain_loss(outputs.flip(-1), target, mask, 0.1)
    assert worse > uncertain_loss(outputs, target, mask, 0.1)


# -- what it reads and what it does not -----------------------------------------------------------


def test_only_masked_tokens_and_the_aggregated_token_receive_gradient() -> None:
    student, view1, view2, mask = make_case()
    uncertain, confident = SelfReinforcementLoss(5).double()(
        student.requires_grad_(), view1, view2, mask
    )
    (of_uncertain,) = torch.autograd.grad(uncertain, student, retain_graph=True)
    (of_confident,) = torch.autograd.grad(confident, student)
    assert torch.equal(of_uncertain[:, 1:].abs().sum(-1) > 0, mask)
    assert of_uncertain[:, 0].abs().sum() == 0
    assert of_confident[:, 0].abs().sum() > 0
    assert of_confident[:, 1:].abs().sum() == 0


def test_teacher_receives_no_gradient() -> None:
    student, view1, view2, mask = make_case()
    view1.requires_grad_()
    view2.requires_grad_()
    losses = SelfReinforcementLoss(5).double()(student.requires_grad_(), view1, view2, mask)
    sum(losses).backward()
    assert view1.grad is None
    assert view2.grad is None
    assert not teacher_distribution(view1, torch.zeros(5), 0.1).requires_grad
    target = torch.full((2, 5), 0.2, dtype=torch.float64, requires_grad=True)
    confident_loss(student[:, 0], target).backward()
    assert target.grad is None


def test_images_do_not_influence_each_other() -> None:
    case = make_case(batch=3)
    loss = SelfReinforcementLoss(5).double().eval()
    alone = [loss(*(tensor[b : b + 1] for tensor in case)) for b in range(3)]
    together = loss(*case)
    torch.testing.assert_close(together.uncertain, sum(a.uncertain for a in alone) / 3)
    torch.testing.assert_close(together.confident, sum(a.confident for a in alone) / 3)


def test_renaming_the_projection_axes_changes_nothing() -> None:
    *views, mask = make_case()
    order = torch.tensor([3, 0, 4, 1, 2])
    loss, renamed = SelfReinforcementLoss(5).double(), SelfReinforcementLoss(5).double()
    for _ in range(2):
        student, first, second = views
        expected = loss(student, first, second, mask)
        student, first, second = (view[..., order] for view in views)
        actual = renamed(student, first, second, mask)
        torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(renamed.patch_center.value, loss.patch_center.value[order])


def test_subtracting_the_centre_evens_out_the_teacher() -> None:
    outputs = torch.tensor([[2.0, 0.0, 0.0], [2.0, 0.1, 0.0]])
    plain = teacher_distribution(outputs, torch.zeros(3), 0.5)
    centred = teacher_distribution(outputs, outputs.mean(0), 0.5)
    assert plain[:, 0].min() > 0.9
    assert centred.max() < 0.4
    assert teacher_distribution(outputs, torch.zeros(3), 0.05)[:, 0].min() > plain[:, 0].max()


# -- nothing to do, and extreme values ------------------------------------------------------------


def test_empty_mask_gives_an_attached_zero() -> None:
    student, view1, view2, mask = make_case(batch=1)
    loss = SelfReinforcementLoss(5).double()
    uncertain, confident = loss(student.requires_grad_(), view1, view2, torch.zeros_like(mask))
    assert uncertain == 0
    assert confident > 0
    uncertain.backward()
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_image_without_masked_tokens_counts_as_zero() -> None:
    student, view1, view2, mask = make_case()
    loss = SelfReinforcementLoss(5).double().eval()
    mask[0] = False
    both = loss(student, view1, view2, mask)
    second = loss(student[1:], view1[1:], view2[1:], mask[1:])
    torch.testing.assert_close(both.uncertain, second.uncertain / 2)


@given(
    seed=st.integers(0, 2**16),
    magnitude=st.sampled_from([0.0, 1e-30, 1.0, 1e4, 1e30]),
    masked=st.floats(0.0, 1.0),
)
def test_never_nan_for_finite_input(seed: int, magnitude: float, masked: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    student, view1, view2 = magnitude * torch.randn(3, 2, 5, 4, generator=generator)
    mask = torch.rand(2, 4, generator=generator) < masked
    loss = SelfReinforcementLoss(4)
    student.requires_grad_()
    for _ in range(2):
        losses = loss(student, view1, view2, mask, 0.04)
        assert min(losses) >= 0
        assert torch.isfinite(torch.stack(losses)).all()
        (gradient,) = torch.autograd.grad(sum(losses), student)
        assert torch.isfinite(gradient).all()
    assert torch.isfinite(loss.patch_center.value).all()


# -- the centres ----------------------------------------------------------------------------------


def test_centres_rest_in_eval_mode_and_move_in_training_mode() -> None:
    case = make_case()
    loss = SelfReinforcementLoss(5).double().eval()
    first, second = loss(*case), loss(*case)
    assert first == second
    assert loss.class_center.value.abs().max() == 0
    assert loss.patch_center.value.abs().max() == 0
    loss.train()
    assert loss(*case) == first, "the centres move after the value"
    assert loss.class_center.value.abs().max() > 0
    assert loss.patch_center.value.abs().max() > 0
    assert loss(*case) != first


def test_centre_momentum_at_its_ends() -> None:
    outputs = torch.randn(2, 3, 4)
    fixed, last = Center(4, momentum=1.0), Center(4, momentum=0.0)
    for center in (fixed, last):
        center.update(torch.randn(7, 4))
        center.update(outputs)
    assert torch.equal(fixed.value, torch.zeros(4))
    torch.testing.assert_close(last.value, outputs.mean((0, 1)))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_centres_never_fall_to_half_precision(half: torch.dtype) -> None:
    loss = SelfReinforcementLoss(5)
    loss(*make_case(dtype=torch.float32))
    before = loss.patch_center.value.clone()
    loss.to(half)
    assert loss.patch_center.value.dtype == torch.float32
    assert torch.equal(loss.patch_center.value, before), "nothing was rounded on the way"
    assert loss.double().patch_center.value.dtype == torch.float64


# -- types, copies, compilation -------------------------------------------------------------------


def test_float64_stays_float64_also_with_float32_centres(device: torch.device) -> None:
    case = tuple(tensor.to(device) for tensor in make_case())
    losses = SelfReinforcementLoss(5).to(device)(*case)
    assert {value.dtype for value in losses} == {torch.float64}
    assert {value.device.type for value in losses} == {device.type}


def test_half_precision_is_computed_in_float32(device: torch.device) -> None:
    *views, mask = (tensor.to(device) for tensor in make_case(dtype=torch.bfloat16))
    loss = SelfReinforcementLoss(5).to(device).eval()
    student, first, second = views
    losses = loss(student, first, second, mask)
    exact = loss(student.float(), first.float(), second.float(), mask)
    assert {value.dtype for value in losses} == {torch.float32}
    assert losses == exact


def test_autocast_changes_nothing(device: torch.device) -> None:
    case = tuple(tensor.to(device) for tensor in make_case(dtype=torch.float32))
    loss = SelfReinforcementLoss(5).to(device).eval()
    expected = loss(*case)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert loss(*case) == expected


def test_compiles_as_one_graph() -> None:
    assert_compiles(SelfReinforcementLoss(5).double(), *make_case())
    assert_compiles(SelfReinforcementLoss(5).double().eval(), *make_case())


def test_compiles_with_the_default_backend() -> None:
    case = make_case(dtype=torch.float32)
    loss = SelfReinforcementLoss(5)
    eager = copy.deepcopy(loss)
    assert_compiles(loss, *case, backend="inductor")
    eager(*case)
    torch.testing.assert_close(loss.state_dict(), eager.state_dict())


def test_state_is_the_two_centres_and_makes_a_round_trip() -> None:
    loss = SelfReinforcementLoss(5).double()
    case = make_case()
    loss(*case)
    assert set(loss.state_dict()) == {"class_center.value", "patch_center.value"}
    assert_state_dict_round_trip(loss, lambda: SelfReinforcementLoss(5).double(), *case)
    assert list(loss.parameters()) == []


def test_deepcopy_after_forward() -> None:
    assert_deepcopy_after_forward(SelfReinforcementLoss(5).double(), *make_case())
    assert_pickles(SelfReinforcementLoss(5).double(), *make_case())


def test_printing_shows_the_options() -> None:
    text = repr(SelfReinforcementLoss(5, student_temperature=0.2, center_momentum=0.8))
    assert "student_temperature=0.2" in text
    assert "dim=5, momentum=0.8" in text


# -- two processes --------------------------------------------------------------------------------

SHARES = ([0, 1], [2])


def in_one_process(rank: int, folder: str) -> None:
    """Compute the losses of one process's share and leave values, gradient and centres behind."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SHARES)
    )
    try:
        case = torch.load(f"{folder}/case.pt", weights_only=True)
        student, view1, view2, mask = (tensor[SHARES[rank]] for tensor in case)
        loss = SelfReinforcementLoss(5).double()
        for _ in range(2):
            losses = loss(student.requires_grad_(), view1, view2, mask)
        (gradient,) = torch.autograd.grad(sum(losses), student)
        result = {**loss.state_dict(), "losses": torch.stack(losses).detach(), "grad": gradient}
        torch.save(result, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="no torch.distributed")
def test_two_processes_equal_one_on_the_joined_batch(tmp_path: Path) -> None:
    case = make_case(batch=3)
    torch.save(case, tmp_path / "case.pt")
    run_together(in_one_process, str(tmp_path), processes=len(SHARES))
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]

    student, *rest = case
    loss = SelfReinforcementLoss(5).double()
    for _ in range(2):
        losses = loss(student.requires_grad_(), *rest)
    (gradient,) = torch.autograd.grad(sum(losses), student)
    for part in parts:
        for name, value in loss.state_dict().items():
            torch.testing.assert_close(part[name], value)
    # The second call's value rests on the centres that both processes moved in the first.
    weights = [len(share) / 3 for share in SHARES]
    value = sum(w * part["losses"] for w, part in zip(weights, parts, strict=True))
    torch.testing.assert_close(value, torch.stack(losses).detach())
    joined = torch.cat([w * part["grad"] for w, part in zip(weights, parts, strict=True)])
    torch.testing.assert_close(joined, gradient)


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dim": 0}, ValueError, "dim: expected a positive integer, got 0"),
        ({"dim": 2.5}, TypeError, "dim: expected a positive integer, got 2.5"),
        ({"student_temperature": 0.0}, ValueError, r"student_temperature: expected .* got 0.0"),
        ({"student_temperature": -1}, ValueError, "student_temperature: .* got -1"),
        ({"student_temperature": float("nan")}, ValueError, "student_temperature: .* got nan"),
        ({"student_temperature": "hot"}, TypeError, "student_temperature: expected a number"),
        ({"center_momentum": 1.5}, ValueError, r"center_momentum: .*\[0.0, 1.0\], got 1.5"),
    ],
)
def test_bad_options_are_refused(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SelfReinforcementLoss(**{"dim": 5, **options})


def test_bad_centre_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"momentum: expected a number in \[0.0, 1.0\], got -0.1"):
        Center(3, momentum=-0.1)


@pytest.mark.parametrize("shape", [(5,), (2, 4), (0, 5)])
def test_bad_centre_outputs_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"outputs: expected shape \(..., 5\) with rows, got"):
        Center(5).update(torch.zeros(shape))


@pytest.mark.parametrize(
    ("position", "value", "error", "message"),
    [
        (0, torch.zeros(2, 7), ShapeError, r"student: expected shape \(B, 1\+N, K\)"),
        (0, torch.zeros(2, 7, 4), ShapeError, r"student: .* with K=5, got \(2, 7, 4\)"),
        (0, torch.zeros(2, 1, 5), ShapeError, r"student: .* and a patch, got \(2, 1, 5\)"),
        (0, torch.zeros(0, 7, 5), ShapeError, r"student: .* an image.*, got \(0, 7, 5\)"),
        (0, torch.zeros(2, 7, 5, dtype=torch.long), TypeError, "student: expected a floating"),
        (0, None, TypeError, "student: expected a tensor .* got NoneType"),
        (1, torch.zeros(2, 8, 5), ShapeError, r"teacher_view1: .* got \(2, 8, 5\)"),
        (1, torch.zeros(2, 7, 5).int(), TypeError, "teacher_view1: expected a floating"),
        (2, torch.zeros(3, 7, 5), ShapeError, r"teacher_view2: .* got \(3, 7, 5\)"),
        (2, torch.zeros(2, 7, 5).int(), TypeError, "teacher_view2: expected a floating"),
        (3, torch.zeros(2, 2, 3).bool(), ShapeError, r"mask: .*B=2, N=6, got \(2, 2, 3\)"),
        (3, torch.zeros(2, 6), TypeError, "mask: expected a boolean tensor"),
        (4, 0.0, ValueError, "teacher_temperature: .* got 0.0"),
        (4, float("inf"), ValueError, "teacher_temperature: .* got inf"),
    ],
)
def test_bad_input_is_refused_and_moves_no_centre(
    position: int, value: object, error: type[Exception], message: str
) -> None:
    arguments: list[object] = [*make_case(dtype=torch.float32), 0.07]
    arguments[position] = value
    loss = SelfReinforcementLoss(5)
    with pytest.raises(error, match=message):
        loss(*arguments)
    assert not any(center.any() for center in loss.buffers())


def test_bad_input_of_the_functions_is_refused() -> None:
    rows, mask = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool)
    with pytest.raises(ShapeError, match=r"teacher: expected the student's shape \(2, 3, 4\)"):
        uncertain_loss(rows, rows[:, :2], mask)
    with pytest.raises(ShapeError, match=r"teacher: .* got NoneType"):
        confident_loss(rows[:, 0], None)
    with pytest.raises(TypeError, match="teacher: expected a floating"):
        confident_loss(rows[:, 0], rows[:, 0].int())
    with pytest.raises(ValueError, match=r"temperature: .* got 0"):
        confident_loss(rows[:, 0], rows[:, 0], temperature=0)
    with pytest.raises(ShapeError, match=r"student: expected shape \(B, K\)"):
        confident_loss(rows, rows)
    with pytest.raises(ShapeError, match=r"center: expected shape \(K\) with K=4, got \(3,\)"):
        teacher_distribution(rows, torch.zeros(3), 0.1)
    with pytest.raises(TypeError, match="outputs: expected a floating"):
        teacher_distribution(rows.int(), torch.zeros(4), 0.1)
    with pytest.raises(ValueError, match=r"temperature: .* got -0.1"):
        teacher_distribution(rows, torch.zeros(4), -0.1)
