"""What a path in a table may mean: the files of a folder by every way to write them."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath

from fsr.data._named_files import same_name, without_ending
from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.data._relative import turned
from fsr.errors import DataError


def stem(path: str) -> str:
    """Path without its extension; hidden files and names that end in a dot have none."""
    begin, _, ending = path.rpartition(".")
    return path if not ending or "/" in ending or begin[-1:] in ("", "/") else begin


def is_image(path: str) -> bool:
    """Tell by its extension whether a file is an image; hidden files are none."""
    return path.lower().endswith(IMAGE_SUFFIXES) and not _name(path).startswith(".")


class Places:
    """What is in a folder, by every way to write it.

    Args:
        folder: the folder.
        present: relative paths of all files in it.
    """

    def __init__(self, folder: Path, present: frozenset[str]) -> None:
        self.folder = folder
        self.exact = present

    @cached_property
    def present(self) -> list[str]:
        """All files, sorted."""
        return sorted(self.exact)

    @cached_property
    def images(self) -> list[str]:
        """Those that are images."""
        return list(filter(is_image, self.present))

    @cached_property
    def ways(self) -> list[tuple[Callable[[str], str], _Grouped]]:
        """Ways to write a path, from the strictest to the loosest; each is made when needed."""
        return [
            (_nfc, _Grouped(self.present, _nfc)),
            (_nfc, _Grouped(self.images, lambda path: _nfc(stem(path)))),
            (same_name, _Grouped(self.present, same_name)),
            (same_name, _Grouped(self.images, lambda path: same_name(stem(path)))),
        ]

    def of_row(self, table: Path, line: int, image: str) -> list[str]:
        """Return the file that a row means, none if none is there."""
        # Tables made on Windows; elsewhere a name may hold a backslash.
        for spelled in dict.fromkeys((image, turned(image))):
            pure = PurePosixPath(spelled)
            if pure.is_absolute() or ".." in pure.parts:
                raise DataError(
                    f"{table}: line {line}: expected a path relative to {self.folder} and inside "
                    f"it, got {image!r}"
                )
            candidates = self.candidates(str(pure))
            if len(candidates) > 1:
                raise DataError(
                    f"{table}: line {line}: {image!r} may be any of {', '.join(candidates)} in "
                    f"{self.folder}; write the name with its extension"
                )
            if candidates:
                return candidates
        return []

    def candidates(self, path: str) -> list[str]:
        """Return what a path in a table may mean."""
        # Two names may differ in the spelling of an accent alone.
        if path in self.exact:
            return [path]
        for spell, places in self.ways:
            if found := places[spell(path)]:
                return found
        # Folders behind symbolic links are not searched, but may be named.
        return [path] if os.path.isfile(self.folder / path) else []

    def hint(self, written: str) -> str:
        """Say which file may be meant by a path that leads nowhere."""
        path = turned(written)
        for part in (without_ending, _name, lambda each: without_ending(_name(each))):
            same = [each for each in self.images if same_name(part(each)) == same_name(part(path))]
            if same:
                return f"did you mean {' or '.join(map(repr, same[:3]))}?"
        near = difflib.get_close_matches(path, self.present, n=1)
        return f"did you mean {near[0]!r}?" if near else "put it there, or out of the table"


class _Grouped:
    """Paths by what a way of writing makes of them, made when it is first asked for one."""

    def __init__(self, paths: Iterable[str], spell: Callable[[str], str]) -> None:
        self._paths, self._spell = paths, spell
        self._several: dict[str, list[str]] = {}

    @cached_property
    def _one(self) -> dict[str, str]:
        # A list for every key would take more than all the paths.
        one: dict[str, str] = {}
        for path in self._paths:
            key = self._spell(path)
            first = one.setdefault(key, path)
            if first is not path:
                self._several.setdefault(key, [first]).append(path)
        return one

    def __getitem__(self, key: str) -> list[str]:
        first = self._one.get(key)
        return [] if first is None else self._several.get(key, [first])


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _nfc(path: str) -> str:
    """Spell a path in one way: accents may be stored as letters of their own."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)
