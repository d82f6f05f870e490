"""The JSON header of a saved network: what it must hold before anything is built of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor

from fsr._core.version import __version__
from fsr.aggregation import MASKINGS

FORMAT = 1
UPDATE = "pip install -U fsr-wsss"


def parsed_header(text: str, path: str | Path) -> dict[str, Any]:
    """Return a header, or raise unless it is one of this format that says what was built.

    Args:
        text: JSON.
        path: the file that it is from, for the message.

    Raises:
        ValueError: it is none, or of another format; the message names the file.

    Example:
        >>> parsed_header('{"format": 1, "arguments": {"num_classes": "2"}}', "a.safetensors")
        Traceback (most recent call last):
        ...
        ValueError: path: 'a.safetensors' has a damaged header: num_classes is '2', expected a
        positive integer; save the network again, or take another copy of the file
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise ValueError(damaged(path, f"{text[:40]!r} is no JSON object"))
    if header.get("format") != FORMAT:
        raise ValueError(
            f"path: {str(path)!r} has format {header.get('format')!r}, expected {FORMAT}; "
            f"it needs another version of fsr-wsss ({UPDATE})"
        )
    arguments = header.get("arguments")
    if not isinstance(arguments, dict):
        raise ValueError(damaged(path, f"its arguments are {arguments!r}, expected a mapping"))
    count = arguments.get("num_classes")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        fault = f"num_classes is {count!r}, expected a positive integer"
        raise ValueError(damaged(path, fault))
    if "class_names" not in header:
        raise ValueError(damaged(path, "it has no class_names, which are strings or null"))
    names = header["class_names"]
    if names is not None:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(damaged(path, f"class_names is {names!r}, expected strings or null"))
        if len(names) != count:
            raise ValueError(damaged(path, f"it has {len(names)} class_names for {count} classes"))
    masking = header.setdefault("masking", None)
    if masking is not None and masking not in MASKINGS:
        raise ValueError(damaged(path, f"masking is {masking!r}, expected one of {MASKINGS}"))
    return header


def check_arguments(
    arguments: Mapping[str, Any],
    build: Callable[..., Any],
    state: Mapping[str, Tensor],
    path: str | Path,
) -> None:
    """Raise ``ValueError`` unless a constructor has all arguments, and a file of its size may.

    No size of a network is larger than the number of values in its file: a header that says so is
    found before memory is asked for.
    """
    known = signature(build).parameters
    if unknown := sorted(arguments.keys() - known.keys()):
        raise ValueError(damaged(path, f"unknown arguments {', '.join(map(repr, unknown))}"))
    largest = max(sum(value.numel() for value in state.values()), 1)
    for name, number in _numbers("", arguments):
        if abs(number) > largest:
            raise ValueError(damaged(path, f"{name} is {number}, more than the file has values"))


def damaged(path: str | Path, fault: str) -> str:
    """Return a message about a header."""
    return (
        f"path: {str(path)!r} has a damaged header: {fault}; "
        "save the network again, or take another copy of the file"
    )


def later_version(header: Mapping[str, Any]) -> str:
    """Return a hint where a file comes from a later version of the package; else nothing.

    Example:
        >>> later_version({"version": "99.0.0"}), later_version({"version": "0.0.1"})
        ('; it was saved by fsr-wsss 99.0.0, later than this one: pip install -U fsr-wsss', '')
    """
    theirs, ours = (_numbers_of(str(version)) for version in (header.get("version"), __version__))
    if theirs <= ours:
        return ""
    return f"; it was saved by fsr-wsss {header['version']}, later than this one: {UPDATE}"


def _numbers_of(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version."""
    return tuple(int(number) for number in re.findall(r"\d{1,9}", version)[:3])


def _numbers(name: str, value: Any) -> Collection[tuple[str, int]]:
    """Return the integers in plain data, each with its name."""
    if isinstance(value, Mapping):
        return [pair for key, each in value.items() for pair in _numbers(str(key), each)]
    if isinstance(value, list):
        return [pair for each in value for pair in _numbers(name, each)]
    return [(name, value)] if isinstance(value, int) else []
