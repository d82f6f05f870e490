"""One run at a time in a folder: a lock that ends with the process that holds it."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsr._core.outputs import writing
from fsr.errors import BusyError

if sys.platform != "win32":  # there runs are not kept apart
    import fcntl

LOCK = "running.lock"
_log = logging.getLogger(__name__)
_guard = threading.Lock()
# The system's lock tells processes apart, not the runs of one process.
_held: set[Path] = set()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder while the block lasts.

    The lock is the system's own and of this process alone: it ends with the process, however that
    ends, and neither its children nor the file that is left of it hold anybody up.

    Args:
        folder: made if it is not there.

    Raises:
        BusyError: another run is writing into it.
        OutputError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with alone_in(folder), alone_in(folder):
        ...     pass
        Traceback (most recent call last):
            ...
        fsr.errors.BusyError: ...: another run (process ...) is writing there; wait for its end ...
        >>> list(folder.iterdir())
        []
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / LOCK
    with _guard:
        if path in _held:
            raise _busy(folder, path)
        _held.add(path)
    try:
        handle = _locked(folder, path)
        try:
            yield
        finally:
            # Taken away while it is still held: whoever opened it finds that it is gone.
            path.unlink(missing_ok=True)
            os.close(handle)
    finally:
        with _guard:
            _held.discard(path)


def _locked(folder: Path, path: Path) -> int:
    """Return the open file that the lock is on."""
    while True:
        with writing(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle, folder, path)
            if _is_still(handle, path):
                with writing(path):
                    os.ftruncate(handle, 0)
                    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the run before took it away in between


def _lock(handle: int, folder: Path, path: Path) -> None:
    """Take the lock, or raise if another process has it."""
    if sys.platform != "win32":
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise _busy(folder, path) from None
            # Some network drives know no locks: their users are told, and not kept from working.
            _log.warning(
                "%s: cannot be locked (%s): start no other run there", folder, error.strerror
            )


def _is_still(handle: int, path: Path) -> bool:
    """Tell whether the path still leads to the file that was opened."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


def _busy(folder: Path, path: Path) -> BusyError:
    """Return the error of a folder that another run holds."""
    try:
        holder = path.read_text(encoding="utf-8")
    except OSError:
        holder = ""
    who = f" ({holder})" if holder else ""
    return BusyError(
        f"{folder}: another run{who} is writing there; wait for its end or take another folder"
    )
