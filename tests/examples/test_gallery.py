"""The gallery: every script asks one question, is short, and tells what its pictures show.

That all of them run, with a picture for each alternative text, is held by the build of the
documentation, in which a warning is an error; they take too long to run twice.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

GALLERY = Path(__file__).resolve().parents[2] / "examples" / "gallery"
SCRIPTS = sorted(GALLERY.glob("*/*.py"))
DRAWS = {"subplots", "subplot_mosaic", "comparison_sheet", "plot_attention_entropy", "sheet"}
ALT = re.compile(r'^# sphinx_gallery_alt = "(.+)"$', re.MULTILINE)
every_script = pytest.mark.parametrize(
    "script", SCRIPTS, ids=[f"{path.parent.name}/{path.stem}" for path in SCRIPTS]
)


def figures(tree: ast.Module) -> int:
    """Count the figures that the script itself makes, not its functions."""
    count = 0
    for statement in tree.body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
            continue
        called = statement.value.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        count += name in DRAWS
    return count


def test_there_is_a_gallery() -> None:
    assert len(SCRIPTS) >= 15
    for folder in (GALLERY, *{path.parent for path in SCRIPTS}):
        assert (folder / "GALLERY_HEADER.rst").exists(), folder


@every_script
def test_a_script_asks_a_question_and_answers_it_briefly(script: Path) -> None:
    text = script.read_text()
    _, title, line, *story = (ast.get_docstring(ast.parse(text), clean=False) or "").splitlines()
    assert title.endswith("?")
    assert set(line) == {"="}
    assert len(line) == len(title)
    assert 20 <= len(" ".join(story).split()) <= 90
    code = [each for each in text.splitlines() if each and not each.startswith(("#", '"""'))]
    assert len(code) <= 80
    assert text.count("\n# %%\n") >= 2


@every_script
def test_each_picture_has_an_alternative_text(script: Path) -> None:
    text = script.read_text()
    found = ALT.findall(text)
    assert len(found) == figures(ast.parse(text)) >= 1
    for alt in found:
        assert 40 <= len(alt) <= 160, alt
        assert alt.endswith("."), alt
    # One to a block: the place of the comment says which picture it is about.
    for block in re.split(r"^# %%$", text, flags=re.MULTILINE):
        assert len(ALT.findall(block)) <= 1


@every_script
def test_a_script_needs_no_network_and_no_file_of_its_own(script: Path) -> None:
    text = script.read_text()
    assert not re.search(r"https?://|urllib|import requests|download=True", text)
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
    }
    known = {"fsr", "matplotlib", "numpy", "pathlib", "PIL", "skimage", "timm", "torch"}
    assert imported <= known | {"torchvision"}
    private = re.findall(r"from (fsr[\w.]*\._\w+)|fsr[\w.]*\._\w+", text)
    assert not private


# -- the extension --------------------------------------------------------------------------------


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the extension of the documentation, and give matplotlib its own settings back."""
    pytest.importorskip("sphinx_gallery")
    import matplotlib as mpl

    monkeypatch.syspath_prepend(str(GALLERY.parents[1] / "docs" / "_ext"))
    with mpl.rc_context():
        yield importlib.import_module("gallery")


def scraped(extension: Any, tmp_path: Path, content: str, **names: object) -> str:
    paths = (str(tmp_path / f"{number}.png") for number in range(9))
    variables = {"image_path_iterator": paths, "example_globals": names, "src_file": "one.py"}
    block = SimpleNamespace(content=content, lineno=7)
    return str(extension.scrape(block, variables, {"src_dir": str(tmp_path)}))


def test_a_picture_without_text_stops_the_build(extension: Any, tmp_path: Path) -> None:
    from matplotlib import pyplot as plt

    plt.subplots()
    with pytest.raises(ValueError, match=r"one\.py:7: 1 figures and 0 lines"):
        scraped(extension, tmp_path, "plt.subplots()")
    plt.close("all")


def test_figures_of_the_package_are_shown_with_their_text(extension: Any, tmp_path: Path) -> None:
    import torch
    from matplotlib.colors import to_rgba

    from fsr.visualize import plot_attention_entropy

    extension.style({}, "")
    figure = plot_attention_entropy({"one": torch.ones(2, 1)})
    rst = scraped(extension, tmp_path, '# sphinx_gallery_alt = "A line."\n', figure=figure)
    assert ":alt: A line.\n" in rst
    assert (tmp_path / "0.webp").stat().st_size > 0
    # Neither a white card on a dark page nor ink that a page of either colour swallows.
    assert to_rgba(figure.get_facecolor())[3] == 0
    assert figure.axes[0].xaxis.label.get_color() == extension.INK


def test_an_api_entry_names_the_examples_that_use_it(extension: Any, tmp_path: Path) -> None:
    conf = SimpleNamespace(sphinx_gallery_conf={"backreferences_dir": "used"})
    app = SimpleNamespace(srcdir=tmp_path, config=conf)
    (tmp_path / "used").mkdir()
    links = [f":doc:`/gallery/{number}`" for number in range(6)]
    links[5] = ":doc:`/gallery/about_ptcloss`"
    text = "\n".join(f"text {link}\n * {link}" for link in links)
    (tmp_path / "used" / "fsr.PTCLoss.examples").write_text(text)
    (tmp_path / "used" / "fsr.PAR.examples").write_text("")

    def below(name: str, item: object) -> list[str]:
        lines: list[str] = []
        extension.add_examples(app, "class", name, item, None, lines)
        return lines

    named = ["", f"**In the gallery:** {' · '.join([links[5], *links[: extension.MOST - 1]])}", ""]
    assert below("fsr.PTCLoss", int) == named
    assert below("fsr.losses.PTCLoss", int) == named
    assert below("fsr.PAR", int) == below("fsr.unknown", int) == []
    assert below("fsr.PTCLoss", ast) == []
