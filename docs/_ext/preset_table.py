"""The ``preset-table`` directive: the presets as a table, made from the data at build time."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from preset_rows import preset_rows
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class PresetTable(SphinxDirective):
    """Put the table into the page."""

    def run(self) -> list[nodes.Node]:
        """Return the table, parsed from a list-table so that the theme styles it."""
        text = [".. list-table::", "   :header-rows: 1", ""]
        for number, row in enumerate(preset_rows()):
            first = row[0] if number == 0 else f"``{row[0]}``"
            text += [f"   * - {first}", *(f"     - {cell}" for cell in row[1:])]
        return self.parse_text_to_nodes("\n".join(text))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("preset-table", PresetTable)
    return {"parallel_read_safe": True}
