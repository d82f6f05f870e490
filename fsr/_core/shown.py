"""How results with large tensors print: by shape and type."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def shown(result: Any) -> str:
    """Return what a named tuple prints as, its tensors by shape, type and device.

    A tensor of no axes, such as a loss, shows its value.

    Args:
        result: a named tuple.

    Example:
        >>> import torch
        >>> from typing import NamedTuple
        >>> class Result(NamedTuple):
        ...     tokens: Tensor
        ...     grid: tuple[int, int]
        >>> shown(Result(torch.zeros(2, 12, 8), (4, 3)))
        'Result(tokens=Tensor(2, 12, 8; float32), grid=(4, 3))'
    """
    fields = ", ".join(
        f"{name}={described(value)}" for name, value in zip(result._fields, result, strict=True)
    )
    return f"{type(result).__name__}({fields})"


def described(value: Any) -> str:
    """Spell a value; a tensor with axes by shape, type and device."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        return repr(value)
    shape = ", ".join(map(str, value.shape))
    kind = str(value.dtype).removeprefix("torch.")
    device = "" if value.device.type == "cpu" else f" on {value.device}"
    return f"Tensor({shape}; {kind}{device})"
