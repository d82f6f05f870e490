"""Loss against one's own confident masks: weights, the veto, what has no pixels, and precision."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fsr.errors import ShapeError
from fsr.losses import self_supervised_mask_loss
from fsr.pooling import focal_mask_penalty, masks_with_background
from fsr.pooling import normalized_global_weighted_pooling as pooled
from fsr.refine import PAMR, confident_masks, refine_masks
from tests.helpers import assert_compiles

Recorded = Callable[[str], dict[str, Tensor]]


def make_case(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Two images of three classes whose masks hold background and every present class."""
    logits = torch.randn(2, 3, 4, 5, dtype=dtype)
    labels = torch.tensor([[1, 0, 1], [0, 1, 0]])
    classes = torch.tensor([[0, 1, 3, -1], [0, 2, 2, -1]])
    chosen = classes.gather(1, torch.randint(0, 4, (2, 20)))
    chosen[:, :4] = classes
    masks = (chosen[:, None] == torch.arange(4)[:, None]).view(2, 4, 4, 5)
    return logits, masks.to(dtype), labels


def loss_by_loops(
    logits: NDArray[np.float64], masks: NDArray[np.float64], labels: NDArray[np.int64]
) -> float:
    """Loss of one image whose logits have the size of its masks, pixel by pixel."""
    channels, height, width = masks.shape
    own = [int(masks[c].sum()) for c in range(channels)]
    if sum(n > 0 for n in own) != int(labels.sum()) + 1:
        return 0.0
    total = 0.0
    for c, y, x in np.ndindex(channels, height, width):
        if masks[c, y, x] == 1:
            scores = [1.0, *logits[:, y, x]]
            entropy = math.log(sum(math.exp(s) for s in scores)) - scores[c]
            total += (sum(own) - own[c]) / (1 + sum(own)) * entropy
    return total / (height * width)


def test_it_matches_plain_loops(device: torch.device) -> None:
    for _ in range(3):
        logits, masks, labels = make_case()
        loss = self_supervised_mask_loss(logits.to(device), masks.to(device), labels.to(device))
        assert loss.shape == (2,)
        for b in range(2):
            expected = loss_by_loops(logits[b].numpy(), masks[b].numpy(), labels[b].numpy())
            assert expected > 0
            assert loss[b].item() == pytest.approx(expected, rel=1e-12)


