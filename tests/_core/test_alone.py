"""One run at a time in a folder, and a dead one holds nobody up."""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from pathlib import Path

import pytest

from fsr._core.alone import LOCK, alone_in
from fsr.errors import BusyError, OutputError
from tests.processes import FORKED


def _hold(folder: str) -> None:
    with alone_in(Path(folder)):
        # A child of the run: it must not keep the folder when the run is killed.
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        Path(folder, "child").write_text(str(child))
        time.sleep(60)


def test_another_process_is_kept_out_until_this_one_ends_however(tmp_path: Path) -> None:
    holder = FORKED.Process(target=_hold, args=(str(tmp_path),))
    holder.start()
    try:
        # There is a moment between the file and what is in it.
        while not ((tmp_path / "child").is_file() and (tmp_path / "child").read_text()):
            assert holder.is_alive()
            time.sleep(0.02)
        with pytest.raises(BusyError) as error, alone_in(tmp_path):
            pass
        assert str(error.value).startswith(f"{tmp_path}: another run (process {holder.pid} on ")
        assert str(error.value).endswith(
            "is writing there; wait for its end or take another folder"
        )
    finally:
        holder.kill()
        holder.join()
    child = int((tmp_path / "child").read_text())
    assert (tmp_path / LOCK).is_file()
    os.kill(child, 0)  # it lives
    with alone_in(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    assert not (tmp_path / LOCK).exists()


def test_the_folder_is_free_after_a_run_that_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone_in(tmp_path / "new"):
        raise KeyError
    with alone_in(tmp_path / "new"):
        assert (tmp_path / "new" / LOCK).read_text().startswith(f"process {os.getpid()} on ")
        with pytest.raises(BusyError), alone_in(tmp_path / "new" / ".." / "new"):
            pass
        with alone_in(tmp_path / "other"):
            pass
    assert [list(path.iterdir()) for path in sorted(tmp_path.iterdir())] == [[], []]


def test_a_lock_of_a_dead_run_is_a_mere_file(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("process 1 on elsewhere")
    with alone_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_drive_without_locks_is_told_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(handle: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fsr._core.alone.fcntl.lockf", refuse)
    with caplog.at_level(logging.WARNING), alone_in(tmp_path):
        pass
    assert "cannot be locked (No locks available)" in caplog.text


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    where = tmp_path / "file" / "out"
    with pytest.raises(OutputError, match="file/out: cannot be written"), alone_in(where):
        pass
