"""The command `fsr` itself: the list of commands, how one is found, and how it ends."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fsr
from fsr.cli import main
from fsr.cli._main import COMMANDS, Command
from fsr.cli._outcome import guarded, one_line

ROOT = Path(__file__).resolve().parents[2]
# The commands that run here: that of training may lack its packages.
HERE = {name: c for name, c in COMMANDS.items() if importlib.util.find_spec(c.module)}
PARSED = [name for name in HERE if name != "train"]


def refused(*argv: str) -> int:
    """Run a command that must end before it does anything; return its status."""
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return int(caught.value.code or 0)


# -- the list -------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_it_lists_the_commands_and_the_exit_statuses(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert list(COMMANDS) == [
        *("train", "evaluate", "report", "predict"),
        *("export", "export onnx", "export pt2", "convert"),
        *("prepare folder", "prepare voc", "prepare coco", "methods", "info"),
    ]
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", out, re.MULTILINE)
    assert "exit status: 0 done, 1 something cannot be read" in out
    assert "2 a wrong option, 130 interrupted; 3 from train: a loss is not finite" in out
    assert "fsr --version" in out


@pytest.mark.parametrize("argv", [["prepare"], ["prepare", "--help"]])
def test_a_name_of_two_words_that_lacks_the_second_lists_those_that_begin_so(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "usage: fsr prepare COMMAND" in out
    listed = re.findall(r"^  (\w+ \w+)  ", out, re.MULTILINE)
    assert listed == ["prepare folder", "prepare voc", "prepare coco"]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fsr {fsr.__version__}\n"


@pytest.mark.parametrize("name", HERE)
def test_the_list_says_of_a_command_what_the_command_says_of_itself(name: str) -> None:
    if name == "train":
        pytest.importorskip("omegaconf")
        pytest.importorskip("accelerate")
    assert COMMANDS[name].summary == importlib.import_module(COMMANDS[name].module).SUMMARY


def test_the_list_loads_no_command_and_no_other_package_such_as_torch() -> None:
    code = """
