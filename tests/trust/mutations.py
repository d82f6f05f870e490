"""Ways to spoil an argument, by what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

NAN, INFINITY = float("nan"), float("inf")
Mutations = Mapping[str, Callable[[Any], Any]]


def _set(value: float) -> Callable[[Tensor], Tensor]:
    """Put a number into one place of a copy."""

    def changed(tensor: Tensor) -> Tensor:
        copy = tensor.clone()
        if copy.numel():
            copy.view(-1)[copy.numel() // 2] = value
        return copy

    return changed


def _empty(axis: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.narrow(axis, 0, 0)


def _shorter(axis: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.narrow(axis, 0, max(tensor.shape[axis] - 1, 0))


def _transposed_storage(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


SCALARS: Mutations = {
    "None": lambda _: None,
    "text": lambda _: "text",
    "NaN": lambda _: NAN,
    "infinity": lambda _: INFINITY,
    "-infinity": lambda _: -INFINITY,
    "-1": lambda _: -1,
    "0": lambda _: 0,
    "half": lambda _: 0.5,
    "True": lambda _: True,
    "a list": lambda value: [value],
    "complex": lambda _: 1 + 1j,
    "a tensor": lambda _: torch.ones(3),
    "a NumPy number": lambda _: np.float64(0.5),
    "a tuple": lambda _: (1, 2),
    "a dictionary": lambda _: {"a": 1},
}
TENSORS: Mutations = {
    "None": lambda _: None,
    "text": lambda _: "text",
    "a number": lambda _: 3,
    "a list": lambda tensor: tensor.tolist(),
    "an array": lambda tensor: tensor.numpy(),
    "an axis less": lambda tensor: tensor[0] if tensor.ndim else tensor,
    "an axis more": lambda tensor: tensor[None],
    "a scalar": lambda tensor: tensor.flatten()[0],
    "int64": lambda tensor: tensor.long(),
    "int32": lambda tensor: tensor.int(),
    "uint8": lambda tensor: tensor.abs().to(torch.uint8),
    "bool": lambda tensor: tensor.bool(),
    "float16": lambda tensor: tensor.half(),
    "bfloat16": lambda tensor: tensor.bfloat16(),
    "float64": lambda tensor: tensor.double(),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "on another device": lambda tensor: tensor.to("meta"),
    "sparse": lambda tensor: tensor.to_sparse() if tensor.ndim else tensor,
    "not contiguous": lambda tensor: _transposed_storage(tensor) if tensor.ndim > 1 else tensor,
    "-1 in it": _set(-1),
    "300 in it": _set(300),
    "zeros": torch.zeros_like,
    "ones": torch.ones_like,
}
FLOATS: Mutations = {
    "NaN in it": _set(NAN),
    "infinity in it": _set(INFINITY),
    "-infinity in it": _set(-INFINITY),
    "1e4 in it": _set(1e4),
    "half in it": _set(0.5),
    "with gradient": lambda tensor: tensor.clone().requires_grad_(),
    "negative": lambda tensor: -tensor,
}
SEQUENCES: Mutations = {
    "empty": lambda value: type(value)(),
    "one less": lambda value: value[:-1],
    "one more": lambda value: type(value)([*value, *value[-1:]]),
    "-1 first": lambda value: type(value)([-1, *value[1:]]),
    "0 first": lambda value: type(value)([0, *value[1:]]),
    "NaN first": lambda value: type(value)([NAN, *value[1:]]),
    "None first": lambda value: type(value)([None, *value[1:]]),
    "text first": lambda value: type(value)(["text", *value[1:]]),
    "half first": lambda value: type(value)([0.5, *value[1:]]),
    "None": lambda _: None,
    "a number": lambda _: 3,
    "a dictionary": lambda _: {"a": 1},
}
OTHERS: Mutations = {
    "None": lambda _: None,
    "text": lambda _: "text",
    "a number": lambda _: 3,
    "a list": lambda value: [value],
    "a tensor": lambda _: torch.ones(3),
}


def mutations_of(value: Any) -> dict[str, Callable[[Any], Any]]:
    """Return the ways to spoil a value, by what they are called."""
    if isinstance(value, Tensor):
        axes = range(value.ndim)
        found = {**TENSORS, **(FLOATS if value.is_floating_point() else {})}
        found |= {f"axis {axis} empty": _empty(axis) for axis in axes}
        return found | {f"axis {axis} shorter": _shorter(axis) for axis in axes}
    if isinstance(value, bool):
        return {name: way for name, way in SCALARS.items() if name != "a tensor"}
    if isinstance(value, (int, float, str)):
        return dict(SCALARS)
    if isinstance(value, Sequence):
        found = dict(SEQUENCES)
        if value and isinstance(value[0], Tensor):
            inner = {
                f"first: {name}": _of_first(way) for name, way in mutations_of(value[0]).items()
            }
            found |= inner
        return found
    return dict(OTHERS)


def _of_first(way: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: type(value)([way(value[0]), *value[1:]])


def on_another_device(value: Any) -> bool:
    """Tell whether nothing of a value can be read here."""
    return isinstance(value, Tensor) and value.is_meta


def is_module(value: Any) -> bool:
    """Tell whether a function is a module, or a method of one, with weights on a device."""
    owner = getattr(value, "__self__", value)
    return isinstance(owner, nn.Module) and any(True for _ in owner.parameters())
