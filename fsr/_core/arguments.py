"""Checks of arguments that are no tensors: numbers, sequences, functions, generators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fsr._core.checks import check_between, check_dense, check_same_device


def check_int(name: str, value: Any) -> None:
    """Raise ``TypeError`` unless ``value`` is an integer, as a label to ignore is.

    Example:
        >>> check_int("ignore_index", 255.0)
        Traceback (most recent call last):
        ...
        TypeError: ignore_index: expected an integer, got 255.0
    """
    # Tuples, not unions, in all that torch 2.6 compiles.
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected an integer, got {_shown(value)}")


def check_positive(name: str, value: Any) -> None:
    """Raise unless ``value`` is a finite number above 0."""
    check_between(name, value, 0.0, math.inf, inclusive=False)


def check_number(name: str, value: Any) -> None:
    """Raise unless ``value`` is a finite number of any size."""
    check_between(name, value, -math.inf, math.inf, inclusive=False)


def check_sequence(name: str, value: Any, what: str) -> None:
    """Raise ``TypeError`` unless ``value`` is a list or tuple of something."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name}: expected a list or tuple of {what}, got {type(value).__name__}")


def check_tensors(name: str, values: Any) -> None:
    """Raise unless ``values`` is a list or tuple of dense tensors on one device.

    Raises:
        TypeError: it is not, or an item is no such tensor.
        ValueError: there is none, or they are on several devices.
    """
    check_sequence(name, values, "tensors")
    if len(values) == 0:
        raise ValueError(f"{name}: expected at least one tensor, got none")
    for index, value in enumerate(values):
        check_dense(f"{name}[{index}]", value)
    check_same_device(**{f"{name}[{index}]": value for index, value in enumerate(values)})


def check_function(name: str, value: Any) -> None:
    """Raise ``TypeError`` unless ``value`` can be called."""
    if isinstance(value, Tensor) or not callable(value):
        raise TypeError(f"{name}: expected a function or module, got {type(value).__name__}")


def check_module(name: str, value: Any, kind: type[nn.Module] = nn.Module) -> None:
    """Raise ``TypeError`` unless ``value`` is a module, or one of a kind."""
    if not isinstance(value, kind):
        wanted = "a module" if kind is nn.Module else f"a {kind.__name__}"
        raise TypeError(f"{name}: expected {wanted}, got {type(value).__name__}")


def check_picture(name: str, value: Any) -> None:
    """Raise ``TypeError`` unless ``value`` is a picture of Pillow's, or one like it."""
    if not hasattr(value, "convert") or not hasattr(value, "getbands"):
        raise TypeError(f"{name}: expected a PIL image, got {type(value).__name__}")


def check_generator(name: str, value: Any) -> None:
    """Raise ``TypeError`` unless ``value`` is None or a generator of random numbers."""
    if value is not None and not isinstance(value, torch.Generator):
        raise TypeError(f"{name}: expected a torch.Generator or None, got {type(value).__name__}")


def checked_call(name: str, function: Callable[..., Any], *inputs: Tensor) -> Tensor:
    """Return what a function given by the caller makes of tensors, or raise unless it is a tensor.

    Raises:
        TypeError: ``function`` is none, or returns something else.
    """
    check_function(name, function)
    result = function(*inputs)
    if not isinstance(result, Tensor):
        raise TypeError(f"{name}: expected to return a tensor, got {type(result).__name__}")
    return result


def _shown(value: Any) -> str:
    """Spell a plain value, anything else by its type."""
    plain = isinstance(value, (bool, int, float, complex, str)) or value is None
    return repr(value) if plain else type(value).__name__
