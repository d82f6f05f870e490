"""Objects as words that are the same in every run: no addresses."""

from __future__ import annotations

from functools import partial
from typing import Any

ADDRESS = " at 0x"


def describe(thing: Any) -> str:
    """Spell an object so that equal ones read alike in every run: no addresses.

    Args:
        thing: anything. What spells itself by its address is named by its room and class alone,
            so give what changes a result a ``__repr__`` that tells it.

    Example:
        >>> describe(object()), describe(describe), describe((1, 2))
        ('builtins.object', 'fsr.spelled.describe', 'builtins.tuple')
        >>> describe(partial(max, 3))
        'builtins.max(3, ...)'
    """
    if isinstance(thing, partial):
        named = (f"{name}={_value(value)}" for name, value in sorted(thing.keywords.items()))
        return f"{describe(thing.func)}({', '.join([*map(_value, thing.args), *named, '...'])})"
    if not isinstance(thing, (list, tuple)):
        text = repr(thing)
        if ADDRESS not in text and not text.startswith("<built-in"):
            return text
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    # By the room that users import from: moving a file within its room makes nothing stale.
    home = ".".join(part for part in kind.__module__.split(".") if not part.startswith("_"))
    return f"{home}.{kind.__qualname__}"


def _value(value: Any) -> str:
    """Spell an argument: sequences by what is in them."""
    if isinstance(value, (list, tuple)) and ADDRESS in repr(value):
        return f"[{', '.join(map(_value, value))}]"
    text = repr(value)
    return describe(value) if ADDRESS in text else text
