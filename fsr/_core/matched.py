"""Tensors of two networks, matched by their names within them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from fsr.errors import ShapeError

Pairs = list[tuple[Tensor, Tensor]]
# Where ``torch.compile`` puts the module that it wraps.
_COMPILED = "_orig_mod"


class Matched(NamedTuple):
    """Tensors of two networks, in pairs.

    Attributes:
        parameters: the parameters, each once.
        buffers: the buffers, each once.
    """

    parameters: Pairs
    buffers: Pairs


def match_networks(own: nn.Module, other: nn.Module) -> Matched:
    """Match the tensors of a student with those of the network that follows it.

    What compiling a submodule puts into names does not count. Networks built alike are walked side
    by side, as the names of hundreds of tensors take milliseconds.

    Args:
        own: the network that follows.
        other: the student.

    Raises:
        ShapeError: a shape differs.
        ValueError: a name is on one side only.

    Example:
        >>> matched = match_networks(nn.Linear(1, 2), nn.Linear(1, 2))
        >>> [tuple(tensor.shape) for tensor, _ in matched.parameters], matched.buffers
        ([(2, 1), (2,)], [])
    """
    found = _side_by_side(own, other)
    if found is not None and all(a.shape == b.shape for pairs in found for a, b in pairs):
        return found
    return Matched(
        _by_names(own.named_parameters(), other.named_parameters()),
        _by_names(own.named_buffers(), other.named_buffers()),
    )


def _side_by_side(own: nn.Module, other: nn.Module) -> Matched | None:
    """Match networks of which all modules have the same names; None for others."""
    parameters: dict[int, tuple[Tensor, Tensor]] = {}
    buffers: dict[int, tuple[Tensor, Tensor]] = {}
    modules, walked = [(_plain(own), _plain(other))], set()
    for left, right in modules:
        if id(left) in walked:
            continue
        walked.add(id(left))
        for ours, theirs, found in (
            (left._parameters, right._parameters, parameters),
            (left._buffers, right._buffers, buffers),
        ):
            if (ours or theirs) and not _take(ours, theirs, found):
                return None
        if left._modules.keys() != right._modules.keys():
            return None
        for name, child in left._modules.items():
            twin = right._modules[name]
            if child is not None and twin is not None:
                modules.append((_plain(child), _plain(twin)))
            elif child is not twin:
                return None
    # A tensor that one network holds twice is in the other twice too, or they differ.
    for pairs in (parameters, buffers):
        if len({id(twin) for _, twin in pairs.values()}) != len(pairs):
            return None
    return Matched(list(parameters.values()), list(buffers.values()))


def _take(
    left: Mapping[str, Tensor | None],
    right: Mapping[str, Tensor | None],
    found: dict[int, tuple[Tensor, Tensor]],
) -> bool:
    """Add the tensors of a module, each once; tell whether both sides have the same."""
    if left.keys() != right.keys():
        return False
    for name, tensor in left.items():
        twin = right[name]
        if tensor is None or twin is None:
            if tensor is not twin:
                return False
        elif found.setdefault(id(tensor), (tensor, twin))[1] is not twin:
            return False
    return True


def _plain(module: nn.Module) -> nn.Module:
    """Return what ``torch.compile`` has wrapped."""
    while (inner := module._modules.get(_COMPILED)) is not None:
        module = inner
    return module


def _by_names(own: Iterator[tuple[str, Tensor]], other: Iterator[tuple[str, Tensor]]) -> Pairs:
    """Match tensors by name; raise if a name is on one side only or a shape differs."""
    ours, theirs = _named(own), _named(other)
    if ours.keys() != theirs.keys():
        missing = sorted(ours.keys() - theirs.keys())
        unexpected = sorted(theirs.keys() - ours.keys())
        raise ValueError(
            "student: expected the names of the network that the teacher was made from, "
            f"got {_shorten(missing)} missing and {_shorten(unexpected)} unexpected"
        )
    for name, tensor in ours.items():
        if tensor.shape != theirs[name].shape:
            raise ShapeError(
                f"student: expected {name} of shape {tuple(tensor.shape)}, "
                f"got {tuple(theirs[name].shape)}"
            )
    return [(tensor, theirs[name]) for name, tensor in ours.items()]


def _named(named: Iterator[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Collect tensors under names free of what compiling a submodule puts into them."""
    return {
        ".".join(part for part in name.split(".") if part != _COMPILED): tensor
        for name, tensor in named
    }


def _shorten(names: list[str], most: int = 5) -> str:
    """Spell a list of names, cut after a few."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"[{', '.join(names[:most])}]{more}"
