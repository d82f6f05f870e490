"""Masks by the teacher's entropy and the ratio of a call, against plain loops."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr.masking import (
    UncertainMasker,
    block_mean,
    entropy_soft_mask,
    mask_count,
    token_entropy,
    top_k_mask,
)
from tests.helpers import assert_compiles, assert_state_dict_round_trip

CAM = torch.zeros(2, 3, 6, 8)


def entropy_masker(ratio: float = 0.4, **options: object) -> UncertainMasker:
    return UncertainMasker(ratio, strategy="entropy", **options)  # type: ignore[arg-type]


def masks_by_loops(
    entropy: NDArray[np.float64], noise: NDArray[np.float64], count: int, block: int
) -> NDArray[np.bool_]:
    """The mask as it is documented: block means, min-max over the image, noise on top, top k."""
    batch, rows, columns = noise.shape
    masks = np.zeros((batch, rows * block, columns * block), dtype=bool)
    for b in range(batch):
        means = {}
        for i in range(rows):
            for j in range(columns):
                patches = [
                    entropy[b, i * block + y, j * block + x]
                    for y in range(block)
                    for x in range(block)
                ]
                means[i, j] = sum(patches) / block**2
        lowest, highest = min(means.values()), max(means.values())
        soft = {}
        for cell, mean in means.items():
            degree = (mean - lowest) / max(highest - lowest, 1e-4)
            soft[cell] = float(noise[b][cell]) + degree
        for i, j in sorted(soft, key=lambda cell: soft[cell], reverse=True)[:count]:
            masks[b, i * block : (i + 1) * block, j * block : (j + 1) * block] = True
    return masks


# -- the entropy ----------------------------------------------------------------------------------


def test_entropy_is_minus_p_log_p_in_nats() -> None:
    probabilities = torch.rand(2, 5, 7, dtype=torch.float64).softmax(dim=-1)
    entropy = token_entropy(probabilities)
    assert entropy.shape == (2, 5)
    for b in range(2):
        for i in range(5):
            expected = -sum(p * math.log(p) for p in probabilities[b, i].tolist())
            assert entropy[b, i].item() == pytest.approx(expected, rel=1e-12)


def test_a_peak_has_no_entropy_and_an_even_spread_has_the_most() -> None:
    peak, even = torch.eye(5)[0], torch.full((5,), 0.2)
    assert token_entropy(torch.stack([peak, even])).tolist() == pytest.approx([0, math.log(5)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_probabilities_are_summed_in_single(dtype: torch.dtype) -> None:
    probabilities = torch.full((2, 4096), 1 / 4096, dtype=dtype)
    entropy = token_entropy(probabilities)
    assert entropy.dtype == torch.float32
    assert entropy.tolist() == pytest.approx([math.log(4096)] * 2)


# -- blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2, 3, 6])
def test_block_means_are_those_of_plain_loops(block: int) -> None:
    values = torch.rand(2, 6, 12, dtype=torch.float64)
    means = block_mean(values, block)
    assert means.shape == (2, 6 // block, 12 // block)
    for b in range(2):
        for i in range(6 // block):
            for j in range(12 // block):
                rows, columns = (slice(k * block, (k + 1) * block) for k in (i, j))
                expected = np.mean(values[b, rows, columns].numpy())
                assert means[b, i, j].item() == pytest.approx(expected)


# -- the soft mask and the mask -------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("rounding", ["floor", "ceil"])
def test_plain_loops_written_from_the_description(block: int, rounding: str) -> None:
    entropy = 8.3 * torch.rand(3, 4 * block, 6 * block, dtype=torch.float64)
    noise = torch.rand(3, 4, 6, dtype=torch.float64)
    masker = entropy_masker(0.3, block=block, rounding=rounding)
    mask = masker(
        torch.zeros(3, 2, 9, 9), grid=(4 * block, 6 * block), entropy=entropy, noise=noise
    )
    count = 7 if rounding == "floor" else 8
    expected = masks_by_loops(entropy.numpy(), noise.numpy(), count, block)
    np.testing.assert_array_equal(mask.numpy(), expected)


def test_without_noise_exactly_the_highest_entropies_are_masked() -> None:
    entropy = torch.randn(2, 6, 8).exp()
    mask = entropy_masker()(CAM, entropy=entropy, noise=torch.full((2, 6, 8), 0.5))
    assert torch.equal(mask, top_k_mask(entropy.flatten(1), 19).view(2, 6, 8))


def test_the_highest_comes_before_the_lowest_whatever_the_noise() -> None:
    noise = torch.tensor([[1.0 - 1e-6, 0.0, 0.5]])
    soft = entropy_soft_mask(torch.tensor([[1.0, 3.0, 2.0]]), noise)
    assert soft[0, 1] > soft[0, 0]
    assert soft.tolist() == [pytest.approx([1.0, 1.0, 1.0], abs=2e-6)]


def test_near_ties_are_drawn_and_the_chance_is_the_documented_one() -> None:
    # Degrees 0, 0.4, 0.7 and 1: the two in the middle swap with probability (1 - 0.3)^2 / 2.
    entropy = torch.tensor([[2.0, 2.4, 2.7, 3.0]]).expand(20_000, 4)
    generator = torch.Generator().manual_seed(0)
    soft = entropy_soft_mask(entropy, torch.rand(20_000, 4, generator=generator))
    swapped = (soft[:, 1] > soft[:, 2]).double().mean().item()
    assert swapped == pytest.approx(0.7**2 / 2, abs=0.01)


@pytest.mark.parametrize("jitter", [0.0, 1e-6])
def test_equal_entropies_up_to_rounding_are_masked_at_random(jitter: float) -> None:
    entropy, noise = 5.0 + jitter * torch.rand(2, 6, 8), torch.rand(2, 6, 8)
    mask = entropy_masker()(CAM, entropy=entropy, noise=noise)
    random = UncertainMasker(strategy="random")(CAM, noise=noise)
    if jitter == 0:
        assert torch.equal(mask, random)
    # At most a hundredth of a degree: only noises that close to each other can swap.
    assert (mask != random).sum() <= 4


@given(
    st.integers(1, 999),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from(["floor", "ceil"]),
)
def test_count_is_exact_in_every_image(
    permille: int, rows: int, columns: int, block: int, rounding: str
) -> None:
    grid = (rows * block, columns * block)
    masker = entropy_masker(permille / 1000, rounding=rounding, block=block)
    mask = masker(CAM, grid=grid, entropy=torch.rand(2, *grid))
    round_ = math.floor if rounding == "floor" else math.ceil
    expected = round_(Fraction(permille, 1000) * rows * columns) * block**2
    assert mask.sum(dim=(1, 2)).tolist() == [expected, expected]


@given(st.integers(0, 2**31), st.floats(0.1, 10), st.floats(-3, 3))
def test_unit_and_offset_of_the_entropy_do_not_matter(
    seed: int, scale: float, shift: float
) -> None:
    torch.manual_seed(seed)
    entropy, noise = torch.rand(2, 6, 8).double(), torch.rand(2, 6, 8)
    masker = entropy_masker()
    mask = masker(CAM, entropy=entropy, noise=noise)
    assert torch.equal(masker(CAM, entropy=entropy * scale + shift, noise=noise), mask)


@given(st.integers(0, 2**31))
def test_one_image_does_not_depend_on_its_batch_nor_a_flip_on_its_side(seed: int) -> None:
    torch.manual_seed(seed)
    entropy, noise, masker = torch.rand(4, 6, 8), torch.rand(4, 6, 8), entropy_masker()
    cam = torch.zeros(4, 3, 6, 8)
    together = masker(cam, entropy=entropy, noise=noise)
    for i in range(4):
        one = slice(i, i + 1)
        assert torch.equal(masker(cam[one], entropy=entropy[one], noise=noise[one]), together[one])
    flipped = masker(cam, entropy=entropy.flip(2), noise=noise.flip(2))
    assert torch.equal(flipped, together.flip(2))


def test_neither_cam_nor_labels_are_read() -> None:
    entropy, noise, masker = torch.rand(2, 6, 8), torch.rand(2, 6, 8), entropy_masker()
    mask = masker(CAM, entropy=entropy, noise=noise)
    cam = torch.rand(2, 3, 6, 8)
    assert torch.equal(masker(cam, torch.zeros(2, 3), entropy=entropy, noise=noise), mask)
    assert torch.equal(
        masker.uncertain_zone(cam), UncertainMasker(strategy="random").uncertain_zone(cam)
    )


def test_a_generator_repeats_the_mask_and_leaves_the_global_state_alone() -> None:
    masker, entropy, before = entropy_masker(), torch.rand(2, 6, 8), torch.get_rng_state()
    one, same, other = (
        masker(CAM, entropy=entropy, generator=torch.Generator().manual_seed(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


# -- the ratio of a call --------------------------------------------------------------------------


@given(st.integers(1, 999), st.sampled_from(["uncertain", "random", "entropy"]))
def test_the_ratio_of_a_call_counts_as_if_the_masker_had_it(permille: int, strategy: str) -> None:
    cam, entropy, noise = torch.rand(2, 3, 6, 8), torch.rand(2, 6, 8), torch.rand(2, 6, 8)
    own = UncertainMasker(permille / 1000, strategy=strategy)
    called = UncertainMasker(0.4, strategy=strategy)
    mask = called(cam, entropy=entropy, noise=noise, ratio=permille / 1000)
    assert torch.equal(mask, own(cam, entropy=entropy, noise=noise))
    assert mask.sum(dim=(1, 2)).tolist() == [mask_count(permille / 1000, 48)] * 2
    assert called.ratio == 0.4


def test_a_smaller_ratio_masks_a_part_of_what_a_larger_one_does() -> None:
    cam, noise, masker = torch.rand(2, 3, 6, 8), torch.rand(2, 6, 8), UncertainMasker()
    small, large = (masker(cam, noise=noise, ratio=ratio) for ratio in (0.1, 0.6))
    assert bool((small <= large).all())


def test_strict_has_no_ratio() -> None:
    masker, cam = UncertainMasker(strategy="strict"), torch.rand(2, 3, 6, 8)
    assert torch.equal(masker(cam, ratio=0.01), masker(cam))


# -- types, devices, copies -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_give_the_mask_of_their_values(dtype: torch.dtype) -> None:
    entropy, noise = torch.rand(2, 12, 16).to(dtype), torch.rand(2, 6, 8)
    masker = entropy_masker(block=2)
    mask = masker(CAM, grid=(12, 16), entropy=entropy, noise=noise)
    again = masker(CAM, grid=(12, 16), entropy=entropy.float(), noise=noise)
    assert torch.equal(mask, again)
    assert entropy_soft_mask(entropy.flatten(1), entropy.flatten(1)).dtype == torch.promote_types(
        dtype, torch.float32
    )


def test_autocast_changes_nothing() -> None:
    entropy, noise, masker = torch.rand(2, 6, 8), torch.rand(2, 6, 8), entropy_masker()
    logits = torch.randn(2, 48, 16)
    expected = masker(CAM, entropy=entropy, noise=noise), token_entropy(logits.softmax(-1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mask, exact = masker(CAM, entropy=entropy, noise=noise), token_entropy(logits.softmax(-1))
    assert torch.equal(mask, expected[0])
    assert torch.equal(exact, expected[1])


def test_devices(device: torch.device) -> None:
    entropy, noise, masker = torch.rand(2, 6, 8), torch.rand(2, 6, 8), entropy_masker()
    mask = masker(CAM.to(device), entropy=entropy.to(device), noise=noise.to(device))
    assert mask.device.type == device.type
    assert torch.equal(mask.cpu(), masker(CAM, entropy=entropy, noise=noise))
    assert torch.equal(masker(CAM.to(device), entropy=entropy, noise=noise), mask)


def test_the_pure_functions_compile_as_one_graph() -> None:
    assert_compiles(token_entropy, torch.rand(2, 5, 7).softmax(dim=-1))
    assert_compiles(block_mean, torch.rand(2, 6, 12), 3)
    assert_compiles(entropy_soft_mask, torch.rand(2, 9), torch.rand(2, 9))


def test_the_masker_compiles_as_one_graph() -> None:
    noise = torch.rand(2, 3, 4)
    masker = entropy_masker(block=2)
    assert_compiles(masker, CAM, entropy=torch.rand(2, 6, 8), noise=noise)
    assert_compiles(masker, CAM, entropy=torch.rand(2, 6, 8), noise=noise, ratio=0.7)


def test_holds_no_state() -> None:
    masker = entropy_masker()
    assert "strategy='entropy'" in repr(masker)
    assert_state_dict_round_trip(
        masker, entropy_masker, CAM, entropy=torch.rand(2, 6, 8), noise=torch.rand(2, 6, 8)
    )


# -- degenerate and bad input ---------------------------------------------------------------------


def test_one_image_one_patch_and_an_empty_batch() -> None:
    cam, entropy = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1), 2.0)
    assert entropy_masker()(cam, entropy=entropy).tolist() == [[[False]]]
    assert entropy_masker(rounding="ceil")(cam, entropy=entropy).tolist() == [[[True]]]
    empty = entropy_masker()(torch.zeros(0, 3, 4, 5), entropy=torch.zeros(0, 4, 5))
    assert empty.shape == (0, 4, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"entropy": None}, ValueError, r"entropy: expected a tensor for strategy='entropy', got"),
        ({"entropy": torch.rand(2, 6, 7)}, ValueError, r"entropy: expected shape \(B, H, W\) with"),
        ({"entropy": torch.rand(2, 48)}, ValueError, r"entropy: expected shape \(B, H, W\)"),
        ({"entropy": [1.0]}, TypeError, r"entropy: expected a tensor \(B, H, W\), got list"),
        ({"entropy": torch.ones(2, 6, 8).long()}, TypeError, r"entropy: expected a floating-point"),
        ({"entropy": torch.full((2, 6, 8), torch.nan)}, ValueError, r"entropy: expected finite"),
        ({"entropy": torch.full((2, 6, 8), torch.inf)}, ValueError, r"entropy: expected finite"),
        ({"noise": torch.full((2, 6, 8), torch.nan)}, ValueError, r"noise: .* 0 and 1, got NaN"),
        ({"ratio": 0.0}, ValueError, r"ratio: expected a number in \(0, 1\), got 0.0"),
        ({"ratio": 1.0}, ValueError, r"ratio: expected a number in \(0, 1\), got 1.0"),
        ({"ratio": math.nan}, ValueError, r"ratio: expected a number in \(0, 1\), got nan"),
        ({"ratio": "0.4"}, TypeError, r"ratio: expected a number, got str"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        entropy_masker()(CAM, **{"entropy": torch.rand(2, 6, 8), **arguments})


@pytest.mark.parametrize("strategy", ["uncertain", "random", "strict"])
def test_a_bad_ratio_of_a_call_is_refused_by_every_strategy(strategy: str) -> None:
    with pytest.raises(ValueError, match=r"ratio: expected a number in \(0, 1\), got 2"):
        UncertainMasker(strategy=strategy)(CAM, ratio=2)


def test_bad_input_of_the_functions_is_refused() -> None:
    with pytest.raises(TypeError, match=r"probabilities: expected a floating-point tensor"):
        token_entropy(torch.ones(2, 3).long())
    with pytest.raises(TypeError, match=r"probabilities: expected a tensor \(..., K\), got list"):
        token_entropy([0.5, 0.5])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"probabilities: expected shape \(..., K\), got \(\)"):
        token_entropy(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"probabilities: expected at least one outcome K, got"):
        token_entropy(torch.ones(2, 0))
    with pytest.raises(ValueError, match=r"values: expected shape \(B, H, W\), got \(4, 6\)"):
        block_mean(torch.rand(4, 6), 2)
    with pytest.raises(ValueError, match=r"values: expected multiples of block=4, got \(4, 6\)"):
        block_mean(torch.rand(1, 4, 6), 4)
    with pytest.raises(ValueError, match=r"block: expected a positive integer, got 0"):
        block_mean(torch.rand(1, 4, 6), 0)
    with pytest.raises(TypeError, match=r"block: expected a positive integer, got 2.0"):
        block_mean(torch.rand(1, 4, 6), 2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"values: expected a floating-point tensor"):
        block_mean(torch.ones(1, 4, 6).long(), 2)
    good = torch.rand(2, 9)
    with pytest.raises(ValueError, match=r"entropy: expected shape \(B, N\), got \(9,\)"):
        entropy_soft_mask(good[0], good)
    with pytest.raises(ValueError, match=r"noise: expected shape \(B, N\) with B=2, N=9"):
        entropy_soft_mask(good, good[:, :8])
    with pytest.raises(TypeError, match=r"entropy: expected a floating-point tensor"):
        entropy_soft_mask(good.long(), good)
    with pytest.raises(TypeError, match=r"noise: expected a floating-point tensor"):
        entropy_soft_mask(good, good.long())
    with pytest.raises(ValueError, match=r"entropy: expected at least one token"):
        entropy_soft_mask(good[:, :0], good[:, :0])


def entropy_of(values: Tensor) -> Tensor:
    return token_entropy(values.softmax(dim=-1))


def test_a_sharper_distribution_has_less_entropy() -> None:
    logits = torch.randn(4, 10)
    assert bool((entropy_of(logits / 0.04) < entropy_of(logits / 0.1)).all())
