"""The files of one's own folder: the image that each row of a table means, and its mask."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from fsr.data._label_row import LabelRow
from fsr.data._named_files import NamedFiles, same_name, walk, without_ending
from fsr.data._photographs import IMAGE_SUFFIXES
from fsr.data._relative import turned
from fsr.errors import DataError, MissingDataError


def existing_folder(name: str, path: str | Path) -> Path:
    """Return a folder.

    Raises:
        MissingDataError: it is none.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise MissingDataError(f"{name}: expected a folder, got {folder}, which is {what}")
    return folder


def list_files(folder: Path) -> list[str]:
    """Return the relative paths of all files, sorted, with forward slashes on every system."""
    found = list(walk(folder))
    if not found:
        raise MissingDataError(f"images: expected a folder with images, got {folder}: it is empty")
    return found


def stem(path: str) -> str:
    """Path without its extension."""
    return str(PurePosixPath(path).with_suffix(""))


def is_image(path: str) -> bool:
    """Tell by its extension whether a file is an image; hidden files are none."""
    return path.lower().endswith(IMAGE_SUFFIXES) and not PurePosixPath(path).name.startswith(".")


def find_images(
    folder: Path, table: Path, rows: Sequence[LabelRow], present: Sequence[str]
) -> tuple[str, ...]:
    """Return the path of every row's image in the folder.

    A name may lack its extension, and be written in another form of Unicode or in another case,
    where one file alone can be meant.
    """
    places = _Places(folder, present)
    found: list[str] = []
    missing = []
    for row in rows:
        candidates: list[str] = []
        # Tables made on Windows; elsewhere a name may hold a backslash.
        for spelled in dict.fromkeys((row.image, turned(row.image))):
            pure = PurePosixPath(spelled)
            if pure.is_absolute() or ".." in pure.parts:
                raise DataError(
                    f"{table}: line {row.line}: expected a path relative to {folder} and inside "
                    f"it, got {row.image!r}"
                )
            candidates = places.candidates(str(pure))
            if candidates:
                break
        if len(candidates) > 1:
            raise DataError(
                f"{table}: line {row.line}: {row.image!r} may be any of {', '.join(candidates)} in "
                f"{folder}; write the name with its extension"
            )
        found += candidates
        missing += [] if candidates else [row]
    if missing:
        row, others = missing[0], f" ({len(missing)} such lines)" if len(missing) > 1 else ""
        raise MissingDataError(
            f"{table}: line {row.line}: no image {row.image!r} in {folder}{others}; "
            f"{places.hint(row.image)}"
        )
    return tuple(found)


class _Places:
    """What is in a folder, by every way to write it."""

    def __init__(self, folder: Path, present: Sequence[str]) -> None:
        self.folder = folder
        self.present = present
        self.exact = set(present)
        images = [path for path in present if is_image(path)]
        # From the strictest way to the loosest.
        self.ways = [
            (_nfc, _grouped((_nfc(path), path) for path in present)),
            (_nfc, _grouped((_nfc(stem(path)), path) for path in images)),
            (same_name, _grouped((same_name(path), path) for path in present)),
            (same_name, _grouped((same_name(stem(path)), path) for path in images)),
        ]

    def candidates(self, path: str) -> list[str]:
        """Return what a path in a table may mean."""
        # Two names may differ in the spelling of an accent alone.
        if path in self.exact:
            return [path]
        for spell, places in self.ways:
            if found := places.get(spell(path)):
                return found
        # Folders behind symbolic links are not searched, but may be named.
        return [path] if os.path.isfile(self.folder / path) else []

    def hint(self, written: str) -> str:
        """Say which file may be meant by a path that leads nowhere."""
        path = turned(written)
        images = [each for each in self.present if is_image(each)]
        for part in (without_ending, _name, lambda each: without_ending(_name(each))):
            same = [each for each in images if same_name(part(each)) == same_name(part(path))]
            if same:
                return f"did you mean {' or '.join(map(repr, same[:3]))}?"
        near = difflib.get_close_matches(path, self.present, n=1)
        return f"did you mean {near[0]!r}?" if near else "put it there, or out of the table"


def check_unique(
    names: Sequence[str], paths: Sequence[str], rows: Sequence[LabelRow], table: Path
) -> None:
    """Raise if a name stands for two lines: predictions and masks of both would be one file."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        other = first.setdefault(name, number)
        if other == number:
            continue
        lines = f"{table}: lines {rows[other].line} and {rows[number].line}"
        if paths[other] == paths[number]:
            raise DataError(f"{lines} both list {paths[number]}; put all its labels into one line")
        raise DataError(
            f"{lines}: {paths[other]} and {paths[number]} differ in their extension alone, but "
            "a name stands for one image: rename one of the files"
        )


def find_masks(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the mask of every image; raise if one is missing.

    A score over some of the images would be another number. A mask in another case is taken where
    one alone can be meant.
    """
    files = NamedFiles(folder, names)
    found = tuple(files.find(name, (".png",)) for name in names)
    missing = [number for number, path in enumerate(found) if not os.path.isfile(path)]
    if missing:
        name = names[missing[0]]
        raise MissingDataError(
            f"{found[missing[0]]}: no such mask{_mask_hint(folder, files, name)}; {len(missing)} "
            f"of {len(names)} images have none: add them, take these images out of the table, or "
            "read without masks: masks=None"
        )
    return found


def _mask_hint(folder: Path, files: NamedFiles, name: str) -> str:
    """Say which file may be the mask that was looked for."""
    other = files.near(name, ("",))
    if other:
        return f", but {other[0]!r} is there: masks end in .png"
    begin = same_name(name)
    longer = [path for path in walk(folder) if same_name(path).startswith(begin)]
    inside = [path for path in walk(folder) if same_name(_name(path)) == f"{_name(begin)}.png"]
    near = (longer or inside)[:1]
    return f", but {near[0]!r} is there: a mask has the path of its image" if near else ""


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _nfc(path: str) -> str:
    """Spell a path in one way: accents may be stored as letters of their own."""
    return unicodedata.normalize("NFC", path)
