"""Evaluation, prediction and masks of more classes than a byte holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fsr.cam import cam_to_labels
from fsr.data import FolderDataset, Sample, read_label_map, write_label_map
from fsr.inference import evaluate, export_pseudo_labels, predict_paths
from fsr.metrics import SegmentationMetrics
from fsr.refine import label_map_probabilities
from fsr.segmenter import SingleStageSegmenter
from fsr.visualize import colorize, legend
from tests.losses.test_streamed_entropy import Largest

CLASSES, WIDE = 300, 65535


def network(classes: int = CLASSES) -> SingleStageSegmenter:
    torch.manual_seed(0)
    size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
    return SingleStageSegmenter(
        classes,
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        backbone_options=size,
        projector_options={"hidden_dim": 16, "bottleneck_dim": 8},
        decoder_options={"hidden_dim": 16},
    )


def samples() -> list[Sample]:
    random = np.random.default_rng(0)
    found = []
    for name, shown in (("a", (3, 254)), ("b", (299,))):
        pixels = random.integers(0, 255, (32, 40, 3), dtype=np.uint8)
        labels = torch.zeros(CLASSES)
        labels[list(shown)] = 1.0
        target = torch.zeros(32, 40, dtype=torch.long)
        target[:16], target[16:20] = shown[-1] + 1, WIDE
        found.append(Sample(Image.fromarray(pixels), labels, target, name))
    return found


@pytest.mark.parametrize("flip", [False, True])
def test_an_evaluation_counts_what_all_maps_would(flip: bool) -> None:
    """CAM labels at a threshold, against those made of the maps of all classes."""
    model, data = network(), samples()
    scales = (1.0, 0.5) if flip else (1.0,)
    result = evaluate(
        model, data, scales=(1.0,), cam_scales=scales, flip=flip, cam_threshold=(0.4, 0.6)
    )
    expected = SegmentationMetrics(CLASSES)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.backbone.mean, model.backbone.std))
    for sample in data:
        pixels = torch.from_numpy(np.array(sample.image)).permute(2, 0, 1) / 255
        cam = model.cam(((pixels - mean) / std)[None], scales=scales, flip=flip)[0]
        labels = cam_to_labels(cam, sample.labels[None], threshold=0.4)
        assert sample.target is not None
        expected.update(labels, sample.target[None])
    assert result.cam_sweep[0.4][0] == expected.compute().miou


def test_masks_of_many_classes_are_of_16_bits(tmp_path: Path) -> None:
    labels = torch.tensor([[0, 255, 256], [300, WIDE, 1]])
    for number, classes in enumerate((CLASSES, None)):
        path = tmp_path / f"{number}.png"
        write_label_map(path, labels, classes)
        assert Image.open(path).mode == "I;16"
        assert torch.equal(read_label_map(path, CLASSES), labels)
    # Of few labels that happen to fit into bytes too, so that all masks of a folder are alike.
    write_label_map(tmp_path / "b.png", torch.tensor([[1]]), CLASSES)
    assert Image.open(tmp_path / "b.png").mode == "I;16"
    write_label_map(tmp_path / "c.png", torch.tensor([[1, 255]]), 254)
    assert Image.open(tmp_path / "c.png").mode == "P"
    with pytest.raises(ValueError, match=r"labels: expected 0\.\.255, got 1\.\.300"):
        write_label_map(tmp_path / "d.png", torch.tensor([[1, 300]]), 254)


def test_predictions_and_exports_keep_labels_above_255(tmp_path: Path) -> None:
    model, data = network(), samples()
    model.class_names = tuple(f"class {number}" for number in range(CLASSES))
    data[0].image.save(tmp_path / "a.png")
    (found,) = predict_paths(
        model, tmp_path / "a.png", labels={"a": ["class 299"]}, scales=(1.0,), flip=False
    )
    assert found.labels is not None
    assert set(found.labels.unique().tolist()) <= {0, CLASSES}
    export_pseudo_labels(
        model, data, tmp_path / "out", source="cam", low=0.3, high=0.6, cam_scales=(1.0,)
    )
    masks = tmp_path / "out" / "SegmentationClass"
    assert {p.name: Image.open(p).mode for p in masks.glob("*.png")} == {
        "a.png": "I;16",
        "b.png": "I;16",
    }
    written = read_label_map(masks / "b.png", CLASSES)
    assert set(written.unique().tolist()) <= {0, CLASSES, WIDE}
    assert WIDE in written


def test_a_folder_of_300_classes_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    names = [f"class {number}" for number in range(CLASSES)]
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,class 299\n")
    (tmp_path / "masks").mkdir()
    write_label_map(tmp_path / "masks" / "a.png", torch.full((6, 8), 300), CLASSES)
    data = FolderDataset(tmp_path, tmp_path / "labels.csv", tmp_path / "masks", class_names=names)
    target: Tensor | None = data[0].target
    assert target is not None
    assert target.unique().tolist() == [300]


def test_labels_above_255_have_colours_of_their_own() -> None:
    picture = np.asarray(colorize(torch.tensor([[0, 1, 256, 300]])))
    assert len({tuple(colour) for colour in picture[0].tolist()}) == 4
    assert picture[0, 1].tolist() == [128, 0, 0]
    assert legend([f"c{number}" for number in range(CLASSES)]).width > 0


def test_probabilities_of_a_label_map_know_the_wide_label() -> None:
    found = label_map_probabilities(torch.tensor([[255, WIDE]]), CLASSES, 0.7)
    assert found[255, 0, 0] == pytest.approx(0.7)
    assert found[:, 0, 1].unique().tolist() == pytest.approx([1 / 301])


def apart(model: SingleStageSegmenter) -> SingleStageSegmenter:
    """Set a few classes apart from the others, as training does."""
    with torch.no_grad():
        for classes, bias in ((slice(None), -4.0), ([0, 9, 255, 299], 4.0)):
            list(model.decoder.parameters())[-1][classes] += bias
    return model


@pytest.mark.parametrize("flip", [False, True])
def test_an_evaluation_makes_no_map_of_all_classes(flip: bool) -> None:
    options: Any = {"scales": (1.0, 1.5) if flip else (1.0,), "cam_scales": (1.0,), "flip": flip}
    with Largest() as made:
        evaluate(apart(network()), samples()[:1], **options)
    # A confusion matrix is the largest: of 301 labels, in 64 bits.
    assert made.numbers == 2 * 301 * 301


@pytest.mark.parametrize("flip", [False, True])
def test_an_evaluation_scores_the_labels_of_all_maps(
    flip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: Any = {
        "scales": (1.0, 1.5) if flip else (1.0,),
        "cam_scales": (1.0,),
        "flip": flip,
        "trimap_widths": (2,),
    }
    few = evaluate(network(), samples(), **options)
    monkeypatch.setattr("fsr.inference._passes.BYTE_CLASSES", CLASSES)
    every = evaluate(network(), samples(), **options)
    assert torch.equal(few.confusion, every.confusion)
    assert few.trimap == every.trimap


@pytest.mark.parametrize("options", [{"image_size": 24}, {"crf": lambda _, maps: maps}])
def test_what_reads_scores_gets_them(options: Any) -> None:
    """A CRF, and images that the network sees at another size than they are scored at."""
    result = evaluate(network(), samples()[:1], scales=(1.0,), cam_scales=(1.0,), **options)
    assert result.confusion.sum() == 32 * 40 - 4 * 40


def test_a_network_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    model, data = network(), samples()
    with torch.no_grad():
        list(model.decoder.parameters())[-1][3] = torch.nan
    data[0].image.save(tmp_path / "a.png")
    (found,) = predict_paths(model, tmp_path / "a.png", scales=(1.0,))
    assert found.labels is None
    assert found.error is not None
    assert "the network gives NaN or infinity" in found.error
    for flip in (False, True):
        with pytest.raises(ValueError, match="segmentation: expected finite values"):
            evaluate(model, data, scales=(1.0,), cam_scales=(1.0,), flip=flip)


@pytest.mark.parametrize("size", [(40, 32), (90, 70)])
def test_predicted_labels_are_those_of_the_largest_probability(
    size: tuple[int, int], tmp_path: Path
) -> None:
    """Of images that the network sees at their own size, and of others."""
    pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    options: Any = {"scales": (1.0, 1.5), "max_size": 64}
    with Largest() as made:
        (found,) = predict_paths(apart(network()), tmp_path / "a.png", **options)
    (expected,) = predict_paths(apart(network()), tmp_path / "a.png", probabilities=True, **options)
    assert expected.probabilities is not None
    assert found.labels is not None
    assert torch.equal(found.labels, expected.probabilities.argmax(dim=0))
    if max(size) <= 64:
        assert made.numbers < 301 * 32 * 40 / 4


@pytest.mark.parametrize("flip", [False, True])
def test_probabilities_are_those_of_whole_maps(flip: bool) -> None:
    model = network()
    image = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    with Largest() as made, torch.no_grad():
        found = model.predict(image, scales=(1.0, 1.5), flip=flip)
    assert made.numbers == found.numel()
    best = None
    for size in ((32, 40), (48, 64)):  # 1.5 times, to whole patches
        scaled = F.interpolate(image, size, mode="bilinear") if size != (32, 40) else image
        with torch.no_grad():
            maps = [
                F.interpolate(
                    model.eval()(each, outputs=("segmentation",)).segmentation,
                    (32, 40),
                    mode="bilinear",
                )
                for each in ((scaled, scaled.flip(-1)) if flip else (scaled,))
            ]
        total = maps[0] + maps[1].flip(-1) if flip else maps[0]
        best = total if best is None else torch.maximum(best, total)
    assert best is not None
    torch.testing.assert_close(found, best.softmax(dim=1))
