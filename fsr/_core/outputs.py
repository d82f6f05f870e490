"""Places that cannot be written: found before work begins, told in one line with the way out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsr.errors import OutputError

_SPACE = "make space there and run the same command again"
_WAYS_OUT = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f) and run the same command again",
    errno.EROFS: "name another place",
    errno.EACCES: "make it writable or name another place",
    errno.EPERM: "make it writable or name another place",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ENOTDIR: "a part of its path is a file; name another place",
    errno.EEXIST: "a part of its path is a file; name another place",
    errno.EISDIR: "it is a folder; take it away or name another place",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error is of a disk, or a share of it, that holds no more.

    Example:
        >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(None)
        (True, False)
    """
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell an error of the system in one line: which file, why, and the way out.

    Args:
        path: what the block writes.

    Raises:
        OutputError: the block raised an ``OSError`` of that file, or of a disk that is full; those
            of other files, such as one that is read, pass as they are.

    Example:
        >>> with writing(Path("masks/a.png")):
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
            ...
        fsr.errors.OutputError: masks/a.png: cannot be written: No space left on device; make ...
    """
    try:
        yield
    except (OutputError, FileNotFoundError):
        raise
    except OSError as error:
        if not _is_of(error, path):
            raise
        if error.errno is None:  # Pillow's encoders keep the system's reason to themselves
            error = _reason_of(path) or error
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error of a file that cannot be written."""
    reason = error.strerror or str(error)
    hint = _WAYS_OUT.get(error.errno or 0)
    message = f"{path}: cannot be written: {reason}" + (f"; {hint}" if hint else "")
    return OutputError(message, error.errno)


def check_output(folder: str | Path) -> None:
    """Raise unless a folder can be written to, or made where it is not there yet; makes nothing.

    Args:
        folder: folder of results.

    Raises:
        OutputError: it is a file, or may not be written.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp())
        >>> check_output(place / "new" / "results")
        >>> _ = (place / "file").write_text("")
        >>> check_output(place / "file" / "results")
        Traceback (most recent call last):
            ...
        fsr.errors.OutputError: .../file/results: expected a folder, but .../file is a file; ...
    """
    folder = Path(folder)
    nearest = folder.absolute()
    with writing(folder):
        while not os.path.lexists(nearest):
            nearest = nearest.parent
    if not nearest.is_dir():
        what = "a file" if nearest.exists() else "a link to nothing"
        raise OutputError(
            f"{folder}: expected a folder, but {nearest} is {what}; name another place",
            errno.ENOTDIR,
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        where = "" if nearest == folder.absolute() else f" ({nearest} may not be written)"
        raise OutputError(
            f"{folder}: cannot be written{where}; make it writable or name another place",
            errno.EACCES,
        )


class FullDisk:
    """Ends a run that goes on without being able to write: the hours would be lost.

    One file may be too large where smaller ones still fit, so the first do not end it.

    Example:
        >>> full = FullDisk()
        >>> for error in ("a: full", None, "b: full", "c: full", "d: full"):
        ...     full.count(error)
        Traceback (most recent call last):
            ...
        fsr.errors.OutputError: d: full (the last of 3 in a row: the run ends here)
    """

    in_a_row = 3

    def __init__(self) -> None:
        self.errors = 0

    def count(self, error: str | None) -> None:
        """Count a result; its error, if there was no room for it.

        Raises:
            OutputError: it is the last of too many in a row.
        """
        self.errors = 0 if error is None else self.errors + 1
        if error is not None and self.errors == self.in_a_row:
            raise OutputError(f"{error} (the last of {self.errors} in a row: the run ends here)")


def _is_of(error: OSError, path: Path) -> bool:
    """Tell whether an error is of writing a file: of it, its draft, its folders or of no name."""
    if error.filename is None or error.errno in (*_FULL, errno.EROFS):
        return True
    named = Path(os.fsdecode(error.filename))
    return named.parent == path.parent or named in path.parents


def _reason_of(path: Path) -> OSError | None:
    """Return what the system says to writing there, None if it lets one write after all."""
    trial = path.with_name(f".trial.{os.getpid()}")
    try:
        with trial.open("wb") as file:
            for _ in range(16):
                file.write(bytes(1 << 20))
    except OSError as error:
        return error
    finally:
        trial.unlink(missing_ok=True)
    return None
