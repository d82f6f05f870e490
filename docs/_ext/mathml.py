"""Formulas as MathML, made at build time: browsers draw them by themselves, without a network."""

from __future__ import annotations

from typing import Any, NoReturn

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


def mathml(formula: str, *, display: str) -> str:
    """Return a formula as MathML; a command that is not known ends the build.

    Args:
        formula: in LaTeX.
        display: "inline" or "block".
    """
    made = convert(formula, display=display)
    if "\\" in made:
        raise ExtensionError(f"formula {formula!r}: not all of it is understood")
    return made


def _inline(translator: Any, node: nodes.math) -> NoReturn:
    translator.body.append(mathml(node.astext(), display="inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> NoReturn:
    translator.body.append(f'<div class="math">{mathml(node.astext(), display="block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
