"""Two views: where they come from, what may change, and whose randomness they follow."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from fsr.data import TwoViews, View

RAW: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def coordinates(width: int = 200, height: int = 120) -> Image.Image:
    """An image whose red is the column and whose green is the row of each pixel."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8))


def photo(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    smooth = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC)


def plain(image_size: int = 32, **options: Any) -> TwoViews:
    """Views without any change of colour, between 0 and 1."""
    return TwoViews(image_size, **{"jitter_prob": 0.0, **RAW, **options})


def pixels(view: View) -> Tensor:
    return view.image.mul(255).round()


@given(st.integers(0, 10_000), st.integers(20, 200), st.integers(20, 120))
def test_box_and_flip_say_where_every_pixel_comes_from(seed: int, width: int, height: int) -> None:
    torch.manual_seed(seed)
    for view in plain(16)(coordinates(width, height)):
        top, left, tall, wide = view.box
        assert 0 <= top <= top + tall <= height
        assert 0 <= left <= left + wide <= width
        centres = (torch.arange(16) + 0.5) / 16
        columns, rows = left + centres * wide - 0.5, top + centres * tall - 0.5
        if view.flipped:
            columns = columns.flip(0)
        seen = view.image * 255
        # Inside, away from where bicubic weights are cut off at the border of the crop.
        inside = slice(3, -3)
        assert (seen[0, :, inside] - columns[inside]).abs().max() < 1.5
        assert (seen[1, inside] - rows[inside, None]).abs().max() < 1.5


def test_crops_cover_the_share_and_shape_asked_for() -> None:
    views = plain(8, scale=(0.3, 0.6), ratio=(0.8, 1.25))
    boxes = torch.tensor([view.box for _ in range(100) for view in views(photo(100, 100))]).double()
    share, shape = boxes[:, 2] * boxes[:, 3] / 1e4, boxes[:, 3] / boxes[:, 2]
    assert 0.29 < share.min() < 0.35
    assert 0.55 < share.max() < 0.61
    assert 0.78 < shape.min() < 0.85
    assert 1.2 < shape.max() < 1.28


def test_default_crops_take_a_third_to_all_of_the_image() -> None:
    boxes = [view.box for _ in range(200) for view in plain(4)(photo(100, 100))]
    shares = [height * width / 1e4 for _, _, height, width in boxes]
    assert 0.31 < min(shares) < 0.4
    assert 0.9 < max(shares) <= 1.0


def test_half_of_the_views_are_flipped_and_none_or_all_on_request() -> None:
    image = photo()
    counts = [
        sum(view.flipped for _ in range(100) for view in plain(4, flip=flip)(image))
        for flip in (0.0, 0.5, 1.0)
    ]
    assert counts[0] == 0
    assert 70 < counts[1] < 130
    assert counts[2] == 200


def test_the_two_views_are_drawn_independently() -> None:
    pairs = [plain(4)(photo()) for _ in range(100)]
    assert all(one.box != two.box for one, two in pairs[:20])
    same = sum(one.flipped == two.flipped for one, two in pairs)
    assert 25 < same < 75


def test_torchs_global_random_state_decides_everything() -> None:
    views = TwoViews(16, blur_prob=0.5, solarize_prob=0.5, rand_augment=True)
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append([views(photo()) for _ in range(10)])
    for one, two in zip(*results, strict=True):
        for left, right in zip(one, two, strict=True):
            assert torch.equal(left.image, right.image)
            assert left[1:] == right[1:]
    torch.manual_seed(6)
    assert not torch.equal(views(photo())[0].image, results[0][0][0].image)


def test_the_image_given_stays_as_it_is() -> None:
    image = photo()
    before = image.tobytes()
    TwoViews(16, blur_prob=1.0, solarize_prob=1.0, rand_augment=True, jitter_prob=1.0)(image)
    assert image.tobytes() == before


def test_views_are_normalised_with_the_statistics_given() -> None:
    white = Image.new("RGB", (20, 20), (255, 255, 255))
    for mean, std in (((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.5,) * 3, (0.25,) * 3)):
        view = TwoViews(8, jitter_prob=0.0, mean=mean, std=std)(white)[0]
        expected = (1 - torch.tensor(mean)) / torch.tensor(std)
        torch.testing.assert_close(view.image, expected[:, None, None].expand(3, 8, 8))
    default = TwoViews(8, jitter_prob=0.0)(white)[0].image
    torch.testing.assert_close(
        default[:, 0, 0], torch.tensor([2.2489, 2.4286, 2.64]), atol=1e-4, rtol=0
    )


def test_shrinking_is_antialiased() -> None:
    # Single-pixel columns: without antialiasing some crops would be black or white.
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    view = plain(16, scale=(1.0, 1.0), ratio=(1.0, 1.0))(Image.fromarray(stripes))[0]
    assert (view.image - 0.5).abs().max() < 0.1


def changed(seed: int, **options: Any) -> tuple[Tensor, Tensor]:
    """A view with and without an option, of the same crop."""
    whole = {"scale": (1.0, 1.0), "ratio": (4 / 3, 4 / 3), "flip": 0.0}
    torch.manual_seed(seed)
    return pixels(plain(48, **whole)(photo())[0]), pixels(plain(48, **whole, **options)(photo())[0])


def test_jitter_changes_colour_and_nothing_else() -> None:
    before, after = changed(0, jitter_prob=1.0, jitter=(0.4, 0.0, 0.0, 0.0))
    known = before > 20
    factors = (after / before)[known & (after < 250)]
    assert factors.min() > 0.55
    assert factors.max() < 1.45
    assert factors.std() < 0.03
    assert (after - before).abs().max() > 3


