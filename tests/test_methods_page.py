"""The page of methods: all that the paper compares, with its figures, and parts that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.test_readme import locate

DOCS = Path(__file__).parents[1] / "docs"
# Tables 1 and 2 of the paper: mIoU on VOC val and on COCO val.
PRINTED = {
    "RIB": ("70.2", "43.8"), "EDAM": ("70.9", ""), "EPS": ("71.0", "35.7"), "SANCE": ("72.0", ""),
    "L2G": ("72.1", "44.2"), "RCA": ("72.2", ""), "SEAM": ("64.5", ""), "BES": ("65.7", ""),
    "CPN": ("67.8", ""), "CDA": ("66.1", "33.2"), "ReCAM": ("68.5", ""), "URN": ("69.5", "40.7"),
    "ESOL": ("69.9", "42.6"), "ViT-PCM": ("70.3", "45.0"), "MCTformer": ("71.9", "42.0"),
    "OCR": ("72.7", "42.5"), "BECO": ("73.7", "45.1"), "MCTformer+": ("74.0", "45.2"),
    "RRM": ("62.6", ""), "1Stage": ("62.7", ""), "AFA": ("66.0", "38.9"), "ToCo": ("71.1", "42.3"),
    "FSR": ("75.7", "45.4"),
}  # fmt: skip
SALIENCY = {"RIB", "EDAM", "EPS", "SANCE", "L2G", "RCA"}
SINGLE = {"RRM", "1Stage", "AFA", "ToCo", "FSR"}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    return importlib.import_module("method_rows")


def test_all_that_the_paper_compares_stands_there_with_its_figures(page: ModuleType) -> None:
    found = {method.name: (method.voc, method.coco) for method in page.METHODS}
    assert found == PRINTED
    assert len(page.METHODS) == len(PRINTED) == 23
    assert {m.name for m in page.METHODS if m.labels == page.SALIENCY} == SALIENCY
    assert {m.name for m in page.METHODS if m.stages == page.SINGLE} == SINGLE


def test_every_part_is_public(page: ModuleType) -> None:
    # What is public is in the reference: tests/test_reference.py.
    for name in sorted({part for method in page.METHODS for part in method.parts}):
        module, _, attribute = name.rpartition(".")
        assert attribute in getattr(locate(module), "__all__", [attribute]), name
        assert callable(locate(name)), name


def test_a_status_is_one_of_three_and_says_what_is_there(page: ModuleType) -> None:
    assert page.STATUSES == ("works", "parts only", "not yet")
    for method in page.METHODS:
        assert method.status in page.STATUSES, method.name
        assert (method.status == "works") == (not method.missing), method.name
        assert method.parts or method.status == "not yet", method.name
    explained = (DOCS / "methods.md").read_text().partition("| status |")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (.+?) \|", explained, re.M)[1:] == list(page.STATUSES)


def test_the_table_has_a_cell_for_every_column(page: ModuleType) -> None:
    heading, *rows = page.method_rows()
    assert heading == list(page.HEADING)
    assert [len(row) for row in rows] == [len(heading)] * 23
    assert all(all(row) for row in rows)
    (ours,) = [row for row in rows if row[0] == "FSR (He et al. 2024)"]
    assert ours[1:6] == ["one", "I", "†ViT-B", "75.7", "45.4"]
    assert ours[6:] == ["works"]


def test_the_page_counts_the_methods_that_work(page: ModuleType) -> None:
    works = sum(method.status == "works" for method in page.METHODS)
    assert works == 11
    assert "Eleven of the 23 are trained by this package" in (DOCS / "methods.md").read_text()


def test_a_method_that_works_has_a_page(page: ModuleType) -> None:
    pages = {page.page_of(method) for method in page.METHODS if method.status == "works"}
    files = {file.stem for file in (DOCS / "methods").glob("*.md")}
    assert pages - {""} == files - {"index", "hybrids", "two_stages"}
