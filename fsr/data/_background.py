"""What annotation tools call that which no class covers."""

from __future__ import annotations


def is_background(name: str) -> bool:
    """Tell whether a name means what no class covers, as annotation tools spell it.

    Example:
        >>> [is_background(name) for name in ("Background", "_background_", "back")]
        [True, True, False]
    """
    return name.strip().strip("_").lower() == "background"
