"""Checkpoint files of the segmenter: safetensors with JSON metadata, nothing that runs code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fsr._core.files import whole_file
from fsr._core.regular import check_regular
from fsr._core.values import all_finite
from fsr._core.version import __version__
from fsr.segmenter._header import (
    FORMAT,
    check_arguments,
    damaged,
    later_version,
    parsed_header,
)

KEY = "fsr_wsss"

Network = TypeVar("Network", bound=nn.Module)


def save_network(network: Any, path: str | Path, class_names: Sequence[str] | None) -> None:
    """Write a segmenter: weights, constructor arguments, class names and version.

    Raises:
        ValueError: the number of names is not C, or an argument is not plain data.
    """
    names = network.class_names
    if class_names is not None:
        names = _checked_names(class_names, network.num_classes)
    header = {
        "version": __version__,
        "arguments": network._arguments,
        "class_names": names,
        # A preset may have changed it since construction.
        "masking": getattr(network.aggregator, "masking", None),
    }
    write_checkpoint(path, network.state_dict(), header)


def load_network(
    build: Callable[..., Network],
    path: str | Path,
    num_classes: int | None,
    parts: Mapping[str, nn.Module | None],
    heads: Mapping[str, nn.Module],
) -> Network:
    """Build a saved segmenter, on the CPU and in eval mode.

    Args:
        build: its constructor.
        path: file that :func:`save_network` wrote.
        num_classes: number of classes that the caller needs; None takes what the file has.
        parts: modules to load into, by the constructor's argument.
        heads: heads of a method's own to load into, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file was not saved by :func:`save_network`, has another number of classes,
            needs a module, or does not fit the module given.
    """
    header, state = read_checkpoint(path)
    arguments = header["arguments"]
    if num_classes is not None and num_classes != arguments["num_classes"]:
        raise ValueError(
            f"num_classes: expected {num_classes}, but {str(path)!r} has {arguments['num_classes']}"
        )
    check_arguments(arguments, build, state, path)
    given = restored_arguments(arguments, parts, path)
    if arguments.get("heads"):
        given["heads"] = restored_heads(arguments["heads"], heads, path)
    try:
        model = build(**given)
    except ImportError:
        raise
    except Exception as error:  # Whatever a damaged argument leads to, the file is what is wrong.
        fault = f"no network can be built of its arguments: {type(error).__name__}: {error}"
        raise ValueError(damaged(path, fault) + later_version(header)) from error
    load_strictly(model, state, path, later_version(header))
    network: Any = model
    network._arguments["pretrained"] = arguments.get("pretrained", False)
    network.class_names = header["class_names"] and tuple(header["class_names"])
    own = parts["aggregator"] is None and hasattr(network.aggregator, "masking")
    if header["masking"] is not None and own:
        network.aggregator.masking = header["masking"]
    return model.eval()


def _checked_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Return class names as a tuple, or raise unless they are C strings."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"class_names: expected a sequence of strings, got {names!r}")
    if len(names) != count:
        raise ValueError(f"class_names: expected {count} names, got {len(names)}")
    return tuple(names)


def write_checkpoint(path: str | Path, state: Mapping[str, Tensor], header: dict[str, Any]) -> None:
    """Write weights and a JSON header; the file appears whole or not at all.

    Raises:
        ValueError: the header holds something that JSON cannot.
    """
    try:
        text = json.dumps({"format": FORMAT, **header})
    except (TypeError, ValueError) as error:
        raise ValueError(f"save: the constructor's arguments are not plain data: {error}") from None
    path = Path(path)
    tensors = {name: value.detach().contiguous() for name, value in state.items()}
    with whole_file(path) as draft:
        save_file(tensors, draft, metadata={KEY: text})


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the header and the weights of a file that :meth:`fsr.SingleStageSegmenter.save` wrote.

    Args:
        path: the file; nothing in it is unpickled.

    Returns:
        The header: ``arguments`` of the constructor, ``class_names``, ``version``; and the weights
        by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no safetensors file, was not saved by this package, or by a later
            version of it, its header is damaged, or it is a named pipe, a device or a socket.

    Example:
        >>> import tempfile
        >>> import torch
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> made_of = {"arguments": {"num_classes": 3}, "class_names": None}
        >>> write_checkpoint(path, {"weight": torch.zeros(2)}, made_of)
        >>> header, state = read_checkpoint(path)
        >>> header["arguments"], state["weight"].shape
        ({'num_classes': 3}, torch.Size([2]))
    """
    path = Path(path)
    check_regular(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: no file {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # The reader tells a damaged file by several kinds of exception.
        raise ValueError(_unreadable(path, error)) from None
    if text is None:
        raise ValueError(
            f"path: {str(path)!r} was not saved by SingleStageSegmenter.save; weights of an "
            "encoder load through pretrained=, those of the released code through fsr.interop"
        )
    header = parsed_header(text, path)
    for name, value in state.items():
        if value.is_floating_point() and not all_finite(value):
            raise ValueError(
                f"path: {str(path)!r} holds NaN or infinity in {name!r}: take an earlier "
                "checkpoint, or another copy of the file"
            )
    return header, state


def _unreadable(path: Path, error: Exception) -> str:
    """Return what to say of a file that is none of safetensors, with the way out."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"path: {str(path)!r} cannot be read: {error.strerror}"
    with path.open("rb") as file:
        begins = file.read(2)
    # What torch.save writes: an archive, and before torch 1.6 a bare pickle.
    if begins in (b"PK", b"\x80\x02"):
        return (
            f"path: {str(path)!r} is no safetensors file but a pickled one, which is never "
            "loaded, as it can run code; weights of an encoder load through pretrained=, and a "
            "network is saved by SingleStageSegmenter.save"
        )
    return (
        f"path: {str(path)!r} is no safetensors file, or a damaged one ({error}); pickled "
        "checkpoints are never loaded, as they can run code: take another copy of the file"
    )


def restored_arguments(
    arguments: Mapping[str, Any], given: Mapping[str, nn.Module | None], path: str | Path
) -> dict[str, Any]:
    """Return the constructor's arguments, with the modules given for parts that need one."""
    restored = {**arguments, "pretrained": False}
    for name, module in given.items():
        if module is not None:
            restored[name] = module
        elif isinstance(arguments.get(name), dict):
            kind = arguments[name].get("module", "one without a name")
            raise ValueError(
                f"{name}: {str(path)!r} was built from a module, {kind}; "
                f"give one: load(path, {name}=module)"
            )
    if isinstance(restored.get("image_size"), list):
        restored["image_size"] = tuple(restored["image_size"])
    return restored


def restored_heads(
    recorded: Mapping[str, Any], given: Mapping[str, nn.Module], path: str | Path
) -> dict[str, Any]:
    """Return the heads that a file records, with the modules given for those that need one."""
    if not isinstance(recorded, Mapping):
        raise ValueError(damaged(path, f"its heads are {recorded!r}, expected a mapping"))
    heads: dict[str, Any] = {**recorded, **given}
    for name, head in heads.items():
        if isinstance(head, Mapping) and "module" in head:
            raise ValueError(
                f"heads[{name!r}]: {str(path)!r} was built from a module, {head['module']}; "
                f"give one: load(path, heads={{{name!r}: module}})"
            )
    return heads


def load_strictly(
    model: nn.Module, state: dict[str, Tensor], path: str | Path, hint: str = ""
) -> None:
    """Load a state of any floating-point type, or raise ``ValueError`` that names the file."""
    types = {value.dtype for value in state.values() if value.is_floating_point()}
    if len(types) == 1:
        model.to(types.pop())
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        told = " ".join(str(error).split())
        raise ValueError(f"path: {str(path)!r} does not fit the model: {told}{hint}") from None
