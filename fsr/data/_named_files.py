"""Files that are called in another case, or with another ending, than what names them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from fsr.errors import DataError


class NamedFiles:
    """The files of a folder by the names of images.

    A file that is called as it should be is found without a look into the folder. Another case, or
    another of the endings, is taken where one file alone can be meant and no other image has that
    name.

    Args:
        folder: folder of the files, some of them in folders inside it.
        names: names of all images, to leave each its own file.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "Cat.JPEG").write_bytes(b"")
        >>> NamedFiles(folder, ["cat", "dog"]).find("cat", (".jpg", ".jpeg")).name
        'Cat.JPEG'
    """

    def __init__(self, folder: Path, names: Collection[str]) -> None:
        self.folder = folder
        self.names = names
        self._files: dict[str, list[str]] | None = None
        self._taken: frozenset[str] = frozenset()

    def find(self, name: str, suffixes: Sequence[str]) -> Path:
        """Return the file of an image; where there is none, the path that it should have.

        Args:
            name: name of the image, without an ending.
            suffixes: endings that the file may have, in lower case, that it should have first.

        Raises:
            DataError: the file is not there, and several others may be meant.
        """
        exact = self.folder / f"{name}{suffixes[0]}"
        # os.path tells of names that no file can have, too.
        if os.path.isfile(exact):
            return exact
        found = self.near(name, suffixes)
        if len(found) > 1:
            raise DataError(
                f"{exact}: no such file, and several may be meant: {', '.join(found)}; "
                "rename the right one"
            )
        return self.folder / found[0] if found else exact

    def near(self, name: str, suffixes: Sequence[str]) -> list[str]:
        """Return the files that differ from a name in case or ending alone, other images' not.

        Args:
            name: name of the image, without an ending.
            suffixes: endings that a file may have, in lower case.
        """
        if self._files is None:
            self._files = {}
            for file in sorted(walk(self.folder)):
                self._files.setdefault(same_name(without_ending(file)), []).append(file)
            self._taken = frozenset(self.names)
        return [
            file
            for file in self._files.get(same_name(name), ())
            if file.lower().endswith(tuple(suffixes))
            and (without_ending(file) == name or without_ending(file) not in self._taken)
        ]


def walk(folder: Path, *, plain: bool = False) -> Iterator[str]:
    """Yield the relative paths of all files, in no order, with forward slashes on every system.

    Folders behind links are not entered, and those that cannot be read are left out.

    Args:
        folder: where to begin.
        plain: leave out links, pipes and the like, so that what is left is there and can be read.
    """
    waiting = [(os.fspath(folder), "")]
    while waiting:
        path, begin = waiting.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        yield begin + entry.name
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, f"{begin}{entry.name}/"))
                    elif not plain and not entry.is_dir():
                        yield begin + entry.name
        except OSError:
            continue


def same_name(path: str) -> str:
    """Spell a path in one way: accents may be stored as letters of their own, case may differ."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def without_ending(path: str) -> str:
    """Return a path without its last extension; a hidden file has none."""
    head, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{head}{slash}{stem if dot and stem else name}"
