"""Two-threshold Otsu against all pairs of borders in plain loops, and the masker that uses it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr.masking import (
    UncertainMasker,
    otsu_thresholds,
    strongest_with_thresholds,
    uncertain_zone,
)
from tests.helpers import assert_compiles, assert_same, assert_state_dict_round_trip


def random_cam(batch: int = 2, classes: int = 3, height: int = 6, width: int = 8) -> Tensor:
    return torch.rand(batch, classes, height, width)


def blobs(seed: int, pixels: int = 200) -> NDArray[np.float32]:
    """Scores around three levels, clipped to [0, 1]: what a CAM's histogram may look like."""
    rng = np.random.default_rng(seed)
    levels, spread = np.sort(rng.random(3)), rng.uniform(0.01, 0.2)
    scores = rng.choice(levels, pixels) + spread * rng.standard_normal(pixels)
    return scores.clip(0, 1).astype(np.float32)


def filled(scores: NDArray[np.float32], bins: int) -> int:
    """Number of bins that hold a score."""
    return len({min(int(score * np.float32(bins)), bins - 1) for score in scores.ravel()})


def all_pairs(scores: NDArray[np.float32], bins: int) -> dict[tuple[int, int], float]:
    """Between-class variance of every pair of borders, written from Otsu's definition."""
    counts = [0] * bins
    for score in scores.ravel():
        counts[min(int(score * np.float32(bins)), bins - 1)] += 1
    total = sum(counts)
    mean = sum(k * count for k, count in enumerate(counts)) / total
    found = {}
    for first in range(1, bins):
        for second in range(first + 1, bins):
            variance = 0.0
            for start, end in ((0, first), (first, second), (second, bins)):
                weight = sum(counts[start:end])
                if weight:
                    own = sum(k * counts[k] for k in range(start, end)) / weight
                    variance += weight / total * (own - mean) ** 2
            found[first, second] = variance
    return found


# -- the thresholds -------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [3, 4, 8, 32])
@pytest.mark.parametrize("seed", range(4))
def test_the_pair_is_the_best_of_all_pairs(seed: int, bins: int) -> None:
    scores = blobs(seed)
    low, high = otsu_thresholds(torch.from_numpy(scores).view(1, 1, 10, 20), 0.3, 0.6, bins=bins)
    if filled(scores, bins) < 3:
        assert (low.item(), high.item()) == pytest.approx((0.3, 0.6))
        return
    first, second = round(low.item() * bins), round(high.item() * bins)
    assert (low.item(), high.item()) == pytest.approx((first / bins, second / bins), abs=1e-7)
    variances = all_pairs(scores, bins)
    assert variances[first, second] == pytest.approx(max(variances.values()), rel=1e-12)
    # Of equal pairs the first, up to the rounding of the loops above.
    best = [p for p, v in variances.items() if math.isclose(v, max(variances.values()))]
    assert (first, second) == min(best)


@given(st.lists(st.sampled_from([i / 16 for i in range(17)]), min_size=1, max_size=12))
def test_any_scores_are_parted_as_the_loops_part_them(levels: list[float]) -> None:
    scores = np.array(levels, dtype=np.float32)
    low, high = otsu_thresholds(torch.from_numpy(scores).view(1, 1, 1, -1), 0.3, 0.6, bins=16)
    if filled(scores, 16) < 3:
        assert (low.item(), high.item()) == pytest.approx((0.3, 0.6))
        return
    variances = all_pairs(scores, 16)
    best = [p for p, v in variances.items() if math.isclose(v, max(variances.values()))]
    assert (16 * low.item(), 16 * high.item()) == min(best)


def test_every_class_of_every_image_has_its_own_thresholds() -> None:
    cam = torch.from_numpy(np.stack([blobs(seed) for seed in range(6)])).view(2, 3, 10, 20)
    low, high = otsu_thresholds(cam)
    assert low.shape == high.shape == (2, 3)
    assert bool((low < high).all())
    assert len(set(low.flatten().tolist())) > 1
    for b in range(2):
        for c in range(3):
            alone = otsu_thresholds(cam[b : b + 1, c : c + 1])
            assert_same(alone, (low[b : b + 1, c : c + 1], high[b : b + 1, c : c + 1]))


