"""`fsr info`: what is installed, and what a network file holds."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

import fsr
from fsr.cli import _extras, main
from fsr.cli._extras import EXTRAS
from fsr.cli._info import device_rows
from fsr.cli._network_file import network_lines
from fsr.presets import PRESETS
from fsr.segmenter import SingleStageSegmenter
from tests.cli.helpers import tiny_network

ROOT = Path(__file__).resolve().parents[2]


def test_versions_devices_extras_and_names_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    rows = dict(re.findall(r"^  (\S+) +(.+)$", out, re.MULTILINE))
    assert rows["fsr-wsss"].startswith(f"{fsr.__version__}, in ")
    for name in ("torch", "torchvision", "timm", "numpy"):
        assert rows[name] == metadata.version(name)
    assert {"python", "platform", "configs", *EXTRAS} <= set(rows)
    assert rows["cpu"].endswith(f"{torch.get_num_threads()} threads")
    assert ("cuda:0" in rows) is torch.cuda.is_available()
    assert rows["presets"] == ", ".join(PRESETS)
    assert re.findall(r"^(\w.*)$", out, re.MULTILINE) == [
        *("versions", "devices", "extras", "presets and configs")
    ]


def test_the_devices_that_torch_can_use_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="Card 9", total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    rows = dict(device_rows())
    assert rows["cuda:0"] == "Card 9, 24 GiB"
    assert list(rows) == ["cpu", "cuda:0", "mps"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for build, told in (("13.0", "none found"), (None, "none: this build of torch is for the CPU")):
        monkeypatch.setattr(torch.version, "cuda", build)
        assert dict(device_rows())["cuda"] == told


def test_packaged_configs_are_listed_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fsr.cli._info.resources.files", lambda _: tmp_path)
    assert main(["info"]) == 0
    assert "configs     none\n" in capsys.readouterr().out
    folder = tmp_path / "train" / "configs"
    folder.mkdir(parents=True)
    for name in ("voc.yaml", "default.yaml", "notes.txt"):
        (folder / name).touch()
    assert main(["info"]) == 0
    told = "configs     default, voc (fsr train --config NAME)\n"
    assert told in capsys.readouterr().out


def test_a_missing_extra_is_told_with_what_it_enables_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = ("omegaconf", "tqdm", "scipy")
    monkeypatch.setattr(_extras, "find_spec", lambda name: None if name in hidden else object())
    assert main(["info"]) == 0
    rows = dict(re.findall(r"^  (\S+) +(.+)$", capsys.readouterr().out, re.MULTILINE))
    assert rows["train"] == "lacks omegaconf, tqdm, for fsr train: pip install 'fsr-wsss[train]'"
    assert rows["voc"] == "lacks scipy, for fsr prepare voc: pip install 'fsr-wsss[voc]'"
    assert rows["coco"] == rows["crf"] == "installed"


def test_the_extras_are_those_of_the_distribution() -> None:
    declared = (ROOT / "pyproject.toml").read_text()
    section = declared.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    found = dict(re.findall(r"^(\w+) = \[(.*)\]$", section, re.MULTILINE))
    for group in ("dev", "docs", "all"):
        found.pop(group, None)
    assert set(EXTRAS) == set(found)
    for name, extra in EXTRAS.items():
        assert len(extra.packages) == found[name].count('"') // 2, name


def test_a_network_file_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tiny_network(("cat", "dog"))
    path = tmp_path / "model.safetensors"
    network.save(path)
    values = sum(value.numel() for value in network.state_dict().values())
    assert main(["info", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(path)
    rows = dict(re.findall(r"^  (.+?)  +(.+)$", "\n".join(lines), re.MULTILINE))
    assert rows["classes"] == "2: cat, dog"
    assert rows["encoder"] == "vit_tiny_patch16_224"
    assert rows["image size"] == "32"
    assert rows["parameters"] == f"{values:,} (float32)"
    assert rows["saved by"] == f"fsr-wsss {fsr.__version__}"
    assert rows["backbone_options"] == "patch_size=8, embed_dim=16, depth=3, num_heads=2"
    assert rows["decoder"] == "largefov"


def test_parts_that_a_caller_built_and_classes_without_names_are_told(tmp_path: Path) -> None:
    network = SingleStageSegmenter(
        2,
        "vit_tiny_patch16_224",
        image_size=(32, 48),
        projection_dim=8,
        projector=torch.nn.Identity(),
        backbone_options={"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2},
    )
    network.half().save(tmp_path / "model.safetensors")
    told = "\n".join(network_lines(tmp_path / "model.safetensors"))
    assert re.search(r"classes +2, without names", told)
    assert re.search(r"image size +32 x 48", told)
    assert re.search(r"projector +\S*Identity, built by the caller", told)
    assert "(float16)" in told


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{oops", "has a damaged header: '{oops' is no JSON object"),
        ("[1]", "has a damaged header: '[1]' is no JSON object"),
        (json.dumps({"format": 1}), "has a damaged header: its arguments are None"),
        (json.dumps({"format": 1, "arguments": {}}), "has a damaged header: num_classes is None"),
        (json.dumps({"format": 2}), "has format 2, expected 1"),
    ],
)
def test_a_damaged_file_is_told_in_one_line_and_the_others_are_described(
    header: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "bad.safetensors", metadata={"fsr_wsss": header})
    tiny_network(("cat",)).save(tmp_path / "good.safetensors")
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("bad", "good")]
    assert main(["info", *paths]) == 1
    out, error = capsys.readouterr()
    assert error.startswith(f"fsr info: error: path: {paths[0]!r} {message}")
    assert error.count("\n") == 1
    assert out.splitlines()[0] == paths[1]
