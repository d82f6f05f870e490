"""Places that cannot be written are found before work begins."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fsr._core.outputs import FullDisk, check_output
from fsr.errors import OutputError


def test_a_folder_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    check_output(tmp_path)
    check_output(tmp_path / "a" / "b")
    check_output(str(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "a" / "b"):
        with pytest.raises(OutputError) as error:
            check_output(folder)
        assert str(error.value) == (
            f"{folder}: expected a folder, but {file} is a file; name another place"
        )
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(OutputError, match="link is a link to nothing"):
        check_output(tmp_path / "link")
    assert file.read_text() == "mine"


def test_a_folder_that_may_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever runs the tests may be one who may do anything.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(OutputError) as error:
        check_output(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: cannot be written; make it writable or name another place"
    )
    with pytest.raises(OutputError, match=rf"new: cannot be written \({tmp_path} may not be"):
        check_output(tmp_path / "new")


def test_one_result_without_room_ends_no_run() -> None:
    full = FullDisk()
    for error in ("a", "b", None, "c", "d"):
        full.count(error)
    with pytest.raises(OutputError, match=r"e \(the last of 3 in a row: the run ends here\)"):
        full.count("e")


def test_the_error_keeps_the_number_of_the_system() -> None:
    error = OutputError("a.png: cannot be written", errno.ENOSPC)
    assert isinstance(error, OSError)
    assert (str(error), error.errno) == ("a.png: cannot be written", errno.ENOSPC)
