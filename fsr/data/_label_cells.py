"""The cells of a column of labels: one name, or several with a separator that must be told."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from fsr.data._class_names import SEPARATOR
from fsr.errors import DataError

# What never stands inside a name, and commas, which may: "tench, Tinca tinca".
_BARS = "|\n\r\t\uff1b\uff5c"
_COMMAS = ",\uff0c\u3001"
# What may stand inside a name as well as between two.
_WEAK = (r"\s+", "/", r"\+", "&", r"\band\b", "_", "-", ":", r"\.")
# Words of programs for a cell without a value.
_NOTHING = frozenset({"nan", "none", "null", "n/a", "<na>", "#n/a"})
_ITEM = r"""(?:\s*'([^'\\]*)'\s*|\s*"([^"\\]*)"\s*|([^'",\[\]{}()\\]*))"""
_LIST = re.compile(rf"{_ITEM}(?:,{_ITEM})*")
_BRACKETS = {"[": "]", "{": "}", "(": ")"}
# Beyond, no names of classes are meant, and comparing all with all would take long.
_COMPARED = 1000


def read_cells(
    path: Path, cells: Sequence[tuple[int, str]], known: Collection[str] | None
) -> list[tuple[str, ...]]:
    """Return the names in each cell of a column of labels, each once.

    Names are separated by semicolons. A list, as Python and JSON write it, and the choices of
    Label Studio are read too, as are names with bars or commas between them if every part is a
    class elsewhere in the column. Where a cell may be one name or several, it is refused.

    Args:
        path: the table, for messages.
        cells: line and text of each cell.
        known: names of the classes if they are given; what is among them is one name.

    Raises:
        DataError: a cell cannot be read, or may be one name or several; the message has its line.

    Example:
        >>> read_cells(Path("l.csv"), [(2, "cat;dog"), (3, "['dog']"), (4, "cat, dog")], None)
        [('cat', 'dog'), ('dog',), ('cat', 'dog')]
    """
    certain: set[str] = set()
    first: dict[str, int] = {}
    split: list[tuple[str, ...]] = []
    for line, text in cells:
        listed = None if known is not None and text in known else _listed(path, line, text)
        names = _split(text) if listed is None else listed
        split.append(names)
        for name in names:
            if name in (first if listed is None else certain):
                continue
            if name.lower() in _NOTHING and name not in (known or ()):
                raise DataError(
                    f"{path}: line {line}: {name!r} is no class; leave the cell empty where an "
                    "image shows none"
                )
            if listed is None:
                first[name] = line
            else:
                certain.add(name)
    judge = _Judge(path, first.keys() | certain, known, any(SEPARATOR in text for _, text in cells))
    judged = ((name, judge(line, name)) for name, line in first.items())
    several = {name: parts for name, parts in judged if parts != (name,)}
    return [
        tuple(dict.fromkeys(part for name in names for part in several.get(name, (name,))))
        if not several.keys().isdisjoint(names)
        else names
        for names in split
    ]


class _Judge:
    """Tells of every name in a column whether it is one."""

    def __init__(
        self, path: Path, names: Collection[str], known: Collection[str] | None, separated: bool
    ) -> None:
        self.path = path
        self.names = names
        self.known = known
        # With semicolons in some cells, words that come in many names are parts of names.
        self.words = {} if separated or len(names) > _COMPARED else _holders(r"\s+", names)
        self.between_commas = _holders(f"[{_COMMAS}]", names)

    def __call__(self, line: int, name: str) -> tuple[str, ...]:
        """Return the names that a name stands for, most often itself."""
        if self.known is not None and name in self.known:
            return (name,)
        if re.search(f"[{_BARS}{_COMMAS}]", name):
            parts = _parts(f"[{_BARS}{_COMMAS}]", name)
            if self._classes(f"[{_BARS}{_COMMAS}]", parts):
                return parts
            if self.known is None and self._doubtful(name, parts):
                raise self._refusal(line, name, parts)
            return (name,)
        for mark in _WEAK:
            parts = _parts(mark, name)
            if len(parts) > 1 and self._classes(mark, parts):
                raise self._refusal(line, name, parts)
        if self.known is None and self._mixed(name):
            raise self._refusal(line, name, tuple(name.split()))
        return (name,)

    def _classes(self, mark: str, parts: Sequence[str]) -> bool:
        """Tell whether every part is a class by itself, without such a separator in it."""
        names = self.names if self.known is None else self.known
        return all(part in names and not re.search(mark, part) for part in parts)

    def _doubtful(self, name: str, parts: Sequence[str]) -> bool:
        """Tell whether a name with bars or commas may be several: a part comes elsewhere too."""
        if re.search(f"[{_BARS}]", name) or len(parts) < 2:
            return True
        return any(len(self.between_commas.get(part, ())) > 1 for part in parts)

    def _mixed(self, name: str) -> bool:
        """Tell whether a name's words come elsewhere too, and mixed with more of such words."""
        own = name.split()
        if not self._all_shared(own):
            return False
        near = {other for word in own for other in self.words[word]}
        others = [words for words in map(str.split, near) if words != own and len(words) > 1]
        return any(
            (set(own) <= set(words) or set(words) <= set(own)) and self._all_shared(words)
            for words in others
        )

    def _all_shared(self, words: Sequence[str]) -> bool:
        return len(words) > 1 and all(len(self.words.get(word, ())) > 1 for word in words)

    def _refusal(self, line: int, name: str, parts: Sequence[str]) -> DataError:
        where = f"{self.path}: line {line}" if line else str(self.path)
        return DataError(
            f"{where}: {name!r} may be one class or several; separate classes by {SEPARATOR!r}, as "
            f"in {SEPARATOR.join(parts)!r}; if it is one name, give every class a column of 0 and 1"
        )


def _split(text: str) -> tuple[str, ...]:
    """Names in a cell, each once."""
    return tuple(dict.fromkeys(filter(None, map(str.strip, text.split(SEPARATOR)))))


def _parts(mark: str, text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(str.strip, re.split(mark, text)))))


def _holders(mark: str, names: Collection[str]) -> dict[str, list[str]]:
    """Return the names that each part of a name comes in."""
    found: dict[str, list[str]] = {}
    for name in names:
        for part in _parts(mark, name):
            found.setdefault(part, []).append(name)
    return found


def _listed(path: Path, line: int, text: str) -> tuple[str, ...] | None:
    """Names in a cell that is a list, None if it is none."""
    begin, end = text[:1], text[-1:]
    if begin not in _BRACKETS:
        return None
    whole = _BRACKETS.get(begin) == end and (begin != "(" or re.search("[\"']", text))
    # A list that was cut short is no name either.
    if not whole and not re.match(r"[\[{]\s*[\"']", text):
        return None
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = list(_items(text[1:-1])) if _LIST.fullmatch(text[1:-1]) else None
    if isinstance(found, dict) and found.keys() == {"choices"}:
        found = found["choices"]
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise DataError(
            f"{path}: line {line}: expected names separated by {SEPARATOR!r}, as in 'cat;dog', a "
            f'list of names or {{"choices": [names]}}, got {shown!r}'
        )
    return tuple(dict.fromkeys(item.strip() for item in found if item.strip()))


def _items(text: str) -> Iterator[str]:
    """Yield what stands between the commas of a list, without its quotes."""
    for match in re.finditer(rf"{_ITEM}(?:,|$)", text):
        yield next((group for group in match.groups() if group), "")
