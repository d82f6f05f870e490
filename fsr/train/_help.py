"""What every option means and what it is now, as lines for the terminal and the documentation."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from fsr.train._field import MEANING
from fsr.train._options import Config
from fsr.train._preset_options import build_method


class Option(NamedTuple):
    """An option of a run: dotted name, value, meaning; a group's value is None."""

    name: str
    value: Any
    meaning: str
    group: bool = False


def list_options(config: Config) -> list[Option]:
    """Return every option in order, with its value in a config.

    Where the preset's own value stands, that is given.

    Args:
        config: options of a run.

    Example:
        >>> {o.name: o.value for o in list_options(Config())}["preset.mask_ratio"]
        0.4
    """
    return list(_walk(config, {"preset": build_method(config)}))


def spell_options(config: Config, width: int = 100) -> str:
    """Return a line for every option: name, value in this config, meaning.

    Args:
        config: options of a run.
        width: columns of the terminal.

    Example:
        >>> print(spell_options(Config()).splitlines()[0])
          seed=0                                  seed of everything random
    """
    lines = []
    for each in list_options(config):
        if each.group:
            lines += ["", f"{each.name}: {each.meaning}"]
            continue
        start = f"  {each.name}={_spell(each.value)}"
        gap = " " * 42
        rest = textwrap.wrap(each.meaning, max(20, width - len(gap)))
        if len(start) < len(gap):
            start, rest = start.ljust(len(gap)) + rest[0], rest[1:]
        lines += [start, *(gap + part for part in rest)]
    return "\n".join(lines)


def _walk(group: Any, behind: dict[str, Any], path: str = "") -> Iterator[Option]:
    """Yield the options of a group, single ones before groups.

    Args:
        group: a dataclass of options.
        behind: by name of an inner group, the object that gives what is None in it.
        path: dotted name of the group, with a dot at its end.
    """
    fields = dataclasses.fields(group)
    nested = [f for f in fields if dataclasses.is_dataclass(getattr(group, f.name))]
    for field in fields:
        if field in nested:
            continue
        value = getattr(group, field.name)
        if value is None:
            value = getattr(behind.get(""), field.name, None)
        yield Option(f"{path}{field.name}", value, field.metadata[MEANING])
    for field in nested:
        inner = getattr(behind.get(""), field.name, None) or behind.get(field.name)
        yield Option(f"{path}{field.name}", None, field.metadata[MEANING], group=True)
        yield from _walk(getattr(group, field.name), {"": inner}, f"{path}{field.name}.")


def _spell(value: Any) -> str:
    """Spell a value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(_spell(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_spell(item)}" for key, item in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)
