"""Start from a network that was saved before, as methods do that go on from another's network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from fsr.segmenter import read_checkpoint


def start_from(network: nn.Module, path: str | Path) -> None:
    """Give a network the weights of a saved one that it has under the same names.

    What only one of them has is left: a head that the saved one lacks keeps its initial weights.

    Args:
        network: the network to start, a :class:`fsr.SingleStageSegmenter`.
        path: file that :meth:`fsr.SingleStageSegmenter.save` wrote, such as a run's
            ``student.safetensors``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, nothing in it has a name of the network's, a weight is of
            another shape there, or its classes are others.

    Example:
        >>> import tempfile
        >>> from fsr.segmenter import SingleStageSegmenter
        >>> path = Path(tempfile.mkdtemp()) / "network.safetensors"
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> build = lambda **more: SingleStageSegmenter(2, "vit_tiny_patch16_224", image_size=32,
        ...     projection_dim=8, backbone_options=size, **more)
        >>> build(heads={"segmentation": None}).save(path)
        >>> network = build()
        >>> start_from(network, path)
        >>> print(start_report(network, path).rpartition("; ")[2])
        not there: decoder (3 tensors)
    """
    header, state = _read(path)
    theirs, ours = header["class_names"], getattr(network, "class_names", None)
    if theirs and ours and tuple(theirs) != tuple(ours):
        raise ValueError(
            f"model.start: {str(path)!r} has the classes {', '.join(theirs)}, "
            f"but the network {', '.join(ours)}"
        )
    own = network.state_dict()
    shared = {name: value for name, value in state.items() if name in own}
    if not shared:
        raise ValueError(f"model.start: {str(path)!r} has no weight of the network's names")
    for name, value in shared.items():
        if value.shape != own[name].shape:
            raise ValueError(
                f"model.start: expected {name} of {tuple(own[name].shape)}, "
                f"{str(path)!r} has {tuple(value.shape)}"
            )
    network.load_state_dict(shared, strict=False)


def start_report(network: nn.Module, path: str | Path) -> str:
    """Return a line that tells what a network took from a file, and what only one of them has.

    Args:
        network: the network that was started.
        path: the file.
    """
    _, state = _read(path)
    own = network.state_dict().keys()
    told = [f"started from {path}: {len(own & state.keys())} tensors"]
    for what, names in (("not there", own - state.keys()), ("not used", state.keys() - own)):
        if names:
            told.append(f"{what}: {_by_part(names)}")
    return "; ".join(told)


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file; errors name the option."""
    try:
        return read_checkpoint(path)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"model.start: {str(error).removeprefix('path: ')}") from None


def _by_part(names: Iterable[str]) -> str:
    """Return the parts that names of weights belong to, with how many there are."""
    counts: dict[str, int] = {}
    for name in sorted(names):
        depth = 2 if name.startswith("heads.") else 1
        part = ".".join(name.split(".")[:depth])
        counts[part] = counts.get(part, 0) + 1
    return ", ".join(
        f"{part} ({count} tensor{'s' if count > 1 else ''})" for part, count in counts.items()
    )
