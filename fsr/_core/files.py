"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Bytes of a file's name, on every system that this package runs on.
_LONGEST_NAME = 255


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name to write to; the file takes its place only when all went well.

    Whatever writes it, the file has the permissions that the process gives to new files: writers
    that make a file of their own under that name, as that of safetensors does, leave it to the
    owner alone.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "file.txt"
        >>> with whole_file(path) as draft:
        ...     _ = draft.write_text("whole")
        >>> path.read_text(), [other.name for other in path.parent.iterdir()]
        ('whole', ['file.txt'])
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of this process alone: several may write into one folder.
    draft = draft_path(path)
    try:
        # The system's umask cannot be asked for without changing it, which other threads would see.
        draft.unlink(missing_ok=True)
        draft.touch()
        mode = stat.S_IMODE(draft.stat().st_mode)
        draft.unlink()
        yield draft
        if not draft.is_symlink():
            draft.chmod(mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def draft_path(path: Path) -> Path:
    """Return the hidden name of a file that this process has not finished.

    It begins as the file does, as far as a name may be long; what is cut off stands in a hash, so
    that no two files of a folder share one.

    Args:
        path: the file to be.

    Example:
        >>> draft_path(Path("masks/a.png")).name == f".a.png.{os.getpid()}"
        True
        >>> len(draft_path(Path("n" * 250 + ".png")).name)
        255
    """
    end = f".{os.getpid()}"
    name = os.fsencode(path.name)
    if len(name) + len(end) + 1 > _LONGEST_NAME:
        end = f".{hashlib.sha256(name).hexdigest()[:16]}{end}"
        kept = name[: _LONGEST_NAME - len(end) - 1]
        # A letter of several bytes is left out whole.
        text = kept.decode("utf-8", errors="ignore")
    else:
        text = path.name
    return path.with_name(f".{text}{end}")