def test_three_levels_are_parted_between_them() -> None:
    cam = torch.tensor([0.0, 0.0, 0.5, 0.5, 0.5, 1.0]).view(1, 1, 2, 3)
    low, high = otsu_thresholds(cam)
    zone = uncertain_zone(cam.flatten(), low.item(), high.item())
    assert zone.tolist() == [False, False, True, True, True, False]


def test_the_number_of_pixels_does_not_matter() -> None:
    scores = torch.from_numpy(blobs(3)).view(1, 1, 10, 20)
    assert_same(otsu_thresholds(scores.repeat(1, 1, 40, 30)), otsu_thresholds(scores))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_map_keeps_the_fixed_thresholds(value: float) -> None:
    low, high = otsu_thresholds(torch.full((2, 2, 3, 4), value), 0.1, 0.9)
    assert torch.equal(low, torch.full((2, 2), 0.1))
    assert torch.equal(high, torch.full((2, 2), 0.9))


def test_two_levels_are_no_three_groups() -> None:
    cam = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(1, 1, 2, 2)
    assert_same(otsu_thresholds(cam, 0.2, 0.7), (torch.tensor([[0.2]]), torch.tensor([[0.7]])))


def test_scores_that_overshoot_by_rounding_fall_into_the_outer_bins() -> None:
    scores = torch.from_numpy(blobs(1)).view(1, 1, 10, 20)
    over = scores.clone()
    over[scores == 0] = -1e-4
    over[scores == 1] = 1 + 1e-4
    over.view(-1)[0], scores.view(-1)[0] = 1 + 1e-4, 1.0
    assert_same(otsu_thresholds(over), otsu_thresholds(scores))


# -- the strongest class --------------------------------------------------------------------------


def test_a_pixel_has_the_thresholds_of_its_strongest_class() -> None:
    cam, low, high = random_cam(), torch.rand(2, 3), 1 + torch.rand(2, 3)
    score, lower, upper = strongest_with_thresholds(cam, low, high)
    for b in range(2):
        for y in range(6):
            for x in range(8):
                best = max(range(3), key=lambda c: cam[b, c, y, x].item())
                assert score[b, y, x] == cam[b, best, y, x]
                assert (lower[b, y, x], upper[b, y, x]) == (low[b, best], high[b, best])


# -- the masker -----------------------------------------------------------------------------------


def zone_by_loops(
    cam: Tensor, labels: Tensor, grid: tuple[int, int], low: float, high: float
) -> NDArray[np.bool_]:
    """The zone of every patch by plain loops; each class is parted by all pairs."""
    batch, classes, height, width = cam.shape
    zone = np.zeros((batch, *grid), dtype=bool)
    for b in range(batch):
        thresholds = {}
        for c in range(classes):
            if labels[b, c] > 0:
                scores = cam[b, c].numpy()
                if filled(scores, 32) < 3:
                    thresholds[c] = (low, high)
                else:
                    variances = all_pairs(scores, 32)
                    top = max(variances.values())
                    pair = min(p for p, v in variances.items() if math.isclose(v, top))
                    thresholds[c] = (pair[0] / 32, pair[1] / 32)
        for i in range(grid[0]):
            for j in range(grid[1]):
                y, x = i * height // grid[0], j * width // grid[1]
                if thresholds:
                    best = max(thresholds, key=lambda c: cam[b, c, y, x].item())
                    lower, upper = thresholds[best]
                    zone[b, i, j] = lower < cam[b, best, y, x].item() < upper
    return zone


@pytest.mark.parametrize("grid", [(6, 8), (3, 4), (12, 8)])
def test_the_zone_follows_the_thresholds_of_the_strongest_present_class(
    grid: tuple[int, int],
) -> None:
    cam = torch.from_numpy(np.stack([blobs(seed, 48) for seed in range(9)])).view(3, 3, 6, 8)
    cam[1, 2] = 0.5
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 1], [0, 0, 0]])
    masker = UncertainMasker(thresholds="otsu")
    zone = masker.uncertain_zone(cam, labels, grid=grid)
    np.testing.assert_array_equal(zone.numpy(), zone_by_loops(cam, labels, grid, 0.2, 0.7))
    assert zone[:2].any()
    assert not zone[2].any()


def test_a_map_without_three_groups_has_the_fixed_zone() -> None:
    cam = torch.where(torch.rand(2, 1, 6, 8) < 0.5, 0.5, 0.9)
    for options in ({}, {"low": 0.6, "high": 0.95}):
        otsu = UncertainMasker(thresholds="otsu", **options)
        assert torch.equal(otsu.uncertain_zone(cam), UncertainMasker(**options).uncertain_zone(cam))


