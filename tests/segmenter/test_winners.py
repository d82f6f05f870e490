"""Labels of many classes: those of the maps of all classes, without these."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.segmenter import multi_scale_labels, multi_scale_probabilities
from fsr.segmenter._enlarging import PART, axis_of, upper_bounds
from fsr.segmenter._winners import merged_labels
from tests.losses.test_streamed_entropy import Largest

Scales = list[tuple[Tensor, Tensor | None]]


def drawn(seed: int, channels: int, sharp: float, flip: bool, batch: int = 2) -> Scales:
    """Logits at two scales: smooth classes, some of them far above the others."""
    torch.manual_seed(seed)
    # In float64, where no two classes are as near as the roundings of two kernels.
    level = sharp * torch.randn(1, channels, 1, 1, dtype=torch.float64)
    sizes = ((3, 4), (5, 2))
    return [
        (
            level + torch.randn(batch, channels, *size, dtype=torch.float64),
            level + torch.randn(batch, channels, *size, dtype=torch.float64) if flip else None,
        )
        for size in sizes
    ]


def merged(scales: Scales, size: tuple[int, int]) -> Tensor:
    """The formula as it is written, with maps of all classes."""
    found = []
    for plain, mirrored in scales:
        maps = F.interpolate(plain, size, mode="bilinear")
        if mirrored is not None:
            maps = maps + F.interpolate(mirrored, size, mode="bilinear").flip(-1)
        found.append(maps)
    return torch.stack(found).amax(dim=0)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 999),
    channels=st.sampled_from([1, 2, 9, 100]),
    sharp=st.sampled_from([0.0, 1.0, 10.0]),
    flip=st.booleans(),
    size=st.tuples(st.integers(1, 40), st.integers(1, 70)),
)
def test_labels_are_those_of_all_maps(
    seed: int, channels: int, sharp: float, flip: bool, size: tuple[int, int]
) -> None:
    scales = drawn(seed, channels, sharp, flip)
    expected = merged(scales, size)
    assert torch.equal(merged_labels(scales, size), expected.argmax(dim=1))


def test_of_equal_classes_the_first_wins() -> None:
    # Weights of quarters: no kernel rounds.
    scales: Scales = [(torch.ones(1, 600, 64, 64), None)]
    labels = merged_labels(scales, (128, 128))
    assert torch.equal(labels, torch.zeros(1, 128, 128, dtype=torch.long))


def test_labels_in_single_precision_are_of_the_largest_up_to_rounding() -> None:
    scales = [(plain.float(), None) for plain, _ in drawn(5, 300, 1.0, flip=False)]
    expected = merged(scales, (50, 70))
    found = expected.gather(1, merged_labels(scales, (50, 70))[:, None])[:, 0]
    assert (found >= expected.amax(dim=1) - 1e-5).all()


def test_logits_in_any_order_of_memory_and_of_half_precision() -> None:
    (plain, mirrored), _ = drawn(3, 300, 1.0, flip=True)
    assert mirrored is not None
    expected = merged([(plain, mirrored)], (24, 40)).argmax(dim=1)
    last = [(plain.to(memory_format=torch.channels_last), mirrored)]
    assert torch.equal(merged_labels(last, (24, 40)), expected)
    half = plain.bfloat16()
    expected = merged_labels([(half.float(), None)], (24, 40))
    assert torch.equal(merged_labels([(half, None)], (24, 40)), expected)


def test_only_classes_that_can_win_get_maps() -> None:
    """Two of 1,000 are ahead, each in its half: hardly more is enlarged."""
    logits = torch.randn(1, 1000, 14, 14)
    logits[:, 7, :, :7] += 20
    logits[:, 8, :, 7:] += 20
    with Largest() as made:
        labels = merged_labels([(logits, None)], (224, 224))
    assert set(labels.unique().tolist()) == {7, 8}
    # The logits themselves are the largest.
    assert made.numbers == logits.numel()


@settings(max_examples=20)
@given(seed=st.integers(0, 99), height=st.integers(1, 70), width=st.integers(1, 70))
def test_bounds_hold(seed: int, height: int, width: int) -> None:
    torch.manual_seed(seed)
    maps = torch.randn(3, 5, 4)
    most = upper_bounds(maps, axis_of(5, height, maps), axis_of(4, width, maps))
    enlarged = F.interpolate(maps[None], (height, width), mode="bilinear")[0]
    bound = most.repeat_interleave(PART, 1).repeat_interleave(PART, 2)[:, :height, :width]
    assert (enlarged <= bound + 1e-5).all()


def test_an_image_without_numbers_has_no_labels() -> None:
    logits = torch.randn(3, 5, 2, 2)
    logits[0, 1, 0, 0] = torch.nan
    logits[2, 0, 1, 1] = torch.inf
    labels = merged_labels([(logits, None)], (8, 8))
    assert [one.min().item() >= 0 for one in labels] == [False, True, False]
    assert labels[0].unique().tolist() == [-1]


@pytest.mark.parametrize("flip", [False, True])
def test_labels_of_images_are_those_of_the_largest_probability(flip: bool) -> None:
    weight = torch.randn(300, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()

    def logits_of(images: Tensor) -> Tensor:
        return F.conv2d(images, weight, stride=8)

    batches = [torch.randn(2, 3, 32, 40).double(), torch.randn(1, 3, 16, 24).double()]
    arguments = (batches, (8, 8), (1.0, 1.5), flip)
    probabilities = multi_scale_probabilities(logits_of, *arguments, "max_logits")
    for labels, maps in zip(multi_scale_labels(logits_of, *arguments), probabilities, strict=True):
        assert torch.equal(labels, maps.argmax(dim=1))


def test_bad_arguments_are_refused() -> None:
    images = torch.zeros(1, 3, 16, 16)
    with pytest.raises(ValueError, match="scales: expected at least one scale, got none"):
        multi_scale_labels(lambda x: x, [images], (8, 8), (), False)
    with pytest.raises(TypeError, match="logits_of: expected a function"):
        multi_scale_labels(None, [images], (8, 8), (1.0,), False)  # type: ignore[arg-type]
