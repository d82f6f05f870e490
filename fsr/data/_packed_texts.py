"""Many texts in two arrays instead of an object each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

# Names of files may hold bytes that are no text on this system, as halves of characters.
_HALVES = "surrogatepass"


class PackedTexts(Sequence[str]):
    """A sequence of texts that does not change; it equals a tuple or list of the same.

    A million objects count their references: every worker process that looks at them writes into
    their pages and gets a copy of its own. Two arrays stay shared.

    Args:
        texts: the texts.

    Example:
        >>> names = PackedTexts(["a", "zoo/c"])
        >>> names[-1], len(names), names == ("a", "zoo/c")
        ('zoo/c', 2, True)
    """

    def __init__(self, texts: Iterable[str]) -> None:
        listed = list(texts)
        together = "".join(listed)
        if together.isascii():
            lengths = list(map(len, listed))
            self._bytes = together.encode()
        else:
            pieces = [text.encode("utf-8", _HALVES) for text in listed]
            lengths = list(map(len, pieces))
            self._bytes = b"".join(pieces)
        self._ends: NDArray[np.int64] = np.cumsum([0, *lengths], dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        """Return one text, or several as a tuple.

        Raises:
            IndexError: there is no such text.
        """
        if isinstance(index, slice):
            return tuple(map(self._text, range(len(self))[index]))
        return self._text(range(len(self))[index])

    def __iter__(self) -> Iterator[str]:
        """Yield one text after the other."""
        return map(self._text, range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Tell whether a sequence holds the same texts."""
        if isinstance(other, PackedTexts):
            return self._bytes == other._bytes and bool(np.array_equal(self._ends, other._ends))
        if not isinstance(other, tuple | list):
            return NotImplemented
        return len(self) == len(other) and all(map(str.__eq__, self, other))

    def __hash__(self) -> int:
        """Return what a tuple of the texts has."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(self[:]) if len(self) <= 10 else f"<{len(self)} texts, {self[0]!r} first>"

    def _text(self, index: int) -> str:
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode("utf-8", _HALVES)
