"""The reference: every public name once, found in all its forms, without a network."""

from __future__ import annotations

import importlib
import io
import posixpath
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the documentation's extension."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    return importlib.import_module


# -- names ----------------------------------------------------------------------------------------


def test_every_public_name_of_every_face_stands_there_once(extension: Any) -> None:
    names = extension("public_names")
    listed = [entry.name for entries in names.all_entries().values() for entry in entries]
    assert [name for name, count in Counter(listed).items() if count > 1] == []
    objects = {id(names.locate(name)): name for name in listed}
    missing = []
    for face, public in names.faces().items():
        for name in public:
            dotted = f"{face}.{name}"
            value = names.locate(dotted)
            # One object under several names stands there as users import it, see below.
            shared = names.kind(value) != "data" and objects.get(id(value))
            if dotted not in listed and not shared:
                missing.append(dotted)
    assert missing == [], "add these to a page of docs/api"
    for name in listed:
        face, _, last = name.rpartition(".")
        assert last in names.faces()[face], name


def test_a_component_stands_under_its_short_name(extension: Any) -> None:
    names = extension("public_names")
    listed = {entry.name for entries in names.all_entries().values() for entry in entries}
    assert {f"fsr.{name}" for name in importlib.import_module("fsr").__all__} <= listed
    assert "fsr.masking.UncertainMasker" not in listed


def test_every_name_has_one_sentence(extension: Any) -> None:
    names = extension("public_names")
    for page, entries in names.all_entries().items():
        for entry in entries:
            assert entry.summary.endswith((".", "?")), (page, entry.name, entry.summary)
            assert not entry.summary.startswith(f"{entry.name.rpartition('.')[2]}("), entry.name
            # What has a docstring says it there and nowhere else.
            assert not entry.text or entry.kind in ("data", "module"), entry.name


def test_every_page_is_in_the_index(extension: Any) -> None:
    names = extension("public_names")
    index = (DOCS / "api" / "index.rst").read_text()
    pages = [line.strip() for line in index.splitlines() if line.startswith("   ")]
    for page, entries in names.all_entries().items():
        assert pages.count(page) == (0 if page == "index" else 1), page
        assert entries or page == "index", page


def test_a_line_that_is_no_name_is_refused(extension: Any) -> None:
    names = extension("public_names")
    assert names.read_lines(["   fsr.cam.EPS: Small.", ""]) == [("fsr.cam.EPS", "Small.")]
    with pytest.raises(ValueError, match=r"expected a dotted name, .* got '   fsr.cam EPS'"):
        names.read_lines(["   fsr.cam EPS"])


def test_values_are_shown_where_they_are_short_and_the_same_everywhere(extension: Any) -> None:
    shown = extension("public_names").shown_value
    assert shown(("a", "b")) == "('a', 'b')"
    assert shown({"one": "x" * 200, "two": 2}) == "'one', 'two'"
    assert shown(Path("/tmp")) == ""
    assert shown({"kind": dict}) == "'kind'"
    assert shown("x" * 200) == ""


def test_names_are_found_in_all_their_forms(extension: Any) -> None:
    pytest.importorskip("sphinx")
    names = extension("reference").public_names()

    def found(*said: str | None) -> str:
        return next(names.find(*said), "")

    assert found("fsr.masking.UncertainMasker", None, None) == "fsr.UncertainMasker"
    assert found("fsr.masking._masker.UncertainMasker", None, None) == "fsr.UncertainMasker"
    assert found("UncertainMasker", "fsr.masking", None) == "fsr.UncertainMasker"
    assert found("soft_mask", None, None) == "fsr.masking.soft_mask"
    saved = found("fsr.segmenter.SingleStageSegmenter.save", None, None)
    assert saved == "fsr.SingleStageSegmenter.save"
    assert found("propagate", "fsr.refine", None) == "fsr.refine.propagate"
    assert found("propagate", "fsr.affinity", None) == "fsr.affinity.propagate"
    assert found("propagate", None, None) == ""  # which of the two?
    assert names.by_module["fsr.losses"] in ("losses", "method_losses")


# -- other projects -------------------------------------------------------------------------------


def test_names_of_other_projects_exist(extension: Any) -> None:
    inventories = extension("inventories")
    locate = extension("public_names").locate
    for project in inventories.MAPPED:
        if project in ("accelerate", "matplotlib"):
            pytest.importorskip(project)
        for known in inventories.read_known(project):
            # A bare name is that of the object whose place it has.
            name = known.name if known.place.endswith("$") else known.place.partition("#")[2]
            assert callable(locate(name or known.name)), known
            assert known.name.endswith(name.rpartition(".")[2]), known


