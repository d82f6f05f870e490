"""What to do where memory runs out: on the device, in the process, in a process that loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fsr.errors import ResourceError
from fsr.train._options import Config

# What torch says of memory that is not the device's, and of a loader's process that is gone.
NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "cannot allocate memory",
)
SHARED = ("bus error", "shared memory")


@contextmanager
def enough_memory(config: Config, doing: str, *, training: bool) -> Iterator[None]:
    """Turn memory that runs out, or a killed worker, into a `ResourceError` with the way out.

    Args:
        config: options of the run.
        doing: what is being done, for the message.
        training: whether it is a step; else it is an evaluation.

    Raises:
        ResourceError: memory ran out, or a process that loads data was killed.

    Example:
        >>> with enough_memory(Config(), "evaluation", training=False):
        ...     raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. More")
        Traceback (most recent call last):
        fsr.errors.ResourceError: evaluation: the device is out of memory (CUDA out of memory. \
Tried to allocate 2.00 GiB); lower eval.batch_size (now 1), set eval.image_size, or take smaller \
eval.scales and eval.cam_scales
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, ResourceError):
            raise
        told = _told(error, config, training=training)
        if told is None:
            raise
        raise ResourceError(f"{doing}: {told}") from error


def _told(error: Exception, config: Config, *, training: bool) -> str | None:
    """Return what happened and what helps; None if the error is of another kind."""
    text = " ".join(str(error).split())
    lowered = text.lower()
    where = "the device" if isinstance(error, torch.OutOfMemoryError) else "this machine"
    if "dataloader worker" in lowered:
        return f"a process that loads data was killed ({_short(text)}); {_for_workers(lowered)}"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or _any(NO_MEMORY, lowered):
        helps = _for_steps(config) if training else _for_evaluation(config)
        return f"{where} is out of memory ({_short(text) or type(error).__name__}); {helps}"
    return None


def _for_steps(config: Config) -> str:
    """Return the options that make a step smaller, those first that change no result."""
    data, helps = config.data, []
    each = data.micro_batch or data.batch_size
    if each > 1:
        helps.append(f"lower data.micro_batch (now {each})")
    if not config.model.grad_checkpointing:
        helps.append("set model.grad_checkpointing=true")
    if config.optim.mixed_precision in (None, "no"):
        helps.append("set optim.mixed_precision=bf16")
    helps.append(f"lower data.image_size (now {data.image_size})")
    return ", ".join(helps[:-1]) + (", or " if helps[:-1] else "") + helps[-1]


def _for_evaluation(config: Config) -> str:
    size = "set" if config.eval.image_size is None else "lower"
    return (
        f"lower eval.batch_size (now {config.eval.batch_size}), {size} eval.image_size, or take "
        "smaller eval.scales and eval.cam_scales"
    )


def _for_workers(text: str) -> str:
    if _any(SHARED, text):
        return (
            "lower data.workers, or give shared memory more room (docker run --shm-size 1g for "
            "each training process)"
        )
    return (
        "mostly for lack of memory: lower data.workers, or set data.workers=0 to load in the "
        "training process"
    )


def _short(text: str) -> str:
    """Return the first two sentences, which say how much was asked for."""
    return ". ".join(text.split(". ")[:2]).rstrip(".")


def _any(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