def test_recorded_losses_and_gradients_are_reproduced(parity: Recorded) -> None:
    recorded = parity("systems/one_stage_mask_loss")
    logits = recorded["in_logits"].requires_grad_()
    loss = self_supervised_mask_loss(logits, recorded["in_pseudo_masks"], recorded["in_labels"])
    loss.sum().backward()
    torch.testing.assert_close(loss, recorded["out_mask_loss"], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(logits.grad, recorded["grad_logits"], rtol=0, atol=1e-7)


def test_the_recorded_head_is_reproduced_from_its_logits_on(parity: Recorded) -> None:
    recorded = parity("systems/one_stage_head")
    logits, labels = recorded["in_logits"].requires_grad_(), recorded["in_labels"]
    masks = masks_with_background(logits)
    scores = pooled(logits) + focal_mask_penalty(masks[:, 1:])
    refined = refine_masks(PAMR(), recorded["in_images"], masks, labels)
    pseudo_masks = confident_masks(refined)
    loss = self_supervised_mask_loss(logits, pseudo_masks, labels)
    (F.multilabel_soft_margin_loss(scores, labels) + loss.mean()).backward()
    torch.testing.assert_close(refined, recorded["out_refined"], rtol=0, atol=1e-5)
    assert torch.equal(pseudo_masks, recorded["out_pseudo_masks"])
    torch.testing.assert_close(loss, recorded["out_mask_loss"], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(logits.grad, recorded["grad_logits"], rtol=0, atol=1.5e-8)


def test_logits_are_interpolated_to_the_masks_with_aligned_corners() -> None:
    _, masks, labels = make_case()
    small = torch.randn(2, 3, 2, 3, dtype=torch.float64)
    grown = F.interpolate(small, (4, 5), mode="bilinear", align_corners=True)
    torch.testing.assert_close(
        self_supervised_mask_loss(small, masks, labels),
        self_supervised_mask_loss(grown, masks, labels),
    )


def test_gradient_is_that_of_finite_differences() -> None:
    _, masks, labels = make_case()
    small = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: self_supervised_mask_loss(x, masks, labels), small)


def test_the_masks_are_constants() -> None:
    logits, masks, labels = make_case()
    masks.requires_grad_()
    self_supervised_mask_loss(logits.requires_grad_(), masks, labels).sum().backward()
    assert masks.grad is None


# -- the veto, and what has no pixels -------------------------------------------------------------


@pytest.mark.parametrize("missing", [0, 1])
def test_an_image_in_which_a_present_class_claims_nothing_has_no_loss(missing: int) -> None:
    logits, masks, labels = make_case()
    expected = self_supervised_mask_loss(logits, masks, labels)
    masks[0, missing] = 0
    logits.requires_grad_()
    loss = self_supervised_mask_loss(logits, masks, labels)
    assert loss[0] == 0
    assert loss[1] == expected[1]
    loss.sum().backward()
    assert not logits.grad[0].any()
    assert logits.grad[1].any()


def test_an_image_of_background_alone_weighs_nothing() -> None:
    masks = torch.zeros(1, 3, 2, 2)
    masks[:, 0] = 1
    # Complete, but all claimed pixels are of one class: their weight is 0.
    assert self_supervised_mask_loss(torch.randn(1, 2, 2, 2), masks, torch.zeros(1, 2)) == 0


def test_nothing_claimed_gives_an_attached_zero() -> None:
    logits = torch.randn(2, 3, 2, 2, requires_grad=True)
    loss = self_supervised_mask_loss(logits, torch.zeros(2, 4, 4, 4), torch.ones(2, 3))
    assert loss.tolist() == [0.0, 0.0]
    loss.sum().backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_a_single_pixel_weighs_nothing_and_no_class_leaves_the_background() -> None:
    one = torch.ones(1, 1, 1, 1)
    assert self_supervised_mask_loss(torch.zeros(1, 0, 1, 1), one, torch.zeros(1, 0)).item() == 0


def test_the_smaller_class_weighs_more() -> None:
    # 3 pixels of background, 1 of the class: weights 1/5 and 3/5, all cross entropies log 2.
    masks = torch.tensor([[[[1.0, 1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0, 1.0]]]])
    loss = self_supervised_mask_loss(torch.ones(1, 1, 1, 4), masks, torch.ones(1, 1))
    torch.testing.assert_close(loss, torch.tensor([math.log(2) * (3 * 1 / 5 + 3 / 5) / 4]))


@given(
    seed=st.integers(0, 2**16),
    magnitude=st.sampled_from([0.0, 1.0, 1e4, 1e30]),
    size=st.sampled_from([(3, 4), (1, 1), (5, 7)]),
)
def test_never_nan_for_finite_input(seed: int, magnitude: float, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = magnitude * torch.randn(3, 2, 3, 4, generator=generator)
    masks = confident_masks(torch.rand(3, 3, *size, generator=generator))
    labels = (masks[:, 1:].amax(dim=(2, 3)) > 0).float()
    loss = self_supervised_mask_loss(logits.requires_grad_(), masks, labels)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert (loss >= 0).all()
    assert torch.isfinite(logits.grad).all()


@given(st.integers(0, 2**16))
def test_one_images_loss_does_not_depend_on_its_batch(seed: int) -> None:
    torch.manual_seed(seed)
    logits, masks, labels = make_case()
    together = self_supervised_mask_loss(logits, masks, labels)
    for b in range(2):
        rows = slice(b, b + 1)
        alone = self_supervised_mask_loss(logits[rows], masks[rows], labels[rows])
        torch.testing.assert_close(alone, together[rows])


# -- types, compilation, errors -------------------------------------------------------------------


def test_precision() -> None:
    logits, masks, labels = make_case(torch.float32)
    expected = self_supervised_mask_loss(logits, masks, labels)
    double = self_supervised_mask_loss(logits.double(), masks, labels)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), expected)
    for dtype in (torch.float16, torch.bfloat16):
        half = self_supervised_mask_loss(logits.to(dtype), masks.to(dtype), labels)
        assert half.dtype == torch.float32
        assert torch.equal(half, self_supervised_mask_loss(logits.to(dtype).float(), masks, labels))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(self_supervised_mask_loss(logits, masks, labels), expected)
    assert_compiles(self_supervised_mask_loss, logits, masks, labels)


LOGITS, MASKS, LABELS = torch.zeros(1, 2, 2, 2), torch.zeros(1, 3, 4, 4), torch.zeros(1, 2)


@pytest.mark.parametrize(
    ("logits", "masks", "labels", "error", "message"),
    [
        (LOGITS[0], MASKS, LABELS, ShapeError, r"logits: expected shape \(B, C, h, w\), got"),
        (
            LOGITS,
            MASKS[:, 1:],
            LABELS,
            ShapeError,
            r"pseudo_masks: expected shape \(B, C\+1, H, W\) with B=1, C\+1=3, got \(1, 2, 4, 4\)",
        ),
        (LOGITS, MASKS, torch.zeros(1, 3), ShapeError, r"labels: .* with B=1, C=2, got \(1, 3\)"),
        (LOGITS.long(), MASKS, LABELS, TypeError, "logits: expected a floating-point tensor"),
        (LOGITS, MASKS.bool(), LABELS, TypeError, "pseudo_masks: expected a floating-point tensor"),
        (LOGITS[..., :0], MASKS, LABELS, ShapeError, "logits: expected at least one pixel"),
        (LOGITS, MASKS + 2, LABELS, ValueError, "pseudo_masks: expected values between 0 and 1"),
    ],
)
def test_bad_input_is_refused(
    logits: Tensor, masks: Tensor, labels: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        self_supervised_mask_loss(logits, masks, labels)
