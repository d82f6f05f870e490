"""Looking for image files in folders: what is taken for an image, and what is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fsr.data import IMAGE_SUFFIXES

CLASSES = "classes.txt"
# What predictions and exports write below a folder with the names of the classes.
RESULTS = ("masks", "overlays", "probabilities", "SegmentationClass", "Certainty")
_NAMED = 5  # endings that are named


class FolderSearch:
    """Looks through folders for image files, and keeps in mind what it left out.

    Args:
        output: folder that results will be written to, None if that is not known.
        suffixes: what images end in.

    Attributes:
        failed: folders that cannot be read, one line each.
    """

    def __init__(self, output: Path | None, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> None:
        self._suffixes = suffixes
        self._output = None if output is None else os.path.realpath(output)
        self._results: dict[str, list[str]] = {}
        self._links: list[str] = []
        self._endings: Counter[str] = Counter()
        self.failed: list[str] = []

    def images_in(self, folder: Path) -> Iterator[Path]:
        """Yield the image files in a folder and below, in order, hidden ones left out."""
        if not self.takes(folder):
            return
        for parent, folders, files in os.walk(folder, onerror=self._fail):
            results = RESULTS if self._is_output(parent) or holds_classes(Path(parent)) else ()
            shown = sorted(name for name in folders if not name.startswith("."))
            folders[:] = [name for name in shown if name not in results]
            if left := [name for name in shown if name in results]:
                self._results[parent] = left
            links = [os.path.join(parent, name) for name in folders]
            self._links += filter(os.path.islink, links)
            for name in sorted(files):
                if name.startswith("."):
                    continue
                if name.lower().endswith(self._suffixes):
                    yield Path(parent) / name
                else:
                    self._endings[os.path.splitext(name)[1].lower() or name] += 1

    def takes(self, path: Path) -> bool:
        """Tell whether a file or folder that is named itself is no result of the same output."""
        if self._output is None:
            return True
        inner = os.path.relpath(os.path.realpath(path), self._output).split(os.sep)
        if inner[0] not in RESULTS:
            return True
        self._results.setdefault(os.path.dirname(path) or ".", []).append(path.name)
        return False

    def holds_results(self, folder: Path) -> bool:
        """Tell whether results in a folder were left out."""
        above = os.path.join(folder, "")
        return any(
            os.path.join(parent, name, "").startswith(above)
            for parent, names in self._results.items()
            for name in names
        )

    def left_out(self) -> list[str]:
        """Return what was left out, one line each."""
        lines = [
            f"{parent}: results of an earlier run ({', '.join(names)})"
            for parent, names in self._results.items()
        ]
        if self._links:
            more = f" and {len(self._links) - 1} more links" if len(self._links) > 1 else ""
            lines.append(
                f"{self._links[0]}{more}: a link to a folder is searched if it is named itself"
            )
        if self._endings:
            endings = [name for name, _ in self._endings.most_common(_NAMED)]
            more = ", ..." if len(self._endings) > _NAMED else ""
            lines.append(
                f"{self._endings.total()} files that do not end like an image "
                f"({', '.join(endings)}{more})"
            )
        return lines

    def _is_output(self, folder: str) -> bool:
        return self._output is not None and os.path.realpath(folder) == self._output

    def _fail(self, error: OSError) -> None:
        self.failed.append(f"{error.filename}: cannot be read ({error.strerror})")


def holds_classes(folder: Path) -> bool:
    r"""Tell whether a folder holds the names of the classes as predictions and exports write them.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "classes.txt").write_text("background\ncat\n")
        >>> holds_classes(folder), holds_classes(folder / "none")
        (True, False)
    """
    path = folder / CLASSES
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len("background") + 1).strip() == b"background"
    except OSError:
        return False
