"""Directives that put tables into pages, made from data at build time.

``preset-table`` shows the presets; ``benchmark-table:: NAME`` a table of ``benchmark_rows``;
``ablation-table:: NAME ARGUMENT...`` one of ``ablation_rows``; ``method-table`` the methods.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import ablation_rows
from benchmark_rows import TABLES
from docutils import nodes
from method_rows import method_rows
from preset_rows import preset_rows
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Table(SphinxDirective):
    """A table, built as nodes: text to be parsed would depend on the page's markup."""

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first; code stands between backticks."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return the table, or a line in its place where nothing was measured."""
        heading, *rows = self.rows()
        if not rows:
            return [nodes.paragraph("", "Not run yet.")]
        group = nodes.tgroup(cols=len(heading))
        group += [nodes.colspec(colwidth=1) for _ in heading]
        group += nodes.thead("", _row(heading))
        group += nodes.tbody("", *(_row(row) for row in rows))
        return [nodes.table("", group)]


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


class AblationTable(Table):
    """What the ablation found."""

    required_arguments = 1
    optional_arguments = max(len(signature(f).parameters) for f in ablation_rows.TABLES.values())

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first."""
        name, *arguments = self.arguments
        try:
            rows = ablation_rows.TABLES[name](*arguments)
        except (KeyError, TypeError, ValueError) as error:
            raise self.error(f"ablation-table: {self.arguments}: {error!r}") from error
        return [[_unbroken(cell) for cell in row] for row in rows]


class MethodTable(Table):
    """The methods of the paper's comparison."""

    def rows(self) -> list[list[str]]:
        """Return the rows, the heading first."""
        return method_rows()

    def run(self) -> list[nodes.Node]:
        """Return the table, each public name in it a link to its documentation."""
        (table,) = super().run()
        for code in list(table.findall(nodes.literal)):
            name = code.astext()
            link = pending_xref(
                "", refdomain="py", reftype="obj", reftarget=name, refexplicit=True, refwarn=True
            )
            link += nodes.literal(name, name.rpartition(".")[2])
            code.replace_self(link)
        return [table]


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
    app.add_directive("method-table", MethodTable)
    return {"parallel_read_safe": True}
