"""Cross entropy of many classes: the numbers of the plain formula, in the memory of the logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from fsr.losses import balanced_segmentation_loss, joint_cross_entropy, pixel_cross_entropy

WIDE = 65535


class Largest(TorchDispatchMode):
    """Records how many numbers the largest tensor held that was made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.untyped_storage().nbytes() // 4)
        return result


def plain(logits: Tensor, labels: Tensor, ignore_index: int = WIDE) -> Tensor:
    """The formula as it is written, with a map of all scores."""
    scores = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(scores, labels, ignore_index=ignore_index, reduction="none")


def drawn(
    seed: int, channels: int, cells: tuple[int, int], pixels: tuple[int, int], ignored: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits with a gradient, labels and weights."""
    torch.manual_seed(seed)
    logits = 4 * torch.randn(2, channels, *cells, dtype=torch.float64)
    labels = torch.randint(0, channels, (2, *pixels))
    labels = labels.masked_fill(torch.rand(labels.shape) < ignored, WIDE)
    return logits.requires_grad_(), labels, torch.randn(2, *pixels, dtype=torch.float64)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 99),
    channels=st.sampled_from([256, 257, 400]),
    cells=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    more=st.tuples(st.integers(0, 24), st.integers(1, 30)),
    ignored=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_it_is_the_plain_formula(
    seed: int, channels: int, cells: tuple[int, int], more: tuple[int, int], ignored: float
) -> None:
    pixels = (cells[0] + more[0], cells[1] + more[1])
    logits, labels, weights = drawn(seed, channels, cells, pixels, ignored)
    found, expected = pixel_cross_entropy(logits, labels, WIDE), plain(logits, labels)
    torch.testing.assert_close(found, expected)
    one, other = (
        torch.autograd.grad((entropy * weights).sum(), logits)[0] for entropy in (found, expected)
    )
    torch.testing.assert_close(one, other)


def test_tiles_smaller_than_a_cell_and_larger_than_the_image_agree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, labels, weights = drawn(3, 300, (3, 4), (13, 22), 0.3)
    for numbers in (300, 300 * 7, 300 * 10_000):
        monkeypatch.setitem(
            __import__("fsr.losses._streamed_entropy", fromlist=["TILE"]).TILE, "cpu", numbers
        )
        found = pixel_cross_entropy(logits, labels, WIDE)
        torch.testing.assert_close(found, plain(logits, labels))
        gradient = torch.autograd.grad((found * weights).sum(), logits)[0]
        expected = torch.autograd.grad((plain(logits, labels) * weights).sum(), logits)[0]
        torch.testing.assert_close(gradient, expected)


def test_the_balanced_loss_is_that_of_its_parts() -> None:
    logits, labels, _ = drawn(1, 1001, (4, 4), (32, 32), 0.3)
    labels[:, :8] = 0
    entropy = plain(logits, labels)
    background, foreground = labels == 0, (labels != 0) & (labels != WIDE)
    expected = 0.5 * (entropy[background].mean() + entropy[foreground].mean())
    found = balanced_segmentation_loss(logits, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(joint_cross_entropy(logits, labels), 2 * expected)
    one, other = (torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
    torch.testing.assert_close(one, other)


def test_without_a_label_it_is_an_attached_zero() -> None:
    logits, labels, _ = drawn(1, 300, (2, 2), (8, 8), 1.0)
    loss = balanced_segmentation_loss(logits, labels)
    assert loss.item() == 0.0
    assert not torch.autograd.grad(loss, logits)[0].any()


def test_probabilities_too_small_for_a_number_have_a_finite_loss() -> None:
    """Each of two classes wins at one end; between them both are far below the highest logit."""
    logits = torch.zeros(1, 300, 1, 2)
    logits[0, 1, 0, 0], logits[0, 2, 0, 1] = 400.0, 400.0
    labels = torch.full((1, 4, 32), 3)
    found = pixel_cross_entropy(logits, labels)
    torch.testing.assert_close(found, plain(logits, labels))
    assert found.max() > 300


def test_the_gradient_is_the_true_one() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 256, 1, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 3, WIDE], [255, 9, 0]]])
    assert torch.autograd.gradcheck(
        lambda z: pixel_cross_entropy(z, labels, WIDE).mean(), (logits,), fast_mode=True
    )
    assert torch.autograd.gradcheck(
        lambda z: balanced_segmentation_loss(z, labels), (logits,), fast_mode=True
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, labels, _ = drawn(2, 300, (2, 3), (16, 24), 0.2)
    low = logits.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = balanced_segmentation_loss(low, labels)
    loss.backward()
    same = low.detach().float().requires_grad_()
    expected = balanced_segmentation_loss(same, labels)
    expected.backward()
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    assert low.grad is not None
    assert same.grad is not None
    assert torch.equal(low.grad, same.grad.to(dtype))


def test_no_map_of_all_scores_is_made() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 1001, 4, 4, requires_grad=True)
    labels = torch.randint(0, 1001, (2, 128, 128))
    tile = 2**19 + 1001
    for balanced in (True, False):
        with Largest() as made:
            if balanced:
                loss = balanced_segmentation_loss(logits, labels)
            else:
                loss = pixel_cross_entropy(logits, labels).mean()
            torch.autograd.backward(loss)
        assert 1001 * 16 * 2 <= made.numbers <= tile
    # The plain formula's map is 2 x 1001 x 128 x 128.
    assert tile < 2 * 1001 * 128 * 128 // 50


def test_at_most_254_classes_take_the_plain_formula_to_the_last_bit() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 255, 3, 3)
    labels = torch.randint(0, 255, (2, 24, 24))
    assert torch.equal(pixel_cross_entropy(logits, labels), plain(logits, labels, 255))


def test_class_254_is_learnt_and_65535_left_out() -> None:
    """Label 255 is that of a class once there are more than 254."""
    logits, labels = torch.zeros(1, 301, 2, 2), torch.full((1, 2, 2), 255)
    assert pixel_cross_entropy(logits, labels).min() > 5
    assert not pixel_cross_entropy(logits, torch.full((1, 2, 2), WIDE)).any()
    with pytest.raises(ValueError, match=r"labels: expected classes 0\.\.300 .* or 65535, got 301"):
        pixel_cross_entropy(logits, torch.full((1, 2, 2), 301))


@pytest.mark.slow
def test_it_compiles_in_one_graph() -> None:
    logits, labels, _ = drawn(2, 300, (2, 3), (16, 24), 0.2)
    compiled = torch.compile(
        lambda z, y: balanced_segmentation_loss(z, y), fullgraph=True, backend="aot_eager"
    )
    loss = compiled(logits, labels)
    expected = balanced_segmentation_loss(logits, labels)
    torch.testing.assert_close(loss, expected)
    one, other = (torch.autograd.grad(each, logits)[0] for each in (loss, expected))
    torch.testing.assert_close(one, other)
