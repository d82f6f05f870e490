"""Argument checks shared by every component: one wording, real exceptions, no asserts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from fsr._core.integers import check_positive_int as check_positive_int
from fsr._core.values import all_finite, readable
from fsr._core.values import check_finite as check_finite
from fsr._core.values import check_multi_hot as check_multi_hot
from fsr._core.values import check_unit_interval as check_unit_interval
from fsr.errors import ShapeError

# What there is none of along an empty axis.
PIXELS = ("H", "W", "h", "w", "height", "width", "S")
WHAT = {
    **dict.fromkeys(PIXELS, "pixel"),
    "C": "class",
    "C+1": "class",
    "D": "feature",
    "K": "channel",
    "L": "block",
    "N": "token",
    "heads": "head",
    "maps": "map",
}


def check_shape(name: str, value: Any, axes: str, **sizes: int) -> tuple[int, ...]:
    """Check rank and named sizes of a tensor and return its shape.

    Args:
        name: argument name for the message.
        value: what the caller passed.
        axes: one letter or word per axis, separated by spaces, for example ``"B N D"``. Those with
            a question mark may be empty, ``"B C? N"``, and B may: what is computed image by image
            is then empty too; a mean over images asks for :func:`check_some`.
        sizes: required size of an axis, for example ``B=2``.

    Raises:
        TypeError: ``value`` is no dense tensor of real numbers.
        ShapeError: rank or a required size differs, or an axis is empty.

    Example:
        >>> check_shape("tokens", torch.zeros(2, 9, 4), "B N D", B=2)
        (2, 9, 4)
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor ({_spell(axes)}), got {type(value).__name__}")
    check_dense(name, value)
    marked, axes = axes.split(), axes.replace("?", "")
    names = axes.split()
    shape = tuple(value.shape)
    fits = len(shape) == len(names) and all(
        axis not in sizes or size == sizes[axis] for axis, size in zip(names, shape, strict=True)
    )
    if not fits:
        known = ", ".join(f"{k}={v}" for k, v in sizes.items() if k in names)
        hint = f" with {known}" if known else ""
        raise ShapeError(f"{name}: expected shape ({_spell(axes)}){hint}, got {shape}")
    for axis, size in zip(names, shape, strict=True):
        if size == 0 and axis != "B" and f"{axis}?" not in marked and sizes.get(axis) != 0:
            raise ShapeError(f"{name}: expected at least one {WHAT.get(axis, axis)}, got {shape}")
    return shape


def check_dense(name: str, value: Any) -> None:
    """Raise ``TypeError`` unless ``value`` is a tensor of real numbers with a place for each."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
    if value.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got layout {value.layout}")
    if value.is_complex() or value.is_quantized:
        raise TypeError(f"{name}: expected a tensor of real numbers, got {value.dtype}")


def check_some(name: str, value: Tensor) -> None:
    """Raise ``ShapeError`` if a tensor holds nothing, such as a batch of no images."""
    if value.numel() == 0:
        raise ShapeError(f"{name}: expected at least one image, got shape {tuple(value.shape)}")


def check_same_device(**values: Any) -> None:
    """Raise ``ValueError`` unless all named tensors are on the device of the first; None may be.

    Example:
        >>> check_same_device(cam=torch.zeros(1), labels=torch.zeros(1, device="meta"))
        Traceback (most recent call last):
        ...
        ValueError: labels: expected a tensor on cpu, where cam is, got one on meta
    """
    # A plain loop: torch 2.6 compiles no ``next`` with a default.
    tensors = [(name, value) for name, value in values.items() if isinstance(value, Tensor)]
    for name, value in tensors:
        first, reference = tensors[0]
        if value.device != reference.device:
            raise ValueError(
                f"{name}: expected a tensor on {reference.device}, where {first} is, "
                f"got one on {value.device}"
            )


def check_same_type(**values: Tensor) -> None:
    """Raise ``TypeError`` unless all named tensors are of one type; any, where autocast sets it."""
    (first, wanted), *others = values.items()
    for name, value in others:
        if value.dtype != wanted.dtype and not under_autocast(value):
            raise TypeError(
                f"{name}: expected {wanted.dtype}, the type of {first}, got {value.dtype}"
            )


def check_like_weight(name: str, value: Tensor, weight: Tensor) -> None:
    """Raise unless an input is on the device of a module's weights and of their type.

    Under autocast torch itself brings both to one type.

    Raises:
        TypeError: the types differ.
        ValueError: the devices differ.
    """
    if value.device != weight.device:
        raise ValueError(
            f"{name}: expected a tensor on {weight.device}, where the module is, "
            f"got one on {value.device}"
        )
    if value.dtype != weight.dtype and not under_autocast(value):
        raise TypeError(
            f"{name}: expected {weight.dtype}, the type of the module's weights, got {value.dtype}"
        )


def check_floating(name: str, value: Tensor, *, finite: bool = True) -> None:
    """Raise unless the tensor holds real floating-point numbers, none NaN or infinite.

    Values are looked at on the CPU alone, where it costs a sum. On an accelerator every such look
    would wait for all that is under way; there what is made of NaN is NaN, until something that
    waits anyway, such as the training loop with its losses, finds it.

    Args:
        name: argument name for the message.
        value: the tensor.
        finite: whether NaN and infinity are refused.

    Raises:
        TypeError: ``value`` is no tensor of floating-point numbers.
        ValueError: a number is NaN or infinite; not tested under ``torch.compile``.
    """
    check_dense(name, value)
    if not value.is_floating_point():
        raise TypeError(f"{name}: expected a floating-point tensor, got {value.dtype}")
    if finite and readable(value) and not all_finite(value):
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")


def check_integer(name: str, value: Tensor) -> None:
    """Raise ``TypeError`` unless the tensor holds integers (booleans are none)."""
    check_dense(name, value)
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name}: expected an integer tensor, got {value.dtype}")


def check_bool(name: str, value: Tensor) -> None:
    """Raise ``TypeError`` unless the tensor is boolean (True = masked / uncertain)."""
    check_dense(name, value)
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


def check_grid(name: str, value: Any) -> tuple[int, int]:
    """Return a height and a width, or raise unless ``value`` is two positive integers."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else ()
    # Symbols are the sizes that torch.export leaves open.
    whole = (int, torch.SymInt)
    if len(pair) != 2 or any(isinstance(v, bool) or not isinstance(v, whole) for v in pair):
        raise TypeError(f"{name}: expected two integers (height, width), got {value!r}")
    if min(pair) < 1:
        raise ValueError(f"{name}: expected two positive integers (height, width), got {pair}")
    return pair[0], pair[1]


def under_autocast(value: Tensor) -> bool:
    """Tell whether autocast chooses the types of products on the tensor's device."""
    return not value.is_meta and torch.is_autocast_enabled(value.device.type)


def _spell(axes: str) -> str:
    """Turn ``"B N D"`` into ``"B, N, D"`` for messages."""
    return ", ".join(axes.split())
