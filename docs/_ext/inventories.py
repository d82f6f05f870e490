"""What other projects document, for links to them: a build reads nothing from the network.

Sphinx links to another project by its inventory, a file that lists all of its names with their
places. Here stand the few names that this documentation says, one file per project in
``docs/inventories``: a line has a name, its kind and its place below the project's address. A name
that is missing there ends the build, which warns of links that lead nowhere.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / "inventories"
MAPPED = {
    "accelerate": "https://huggingface.co/docs/accelerate/",
    "matplotlib": "https://matplotlib.org/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "pillow": "https://pillow.readthedocs.io/en/stable/",
    "python": "https://docs.python.org/3/",
    "timm": "https://huggingface.co/docs/timm/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
KINDS = ("attribute", "class", "data", "exception", "function", "method", "module")


class Known(NamedTuple):
    """A name of another project."""

    name: str
    kind: str
    place: str


def read_known(project: str) -> list[Known]:
    """Return the names of a project that are spoken of.

    In a place ``$`` stands for the name, as it does in Sphinx's own files.
    """
    lines = (FOLDER / f"{project}.txt").read_text(encoding="utf-8").splitlines()
    known = [Known(*line.split()) for line in lines if line and not line.startswith("#")]
    for one in known:
        if one.kind not in KINDS:
            raise ValueError(f"{project}.txt: {one.name}: expected one of {KINDS}, got {one.kind}")
    return known


def inventory(project: str) -> bytes:
    """Return a project's inventory in the form that Sphinx reads, its version 2."""
    head = (
        f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    rows = (f"{one.name} py:{one.kind} 1 {one.place} -\n" for one in read_known(project))
    return head.encode() + zlib.compress("".join(rows).encode())


def write_inventories(folder: Path) -> None:
    """Write the inventories of all projects into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for project in MAPPED:
        (folder / f"{project}.inv").write_bytes(inventory(project))
