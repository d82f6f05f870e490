"""Checks that read the values of tensors: where they may, and what they look for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_UNREAD: ContextVar[bool] = ContextVar("_UNREAD", default=False)


@contextmanager
def values_unread(device: torch.device) -> Iterator[None]:
    """Within, no check looks at values, where tensors are on another device than the CPU.

    Every look would wait for all that the device has still to do. Whoever opens this looks at what
    goes in and at what comes out: what is made of NaN is NaN.

    Example:
        >>> with values_unread(torch.device("cuda")):
        ...     may_look(torch.ones(2))
        False
    """
    before = _UNREAD.set(_UNREAD.get() or device.type != "cpu")
    try:
        yield
    finally:
        _UNREAD.reset(before)


def may_look(value: Tensor) -> bool:
    """Tell whether a check may look at the values of a tensor, even if it waits for a device."""
    return not (torch.compiler.is_compiling() or value.is_meta or _UNREAD.get())


def readable(value: Tensor) -> bool:
    """Tell whether the values of a tensor can be looked at without waiting for a device."""
    # Subclasses stand in for tensors that are elsewhere, or nowhere yet.
    return may_look(value) and value.device.type == "cpu" and type(value) in (Tensor, nn.Parameter)


def all_finite(value: Tensor) -> bool:
    """Tell whether all numbers are finite; one pass for those that are."""
    value = value.detach()
    # NaN and infinity stay in a sum. One that overflows tells nothing.
    return bool(value.sum().isfinite()) or bool(value.isfinite().all())


def check_multi_hot(name: str, labels: Tensor) -> None:
    """Raise ``ValueError`` unless image-level labels are 0 or 1 each; looked at on the CPU alone.

    Labels that are NaN, as those of an image without labels, or -1 would count as one or the other.
    """
    if readable(labels) and not bool(((labels == 0) | (labels == 1)).all()):
        wrong = labels[(labels != 0) & (labels != 1)][0].item()
        raise ValueError(f"{name}: expected multi-hot labels of 0 and 1, got {wrong:g}")


def check_finite(name: str, value: Tensor) -> None:
    """Raise ``ValueError`` if a value is NaN or infinite; steps aside under ``torch.compile``."""
    if not may_look(value):
        return
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")


def check_unit_interval(**values: Tensor) -> None:
    """Raise ``ValueError`` unless all values of all named tensors on one device are in [0, 1].

    One test for all of them; steps aside under ``torch.compile``.
    """
    values = {name: value for name, value in values.items() if value.numel()}
    if not values or not all(may_look(value) for value in values.values()):
        return
    # Interpolated values may overshoot by rounding; a map that was never normalised does not pass.
    slack = 1e-3
    # One pass over each, and one wait for all; NaN is the lowest of what holds one.
    ends = [torch.stack(value.detach().aminmax()).float() for value in values.values()]
    for name, (lowest, highest) in zip(values, torch.stack(ends).tolist(), strict=True):
        if lowest >= -slack and highest <= 1 + slack:
            continue
        found = "NaN" if math.isnan(lowest) else f"values from {lowest:g} to {highest:g}"
        raise ValueError(f"{name}: expected values between 0 and 1, got {found}")
