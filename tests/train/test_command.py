"""`fsr train` from outside: help, names of files, mistyped options, what it needs."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

for package in ("accelerate", "omegaconf"):
    pytest.importorskip(package)

from fsr.backbone import _hub
from fsr.cli import _train as command
from fsr.errors import ConfigError, DataError, InputError, NotFiniteError
from fsr.train import Config, build_preset, config_names, find_config, list_options, load_config
from fsr.train._config import option_kinds
from fsr.train._preset_options import PresetConfig, documented
from tests.helpers import code_that_hides
from tests.processes import run_code

ROOT = Path(__file__).resolve().parents[2]


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its status and what it printed."""
    status = command.main(arguments, "fsr train")
    return (status, *capsys.readouterr())


def test_help_names_every_switch_and_every_option_with_its_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = told(capsys, "--help")
    assert (status, err) == (0, "")
    for switch in ("--config", "--short", "--resume", "--print-config"):
        assert switch in out
    for name in config_names():
        assert name in out
    groups = {name for name, kind in option_kinds(Config) if hasattr(kind, "__dataclass_fields__")}
    for name, _ in option_kinds(Config):
        assert (f"{name}: " if name in groups else f"  {name}=") in out
    assert re.search(r"^  optim\.lr=0\.0001 +learning rate of the encoder", out, re.MULTILINE)
    assert "3 a loss is not finite" in out


def test_help_shows_the_values_of_the_files_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = told(capsys, "--config", "voc", "--help")
    assert "as they are with --config voc" in out
    assert "  steps=20000 " in out
    assert "  preset.pseudo_high=0.7 " in out


def test_every_option_has_a_meaning_in_one_place() -> None:
    for each in list_options(load_config()):
        assert each.meaning, each.name
        assert not each.meaning.endswith("Eq"), each.name
    meanings = {each.name: each.meaning for each in list_options(load_config())}
    assert meanings["preset.mask_ratio"] == "share of the patches to mask, r of Eq. 4"
    assert (
        meanings["preset.mask_cam.view"]
        == documented(type(build_preset(Config()).mask_cam))["view"]
    )


@pytest.mark.parametrize("arguments", [[], ["--config", "voc"], ["--short", "optim.lr=0.25"]])
def test_the_printed_config_is_the_run_again(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, out, err = told(capsys, *arguments, "--print-config")
    assert (status, err) == (0, "")
    file = tmp_path / "printed.yaml"
    file.write_text(out)
    names = [name for name in arguments if name in config_names()] or ["default"]
    names += ["smoke"] if "--short" in arguments else []
    overrides = ["data.root=x"] if "voc" in names else []
    values = [text for text in arguments if "=" in text]
    again = load_config(file, overrides=overrides)
    first = load_config(*names, overrides=[*overrides, *values])
    assert build_preset(again) == build_preset(first)
    again.preset = first.preset = PresetConfig()
    assert asdict(again) == asdict(first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "1e-4"], "--lr: unknown switch; options of a run are given as optim.lr=1e-4"),
        (["--optim.lr", "1e-4"], "--optim.lr: unknown switch; .* as optim.lr=1e-4"),
        (["--optim.lr=1e-4"], "--optim.lr=1e-4: unknown switch; .* as optim.lr=1e-4"),
        (["--batch-size", "4"], "--batch-size: unknown switch; .* as data.batch_size=4"),
        (["--confg", "voc"], r"--confg: unknown switch \(did you mean --config\?\)"),
        (["--zzz"], "--zzz: unknown switch; options of a run are given as option=value"),
        (["--config", "voc", "optim.lrr=1"], r"optim\.lrr: unknown option .*'optim\.lr'"),
        (["--config", "voc", "data.rot=x"], r"data\.rot: unknown option .*'data\.root'"),
        (["--config", "voc"], r"data\.root: the data set 'voc' needs a folder"),
        (["--config", "configs/voc.yaml"], r"no file configs/voc\.yaml .*--config voc\?"),
        (["--config", "vocc"], r"no file vocc \(did you mean --config voc\?\)"),
        (["--config", "zzz"], "no file zzz; the package ships afa, afa_coco, afa_voc, beco"),
    ],
)
def test_a_wrong_argument_is_one_line_with_a_way_out(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = told(capsys, *arguments)
    assert (status, out) == (command.BAD_OPTION, "")
    assert err.startswith("fsr train: error: ")
    assert err.count("\n") == 1
    assert re.search(message, err), err


def test_an_old_path_is_the_shipped_file_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    old = "examples/configs/voc.yaml"
    status, out, err = told(capsys, "--config", old, "--print-config")
    assert status == 0
    assert "steps: 20000" in out
    assert err == f"fsr train: {old} has moved into the package; --config voc is that file now\n"
    # A file of one's own at that place is taken as it is.
    Path(old).parent.mkdir(parents=True)
    Path(old).write_text("steps: 7\n")
    status, out, err = told(capsys, "--config", old, "--print-config")
    assert (status, err) == (0, "")
    assert "steps: 7" in out


def test_shipped_files_are_found_by_name_from_any_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in config_names():
        assert find_config(name).is_file()
    with pytest.raises(ConfigError, match="no file voc2"):
        find_config("voc2")


def test_weights_out_of_reach_name_both_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_hub, "_cached", lambda *args: False)
    monkeypatch.setattr(_hub, "connection_fault", lambda url: "Name or service not known")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    backbone = "model.backbone=vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    options = [backbone, "data.image_size=32", f"run.output={tmp_path / 'run'}"]
    status, _, err = told(capsys, "--short", *options)
    assert status == command.BAD_INPUT
    assert err.count("\n") == 1
    assert "cannot be fetched (huggingface.co: Name or service not known)" in err
    assert "model.pretrained=FILE" in err
    assert "model.pretrained=false" in err


def test_without_the_extra_the_room_imports_and_says_what_to_install() -> None:
    code = code_that_hides(["accelerate", "omegaconf"]) + (
        "import fsr.train\n"
        "for call in (fsr.train.load_config, lambda: fsr.train.run(fsr.train.Config())):\n"
        "    try:\n"
        "        call()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    done = run_code(code)
    assert done.stdout == (
        "fsr.train needs the package 'omegaconf': pip install 'fsr-wsss[train]'\n"
        "fsr.train needs the package 'accelerate': pip install 'fsr-wsss[train]'\n"
    ), done.stderr


def test_errors_are_those_of_the_builtin_kinds() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(NotFiniteError, ArithmeticError)
    assert not issubclass(InputError, DataError)
