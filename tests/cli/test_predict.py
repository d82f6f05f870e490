"""`fsr predict`: what it writes, what it tells, and how it goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fsr.cli import main
from fsr.data._files import read_label_map
from fsr.errors import DataError
from fsr.inference import PredictionWriter, file_hash, predict_paths
from fsr.refine import DenseCRF
from fsr.segmenter import SingleStageSegmenter
from tests.cli.helpers import noise, tiny_network, write_images
from tests.helpers import assert_same

ONCE: dict[str, Any] = {"scales": (1.0,), "flip": False}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    tiny_network(("cat", "dog", "cow")).save(path)
    return path


def predict(*arguments: Any) -> int:
    return main(["predict", *map(str, arguments)])


def test_it_segments_folders(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in" / "sub", [(20, 30), (24, 24)])
    noise(16, 16).save(tmp_path / "in" / "a.jpg")
    noise(16, 16).save(tmp_path / "in" / "a.png")
    (tmp_path / "labels.csv").write_text(
        "image,labels\nsub/00,dog\n01.png,cat;cow\na.jpg,\na.png,dog"
    )
    out = tmp_path / "out"
    status = predict(
        *(checkpoint, tmp_path / "in", "--output", out, "--labels", tmp_path / "labels.csv"),
        *("--overlay", "--probabilities", "--scales", 1, "--no-flip", "--device", "cpu"),
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    assert f"4 images segmented into {out}" in said.out
    assert "4/4 images, 0 s left" in said.err
    names = ["a.jpg", "a.png", "sub/00", "sub/01"]
    for folder, suffix in (("masks", "png"), ("overlays", "jpg"), ("probabilities", "npz")):
        assert all((out / folder / f"{name}.{suffix}").is_file() for name in names)
    assert (read_label_map(out / "masks" / "a.jpg.png", 3) == 0).all()
    assert set(read_label_map(out / "masks/sub/00.png", 3).unique().tolist()) <= {0, 2}
    settings = json.loads((out / "settings.json").read_text())
    assert (settings["scales"], settings["flip"], settings["crf"]) == ([1.0], False, None)
    assert len(settings["checkpoint_sha256"]) == 64


def test_it_tells_broken_files_at_the_end_and_goes_on_later(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", [(16, 16), (16, 16)])
    (tmp_path / "in" / "00b.jpg").write_text("no image")
    fixed = (checkpoint, tmp_path / "in", "--output", tmp_path / "out", "--device", "cpu")
    assert predict(*fixed, "--no-flip") == 1
    said = capsys.readouterr()
    assert "2 images segmented" in said.out
    last = said.err.splitlines()[-1]
    assert last.startswith(f"fsr predict: error: {tmp_path / 'in' / '00b.jpg'}: cannot be read")
    noise(16, 16).save(tmp_path / "in" / "00b.jpg")
    before = (tmp_path / "out/masks/00.png").stat().st_mtime_ns
    assert predict(*fixed, "--no-flip", "--resume") == 0
    assert "3 images, 2 of them done before" in capsys.readouterr().out
    assert (tmp_path / "out/masks/00.png").stat().st_mtime_ns == before
    assert predict(*fixed, "--no-flip", "--resume") == 0
    assert predict(*fixed, "--resume") == 1
    assert "flip was False, now True" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["{checkpoint}", "{folder}/none"], 1, "none: no such file or folder"),
        (["{checkpoint}", "{folder}/empty"], 1, "expected image files"),
        (["{folder}/labels.csv", "{folder}"], 1, "is no safetensors file"),
        (["{folder}/no.safetensors", "{folder}"], 1, "no such file or folder"),
        (
            ["{checkpoint}", "{folder}", "--labels", "{folder}/labels.csv"],
            1,
            "unknown class 'dogg'",
        ),
        (["{checkpoint}", "{folder}", "--batch-size", "0"], 2, "expected at least 1, got 0"),
        (["{checkpoint}", "{folder}", "--scales", "0"], 2, "expected a number above 0, got 0"),
        (["{checkpoint}", "{folder}", "--crf", "fast"], 2, "invalid choice: 'fast'"),
        (["{checkpoint}"], 2, "the following arguments are required: paths"),
    ],
)
def test_it_refuses_wrong_input_in_one_line(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    (tmp_path / "labels.csv").write_text("image,labels\na,dogg\n")
    (tmp_path / "empty").mkdir()
    noise(16, 16).save(tmp_path / "a.png")
    filled = [a.format(checkpoint=checkpoint, folder=tmp_path) for a in arguments]
    try:
        got = predict(*filled, "--output", tmp_path / "out")
    except SystemExit as error:
        got = int(error.code or 0)
    said = capsys.readouterr().err
    assert got == status
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said


def test_it_refines_with_a_dense_crf(checkpoint: Path, tmp_path: Path) -> None:
    (path,) = write_images(tmp_path / "in", [(12, 14)])
    out = tmp_path / "out"
    fixed = (checkpoint, path, "--output", out, "--device", "cpu", "--scales", 1, "--no-flip")
    assert predict(*fixed, "--crf", "torch") == 0
    model = SingleStageSegmenter.load(checkpoint)
    crf = DenseCRF(backend="torch", min_probability=1e-6)
    (expected,) = predict_paths(model, path, crf=crf, **ONCE)
    assert_same(read_label_map(out / "masks" / "00.png", 3), expected.labels)
    assert json.loads((out / "settings.json").read_text())["crf"] == repr(crf)


def test_an_overlay_that_cannot_be_written_is_named_and_the_rest_goes_on(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(tmp_path / "in", [(20, 30), (24, 24), (24, 24)])
    write = PredictionWriter.write

    def refuse(self: PredictionWriter, prediction: Any) -> None:
        if prediction.name == "01":
            raise OSError(28, "No space left on device", str(tmp_path / "out/overlays/01.jpg"))
        write(self, prediction)

    monkeypatch.setattr(PredictionWriter, "write", refuse)
    out = tmp_path / "out"
    status = predict(checkpoint, tmp_path / "in", "--output", out, "--scales", 1, "--no-flip")
    said = capsys.readouterr()
    assert status == 1
    assert "No space left on device" in said.err
    assert "01.jpg" in said.err
    assert f"2 images segmented into {out}" in said.out
    assert sorted(path.stem for path in (out / "masks").iterdir()) == ["00", "02"]


def test_long_names_have_masks_and_what_is_too_long_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 248 letters, and 83 of three bytes: their masks have names that fit, as hidden names must.
    names = ["n" * 248 + ".png", "漢" * 83 + ".png", "z.png"]
    for name in names:
        noise(16, 16).save(tmp_path / "x.png")
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "x.png").rename(tmp_path / "in" / name)
    # 255 bytes and no ending: no name is left for its mask.
    bare = tmp_path / ("b" * 255)
    noise(16, 16).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(bare)
    out = tmp_path / "out"
    fixed = ("--output", out, "--scales", 1, "--no-flip", "--device", "cpu")
    assert predict(checkpoint, tmp_path / "in", bare, *fixed) == 1
    said = capsys.readouterr()
    assert sorted(path.name for path in (out / "masks").iterdir()) == sorted(names)
    assert "3 images segmented" in said.out
    (line,) = [line for line in said.err.splitlines() if "error" in line]
    mask = out / "masks" / f"{bare.name}.png"
    assert line == (
        f"fsr predict: error: {mask}: cannot be written: File name too long; give it a shorter name"
    )
    assert predict(checkpoint, tmp_path / "in", bare, *fixed, "--resume") == 1
    assert "4 images, 3 of them done before" in capsys.readouterr().out


def test_the_same_command_again_does_the_same(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", [(16, 16), (16, 16)])
    out = tmp_path / "in" / "predicted"
    fixed = ("--output", out, "--overlay", "--scales", 1, "--no-flip", "--device", "cpu")
    for left_out in (False, True):
        assert predict(checkpoint, tmp_path / "in", *fixed) == 0
        said = capsys.readouterr().out
        assert "2 images segmented" in said
        assert (f"left out: {out}: results of an earlier run (masks, overlays)" in said) == left_out
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["00.png", "01.png"]


def test_masks_of_ones_own_are_not_replaced(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", [(16, 16)])
    (mask,) = write_images(tmp_path / "in" / "masks", [(16, 16)])
    before = mask.read_bytes()
    assert predict(checkpoint, tmp_path / "in", "--output", tmp_path / "in") == 1
    assert "masks: holds files that no prediction wrote; write to an" in capsys.readouterr().err
    assert mask.read_bytes() == before
    assert not (tmp_path / "in" / "settings.json").exists()


def test_files_that_are_no_whole_image_are_named_one_line_each(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (whole,) = write_images(tmp_path / "in", [(40, 40)])
    folder = tmp_path / "in"
    (folder / "cut.png").write_bytes(whole.read_bytes()[:-900])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "notes.txt").write_text("")
    out = tmp_path / "out"
    status = predict(checkpoint, folder, "--output", out, "--scales", 1, "--no-flip")
    said = capsys.readouterr()
    assert status == 1
    assert "1 images segmented" in said.out
    assert "left out: 1 files that do not end like an image (.txt)" in said.out
    errors = [line for line in said.err.splitlines() if "error:" in line]
    names = ("cut.png", "empty.jpg", "loop.jpg", "phone.heic", "pipe.jpg")
    assert [line.split(": ")[2] for line in errors] == [str(folder / name) for name in names]
    assert "a named pipe" in errors[-1]


def test_pipes_in_place_of_files_end_it_in_one_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", [(16, 16)])
    pipe, out = tmp_path / "pipe", tmp_path / "out"
    os.mkfifo(pipe)
    for arguments in ((pipe, tmp_path / "in"), (checkpoint, tmp_path / "in", "--labels", pipe)):
        assert predict(*arguments, "--output", out) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"fsr predict: error: {pipe}: expected a file, this is a named pipe")
    with pytest.raises(DataError, match="a named pipe"):
        file_hash(pipe)


def test_pictures_are_read_as_the_options_say(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = Image.new("RGBA", (24, 16), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    cut.save(tmp_path / "cut.png", exif=exif)
    fixed = (checkpoint, tmp_path / "cut.png", "--overlay", "--scales", 1, "--no-flip", "--output")
    assert predict(*fixed, tmp_path / "white") == 0
    options = ("--background", "black", "--as-stored", "--bits", 12)
    assert predict(*fixed, tmp_path / "black", *options) == 0
    masks = []
    for name, size in (("white", (16, 24)), ("black", (24, 16))):
        with Image.open(tmp_path / name / "overlays" / "cut.jpg") as overlay:
            assert overlay.size == size
        with Image.open(tmp_path / name / "masks" / "cut.png") as mask:
            assert mask.size == size
            masks.append(np.asarray(mask))
        settings = json.loads((tmp_path / name / "settings.json").read_text())
        assert settings["orient"] == (name == "white")
        assert settings.get("background") == (None if name == "white" else "black")
        assert settings.get("bits") == (None if name == "white" else 12)
    model = SingleStageSegmenter.load(checkpoint)
    for expected, colour in zip(masks, ("white", "black"), strict=True):
        Image.new("RGB", expected.shape[::-1], colour).save(tmp_path / f"{colour}.png")
        (result,) = predict_paths(model, tmp_path / f"{colour}.png", **ONCE)
        assert np.array_equal(result.labels, expected)
    capsys.readouterr()
    assert predict(*fixed, tmp_path / "white", "--background", "black") == 1
    assert "background was None, now 'black'" in capsys.readouterr().err


def test_a_large_image_is_done_when_it_is_asked_for(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (path,) = write_images(tmp_path / "in", [(30, 50)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    fixed = (
        checkpoint,
        path,
        "--overlay",
        "--scales",
        1,
        "--no-flip",
        "--output",
        tmp_path / "out",
    )
    assert predict(*fixed) == 1
    assert "allow it with --max-pixels 1500" in capsys.readouterr().err
    assert predict(*fixed, "--max-pixels", 1500) == 0


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--background", "whit", "expected a colour such as white or #808080, got 'whit'"),
        ("--bits", "40", "expected at most 32, got 40"),
        ("--max-pixels", "0", "expected at least 1, got 0"),
        ("--upright", "--as-stored", "not allowed with argument --upright"),
    ],
)
def test_wrong_options_of_reading_end_it_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        predict("none", tmp_path, "--output", tmp_path / "out", option, value)
    assert message in capsys.readouterr().err
