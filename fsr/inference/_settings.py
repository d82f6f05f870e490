"""The settings that all results of a folder were made with, beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsr._core.files import whole_file
from fsr.errors import SettingsError
from fsr.inference._provenance import fingerprint

SETTINGS = "settings.json"
# What may differ between the runs that fill one folder.
_FREE = ("versions", "checkpoint")


def record_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write ``settings.json``; refuse a folder whose results come from others.

    So all results of a folder have the same settings, whenever they were made.

    Args:
        folder: folder of the results.
        settings: what makes the results, as plain data; ``versions`` and ``checkpoint``,
            the path of a file, may differ.

    Raises:
        SettingsError: the folder was begun with other settings, or the file is damaged.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> record_settings(folder, {"flip": True})
        >>> record_settings(folder, {"flip": False})
        Traceback (most recent call last):
            ...
        fsr.errors.SettingsError: .../settings.json: ... flip was True, now False; ...
    """
    path = folder / SETTINGS
    now = json.loads(json.dumps(settings))
    if not path.is_file():
        with whole_file(path) as draft:
            draft.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
        return
    before = _read(path)
    names = [name for name in {**before, **now} if name not in _FREE]
    other = [name for name in names if before.get(name) != now.get(name)]
    if other:
        listed = ", ".join(f"{n} was {before.get(n)!r}, now {now.get(n)!r}" for n in other)
        raise SettingsError(
            f"{path}: the folder holds results of other settings: {listed}; take the same "
            "settings or another folder"
        )


def settings_fingerprint(settings: Mapping[str, Any]) -> str:
    """Return the digest of settings, less what may differ between the runs of one folder.

    Example:
        >>> one, other = {"flip": True, "versions": {"torch": "2"}}, {"flip": True}
        >>> settings_fingerprint(one) == settings_fingerprint(other)
        True
    """
    return fingerprint({name: value for name, value in settings.items() if name not in _FREE})


def _read(path: Path) -> dict[str, Any]:
    """Read settings; what is none is refused, and results made with them can still be told."""
    way_out = "take it away to have results of other settings made anew, or take another folder"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: cannot be read as JSON ({error}); {way_out}") from None
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise SettingsError(f"{path}: expected a JSON object, got {kind}; {way_out}")
    return found
