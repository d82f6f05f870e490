"""UncertainMasker and Eq. 3 and 4: counts, zone, strategies, and what they promise."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fsr.masking import (
    UncertainMasker,
    keep_one,
    mask_count,
    soft_mask,
    top_k_mask,
    uncertain_zone,
)
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

Load = Callable[[str], dict[str, Tensor]]


def random_cam(batch: int = 2, classes: int = 3, height: int = 6, width: int = 8) -> Tensor:
    return torch.rand(batch, classes, height, width)


def numpy_masks(
    cam: NDArray[np.float32],
    labels: NDArray[np.float32],
    noise: NDArray[np.float32],
    low: float,
    high: float,
    count: int,
    block: int,
) -> NDArray[np.bool_]:
    """Eq. 3 and 4 by plain loops; pixels are sampled where floor(i * size / blocks) points."""
    batch, classes, height, width = cam.shape
    _, rows, columns = noise.shape
    masks = np.zeros((batch, rows * block, columns * block), dtype=bool)
    for b in range(batch):
        soft = {}
        for i in range(rows):
            for j in range(columns):
                y, x = i * height // rows, j * width // columns
                present = [cam[b, c, y, x] for c in range(classes) if labels[b, c]]
                score = max(present, default=np.float32(0))
                uncertain = np.float32(low) < score < np.float32(high)
                soft[i, j] = float(noise[b, i, j]) + float(uncertain)
        chosen = sorted(soft, key=lambda cell: soft[cell], reverse=True)[:count]
        for i, j in chosen:
            masks[b, i * block : (i + 1) * block, j * block : (j + 1) * block] = True
    return masks


# -- recorded values and references ---------------------------------------------------------------


@pytest.mark.parametrize("case", ["mask_0", "mask_1", "mask_2", "mask_3"])
def test_masks_of_the_released_code(parity: Load, case: str) -> None:
    arrays = parity(case)
    with np.load(Path(__file__).parents[1] / "parity" / f"{case}.npz", allow_pickle=False) as file:
        strategy = str(file["strategy"])
    masker = UncertainMasker(
        arrays["ratio"].item(),
        arrays["low"].item(),
        arrays["high"].item(),
        strategy=strategy,
        block=int(arrays["block_in_patches"]),
        rounding="ceil",
    )
    height, width = arrays["mask"].shape[1:]
    mask = masker(arrays["cam"], arrays["labels"], grid=(height, width), noise=arrays["noise"])
    assert torch.equal(mask, arrays["mask"])


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("size", [(4, 6), (8, 12), (3, 5), (17, 29)])
def test_plain_loops_written_from_the_equations(block: int, size: tuple[int, int]) -> None:
    cam, noise = random_cam(3, 4, *size), torch.rand(3, 4, 6)
    labels = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    masker = UncertainMasker(0.3, 0.6, 0.9, block=block)
    mask = masker(cam, labels, grid=(4 * block, 6 * block), noise=noise)
    expected = numpy_masks(cam.numpy(), labels.numpy(), noise.numpy(), 0.6, 0.9, 7, block)
    np.testing.assert_array_equal(mask.numpy(), expected)


def test_soft_mask_adds_one_inside_the_zone() -> None:
    zone, noise = torch.rand(5, 7) < 0.5, torch.rand(5, 7, dtype=torch.float64)
    for i in range(5):
        for j in range(7):
            value = soft_mask(zone, noise)[i, j].item()
            assert value == noise[i, j].item() + (1 if zone[i, j] else 0)


def test_the_zone_is_open_on_both_sides() -> None:
    for dtype in (torch.float32, torch.float64):
        scores = torch.tensor([0.0, 0.2, 0.21, 0.69, 0.7, 1.0], dtype=dtype)
        expected = [False, False, True, True, False, False]
        assert uncertain_zone(scores, 0.2, 0.7).tolist() == expected


# -- the count ------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [1, 3, 10, 30, 49, 100, 196, 784, 1000])
def test_count_of_every_percentage_is_exact(total: int) -> None:
    for percent in range(1, 100):
        ratio = percent / 100
        assert mask_count(ratio, total) == percent * total // 100
        assert mask_count(ratio, total, "ceil") == -(-percent * total // 100)


@pytest.mark.parametrize(
    ("ratio", "total", "floor", "ceil"),
    [
        (0.29, 100, 29, 29),
        (0.1, 30, 3, 3),
        (0.7, 10, 7, 7),
        (0.07, 100, 7, 7),
        (0.57, 100, 57, 57),
        (0.3, 10, 3, 3),
        (1 / 3, 3, 1, 1),
        (2 / 3, 3, 2, 2),
        (1 / 49, 49, 1, 1),
        (0.4, 784, 313, 314),
        (0.4, 49, 19, 20),
        (1e-300, 100, 0, 1),
        (math.nextafter(1, 0), 10, 9, 10),
    ],
)
def test_count_of_difficult_ratios(ratio: float, total: int, floor: int, ceil: int) -> None:
    assert (mask_count(ratio, total), mask_count(ratio, total, "ceil")) == (floor, ceil)


@given(
    st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(min_value=1, max_value=4096)
)
def test_count_of_any_ratio_is_that_of_exact_fractions(ratio: float, total: int) -> None:
    floor, ceil = mask_count(ratio, total), mask_count(ratio, total, "ceil")
    exact = Fraction(repr(ratio)) * total
    assert floor in {math.floor(exact), round(exact)}
    assert ceil in {math.ceil(exact), round(exact)}
    assert abs(floor - exact) < 1
    assert abs(ceil - exact) < 1
    assert 0 <= ceil - floor <= 1


@given(
    st.integers(1, 999),
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(1, 3),
    st.sampled_from(["floor", "ceil"]),
    st.sampled_from(["uncertain", "random"]),
)
def test_count_is_exact_in_every_image(
    permille: int, rows: int, columns: int, block: int, rounding: str, strategy: str
) -> None:
    masker = UncertainMasker(permille / 1000, rounding=rounding, block=block, strategy=strategy)
    mask = masker(random_cam(), grid=(rows * block, columns * block))
    round_ = math.floor if rounding == "floor" else math.ceil
    expected = round_(Fraction(permille, 1000) * rows * columns) * block**2
    assert mask.shape == (2, rows * block, columns * block)
    assert mask.dtype == torch.bool
    assert mask.sum(dim=(1, 2)).tolist() == [expected, expected]


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("strategy", ["uncertain", "random"])
def test_count_is_exact_where_all_noise_is_equal(strategy: str, value: float) -> None:
    masker = UncertainMasker(0.4, strategy=strategy)
    mask = masker(random_cam(3), noise=torch.full((3, 6, 8), value))
    assert mask.sum(dim=(1, 2)).tolist() == [19, 19, 19]


def test_of_equal_values_the_first_are_taken() -> None:
    mask = top_k_mask(torch.zeros(2, 5000), 1234)
    assert mask[:, :1234].all()
    assert not mask[:, 1234:].any()


# -- properties -----------------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.floats(0.02, 0.98), st.sampled_from([0.0, 0.3, 1.0, None]))
def test_uncertain_patches_come_before_certain_ones(
    seed: int, ratio: float, constant: float | None
) -> None:
    torch.manual_seed(seed)
    cam, labels = random_cam(), torch.randint(2, (2, 3))
    noise = torch.rand(2, 6, 8) if constant is None else torch.full((2, 6, 8), constant)
    masker = UncertainMasker(ratio)
    mask, zone = masker(cam, labels, noise=noise), masker.uncertain_zone(cam, labels)
    for image in range(2):
        certain_masked = bool((mask[image] & ~zone[image]).any())
        uncertain_kept = bool((~mask[image] & zone[image]).any())
        assert not (certain_masked and uncertain_kept)


def test_the_largest_noise_outside_stays_below_the_smallest_inside() -> None:
    cam = torch.tensor([[[[0.9, 0.5, 0.1]]]])
    mask = UncertainMasker(0.4)(cam, noise=torch.tensor([[[1.0, 0.0, 1.0]]]))
    assert mask.tolist() == [[[False, True, False]]]


@given(st.integers(0, 2**31), st.sampled_from(["uncertain", "random", "strict"]))
def test_flipped_cam_and_noise_flip_the_mask(seed: int, strategy: str) -> None:
    torch.manual_seed(seed)
    # Twice the grid: nearest sampling is not symmetric, so each pair of columns agrees.
    cam = random_cam().repeat_interleave(2, 3)
    noise, masker = torch.rand(2, 6, 8), UncertainMasker(strategy=strategy)
    mask = masker(cam, grid=(6, 8), noise=noise)
    flipped = masker(cam.flip(3), grid=(6, 8), noise=noise.flip(2))
    assert torch.equal(flipped, mask.flip(2))


@given(st.integers(0, 2**31), st.permutations(range(3)))
def test_the_order_of_the_classes_does_not_matter(seed: int, order: list[int]) -> None:
    torch.manual_seed(seed)
    cam, labels, noise = random_cam(), torch.randint(2, (2, 3)), torch.rand(2, 6, 8)
    masker = UncertainMasker()
    mask = masker(cam, labels, noise=noise)
    assert torch.equal(masker(cam[:, order], labels[:, order], noise=noise), mask)


@given(st.integers(0, 2**31), st.sampled_from(["uncertain", "random", "strict"]))
def test_one_image_does_not_depend_on_its_batch(seed: int, strategy: str) -> None:
    torch.manual_seed(seed)
    cam, labels, noise = random_cam(4), torch.randint(2, (4, 3)), torch.rand(4, 6, 8)
    masker = UncertainMasker(strategy=strategy)
    together = masker(cam, labels, noise=noise)
    for i in range(4):
        one = slice(i, i + 1)
        alone = masker(cam[one], labels[one], noise=noise[one])
        assert torch.equal(alone, together[one])


@given(st.integers(0, 2**31))
def test_absent_classes_do_not_reach_the_mask(seed: int) -> None:
    torch.manual_seed(seed)
    cam, labels, noise = random_cam(), torch.tensor([[1, 0, 0], [1, 1, 0]]), torch.rand(2, 6, 8)
    other = torch.where(labels[:, :, None, None] > 0, cam, random_cam())
    masker = UncertainMasker()
    assert torch.equal(masker(cam, labels, noise=noise), masker(other, labels, noise=noise))


# -- strategies -----------------------------------------------------------------------------------


def test_random_does_not_read_the_cam() -> None:
    noise, masker = torch.rand(2, 6, 8), UncertainMasker(strategy="random")
    mask = masker(random_cam(), noise=noise)
    assert torch.equal(mask, masker(random_cam(), noise=noise))
    assert torch.equal(mask.flatten(1), top_k_mask(noise.flatten(1), 19))


def test_without_any_class_the_zone_is_empty_and_the_choice_random() -> None:
    cam, labels, noise = torch.full((2, 3, 6, 8), 0.5), torch.zeros(2, 3), torch.rand(2, 6, 8)
    assert not UncertainMasker().uncertain_zone(cam, labels).any()
    assert not UncertainMasker(strategy="strict")(cam, labels).any()
    expected = UncertainMasker(strategy="random")(cam, labels, noise=noise)
    assert torch.equal(UncertainMasker()(cam, labels, noise=noise), expected)


def test_strict_is_exactly_the_zone_whatever_the_ratio() -> None:
    cam = random_cam()
    for ratio in (0.01, 0.99):
        masker = UncertainMasker(ratio, strategy="strict", block=2)
        mask = masker(cam, grid=(12, 16))
        assert torch.equal(mask, masker.uncertain_zone(cam, grid=(12, 16)))
        assert mask.any()
        assert not mask.all()


@pytest.mark.parametrize("certain", [0.25, 0.65])
def test_strict_keeps_the_patch_closest_to_a_threshold(certain: float) -> None:
    cam = torch.full((2, 1, 2, 3), 0.5)
    cam[0, 0, 1, 1] = certain
    cam[1, 0, 0, 0] = 0.1
    mask = UncertainMasker(strategy="strict")(cam)
    assert mask.logical_not().nonzero().tolist() == [[0, 1, 1], [1, 0, 0]]


def test_strict_keeps_one_patch_where_all_are_equally_uncertain() -> None:
    mask = UncertainMasker(strategy="strict")(torch.full((3, 2, 4, 5), 0.5))
    assert mask.sum(dim=(1, 2)).tolist() == [19, 19, 19]


def test_keep_one_leaves_rows_with_an_unmasked_patch_alone() -> None:
    mask = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
    certainty = torch.tensor([[0.0, 2.0, 1.0]] * 3)
    assert keep_one(mask, certainty).tolist() == [[True, False, True], *mask[1:].tolist()]


def step_image(height: int = 32, width: int = 48, column: int = 20) -> Tensor:
    """Flat but for one vertical step: Canny edges lie along it, in one column of patches."""
    images = torch.zeros(1, 3, height, width)
    images[..., column:] = 1.0
    return images


def test_edge_masks_the_patches_along_an_edge() -> None:
    pytest.importorskip("skimage")
    masker = UncertainMasker(strategy="edge")
    mask = masker(torch.zeros(1, 2, 4, 6), images=step_image())
    expected = torch.zeros(1, 4, 6, dtype=torch.bool)
    expected[:, :, 20 // 8] = True
    assert torch.equal(mask, expected)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (4.4, -2.1), (255.0, 0.0), (0.05, 9.0)])
def test_edge_does_not_depend_on_the_normalisation(scale: float, shift: float) -> None:
    pytest.importorskip("skimage")
    masker, cam = UncertainMasker(strategy="edge"), torch.zeros(1, 2, 4, 6)
    images = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 32, 48), 9, 1, 4)
    mask = masker(cam, images=images * scale + shift)
    assert mask.any()
    assert torch.equal(mask, masker(cam, images=images))


@pytest.mark.parametrize(("edge_pixels", "masked"), [(12, False), (13, True)])
def test_edge_needs_five_percent_of_the_pixels(
    monkeypatch: pytest.MonkeyPatch, edge_pixels: int, masked: bool
) -> None:
    pytest.importorskip("skimage")
    pixels = torch.zeros(1, 16, 32, dtype=torch.bool)
    pixels[0, 0, :edge_pixels] = True
    monkeypatch.setattr("fsr.masking._edges.canny_edges", lambda images: pixels)
    masker = UncertainMasker(strategy="edge")
    mask = masker(torch.zeros(1, 1, 1, 2), images=torch.zeros(1, 3, 16, 32))
    assert mask.tolist() == [[[masked, False]]]


def test_edge_keeps_the_patch_with_the_fewest_edge_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage")
    pixels = torch.ones(1, 8, 12, dtype=torch.bool)
    pixels[0, 5, 9] = False
    monkeypatch.setattr("fsr.masking._edges.canny_edges", lambda images: pixels)
    mask = UncertainMasker(strategy="edge")(torch.zeros(1, 1, 2, 3), images=torch.ones(1, 3, 8, 12))
    assert mask.logical_not().nonzero().tolist() == [[0, 1, 2]]


def test_edge_of_a_flat_image_is_empty_and_blocks_are_masked_whole() -> None:
    pytest.importorskip("skimage")
    cam, masker = torch.zeros(1, 2, 4, 6), UncertainMasker(strategy="edge", block=2)
    flat = torch.full((1, 3, 32, 48), 0.3) + 1e-6 * torch.rand(1, 3, 32, 48)
    assert not masker(cam, images=flat).any()
    mask = masker(cam, images=step_image())
    assert mask.any()
    assert torch.equal(mask, mask[:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_edge_without_scikit_image_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [n for n in sys.modules if n.partition(".")[0] == "skimage"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoSkimage(), *sys.meta_path])
    with pytest.raises(ImportError, match=r"strategy='edge'.*fsr-wsss\[edge\]"):
        UncertainMasker(strategy="edge")


class NoSkimage:
    """An import finder that plays scikit-image as absent."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "skimage":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


