"""Files that appear whole, with the permissions that the process gives to new ones."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fsr._core.files import draft_path, whole_file


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    try:
        yield request.param
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_of_any_writer_follow_the_umask(tmp_path: Path, umask: int) -> None:
    with whole_file(tmp_path / "text.txt") as draft:
        draft.write_text("whole")
    # Its writer makes a file that nobody else may read, whatever the umask.
    with whole_file(tmp_path / "numbers.safetensors") as draft:
        save_file({"x": torch.ones(2)}, draft)
    assert [mode(path) for path in tmp_path.iterdir()] == [0o666 & ~umask] * 2
    assert load_file(tmp_path / "numbers.safetensors")["x"].tolist() == [1.0, 1.0]


def test_an_older_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(TypeError), whole_file(path) as draft:
        draft.write_bytes("not bytes")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    with whole_file(path) as draft:
        assert not draft.exists()
        draft.write_text("new")
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_a_link_stays_a_link_and_its_target_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("there")
    target.chmod(0o600)
    with whole_file(tmp_path / "link") as draft:
        draft.symlink_to(target)
    assert (tmp_path / "link").is_symlink()
    assert mode(target) == 0o600


def test_nothing_written_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "file.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_hidden_names_of_files_with_long_names_fit(tmp_path: Path) -> None:
    # Letters of three bytes: 83 of them and the ending are 253 bytes.
    for name in ("n" * 251 + ".png", "漢" * 83 + ".png", "n" * 240):
        with whole_file(tmp_path / name) as draft:
            assert len(os.fsencode(draft.name)) <= 255
            assert draft.name.startswith(f".{name[:60]}")
            draft.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"
    first, second = (draft_path(tmp_path / ("n" * 250 + end)) for end in ("a", "b"))
    assert first != second
    assert draft_path(tmp_path / "a.png").name == f".a.png.{os.getpid()}"
