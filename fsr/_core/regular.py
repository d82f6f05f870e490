"""Plain files told from pipes, devices and sockets, which may never end or never begin."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fsr.errors import DataError

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_regular(path: str | Path) -> None:
    """Raise if there is something at a path that is neither a file nor a folder.

    To open a named pipe waits for whoever writes into it, and a device may go on for ever. What is
    not there passes, and so does a folder: whoever opens it has words of its own for them.

    Args:
        path: what is to be opened; links are followed.

    Raises:
        DataError: it is a named pipe, a device or a socket.

    Example:
        >>> check_regular("/dev/zero")
        Traceback (most recent call last):
            ...
        fsr.errors.DataError: /dev/zero: expected a file, this is a device; write what it ...
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise DataError(
                f"{path}: expected a file, this is {name}; write what it gives into a file first"
            )