# -- grids, noise, generators ---------------------------------------------------------------------


def test_the_zone_is_thresholded_before_it_is_sampled() -> None:
    # Averaging 0.0 and 1.0 would give 0.5, which lies in the zone; no pixel does.
    cam = torch.tensor([[[[0.0, 1.0, 0.0, 1.0]]]])
    assert not UncertainMasker().uncertain_zone(cam, grid=(1, 2)).any()


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (37, 53)])
def test_the_zone_is_sampled_as_torch_interpolates(size: tuple[int, int]) -> None:
    cam = random_cam(2, 3, *size)
    best = cam.amax(dim=1)
    zone = ((best > 0.6) & (best < 0.9)).float()[:, None]
    expected = torch.nn.functional.interpolate(zone, size=(4, 6), mode="nearest")[:, 0].bool()
    masker = UncertainMasker(0.4, 0.6, 0.9)
    assert torch.equal(masker.uncertain_zone(cam, grid=(4, 6)), expected)


def test_the_grid_defaults_to_the_size_of_the_cam() -> None:
    noise, masker = torch.rand(2, 6, 8), UncertainMasker()
    cam = random_cam()
    assert torch.equal(masker(cam, noise=noise), masker(cam, grid=(6, 8), noise=noise))


def test_a_generator_repeats_the_mask_and_leaves_the_global_state_alone() -> None:
    masker, cam, before = UncertainMasker(), random_cam(), torch.get_rng_state()
    one = masker(cam, generator=torch.Generator().manual_seed(3))
    assert torch.equal(one, masker(cam, generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(one, masker(cam, generator=torch.Generator().manual_seed(4)))
    masker(cam, noise=torch.zeros(2, 6, 8))
    UncertainMasker(strategy="strict")(cam)
    assert torch.equal(torch.get_rng_state(), before.clone())


def test_without_noise_or_generator_torch_is_asked() -> None:
    masker, cam = UncertainMasker(), random_cam()
    torch.manual_seed(5)
    one, two = masker(cam), masker(cam)
    assert not torch.equal(one, two)
    torch.manual_seed(5)
    assert torch.equal(masker(cam), one)


def test_every_patch_is_drawn_equally_often() -> None:
    masker, generator = UncertainMasker(0.4, strategy="random"), torch.Generator().manual_seed(0)
    share = masker(torch.zeros(4000, 1, 2, 5), generator=generator).float().mean(dim=0)
    assert (share - 0.4).abs().max() < 0.04


# -- types, devices, copies -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_give_the_mask_of_float32(dtype: torch.dtype) -> None:
    cam, noise, masker = random_cam().to(dtype), torch.rand(2, 6, 8), UncertainMasker(block=2)
    cam[0, 0] = 0.7
    mask = masker(cam, grid=(12, 16), noise=noise)
    assert torch.equal(mask, masker(cam.float(), grid=(12, 16), noise=noise))


def test_half_precision_noise_keeps_its_order_above_one() -> None:
    cam = torch.full((1, 1, 1, 4), 0.5)
    noise = torch.tensor([[[0.001, 0.002, 0.003, 0.0015]]], dtype=torch.bfloat16)
    mask = UncertainMasker(0.5)(cam, noise=noise)
    assert mask.tolist() == [[[False, True, True, False]]]


def test_autocast_changes_nothing() -> None:
    cam, noise, masker = random_cam(), torch.rand(2, 6, 8), UncertainMasker()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mask = masker(cam, noise=noise)
    assert torch.equal(mask, masker(cam, noise=noise))


def test_devices(device: torch.device) -> None:
    cam, noise, masker = random_cam(), torch.rand(2, 6, 8), UncertainMasker()
    mask = masker(cam.to(device), noise=noise.to(device))
    assert mask.device.type == device.type
    assert torch.equal(mask.cpu(), masker(cam, noise=noise))
    generator = torch.Generator().manual_seed(0)
    drawn = masker(cam.to(device), generator=generator)
    assert torch.equal(drawn.cpu(), masker(cam, generator=torch.Generator().manual_seed(0)))
    if device.type == "cuda":
        drawn = masker(cam, generator=torch.Generator(device).manual_seed(0))
        assert drawn.device.type == "cpu"


def test_a_cam_with_gradient_gives_a_mask_without() -> None:
    mask = UncertainMasker()(random_cam().requires_grad_(), noise=torch.rand(2, 6, 8))
    assert not mask.requires_grad


@pytest.mark.parametrize("strategy", ["uncertain", "random", "strict"])
def test_compiles_as_one_graph(strategy: str) -> None:
    masker = UncertainMasker(strategy=strategy, block=2)
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    assert_compiles(masker, random_cam(), labels, grid=(8, 12), noise=torch.rand(2, 4, 6))


def test_compiles_with_changing_sizes() -> None:
    masker = UncertainMasker()
    compiled = torch.compile(masker, fullgraph=True, backend="aot_eager")
    for size in ((4, 6), (6, 8), (5, 7), (9, 3)):
        cam, noise = random_cam(2, 3, *size), torch.rand(2, *size)
        assert torch.equal(compiled(cam, noise=noise), masker(cam, noise=noise))


def test_compiles_with_the_default_backend() -> None:
    assert_compiles(UncertainMasker(), random_cam(), noise=torch.rand(2, 6, 8), backend="inductor")


def test_holds_no_state_and_can_be_copied() -> None:
    masker, noise = UncertainMasker(0.3, block=2), torch.rand(2, 3, 4)
    assert masker.state_dict() == {}
    assert_state_dict_round_trip(
        masker, lambda: UncertainMasker(0.3, block=2), random_cam(), noise=noise
    )
    assert_deepcopy_after_forward(masker, random_cam(), noise=noise)
    assert_pickles(masker, random_cam(), noise=noise)
    assert "ratio=0.3" in repr(masker)
    assert "strategy='uncertain'" in repr(masker)


# -- degenerate and bad input ---------------------------------------------------------------------


def test_one_image_one_class_one_patch() -> None:
    cam = torch.full((1, 1, 1, 1), 0.5)
    assert UncertainMasker(0.4)(cam).tolist() == [[[False]]]
    assert UncertainMasker(0.4, rounding="ceil")(cam).tolist() == [[[True]]]
    assert UncertainMasker(strategy="strict")(cam).tolist() == [[[False]]]


def test_an_empty_batch_gives_an_empty_mask() -> None:
    assert UncertainMasker()(torch.zeros(0, 3, 4, 5)).shape == (0, 4, 5)


@pytest.mark.parametrize("ratio", [0, 1, 0.0, 1.0, -0.1, 1.5, float("nan")])
def test_ratio_outside_the_open_interval_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"ratio: expected a number in \(0, 1\)"):
        UncertainMasker(ratio)
    with pytest.raises(ValueError, match=r"ratio: expected a number in \(0, 1\)"):
        mask_count(ratio, 10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ratio": "0.4"}, TypeError, r"ratio: expected a number, got str"),
        ({"low": 0.7, "high": 0.7}, ValueError, r"low: expected a number below high=0.7, got 0.7"),
        ({"low": 0.8, "high": 0.3}, ValueError, r"low: expected a number below high=0.3, got 0.8"),
        ({"low": -0.1}, ValueError, r"low: expected a number in \[0, 1\], got -0.1"),
        ({"high": 1.1}, ValueError, r"high: expected a number in \[0, 1\], got 1.1"),
        (
            {"strategy": "uncertian"},
            ValueError,
            r"strategy: expected one of 'uncertain'.*got 'uncertian' \(did you mean 'uncertain'",
        ),
        ({"rounding": "up"}, ValueError, r"rounding: expected one of 'floor', 'ceil', got 'up'"),
        ({"block": 0}, ValueError, r"block: expected a positive integer, got 0"),
        ({"block": 2.0}, TypeError, r"block: expected a positive integer, got 2.0"),
    ],
)
def test_bad_options_are_refused(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        UncertainMasker(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cam": torch.zeros(2, 6, 8)}, ValueError, r"cam: expected shape \(B, C, h, w\), got"),
        ({"cam": [[0.5]]}, TypeError, r"cam: expected a tensor \(B, C, h, w\), got list"),
        ({"cam": torch.zeros(2, 3, 6, 8).long()}, TypeError, r"cam: expected a floating-point"),
        ({"cam": torch.zeros(2, 0, 6, 8)}, ValueError, "cam: expected at least one class"),
        ({"cam": torch.zeros(2, 3, 0, 8)}, ValueError, "cam: expected at least one pixel"),
        ({"cam": torch.full((2, 3, 6, 8), torch.nan)}, ValueError, r"cam: .* 0 and 1, got NaN"),
        (
            {"cam": torch.full((2, 3, 6, 8), torch.inf)},
            ValueError,
            r"cam: .* 0 and 1, got values from inf",
        ),
        ({"cam": torch.full((2, 3, 6, 8), 7.5)}, ValueError, r"cam: .* got values from 7.5 to 7.5"),
        ({"labels": torch.ones(2, 4)}, ValueError, r"labels: expected shape .* C=3, got \(2, 4\)"),
        ({"labels": torch.ones(3)}, ValueError, r"labels: expected shape \(B, C\)"),
        ({"grid": (6, 8, 1)}, TypeError, r"grid: expected two integers \(height, width\), got"),
        ({"grid": (6.0, 8)}, TypeError, r"grid: expected two integers"),
        ({"grid": 6}, TypeError, r"grid: expected two integers \(height, width\), got 6"),
        ({"grid": (0, 8)}, ValueError, r"grid: expected two positive integers"),
        ({"noise": torch.rand(2, 6, 7)}, ValueError, r"noise: expected shape .* got \(2, 6, 7\)"),
        ({"noise": torch.rand(2, 6, 8).long()}, TypeError, r"noise: expected a floating-point"),
        ({"noise": torch.full((2, 6, 8), torch.nan)}, ValueError, r"noise: .* 0 and 1, got NaN"),
        ({"noise": torch.full((2, 6, 8), 2.0)}, ValueError, r"noise: .* 0 and 1, got values"),
        (
            {"noise": torch.rand(2, 6, 8), "generator": torch.Generator()},
            ValueError,
            r"generator: expected None beside noise=, got both",
        ),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        UncertainMasker()(**{"cam": torch.zeros(2, 3, 6, 8), **arguments})


@pytest.mark.parametrize("strategy", ["uncertain", "random", "strict"])
def test_a_nan_cam_is_refused_by_every_strategy(strategy: str) -> None:
    cam = random_cam()
    cam[1, 2, 3, 4] = torch.nan
    with pytest.raises(ValueError, match=r"cam: .* got NaN"):
        UncertainMasker(strategy=strategy)(cam)
    with pytest.raises(ValueError, match=r"cam: .* got NaN"):
        UncertainMasker(strategy=strategy).uncertain_zone(cam)


def test_a_grid_that_the_blocks_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"grid: expected multiples of block=4, got \(6, 8\)"):
        UncertainMasker(block=4)(random_cam())
    with pytest.raises(ValueError, match=r"grid: expected multiples of block=4, got \(6, 8\)"):
        UncertainMasker(block=4).uncertain_zone(random_cam())


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (None, ValueError, r"images: expected a tensor for strategy='edge', got None"),
        (torch.zeros(1, 1, 32, 48), ValueError, r"images: expected shape \(B, 3, height, width\)"),
        (torch.zeros(2, 3, 32, 48), ValueError, r"images: expected shape .* B=1"),
        (torch.zeros(1, 3, 30, 48), ValueError, r"images: .* 4 x 6 cells divide, got 30 x 48"),
        (torch.zeros(1, 3, 32, 48).byte(), TypeError, r"images: expected a floating-point"),
        (torch.full((1, 3, 32, 48), torch.nan), ValueError, r"images: expected finite values"),
    ],
)
def test_bad_images_are_refused(
    images: Tensor | None, error: type[Exception], message: str
) -> None:
    pytest.importorskip("skimage")
    with pytest.raises(error, match=message):
        UncertainMasker(strategy="edge")(torch.zeros(1, 2, 4, 6), images=images)


def test_bad_soft_masks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"soft: expected shape \(B, N\), got \(3,\)"):
        top_k_mask(torch.rand(3), 1)
    with pytest.raises(ValueError, match=r"count: expected a number in \[0, 3\], got 4"):
        top_k_mask(torch.rand(2, 3), 4)
    with pytest.raises(TypeError, match=r"mask: expected a boolean tensor"):
        keep_one(torch.ones(2, 3), torch.rand(2, 3))
    with pytest.raises(ValueError, match=r"certainty: expected shape .* N=3"):
        keep_one(torch.ones(2, 3).bool(), torch.rand(2, 4))
    with pytest.raises(ValueError, match=r"rounding: expected one of"):
        mask_count(0.5, 10, "nearest")
