"""Files of weights of other code: read without running any of theirs, and the encoder found."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Where training code puts the weights, the first that is there; averaged ones come first, as timm
# takes them, and of self-supervised training the teacher, which its authors evaluate.
PLACES = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher", "student")
# What wrappers put before every name.
WRAPPERS = ("_orig_mod.", "module.", "_orig_mod.")


def read_state_dict(path: Path, expected: Collection[str] = ()) -> dict[str, Tensor]:
    """Read the weights of an encoder from a file, without running code from it.

    Args:
        path: a file of safetensors, or of ``torch.save``: a state dictionary, or a checkpoint with
            one at ``state_dict``, ``model``, ``teacher`` or ``student``.
        expected: names of the encoder's own weights. A prefix that stands before them in the file,
            such as ``backbone.``, is taken off, and what has none of them is left.

    Returns:
        The weights by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another ending, cannot be read without running its code, holds no
            weights, or those of several encoders of which none is the teacher; or a weight is NaN
            or infinite.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"pretrained: expected a file {'|'.join(SUFFIXES)}, got {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"pretrained: no file {str(path)!r}")
    state = {_unwrapped(name): value for name, value in _weights_in(_read(path), path).items()}
    state = without_prefix(state, expected, path)
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(
                f"pretrained: {str(path)!r} holds NaN or infinity in {name!r}: take an earlier "
                "checkpoint, or fetch the file again"
            )
    return state


def without_prefix(
    state: Mapping[str, Tensor], expected: Collection[str], path: Path
) -> dict[str, Tensor]:
    """Take off the prefix under which a state has the most of the expected names.

    Args:
        state: weights by name.
        expected: names without prefix.
        path: their file, for the message.

    Raises:
        ValueError: several prefixes have equally many, and not just one is a teacher's.

    Example:
        >>> state = {"backbone.a.weight": torch.zeros(1), "head.weight": torch.zeros(1)}
        >>> list(without_prefix(state, ["a.weight"], Path("file.pth")))
        ['a.weight']
    """
    counts: Counter[str] = Counter()
    for key in state:
        # Every dot may end a prefix.
        parts = key.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in expected:
                counts["".join(f"{part}." for part in parts[:start])] += 1
    most = max(counts.values(), default=0)
    if counts[""] == most or 2 * most < len(expected):
        return dict(state)
    best = sorted(prefix for prefix, count in counts.items() if count == most)
    teachers = [prefix for prefix in best if "teacher" in prefix]
    if len(best) > 1 and len(teachers) != 1:
        raise ValueError(
            f"pretrained: {str(path)!r} holds {len(best)} encoders, whose names begin with "
            f"{', '.join(map(repr, best))}: save the one that you mean alone"
        )
    chosen = teachers[0] if len(best) > 1 else best[0]
    return {
        name.removeprefix(chosen): value for name, value in state.items() if name.startswith(chosen)
    }


def _read(path: Path) -> Any:
    """Return what a file holds: tensors, and of what is pickled plain values."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Options of a command, which training code saves beside its weights, are plain values too.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # The readers tell a foreign file by many kinds of exception.
        raise ValueError(
            f"pretrained: no weights could be read from {str(path)!r} without running its code; "
            "if you trust it, read it where it was made and save the tensors alone, with "
            "safetensors.torch.save_file(state_dict, 'weights.safetensors')"
        ) from error


def _weights_in(found: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, from the place where its code keeps them."""
    if isinstance(found, Mapping):
        for place in PLACES:
            inner = found.get(place)
            if isinstance(inner, Mapping) and inner:
                return _weights_in(inner, path)
        tensors = {str(name): each for name, each in found.items() if isinstance(each, Tensor)}
        if tensors:
            return tensors
        parts = ", ".join(repr(name) for name in list(found)[:8]) or "nothing"
        told = f"it holds {parts}, and none is a tensor"
    else:
        told = f"it holds a {type(found).__name__}"
    raise ValueError(
        f"pretrained: expected a state dictionary of tensors in {str(path)!r}, or one at "
        f"{', '.join(map(repr, PLACES))}; {told}: save the part with the encoder's weights alone"
    )


def _unwrapped(name: str) -> str:
    """Return the name of a weight without what data-parallel and compiled modules put before."""
    for prefix in WRAPPERS:
        name = name.removeprefix(prefix)
    return name
