"""Figures of the paper: what their axes hold, boundaries on images, and no global state."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from fsr import SingleStageSegmenter
from fsr.errors import ShapeError
from fsr.visualize import (
    attention_sheet,
    boundary_overlay,
    comparison_sheet,
    encoder_attention,
    heatmap_overlay,
    plot_attention_entropy,
    voc_palette,
)
from tests.backbone.test_backbone import NAME, SMALL
from tests.processes import run_code

PHOTOGRAPHS = [Image.new("RGB", (8, 6), (100, 100, 100)), Image.new("RGB", (6, 6), (40, 90, 10))]
LABELS = [torch.tensor([[0, 1], [2, 255]]), torch.tensor([[0, 0], [2, 2]])]
SCORES = [torch.rand(3, 4), torch.rand(3, 3)]


def content(axes: Axes) -> np.ndarray[Any, Any] | None:
    """Pixels that an axes shows."""
    return np.asarray(axes.images[0].get_array()) if axes.images else None


def picture_of(figure: Figure) -> Image.Image:
    """The figure as a picture."""
    written = io.BytesIO()
    figure.savefig(written, dpi=50, format="png")
    return Image.open(written)


# -- comparison sheet (Fig. 4) --------------------------------------------------------------------


def test_a_sheet_holds_its_columns_row_by_row() -> None:
    columns = [("image", PHOTOGRAPHS), ("CAM", SCORES), ("CAM", SCORES[::-1]), ("truth", LABELS)]
    figure = comparison_sheet(columns, images=PHOTOGRAPHS, rows=["one", "two"])
    assert len(figure.axes) == 8
    assert [axes.get_title() for axes in figure.axes] == ["image", "CAM", "CAM", "truth"] + [""] * 4
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == ["one", "two"]
    for row, image in enumerate(PHOTOGRAPHS):
        shown = [content(axes) for axes in figure.axes[4 * row : 4 * row + 4]]
        assert np.array_equal(shown[0], np.asarray(image))
        assert np.array_equal(shown[1], np.asarray(heatmap_overlay(image, SCORES[row])))
        assert np.array_equal(shown[2], np.asarray(heatmap_overlay(image, SCORES[1 - row])))
        assert np.array_equal(shown[3], voc_palette()[LABELS[row].numpy()])
    assert picture_of(figure).size[0] > 300


def test_scores_without_images_are_heat_alone() -> None:
    figure = comparison_sheet([("CAM", [torch.tensor([[0.0, 1.0]])])])
    assert content(figure.axes[0]).tolist() == [[[0, 0, 127], [127, 0, 0]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scores_of_any_precision(dtype: torch.dtype) -> None:
    figure = comparison_sheet([("a", [torch.ones(2, 2, dtype=dtype)])], images=PHOTOGRAPHS[:1])
    assert content(figure.axes[0])[0, 0].argmax() == 0


def test_pictures_may_be_arrays_and_places_may_stay_empty() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    pictures = [
        pixels,
        torch.from_numpy(pixels),
        LABELS[0].numpy(),
        LABELS[0].to(torch.uint8),
        None,
    ]
    figure = comparison_sheet([("all", pictures), ("grey", [PHOTOGRAPHS[0].convert("L")] * 5)])
    shown = [content(axes) for axes in figure.axes[::2]]
    assert np.array_equal(shown[0], pixels)
    assert np.array_equal(shown[1], pixels)
    assert np.array_equal(shown[2], shown[3])
    assert shown[4] is None
    assert len(figure.axes) == 10
    picture_of(figure)


def test_a_row_of_nothing_and_gradients_do_no_harm() -> None:
    scores = torch.full((2, 2), 0.5, requires_grad=True)
    picture_of(comparison_sheet([("a", [None, scores])], images=PHOTOGRAPHS))


def test_rows_are_as_high_as_their_images() -> None:
    tall, wide = Image.new("RGB", (10, 20)), Image.new("RGB", (20, 10))
    figure = comparison_sheet([("a", [tall, wide]), ("b", [tall, wide])], size=2)
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert boxes[0].height / boxes[2].height == pytest.approx(4, rel=0.1)
    assert boxes[0].height / boxes[0].width == pytest.approx(2, rel=0.01)


def test_a_legend_names_the_labels_that_occur() -> None:
    columns = [("image", PHOTOGRAPHS), ("truth", LABELS)]
    (legend,) = comparison_sheet(columns, class_names=["cat", "dog", "cow"]).legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["background", "cat", "dog", "ignored"]
    colours = [to_hex(patch.get_facecolor()) for patch in legend.get_patches()]
    assert colours == [to_hex(voc_palette()[label] / 255) for label in (0, 1, 2, 255)]
    assert comparison_sheet(columns).legends == []
    assert comparison_sheet([("image", PHOTOGRAPHS)], class_names=["cat"]).legends == []


# -- attention sheet and boundaries (Fig. 5) ------------------------------------------------------


def test_attention_stands_beside_its_image_by_its_own_maximum() -> None:
    attention = torch.rand(2, 3, 3, 4) / 12
    attention[0, 1] = 0.0
    figure = attention_sheet(PHOTOGRAPHS, attention, rows=["one", "two"])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["image", "head 0", "head 1", "head 2", "mean"] + [""] * 5
    for row, image in enumerate(PHOTOGRAPHS):
        shown = [content(axes) for axes in figure.axes[5 * row : 5 * row + 5]]
        assert np.array_equal(shown[0], np.asarray(image))
        for head in range(3):
            weights = attention[row, head]
            scores = weights / weights.max() if weights.max() > 0 else weights
            assert np.array_equal(shown[1 + head], np.asarray(heatmap_overlay(image, scores)))
        mean = attention[row].mean(0)
        assert np.array_equal(shown[4], np.asarray(heatmap_overlay(image, mean / mean.max())))


def test_the_sheet_takes_what_the_networks_give() -> None:
    model = SingleStageSegmenter(2, NAME, image_size=32, projection_dim=8, backbone_options=SMALL)
    images = torch.randn(2, 3, 32, 48)
    aggregated = model.attention_maps(images)[:, -1]
    encoder = encoder_attention(model, images, queries="prefix").maps()[:, -1]
    for maps in (aggregated, encoder, encoder.bfloat16()):
        assert len(attention_sheet(PHOTOGRAPHS, maps).axes) == 8


def test_boundaries_are_drawn_on_the_image_where_labels_are_given() -> None:
    target = torch.zeros(6, 8, dtype=torch.long)
    target[:, 4:] = 1
    figure = attention_sheet(PHOTOGRAPHS, torch.rand(2, 1, 3, 4), labels=[target, None])
    assert np.array_equal(
        content(figure.axes[0]), np.asarray(boundary_overlay(PHOTOGRAPHS[0], target))
    )
    assert np.array_equal(content(figure.axes[3]), np.asarray(PHOTOGRAPHS[1]))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_boundaries_are_the_pixels_near_another_label(width: int) -> None:
    labels = torch.randint(0, 2, (3, 4)).repeat_interleave(5, 0).repeat_interleave(6, 1)
    labels[0, 0] = 255
    image = Image.new("RGB", (24, 15), (100, 100, 100))
    picture = np.asarray(boundary_overlay(image, labels, colour=(1, 2, 3), width=width))
    for y, x in np.ndindex(15, 24):
        near = any(
            labels[v, u] != labels[y, x] and (v - y) ** 2 + (u - x) ** 2 <= width**2
            for v, u in np.ndindex(15, 24)
        )
        assert picture[y, x].tolist() == ([1, 2, 3] if near else [100, 100, 100])


def test_boundaries_are_thicker_on_large_images_and_take_colours_of_the_palette() -> None:
    labels = torch.zeros(1, 1200, dtype=torch.uint8)
    labels[:, 600:] = 7
    image = Image.new("L", (1200, 1), 255)
    picture = np.asarray(boundary_overlay(image, labels, colour=voc_palette()[1]))
    assert (picture == voc_palette()[1]).all(-1)[0].nonzero()[0].tolist() == [598, 599, 600, 601]
    assert boundary_overlay(image, torch.zeros(1, 1200, dtype=torch.long)).getpixel((600, 0)) == (
        255,
        255,
        255,
    )


# -- entropy plot (Fig. 6) ------------------------------------------------------------------------


def test_dots_are_the_heads_and_the_line_their_mean() -> None:
    entropies: dict[str, Any] = {"without": torch.rand(3, 2), "with": torch.rand(4, 5).numpy()}
    figure = plot_attention_entropy(entropies, title="a title")
    (axes,) = figure.axes
    assert axes.get_title() == "a title"
    assert axes.get_ylabel() == "mean attention entropy (nats)"
    assert axes.get_xticks().tolist() == [0, 1, 2, 3]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["without", "with"]
    places = []
    for entropy, dots, line in zip(entropies.values(), axes.collections, axes.lines, strict=True):
        depth, heads = entropy.shape
        x, y = np.asarray(dots.get_offsets()).T
        np.testing.assert_allclose(y, np.asarray(entropy).ravel(), rtol=1e-6)
        np.testing.assert_allclose(line.get_ydata(), np.asarray(entropy).mean(1), rtol=1e-6)
        np.testing.assert_allclose(line.get_xdata(), np.arange(depth))
        assert 0 < np.abs(x - np.repeat(np.arange(depth), heads)).max() < 0.5
        places.append(x[0])
    assert places[0] < places[1]
    picture_of(figure)


def test_one_model_stands_on_its_layers_and_units_are_named() -> None:
    figure = plot_attention_entropy({"one": torch.rand(3, 2).bfloat16()}, normalized=True)
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0, 1, 2])
    assert axes.get_ylabel() == "mean attention entropy (share of ln L)"


# -- no global state ------------------------------------------------------------------------------


def test_figures_need_no_pyplot_and_change_no_setting() -> None:
    code = """