def test_a_constant_map_after_eq_2_has_an_empty_zone_and_the_choice_is_random() -> None:
    cam, noise = torch.zeros(2, 3, 6, 8), torch.rand(2, 6, 8)
    masker = UncertainMasker(thresholds="otsu")
    assert not masker.uncertain_zone(cam).any()
    assert torch.equal(
        masker(cam, noise=noise), UncertainMasker(strategy="random")(cam, noise=noise)
    )


@given(st.integers(0, 2**31), st.floats(0.02, 0.98))
def test_the_count_is_that_of_fixed_thresholds_and_the_zone_comes_first(
    seed: int, ratio: float
) -> None:
    torch.manual_seed(seed)
    cam, labels, noise = random_cam(), torch.randint(2, (2, 3)), torch.rand(2, 6, 8)
    masker = UncertainMasker(ratio, thresholds="otsu")
    mask, zone = masker(cam, labels, noise=noise), masker.uncertain_zone(cam, labels)
    fixed = UncertainMasker(ratio)(cam, labels, noise=noise)
    assert mask.sum(dim=(1, 2)).tolist() == fixed.sum(dim=(1, 2)).tolist()
    for image in range(2):
        certain_masked = bool((mask[image] & ~zone[image]).any())
        uncertain_kept = bool((~mask[image] & zone[image]).any())
        assert not (certain_masked and uncertain_kept)


@given(st.integers(0, 2**31), st.permutations(range(3)))
def test_absent_classes_and_the_order_of_classes_do_not_matter(seed: int, order: list[int]) -> None:
    torch.manual_seed(seed)
    cam, labels = random_cam(), torch.tensor([[1, 0, 0], [1, 1, 0]])
    masker = UncertainMasker(thresholds="otsu")
    zone = masker.uncertain_zone(cam, labels)
    other = torch.where(labels[:, :, None, None] > 0, cam, random_cam())
    assert torch.equal(masker.uncertain_zone(other, labels), zone)
    assert torch.equal(masker.uncertain_zone(cam[:, order], labels[:, order]), zone)


@given(st.integers(0, 2**31))
def test_strict_is_exactly_the_zone_and_never_all(seed: int) -> None:
    torch.manual_seed(seed)
    cam, labels = random_cam(), torch.randint(2, (2, 3))
    masker = UncertainMasker(strategy="strict", thresholds="otsu", block=2)
    mask = masker(cam, labels, grid=(12, 16))
    zone = masker.uncertain_zone(cam, labels, grid=(12, 16))
    assert torch.equal(mask, zone)
    assert not mask.flatten(1).all(dim=1).any()


