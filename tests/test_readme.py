"""The README and the documentation: their commands, snippets, links and tables are true."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import fsr
from fsr.presets import PRESETS, Preset
from tests.helpers import code_that_hides
from tests.processes import run_script

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md")), *sorted((DOCS / "methods").glob("*.md"))]


def fenced(page: Path, language: str) -> list[str]:
    """Contents of a page's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def locate(dotted: str) -> Any:
    """Import what a dotted name stands for: a module, or an attribute however deep."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            value = getattr(value, name)
        return value
    raise ModuleNotFoundError(dotted)


# -- commands -------------------------------------------------------------------------------------


def test_the_first_shell_block_holds_two_commands_that_stand_alone() -> None:
    lines = fenced(README, "bash")[0].splitlines()
    assert len(lines) == 2
    for line, script in zip(lines, ["fsr train", "python -m pytest"], strict=True):
        environment = re.match(r"python3 -m venv (\S+) && ", line)
        assert environment is not None, line
        name = environment.group(1)
        assert f"&& {name}/bin/pip install " in line
        assert re.search(rf"&& {re.escape(name)}/bin/{re.escape(script)}", line), line
        # An environment inside the checkout must not show up in git.
        ignored = subprocess.run(["git", "check-ignore", "-q", f"{name}/x"], cwd=ROOT, check=False)
        assert ignored.returncode in (0, 128)
    assert lines[0].split()[3] != lines[1].split()[3]


def test_the_extras_that_the_readme_names_exist() -> None:
    declared = (ROOT / "pyproject.toml").read_text()
    section = declared.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
    table = README.read_text().partition("### Extras")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == extras
    for line in fenced(README, "bash")[0].splitlines():
        for group in re.findall(r"\.\[([\w,]+)\]", line):
            assert set(group.split(",")) <= extras


# -- snippets -------------------------------------------------------------------------------------


# Tutorials are run by tests/test_tutorials.py, which compares their outputs too.
@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if fenced(p, "python") and p.parent.name != "tutorials"],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_python_snippets_of_a_page_run_in_order_and_without_any_extra(
    page: Path, tmp_path: Path
) -> None:
    script = tmp_path / "snippets.py"
    # matplotlib stays: torchmetrics imports it wherever it is installed.
    extras = ["accelerate", "omegaconf", "pycocotools", "pydensecrf", "skimage", "tensorboard"]
    script.write_text(code_that_hides(extras) + "\n".join(fenced(page, "python")))
    done = run_script(script, folder=tmp_path, environment={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_into_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dotted_names_in_a_page_exist(page: Path) -> None:
    for dotted in set(re.findall(r"`(fsr(?:\.\w+)+)`", page.read_text())):
        locate(dotted)


# -- tables ---------------------------------------------------------------------------------------


def equation_rows() -> list[tuple[str, str, str]]:
    """Number, function and module of every section of the page of equations."""
    text = (DOCS / "equations.md").read_text()
    kinds = r"\{(?:func|class|meth)\}"
    pattern = rf"^## Eq\. (\d+): .*?^- Function: {kinds}`([\w.]+)`.*?: {kinds}`([\w.]+)`"
    return re.findall(pattern, text, re.MULTILINE | re.DOTALL)


def test_the_page_of_equations_holds_every_equation_of_the_paper() -> None:
    assert [int(number) for number, _, _ in equation_rows()] == list(range(1, 11))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_test_that_a_page_names_exists(page: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text()):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(?:def|class) {name}\b", text, re.MULTILINE), (file, name)


def numbers_in(docstring: str) -> set[int]:
    """Equation numbers that a docstring names, ranges such as ``Eq. 5-7`` included."""
    found: set[int] = set()
    for text in re.findall(r"Eqs?\.\s*((?:\d+(?:\s*(?:-|,|and|to)\s*)?)+)", docstring):
        for first, last in re.findall(r"(\d+)(?:\s*(?:-|to)\s*(\d+))?", text):
            found |= set(range(int(first), int(last or first) + 1))
    return found


@pytest.mark.parametrize(("number", "function", "module"), equation_rows())
def test_the_function_of_an_equation_carries_its_number(
    number: str, function: str, module: str
) -> None:
    assert int(number) in numbers_in(inspect.getdoc(locate(function)) or "")
    assert callable(locate(module))


def test_the_table_of_presets_has_every_setting_and_every_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    rows = importlib.import_module("preset_rows").preset_rows()
    assert rows[0] == ["setting", *PRESETS]
    cells = {row[0]: row[1:] for row in rows[1:]}
    assert set(cells) == {field.name for field in fields(Preset)} - {"name"}
    for index, preset in enumerate(PRESETS.values()):
        assert cells["mask_cam"][index] == preset.mask_cam.describe()
        assert cells["energy_weight"][index] == f"{preset.energy_weight:g}"
        assert cells["total_steps"][index] == str(preset.total_steps)
    for page in PAGES[:1]:
        named = re.findall(
            r"^\| `(\w+)` \| (?:the text|the released|the losses)", page.read_text(), re.M
        )
        assert named == list(PRESETS)


def test_every_public_module_has_its_place_in_the_documentation() -> None:
    documented = set()
    for page in (DOCS / "api").glob("*.rst"):
        documented |= set(
            re.findall(r"^\.\. automodule:: ([\w.]+)", page.read_text(), re.MULTILINE)
        )
    for found in pkgutil.walk_packages(fsr.__path__, prefix="fsr."):
        package = found.name.rpartition(".")[0]
        if "._" in found.name or found.name in documented:
            continue
        if found.ispkg:
            children = pkgutil.iter_modules(importlib.import_module(found.name).__path__)
            assert any(not child.name.startswith("_") for child in children), found.name
        else:
            # A package that lists its public names stands for its modules.
            assert package in documented, found.name


def test_every_exported_component_is_in_the_readmes_table() -> None:
    table = README.read_text().partition("## What is in it")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| `fsr\.(\w+)` \|", table, re.MULTILINE))
    assert rows == {name for name in fsr.__all__ if not name.startswith("_")}
