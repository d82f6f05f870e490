"""What a run writes: failures of the disk in one line that names the path and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from fsr.errors import ConfigError, ResourceError
from fsr.train._files import brief

WAY_OUT = (
    "make room there, or take another disk with run.output=FOLDER; --resume goes on from the last "
    "checkpoint"
)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a `ResourceError` of one line.

    Args:
        path: what is written, for the message.

    Example:
        >>> import errno, os
        >>> with writing(Path("run/log.jsonl")):
        ...     raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        Traceback (most recent call last):
        fsr.errors.ResourceError: run/log.jsonl: cannot be written (No space left on device); make \
room there, or take another disk with run.output=FOLDER; --resume goes on from the last checkpoint
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ResourceError(f"{path}: cannot be written ({reason(error)}); {WAY_OUT}") from error


def reason(error: Exception) -> str:
    """Return why the system refused, without the path and in one line.

    Example:
        >>> reason(SafetensorError('Os { code: 28, message: "No space left on device" }'))
        'No space left on device'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # safetensors spells the system's own words inside of its own.
    inner = re.search(r'message: "([^"]+)"', str(error))
    return inner[1] if inner else " ".join(str(error).split()) or type(error).__name__


def check_output(folder: Path) -> None:
    """Make the folder of a run, and a file in it, so that nothing is trained in vain.

    Args:
        folder: folder of the run.

    Raises:
        ConfigError: nothing can be written there.
    """
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\n")
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"run.output: nothing can be written into {brief(repr(str(folder)))} "
            f"({reason(error)}); "
            "name another folder with run.output=FOLDER"
        ) from None
