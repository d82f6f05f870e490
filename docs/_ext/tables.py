"""Directives that put tables and figures into pages, made from data at build time.

``preset-table`` shows the presets; ``benchmark-table:: NAME`` a table of ``benchmark_rows``;
``ablation-table:: NAME ARGUMENT...`` one of ``ablation_rows``, ``photograph-table:: NAME
ARGUMENT...`` one of ``photograph_rows``; ``drawn-figure:: NAME`` a figure of ``evidence_figures``,
which is drawn then. The text inside a directive stands above its table, or below its figure, and is
left out with it where nothing was run. ``method-table`` and ``method-parts`` show the methods,
``method-scores`` and ``method-costs`` what ours scored and cost. Numbers of pages are put right
while they are read, see ``prose_numbers``.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import ablation_rows
import methods
import methods_cost
import photograph_rows
from _methods_tables import finished, table_rows
from benchmark_rows import TABLES
from docutils import nodes
from docutils.parsers.rst import directives
from evidence_figures import FIGURES
from method_rows import METHODS, method_rows, page_of
from preset_rows import preset_rows
from prose_numbers import renewed
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import OptionSpec

DRAWN = "_drawn"  # beside the pages, not in the repository


class Table(SphinxDirective):
    """A table, built as nodes: text to be parsed would depend on the page's markup."""

    has_content = True

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first; code stands between backticks."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return the table, or a line in its place where nothing was measured."""
        heading, *rows = self.rows()
        if not rows:
            return [] if self.content else [nodes.paragraph("", "Not run yet.")]
        group = nodes.tgroup(cols=len(heading))
        group += [nodes.colspec(colwidth=1) for _ in heading]
        group += nodes.thead("", _row(heading))
        group += nodes.tbody("", *(_row(row) for row in rows))
        return [*_inside(self), nodes.table("", group)]


class PresetTable(Table):
    """The presets, setting by setting."""

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first."""
        heading, *rows = preset_rows()
        return [heading, *([f"`{name}`", *cells] for name, *cells in rows)]


class BenchmarkTable(Table):
    """What was measured."""

    required_arguments = 1

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first."""
        name = self.arguments[0]
        if name not in TABLES:
            raise self.error(f"benchmark-table: expected one of {sorted(TABLES)}, got {name!r}")
        return TABLES[name]()


class RunsTable(Table):
    """What runs found."""

    required_arguments = 1
    tables: dict[str, Callable[..., list[list[str]]]]

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first."""
        name, *arguments = self.arguments
        try:
            rows = self.tables[name](*arguments)
        except (KeyError, TypeError, ValueError) as error:
            raise self.error(f"{self.name}: {self.arguments}: {error!r}") from error
        return [[_unbroken(cell) for cell in row] for row in rows]


class AblationTable(RunsTable):
    """What the ablation found."""

    tables = ablation_rows.TABLES
    optional_arguments = max(len(signature(f).parameters) for f in ablation_rows.TABLES.values())


class PhotographTable(RunsTable):
    """What the runs on photographs found."""

    tables = photograph_rows.TABLES
    optional_arguments = max(len(signature(f).parameters) for f in photograph_rows.TABLES.values())


class DrawnFigure(SphinxDirective):
    """A figure of ``benchmarks/evidence_figures.py``, drawn while its page is read."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[OptionSpec] = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the figure with the text as its caption, or nothing where nothing was run."""
        name = self.arguments[0]
        if name not in FIGURES or "alt" not in self.options:
            expected = f"one of {sorted(FIGURES)}, with :alt:"
            raise self.error(f"drawn-figure: expected {expected}, got {name!r}")
        # A folder for each page: pages may be read side by side.
        place = f"{DRAWN}/{self.env.docname}"
        folder = Path(self.env.srcdir) / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").unlink(missing_ok=True)
        FIGURES[name](folder)
        if not (folder / f"{name}.png").exists():
            return []
        figure = nodes.figure("", nodes.image("", uri=f"/{place}/{name}.png", **self.options))
        figure += [nodes.caption("", "", *text.children) for text in _inside(self)[:1]]
        return [figure]


def _inside(directive: SphinxDirective) -> list[nodes.Node]:
    """Return the text that stands inside a directive."""
    text = nodes.Element()
    directive.state.nested_parse(directive.content, directive.content_offset, text)
    return text.children


def _put_numbers_right(_: Sphinx, __: str, source: list[str]) -> None:
    """Put what the lines say into the text of a page."""
    source[0] = renewed(source[0], keep=False)


class MethodTable(Table):
    """The methods of the paper's comparison."""

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first."""
        return method_rows()


class MethodParts(SphinxDirective):
    """What each method's idea is, and which parts of it are here."""

    def run(self) -> list[nodes.Node]:
        """Return a list of definitions, each public name in it a link to its documentation."""
        found = nodes.definition_list()
        for method in METHODS:
            text = nodes.paragraph("", method.idea)
            if method.parts:
                text += nodes.Text(" Here: ")
                for number, name in enumerate(method.parts):
                    text += [nodes.Text(", " if number else ""), _named(name)]
                text += nodes.Text(".")
            if method.missing:
                text += nodes.Text(f" Missing: {method.missing}.")
            page = page_of(method)
            term = nodes.term("", "", nodes.strong("", method.name))
            if page:
                term += [nodes.Text(" "), _to_page(f"methods/{page}", "its page")]
            found += nodes.definition_list_item("", term, nodes.definition("", text))
        return [found]


def _named(name: str) -> pending_xref:
    """Return a link to a public name, shown without its room."""
    link = pending_xref(
        "", refdomain="py", reftype="obj", reftarget=name, refexplicit=True, refwarn=True
    )
    link += nodes.literal(name, name.rpartition(".")[2])
    return link


def _to_page(page: str, text: str) -> pending_xref:
    """Return a link to a page."""
    link = pending_xref(
        "", refdomain="std", reftype="doc", reftarget=page, refexplicit=True, refwarn=True
    )
    link += nodes.inline("", text)
    return link


class MethodScores(Table):
    """The methods side by side on the built-in scenes."""

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first."""
        rows = table_rows(finished(methods.RESULTS), methods.ROWS)
        return [[_unbroken(cell) for cell in row] for row in rows]


class MethodCosts(Table):
    """What a step of each costs."""

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first."""
        return methods_cost.cost_rows(finished(methods_cost.RESULTS))


def _unbroken(cell: str) -> str:
    """Keep an interval, or a mean and its deviation, on one line."""
    return cell.replace(" to ", "\u00a0to\u00a0").replace(" ± ", "\u00a0±\u00a0")


def _row(cells: list[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", _paragraph(cell)) for cell in cells))


def _paragraph(cell: str) -> nodes.paragraph:
    """Every second piece between backticks is code."""
    paragraph = nodes.paragraph()
    for number, piece in enumerate(cell.split("`")):
        if piece:
            paragraph += nodes.literal(piece, piece) if number % 2 else nodes.Text(piece)
    return paragraph


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("preset-table", PresetTable)
    app.add_directive("benchmark-table", BenchmarkTable)
    app.add_directive("ablation-table", AblationTable)
    app.add_directive("photograph-table", PhotographTable)
    app.add_directive("drawn-figure", DrawnFigure)
    app.connect("source-read", _put_numbers_right)
    app.add_directive("method-table", MethodTable)
    app.add_directive("method-parts", MethodParts)
    app.add_directive("method-scores", MethodScores)
    app.add_directive("method-costs", MethodCosts)
    return {"parallel_read_safe": True}
