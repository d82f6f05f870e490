"""Checks that every component is put through."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def tensors_of(value: Any) -> list[Tensor]:
    """Return the tensors of a result: one, or a tuple, list, mapping or dataclass of results."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in tensors_of(item)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tensors_of([getattr(value, field.name) for field in dataclasses.fields(value)])
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in tensors_of(item)]
    return []


def assert_same(actual: Any, expected: Any, **tolerances: float) -> None:
    """Two results hold the same tensors; exactly, unless rtol and atol say otherwise."""
    tolerances = tolerances or {"rtol": 0.0, "atol": 0.0}
    assert tensors_of(expected)
    torch.testing.assert_close(
        tensors_of(actual), tensors_of(expected), equal_nan=True, **tolerances
    )


def assert_compiles(
    function: Callable[..., Any],
    *args: Any,
    backend: str = "aot_eager",
    rtol: float = 1e-5,
    atol: float = 1e-6,
    **kwargs: Any,
) -> None:
    """A module or function gives the same result compiled as one graph as it does eagerly.

    The eager result comes from a copy, so that a module whose state moves starts equal twice.
    """
    expected = copy.deepcopy(function)(*args, **kwargs)
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend=backend)
    assert_same(compiled(*args, **kwargs), expected, rtol=rtol, atol=atol)


def assert_state_dict_round_trip(
    module: nn.Module, build: Callable[[], nn.Module], *args: Any, **kwargs: Any
) -> None:
    """A freshly built module that loads the state (strictly) gives the same result."""
    fresh = build()
    fresh.load_state_dict(module.state_dict(), strict=True)
    fresh.train(module.training)
    # The state is taken before the call: state that a forward moves starts equal in both.
    expected = copy.deepcopy(module)(*args, **kwargs)
    assert_same(fresh(*args, **kwargs), expected)


def assert_deepcopy_after_forward(module: nn.Module, *args: Any, **kwargs: Any) -> None:
    """A module can be copied after a forward, and the copy shares no memory with it."""
    module(*args, **kwargs)
    twin = copy.deepcopy(module)
    pairs = zip(module.state_dict().values(), twin.state_dict().values(), strict=True)
    for own, other in pairs:
        assert torch.equal(own, other)
        assert own.numel() == 0 or own.data_ptr() != other.data_ptr()
    assert_same(twin(*args, **kwargs), module(*args, **kwargs))


def assert_pickles(module: nn.Module, *args: Any, **kwargs: Any) -> None:
    """A module can be pickled before and after a forward, as processes that are spawned need."""
    for _ in range(2):
        twin = pickle.loads(pickle.dumps(module))
        assert type(twin) is type(module)
        own, other = module.state_dict(), twin.state_dict()
        assert list(own) == list(other)
        assert all(torch.equal(own[name], other[name]) for name in own)
        assert_same(twin(*args, **kwargs), module(*args, **kwargs))


def code_that_hides(packages: list[str]) -> str:
    """Return code for the top of a script: from there on the packages seem not to be installed."""
    return f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
for name in [name for name in sys.modules if name.partition(".")[0] in {packages!r}]:
    del sys.modules[name]
"""
