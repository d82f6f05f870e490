"""BECO's ClassMix: the mask of classes, their draw, the mixing; and the rim of a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fsr.errors import ShapeError
from fsr.masking import boundary, class_mix, class_mix_mask, draw_classes
from tests.helpers import assert_compiles, assert_same

Parity = Callable[[str], dict[str, Tensor]]
IGNORE = 255


def make_batch(
    seed: int = 0, batch: int = 4, size: tuple[int, int] = (3, 5)
) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, *size, generator=draw)
    labels = torch.randint(0, 6, (batch, *size), generator=draw)
    labels[torch.rand(batch, *size, generator=draw) < 0.2] = IGNORE
    return images, labels, torch.rand(batch, *size, generator=draw) < 0.6


# -- the mask -------------------------------------------------------------------------------------


def test_the_mask_matches_the_released_code(parity: Parity) -> None:
    arrays = parity("systems/beco")
    found = class_mix_mask(arrays["in_label_map"], arrays["arg_classes"])
    assert found.dtype == torch.bool
    assert torch.equal(found, arrays["out_mix_mask"].bool())


@given(
    seed=st.integers(0, 2**16),
    chosen=st.lists(st.sampled_from([-1, 0, 1, 2, 3, 254, 255]), max_size=4),
)
def test_the_mask_is_that_of_plain_loops(seed: int, chosen: list[int]) -> None:
    _, labels, _ = make_batch(seed)
    expected = [[[label in chosen for label in row] for row in image] for image in labels.tolist()]
    classes = torch.tensor(chosen, dtype=torch.long)
    found = class_mix_mask(labels, classes.expand(4, -1))
    assert found.tolist() == expected
    assert class_mix_mask(labels[1].byte(), classes).tolist() == expected[1]


# -- the draw -------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**16), ignore_background=st.booleans())
def test_half_of_the_classes_are_drawn_rounded_up(seed: int, ignore_background: bool) -> None:
    _, labels, _ = make_batch(seed)
    draw = torch.Generator().manual_seed(seed)
    found = draw_classes(labels, ignore_background=ignore_background, generator=draw)
    assert found.shape == (4, 128)
    for image, row in zip(labels, found.tolist(), strict=True):
        present = set(image.unique().tolist()) - {IGNORE} - ({0} if ignore_background else set())
        count = (len(present) + 1) // 2
        assert len(set(row[:count])) == count
        assert set(row[:count]) <= present
        assert set(row[count:]) == {-1}


def test_every_class_is_drawn_as_often_and_a_generator_repeats_the_draw() -> None:
    labels = torch.tensor([[[0, 1, 2, 3, IGNORE]]]).expand(3000, -1, -1)
    first, again, other = (
        draw_classes(labels, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # Two of three each time: 2000 each, and a standard deviation of 26.
    counts = torch.stack([(first == c).sum() for c in (0, 1, 2, 3, IGNORE)]).tolist()
    assert counts[0] == counts[-1] == 0
    assert all(abs(count - 2000) < 130 for count in counts[1:-1])


def test_the_most_classes_that_a_map_can_have_are_drawn_from() -> None:
    labels = torch.arange(256).view(1, 16, 16)
    found = draw_classes(labels, ignore_background=False)[0]
    assert len(found.unique()) == 128
    assert 0 <= found.min() <= found.max() < IGNORE


# -- the mixing -----------------------------------------------------------------------------------


def test_mixing_matches_the_released_code(parity: Parity) -> None:
    arrays = parity("systems/beco_class_mix")
    # The classes of an image, there chosen for the other one.
    classes = torch.stack([arrays["arg_classes1"], arrays["arg_classes0"]])
    confident = arrays["in_online_confident"][:, 0].bool()
    found = class_mix(arrays["in_images"], arrays["in_online_labels"], confident, classes)
    assert torch.equal(found.images, arrays["out_images"])
    assert torch.equal(found.labels, arrays["out_labels"])
    assert torch.equal(found.confident, arrays["out_confident"].bool())
    rim, inside = boundary(found.mask, int(arrays["arg_boundary_size"]))
    assert torch.equal(rim, arrays["out_boundary"].bool())
    assert torch.equal(inside, arrays["out_inside"].bool())


@given(seed=st.integers(0, 2**16), batch=st.sampled_from([2, 4, 6]))
def test_mixing_is_that_of_plain_loops(seed: int, batch: int) -> None:
    images, labels, confident = make_batch(seed, batch)
    seen = labels.masked_fill(~confident, IGNORE)
    classes = draw_classes(seen, generator=torch.Generator().manual_seed(seed))
    found = class_mix(images, labels, confident, generator=torch.Generator().manual_seed(seed))
    for b, y, x in np.ndindex(labels.shape):
        partner = (b + batch // 2) % batch
        pasted = bool(confident[partner, y, x]) and labels[partner, y, x] in classes[partner]
        source = partner if pasted else b
        assert found.mask[b, y, x] == pasted
        assert found.labels[b, y, x] == labels[source, y, x]
        assert found.confident[b, y, x] == confident[source, y, x]
        assert torch.equal(found.images[b, :, y, x], images[source, :, y, x])
    assert found.confident[found.mask].all()
    assert_same(class_mix(images, labels, confident, classes), found)


def test_nothing_is_pasted_without_a_class_that_is_sure() -> None:
    images, labels, confident = make_batch()
    for nowhere, background in (
        (torch.zeros_like(confident), labels),
        (confident, torch.zeros_like(labels)),
    ):
        found = class_mix(images, background, nowhere)
        assert not found.mask.any()
        assert_same(found[:3], (images, background, nowhere))
    found = class_mix(
        images, torch.zeros_like(labels), torch.ones_like(confident), ignore_background=False
    )
    assert found.mask.all()
    assert torch.equal(found.images, images[[2, 3, 0, 1]])


def test_gradients_reach_the_pixels_that_are_shown_and_mixing_compiles() -> None:
    images, labels, confident = make_batch()
    classes = draw_classes(labels.masked_fill(~confident, IGNORE))
    found = class_mix(images.requires_grad_(), labels, confident, classes)
    found.images.sum().backward()
    hidden = 1 - found.mask.float()
    shown = hidden + found.mask[[2, 3, 0, 1]].float()
    assert torch.equal(images.grad, shown[:, None].expand_as(images))
    assert_compiles(class_mix, images.detach(), labels, confident, classes)


# -- the rim --------------------------------------------------------------------------------------


def test_the_rim_matches_the_released_code(parity: Parity) -> None:
    arrays = parity("systems/beco")
    rim, inside = boundary(arrays["out_mix_mask"].bool(), int(arrays["arg_boundary_size"]))
    assert torch.equal(rim, arrays["out_boundary"][0].bool())
    assert torch.equal(inside, arrays["out_inside"][0].bool())


@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    size=st.integers(1, 3),
    density=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
)
def test_the_rim_is_that_of_plain_loops(
    seed: int, height: int, width: int, size: int, density: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    mask = torch.rand(2, height, width, generator=draw) < density
    rim, inside = boundary(mask, size)
    for b, y, x in np.ndindex(mask.shape):
        rows = slice(max(y - size, 0), y + size + 1)
        columns = slice(max(x - size, 0), x + size + 1)
        near = mask[b, rows, columns]
        assert rim[b, y, x] == (near.any() and not near.all())
        assert inside[b, y, x] == (near.all() and not mask[b].all())
    assert_same(boundary(mask[0], size), (rim[0], inside[0]))
    # The rim of a mask is that of what it leaves out.
    assert torch.equal(boundary(~mask, size).boundary, rim)


def test_a_constant_mask_has_neither_rim_nor_inside() -> None:
    for value in (False, True):
        for size in ((1, 1), (3, 4)):
            rim, inside = boundary(torch.full(size, value))
            assert not rim.any()
            assert not inside.any()
    # Each image on its own.
    mask = torch.zeros(2, 5, 5, dtype=torch.bool)
    mask[0], mask[1, :3] = True, True
    assert boundary(mask).inside.flatten(1).sum(1).tolist() == [0, 10]
    assert boundary(mask[:0]).inside.shape == (0, 5, 5)


def test_the_rim_compiles_as_one_graph() -> None:
    assert_compiles(boundary, torch.rand(2, 5, 6) < 0.5, 1)


# -- errors ---------------------------------------------------------------------------------------

IMAGES, LABELS, CONFIDENT = torch.zeros(2, 3, 4, 4), torch.ones(2, 4, 4).long(), torch.ones(2, 4, 4)
CONFIDENT = CONFIDENT.bool()


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (class_mix_mask, (LABELS[0, 0], LABELS[0]), ShapeError, r"label_map: .* \(B, H, W\), got"),
        (class_mix_mask, (LABELS[0], LABELS[0]), ShapeError, r"classes: expected shape \(K\), got"),
        (
            class_mix_mask,
            (LABELS, LABELS[0, :1]),
            ShapeError,
            r"classes: .* with B=2, got \(1, 4\)",
        ),
        (class_mix_mask, (None, LABELS[0]), TypeError, "label_map: expected a tensor"),
        (
            class_mix_mask,
            (LABELS.float(), LABELS[:, 0]),
            TypeError,
            "label_map: expected an integer",
        ),
        (class_mix_mask, (LABELS, LABELS[:, 0].bool()), TypeError, "classes: expected an integer"),
        (
            class_mix_mask,
            (LABELS + 255, LABELS[:, 0]),
            ValueError,
            "label_map: .* 0 to 255, got 256",
        ),
        (class_mix_mask, (LABELS, LABELS[:, 0] - 3), ValueError, "classes: .* -1 to 255, got -2"),
        (draw_classes, (LABELS[0],), ShapeError, r"label_map: expected shape \(B, H, W\), got"),
        (draw_classes, (CONFIDENT,), TypeError, "label_map: expected an integer tensor"),
        (draw_classes, (LABELS - 2,), ValueError, "label_map: .* from 0 to 255, got -1"),
        (class_mix, (IMAGES[:, :1], LABELS, CONFIDENT), ShapeError, "images: .* with channels=3"),
        (class_mix, (IMAGES, LABELS[:1], CONFIDENT), ShapeError, "labels: .* with B=2, height=4"),
        (class_mix, (IMAGES, LABELS, CONFIDENT[..., 0]), ShapeError, "confident: expected shape"),
        (class_mix, (IMAGES.long(), LABELS, CONFIDENT), TypeError, "images: expected a floating"),
        (class_mix, (IMAGES, CONFIDENT, CONFIDENT), TypeError, "labels: expected an integer"),
        (class_mix, (IMAGES, LABELS, LABELS), TypeError, "confident: expected a boolean tensor"),
        (
            class_mix,
            (IMAGES[:1], LABELS[:1], CONFIDENT[:1]),
            ShapeError,
            "images: expected an even batch, whose halves are mixed, got 1",
        ),
        (class_mix, (IMAGES, LABELS, CONFIDENT, LABELS[0]), ShapeError, r"classes: .* with B=2"),
        (boundary, ([[True]],), TypeError, r"mask: expected a tensor \(H, W\) or .* got list"),
        (boundary, (LABELS,), TypeError, "mask: expected a boolean tensor"),
        (boundary, (CONFIDENT[0, 0],), ShapeError, r"mask: expected \(H, W\) or .* got \(4,\)"),
        (boundary, (CONFIDENT[:, :0],), ShapeError, r"with pixels, got \(2, 0, 4\)"),
        (boundary, (CONFIDENT, 0), ValueError, "size: expected a positive integer, got 0"),
        (boundary, (CONFIDENT, 1.0), TypeError, "size: expected a positive integer, got 1.0"),
    ],
)
def test_bad_input_is_refused(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        function(*arguments)


def test_a_generator_has_nothing_to_draw_beside_given_classes() -> None:
    with pytest.raises(ValueError, match="generator: expected None beside classes=, got both"):
        class_mix(IMAGES, LABELS, CONFIDENT, LABELS[:, 0], generator=torch.Generator())
