"""Pseudo labels of a training set: sources, cuts, layout, restarts, errors, several processes."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import VOCSegmentation

from fsr.cam import cam_to_labels
from fsr.data import VOC2012, FolderDataset, Sample
from fsr.data._files import read_label_map
from fsr.data._voc_classes import VOC_CLASSES
from fsr.errors import DataError, SettingsError
from fsr.inference import ExportResult, LabelSource, describe, export_pseudo_labels
from fsr.inference._export_folder import flat_name
from fsr.inference._label_sources import present_label_probabilities
from fsr.inference._maps import restrict_to_labels
from fsr.inference._provenance import structure_hash, weights_hash
from fsr.refine import PAR, pseudo_labels
from fsr.segmenter import SingleStageSegmenter
from tests.helpers import assert_same
from tests.processes import run_together

CLASSES = len(VOC_CLASSES)
SIZES = ((32, 40), (29, 35), (32, 40), (17, 50))
ONCE: dict[str, Any] = {"scales": (1.0,), "cam_scales": (1.0,), "flip": False}


def build(seed: int = 1) -> SingleStageSegmenter:
    torch.manual_seed(seed)
    model = SingleStageSegmenter(
        CLASSES,
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        projector_options={"hidden_dim": 16, "bottleneck_dim": 8},
        decoder_options={"hidden_dim": 8},
        backbone_options={"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2},
    )
    with torch.no_grad():
        for module in (model.decoder, model.classifier):
            for parameter in module.parameters():
                parameter.normal_(std=0.3)
    model.class_names = VOC_CLASSES
    return model


@pytest.fixture(scope="module")
def model() -> SingleStageSegmenter:
    return build()


def samples(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Sample]:
    draw = np.random.default_rng(0)
    made = []
    for index, (height, width) in enumerate(sizes):
        image = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        labels = torch.zeros(CLASSES)
        labels[[index, index + 7]] = 1.0
        made.append(Sample(image, labels, None, f"2007_{index:06}"))
    return made


class Source:
    """A data set that counts what is read and cannot read some samples."""

    class_names = VOC_CLASSES

    def __init__(self, broken: Sequence[int] = (), *, names: bool = True) -> None:
        self.samples = samples()
        self.broken = broken
        self.read: list[int] = []
        if names:
            self.names = tuple(sample.name for sample in self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        self.read.append(index)
        if index in self.broken:
            raise OSError(f"sample {index}.jpg: the image is damaged")
        return self.samples[index]


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def normalised(model: SingleStageSegmenter, image: Image.Image) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.backbone.mean, model.backbone.std))
    return ((pixels(image).float() / 255 - mean) / std)[None]


def masks(folder: Path) -> dict[str, Tensor]:
    found = sorted((folder / "SegmentationClass").glob("*.png"))
    return {path.stem: read_label_map(path, CLASSES) for path in found}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        # What it says of files holds times.
        if path.is_file() and path.name != "made_of.jsonl"
    }


# -- what the labels are --------------------------------------------------------------------------


def test_predictions_keep_to_the_labels_and_uncertain_pixels_are_cut(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"scales": (1.0, 1.5), "flip": True}
    cut = 0.6
    export_pseudo_labels(model, samples(), tmp_path / "all", batch_size=3, **options)
    export_pseudo_labels(model, samples(), tmp_path / "cut", confidence=cut, **options)
    ignored = 0
    for sample in samples():
        probabilities = model.predict(normalised(model, sample.image), **options)[0]
        probabilities = restrict_to_labels(probabilities, sample.labels)
        best, expected = probabilities.max(0)
        whole, partial = (masks(tmp_path / name)[sample.name] for name in ("all", "cut"))
        clear = (probabilities.topk(2, dim=0).values.diff(dim=0)[0].abs() > 1e-4) & (
            (best - cut).abs() > 1e-4
        )
        assert torch.equal(whole[clear], expected[clear])
        assert torch.equal(partial[clear], expected.masked_fill(best < cut, 255)[clear])
        allowed = {0, *(int(i) + 1 for i in sample.labels.nonzero())}
        assert set(whole.unique().tolist()) <= allowed
        ignored += int((partial == 255).sum())
    assert ignored > 0


@pytest.mark.parametrize("borders", [{"threshold": 0.4}, {"low": 0.3, "high": 0.6}])
def test_cams_are_thresholded_among_the_classes_present(
    model: SingleStageSegmenter, tmp_path: Path, borders: dict[str, float]
) -> None:
    export_pseudo_labels(model, samples(), tmp_path, source="cam", **ONCE, **borders)
    found = masks(tmp_path)
    for sample in samples():
        cam, _ = model.cam(normalised(model, sample.image), scales=(1.0,), flip=False)
        expected = cam_to_labels(cam, sample.labels[None], **borders)[0]
        assert (found[sample.name] == expected).float().mean() > 0.99


def test_refined_cams_are_those_of_the_training(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    par = PAR(2, (1, 2))
    export_pseudo_labels(
        model, samples(), tmp_path, source="cam+par", low=0.3, high=0.6, par=par, **ONCE
    )
    found = masks(tmp_path)
    for sample in samples():
        cam, _ = model.cam(normalised(model, sample.image), scales=(1.0,), flip=False)
        expected = pseudo_labels(
            par,
            pixels(sample.image)[None].float() / 255,
            cam,
            sample.labels[None],
            low=0.3,
            high=0.6,
        )[0]
        assert (found[sample.name] == expected).float().mean() > 0.99
    assert json.loads((tmp_path / "settings.json").read_text())["par"] == repr(par)


@pytest.mark.parametrize("source", ["prediction", "cam", "cam+par"])
def test_a_crf_refines_every_source_within_the_labels(
    model: SingleStageSegmenter, tmp_path: Path, source: str
) -> None:
    seen = []

    def crf(image: Tensor, probabilities: Tensor) -> Tensor:
        seen.append((tuple(image.shape), image.dtype, tuple(probabilities.shape)))
        assert_same(probabilities.sum(0), torch.ones(image.shape[:2]), rtol=0, atol=1e-5)
        # As good as certain of class 1, which the first image shows and the second does not.
        return torch.full_like(probabilities, 0.01).index_fill(0, torch.tensor(1), 0.8)

    borders = {} if source == "prediction" else {"low": 0.3, "high": 0.6}
    data = samples()[:2]
    export_pseudo_labels(
        model, data, tmp_path, source=source, crf=crf, confidence=0.4, **borders, **ONCE
    )
    assert seen == [((*size, 3), torch.uint8, (CLASSES + 1, *size)) for size in SIZES[:2]]
    first, second = masks(tmp_path).values()
    assert first.unique().tolist() == [1]
    # Background and two classes are left, a third each: less than asked for.
    assert second.unique().tolist() == [255]


def test_probabilities_stand_for_labels() -> None:
    labels, present = torch.tensor([[0, 2, 255]]), torch.tensor([1.0, 1.0, 0.0])
    found = present_label_probabilities(labels, present, 0.8)
    third = 1 / 3
    expected = torch.tensor(
        [[0.8, 0.1, third], [0.1, 0.1, third], [0.1, 0.8, third], [0.0, 0.0, 0.0]]
    )
    assert_same(found[:, 0], expected, rtol=0, atol=1e-6)
    alone = present_label_probabilities(torch.tensor([[0, 255]]), torch.zeros(2), 0.8)
    assert alone[:, 0].tolist() == [[1, 1], [0, 0], [0, 0]]


def test_large_images_are_shrunk_for_the_network_alone(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    for source, borders in (("prediction", {}), ("cam", {"threshold": 0.4})):
        folder = tmp_path / source
        export_pseudo_labels(
            model, samples(((64, 90),)), folder, source=source, max_size=45, **borders, **ONCE
        )
        (mask,) = masks(folder).values()
        assert mask.shape == (64, 90)


# -- where they go --------------------------------------------------------------------------------


def write_voc(root: Path) -> VOC2012:
    for name in ("JPEGImages", "ImageSets/Segmentation", "SegmentationClass"):
        (root / name).mkdir(parents=True)
    for sample in samples():
        sample.image.save(root / "JPEGImages" / f"{sample.name}.jpg", quality=95)
        target = torch.zeros(sample.image.height, sample.image.width, dtype=torch.uint8)
        for label in sample.labels.nonzero()[:, 0].tolist():
            target[label] = label + 1
        Image.fromarray(target.numpy()).save(root / "SegmentationClass" / f"{sample.name}.png")
    names = "".join(f"{sample.name}\n" for sample in samples())
    (root / "ImageSets/Segmentation/train.txt").write_text(names)
    return VOC2012(root, "train", masks=False)


@pytest.mark.parametrize("images", ["link", "copy"])
def test_voc_readers_read_the_folder(
    model: SingleStageSegmenter, tmp_path: Path, images: str
) -> None:
    data = write_voc(tmp_path / "official")
    folder = tmp_path / "pseudo" / "VOCdevkit" / "VOC2012"
    result = export_pseudo_labels(model, data, folder, images=images, **ONCE)
    assert result == ExportResult(4, 0, ())
    again = VOC2012(folder, "train")
    theirs = VOCSegmentation(str(tmp_path / "pseudo"), "2012", "train", download=False)
    assert again.names == data.names
    for index, name in enumerate(data.names):
        expected = masks(folder)[name]
        assert_same(again[index].target, expected)
        assert again[index].image.tobytes() == data[index].image.tobytes()
        image, mask = theirs[index]
        assert image.tobytes() == data[index].image.tobytes()
        assert np.array_equal(np.asarray(mask), expected.numpy())
        path = folder / "JPEGImages" / f"{name}.jpg"
        assert path.is_symlink() == (images == "link")
    rows = list(csv.reader((folder / "images.csv").open(newline="")))
    assert rows[0] == ["image", "mask"]
    assert rows[1] == [str(data.image_path(0)), f"SegmentationClass/{data.names[0]}.png"]
    assert (folder / "classes.txt").read_text().split() == ["background", *VOC_CLASSES]


@pytest.mark.parametrize("images", ["link", "copy"])
def test_turned_photographs_are_written_as_the_data_set_shows_them(
    model: SingleStageSegmenter, tmp_path: Path, images: str
) -> None:
    # Smooth, so that JPEG keeps it.
    ramp = np.add.outer(np.arange(24) * 2, np.arange(40) * 4).astype(np.uint8)
    stored = Image.fromarray(np.stack([ramp, ramp // 2, 255 - ramp], axis=2))
    exif = stored.getexif()
    exif[0x0112] = 6
    stored.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = stored.transpose(Image.Transpose.ROTATE_270)

    class Upright(Source):
        def __init__(self) -> None:
            super().__init__()
            self.samples = [self.samples[0]._replace(image=upright, name="turned")]
            self.names = ("turned",)

        def image_path(self, index: int) -> Path:
            return tmp_path / "turned.jpg"

    export_pseudo_labels(model, Upright(), tmp_path / "out", images=images, **ONCE)
    sample = VOC2012(tmp_path / "out", "train")[0]
    assert (sample.image.size, tuple(sample.target.shape)) == ((24, 40), (40, 24))
    assert not (tmp_path / "out/JPEGImages/turned.jpg").is_symlink()
    difference = np.asarray(sample.image).astype(int) - np.asarray(upright)
    assert np.abs(difference).mean() < 3


def test_masks_alone_are_the_default(model: SingleStageSegmenter, tmp_path: Path) -> None:
    export_pseudo_labels(model, samples(), tmp_path, **ONCE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ImageSets",
        "SegmentationClass",
        "classes.txt",
        "made_of.jsonl",
        "settings.json",
    ]
    assert sorted(path.name for path in (tmp_path / "SegmentationClass").iterdir()) == [
        f"2007_{index:06}.png" for index in range(4)
    ]


def test_images_without_files_are_written_as_jpeg_and_cannot_be_linked(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    export_pseudo_labels(model, samples(), tmp_path / "a", images="copy", split="mine", **ONCE)
    again = VOC2012(tmp_path / "a", "mine")
    assert [again[i].image.size[::-1] for i in range(4)] == list(SIZES)
    with pytest.raises(DataError, match=r"images: .*\(image_path\); take images='copy'"):
        export_pseudo_labels(model, samples(), tmp_path / "b", images="link", **ONCE)
    assert not (tmp_path / "b").exists()


def test_names_stay_in_the_folder(model: SingleStageSegmenter, tmp_path: Path) -> None:
    data = [sample._replace(name=f"cats/{sample.name}") for sample in samples()]
    export_pseudo_labels(model, data, tmp_path, **ONCE)
    assert next(iter(masks(tmp_path))) == "cats__2007_000000"
    for name in ("../up", "", "a/../../b"):
        with pytest.raises(DataError, match="expected a file name without extension"):
            flat_name(name)


def test_a_name_too_long_for_a_file_is_told_and_the_others_done(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    data = samples()
    data[0] = data[0]._replace(name="n" * 251)  # as long as may be, with its ending
    data[1] = data[1]._replace(name="cats/" + "n" * 251)
    result = export_pseudo_labels(model, data, tmp_path, on_error="skip", **ONCE)
    assert (result.written, len(result.failed)) == (3, 1)
    assert result.failed[0].startswith("dataset: sample 1 ('cats__n")
    assert (tmp_path / "SegmentationClass" / ("n" * 251 + ".png")).is_file()
    with pytest.raises(OSError, match="File name too long"):
        export_pseudo_labels(model, data[1:], tmp_path / "b", **ONCE)


def test_what_readers_would_not_agree_on_is_written_as_jpeg(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    cut = Image.new("RGBA", (32, 24), (0, 0, 0, 0))
    cut.save(tmp_path / "in/a.png")
    cut.convert("RGB").save(tmp_path / "in/b.png")
    rows = "".join(f"{name},{VOC_CLASSES[0]}\n" for name in "ab")
    (tmp_path / "labels.csv").write_text("image,labels\n" + rows)
    data = FolderDataset(tmp_path / "in", tmp_path / "labels.csv", class_names=VOC_CLASSES)
    export_pseudo_labels(
        model, data, tmp_path / "out", images="link", class_names=VOC_CLASSES, **ONCE
    )
    placed = tmp_path / "out/JPEGImages"
    assert ((placed / "a.jpg").is_symlink(), (placed / "b.jpg").is_symlink()) == (False, True)
    with Image.open(placed / "a.jpg") as image:
        assert image.getpixel((0, 0)) == (255, 255, 255)


def test_settings_hold_what_changes_a_label(model: SingleStageSegmenter, tmp_path: Path) -> None:
    export_pseudo_labels(
        model,
        samples(),
        tmp_path,
        confidence=0.5,
        scales=(1.0, 1.25),
        flip=False,
        settings={"checkpoint": "model.safetensors"},
    )
    found = json.loads((tmp_path / "settings.json").read_text())
    assert torch.__version__.startswith(found["versions"]["torch"])
    del found["versions"]
    assert found == {
        "source": "prediction",
        "confidence": 0.5,
        "low": None,
        "high": None,
        "threshold": None,
        "scales": [1.0, 1.25],
        "reduce": "max_logits",
        "certainty": 0.7,
        "flip": False,
        "max_size": None,
        "autocast": None,
        "par": None,
        "crf": None,
        "class_names": list(VOC_CLASSES),
        "dataset": "builtins.list",
        "samples": 4,
        "split": "train",
        "weights_sha256": weights_hash(model),
        "network_sha256": structure_hash(model),
        "checkpoint": "model.safetensors",
    }


def test_the_hash_of_weights_is_that_of_their_values() -> None:
    assert weights_hash(build()) == weights_hash(build())
    assert weights_hash(build(1)) != weights_hash(build(2))
    other = build()
    with torch.no_grad():
        other.classifier.weight[3, 2] += 1e-3
    assert weights_hash(build()) != weights_hash(other)


def test_objects_are_described_without_addresses(tmp_path: Path) -> None:
    assert describe(PAR(2, (1, 2))) == "PAR(num_iter=2, dilations=(1, 2))"
    assert describe(Source()) == "tests.inference.test_export.Source"
    assert describe(flat_name) == "fsr.inference.flat_name"
    assert "VOC2012(" in describe(write_voc(tmp_path))


# -- restarts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [True, False])
def test_an_interrupted_export_goes_on(
    model: SingleStageSegmenter, tmp_path: Path, names: bool
) -> None:
    export_pseudo_labels(model, Source(names=names), tmp_path / "whole", **ONCE)
    with pytest.raises(DataError, match=r"sample 2.*: sample 2\.jpg: the image is damaged"):
        export_pseudo_labels(model, Source((2,), names=names), tmp_path / "parts", **ONCE)
    assert list(masks(tmp_path / "parts")) == ["2007_000000", "2007_000001"]
    assert not (tmp_path / "parts" / "ImageSets").exists()
    before = (tmp_path / "parts/SegmentationClass/2007_000000.png").stat().st_mtime_ns
    source = Source(names=names)
    result = export_pseudo_labels(model, source, tmp_path / "parts", **ONCE)
    assert result == ExportResult(2, 2, ())
    # Names alone do not tell whether labels and images are still the same.
    assert source.read == [0, 1, 2, 3]
    assert files(tmp_path / "whole") == files(tmp_path / "parts")
    assert (tmp_path / "parts/SegmentationClass/2007_000000.png").stat().st_mtime_ns == before


def test_other_settings_are_refused_before_anything_is_written(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    export_pseudo_labels(model, samples(), tmp_path, **ONCE)
    before = files(tmp_path)
    for other, changes in (
        ({"confidence": 0.5}, "confidence was None, now 0.5"),
        ({"scales": (1.0, 1.5)}, r"scales was \[1.0\], now \[1.0, 1.5\]"),
        ({"source": "cam", "threshold": 0.5}, "source was 'prediction', now 'cam'"),
        ({"class_names": VOC_CLASSES[::-1]}, "class_names was"),
    ):
        with pytest.raises(SettingsError, match=changes):
            export_pseudo_labels(model, samples(), tmp_path, **{**ONCE, **other})
    with pytest.raises(SettingsError, match="weights_sha256 was"):
        export_pseudo_labels(build(2), samples(), tmp_path, **ONCE)
    assert files(tmp_path) == before


def test_images_can_be_added_to_masks(model: SingleStageSegmenter, tmp_path: Path) -> None:
    data = write_voc(tmp_path / "official")
    export_pseudo_labels(model, data, tmp_path / "out", **ONCE)
    before = masks(tmp_path / "out")
    result = export_pseudo_labels(model, data, tmp_path / "out", images="link", **ONCE)
    assert result == ExportResult(4, 0, ())
    assert len(VOC2012(tmp_path / "out", "train")) == 4
    assert_same(list(masks(tmp_path / "out").values()), list(before.values()))


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_samples_are_told_and_the_others_done(
    model: SingleStageSegmenter, tmp_path: Path, workers: int
) -> None:
    source = Source((0, 3))
    source.samples[1] = source.samples[1]._replace(labels=torch.full((CLASSES,), torch.nan))
    seen: list[tuple[int, int]] = []
    result = export_pseudo_labels(
        model,
        source,
        tmp_path,
        on_error="skip",
        batch_size=2,
        num_workers=workers,
        progress=lambda done, total: seen.append((done, total)),
        **ONCE,
    )
    assert (result.written, result.kept) == (1, 0)
    assert result.failed == (
        "dataset: sample 0 ('2007_000000'): sample 0.jpg: the image is damaged",
        "dataset: sample 1 ('2007_000001'): its image-level labels are unknown; "
        "pseudo labels need them",
        "dataset: sample 3 ('2007_000003'): sample 3.jpg: the image is damaged",
    )
    assert (tmp_path / "ImageSets/Segmentation/train.txt").read_text() == "2007_000002\n"
    assert list(masks(tmp_path)) == ["2007_000002"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_samples_that_do_not_fit_the_model_are_named(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    one = samples()[0]
    for sample, message in (
        (one._replace(labels=torch.ones(3)), r"expected labels of shape \(20,\), got \(3,\)"),
        (one._replace(image=one.image.convert("L")), "expected an RGB image, got mode 'L'"),
        (one._replace(name=".."), "expected a file name without extension"),
    ):
        with pytest.raises(DataError, match=rf"dataset: sample 0.*: .*{message}"):
            export_pseudo_labels(model, [sample], tmp_path, **ONCE)


def test_samples_of_one_name_are_refused(model: SingleStageSegmenter, tmp_path: Path) -> None:
    twice = [samples()[0], samples()[1]._replace(name=samples()[0].name)]
    with pytest.raises(DataError, match="samples 0 and 1 have one name, '2007_000000'"):
        export_pseudo_labels(model, twice, tmp_path, **ONCE)


def test_weights_that_give_nan_make_no_mask(tmp_path: Path) -> None:
    model = build()
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(torch.nan)
    with pytest.raises(DataError, match="NaN or infinity"):
        export_pseudo_labels(model, samples(), tmp_path, **ONCE)
    assert masks(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "cams"}, "source: expected one of 'prediction', 'cam', 'cam\\+par'"),
        ({"source": "cam"}, "source 'cam' needs high and low or threshold, got none"),
        ({"source": "cam+par", "threshold": 0.5}, "needs high and low, got threshold"),
        ({"low": 0.2, "high": 0.5}, "source 'prediction' needs none, got high, low"),
        ({"source": "cam", "low": 0.5, "high": 0.5}, "low: expected less than high=0.5"),
        ({"source": "cam", "threshold": 1.5}, "threshold: expected a number in"),
        ({"source": "cam", "threshold": 0.5, "confidence": 0.5}, "confidence: source 'cam' has"),
        ({"confidence": 2.0}, "confidence: expected a number in"),
        ({"certainty": -1.0}, "certainty: expected a number in"),
        ({"images": "move"}, "images: expected one of 'none', 'link', 'copy'"),
        ({"on_error": "stop"}, "on_error: expected one of 'raise', 'skip'"),
        ({"class_names": ("cat",)}, "class_names: expected 20 names, got 1"),
        ({"max_size": 2}, "max_size: expected at least a patch"),
    ],
)
def test_wrong_options_are_refused(
    model: SingleStageSegmenter, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        export_pseudo_labels(model, samples(), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_data_set_of_other_classes_is_refused(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    source = Source()
    source.class_names = VOC_CLASSES[::-1]
    with pytest.raises(ValueError, match="its classes are not the model's: tvmonitor, train"):
        export_pseudo_labels(model, source, tmp_path, **ONCE)


def test_an_empty_data_set_is_refused(model: SingleStageSegmenter, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dataset: expected at least one sample, got none"):
        export_pseudo_labels(model, [], tmp_path)


def test_sources_record_what_they_use() -> None:
    assert "scales" not in LabelSource(source="cam", threshold=0.5).settings()
    assert LabelSource().settings()["scales"] == [1.0, 1.25, 1.5]


# -- several processes ----------------------------------------------------------------------------


def _export_in_process(rank: int, folder: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    result = export_pseudo_labels(
        build(), Source((1,)), Path(folder) / "two", on_error="skip", **ONCE
    )
    (Path(folder) / f"{rank}.json").write_text(json.dumps(result))
    torch.distributed.destroy_process_group()


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    run_together(_export_in_process, str(tmp_path))
    expected = export_pseudo_labels(
        build(), Source((1,)), tmp_path / "one", on_error="skip", **ONCE
    )
    results = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert results[0] == results[1] == [3, 0, list(expected.failed)]
    assert files(tmp_path / "one") == files(tmp_path / "two")