def test_solarize_inverts_bright_pixels() -> None:
    before, after = changed(0, solarize_prob=1.0)
    assert torch.equal(after, torch.where(before >= 128, 255 - before, before))


def test_blur_smooths() -> None:
    before, after = changed(0, blur_prob=1.0)
    assert after.diff(dim=2).abs().sum() < before.diff(dim=2).abs().sum()


def test_rand_augment_is_strong_and_optional() -> None:
    differences = [
        (one - two).abs().mean().item()
        for seed in range(12)
        for one, two in [changed(seed, rand_augment=True)]
    ]
    assert max(differences) > 30


def test_options_apply_as_often_as_they_should() -> None:
    hits = 0
    for seed in range(60):
        before, after = changed(seed, solarize_prob=0.2)
        hits += not torch.equal(before, after)
    assert 4 <= hits <= 22


def test_paper_and_released_settings_are_the_defaults_at_448() -> None:
    for name in ("paper", "released"):
        views = TwoViews.from_preset(name)
        assert repr(views) == repr(TwoViews(448))
    assert "ColorJitter" in repr(TwoViews(448))
    small = TwoViews.from_preset("released", 32, flip=0.0, blur_prob=0.1)
    assert (small.image_size, small.flip) == (32, 0.0)
    assert "GaussianBlur" in repr(small)
    assert TwoViews(448).scale == [0.32, 1.0]
    jitter = TwoViews(448).steps[0]
    assert jitter.p == 0.5
    assert tuple(jitter.transforms[0].brightness) == pytest.approx((0.6, 1.4))
    assert tuple(jitter.transforms[0].contrast) == pytest.approx((0.6, 1.4))
    assert tuple(jitter.transforms[0].saturation) == pytest.approx((0.8, 1.2))
    assert tuple(jitter.transforms[0].hue) == pytest.approx((-0.1, 0.1))


def test_tiny_and_narrow_images_are_no_trouble() -> None:
    for size in ((1, 1), (1, 40), (40, 1), (3, 200)):
        for view in TwoViews(8)(Image.new("RGB", size, (9, 9, 9))):
            assert view.image.shape == (3, 8, 8)
            top, left, height, width = view.box
            assert height >= 1
            assert width >= 1
            assert left + width <= size[0]
            assert top + height <= size[1]


def test_views_collate_and_travel_to_workers() -> None:
    views = pickle.loads(pickle.dumps(TwoViews(8, blur_prob=0.1)))
    samples = [views(photo()) for _ in range(3)]
    one, two = next(iter(DataLoader(samples, batch_size=3)))
    assert isinstance(one, View)
    assert one.image.shape == two.image.shape == (3, 3, 8, 8)
    assert one.flipped.dtype == torch.bool  # type: ignore[attr-defined]
    assert torch.stack(one.box, dim=1).tolist() == [list(sample[0].box) for sample in samples]


def test_boxes_are_plain_integers() -> None:
    view = plain(8)(photo())[0]
    assert [type(value) for value in view.box] == [int] * 4
    assert type(view.flipped) is bool
    assert view.image.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_size": 0}, ValueError, "image_size: expected a positive integer, got 0"),
        ({"image_size": (8, 8)}, TypeError, "image_size: expected a positive integer"),
        ({"scale": (0.0, 1.0)}, ValueError, r"scale: expected 0 < low <= high <= 1.0, got \(0.0, "),
        ({"scale": (0.8, 0.4)}, ValueError, r"scale: expected 0 < low <= high"),
        ({"scale": (0.5, 1.5)}, ValueError, r"scale: expected 0 < low <= high"),
        ({"scale": 0.5}, TypeError, r"scale: expected 2 numbers, got 0.5"),
        ({"scale": ("a", 1.0)}, TypeError, r"scale\[0\]: expected a number, got str"),
        ({"ratio": (2.0, 1.0)}, ValueError, r"ratio: expected 0 < low <= high"),
        ({"ratio": (1.0, float("inf"))}, ValueError, r"ratio: expected 0 < low <= high"),
        ({"flip": 1.5}, ValueError, r"flip: expected a number in \[0.0, 1.0\], got 1.5"),
        ({"jitter_prob": -1}, ValueError, "jitter_prob: .* got -1"),
        ({"blur_prob": 2}, ValueError, "blur_prob: .* got 2"),
        ({"solarize_prob": "x"}, TypeError, "solarize_prob: expected a number, got str"),
        ({"jitter": (0.4, 0.4)}, TypeError, r"jitter: expected 4 numbers, got \(0.4, 0.4\)"),
        ({"jitter": (-0.4, 0, 0, 0)}, ValueError, r"jitter\[0\]: .* got -0.4"),
        ({"mean": (0.5, 0.5)}, TypeError, r"mean: expected 3 numbers"),
        ({"std": (0.5, 0.5, 0.0)}, ValueError, r"std\[2\]: .* got 0.0"),
    ],
)
def test_bad_options_are_refused_by_name(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TwoViews(**{"image_size": 8, **options})


def test_bad_images_and_presets_are_refused() -> None:
    with pytest.raises(TypeError, match="image: expected a PIL image, got ndarray"):
        TwoViews(8)(np.zeros((4, 4, 3)))  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r'image: expected mode RGB, got L; image.convert\("RGB"\)'
    ):
        TwoViews(8)(Image.new("L", (4, 4)))
    with pytest.raises(ValueError, match=r"name: expected one of .*'released'.* got 'release'"):
        TwoViews.from_preset("release")
