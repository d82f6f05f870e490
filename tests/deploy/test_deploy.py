"""Networks as files: written with open sizes, compared, told about, and run without torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fsr import SingleStageSegmenter
from fsr.cli import main
from fsr.deploy import (
    METADATA,
    OUTPUTS,
    DeployedSegmenter,
    export_onnx,
    export_program,
    metadata_of,
)
from fsr.deploy._traced import compare
from fsr.errors import ExportError
from tests.helpers import code_that_hides
from tests.processes import run_script

ROOT = Path(__file__).parents[2]
NAMES = ("cat", "sea lion")


def network(**changes: Any) -> SingleStageSegmenter:
    """As small as an encoder may be: torch takes its time for every operation."""
    torch.manual_seed(4)
    size = {"patch_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 2}
    model = SingleStageSegmenter(
        2, "vit_tiny_patch16_224", image_size=32, aux_block=-1, projection_dim=4,
        projector_options={"hidden_dim": 4, "bottleneck_dim": 4}, backbone_options=size, **changes,
    )  # fmt: skip
    with torch.no_grad():
        for part in (model.decoder, model.classifier, model.backbone.model.patch_embed):
            for parameter in part.parameters() if part is not None else ():
                parameter.normal_(std=1.0)
    model.class_names = NAMES
    return model


@pytest.fixture(scope="module")
def model() -> SingleStageSegmenter:
    return network(decoder_options={"hidden_dim": 8, "dilation": 1})


@pytest.fixture(scope="module")
def onnx(model: SingleStageSegmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in ONNX, written by the command."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("onnx")
    model.save(folder / "model.safetensors")
    argv = ["export", "onnx", str(folder / "model.safetensors"), "--outputs", *OUTPUTS]
    assert main(argv) == 0
    return folder / "model.onnx"


# -- the maps -------------------------------------------------------------------------------------


def test_the_maps_are_those_of_one_scale_and_the_network_stays(model: SingleStageSegmenter) -> None:
    model.train()
    deployed = DeployedSegmenter(model, OUTPUTS)
    assert model.training
    images = torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        probabilities, cam = deployed(images)
    torch.testing.assert_close(probabilities, model.predict(images, scales=(1.0,), flip=False))
    torch.testing.assert_close(cam, model.cam(images, scales=(1.0,), flip=False)[0])
    assert probabilities.std() > 0.01
    assert cam.std() > 0.01
    assert DeployedSegmenter(model).outputs == ("probabilities",)
    assert DeployedSegmenter(model, ["cam", "probabilities"]).outputs == OUTPUTS


def test_a_network_without_a_decoder_gives_its_cam() -> None:
    bare = network(heads={"segmentation": None})
    assert DeployedSegmenter(bare).outputs == ("cam",)
    with pytest.raises(ValueError, match=r"outputs: expected 'cam' alone, .* without a decoder"):
        DeployedSegmenter(bare, ["probabilities"])


def test_what_is_told_of_a_network(model: SingleStageSegmenter) -> None:
    told = metadata_of(model)
    assert told["classes"] == ["background", *NAMES]
    assert (told["mean"], told["std"], told["patch"]) == ([0.5] * 3, [0.5] * 3, [8, 8])
    assert told["palette"] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    nameless = network()
    nameless.class_names = None
    assert metadata_of(nameless)["classes"] == ["background", "class1", "class2"]


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        (["masks"], ValueError, "outputs: expected one of 'probabilities', 'cam', got 'masks'"),
        ([], ValueError, "outputs: expected at least one name, got none"),
        ("cam", TypeError, "outputs: expected a list or tuple of names, got str"),
    ],
)
def test_wrong_outputs_are_named(
    model: SingleStageSegmenter, outputs: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DeployedSegmenter(model, outputs)


def test_what_is_no_segmenter_is_refused(tmp_path: Path) -> None:
    for function in (DeployedSegmenter, metadata_of, lambda m: export_program(m, tmp_path / "a")):
        with pytest.raises(TypeError, match="model: expected a SingleStageSegmenter, got Linear"):
            function(torch.nn.Linear(2, 2))


# -- files ----------------------------------------------------------------------------------------


def test_the_program_is_loaded_by_torch_alone_and_gives_the_same(
    model: SingleStageSegmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save(tmp_path / "model.safetensors")
    assert main(["export", "pt2", str(tmp_path / "model.safetensors")]) == 0
    out = capsys.readouterr().out
    assert "height a multiple of 8, width of 8\ndiffers from PyTorch by at most 0" in out
    told = {METADATA: ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=told).module()
    expected = {**metadata_of(model), "outputs": ["probabilities"]}
    assert json.loads(told[METADATA]) == expected
    for size in ((1, 3, 16, 48), (5, 3, 64, 24)):
        images = torch.randn(size)
        with torch.no_grad():
            (found,) = program(images)
        torch.testing.assert_close(found, model.predict(images, scales=(1.0,), flip=False))


def test_onnx_takes_any_size_and_tells_of_itself(onnx: Path, model: SingleStageSegmenter) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    shapes = {each.name: each.shape for each in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {
        "images": ["batch", 3, "height", "width"],
        "probabilities": ["batch", 3, "height", "width"],
        "cam": ["batch", 2, "height", "width"],
    }
    assert json.loads(session.get_modelmeta().custom_metadata_map[METADATA]) == metadata_of(model)
    for size in ((1, 3, 16, 16), (4, 3, 24, 72)):
        images = torch.randn(size)
        probabilities, cam = session.run(None, {"images": images.numpy()})
        for found, wanted in (
            (probabilities, model.predict(images, scales=(1.0,), flip=False)),
            (cam, model.cam(images, scales=(1.0,), flip=False)[0]),
        ):
            np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_example_segments_without_torch(onnx: Path, model: SingleStageSegmenter) -> None:
    folder = onnx.parent
    halves = np.zeros((40, 24, 3), dtype=np.uint8)
    halves[10:30, 12:] = (255, 40, 0)
    Image.fromarray(halves).save(folder / "image.png")
    script = folder / "example.py"
    text = (ROOT / "examples" / "onnx_without_torch.py").read_text()
    script.write_text(code_that_hides(["torch", "fsr"]) + text)
    done = run_script(script, str(onnx), str(folder / "image.png"), str(folder / "mask.png"))
    assert done.returncode == 0, done.stderr
    with Image.open(folder / "mask.png") as opened, Image.open(folder / "image.png") as image:
        mask, pixels = np.asarray(opened), np.asarray(image)
        assert opened.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    images = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 127.5 - 1).float()
    wanted = model.predict(images, scales=(1.0,), flip=False).argmax(dim=1)[0].numpy()
    assert len(np.unique(wanted)) > 1
    assert (mask == wanted).mean() > 0.999
    assert done.stdout.strip() == str(sorted(["background", *NAMES][n] for n in np.unique(mask)))


def test_the_example_is_at_most_twenty_lines() -> None:
    text = (ROOT / "examples" / "onnx_without_torch.py").read_text().rpartition('"""')[2]
    lines = [line for line in text.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(lines) <= 20


# -- refusals -------------------------------------------------------------------------------------


def test_a_file_that_differs_is_refused(model: SingleStageSegmenter) -> None:
    deployed = DeployedSegmenter(model)

    def run(change: Any) -> Any:
        return compare(
            deployed, lambda images: [change(each) for each in deployed(images)], "f", 1e-4
        )

    assert run(lambda maps: maps + 1e-5)[0] == pytest.approx(1e-5, rel=0.1)
    for change in (lambda maps: maps + 1e-3, lambda maps: maps * torch.nan, lambda maps: maps[:0]):
        with pytest.raises(ExportError, match=r"f differs from the network by .* on images \(1, 3"):
            run(change)
    with pytest.raises(ExportError, match=r"f cannot be run on images .*: integer division"):
        run(lambda maps: 1 // 0)


def test_a_network_that_cannot_be_recorded_is_told_and_nothing_is_left(
    model: SingleStageSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operation\nand much more")

    monkeypatch.setattr(torch.export, "export", fails)
    message = r"model: torch .* cannot record this network: no such operation$"
    with pytest.raises(ExportError, match=message):
        export_program(model, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_torch_cannot_load_is_told(
    model: SingleStageSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsr.deploy import _program

    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(_program, "record", lambda network: None)
    monkeypatch.setattr(torch.export, "save", lambda recorded, file, extra_files: file.write(b"x"))
    monkeypatch.setattr(torch.export, "load", fails)
    with pytest.raises(ExportError, match=r"cannot load what it wrote .* \(AssertionError\)"):
        export_program(model, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_not_replaced(
    model: SingleStageSegmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save(tmp_path / "model.safetensors")
    (tmp_path / "model.onnx").write_text("mine")
    assert main(["export", "onnx", str(tmp_path / "model.safetensors")]) == 1
    assert "model.onnx: there is such a file; --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "model.onnx").read_text() == "mine"


def test_without_the_packages_the_extra_is_named(
    model: SingleStageSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'fsr-wsss\[onnx\]'"):
        export_onnx(model, tmp_path / "model.onnx")


def test_weights_too_large_for_onnx_are_refused(
    model: SingleStageSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsr.deploy import _onnx

    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(_onnx, "_MOST_BYTES", 10)
    with pytest.raises(ExportError, match="more than the 2 GiB of an ONNX file; fsr export pt2"):
        export_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="tolerance: expected a number in"):
        export_onnx(model, tmp_path / "model.onnx", tolerance=2)
