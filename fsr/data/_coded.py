"""A column as its distinct values and a number for each row: what is said once is checked once."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=Hashable)


class Coded(NamedTuple, Generic[Value]):
    """A column of N rows with K distinct values.

    Attributes:
        values: the distinct values in the order in which they come first.
        codes: index of each row's value, ``(N,)``.
        first: row in which each value comes first, ``(K,)``.
    """

    values: list[Value]
    codes: NDArray[np.int32]
    first: NDArray[np.int64]


def coded(column: Iterable[Value]) -> Coded[Value]:
    """Number the distinct values of a column.

    Args:
        column: the values, row by row.

    Example:
        >>> found = coded(["cat", "dog", "cat"])
        >>> found.values, found.codes.tolist(), found.first.tolist()
        (['cat', 'dog'], [0, 1, 0], [0, 1])
    """
    numbers: defaultdict[Value, int] = defaultdict(itertools.count().__next__)
    codes = np.fromiter(map(numbers.__getitem__, column), np.int32)
    first = np.zeros(len(numbers), dtype=np.int64)
    # Backwards: of several rows the last that is written stays.
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return Coded(list(numbers), codes, first)