def test_strict_keeps_the_patch_closest_to_a_threshold_of_its_own_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Class 0's zone is narrow and its patch in the middle; class 1's is wide and its patch is off
    # the middle, but further from both borders than the other one is.
    thresholds = torch.tensor([[0.4, 0.03]]), torch.tensor([[0.6, 0.97]])
    monkeypatch.setattr("fsr.masking._masker.otsu_thresholds", lambda *_: thresholds)
    cam = torch.tensor([[[[0.5, 0.1]], [[0.2, 0.75]]]])
    mask = UncertainMasker(strategy="strict", thresholds="otsu")(cam)
    assert mask.tolist() == [[[False, True]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_give_the_thresholds_of_their_values(dtype: torch.dtype) -> None:
    cam = torch.from_numpy(np.stack([blobs(seed) for seed in range(6)])).view(2, 3, 10, 20)
    cam = cam.to(dtype)
    low, high = otsu_thresholds(cam)
    assert low.dtype == high.dtype == torch.promote_types(dtype, torch.float32)
    assert_same(otsu_thresholds(cam.float()), (low.float(), high.float()))
    masker = UncertainMasker(thresholds="otsu")
    assert torch.equal(masker.uncertain_zone(cam), masker.uncertain_zone(cam.float()))


def test_autocast_changes_nothing() -> None:
    cam, noise, masker = random_cam(), torch.rand(2, 6, 8), UncertainMasker(thresholds="otsu")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mask = masker(cam, noise=noise)
    assert torch.equal(mask, masker(cam, noise=noise))


def test_a_cam_with_gradient_gives_thresholds_without() -> None:
    low, high = otsu_thresholds(random_cam().requires_grad_())
    assert not low.requires_grad
    assert not high.requires_grad


def test_devices(device: torch.device) -> None:
    cam, masker = random_cam(), UncertainMasker(thresholds="otsu")
    thresholds = otsu_thresholds(cam.to(device))
    assert all(value.device.type == device.type for value in thresholds)
    assert_same([value.cpu() for value in thresholds], list(otsu_thresholds(cam)))
    zone = masker.uncertain_zone(cam.to(device))
    assert torch.equal(zone.cpu(), masker.uncertain_zone(cam))
    if device.type == "cuda":
        cam = cam.to(device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            otsu_thresholds(cam)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_compiles_as_one_graph() -> None:
    assert_compiles(otsu_thresholds, random_cam())
    cam, low, high = random_cam(), torch.rand(2, 3), torch.rand(2, 3)
    assert_compiles(strongest_with_thresholds, cam, low, high)
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    for strategy in ("uncertain", "strict"):
        masker = UncertainMasker(strategy=strategy, thresholds="otsu", block=2)
        noise = torch.rand(2, 4, 6) if strategy == "uncertain" else None
        assert_compiles(masker, random_cam(), labels, grid=(8, 12), noise=noise)


def test_compiles_with_the_default_backend() -> None:
    assert_compiles(otsu_thresholds, random_cam(), backend="inductor")


def test_the_masker_names_its_thresholds_and_holds_no_state() -> None:
    masker = UncertainMasker(thresholds="otsu")
    assert "thresholds='otsu'" in repr(masker)
    assert "thresholds='fixed'" in repr(UncertainMasker())
    assert_state_dict_round_trip(
        masker,
        lambda: UncertainMasker(thresholds="otsu"),
        random_cam(),
        noise=torch.rand(2, 6, 8),
    )


def test_an_empty_batch_gives_empty_thresholds() -> None:
    low, high = otsu_thresholds(torch.zeros(0, 3, 4, 5))
    assert low.shape == high.shape == (0, 3)
    assert UncertainMasker(thresholds="otsu")(torch.zeros(0, 3, 4, 5)).shape == (0, 4, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cam": torch.rand(3, 4, 5)}, ValueError, r"cam: expected shape \(B, C, h, w\), got"),
        ({"cam": torch.zeros(1, 1, 2, 2).long()}, TypeError, r"cam: expected a floating-point"),
        ({"cam": torch.zeros(1, 1, 0, 2)}, ValueError, r"cam: expected at least one pixel, got"),
        ({"low": -0.1}, ValueError, r"low: expected a number in \[0, 1\], got -0.1"),
        ({"high": 1.5}, ValueError, r"high: expected a number in \[0, 1\], got 1.5"),
        ({"low": 0.7}, ValueError, r"low: expected a number below high=0.7, got 0.7"),
        ({"low": "0.2"}, TypeError, r"low: expected a number, got str"),
        ({"bins": 2}, ValueError, r"bins: expected at least 3, got 2"),
        ({"bins": 0}, ValueError, r"bins: expected a positive integer, got 0"),
        ({"bins": 8.0}, TypeError, r"bins: expected a positive integer, got 8.0"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        otsu_thresholds(**{"cam": random_cam(), **arguments})  # type: ignore[arg-type]


def test_bad_thresholds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"thresholds: expected one of 'fixed', 'otsu', got 'ots'"):
        UncertainMasker(thresholds="ots")
    cam, good = random_cam(), torch.rand(2, 3)
    with pytest.raises(ValueError, match=r"low: expected shape \(B, C\) with B=2, C=3"):
        strongest_with_thresholds(cam, torch.rand(2, 2), good)
    with pytest.raises(ValueError, match=r"high: expected shape \(B, C\) with B=2, C=3"):
        strongest_with_thresholds(cam, good, torch.rand(3))
    with pytest.raises(ValueError, match=r"cam: expected shape \(B, C, h, w\)"):
        strongest_with_thresholds(cam[0], good, good)


@pytest.mark.parametrize("strategy", ["uncertain", "strict"])
def test_a_nan_cam_is_refused(strategy: str) -> None:
    cam = random_cam()
    cam[1, 2, 3, 4] = torch.nan
    with pytest.raises(ValueError, match=r"cam: .* got NaN"):
        UncertainMasker(strategy=strategy, thresholds="otsu")(cam)
