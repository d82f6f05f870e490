"""The documentation's site: what its build promises beside having no warnings."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the documentation's extension."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    return importlib.import_module


def test_formulas_are_mathml_and_an_unknown_command_ends_the_build(extension: Any) -> None:
    pytest.importorskip("latex2mathml")
    errors = pytest.importorskip("sphinx.errors")
    mathml = extension("mathml").mathml
    inline = mathml(r"\frac{a}{b_1} < c", display="inline")
    assert inline.startswith("<math ")
    assert 'display="inline"' in inline
    assert "<mfrac>" in inline
    assert "&lt;" in inline or "&#x0003C;" in inline
    with pytest.raises(errors.ExtensionError, match="not all of it is understood"):
        mathml(r"\nosuchcommand{a}", display="block")
