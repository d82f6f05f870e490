"""`fsr predict`: what it writes, what it tells, and how it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fsr.cli import main
from fsr.data._files import read_label_map
from fsr.inference import PredictionWriter, predict_paths
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
        (["{folder}/no.safetensors", "{folder}"], 1, "no file"),
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
