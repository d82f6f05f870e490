"""Pseudo labels against one image at a time, recorded arrays and their own promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fsr.refine import PAR, pseudo_labels
from tests.helpers import assert_compiles

Parity = Callable[[str], dict[str, torch.Tensor]]
SMALL_PAR = PAR(2, (1, 2))


def identity(images: Tensor, masks: Tensor) -> Tensor:
    """A refinement that does nothing."""
    return masks


def one_image(
    image: Tensor, cam: Tensor, labels: Tensor, low: float, high: float, par: PAR, scale: int
) -> Tensor:
    """The definition, class by class for one image (3, H, W) with CAMs (C, h, w)."""
    _, height, width = image.shape
    size = (height // scale, width // scale)
    present = [c for c in range(len(labels)) if labels[c] > 0]
    winners = []
    for level in (high, low):
        small = [torch.full(size, level, dtype=cam.dtype)]
        small += [F.interpolate(cam[None, None, c], size, mode="bilinear")[0, 0] for c in present]
        total = sum(channel.exp() for channel in small)
        shrunk = F.interpolate(image[None], size, mode="bilinear")
        refined = [
            F.interpolate(
                par(shrunk, (channel.exp() / total)[None, None]), (height, width), mode="bilinear"
            )[0, 0]
            for channel in small
        ]
        winners.append(torch.stack(refined).argmax(0))
    result = torch.zeros(height, width, dtype=torch.int64)
    for y in range(height):
        for x in range(width):
            strict, lenient = int(winners[0][y, x]), int(winners[1][y, x])
            if strict:
                result[y, x] = present[strict - 1] + 1
            elif lenient:
                result[y, x] = 255
    return result


def random_case(seed: int, batch: int = 3, classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, 9, 12, generator=generator, dtype=torch.float64)
    cams = torch.rand(batch, classes, 9, 12, generator=generator, dtype=torch.float64)
    labels = (torch.rand(batch, classes, generator=generator) > 0.5).float()
    return images, cams, labels


def test_recorded_labels_are_reproduced(parity: Parity) -> None:
    recorded = parity("pseudo_label")
    result = pseudo_labels(
        PAR(),
        recorded["images"],
        recorded["valid_cams"],
        recorded["labels"],
        low=recorded["low"].item(),
        high=recorded["high"].item(),
        down_scale=int(recorded["down_scale"]),
    )
    assert result.dtype == torch.int64
    assert torch.equal(result, recorded["pseudo_label"].long())


@given(st.integers(0, 1000), st.sampled_from([1, 2, 3]))
def test_the_batch_gives_what_each_image_gives_class_by_class(seed: int, scale: int) -> None:
    images, cams, labels = random_case(seed)
    result = pseudo_labels(SMALL_PAR, images, cams, labels, low=0.3, high=0.6, down_scale=scale)
    for i in range(len(images)):
        expected = one_image(images[i], cams[i], labels[i], 0.3, 0.6, SMALL_PAR, scale)
        assert torch.equal(result[i], expected)


@given(st.integers(0, 1000))
def test_only_present_classes_background_and_ignore_appear(seed: int) -> None:
    images, cams, labels = random_case(seed)
    result = pseudo_labels(SMALL_PAR, images, cams, labels, low=0.3, high=0.6)
    for i in range(len(images)):
        allowed = {0, 255} | {int(c) + 1 for c in labels[i].nonzero()}
        assert set(result[i].unique().tolist()) <= allowed


@given(st.integers(0, 1000))
def test_permuting_classes_permutes_the_labels(seed: int) -> None:
    images, cams, labels = random_case(seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    table = torch.arange(256)
    table[1:5] = order + 1
    plain = pseudo_labels(SMALL_PAR, images, cams, labels, low=0.3, high=0.6)
    permuted = pseudo_labels(SMALL_PAR, images, cams[:, order], labels[:, order], low=0.3, high=0.6)
    assert torch.equal(table[permuted], plain)


@given(st.integers(0, 1000))
def test_flipping_the_input_flips_the_labels(seed: int) -> None:
    images, cams, labels = random_case(seed)
    plain = pseudo_labels(SMALL_PAR, images, cams, labels, low=0.3, high=0.6)
    flipped = pseudo_labels(SMALL_PAR, images.flip(3), cams.flip(3), labels, low=0.3, high=0.6)
    assert torch.equal(flipped.flip(2), plain)


def test_thresholds_part_background_unknown_and_class() -> None:
    images = torch.rand(1, 3, 2, 6)
    cams = torch.tensor([0.1, 0.1, 0.5, 0.5, 0.9, 0.9]).expand(1, 1, 2, 6)
    result = pseudo_labels(
        identity, images, cams, torch.ones(1, 1), low=0.3, high=0.7, down_scale=1
    )
    assert result[0, 0].tolist() == [0, 0, 255, 255, 1, 1]


def test_an_absent_class_never_wins_however_strong_its_map() -> None:
    images = torch.rand(1, 3, 4, 4)
    cams = torch.cat([torch.full((1, 1, 4, 4), 0.8), torch.ones(1, 1, 4, 4)], dim=1)
    result = pseudo_labels(PAR(), images, cams, torch.tensor([[1.0, 0.0]]), low=0.2, high=0.7)
    assert result.unique().tolist() == [1]


def test_a_class_at_the_high_level_stands_whatever_the_low_level_says() -> None:
    def odd(images: Tensor, masks: Tensor) -> Tensor:
        strict, lenient = masks.chunk(2, dim=1)
        return torch.cat([strict * torch.tensor([0.0, 1.0]).view(2, 1, 1), lenient], dim=1)

    images, cams = torch.rand(1, 3, 4, 4), torch.full((1, 1, 4, 4), 0.1)
    result = pseudo_labels(odd, images, cams, torch.ones(1, 1), low=0.3, high=0.6)
    assert result.unique().tolist() == [1]


def test_ties_go_to_the_lower_class() -> None:
    images, cams = torch.rand(1, 3, 4, 4), torch.ones(1, 40, 4, 4)
    labels = (torch.arange(40) % 7 == 5).float()[None]
    result = pseudo_labels(identity, images, cams, labels, low=0.3, high=0.6)
    assert result.unique().tolist() == [6]


def test_an_image_without_labels_is_background() -> None:
    images, cams, labels = random_case(0)
    for present in (torch.zeros_like(labels), labels * torch.tensor([[1.0], [0.0], [1.0]])):
        result = pseudo_labels(SMALL_PAR, images, cams, present, low=0.3, high=0.6)
        assert result[1].unique().tolist() == [0]


def test_maps_of_any_size_give_labels_at_image_size() -> None:
    images, cams, labels = random_case(0)
    grown = F.interpolate(cams, (9, 12), mode="nearest")
    for maps in (cams[..., :3, :5], F.interpolate(grown, (18, 24))):
        result = pseudo_labels(SMALL_PAR, images, maps, labels, low=0.3, high=0.6)
        assert result.shape == (3, 9, 12)


def test_another_ignore_label() -> None:
    images, cams, labels = random_case(0)
    plain = pseudo_labels(SMALL_PAR, images, cams, labels, low=0.1, high=0.9)
    other = pseudo_labels(SMALL_PAR, images, cams, labels, low=0.1, high=0.9, ignore_index=-1)
    assert (plain == 255).any()
    assert torch.equal(other, plain.masked_fill(plain == 255, -1))


def test_autocast_and_half_precision_change_nothing() -> None:
    images, cams, labels = random_case(0)
    images, cams = images.bfloat16(), cams.bfloat16()
    exact = pseudo_labels(SMALL_PAR, images.float(), cams.float(), labels, low=0.3, high=0.6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = pseudo_labels(SMALL_PAR, images, cams, labels, low=0.3, high=0.6)
    assert torch.equal(result, exact)


def test_it_compiles_with_the_labels_of_the_batch_unread() -> None:
    images, cams, labels = (value.float() for value in random_case(0))
    assert_compiles(pseudo_labels, PAR(1, (1,)), images, cams, labels, low=0.3, high=0.6)


def test_it_follows_its_inputs_device(device: torch.device) -> None:
    images, cams, labels = random_case(0)
    expected = pseudo_labels(SMALL_PAR, images, cams, labels, low=0.3, high=0.6)
    there = [value.to(device) for value in (images, cams, labels)]
    result = pseudo_labels(SMALL_PAR, *there, low=0.3, high=0.6)
    assert result.device.type == device.type
    assert torch.equal(result.cpu(), expected)


def test_no_gradient_is_recorded() -> None:
    images, cams, labels = random_case(0)
    seen: list[bool] = []

    def watch(images: Tensor, masks: Tensor) -> Tensor:
        seen.append(masks.requires_grad or torch.is_grad_enabled())
        return masks

    pseudo_labels(watch, images, cams.requires_grad_(), labels, low=0.3, high=0.6)
    assert seen == [False]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": torch.rand(3, 9, 12)}, ValueError, r"images: expected shape \(B, channels"),
        ({"cams": torch.rand(2, 4, 9, 12)}, ValueError, r"cams: expected shape .* with B=3"),
        ({"labels": torch.ones(3, 5)}, ValueError, r"labels: expected shape .* with B=3, C=4"),
        ({"images": torch.ones(3, 3, 9, 12).int()}, TypeError, "images: expected a floating"),
        ({"cams": torch.ones(3, 4, 9, 12).int()}, TypeError, "cams: expected a floating"),
        ({"cams": torch.full((3, 4, 9, 12), 7.0)}, ValueError, "cams: expected values between 0"),
        ({"cams": torch.full((3, 4, 9, 12), torch.nan)}, ValueError, "cams: .* got NaN"),
        ({"images": torch.full((3, 3, 9, 12), torch.inf)}, ValueError, "images: expected finite"),
        ({"low": -0.1}, ValueError, r"low: expected a number in \[0.0, 1.0\], got -0.1"),
        ({"high": 1.1}, ValueError, r"high: expected a number in \[0.0, 1.0\], got 1.1"),
        ({"low": 0.7, "high": 0.7}, ValueError, r"low: expected less than high=0.7, got 0.7"),
        ({"down_scale": 0}, ValueError, "down_scale: expected a positive integer, got 0"),
        ({"down_scale": 10}, ValueError, r"images: expected at least down_scale=10 pixels"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    images, cams, labels = random_case(0)
    good = {"images": images, "cams": cams, "labels": labels, "low": 0.3, "high": 0.6}
    with pytest.raises(error, match=message):
        pseudo_labels(SMALL_PAR, **(good | change))  # type: ignore[arg-type]
