"""What every run of a network over images is told, and how options and keywords meet."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypedDict, TypeVar

import torch

from fsr._core.checks import check_positive_int
from fsr.inference._crf_stream import CRF

OnError = Literal["raise", "skip"]
# Called with (images done, images in all) of this process.
Progress = Callable[[int, int], None]

ON_ERROR: tuple[OnError, ...] = ("raise", "skip")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a network is run over images, whatever becomes of the results.

    Args:
        flip: whether mirrored images are seen too.
        crf: dense CRF that refines probabilities, such as :class:`fsr.refine.DenseCRF`, or an
            object with ``map``, such as :class:`fsr.refine.CRFPool`, which works while the network
            goes on.
        batch_size: images that are seen together at most; those of like size.
        num_workers: processes that read images.
        device: where to run; the model is moved there and back. Its own device by default.
        autocast: type of autocast, such as ``torch.bfloat16``; None for none.
        progress: called with (images done, images in all) of this process after every image.

    Raises:
        TypeError: ``batch_size`` is no integer.
        ValueError: ``batch_size`` is less than 1.

    Example:
        >>> RunOptions(batch_size=4).flip
        True
    """

    flip: bool = True
    crf: CRF | None = None
    batch_size: int = 1
    num_workers: int = 0
    device: torch.device | str | None = None
    autocast: torch.dtype | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        check_positive_int("batch_size", self.batch_size)


class RunChanges(TypedDict, total=False):
    """The fields of :class:`RunOptions` as keywords."""

    flip: bool
    crf: CRF | None
    batch_size: int
    num_workers: int
    device: torch.device | str | None
    autocast: torch.dtype | None
    progress: Progress | None


Options = TypeVar("Options", bound=RunOptions)


def with_changes(
    kind: type[Options], options: Options | None, changes: Mapping[str, object]
) -> Options:
    """Return options with some of them changed.

    Args:
        kind: class of the options.
        options: what to start from; the defaults if None.
        changes: values by name.

    Raises:
        TypeError: ``options`` are of another class, or there is no such option; the message names
            the nearest one.

    Example:
        >>> with_changes(RunOptions, RunOptions(flip=False), {"batch_size": 2}).batch_size
        2
        >>> with_changes(RunOptions, None, {"batchsize": 2})
        Traceback (most recent call last):
            ...
        TypeError: unknown option 'batchsize' (did you mean 'batch_size'?)
    """
    if options is not None and not isinstance(options, kind):
        raise TypeError(f"options: expected {kind.__name__}, got {type(options).__name__}")
    names = [field.name for field in fields(kind)]
    for name in changes:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise TypeError(f"unknown option {name!r} ({hint})")
    values: dict[str, Any] = dict(changes)
    return replace(kind() if options is None else options, **values)
