"""Writes the report of a committed run beside the pages: ``report_example.html``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from fsr.report import write_report

RUN = Path(__file__).parent.parent / "_runs" / "scenes"
PAGE = "report_example.html"


def write_example(app: Sphinx, error: Exception | None) -> None:
    """Write the report, where pages for a browser were built."""
    if error is None and app.builder.format == "html":
        write_report(RUN, output=Path(app.outdir) / PAGE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", write_example)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
