"""Files that appear whole or not at all, and what is left of those that never became whole."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from fsr._core.outputs import writing

# Bytes of a file's name, on every system that this package runs on.
LONGEST_NAME = 255
_LONGEST_NUMBER = 7  # digits of a process, on every such system
_DRAFT = re.compile(r"\.(.+)\.(\d{1,7})", re.DOTALL)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name to write to; the file takes its place only when all went well.

    Whatever writes it, the file has the permissions that the process gives to new files: writers
    that make a file of their own under that name, as that of safetensors does, leave it to the
    owner alone.

    Raises:
        OutputError: the file cannot be written, the disk is full for example; nothing is left of
            it, and an older file of that name is as it was.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "file.txt"
        >>> with whole_file(path) as draft:
        ...     _ = draft.write_text("whole")
        >>> path.read_text(), [other.name for other in path.parent.iterdir()]
        ('whole', ['file.txt'])
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of this process alone: several may write into one folder.
        draft = draft_path(path)
        try:
            # The umask cannot be asked for without changing it, which other threads would see.
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
        >>> len(draft_path(Path("n" * 250 + ".png")).name) <= 255
        True
    """
    return path.with_name(f".{_short(path.name)}.{os.getpid()}")


def clear_unfinished(files: Iterable[Path]) -> list[Path]:
    """Remove what killed processes left of files that they were writing.

    Only names that :func:`whole_file` gives while it writes one of the files count, and of those
    only the ones whose process has ended: other hidden files are none of ours.

    Args:
        files: the files, whether they exist or not.

    Returns:
        What was removed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in (".a.png.9999999", ".notes", ".b.png.9999999"):
        ...     _ = (folder / name).write_text("half")
        >>> [path.name for path in clear_unfinished([folder / "a.png"])]
        ['.a.png.9999999']
    """
    names: dict[Path, set[str]] = {}
    for file in files:
        names.setdefault(file.parent, set()).add(_short(file.name))
    removed = []
    for folder, own in names.items():
        try:
            found = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".")]
        except OSError:  # not there yet
            continue
        for name in found:
            match = _DRAFT.fullmatch(name)
            if match and match[1] in own and not _runs_elsewhere(int(match[2])):
                (folder / name).unlink(missing_ok=True)
                removed.append(folder / name)
    return removed


def save_jpeg(image: Image.Image, draft: Path, quality: int) -> None:
    """Write a picture as JPEG, all of it.

    Pillow takes a write that was cut short by a full disk for a whole one.

    Raises:
        OSError: the file ends before its end.
    """
    image.save(draft, format="JPEG", quality=quality)
    if not looks_whole(draft, ".jpg"):
        raise OSError("the picture was not written to its end")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "file"
        >>> _ = path.write_bytes(b"abc")
        >>> file_digest(path)[:8]
        'ba7816bf'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def looks_whole(path: Path, suffix: str | None = None) -> bool:
    """Tell from both ends of a file whether it was written to its end, as its kind of file ends.

    PNG, JPEG and NPZ files, by their suffix; others are whole if there is anything in them. A
    damage between the ends is not seen.

    Args:
        path: the file.
        suffix: what it is, whatever its name ends in.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = Path(tempfile.mkdtemp()) / "a.png"
        >>> Image.new("L", (40, 30)).save(path)
        >>> before = looks_whole(path)
        >>> _ = path.write_bytes(path.read_bytes()[:-20])
        >>> before, looks_whole(path)
        (True, False)
    """
    heads = {".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8", ".npz": b"PK"}
    tails = {".png": b"IEND\xaeB`\x82", ".jpg": b"\xff\xd9", ".npz": b"PK\x05\x06"}
    try:
        with path.open("rb") as file:
            head = file.read(8)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 22, 0))
            tail = file.read()
    except OSError:
        return False
    kind = path.suffix.lower() if suffix is None else suffix
    if kind not in heads:
        return size > 0
    # A zip file ends with a record of 22 bytes that begins with its mark.
    ends = tail.startswith(tails[kind]) if kind == ".npz" else tail.endswith(tails[kind])
    return head.startswith(heads[kind]) and ends


def _short(name: str) -> str:
    """Cut a name so that a dot and the number of a process still fit around it."""
    most, encoded = LONGEST_NAME - len("..") - _LONGEST_NUMBER, os.fsencode(name)
    if len(encoded) <= most:
        return name
    end = f".{hashlib.sha256(encoded).hexdigest()[:16]}"
    # A letter of several bytes is left out whole.
    return encoded[: most - len(end)].decode("utf-8", errors="ignore") + end


def _runs_elsewhere(number: int) -> bool:
    """Tell whether a number is that of a running process, other than this one."""
    if number == os.getpid():
        return False
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True
