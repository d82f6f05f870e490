"""Argument checks shared by every component: one wording, real exceptions, no asserts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from fsr.errors import ShapeError


def check_shape(name: str, value: Any, axes: str, **sizes: int) -> tuple[int, ...]:
    """Check rank and named sizes of a tensor and return its shape.

    Args:
        name: argument name for the message.
        value: what the caller passed.
        axes: one letter or word per axis, separated by spaces, for example ``"B N D"``.
        sizes: required size of an axis, for example ``B=2``.

    Raises:
        TypeError: ``value`` is no tensor.
        ShapeError: rank or a required size differs.

    Example:
        >>> check_shape("tokens", torch.zeros(2, 9, 4), "B N D", B=2)
        (2, 9, 4)
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor ({_spell(axes)}), got {type(value).__name__}")
    names = axes.split()
    shape = tuple(value.shape)
    fits = len(shape) == len(names) and all(
        axis not in sizes or size == sizes[axis] for axis, size in zip(names, shape, strict=True)
    )
    if not fits:
        known = ", ".join(f"{k}={v}" for k, v in sizes.items() if k in names)
        hint = f" with {known}" if known else ""
        raise ShapeError(f"{name}: expected shape ({_spell(axes)}){hint}, got {shape}")
    return shape


def check_floating(name: str, value: Tensor) -> None:
    """Raise ``TypeError`` unless the tensor holds real floating-point numbers."""
    if not value.is_floating_point():
        raise TypeError(f"{name}: expected a floating-point tensor, got {value.dtype}")


def check_integer(name: str, value: Tensor) -> None:
    """Raise ``TypeError`` unless the tensor holds integers (booleans are none)."""
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name}: expected an integer tensor, got {value.dtype}")


def check_bool(name: str, value: Tensor) -> None:
    """Raise ``TypeError`` unless the tensor is boolean (True = masked / uncertain)."""
    if value.dtype != torch.bool:
        raise TypeError(f"{name}: expected a boolean tensor (True = masked), got {value.dtype}")


def check_choice(name: str, value: Any, options: Iterable[str]) -> None:
    """Raise ``ValueError`` that lists the options and names the nearest one."""
    names = list(options)
    if value in names:
        return
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    listed = ", ".join(repr(n) for n in names)
    raise ValueError(f"{name}: expected one of {listed}, got {value!r}{hint}")


def check_between(
    name: str, value: float, low: float, high: float, *, inclusive: bool = True
) -> None:
    """Raise ``ValueError`` unless ``value`` is a number in [low, high], or in (low, high)."""
    # A tuple, not a union: torch 2.6 cannot compile ``isinstance(value, int | float)``.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    fits = low <= value <= high if inclusive else low < value < high
    if not fits:
        left, right = ("[", "]") if inclusive else ("(", ")")
        raise ValueError(f"{name}: expected a number in {left}{low}, {high}{right}, got {value}")


def check_positive_int(name: str, value: Any) -> None:
    """Raise unless ``value`` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a positive integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name}: expected a positive integer, got {value}")


def check_grid(name: str, value: Any) -> tuple[int, int]:
    """Return a height and a width, or raise unless ``value`` is two positive integers."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(pair) != 2 or any(isinstance(v, bool) or not isinstance(v, int) for v in pair):
        raise TypeError(f"{name}: expected two integers (height, width), got {value!r}")
    if min(pair) < 1:
        raise ValueError(f"{name}: expected two positive integers (height, width), got {pair}")
    return pair[0], pair[1]


def check_finite(name: str, value: Tensor) -> None:
    """Raise ``ValueError`` if a value is NaN or infinite; steps aside under ``torch.compile``."""
    if torch.compiler.is_compiling():
        return
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")


def check_unit_interval(**values: Tensor) -> None:
    """Raise ``ValueError`` unless all values of all named tensors on one device are in [0, 1].

    One test for all of them; steps aside under ``torch.compile``.
    """
    if torch.compiler.is_compiling():
        return
    # Interpolated values may overshoot by rounding; a map that was never normalised does not pass.
    slack = 1e-3
    fits = [((v >= -slack) & (v <= 1 + slack)).all() for v in values.values()]
    if bool(torch.stack(fits).all()):
        return
    name, value = next(item for item, fit in zip(values.items(), fits, strict=True) if not fit)
    lowest, highest = value.min().item(), value.max().item()
    found = "NaN" if math.isnan(lowest) else f"values from {lowest:g} to {highest:g}"
    raise ValueError(f"{name}: expected values between 0 and 1, got {found}")


def _spell(axes: str) -> str:
    """Turn ``"B N D"`` into ``"B, N, D"`` for messages."""
    return ", ".join(axes.split())
