"""What each result of a folder was made of and looked like, in a file that outlives a kill."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from fsr._core.files import looks_whole, whole_file
from fsr._core.outputs import writing
from fsr.errors import OutputError
from fsr.inference._made_of import Made, Stamp, stamp_of
from fsr.inference._provenance import file_hash

RECORDS = "made_of.jsonl"
_log = logging.getLogger(__name__)


class Record(NamedTuple):
    """A result.

    Attributes:
        made: what it was made of.
        files: SHA-256 (of a link: where it leads) and stamp of its files, by path in the folder.
    """

    made: Made
    files: dict[str, tuple[str, Stamp]]


class Records:
    """One line per result, written after its files; the last line of a name counts.

    So a file that was being written when the run was killed, that ends before its end, or that was
    made of other things, is never taken for a result. Several processes may append.

    Args:
        folder: folder of the results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / RECORDS
        self.known = _read(self.path)

    def made(self, name: str) -> Made | None:
        """Return what a result was made of, None without a record."""
        record = self.known.get(name)
        return None if record is None else record.made

    def keeps(self, name: str, made: Made, files: Iterable[Path]) -> bool:
        """Tell whether a result can stay: made of the same, and all its files as they were written.

        A mask that somebody changed by hand since stays as well, and a warning tells: it is no
        damaged file, and nothing here can make it again.

        Args:
            name: name of the result.
            made: what it would be made of now.
            files: the files that it must have.
        """
        record = self.known.get(name)
        if record is None or not made.digest or record.made.digest != made.digest:
            return False
        changed = []
        for path in files:
            key = self._key(path)
            if key not in record.files:
                return False
            if not _as_written(path, *record.files[key]):
                if not (path.suffix == ".png" and _is_sound(path)):
                    return False
                changed.append(path)
        for path in changed:
            _log.warning("%s: was changed since it was written; it is kept as it is", path)
        return True

    def begin(self, name: str, rewritten: Iterable[Path] = ()) -> None:
        """Forget a result that no longer holds, and take away its files.

        Args:
            name: name of the result.
            rewritten: files that are about to be written, or were just now: they stay.
        """
        record = self.known.pop(name, None)
        if record is None:
            return
        self._append({"name": name})
        stay = set(map(self._key, rewritten))
        for key, (digest, stamp) in record.files.items():
            path = self.folder / key
            if key not in stay and _as_written(path, digest, stamp):
                path.unlink(missing_ok=True)

    def finish(self, name: str, made: Made, files: Iterable[Path]) -> None:
        """Record a result whose files are written."""
        written = {}
        for path in files:
            stamp = _stamp(path)
            if stamp is not None:
                written[self._key(path)] = (_digest(path), stamp)
        self.known[name] = Record(made, written)
        self._append(_line(name, self.known[name]))

    def tidy(self, names: Iterable[str] | None = None) -> None:
        """Write the file anew, one line per result, in the order of the names or of themselves.

        The file says the same before and after, so that a full disk does not matter.
        """
        self.known = _read(self.path)
        if not self.known and not self.path.exists():
            return
        order = sorted(self.known) if names is None else [n for n in names if n in self.known]
        with suppress(OutputError), whole_file(self.path) as draft:
            lines = (json.dumps(_line(name, self.known[name])) + "\n" for name in order)
            draft.write_text("".join(lines), encoding="utf-8")

    def _append(self, line: Mapping[str, Any]) -> None:
        # One call of the system, so that several processes may append. What a kill left of a line
        # ends at the line break in front.
        text = "\n" + json.dumps(line) + "\n"
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                data = text.encode()
                while data:
                    data = data[os.write(handle, data) :]
            finally:
                os.close(handle)

    def _key(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _read(path: Path) -> dict[str, Record]:
    """Read the records; lines that are not whole, or none of ours, count as not there."""
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    found: dict[str, Record] = {}
    for line in text.splitlines():
        try:
            content = json.loads(line)
            name = content["name"]
            found.pop(name, None)
            if "made_of" in content:
                found[name] = _parsed(content)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            continue
    return found


def _parsed(content: dict[str, Any]) -> Record:
    image = content["image"]
    made = Made(str(content["made_of"]), str(image["sha256"]), _as_stamp(image["stamp"]))
    files = {}
    for key, (digest, stamp) in content["files"].items():
        read = _as_stamp(stamp)
        inside = not Path(key).is_absolute() and ".." not in Path(key).parts
        if read is None or not inside:
            raise ValueError(f"expected a stamp, got {stamp!r}")
        files[key] = (str(digest), read)
    return Record(made, files)


def _as_stamp(value: Any) -> Stamp | None:
    if value is None:
        return None
    size, content, entry = value
    return int(size), int(content), int(entry)


def _line(name: str, record: Record) -> dict[str, Any]:
    made = record.made
    return {
        "name": name,
        "made_of": made.digest,
        "image": {"sha256": made.content, "stamp": made.stamp},
        "files": record.files,
    }


def _stamp(path: Path) -> Stamp | None:
    """Return the stamp of a file, of a link that of the link itself."""
    if not path.is_symlink():
        return stamp_of(path)
    return (0, 0, 0) if path.exists() else None


def _digest(path: Path) -> str:
    if path.is_symlink():
        return hashlib.sha256(os.fsencode(os.readlink(path))).hexdigest()
    return file_hash(path)


def _as_written(path: Path, digest: str, stamp: Stamp) -> bool:
    """Tell whether a file is what was written; it is read if the system says other of it."""
    now = _stamp(path)
    if now is None or now[0] != stamp[0]:
        return False
    return (now == stamp and now != (0, 0, 0)) or _digest(path) == digest


def _is_sound(path: Path) -> bool:
    """Tell whether a picture is whole and can be read."""
    if not looks_whole(path):
        return False
    try:
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:
            image.load()
    except Exception:  # Pillow tells a damage by errors of many kinds
        return False
    return True