def test_an_inventory_is_what_sphinx_reads(extension: Any) -> None:
    pytest.importorskip("sphinx")
    from sphinx.util.inventory import InventoryFile

    made = io.BytesIO(extension("inventories").inventory("torch"))
    read = InventoryFile.load(made, "https://docs.pytorch.org/docs/stable", posixpath.join)
    names = getattr(read, "data", read)["py:class"]
    assert "https://docs.pytorch.org/docs/stable/tensors.html#torch.Tensor" in str(names["Tensor"])
    assert "/generated/torch.Generator.html#torch.Generator" in str(names["torch.Generator"])


def test_a_kind_that_sphinx_does_not_know_is_refused(
    extension: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventories = extension("inventories")
    monkeypatch.setattr(inventories, "FOLDER", tmp_path)
    (tmp_path / "torch.txt").write_text("torch.Tensor klass tensors.html#$\n")
    with pytest.raises(ValueError, match=r"torch.txt: torch.Tensor: expected one of .*, got klass"):
        inventories.read_known("torch")


def test_sources_link_names_as_they_are_listed(extension: Any) -> None:
    pytest.importorskip("sphinx")
    names, mended = extension("public_names"), extension("reference").mended_links
    entries = {"losses": names.all_entries()["losses"]}
    body = '<a href="../../api/losses.html#{}">[docs]</a>'
    for wrong, right in (
        ("fsr.patch_token_contrast", "fsr.losses.patch_token_contrast"),
        ("fsr.PTCLoss.forward", "fsr.PTCLoss.forward"),
        ("fsr.losses.PTCLoss.forward", "fsr.PTCLoss.forward"),
        ("fsr.losses.nothing", "fsr.losses.nothing"),
    ):
        assert mended(body.format(wrong), entries) == body.format(right)


# -- pages ----------------------------------------------------------------------------------------

PAGE = """
Errors
======

.. public::

   fsr.errors.ShapeError
   fsr.errors.DataError
   fsr.metrics.SegmentationMetrics
   fsr.metrics.SegmentationScores
   fsr.cam.ignore_label
   fsr.pooling.BACKGROUND_LOGIT: A number.
   fsr.PTCLoss
   fsr.losses.patch_token_contrast

:class:`fsr.losses.PTCLoss` is one name of two. See
:class:`fsr.errors.ShapeError`, :exc:`ShapeError`, :mod:`fsr.errors`, :class:`torch.Tensor`,
:attr:`fsr.metrics.SegmentationScores.miou` and :class:`fsr.errors.Nothing`.

.. public::

   fsr.errors.Nothing
"""


def test_a_page_shows_names_once_and_links_them_in_every_form(
    extension: Any, tmp_path: Path
) -> None:
    application = pytest.importorskip("sphinx.application")
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "errors.rst").write_text(PAGE)
    (tmp_path / "conf.py").write_text(
        "extensions = ['sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'reference']\n"
        "root_doc = 'api/errors'\nautodoc_default_options = {'members': True}\n"
    )
    extension("reference")
    out, warnings = tmp_path / "out", io.StringIO()
    application.Sphinx(
        tmp_path, tmp_path, out, out / "trees", "html", status=None, warning=warnings
    ).build()
    html = (out / "api" / "errors.html").read_text()
    assert html.count('id="fsr.errors.ShapeError"') == 1
    # The table, both forms in the text, and the scores' own field, told of where they are.
    assert html.count('href="#fsr.errors.ShapeError"') >= 3
    assert html.count('href="#fsr.metrics.SegmentationScores" title=') >= 1
    assert 'href="https://docs.pytorch.org/docs/stable/tensors.html#torch.Tensor"' in html
    assert "Alias for field number" not in html
    # A link says what a user imports, whatever the page says.
    assert "fsr.losses.PTCLoss" not in re.sub("<[^>]+>", "", html)
    assert html.count('href="#fsr.PTCLoss"') >= 2
    assert "fsr.pooling.BACKGROUND_LOGIT = 1.0" in " ".join(re.sub("<[^>]+>", "", html).split())
    assert "constants and types" in html
    # An application that another test set up in this process leaves its nodes.
    lines = warnings.getvalue().splitlines()
    told = "\n".join(line for line in lines if "is already registered" not in line)
    assert "public: fsr.errors.Nothing: there is no fsr.errors.Nothing" in told
    assert "py:class reference target not found: fsr.errors.Nothing" in told
    assert told.count("WARNING") + told.count("ERROR") == 2, told
