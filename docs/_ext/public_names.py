"""The public names of the package, as the pages of the reference list them; without Sphinx.

A page of ``docs/api`` lists names below the directive ``public``, one a line and each once in all
of them, as users import it. What has no docstring of its own, a constant or a type, has a text
after a colon.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, NamedTuple

API = Path(__file__).parents[1] / "api"
DIRECTIVE = re.compile(r"^\.\. public::\n\n((?:   .*\n?)+)", re.MULTILINE)
LINE = re.compile(r"([\w.]+)(?:: (.*))?$")
WIDEST = 110


class Entry(NamedTuple):
    """A line of a page: a dotted name, and its text where the page has one."""

    name: str
    text: str

    @property
    def value(self) -> Any:
        """What the name stands for."""
        return locate(self.name)

    @property
    def kind(self) -> str:
        """``"class"``, ``"function"``, ``"module"`` or ``"data"``."""
        return kind(self.value)

    @property
    def summary(self) -> str:
        """One sentence: the text, or how the docstring begins."""
        first = (inspect.getdoc(self.value) or "").partition("\n\n")[0]
        return self.text or " ".join(first.split())


def read_lines(lines: list[str]) -> list[Entry]:
    """Return the entries of the lines below a directive."""
    found = [(line, LINE.match(line.strip())) for line in lines if line.strip()]
    for line, match in found:
        if match is None:
            raise ValueError(f"expected a dotted name, or one with ': ' and a text, got {line!r}")
    return [Entry(match[1], match[2] or "") for _, match in found if match]


def read_page(page: Path) -> list[Entry]:
    """Return the entries of a page in their order."""
    blocks = DIRECTIVE.findall(page.read_text(encoding="utf-8"))
    return [entry for block in blocks for entry in read_lines(block.splitlines())]


def all_entries(folder: Path = API) -> dict[str, list[Entry]]:
    """Return the entries of every page by the page's name."""
    return {page.stem: read_page(page) for page in sorted(folder.glob("*.rst"))}


def locate(dotted: str) -> Any:
    """Return what a dotted name stands for; a module is imported where it is no attribute yet."""
    first, *parts = dotted.split(".")
    value: Any = importlib.import_module(first)
    for end, name in enumerate(parts, start=1):
        if not hasattr(value, name):
            module = ".".join([first, *parts[:end]])
            try:
                value = importlib.import_module(module)
            except ModuleNotFoundError as error:
                raise AttributeError(f"{dotted}: there is no {module}") from error
        else:
            value = getattr(value, name)
    return value


def kind(value: Any) -> str:
    """Return ``"class"``, ``"function"``, ``"module"`` or ``"data"``."""
    if isinstance(value, ModuleType):
        return "module"
    if inspect.isclass(value):
        return "class"
    # A function behind functools.lru_cache is one of its own kind.
    return "function" if inspect.isroutine(inspect.unwrap(value)) else "data"


def shown_value(value: Any) -> str:
    """Return what a constant holds where that is short; of a long dictionary its keys."""
    if isinstance(value, PurePath):  # another on every machine
        return ""
    for text in (repr(value), ", ".join(map(repr, value)) if isinstance(value, dict) else ""):
        if 0 < len(text) <= WIDEST and " at 0x" not in text and "<class" not in text:
            return re.sub(r"\b(?:typing|collections\.abc)\.", "", text)
    return ""


def faces() -> dict[str, list[str]]:
    """Return the public names of every public module of the package, those of ``__all__``.

    A module without one shows the functions and classes that it defines.
    """
    package = importlib.import_module("fsr")
    walked = pkgutil.walk_packages(package.__path__, prefix="fsr.")
    names = ["fsr", *(found.name for found in walked if "._" not in found.name)]
    return {name: _names(importlib.import_module(name)) for name in names}


def _names(module: ModuleType) -> list[str]:
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__
        and kind(value) != "data"
        and not name.startswith("_")
    ]
