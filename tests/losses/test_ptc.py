"""PTCLoss: patch-token contrast against loops, the released code and its own symmetries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr.errors import ShapeError
from fsr.losses import PTCLoss, patch_token_contrast
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

IGNORE = 255


def make_case(
    batch: int = 2, count: int = 7, dim: int = 4, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Tokens and labels of three classes, with a few ignored."""
    tokens = torch.randn(batch, count, dim, dtype=dtype)
    labels = torch.randint(0, 3, (batch, count))
    labels[:, 2] = IGNORE
    return tokens, labels


def reference(tokens: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean |cos| of same-label and of different-label pairs, pair by pair."""
    sums, counts = {True: 0.0, False: 0.0}, {True: 1, False: 1}
    for image, classes in zip(tokens, labels, strict=True):
        for i in range(len(image)):
            for j in range(len(image)):
                if i == j or IGNORE in (classes[i], classes[j]):
                    continue
                lengths = np.sqrt(np.sum(image[i] ** 2)) * np.sqrt(np.sum(image[j] ** 2))
                same = bool(classes[i] == classes[j])
                sums[same] += abs(float(np.sum(image[i] * image[j]) / lengths))
                counts[same] += 1
    return 0.5 * (1 - sums[True] / counts[True]) + 0.5 * sums[False] / counts[False]


def test_matches_plain_loops() -> None:
    for _ in range(3):
        tokens, labels = make_case()
        expected = reference(tokens.numpy(), labels.numpy())
        assert PTCLoss()(tokens, labels).item() == pytest.approx(expected, rel=1e-12)


def test_matches_the_released_code(parity: Callable[[str], dict[str, Tensor]]) -> None:
    arrays = parity("ptc")
    maps = arrays["features"].requires_grad_()
    labels = arrays["token_label"].flatten(1)
    loss = PTCLoss()(maps.flatten(2).transpose(1, 2), labels)
    loss.backward()
    torch.testing.assert_close(loss, arrays["loss"], rtol=0, atol=1e-6)
    torch.testing.assert_close(maps.grad, arrays["grad"], rtol=1e-5, atol=1e-7)


def test_recorded_affinity_counts_the_same_pairs(
    parity: Callable[[str], dict[str, Tensor]],
) -> None:
    """With tokens that are all alike, the loss is a function of the pair counts alone."""
    arrays = parity("ptc")
    labels = arrays["token_label"].flatten(1)
    same, different = ((arrays["affinity"] == value).sum().item() for value in (1, 0))
    loss = PTCLoss()(torch.ones(*labels.shape, 3, dtype=torch.float64), labels)
    expected = 0.5 * (1 - same / (same + 1)) + 0.5 * different / (different + 1)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_gradient_is_that_of_finite_differences() -> None:
    tokens, labels = make_case()
    assert torch.autograd.gradcheck(lambda t: PTCLoss()(t, labels), tokens.requires_grad_())


def test_second_derivatives_are_those_of_finite_differences() -> None:
    tokens, labels = make_case(dim=3, count=5)
    tokens.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda each: patch_token_contrast(each, labels), (tokens,))
    functional = torch.func.grad(lambda each: patch_token_contrast(each, labels))(tokens.detach())
    (expected,) = torch.autograd.grad(patch_token_contrast(tokens, labels), tokens)
    torch.testing.assert_close(functional, expected)


def straightforward(tokens: Tensor, labels: Tensor) -> Tensor:
    """The same loss as autograd would do it, with every pair's mask at hand."""
    unit = torch.nn.functional.normalize(tokens, dim=-1)
    similarity = (unit @ unit.transpose(1, 2)).abs()
    known = labels != IGNORE
    pairs = known.unsqueeze(1) & known.unsqueeze(2) & ~torch.eye(labels.shape[1]).bool()
    same = pairs & (labels.unsqueeze(1) == labels.unsqueeze(2))
    sums = [(similarity * part).sum() / (1 + part.sum()) for part in (same, pairs & ~same)]
    return (1 - sums[0] + sums[1]) / 2


@pytest.mark.parametrize("unknown", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("rows", [7, 30, 196])
def test_loss_and_gradient_are_those_of_the_slow_formulation(
    unknown: float, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any number of rows at a time, whether it divides their number or not."""
    monkeypatch.setattr("fsr.losses._pair_sum.ROWS", rows)
    tokens = torch.randn(3, 60, 16, requires_grad=True)
    labels = torch.randint(0, 4, (3, 60)).masked_fill(torch.rand(3, 60) < unknown, IGNORE)
    results = []
    for loss in (patch_token_contrast(tokens, labels), straightforward(tokens, labels)):
        (grad,) = torch.autograd.grad(loss, tokens)
        results.append((loss.detach(), grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-8)


def test_half_of_the_pairs_gives_what_all_give_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, labels = make_case(count=40)
    monkeypatch.setattr("fsr.losses._pair_sum.ROWS", 9)
    found = patch_token_contrast(tokens, labels)
    compiled = torch.compile(patch_token_contrast, backend="eager", fullgraph=True)
    torch.testing.assert_close(found, compiled(tokens, labels))


def test_descent_brings_same_labels_together_and_parts_different_ones() -> None:
    labels = torch.tensor([[0, 0, 1, 1]])
    tokens = torch.randn(1, 4, 6, requires_grad=True)
    optimizer = torch.optim.SGD([tokens], lr=5.0)
    for _ in range(200):
        optimizer.zero_grad()
        PTCLoss()(tokens, labels).backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(tokens.detach()[0], dim=-1)
    similarity = (unit @ unit.T).abs()
    assert min(similarity[0, 1], similarity[2, 3]) > 0.95
    assert similarity[:2, 2:].max() < 0.05


# -- symmetries -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**16))
def test_only_equality_of_labels_counts(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(2, 6, 3, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 4, (2, 6), generator=generator)
    renamed = torch.randperm(200, generator=generator)[:4][labels]
    torch.testing.assert_close(PTCLoss()(tokens, renamed), PTCLoss()(tokens, labels))


@given(seed=st.integers(0, 2**16), scale=st.sampled_from([1e-3, 7.0, 1e4]))
def test_order_length_and_sign_of_tokens_do_not_count(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(2, 6, 3, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 3, (2, 6), generator=generator)
    expected = PTCLoss()(tokens, labels)
    order = torch.randperm(6, generator=generator)
    torch.testing.assert_close(PTCLoss()(tokens[:, order], labels[:, order]), expected)
    factors = scale * (torch.rand(2, 6, 1, dtype=torch.float64, generator=generator) + 0.5)
    factors[:, ::2] *= -1
    torch.testing.assert_close(PTCLoss()(tokens * factors, labels), expected)


def test_ignored_tokens_do_not_count() -> None:
    tokens, labels = make_case()
    kept = [0, 1, 3, 4, 5, 6]
    torch.testing.assert_close(
        PTCLoss()(tokens, labels), PTCLoss()(tokens[:, kept], labels[:, kept])
    )
    tokens.requires_grad_()
    PTCLoss()(tokens, labels).backward()
    assert tokens.grad[:, 2].abs().max() == 0


def test_another_ignore_index() -> None:
    tokens, labels = make_case()
    other = labels.masked_fill(labels == IGNORE, -1)
    assert PTCLoss(ignore_index=-1)(tokens, other) == PTCLoss()(tokens, labels)
    assert PTCLoss(ignore_index=-1)(tokens, labels) != PTCLoss()(tokens, labels)


def test_pairs_are_pooled_over_the_batch() -> None:
    """Sums and counts run over the batch, as released: no mean of the images' own losses."""
    tokens, labels = make_case()
    labels[0, 1:5] = IGNORE
    alone = [PTCLoss()(tokens[b : b + 1], labels[b : b + 1]).item() for b in range(2)]
    pooled = PTCLoss()(tokens, labels).item()
    assert abs(pooled - sum(alone) / 2) > 1e-3
    assert pooled == pytest.approx(reference(tokens.numpy(), labels.numpy()), rel=1e-12)


# -- nothing to do, and extreme values ------------------------------------------------------------


@pytest.mark.parametrize("labels", [[IGNORE] * 4, [0, IGNORE, IGNORE, IGNORE]])
def test_no_pair_gives_one_half_without_gradient(labels: list[int]) -> None:
    tokens = torch.randn(1, 4, 3, requires_grad=True)
    loss = PTCLoss()(tokens, torch.tensor([labels]))
    assert loss == 0.5
    loss.backward()
    assert torch.equal(tokens.grad, torch.zeros_like(tokens))


def test_single_token() -> None:
    assert PTCLoss()(torch.randn(3, 1, 2), torch.zeros(3, 1, dtype=torch.long)) == 0.5


@given(
    seed=st.integers(0, 2**16),
    magnitude=st.sampled_from([0.0, 1e-30, 1.0, 1e4, 1e30]),
    ignored=st.floats(0.0, 1.0),
)
def test_never_nan_and_between_0_and_1_for_finite_input(
    seed: int, magnitude: float, ignored: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = magnitude * torch.randn(2, 5, 3, generator=generator)
    labels = torch.randint(0, 2, (2, 5), generator=generator)
    labels[torch.rand(2, 5, generator=generator) < ignored] = IGNORE
    loss = PTCLoss()(tokens.requires_grad_(), labels)
    loss.backward()
    assert -1e-6 <= loss.item() <= 1 + 1e-6
    assert torch.isfinite(tokens.grad).all()


# -- types, copies, compilation -------------------------------------------------------------------


def test_float64_stays_float64(device: torch.device) -> None:
    tokens, labels = (tensor.to(device) for tensor in make_case())
    loss = PTCLoss()(tokens, labels)
    assert loss.dtype == torch.float64
    assert loss.device.type == device.type


def test_half_precision_is_computed_in_float32(device: torch.device) -> None:
    tokens, labels = (tensor.to(device) for tensor in make_case(dtype=torch.bfloat16))
    loss = PTCLoss()(tokens, labels)
    assert loss.dtype == torch.float32
    assert loss == PTCLoss()(tokens.float(), labels)


def test_autocast_changes_nothing(device: torch.device) -> None:
    tokens, labels = (tensor.to(device) for tensor in make_case(dtype=torch.float32))
    expected = PTCLoss()(tokens, labels)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert PTCLoss()(tokens, labels) == expected


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_any_integer_labels(dtype: torch.dtype) -> None:
    tokens, labels = make_case()
    assert PTCLoss()(tokens, labels.to(dtype)) == PTCLoss()(tokens, labels)


def test_compiles_as_one_graph() -> None:
    assert_compiles(PTCLoss(), *make_case())


def test_compiles_with_the_default_backend() -> None:
    assert_compiles(PTCLoss(), *make_case(dtype=torch.float32), backend="inductor")


def test_has_no_state_and_can_be_copied() -> None:
    loss = PTCLoss(ignore_index=7)
    assert loss.state_dict() == {}
    assert_state_dict_round_trip(loss, lambda: PTCLoss(ignore_index=7), *make_case())
    assert_deepcopy_after_forward(loss, *make_case())
    assert_pickles(loss, *make_case())
    assert repr(loss) == "PTCLoss(ignore_index=7)"


def test_module_and_function_agree() -> None:
    tokens, labels = make_case()
    assert PTCLoss()(tokens, labels) == patch_token_contrast(tokens, labels)


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "labels", "error", "message"),
    [
        (torch.zeros(4, 3), torch.zeros(1, 4).long(), ShapeError, r"tokens: .*\(B, N, D\), got"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 5).long(), ShapeError, r"labels: .*B=1, N=4, got"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 2, 2).long(), ShapeError, r"labels: .*\(B, N\)"),
        (torch.zeros(1, 4, 3).long(), torch.zeros(1, 4).long(), TypeError, "tokens: .*floating"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 4), TypeError, "labels: expected an integer"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 4).bool(), TypeError, "labels: .* got torch.bool"),
        (torch.zeros(1, 4, 3), [[0, 1, 2, 3]], TypeError, "labels: expected a tensor .* got list"),
    ],
)
def test_bad_input_is_refused(
    tokens: Tensor, labels: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PTCLoss()(tokens, labels)
