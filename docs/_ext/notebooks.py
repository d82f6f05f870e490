"""Pages as notebooks: their commands become cells, their prose stays.

A page of :data:`PAGES` is written as ``_build/notebooks/NAME.ipynb`` before pages are read, for the
page to offer it. The page is the source; there is no other copy.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jupytext

PAGES = ("your_images",)
# Links between pages lead nowhere from a notebook, and roles are not known to it.
LINK = re.compile(r"\[([^\]\n]+)\]\((?!https?:)[^)\n]+\)")
HEADER = """---
jupyter:
  kernelspec: {name: python3, display_name: Python 3, language: python}
---

"""
OFFER = re.compile(r" As a notebook:\n\{download\}`[^`]+`\.")


def as_notebook(page: Path) -> Any:
    """Return a page as a notebook; blocks of ``bash`` and ``python`` are its cells."""
    text = OFFER.sub("", page.read_text(encoding="utf-8"))
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    kept = [part if index % 2 else LINK.sub(r"\1", part) for index, part in enumerate(blocks)]
    # Whoever has a notebook open has an environment.
    own = "".join(part for part in kept if "-m venv" not in part)
    return jupytext.reads(HEADER + own, fmt="md")


def write_notebooks(app: Any) -> None:
    """Write the notebook of each page."""
    folder = Path(app.srcdir) / "_build" / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        jupytext.write(as_notebook(Path(app.srcdir) / f"{name}.md"), folder / f"{name}.ipynb")


def setup(app: Any) -> dict[str, Any]:
    """Write the notebooks when a build begins."""
    app.connect("builder-inited", write_notebooks)
    return {"parallel_read_safe": True}
