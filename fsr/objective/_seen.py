"""What the parts of a step left to be seen, some of it made when somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Later:
    """A value that is made when it is first looked at, since most steps nobody does.

    Args:
        make: makes it; what it holds is kept until then.
        shape: the shape that it will have, to be shown meanwhile.
    """

    make: Callable[[], Any]
    shape: tuple[int, ...]


class Seen(dict[str, Any]):
    """Values by name; one of :class:`Later` is made once, when it is asked for by its name.

    What ``items`` and ``values`` walk over is as it is, made or not.

    Example:
        >>> seen = Seen(answer=Later(lambda: 42, ()))
        >>> seen["answer"], seen.get("question"), "answer" in seen
        (42, None, True)
    """

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if isinstance(value, Later):
            value = self[name] = value.make()
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value by name, or the default."""
        if name not in self:
            return default
        return self[name]

    def made(self) -> dict[str, Any]:
        """Return names and values, all of them made."""
        return {name: self[name] for name in self}
