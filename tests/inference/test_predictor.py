"""fsr.load and the predictor: any picture in, the masks of `fsr predict` out."""

from __future__ import annotations

import io
import json
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fsr
from fsr.cli import main
from fsr.data import read_label_map
from fsr.errors import DataError, MissingDataError, SettingsError
from fsr.inference import Predictor, Segmentation, find_network, predict_paths, run_card
from fsr.segmenter import ModelCard, SingleStageSegmenter
from fsr.visualize import voc_palette
from tests.cli.helpers import noise, tiny_network, write_images
from tests.helpers import assert_same

NAMES = ("cat", "dog", "cow")
ONCE: dict[str, Any] = {"scales": (1.0,), "flip": False}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "model.safetensors"
    tiny_network(NAMES).save(path)
    return path


@pytest.fixture(scope="module")
def predictor(file: Path) -> Predictor:
    return fsr.load(file, device="cpu", **ONCE)


def deep(height: int, width: int) -> np.ndarray[Any, Any]:
    """Grey values of 16 bits."""
    draw = np.random.default_rng(3)
    return draw.integers(0, 65536, (height, width)).astype(np.uint16)


def turned(image: Image.Image) -> Image.Exif:
    """EXIF data that turn an image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


KINDS: dict[str, tuple[str, Callable[[], Image.Image]]] = {
    "plain": ("png", lambda: noise(30, 41)),
    "grey": ("png", lambda: noise(30, 41).convert("L")),
    "alpha": ("png", lambda: noise(30, 41).convert("RGBA").rotate(20)),
    "palette": ("png", lambda: noise(30, 41).quantize(16)),
    "16 bits": ("png", lambda: Image.fromarray(deep(30, 41))),
    "cmyk": ("jpg", lambda: noise(30, 41).convert("CMYK")),
    "small": ("png", lambda: noise(3, 50)),
    "one bit": ("png", lambda: noise(30, 41).convert("1")),
}


# -- the same masks as fsr predict ----------------------------------------------------------------


def test_masks_are_those_of_the_command_for_every_kind_of_picture(
    file: Path, predictor: Predictor, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, (end, draw) in KINDS.items():
        draw().save(folder / f"{name}.{end}")
    upright = noise(24, 40)
    upright.save(folder / "turned.jpg", exif=turned(upright))
    fixed = ("--scales", "1", "--no-flip", "--device", "cpu")
    assert main(["predict", str(file), str(folder), "--output", str(out), *fixed]) == 0
    results = predictor(folder)
    assert [result.name for result in results] == sorted([*KINDS, "turned"])
    for result in results:
        written = read_label_map(out / "masks" / f"{result.name}.png", len(NAMES))
        assert_same(result.mask, written)
        assert result.mask.dtype == torch.int64
        # As a PIL image, opened or read, the same picture has the same mask.
        with Image.open(result.path) as opened:
            assert_same(predictor(opened).mask, written)
        saved = result.save(tmp_path / "one.png")
        assert saved.read_bytes() == (out / "masks" / f"{result.name}.png").read_bytes()
    shape = next(result.mask.shape for result in results if result.name == "turned")
    assert shape == (40, 24)


def test_folders_written_from_python_and_by_the_command_are_one(
    file: Path, predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", [(20, 30), (90, 70)])
    (tmp_path / "in" / "bad.png").write_text("no image")
    (tmp_path / "in" / "notes.txt").write_text("")
    out = tmp_path / "out"
    tiles = {"tile": 64, "tile_overlap": 16}
    run = predictor.to_folder(tmp_path / "in", out, overlays=True, **tiles)
    assert (run.folder, run.done, run.kept) == (out, 2, 0)
    assert [line.partition(":")[0] for line in run.failed] == [str(tmp_path / "in" / "bad.png")]
    assert run.left_out == ["1 files that do not end like an image (.txt)"]
    (tmp_path / "in" / "bad.png").unlink()
    before = (out / "masks" / "01.png").read_bytes()
    command = ["predict", str(file), str(tmp_path / "in"), "--output", str(out), "--overlay"]
    fixed = ["--scales", "1", "--no-flip", "--device", "cpu", "--tile", "64", "--tile-overlap"]
    # The settings are the same: what is there stays.
    assert main([*command, *fixed, "16", "--resume"]) == 0
    assert "2 images, 2 of them done before" in capsys.readouterr().out
    assert main([*command, *fixed, "16"]) == 0
    assert (out / "masks" / "01.png").read_bytes() == before
    assert predictor.to_folder(tmp_path / "in", out, overlays=True, resume=True, **tiles).kept == 2
    assert main([*command, *fixed, "8", "--resume"]) == 1
    assert "tile was [64, 16], now [64, 8]" in capsys.readouterr().err


def test_a_folder_says_which_network_in_memory_and_which_labels_made_it(tmp_path: Path) -> None:
    write_images(tmp_path / "in", [(16, 16)])
    model, out = tiny_network(NAMES), tmp_path / "out"
    made = Predictor(model, **ONCE).to_folder(tmp_path / "in", out, labels={"00": ["dog"]})
    assert made.done == 1
    settings = json.loads((out / "settings.json").read_text())
    assert settings["checkpoint"] is None
    with torch.no_grad():
        model.classifier.weight.add_(1)
    with pytest.raises(SettingsError, match="checkpoint_sha256 was"):
        Predictor(model, **ONCE).to_folder(tmp_path / "in", out, labels={"00": ["dog"]})
    with pytest.raises(SettingsError, match="labels was"):
        Predictor(model, **ONCE).to_folder(tmp_path / "in", out, labels={"00": ["cat"]})


# -- what it takes --------------------------------------------------------------------------------


def test_arrays_and_tensors_of_every_form_are_the_picture_they_show(predictor: Predictor) -> None:
    image = noise(30, 41)
    array = np.asarray(image)
    expected = predictor(image).mask
    chw = torch.from_numpy(array.copy()).permute(2, 0, 1)
    forms: list[Any] = [
        array,
        array / 255,
        array.astype(np.float32),
        array.astype(np.int64),
        chw,
        chw / 255,
    ]
    forms += [(chw / 255).double(), np.dstack([array, np.full((30, 41), 255, np.uint8)])]
    for form in forms:
        assert_same(predictor(form).mask, expected)
    grey = np.asarray(image.convert("L"))
    expected = predictor(image.convert("L")).mask
    for form in (grey, grey[..., None], torch.from_numpy(grey.copy())[None], grey / 255):
        assert_same(predictor(form).mask, expected)
    truths = grey > 127
    assert_same(predictor(truths).mask, predictor(truths.astype(np.uint8) * 255).mask)


def test_alpha_of_arrays_lets_the_background_show(predictor: Predictor) -> None:
    array = np.asarray(noise(30, 41))
    hidden = np.dstack([array, np.zeros((30, 41), np.uint8)])
    white = predictor(np.full((30, 41, 3), 255, np.uint8)).mask
    assert_same(predictor(hidden).mask, white)
    black = predictor(np.zeros((30, 41, 3), np.uint8)).mask
    assert_same(predictor(hidden, background="black").mask, black)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_lists_and_batches_come_in_their_order(
    predictor: Predictor, tmp_path: Path, batch_size: int
) -> None:
    paths = write_images(tmp_path, [(30, 41), (16, 16), (30, 41)])
    pictures = [Image.open(path) for path in paths]
    mixed: list[Any] = [paths[0], pictures[1], np.asarray(pictures[2]), str(paths[1])]
    results = predictor(mixed, batch_size=batch_size)
    alone = [predictor(one).mask for one in mixed]
    assert [result.name for result in results] == ["00", "images[1]", "images[2]", "01"]
    assert [result.path for result in results] == [paths[0], None, None, paths[1]]
    for result, expected in zip(results, alone, strict=True):
        assert_same(result.mask, expected)
    batch = np.stack([np.asarray(pictures[0]), np.asarray(pictures[2])])
    for several in (batch, torch.from_numpy(batch).permute(0, 3, 1, 2), (paths[0], paths[2])):
        found = predictor(several)
        assert [len(found), found[0].mask.shape] == [2, (30, 41)]
        assert_same(found[1].mask, alone[2])
    assert predictor([]) == []
    assert [one.name for one in predictor.stream(p for p in paths)] == ["00", "01", "02"]


def test_colours_of_16_bits_keep_their_lower_bits_where_there_is_a_file(
    predictor: Predictor, tmp_path: Path
) -> None:
    # 12 bits in 16: the upper bytes alone would be all but black.
    values = (np.asarray(noise(20, 24)).astype(np.uint16) * 4095 // 255).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 24, 20, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
    path = tmp_path / "deep.png"
    path.write_bytes(png + chunk(b"IEND", b""))
    expected = predictor(path).mask
    with Image.open(path) as opened:
        assert_same(predictor(opened).mask, expected)
    with Image.open(io.BytesIO(path.read_bytes())) as opened:  # no file to look into
        assert predictor(opened).mask.shape == (20, 24)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (3, TypeError, "images: expected a path, a PIL image, an array, a tensor or a list"),
        (
            [None],
            TypeError,
            r"images\[0\]: expected a path, a PIL image, an array or a tensor",
        ),
        ("none.png", MissingDataError, "none.png: no such file or folder"),
        (torch.zeros(30, 41, 3), DataError, r"\(height, width, channels\) is the form of an array"),
        (np.zeros((3, 30, 41)), DataError, r"\(channels, height, width\) is the form of a tensor"),
        (np.zeros((0, 4, 3)), DataError, "image: expected a picture"),
        (np.zeros(4), DataError, "image: expected a picture"),
        (np.zeros((4, 4, 3), complex), DataError, "image: expected real numbers, got complex128"),
        (torch.randn(3, 9, 9), DataError, "as they are, not normalised"),
        (np.full((4, 4), np.nan), DataError, "expected finite pixels, got NaN or infinity"),
        ([np.zeros((4, 4)), np.zeros(4)], DataError, r"images\[1\]: expected a picture"),
    ],
)
def test_what_is_no_picture_is_refused_by_its_place(
    predictor: Predictor, given: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        predictor(given)


def test_files_that_cannot_be_read_are_refused_by_name(
    predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image"):
        predictor([noise(9, 9), tmp_path / "a.png"])


# -- options --------------------------------------------------------------------------------------


def test_options_hold_for_all_calls_or_for_one(predictor: Predictor, tmp_path: Path) -> None:
    (path,) = write_images(tmp_path, [(40, 32)])
    changes: dict[str, Any] = {"scales": (1.0, 1.5), "flip": True, "probabilities": True}
    (expected,) = predict_paths(predictor.model, path, **changes)
    result = predictor(path, **changes)
    assert_same(result.probabilities, expected.probabilities)
    assert_same(Predictor(predictor.model, **changes)(path).mask, expected.labels)
    assert predictor(path).probabilities is None
    only = predictor(path, labels={"00": ["dog"]}).mask
    assert set(only.unique().tolist()) <= {0, 2}
    half = predictor(path, autocast=torch.bfloat16, probabilities=True)
    assert half.probabilities.shape == (4, 40, 32)


def test_wrong_options_are_refused_at_once(file: Path, predictor: Predictor) -> None:
    unknown: Any = {"scale": (1.0,)}
    mistyped: Any = {"titel": 64}
    with pytest.raises(TypeError, match="unknown option 'scale'"):
        fsr.load(file, **unknown)
    with pytest.raises(TypeError, match="unknown option 'titel'"):
        predictor(noise(9, 9), **mistyped)
    with pytest.raises(ValueError, match="tile: expected at least a patch"):
        predictor(noise(9, 9), tile=4)
    with pytest.raises(ValueError, match="class_names: expected 3 names, got 1"):
        predictor(noise(9, 9), class_names=("a",))
    with pytest.raises(TypeError, match="expected a SingleStageSegmenter, got Linear"):
        Predictor(torch.nn.Linear(1, 1))
    bare = SingleStageSegmenter(
        2,
        "vit_tiny_patch16_224",
        image_size=32,
        backbone_options={"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2},
        heads={"segmentation": None},
        projection_dim=8,
    )
    with pytest.raises(ValueError, match="this network has no decoder"):
        Predictor(bare)


def test_a_predictor_keeps_its_device_and_moves(predictor: Predictor) -> None:
    model = tiny_network(NAMES)
    moved = Predictor(model, device="meta")
    assert model.classifier.weight.device.type == "meta"
    assert moved.options.device is None
    assert predictor.to("cpu") is predictor


def test_classes_without_names_are_numbered() -> None:
    model = tiny_network(NAMES)
    model.class_names = None
    assert Predictor(model).class_names == ("class1", "class2", "class3")
    assert Predictor(model, class_names=("a", "b", "c")).class_names == ("a", "b", "c")


def test_it_spells_itself(file: Path, predictor: Predictor) -> None:
    assert repr(predictor) == f"Predictor(3 classes: cat, dog, cow, from {file})"


# -- results --------------------------------------------------------------------------------------

MASK = torch.tensor([[0, 1, 1], [2, 1, 1]])


def result(**changes: Any) -> Segmentation:
    picture = Image.new("RGB", (3, 2), (100, 100, 100))
    given: dict[str, Any] = {"name": "a", "_picture": lambda: picture, **changes}
    return Segmentation(MASK, ("cat", "dog", "cow"), **given)


def test_a_result_names_its_labels_and_their_shares() -> None:
    found = result()
    assert found.names == ("background", "cat", "dog", "cow")
    assert found.shares == {"cat": 4 / 6, "background": 1 / 6, "dog": 1 / 6}
    assert repr(found) == "Segmentation('a', 2 x 3: cat 67%, background 17%, dog 17%)"
    assert np.asarray(found).tolist() == MASK.tolist()
    assert np.asarray(found, dtype=np.uint8).dtype == np.uint8


def test_an_overlay_has_the_colours_of_its_labels_and_may_name_them() -> None:
    plain = result().overlay(alpha=1.0, contours=False)
    palette = voc_palette()
    assert plain.size == (3, 2)
    assert plain.getpixel((1, 0)) == tuple(palette[1])
    assert plain.getpixel((0, 0)) == (100, 100, 100)  # background is the picture
    named = result().overlay(names=True)
    # Three labels fit in one line of the legend: the cow is not there.
    assert named.size == (520, 2 + 22)
    assert named.getpixel((5, 2 + 8)) == tuple(palette[0])
    assert named.getpixel((130 + 5, 2 + 8)) == tuple(palette[1])
    assert named.getpixel((390 + 5, 2 + 8)) == (255, 255, 255)


def test_it_shows_itself_in_a_window_and_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(Image.Image, "show", lambda image, title: shown.append((title, image.size)))
    monkeypatch.setitem(sys.modules, "IPython", None)
    result().show()
    assert shown == [("a", (520, 24))]
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    display = SimpleNamespace(display=lambda image: shown.append(image.size))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    result().show()
    assert shown[1:] == [(520, 24)]
    with Image.open(io.BytesIO(result()._repr_png_() or b"")) as drawn:
        assert drawn.size == (520, 24)
    assert result(_picture=None)._repr_png_() is None


def test_masks_are_saved_as_png_alone(tmp_path: Path) -> None:
    saved = result().save(str(tmp_path / "new" / "mask.PNG"))
    assert_same(read_label_map(saved, 3), MASK)
    with pytest.raises(ValueError, match=r"path: expected a file that ends in .png, as others"):
        result().save(tmp_path / "mask.jpg")
    with pytest.raises(ValueError, match="image: this result was made without its picture"):
        result(_picture=None).overlay()


def test_pictures_are_read_again_only_for_overlays(predictor: Predictor, tmp_path: Path) -> None:
    (path,) = write_images(tmp_path, [(20, 30)])
    found = predictor(path)
    assert found.overlay().size == (30, 20)
    path.unlink()
    with pytest.raises(MissingDataError, match="no such file"):
        found.overlay()


# -- what is loaded -------------------------------------------------------------------------------


def run_folder(folder: Path, scores: dict[str, Any] | None, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.safetensors").write_bytes(b"")
    if scores is not None:
        first = {"student": {"prediction_miou": 0.9}, "teacher": {"prediction_miou": 0.1}}
        content = {"evaluations": {"0": first, "90": scores}}
        (folder / "results.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [(0.5, 0.4, "student"), (0.4, 0.5, "teacher"), (0.5, 0.5, "teacher"), (0.1, None, "student")],
)
def test_of_a_run_the_network_of_the_better_last_score_is_taken(
    tmp_path: Path, student: float, teacher: float | None, expected: str
) -> None:
    scores = {"student": {"prediction_miou": student}, "teacher": {"prediction_miou": teacher}}
    run = run_folder(tmp_path / "run", scores, "student", "teacher")
    assert find_network(run) == run / f"{expected}.safetensors"


def test_of_a_run_without_scores_the_teacher_is_taken_or_what_there_is(tmp_path: Path) -> None:
    both = run_folder(tmp_path / "both", None, "student", "teacher")
    assert find_network(both).name == "teacher.safetensors"
    assert find_network(run_folder(tmp_path / "one", {}, "student")).name == "student.safetensors"
    (both / "results.json").write_text("[]")
    assert find_network(both).name == "teacher.safetensors"
    single = run_folder(tmp_path / "single", None, "mine")
    assert find_network(single).name == "mine.safetensors"


def test_a_folder_without_a_network_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected model.safetensors, or teacher.safetensors"):
        fsr.load(run_folder(tmp_path / "none", None))
    two = run_folder(tmp_path / "two", None, "a", "b")
    with pytest.raises(DataError, match=r"name one of a.safetensors, b.safetensors$"):
        fsr.load(two)


def test_the_command_takes_the_folder_of_a_run_too(file: Path, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", None)
    (run / "student.safetensors").write_bytes(file.read_bytes())
    write_images(tmp_path / "in", [(16, 16)])
    out = tmp_path / "out"
    fixed = ["--output", str(out), "--scales", "1", "--no-flip", "--device", "cpu"]
    assert main(["predict", str(run), str(tmp_path / "in"), *fixed]) == 0
    settings = json.loads((out / "settings.json").read_text())
    assert settings["checkpoint"] == str((run / "student.safetensors").resolve())


def test_a_card_tells_the_run_and_no_paths_of_the_machine() -> None:
    folder = Path(__file__).parents[2] / "benchmarks" / "results" / "default_run"
    results = json.loads((folder / "results.json").read_text())
    # The run's networks are not kept; the student scored higher.
    scores = results["evaluations"]["400"]["student"]
    data = {**results["config"]["data"], "root": "/home/me/photos"}
    model = {**results["config"]["model"], "pretrained": "/home/me/encoder.pth"}
    content = {**results, "config": {**results["config"], "data": data, "model": model}}
    with tempfile.TemporaryDirectory() as place:
        for name in ("student", "teacher"):
            (Path(place) / f"{name}.safetensors").write_bytes(b"")
        (Path(place) / "results.json").write_text(json.dumps(content))
        card = run_card(place, card=ModelCard(license="mit"))
        own = run_card(place, card=ModelCard(data="Mine.", scores={"a": 0.5}, scored_on="b"))
    assert card.scores == {name: scores[name] for name in card.scores}
    assert list(card.scores) == ["prediction_miou", "pixel_accuracy", "cam_miou", "label_f1"]
    assert card.scored_on == "120 images of 'scenes', split 'test'"
    text = card.text(("cat",), "fsr_scenes_tiny", None)
    assert "| prediction_miou | 40.0 |" in text
    assert '"backbone": "fsr_scenes_tiny"' in text
    assert '"pretrained": "encoder.pth"' in text
    assert "/home/me" not in text
    assert (own.data, own.scores, own.scored_on) == ("Mine.", {"a": 0.5}, "b")


def test_a_card_of_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"results.json"):
        run_card(tmp_path)
    run = run_folder(tmp_path / "run", {}, "student")
    with pytest.raises(DataError, match=r"results.json: expected the results of a run of training"):
        run_card(run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tile", "64", "--max-size", "512"], "--max-size: expected none with tile"),
        (["--tile-overlap", "8"], "--tile-overlap: expected None without tile, got 8"),
        (["--tile", "64", "--tile-overlap", "40"], "expected 0 to half of the tile of 64 pixels"),
    ],
)
def test_sizes_that_do_not_go_together_end_the_command_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "none", str(tmp_path), "--output", str(tmp_path / "out"), *options])
    assert message in capsys.readouterr().err