import io, sys, matplotlib, torch
from PIL import Image
from fsr.visualize import attention_sheet, comparison_sheet, plot_attention_entropy
before = matplotlib.rcParams.copy()
labels = torch.zeros(2, 2, dtype=torch.long)
for figure in (
    comparison_sheet([("a", [labels])], class_names=["cat"]),
    attention_sheet([Image.new("RGB", (8, 8))], torch.rand(1, 2, 2, 2)),
    plot_attention_entropy({"a": torch.rand(2, 2)}),
):
    figure.savefig(io.BytesIO(), format="png")
print("matplotlib.pyplot" in sys.modules, before == matplotlib.rcParams.copy())
"""
    done = run_code(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False True\n", "")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = r"needs the package 'matplotlib': pip install 'fsr-wsss\[viz\]'"
    with pytest.raises(ImportError, match=f"a sheet {message}"):
        comparison_sheet([("a", SCORES)])
    with pytest.raises(ImportError, match=f"a sheet {message}"):
        attention_sheet(PHOTOGRAPHS, torch.rand(2, 1, 2, 2))
    with pytest.raises(ImportError, match=f"plot_attention_entropy {message}"):
        plot_attention_entropy({"a": torch.rand(2, 2)})


# -- bad input ------------------------------------------------------------------------------------


def test_bad_sheets_are_named() -> None:
    with pytest.raises(ValueError, match="columns: expected at least one column, got none"):
        comparison_sheet([])
    with pytest.raises(ValueError, match="columns: expected at least one row, got none in 'a'"):
        comparison_sheet([("a", [])])
    with pytest.raises(ValueError, match="columns: 'b': expected one for each of 2 rows, got 1"):
        comparison_sheet([("a", PHOTOGRAPHS), ("b", PHOTOGRAPHS[:1])])
    with pytest.raises(ValueError, match="images: expected one for each of 2 rows, got 1"):
        comparison_sheet([("a", SCORES)], images=PHOTOGRAPHS[:1])
    with pytest.raises(ValueError, match="rows: expected one for each of 2 rows, got 1"):
        comparison_sheet([("a", SCORES)], rows=["one"])
    with pytest.raises(ValueError, match=r"size: expected a number in \(0.0, inf\), got 0"):
        comparison_sheet([("a", SCORES)], size=0)
    with pytest.raises(ValueError, match=r"class_names: .*, got 1 names and labels \[2\]"):
        comparison_sheet([("a", LABELS)], class_names=["cat"])


def test_bad_pictures_are_named() -> None:
    def sheet(picture: Any) -> None:
        comparison_sheet([("CAM", [picture])])

    with pytest.raises(
        TypeError, match="columns: 'CAM': expected an image, an array or None, got s"
    ):
        sheet("a.jpg")
    with pytest.raises(ShapeError, match=r"columns: 'CAM': expected shape \(height, width\), got"):
        sheet(torch.rand(1, 3, 3))
    with pytest.raises(ShapeError, match=r"columns: 'CAM': expected .* with channels=3"):
        sheet(np.zeros((2, 2, 4), dtype=np.uint8))
    with pytest.raises(TypeError, match="columns: 'CAM': expected integer labels or floating scor"):
        sheet(torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="columns: 'CAM': expected values between 0 and 1, got va"):
        sheet(torch.full((2, 2), 3.0))
    with pytest.raises(ValueError, match=r"columns: 'CAM': expected labels in 0..65535, got"):
        sheet(torch.tensor([[-1, 300]]))


def test_bad_attention_is_named() -> None:
    attention = torch.rand(2, 1, 2, 2)
    with pytest.raises(ShapeError, match=r"attention: expected shape \(B, heads, H, W\) with B=1"):
        attention_sheet(PHOTOGRAPHS[:1], attention)
    with pytest.raises(TypeError, match="attention: expected a floating-point tensor"):
        attention_sheet(PHOTOGRAPHS, attention.long())
    with pytest.raises(ValueError, match="attention: expected finite values"):
        attention_sheet(PHOTOGRAPHS, attention / 0)
    with pytest.raises(ValueError, match="attention: expected weights of at least 0, got -"):
        attention_sheet(PHOTOGRAPHS, -attention)
    with pytest.raises(ValueError, match="attention: expected at least one head"):
        attention_sheet(PHOTOGRAPHS, attention[:, :0])
    with pytest.raises(ValueError, match="images: expected at least one image, got none"):
        attention_sheet([], attention[:0])
    with pytest.raises(ValueError, match="labels: expected one for each of 2 rows, got 1"):
        attention_sheet(PHOTOGRAPHS, attention, labels=[None])
    with pytest.raises(ShapeError, match=r"labels: expected shape .* with height=6, width=8"):
        attention_sheet(PHOTOGRAPHS, attention, labels=[LABELS[0], None])


def test_bad_boundaries_are_named() -> None:
    labels = torch.zeros(6, 8, dtype=torch.long)
    with pytest.raises(ShapeError, match=r"labels: expected shape .* with height=6, width=8"):
        boundary_overlay(PHOTOGRAPHS[0], labels.T)
    with pytest.raises(TypeError, match="labels: expected an integer tensor"):
        boundary_overlay(PHOTOGRAPHS[0], labels.float())
    with pytest.raises(ValueError, match="width: expected a positive integer, got 0"):
        boundary_overlay(PHOTOGRAPHS[0], labels, width=0)
    with pytest.raises(TypeError, match=r"width: expected a positive integer, got 1\.0"):
        boundary_overlay(PHOTOGRAPHS[0], labels, width=1.0)
    for colour in ((0, 0), (0, 0, 256), (-1, 0, 0), "red"):
        with pytest.raises(ValueError, match=r"colour: expected red, green and blue in 0\.\.255"):
            boundary_overlay(PHOTOGRAPHS[0], labels, colour=colour)


def test_bad_entropies_are_named() -> None:
    with pytest.raises(ValueError, match="entropies: expected at least one model, got none"):
        plot_attention_entropy({})
    with pytest.raises(ShapeError, match=r"entropies: 'a': expected shape \(depth, heads\), got"):
        plot_attention_entropy({"a": torch.rand(1, 2, 3)})
    with pytest.raises(ShapeError, match=r"entropies: 'a': expected at least one depth"):
        plot_attention_entropy({"a": torch.rand(0, 2)})
    with pytest.raises(TypeError, match="entropies: 'a': expected a floating-point tensor"):
        plot_attention_entropy({"a": torch.ones(2, 2, dtype=torch.long)})
    with pytest.raises(TypeError, match=r"entropies: 'a': expected a tensor .*, got list"):
        plot_attention_entropy({"a": [[0.1]]})
    with pytest.raises(ValueError, match="entropies: 'a': expected finite values"):
        plot_attention_entropy({"a": torch.full((2, 2), torch.nan)})
