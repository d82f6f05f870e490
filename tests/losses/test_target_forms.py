"""Targets that say something: forms against plain loops, the spread, and what targets hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

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
    Scale,
    SelfReinforcementLoss,
    confident_loss,
    output_spread,
    sinkhorn_distribution,
    standardised_distribution,
    target_distribution,
    target_information,
    teacher_distribution,
    uncertain_loss,
)
from fsr.objective import TeacherTargets
from fsr.presets import get_preset
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)
from tests.processes import run_together

Floats = NDArray[np.float64]
FORMS = ("centred", "standardised", "sinkhorn")
NEW = FORMS[1:]


def softmax(row: Floats) -> Floats:
    weights = np.exp(row - row.max())
    return weights / weights.sum()


def spread_of(centred: Floats) -> float:
    """The standard deviation of all entries, as the formula has it."""
    entries = [float(value) for value in centred.ravel()]
    mean = sum(entries) / len(entries)
    return math.sqrt(sum((value - mean) ** 2 for value in entries) / len(entries))


def balanced(logits: Floats, iterations: int) -> Floats:
    """Sinkhorn-Knopp on exp(logits): rows, then columns and rows in turn, in plain loops."""
    table = np.array([softmax(row) for row in logits])
    for _ in range(iterations):
        for k in range(table.shape[1]):
            table[:, k] /= table[:, k].sum()
        for i in range(table.shape[0]):
            table[i] /= table[i].sum()
    return table


# -- the forms ------------------------------------------------------------------------------------


def test_standardised_targets_are_those_of_a_plain_loop() -> None:
    outputs, center = torch.randn(3, 4, 6).double() / 50, torch.randn(6).double() / 50
    centred = (outputs - center).numpy()
    expected = [
        [softmax(centred[b, i] / (0.4 * spread_of(centred))) for i in range(4)] for b in range(3)
    ]
    found = standardised_distribution(outputs, center, output_spread(outputs - center), 0.4)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_balanced_targets_are_those_of_a_plain_loop() -> None:
    logits = torch.randn(2, 5, 4).double() * 3
    rows = logits.flatten(0, 1).numpy()
    for iterations in (1, 3):
        found = sinkhorn_distribution(logits, iterations)
        expected = balanced(rows, iterations).reshape(2, 5, 4)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


@given(
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-5, 5),
    seed=st.integers(0, 2**16),
    k=st.integers(2, 9),
)
def test_no_scale_and_no_shift_of_the_outputs_changes_standardised_targets(
    scale: float, shift: float, seed: int, k: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(7, k, generator=generator).double()
    center = torch.randn(k, generator=generator).double()

    def targets(outputs: Tensor, center: Tensor) -> Tensor:
        return standardised_distribution(outputs, center, output_spread(outputs - center))

    plain = targets(outputs, center)
    moved = targets(scale * outputs + shift, scale * center + shift)
    torch.testing.assert_close(moved, plain, rtol=1e-6, atol=1e-9)


@given(seed=st.integers(0, 2**16), rows=st.integers(2, 12), k=st.integers(2, 6))
def test_many_iterations_balance_rows_and_columns(seed: int, rows: int, k: int) -> None:
    logits = torch.randn(rows, k, generator=torch.Generator().manual_seed(seed)).double()
    found = sinkhorn_distribution(logits, 200)
    torch.testing.assert_close(found.sum(1), torch.ones(rows).double())
    torch.testing.assert_close(found.sum(0), torch.full((k,), rows / k).double(), rtol=1e-6, atol=0)


def test_information_of_standardised_targets_hardly_depends_on_the_number_of_prototypes() -> None:
    for k in (256, 4096):
        outputs = torch.randn(200, k) / 40  # a fixed temperature of 0.07 would leave 0.06 nats
        targets = standardised_distribution(outputs, torch.zeros(k), output_spread(outputs), 0.4)
        # 1 / (2 * 0.4 ** 2) = 3.1 nats of normally distributed outputs, less what K cuts off.
        assert 2.3 < target_information(targets).nats < 3.2
        fixed = teacher_distribution(outputs, torch.zeros(k), 0.07)
        assert target_information(fixed).nats < 0.1


def test_each_form_by_name_and_its_own_temperature() -> None:
    outputs, center = torch.randn(3, 2, 5), Center(5)
    center.update(torch.randn(9, 5))
    scale = Scale()
    centred, none = target_distribution("centred", outputs, center)
    assert none is None
    assert torch.equal(centred, teacher_distribution(outputs, center.value, 0.07))
    for form in NEW:
        found, spread = target_distribution(form, outputs, center, scale)
        assert spread is not None
        torch.testing.assert_close(spread, output_spread(outputs - center.value))
        explicit, _ = target_distribution(form, outputs, center, scale, 0.4)
        assert torch.equal(found, explicit)
    logits = (outputs - center.value) / (0.4 * output_spread(outputs - center.value))
    torch.testing.assert_close(found, sinkhorn_distribution(logits))
    assert not scale.value  # nothing moves


# -- the spread -----------------------------------------------------------------------------------


def test_the_spread_is_the_standard_deviation_of_all_entries() -> None:
    outputs = torch.randn(4, 3, 5).double() * 3 + 100
    assert float(output_spread(outputs)) == pytest.approx(spread_of(outputs.numpy()), rel=1e-12)
    # In float32 too: the difference of large sums would be far off here.
    assert float(output_spread(outputs.float())) == pytest.approx(
        spread_of(outputs.numpy()), rel=1e-4
    )


def test_a_running_spread_takes_the_first_batch_whole_and_rests_in_eval_mode() -> None:
    scale = Scale(momentum=0.75)
    batches = [torch.randn(6, 4) * size for size in (1.0, 3.0)]
    first = scale(batches[0])
    torch.testing.assert_close(first, output_spread(batches[0]))
    scale.update(first)
    second = scale(batches[1])
    torch.testing.assert_close(second, 0.75 * first + 0.25 * output_spread(batches[1]))
    assert torch.equal(scale.value, first)  # a call moves nothing
    scale.eval()
    assert torch.equal(scale(batches[1]), first)
    torch.testing.assert_close(Scale().eval()(batches[1]), output_spread(batches[1]))


def test_a_spread_without_momentum_is_that_of_the_batch() -> None:
    scale = Scale()
    for size in (1.0, 5.0):
        batch = torch.randn(6, 4) * size
        scale.update(scale(batch))
        torch.testing.assert_close(scale.value, output_spread(batch))


def test_the_spread_stays_in_float32_when_the_module_is_halved() -> None:
    scale = Scale()
    scale.update(torch.tensor(0.1))
    assert scale.half().value.dtype == torch.float32
    assert scale.double().value.dtype == torch.float64


# -- degenerate input -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", NEW)
def test_outputs_that_are_all_alike_give_uniform_targets(form: Any) -> None:
    targets, _ = target_distribution(form, torch.full((2, 3, 4), 7.0), Center(4), Scale())
    torch.testing.assert_close(targets, torch.full((2, 3, 4), 0.25))


def test_a_single_row_is_balanced_only_where_it_is_uniform() -> None:
    torch.testing.assert_close(
        sinkhorn_distribution(torch.tensor([9.0, 0.0])), torch.tensor([0.5, 0.5])
    )


def test_logits_that_would_overflow_stay_finite_and_sum_to_one() -> None:
    found = sinkhorn_distribution(torch.tensor([[1e4, 0.0], [-1e4, 0.0], [0.0, 1e4]]))
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found.sum(1), torch.ones(3))


@pytest.mark.parametrize("form", FORMS)
def test_one_prototype_is_certain(form: Any) -> None:
    targets, _ = target_distribution(form, torch.randn(3, 1), Center(1), Scale())
    assert torch.equal(targets, torch.ones(3, 1))
    assert [float(value) for value in target_information(targets)] == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_computed_in_float32(form: Any, dtype: torch.dtype) -> None:
    outputs = torch.randn(4, 6).to(dtype)
    targets, _ = target_distribution(form, outputs, Center(6), Scale())
    exact, _ = target_distribution(form, outputs.float(), Center(6), Scale())
    assert targets.dtype == torch.float32
    assert torch.equal(targets, exact)


# -- what targets hold ----------------------------------------------------------------------------


def test_information_is_that_of_plain_loops() -> None:
    targets = torch.randn(3, 4, 5).double().mul(2).softmax(-1)
    rows = targets.flatten(0, 1).numpy()

    def entropy(row: Floats) -> float:
        return -sum(float(p) * math.log(p) for p in row)

    own = sum(entropy(row) for row in rows) / len(rows)
    mean = entropy(rows.mean(0))
    found = target_information(targets)
    assert float(found.nats) == pytest.approx(math.log(5) - own)
    assert float(found.information) == pytest.approx(mean - own)
    assert float(found.used) == pytest.approx(math.exp(mean) / 5)


@given(seed=st.integers(0, 2**16), sharp=st.floats(0, 50), k=st.integers(1, 8))
def test_information_lies_between_nothing_and_nats(seed: int, sharp: float, k: int) -> None:
    rows = torch.randn(6, k, generator=torch.Generator().manual_seed(seed)).double()
    found = target_information((sharp * rows).softmax(-1))
    assert 0 <= found.information <= found.nats + 1e-12
    assert found.nats <= math.log(k) + 1e-12
    assert 1 / k - 1e-12 <= found.used <= 1


def test_sharp_targets_that_are_all_the_same_tell_nothing_apart() -> None:
    targets = torch.zeros(7, 4)
    targets[:, 2] = 1
    found = target_information(targets)
    assert float(found.nats) == pytest.approx(math.log(4))
    assert (float(found.information), float(found.used)) == (0.0, 0.25)


# -- the loss -------------------------------------------------------------------------------------


def case(batch: int = 3, count: int = 6, dim: int = 5, dtype: torch.dtype = torch.float64) -> Any:
    student, view1, view2 = torch.randn(3, batch, 1 + count, dim, dtype=dtype)
    mask = torch.arange(count) <= 2 * torch.arange(batch).unsqueeze(1)
    return student, view1, view2, mask


@pytest.mark.parametrize("form", FORMS)
def test_the_losses_are_cross_entropies_with_the_targets_of_the_form(form: Any) -> None:
    student, view1, view2, mask = case()
    loss = SelfReinforcementLoss(5, target=form).double()
    for _ in range(2):  # the second time centres have moved
        centers = [copy_of(center) for center in (loss.class_center, loss.patch_center)]
        found = loss(student, view1, view2, mask)
        classes, _ = target_distribution(form, view1[:, 0], centers[0], Scale())
        patches, _ = target_distribution(form, view2[:, 1:], centers[1], Scale())
        torch.testing.assert_close(found.confident, confident_loss(student[:, 0], classes))
        torch.testing.assert_close(found.uncertain, uncertain_loss(student[:, 1:], patches, mask))
        told = target_information(classes).nats + target_information(patches).nats
        torch.testing.assert_close(loss.nats, told / 2)


def copy_of(center: Center) -> Center:
    copied = Center(center.value.shape[0])
    copied.value = center.value.clone()
    return copied


def test_nats_are_unknown_before_the_first_call() -> None:
    assert math.isnan(float(SelfReinforcementLoss(5).nats))


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_the_student_and_no_teacher(form: Any) -> None:
    student, view1, view2, mask = case()
    loss = SelfReinforcementLoss(5, target=form).double().eval()
    assert torch.autograd.gradcheck(
        lambda s: loss(s, view1, view2, mask), (student.requires_grad_(),)
    )
    view1.requires_grad_()
    view2.requires_grad_()
    sum(loss(student, view1, view2, mask)).backward()
    assert view1.grad is None
    assert view2.grad is None


@pytest.mark.parametrize("form", NEW)
def test_the_spreads_are_saved_and_used_in_eval_mode(form: Any) -> None:
    def build() -> SelfReinforcementLoss:
        return SelfReinforcementLoss(5, target=form, scale_momentum=0.5).double()

    loss, data = build(), case()
    loss(*data)
    names = {f"{kind}_{part}.value" for kind in ("class", "patch") for part in ("center", "scale")}
    assert loss.state_dict().keys() == names
    assert_state_dict_round_trip(loss, build, *data)
    loss.eval()
    wider = (data[0], 10 * data[1], 10 * data[2], data[3])
    targets = standardised_distribution(
        wider[1][:, 0], loss.class_center.value, loss.class_scale.value
    )
    if form == "standardised":
        torch.testing.assert_close(loss(*wider).confident, confident_loss(data[0][:, 0], targets))


def test_a_state_of_another_form_is_refused_by_name() -> None:
    loss = SelfReinforcementLoss(5, target="standardised")
    with pytest.raises(RuntimeError, match=r"Missing key.*class_scale.value"):
        loss.load_state_dict(SelfReinforcementLoss(5).state_dict())


@pytest.mark.parametrize("form", NEW)
def test_copies_pickles_and_compiles(form: Any) -> None:
    data = case(dtype=torch.float32)
    assert_deepcopy_after_forward(SelfReinforcementLoss(5, target=form), *data)
    assert_pickles(SelfReinforcementLoss(5, target=form), *data)
    assert_compiles(SelfReinforcementLoss(5, target=form), *data)


# -- two processes --------------------------------------------------------------------------------

SHARES = ([0, 1], [2])


def in_one_process(rank: int, folder: str) -> None:
    """Compute the losses of one process's share, twice, and leave state and values behind."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        student, view1, view2, mask = (
            tensor[SHARES[rank]] for tensor in torch.load(f"{folder}/case.pt", weights_only=True)
        )
        for form in NEW:
            loss = SelfReinforcementLoss(5, target=form, scale_momentum=0.5).double()
            for factor in (1, 2):
                losses = loss(student, factor * view1, factor * view2, mask)
            result = {**loss.state_dict(), "losses": torch.stack(losses)}
            torch.save(result, f"{folder}/{form}-{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="no torch.distributed")
def test_two_uneven_processes_equal_one_on_the_joined_batch(tmp_path: Path) -> None:
    data = case()
    student, view1, view2, mask = data
    torch.save(data, tmp_path / "case.pt")
    run_together(in_one_process, str(tmp_path))
    for form in NEW:
        loss = SelfReinforcementLoss(5, target=form, scale_momentum=0.5).double()
        for factor in (1, 2):
            losses = loss(student, factor * view1, factor * view2, mask)
        parts = [torch.load(tmp_path / f"{form}-{r}.pt", weights_only=True) for r in (0, 1)]
        for part in parts:
            for name, value in loss.state_dict().items():
                torch.testing.assert_close(part[name], value)
        joined = sum(len(s) / 3 * part["losses"] for s, part in zip(SHARES, parts, strict=True))
        torch.testing.assert_close(joined, torch.stack(losses))


@pytest.mark.parametrize("form", NEW)
def test_in_eval_mode_a_process_may_look_alone(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = case()
    loss = SelfReinforcementLoss(5, target=form).double()
    loss(*data)

    def refuse(_: Tensor) -> Tensor:
        raise RuntimeError("the other processes are asked")

    for module in ("_scale", "_target_forms"):
        monkeypatch.setattr(f"fsr.losses.{module}.all_reduce_sum", refuse)
    loss.eval()(*data)
    targets = TeacherTargets(5, form=form).double()
    assert targets.distribution(data[1], number=0).shape == data[1].shape
    with pytest.raises(RuntimeError, match="the other processes are asked"):
        loss.train()(*data)


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: output_spread(torch.zeros(0, 3)), ShapeError, r"outputs: expected entries"),
        (lambda: output_spread(torch.zeros(2).int()), TypeError, "outputs: expected a floating"),
        (
            lambda: standardised_distribution(torch.zeros(2, 3), torch.zeros(3), torch.ones(2)),
            ShapeError,
            r"spread: expected a scalar, got shape \(2,\)",
        ),
        (
            lambda: standardised_distribution(torch.zeros(2, 3), torch.zeros(3), -1.0),
            ValueError,
            "spread: .* got -1.0",
        ),
        (lambda: get_preset("fast", scale_momentum=1.0), ValueError, "scale_momentum: expected"),
        (lambda: get_preset("fast", target_temperature=0.0), ValueError, "target_temperature:"),
        (lambda: Scale(1.0), ValueError, "momentum: expected less than 1"),
        (lambda: Scale(-0.1), ValueError, r"momentum: expected a number in \[0.0, 1.0\]"),
        (
            lambda: sinkhorn_distribution(torch.zeros(0, 3)),
            ShapeError,
            r"logits: expected \(..., K\)",
        ),
        (lambda: sinkhorn_distribution(torch.zeros(2, 2), 0), ValueError, "iterations: expected"),
        (
            lambda: target_information(torch.zeros(0, 3)),
            ShapeError,
            r"targets: expected \(..., K\)",
        ),
        (lambda: target_information(torch.zeros(2).int()), TypeError, "targets: expected a float"),
        (
            lambda: standardised_distribution(torch.zeros(2, 3), torch.zeros(4), 1.0),
            ShapeError,
            r"center: expected shape \(K\) with K=3",
        ),
        (
            lambda: standardised_distribution(torch.zeros(2, 3), torch.zeros(3), 1.0, 0.0),
            ValueError,
            "temperature: .* got 0.0",
        ),
        (
            lambda: target_distribution("sinkhorn", torch.zeros(2, 3), Center(3)),
            ValueError,
            "scale: expected a Scale, which 'sinkhorn' reads, got None",
        ),
        (
            lambda: target_distribution("standardized", torch.zeros(2, 3), Center(3)),  # type: ignore[arg-type]
            ValueError,
            "form: expected one of 'centred'.*did you mean 'standardised'",
        ),
        (
            lambda: target_distribution("sinkhorn", torch.zeros(2, 3), Center(4), Scale()),
            ShapeError,
            r"center: expected shape",
        ),
        (
            lambda: SelfReinforcementLoss(5, target="sharp"),  # type: ignore[arg-type]
            ValueError,
            "target: expected one of",
        ),
        (
            lambda: SelfReinforcementLoss(5, target="sinkhorn", scale_momentum=1.0),
            ValueError,
            "momentum: expected less than 1",
        ),
    ],
)
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
