"""Pictures of label maps and scores: colours, borders, legends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fsr.errors import ShapeError
from fsr.visualize import colorize, heatmap_overlay, legend, overlay, voc_palette
from tests.processes import run_code

GREY = Image.new("RGB", (8, 6), (100, 100, 100))


def halves() -> torch.Tensor:
    """Left half background, right half class 1 with a pixel of ignored."""
    labels = torch.zeros(6, 8, dtype=torch.long)
    labels[:, 4:] = 1
    labels[0, 7] = 255
    return labels


def test_the_palette_is_that_of_voc() -> None:
    assert voc_palette()[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]


@pytest.mark.parametrize("labels", [{}, {"cat": 1}, [256], 256.0, True, None])
def test_a_number_of_colours_that_is_none_is_refused_by_name(labels: Any) -> None:
    with pytest.raises(TypeError, match="labels: expected a positive integer"):
        voc_palette(labels)


def test_colours_are_those_of_the_labels() -> None:
    labels = torch.arange(256).view(16, 16)
    assert np.array_equal(np.asarray(colorize(labels)), voc_palette()[labels.numpy()])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_labels_may_be_any_integers(dtype: torch.dtype) -> None:
    assert colorize(torch.ones(2, 3, dtype=dtype)).getpixel((0, 0)) == (128, 0, 0)


def test_overlays_blend_all_but_background() -> None:
    picture = np.asarray(overlay(GREY, halves(), alpha=0.25, contours=False))
    expected = np.full((6, 8, 3), 100)
    expected[:, 4:] = np.array([107, 75, 75])
    expected[0, 7] = np.array([131, 131, 123])
    assert np.abs(picture.astype(int) - expected).max() <= 1
    assert np.asarray(overlay(GREY, halves(), alpha=0.0, contours=False)).tolist() == (
        np.asarray(GREY).tolist()
    )


def test_contours_run_inside_along_the_border_of_a_class() -> None:
    labels = torch.zeros(9, 9, dtype=torch.long)
    labels[2:7, 2:7] = 2
    photograph = Image.new("RGB", (9, 9), (100, 100, 100))
    picture = np.asarray(overlay(photograph, labels))
    full = (picture == voc_palette()[2]).all(-1)
    expected = np.zeros((9, 9), dtype=bool)
    expected[2:7, 2:7] = True
    expected[3:6, 3:6] = False
    assert np.array_equal(full, expected)
    assert (picture[labels.numpy() == 0] == 100).all()


def test_contours_are_thicker_on_large_images_and_absent_at_the_images_border() -> None:
    labels = torch.zeros(1, 900, dtype=torch.long)
    labels[:, 450:] = 1
    picture = np.asarray(overlay(Image.new("RGB", (900, 1), "white"), labels))
    assert (picture == voc_palette()[1]).all(-1)[0].nonzero()[0].tolist() == [450, 451, 452]


def test_grey_images_can_be_overlaid() -> None:
    assert overlay(GREY.convert("L"), halves()).mode == "RGB"


def test_wrong_label_maps_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"labels: expected shape \(height, width\) with"):
        overlay(GREY, halves().T)
    with pytest.raises(ShapeError, match="labels: expected shape"):
        colorize(torch.zeros(1, 2, 2, dtype=torch.long))
    with pytest.raises(TypeError, match="labels: expected an integer tensor"):
        colorize(torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"labels: expected 0\.\.65535, got -1\.\.256"):
        colorize(torch.tensor([[-1, 256]]))
    with pytest.raises(ValueError, match=r"alpha: expected a number in \[0.0, 1.0\], got 2"):
        overlay(GREY, halves(), alpha=2)


def test_heat_is_blue_where_low_and_red_where_high() -> None:
    scores = torch.tensor([[0.0, 0.5, 1.0]])
    low, middle, high = np.asarray(heatmap_overlay(Image.new("RGB", (3, 1)), scores))[0].astype(int)
    assert low[2] > max(low[0], low[1])
    assert middle[1] > max(middle[0], middle[2])
    assert high[0] > max(high[1], high[2])


def test_heat_is_resized_to_the_image_and_shows_it_in_grey() -> None:
    half = Image.fromarray(np.repeat(np.array([[0], [255]], dtype=np.uint8), 4, axis=1))
    picture = np.asarray(heatmap_overlay(half.convert("RGB"), torch.full((3, 3), 0.5)))
    assert picture.shape == (2, 4, 3)
    assert np.abs(picture[1].astype(int) - picture[0] - 0.45 * 255).max() <= 1


def test_wrong_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="scores: expected values between 0 and 1"):
        heatmap_overlay(GREY, torch.full((2, 2), 3.0))
    with pytest.raises(ValueError, match="got NaN"):
        heatmap_overlay(GREY, torch.full((2, 2), torch.nan))
    with pytest.raises(ShapeError, match=r"scores: expected shape \(H, W\)"):
        heatmap_overlay(GREY, torch.zeros(1, 2, 2))


def test_a_legend_shows_every_label_in_its_colour_in_columns() -> None:
    picture = legend(["cat", "dog"], width=300, extra=[("uncertain", (255, 140, 0))])
    assert picture.size == (300, 66)
    places = [(0, 0), (130, 0), (0, 22), (130, 22), (0, 44)]
    colours = [picture.getpixel((x + 7, y + 8)) for x, y in places]
    assert colours == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (224, 224, 192), (255, 140, 0)]
    assert legend(["cat"], width=50).size == (50, 66)


def test_importing_it_loads_no_matplotlib() -> None:
    code = "import sys, fsr.visualize; sys.exit('matplotlib' in sys.modules)"
    assert run_code(code).returncode == 0
