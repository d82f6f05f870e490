"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    draft = path.with_name(f".{path.name}.{os.getpid()}")
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
