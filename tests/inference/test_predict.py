"""Prediction of image files: any size and format, known labels, broken files, names, writing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from fsr.data import read_photograph
from fsr.data._files import read_label_map
from fsr.errors import DataError, MissingDataError, SettingsError
from fsr.inference import (
    ImageFile,
    Prediction,
    PredictionWriter,
    SegmenterRunner,
    check_apart,
    find_images,
    predict_paths,
    record_settings,
    search_images,
)
from fsr.inference._image_labels import labels_of_files
from fsr.inference._maps import labels_at, resize_maps, restrict_to_labels
from fsr.refine import CRFPool, DenseCRF
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher
from tests.helpers import assert_same

NAMES = ("cat", "dog", "cow")
ONCE: dict[str, Any] = {"scales": (1.0,), "flip": False}
ORIENTATION = 0x0112


def build() -> SingleStageSegmenter:
    torch.manual_seed(1)
    model = SingleStageSegmenter(
        len(NAMES),
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        projector_options={"hidden_dim": 16, "bottleneck_dim": 8},
        decoder_options={"hidden_dim": 8},
        backbone_options={"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2},
    )
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.normal_(std=0.5)
    model.class_names = NAMES
    return model


@pytest.fixture(scope="module")
def model() -> SingleStageSegmenter:
    return build()


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


def write_images(folder: Path, sizes: Iterable[tuple[int, int]]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, (height, width) in enumerate(sizes):
        paths.append(folder / f"{index:02}.png")
        noise(height, width, index).save(paths[-1])
    return paths


def alone(model: SingleStageSegmenter, path: Path, **options: Any) -> Tensor:
    """Probabilities of one file by model.predict."""
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.backbone.mean, model.backbone.std))
    return model.predict(((pixels - mean) / std)[None], **options)[0]


# -- batches --------------------------------------------------------------------------------------

SIZES = [(32, 40), (33, 41), (24, 56), (31, 39), (50, 20), (32, 40), (34, 42), (9, 90)]


@pytest.mark.parametrize("reduce", ["max_logits", "mean_probabilities"])
def test_batches_of_mixed_sizes_equal_predict_one_by_one(
    model: SingleStageSegmenter, tmp_path: Path, reduce: str
) -> None:
    paths = write_images(tmp_path, SIZES)
    options: dict[str, Any] = {"scales": (1.0, 0.75, 1.5), "flip": True, "reduce": reduce}
    results = list(predict_paths(model, tmp_path, batch_size=3, probabilities=True, **options))
    assert sorted(r.path for r in results) == paths
    for result in results:
        expected = alone(model, result.path, **options)
        assert_same(result.probabilities, expected, rtol=1e-4, atol=1e-6)
        assert_same(result.labels, result.probabilities.argmax(0))
        assert result.labels.shape == SIZES[int(result.name)]
        assert result.labels.dtype == torch.int64


def test_batches_hold_images_of_coinciding_scaled_sizes_in_fewer_forwards(
    model: SingleStageSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, [(32, 40), (64, 64), (33, 39), (30, 42), (64, 64)])
    seen = []
    forward = SingleStageSegmenter.forward

    def record(self: SingleStageSegmenter, images: Tensor, *args: Any, **options: Any) -> Any:
        seen.append(tuple(images.shape))
        return forward(self, images, *args, **options)

    monkeypatch.setattr(SingleStageSegmenter, "forward", record)
    results = list(predict_paths(model, tmp_path, batch_size=4, **ONCE))
    assert seen == [(3, 3, 32, 40), (2, 3, 64, 64)]
    # Grouped, each group in order.
    assert [r.name for r in results] == ["00", "02", "03", "01", "04"]


def test_without_batches_results_come_in_the_order_of_the_files(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    paths = write_images(tmp_path, SIZES[:4])[::-1]
    assert [r.path for r in predict_paths(model, paths, **ONCE)] == paths


def test_worker_processes_change_nothing(model: SingleStageSegmenter, tmp_path: Path) -> None:
    write_images(tmp_path, SIZES[:5])
    (tmp_path / "05.png").write_bytes(b"no image")
    one, two = (
        list(predict_paths(model, tmp_path, batch_size=2, num_workers=workers, **ONCE))
        for workers in (0, 2)
    )
    assert [(r.name, r.error) for r in one] == [(r.name, r.error) for r in two]
    assert_same([r.labels for r in one], [r.labels for r in two])


@given(
    sizes=st.lists(st.tuples(st.integers(8, 40), st.integers(8, 40)), min_size=1, max_size=4),
    scales=st.lists(st.sampled_from([0.5, 0.75, 1.0, 1.3]), min_size=1, max_size=2),
    flip=st.booleans(),
)
def test_lists_of_any_sizes_equal_the_images_alone(
    sizes: list[tuple[int, int]], scales: list[float], flip: bool
) -> None:
    runner = SegmenterRunner(build(), flip=flip)
    images = [torch.rand(3, *size) for size in sizes]
    together = runner.probabilities(images, scales)
    cams = runner.cams(images, scales)
    for image, maps, both in zip(images, together, cams, strict=True):
        mean, std = (
            torch.tensor(v).view(1, 3, 1, 1)
            for v in (runner.network.backbone.mean, runner.network.backbone.std)
        )
        normal = (image[None] - mean) / std
        expected = runner.network.predict(normal, scales=scales, flip=flip)[0]
        assert_same(maps, expected, rtol=1e-4, atol=1e-5)
        for cam, one in zip(
            both, runner.network.cam(normal, scales=scales, flip=flip), strict=True
        ):
            assert_same(cam, one[0], rtol=1e-3, atol=1e-4)


# -- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 50), (50, 1), (1, 1), (7, 7), (5, 90)])
def test_images_smaller_than_a_patch_are_stretched_to_one(
    model: SingleStageSegmenter, tmp_path: Path, size: tuple[int, int]
) -> None:
    write_images(tmp_path, [size])
    (result,) = predict_paths(model, tmp_path, probabilities=True)
    assert result.error is None
    assert result.labels.shape == size
    assert_same(result.probabilities.sum(0), torch.ones(size), rtol=0, atol=1e-5)


def test_large_images_are_shrunk_for_the_network_alone(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    (path,) = write_images(tmp_path, [(60, 100)])
    (kept,) = predict_paths(model, path, max_size=50, probabilities=True, **ONCE)
    (bare,) = predict_paths(model, path, max_size=50, **ONCE)
    small = tmp_path / "small.png"
    with Image.open(path) as image:
        image.resize((50, 30), Image.Resampling.BILINEAR).save(small)
    expected = resize_maps(alone(model, small, **ONCE), (60, 100))
    assert_same(kept.probabilities, expected, rtol=1e-4, atol=1e-6)
    assert bare.probabilities is None
    assert_same(bare.labels, kept.labels)
    (full,) = predict_paths(model, path, max_size=None, probabilities=True, **ONCE)
    assert_same(full.probabilities, alone(model, path, **ONCE), rtol=1e-4, atol=1e-6)


@given(st.integers(0, 10**6), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_labels_at_a_size_are_those_of_the_enlarged_maps(seed: int, size: tuple[int, int]) -> None:
    maps = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(seed)).softmax(0)
    enlarged = resize_maps(maps, size)
    assert_same(labels_at(maps, size), enlarged.argmax(0))
    cut = labels_at(maps, size, confidence=0.35)
    assert torch.equal(cut == 255, enlarged.amax(0) < 0.35)


# -- files ----------------------------------------------------------------------------------------


def test_every_kind_of_image_is_read_as_rgb(model: SingleStageSegmenter, tmp_path: Path) -> None:
    colour = noise(16, 24)
    colour.save(tmp_path / "rgb.bmp")
    colour.convert("L").save(tmp_path / "grey.png")
    colour.convert("LA").save(tmp_path / "grey_alpha.png")
    colour.convert("RGBA").save(tmp_path / "alpha.png")
    colour.convert("CMYK").save(tmp_path / "cmyk.jpg")
    colour.convert("P").save(tmp_path / "palette.gif")
    colour.convert("1").save(tmp_path / "bits.tiff")
    colour.save(tmp_path / "lossless.WEBP", lossless=True)
    results = list(predict_paths(model, tmp_path, **ONCE))
    assert [r.error for r in results] == [None] * 8
    assert {tuple(r.labels.shape) for r in results} == {(16, 24)}
    for name in ("rgb.bmp", "alpha.png", "lossless.WEBP"):
        assert np.array_equal(np.asarray(read_photograph(tmp_path / name)), np.asarray(colour))


def test_masks_of_turned_photographs_have_the_size_that_viewers_show(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    stored = noise(24, 40)
    exif = stored.getexif()
    exif[ORIENTATION] = 6
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    for orient, size in ((True, (40, 24)), (False, (24, 40))):
        (result,) = predict_paths(model, tmp_path, orient=orient, **ONCE)
        assert result.labels.shape == size


def test_broken_files_are_told_and_the_others_go_on(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    write_images(tmp_path, [(16, 16), (16, 16)])
    whole = tmp_path / "whole.jpg"
    noise(40, 40).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:-600])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not looked at")
    for batch_size in (1, 3):
        results = {r.name: r for r in predict_paths(model, tmp_path, batch_size=batch_size, **ONCE)}
        assert sorted(results) == ["00", "01", "cut", "empty", "text", "whole"]
        for name in ("cut", "empty", "text"):
            assert results[name].labels is None
            assert results[name].error.startswith(str(tmp_path / name))
        assert "damaged" in results["cut"].error
        assert all(results[name].error is None for name in ("00", "01", "whole"))


def test_a_file_that_disappears_is_told(model: SingleStageSegmenter, tmp_path: Path) -> None:
    paths = write_images(tmp_path, [(16, 16), (16, 16)])
    results: Any = predict_paths(model, tmp_path, **ONCE)
    paths[1].unlink()
    assert [r.error for r in results] == [None, f"{paths[1]}: no such file"]


def test_weights_that_give_nan_make_an_error_and_no_mask(tmp_path: Path) -> None:
    model = build()
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(torch.nan)
    write_images(tmp_path, [(16, 16)])
    (result,) = predict_paths(model, tmp_path, **ONCE)
    assert result.labels is None
    assert "NaN or infinity" in result.error


# -- names ----------------------------------------------------------------------------------------


def touch(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return [root / name for name in names]


def named(paths: Any, root: Path) -> dict[str, str]:
    return {f.path.relative_to(root).as_posix(): f.name for f in find_images(paths)}


def test_names_keep_folders_and_cannot_collide(tmp_path: Path) -> None:
    touch(
        tmp_path, "in/a.jpg", "in/a.png", "in/b.jpg", "in/sub/b.jpg", "in/a.jpg.png", "in/x.y.z.tif"
    )
    touch(tmp_path, "in/.hidden.jpg", "in/.cache/c.jpg", "in/notes.txt", "other/b.jpg")
    assert named(tmp_path / "in", tmp_path) == {
        "in/a.jpg": "in/a",
        "in/a.jpg.png": "a.jpg.png",
        "in/a.png": "a.png",
        "in/b.jpg": "b",
        "in/sub/b.jpg": "sub/b",
        "in/x.y.z.tif": "x.y.z",
    }
    both = named([tmp_path / "in" / "sub", tmp_path / "other"], tmp_path)
    assert both == {"in/sub/b.jpg": "sub/b", "other/b.jpg": "other/b"}
    files = [tmp_path / "in" / "b.jpg", tmp_path / "other" / "b.jpg"]
    assert named(files, tmp_path) == {"in/b.jpg": "in/b", "other/b.jpg": "other/b"}
    # A file that is in a folder given too comes once.
    assert len(find_images([files[0], tmp_path / "in", files[0]])) == 6


def test_results_are_never_taken_for_images(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg", "in/out/classes.txt", "in/out/masks/a.png", "in/out/overlays/a.jpg")
    touch(tmp_path, "in/out/overlays/legend.png", "in/old/masks/a.png", "in/old/masks/sub/b.png")
    touch(tmp_path, "in/old/own.jpg", "in/set/masks/kept.png")
    (tmp_path / "in/old/classes.txt").write_text("background\ncat\n")
    kept = {"in/a.jpg": "a", "in/old/own.jpg": "old/own", "in/set/masks/kept.png": "set/masks/kept"}
    out = tmp_path / "in" / "out"
    found = search_images(tmp_path / "in", output=out)
    assert {f.path.relative_to(tmp_path).as_posix(): f.name for f in found.files} == kept
    assert found.left_out == [
        f"{tmp_path / 'in/old'}: results of an earlier run (masks)",
        f"{out}: results of an earlier run (masks, overlays)",
        "2 files that do not end like an image (.txt)",
    ]
    # As a shell names all that is in the folder, the second time: names stay what they were.
    every = sorted((tmp_path / "in").iterdir())
    again = search_images([path for path in every if path.name != "set"], output=out)
    assert [f.name for f in again.files] == ["a", "own"]
    # A result that is named itself is none either, unless it goes elsewhere.
    one = out / "masks" / "a.png"
    assert [f.name for f in search_images([tmp_path / "in/a.jpg", one], output=out).files] == ["a"]
    with pytest.raises(DataError, match="expected image files, got nothing but results of earlier"):
        search_images([one, out / "overlays"], output=out)
    assert [f.name for f in find_images(one)] == ["a"]
    # Written into the folder itself.
    touch(tmp_path, "own/a.jpg", "own/masks/a.png")
    own = tmp_path / "own"
    assert [f.name for f in search_images(own, output=own).files] == ["a"]


def test_links_to_folders_are_told_and_loops_do_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "in/a.jpg", "other/b.jpg")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/other").symlink_to(tmp_path / "other")
    found = search_images(tmp_path / "in")
    assert [f.name for f in found.files] == ["a"]
    link = tmp_path / "in/loop"
    told = f"{link} and 1 more links: a link to a folder is searched if it is named itself"
    assert (found.left_out, found.failed) == ([told], [])
    assert [f.name for f in find_images(tmp_path / "in" / "other")] == ["b"]
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    (tmp_path / "in/shut").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    found = search_images(tmp_path / "in")
    assert found.failed == [f"{tmp_path / 'in/shut'}: cannot be read (Permission denied)"]


def test_results_that_a_file_system_takes_for_one_are_refused(tmp_path: Path) -> None:
    files = [ImageFile(Path("in/A.jpg"), "A"), ImageFile(Path("in/a.png"), "a")]
    check_apart(files, tmp_path)
    (tmp_path / "CLASSES.TXT").write_text("")  # as where case is ignored
    with pytest.raises(DataError, match=r"^in/a\.png: its results would .* those of in/A\.jpg"):
        check_apart(files, tmp_path)
    check_apart(files[:1], tmp_path)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "p/", "q/p/", "p/p/"]),
            st.sampled_from(["a", "b", "a.jpg", "a.png"]),
            st.sampled_from([".jpg", ".png", ".jpeg"]),
        ),
        min_size=1,
        max_size=12,
        unique=True,
    ),
    st.integers(0, 3),
)
def test_names_are_always_distinct(parts: list[tuple[str, str, str]], loose: int) -> None:
    from fsr.inference._photographs import _distinct_names

    paths = [Path("/root/in") / "".join(part) for part in parts]
    relative = [
        Path(p.name) if index < loose else p.relative_to("/root/in")
        for index, p in enumerate(paths)
    ]
    names = _distinct_names(list(zip(paths, relative, strict=True)))
    assert len(set(names)) == len(names)


def test_named_files_may_end_in_anything(model: SingleStageSegmenter, tmp_path: Path) -> None:
    noise(16, 16).save(tmp_path / "photo.dat", format="PNG")
    (result,) = predict_paths(model, str(tmp_path / "photo.dat"), **ONCE)
    assert (result.name, result.error) == ("photo", None)


def test_missing_and_empty_paths_are_refused_at_once(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    with pytest.raises(MissingDataError, match=r"nowhere: no such file or folder"):
        predict_paths(model, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"expected image files \(.*\.jpg.*got none"):
        predict_paths(model, tmp_path)
    with pytest.raises(DataError, match="paths: expected at least one"):
        predict_paths(model, [])
    with pytest.raises(TypeError, match="either paths or results of find_images"):
        predict_paths(model, [tmp_path, ImageFile(tmp_path / "a.jpg", "a")])


# -- labels ---------------------------------------------------------------------------------------


def test_known_labels_keep_other_classes_out(model: SingleStageSegmenter, tmp_path: Path) -> None:
    write_images(tmp_path, [(32, 40)] * 3)
    labels = {"00": ["dog"], "01.png": torch.tensor([1.0, 0.0, 1.0]), str(tmp_path / "02.png"): []}
    free = list(predict_paths(model, tmp_path, probabilities=True, **ONCE))
    known = list(predict_paths(model, tmp_path, labels=labels, probabilities=True, **ONCE))
    kept_out = 0
    for before, after, kept in zip(free, known, ([0, 2], [0, 1, 3], [0]), strict=True):
        kept_out += not set(before.labels.unique().tolist()) <= set(kept)
        expected = torch.zeros_like(before.probabilities)
        expected[kept] = before.probabilities[kept] / before.probabilities[kept].sum(0)
        assert_same(after.probabilities, expected, rtol=1e-5, atol=1e-7)
        assert set(after.labels.unique().tolist()) <= set(kept)
    assert kept_out > 1


def test_a_pixel_of_which_nothing_is_left_is_background() -> None:
    probabilities = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1)
    assert restrict_to_labels(probabilities, torch.tensor([1, 0])).flatten().tolist() == [1, 0, 0]


@pytest.mark.parametrize("key", ["cat/1.jpg", "cat/1", "in/cat/1.jpg", "Cat/1.JPG", "cat\u0301/1"])
def test_labels_of_a_file_are_found_by_the_end_of_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    folder = "c\u00e1t" if key == "cat\u0301/1" else "cat"
    key = "ca\u0301t/1" if folder != "cat" else key
    touch(tmp_path, f"in/{folder}/1.jpg", "in/dog/1.jpg")
    labels = {key: ["dog"], "dog/1.jpg": ["cow"]}
    found = labels_of_files(find_images(tmp_path / "in" / folder / "1.jpg"), labels, NAMES, 3)
    assert [each.tolist() for each in found] == [[0, 1, 0]]
    # From within its folder, too.
    monkeypatch.chdir(tmp_path / "in" / folder)
    assert labels_of_files(find_images("1.jpg"), labels, NAMES, 3)[0].tolist() == [0, 1, 0]
    both = find_images([tmp_path / "in" / name / "1.jpg" for name in (folder, "dog")])
    assert [each.tolist() for each in labels_of_files(both, labels, NAMES, 3)] == [
        [0, 1, 0],
        [0, 0, 1],
    ]


def test_the_longest_end_of_a_path_names_its_labels(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg")
    files = find_images(tmp_path / "cat/1.jpg")
    named = {"1.jpg": ["cow"], "cat/1.jpg": ["cat"]}
    assert labels_of_files(files, {"cat/2.jpg": ["cat"]}, NAMES, 3) == [
        "no image-level labels under its path or name"
    ]
    assert labels_of_files(files, {"CAT/1": ["cat"], "Cat/1": ["dog"]}, NAMES, 3) == [
        "no image-level labels under its path or name"  # either may be meant
    ]
    assert labels_of_files(files, named, NAMES, 3)[0].tolist() == [1, 0, 0]
    files = [ImageFile(tmp_path / "cat/1.jpg", "made/up/name")]
    named["up/name"], named["made/up/name"] = ["cat"], ["dog"]
    assert labels_of_files(files, named, NAMES, 3)[0].tolist() == [0, 1, 0]


def test_an_image_without_labels_is_an_error_of_that_image(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    paths = write_images(tmp_path, [(16, 16), (16, 16)])
    results = list(predict_paths(model, tmp_path, labels={"01": ["cat"], "other": ["dog"]}, **ONCE))
    assert results[0].error == f"{paths[0]}: no image-level labels under its path or name"
    assert results[1].error is None


def test_wrong_labels_are_refused_at_once(model: SingleStageSegmenter, tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    with pytest.raises(ValueError, match=r"labels\['1'\]: expected one of 'cat'.*mean 'dog'"):
        predict_paths(model, tmp_path, labels={"1": ["dogg"]})
    with pytest.raises(ValueError, match=r"expected class names or shape \(3,\), got \(2,\)"):
        predict_paths(model, tmp_path, labels={"1": torch.ones(2)})
    with pytest.raises(ValueError, match="finite labels"):
        predict_paths(model, tmp_path, labels={"1": torch.full((3,), torch.nan)})
    with pytest.raises(TypeError, match="expected a sequence of class names, got the text 'dog'"):
        predict_paths(model, tmp_path, labels={"1": "dog"})
    with pytest.raises(ValueError, match=r"labels\['1'\]: fits both .*a.1\.jpg and .*b.1\.jpg"):
        predict_paths(model, tmp_path, labels={"1": ["dog"]})
    with pytest.raises(ValueError, match="class_names: expected 3 names, got 1"):
        predict_paths(model, tmp_path, labels={"1": ["dog"]}, class_names=["dog"])
    nameless = build()
    nameless.class_names = None
    with pytest.raises(ValueError, match="the model has no class names; give class_names="):
        predict_paths(nameless, tmp_path, labels={"1": ["dog"]})


# -- dense CRF ------------------------------------------------------------------------------------


class Pool:
    """A CRF that takes all pairs it can get before it gives a result, and keeps their order."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead

    def map(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        waiting: list[Tensor] = []
        for image, probabilities in pairs:
            waiting.append(sharpen(image, probabilities))
            if len(waiting) > self.ahead:
                yield waiting.pop(0)
        yield from waiting


def sharpen(image: Tensor, probabilities: Tensor) -> Tensor:
    assert image.dtype == torch.uint8
    assert tuple(image.shape) == (*probabilities.shape[1:], 3)
    # Leans on the image, and leaves no class at 0: known labels must still keep classes out.
    spread = (
        probabilities
        + image.permute(2, 0, 1).float().mean(0) / 255 * torch.eye(4)[1, :, None, None]
    )
    return (spread + 0.1) / (spread + 0.1).sum(0)


@pytest.mark.parametrize("ahead", [0, 2, 100])
def test_a_crf_as_function_and_as_pool_give_the_same_in_the_same_order(
    model: SingleStageSegmenter, tmp_path: Path, ahead: int
) -> None:
    write_images(tmp_path, SIZES[:5])
    for name in ("00b.png", "04b.png", "zz.png"):
        (tmp_path / name).write_bytes(b"no image")
    options: dict[str, Any] = {
        **ONCE,
        "probabilities": True,
        "batch_size": 2,
        "labels": {f"{i:02}": ["dog", "cow"] for i in range(4)},
    }
    plain = list(predict_paths(model, tmp_path, **options))
    one = list(predict_paths(model, tmp_path, crf=sharpen, **options))
    many = list(predict_paths(model, tmp_path, crf=Pool(ahead), **options))
    assert [(r.name, r.error) for r in one] == [(r.name, r.error) for r in plain]
    assert [(r.name, r.error) for r in many] == [(r.name, r.error) for r in plain]
    assert_same([r.probabilities for r in many], [r.probabilities for r in one])
    for before, after in zip(plain, one, strict=True):
        if before.error is None:
            with Image.open(before.path) as image:
                pixels = torch.from_numpy(np.array(image))
            expected = restrict_to_labels(
                sharpen(pixels, before.probabilities), torch.tensor([0, 1, 1])
            )
            assert_same(after.probabilities, expected, rtol=1e-5, atol=1e-6)


# -- the model is left alone ----------------------------------------------------------------------


def test_modes_and_gradients_are_left_as_they_were(tmp_path: Path) -> None:
    model = build()
    model.train()
    model.decoder.eval()
    write_images(tmp_path, [(16, 16), (16, 16)])
    results: Any = predict_paths(model, tmp_path, **ONCE)
    next(results)
    # Between two results too: a caller may do anything there.
    assert model.training
    assert not model.decoder.training
    assert torch.is_grad_enabled()
    results.close()
    assert model.training


def test_the_model_goes_to_the_device_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build()
    write_images(tmp_path, [(16, 16), (16, 16)])
    moves = []
    monkeypatch.setattr(model, "to", lambda device: moves.append(str(device)))
    results: Any = predict_paths(model, tmp_path, device="elsewhere", **ONCE)
    assert moves == []
    next(results)
    assert moves == ["elsewhere"]
    results.close()
    assert moves == ["elsewhere", "cpu"]


def test_teachers_predict_and_others_are_refused(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    write_images(tmp_path, [(16, 16)])
    (one,), (two,) = (list(predict_paths(m, tmp_path, **ONCE)) for m in (model, EMATeacher(model)))
    assert_same(one.labels, two.labels)
    with pytest.raises(TypeError, match="expected a SingleStageSegmenter, got Linear"):
        predict_paths(torch.nn.Linear(1, 1), tmp_path)


def test_autocast_is_used(model: SingleStageSegmenter, tmp_path: Path) -> None:
    write_images(tmp_path, [(32, 32)])
    exact, rough = (
        next(predict_paths(model, tmp_path, probabilities=True, autocast=dtype, **ONCE))
        for dtype in (None, torch.bfloat16)
    )
    assert rough.probabilities.dtype == torch.float32
    assert not torch.equal(exact.probabilities, rough.probabilities)
    assert_same(exact.probabilities, rough.probabilities, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size: expected a positive integer"),
        ({"scales": ()}, ValueError, "scales: expected at least one scale"),
        ({"scales": 1.0}, TypeError, "scales: expected a sequence"),
        ({"scales": (0.0,)}, ValueError, "scales: expected a number in"),
        ({"reduce": "mean"}, ValueError, "reduce: expected one of"),
        ({"max_size": 4}, ValueError, "max_size: expected at least a patch"),
        ({"max_size": 0.5}, TypeError, "max_size: expected a positive integer"),
    ],
)
def test_wrong_options_are_refused_at_once(
    model: SingleStageSegmenter,
    tmp_path: Path,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(error, match=message):
        predict_paths(model, tmp_path, **options)


# -- writing --------------------------------------------------------------------------------------


def test_results_are_written_whole_and_read_back(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    write_images(tmp_path / "in" / "sub", [(20, 30)])
    out = tmp_path / "out"
    writer = PredictionWriter(out, NAMES, overlays=True, probabilities=True)
    (result,) = predict_paths(model, tmp_path / "in", probabilities=True, **ONCE)
    assert not writer.complete(result.name)
    writer.write(result)
    assert writer.complete(result.name)
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert files == [
        "classes.txt",
        "masks/sub/00.png",
        "overlays/legend.png",
        "overlays/sub/00.jpg",
        "probabilities/sub/00.npz",
    ]
    assert_same(read_label_map(out / "masks/sub/00.png", 3, (30, 20)), result.labels)
    assert (out / "classes.txt").read_text().split() == ["background", *NAMES]
    with np.load(out / "probabilities/sub/00.npz", allow_pickle=False) as arrays:
        values = arrays["probabilities"]
    assert values.dtype == np.float16
    assert np.allclose(values, result.probabilities.numpy(), atol=1e-3)
    with Image.open(out / "overlays/sub/00.jpg") as picture:
        assert picture.size == (30, 20)
    os.remove(out / "overlays/sub/00.jpg")
    assert not writer.complete(result.name)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path, NAMES, probabilities=True)
    with pytest.raises(ValueError, match="'a' holds an error: broken"):
        writer.write(Prediction(Path("a.jpg"), "a", None, None, "broken"))
    with pytest.raises(ValueError, match="'a' holds no probabilities; predict with"):
        writer.write(Prediction(Path("a.jpg"), "a", torch.zeros(1, 1), None, None))
    with pytest.raises(ValueError, match="expected names of one line"):
        PredictionWriter(tmp_path, ["two\nlines"])


def test_a_folder_holds_results_of_one_setting(tmp_path: Path) -> None:
    record_settings(tmp_path, {"scales": (1.0, 1.5), "versions": {"torch": "1"}})
    record_settings(tmp_path, {"scales": [1.0, 1.5], "versions": {"torch": "2"}})
    with pytest.raises(SettingsError, match=r"scales was \[1.0, 1.5\], now \[1.0\]; take the same"):
        record_settings(tmp_path, {"scales": [1.0]})
    with pytest.raises(SettingsError, match=r"flip was None, now True"):
        record_settings(tmp_path, {"scales": (1.0, 1.5), "flip": True})
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(SettingsError, match=r"settings\.json: cannot be read as JSON"):
        record_settings(tmp_path, {})


def test_the_pool_of_the_package_refines_a_stream(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    write_images(tmp_path, [(12, 14), (9, 9)])
    (tmp_path / "00b.png").write_bytes(b"no image")
    crf = DenseCRF(backend="torch")
    one = list(predict_paths(model, tmp_path, crf=crf, probabilities=True, **ONCE))
    with CRFPool(crf, 0) as pool:
        many = list(predict_paths(model, tmp_path, crf=pool, probabilities=True, **ONCE))
    assert [r.name for r in many] == [r.name for r in one] == ["00", "00b", "01"]
    assert_same([r.probabilities for r in many], [r.probabilities for r in one])