import json, sys
before = set(sys.modules)
from fsr.cli import main
main(["--help"])
main(["prepare"])
main(["--version"])
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    own = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    files = ("_extras", "_main", "_outcome", "_parser", "_signals")
    core = ("", ".moved", ".version")
    assert own == {
        *("fsr", "fsr.cli"),
        *(f"fsr._core{name}" for name in core),
        *(f"fsr.cli.{name}" for name in files),
    }


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["evalute", "model"],
            "fsr: error: expected a command (train, evaluate, report, predict, export, convert, "
            "prepare, methods, info), "
            "got 'evalute' (did you mean evaluate?)",
        ),
        (
            ["prepare", "foldr"],
            "fsr prepare: error: expected a command (folder, voc, coco), got 'foldr' "
            "(did you mean folder?)",
        ),
        (["prepare", "zip"], "got 'zip'"),
        (["--verson"], "fsr: error: unrecognized option --verson (did you mean --version?)"),
        (["prepare", "--version"], "fsr prepare: error: unrecognized option --version"),
        # The option that is required is the one that is mistyped.
        (
            ["evaluate", "model", "--datset", "voc"],
            "fsr evaluate: error: unrecognized option --datset (did you mean --dataset?)",
        ),
        (["predict", "--outptu=x"], "unrecognized option --outptu (did you mean --output?)"),
        (["export", "model", "--out", "x"], "option --out (did you mean --output?)"),
        (["info", "--as-stored"], "unrecognized option --as-stored"),
        (["export", "model", "--xyz"], "fsr export: error: unrecognized option --xyz"),
        (["info", "-v"], "fsr info: error: unrecognized option -v"),
        (["evaluate", "model"], "the following arguments are required: --dataset"),
        (
            ["evaluate", "model", "--dataset", "voc", "--scales", "-1"],
            "argument --scales: expected a number above 0, got -1",
        ),
    ],
)
def test_a_mistyped_word_names_the_nearest_even_while_another_is_missing(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(*argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].endswith(line)


def test_words_after_two_dashes_are_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--", "--model"]) == 1
    assert capsys.readouterr().err == "fsr info: error: path: no file '--model'\n"


# -- help of a command ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARSED)
def test_the_help_of_a_command_names_every_option_with_its_default(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(*name.split(), "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: fsr {name}")
    assert f"\n{COMMANDS[name].summary}\n\n  fsr {name} " in out
    assert "exit status: 0 done" in out
    parser = importlib.import_module(COMMANDS[name].module).build_parser(f"fsr {name}")
    for action in parser._actions:
        assert action.help, action.dest
        assert all(option in out for option in action.option_strings)
        switch = action.nargs == 0
        if not action.option_strings or switch:
            assert action.default in (None, False, argparse.SUPPRESS)
        elif action.required:
            assert action.help.endswith("(required)"), action.dest
        else:
            assert f"(default: {_spelled(action.default)}" in action.help, action.dest


def _spelled(default: Any) -> str:
    """A default as help has it; None is told in words."""
    if isinstance(default, list):
        return " ".join(f"{value:g}" for value in default)
    return "" if default is None else str(default).replace("1e-06", "1e-6")


# -- how it ends ----------------------------------------------------------------------------------


def stand_in(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let loading a command fail."""

    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)


def test_a_missing_extra_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, ModuleNotFoundError("No module named 'a'", name="accelerate.utils"))
    assert main(["train"]) == 1
    assert capsys.readouterr().err == (
        "fsr train: error: the package 'accelerate' is needed: pip install 'fsr-wsss[train]'\n"
    )
    told = "training needs the package 'tqdm': pip install 'fsr-wsss[train]'"
    stand_in(monkeypatch, ImportError(told))
    assert main(["train"], prog="train.py") == 1
    assert capsys.readouterr().err == f"train.py: error: {told}\n"
    # What no extra brings is a fault of the installation, or of the package.
    stand_in(monkeypatch, ModuleNotFoundError("No module named 'torch'", name="torch"))
    with pytest.raises(ModuleNotFoundError, match="torch"):
        main(["train"])


def test_an_interruption_while_a_command_loads_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, KeyboardInterrupt())
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "fsr info: interrupted\n"


def test_a_command_gets_its_words_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        def main(argv: list[str], prog: str) -> int:
            seen.append((argv, prog))
            return 7

    seen: list[Any] = []
    monkeypatch.setitem(COMMANDS, "prepare voc", Command("somewhere", ""))
    monkeypatch.setattr(importlib, "import_module", lambda _: Module)
    assert main(["prepare", "voc", "--help", "a.b=c"]) == 7
    monkeypatch.setattr(sys, "argv", ["fsr", "prepare", "voc", "x"])
    assert main() == 7
    assert main(["prepare", "voc"], prog="old.py") == 7
    assert seen == [
        (["--help", "a.b=c"], "fsr prepare voc"),
        (["x"], "fsr prepare voc"),
        ([], "old.py"),
    ]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("size: expected 3,\n   got 4\n"), "size: expected 3, got 4"),
        (RuntimeError(""), "RuntimeError('')"),
        (
            RuntimeError(
                "Caught DataError in worker process 0.\nOriginal Traceback (most recent call last):"
                "\n  File x, line 1\nfsr.errors.DataError: a.jpg: cannot be read\n"
            ),
            "a.jpg: cannot be read",
        ),
    ],
)
def test_an_error_is_told_in_one_line(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert one_line(error) == line
    assert guarded("fsr x", fail) == 1
    assert capsys.readouterr().err == f"fsr x: error: {line}\n"


def test_a_fault_of_the_package_is_no_bad_input() -> None:
    def fail() -> int:
        raise AttributeError("a fault")

    with pytest.raises(AttributeError, match="a fault"):
        guarded("fsr x", fail)


# -- where it is found ----------------------------------------------------------------------------


def test_the_console_command_and_python_m_are_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]\n")[2]
    assert scripts.splitlines()[0] == 'fsr = "fsr.cli:main"'
    monkeypatch.delitem(sys.modules, "fsr.__main__", raising=False)
    monkeypatch.setattr(sys, "argv", ["fsr", "--version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("fsr", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fsr {fsr.__version__}\n"


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("evaluate", "evaluate"),
        ("predict", "predict"),
        ("export_pseudo_labels", "export"),
        ("prepare_folder", "prepare folder"),
        ("prepare_voc", "prepare voc"),
        ("prepare_coco", "prepare coco"),
    ],
)
def test_an_example_is_the_thin_face_of_its_command(
    script: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = ROOT / "examples" / f"{script}.py"
    assert len(path.read_text().splitlines()) <= 15
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(path), run_name="__main__")
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: {script}.py")
    assert COMMANDS[name].summary in out
    monkeypatch.setattr(sys, "argv", [str(path), "--nonsense"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(path), run_name="__main__")
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"{script}.py: error: unrecognized option --nonsense"
