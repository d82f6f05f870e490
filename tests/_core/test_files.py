"""Files that appear whole, with the permissions that the process gives to new ones."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fsr._core.files import (
    LONGEST_NAME,
    clear_unfinished,
    draft_path,
    looks_whole,
    save_jpeg,
    whole_file,
)
from fsr.errors import OutputError


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


@pytest.fixture
def small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "bytes"])
@pytest.mark.usefixtures("small_files")
def test_a_file_without_room_is_told_in_one_line_and_leaves_nothing(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "picture"
    path.write_text("old")
    draw = np.random.default_rng(0)
    picture = Image.fromarray(draw.integers(0, 256, (200, 200, 3), dtype=np.uint8))
    write: dict[str, Callable[[Path], object]] = {
        "bytes": lambda draft: draft.write_bytes(bytes(30_000)),
        "PNG": lambda draft: picture.save(draft, format="PNG"),
        # Pillow takes a JPEG that was cut short for a whole one.
        "JPEG": lambda draft: save_jpeg(picture, draft, 95),
    }
    with pytest.raises(OutputError) as error, whole_file(path) as draft:
        write[kind](draft)
    assert str(error.value) == (
        f"{path}: cannot be written: File too large; raise the limit on the size of a file "
        "(ulimit -f) and run the same command again"
    )
    assert error.value.errno == errno.EFBIG
    assert [file.name for file in tmp_path.iterdir()] == ["picture"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "; make space there and run the same command again"),
        (errno.EDQUOT, "; make space there and run the same command again"),
        (errno.EROFS, "; name another place"),
        (errno.EACCES, "; make it writable or name another place"),
        (errno.EIO, ""),
    ],
)
def test_every_reason_comes_with_its_way_out(tmp_path: Path, number: int, hint: str) -> None:
    path = tmp_path / "file.txt"

    def fill(draft: Path) -> None:
        draft.write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError) as error, whole_file(path) as draft:
        fill(draft)
    assert str(error.value) == f"{path}: cannot be written: {os.strerror(number)}{hint}"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_not_said_to_be_unwritable(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "copy") as draft:
        shutil.copyfile(tmp_path / "none", draft)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), whole_file(tmp_path / "there" / "copy") as draft:
        draft.write_bytes((tmp_path / "folder").read_bytes())


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "new.txt"
    with pytest.raises(OutputError, match="a part of its path is a file"), whole_file(path):
        pass


@pytest.mark.parametrize("name", ["a" * (LONGEST_NAME - 4) + ".png", "\u00e9" * 125 + ".png"])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    with whole_file(tmp_path / name) as draft:
        draft.write_text("whole")
    assert [file.name for file in tmp_path.iterdir()] == [name]
    longer = tmp_path / f"{name}{'a' * 9}"
    told = "File name too long; give it a shorter name"
    with pytest.raises(OutputError, match=told), whole_file(longer) as draft:
        draft.write_text("whole")
    # Its unfinished form, shortened as it is, is found again.
    started = draft_path(tmp_path / name).name
    left = tmp_path / f"{started[: started.rindex('.')]}.9999999"
    left.write_text("half")
    assert clear_unfinished([tmp_path / name]) == [left]


def test_only_unfinished_files_of_ended_processes_are_cleared(tmp_path: Path) -> None:
    stay = (
        ".a.png",
        ".notes",
        f".a.png.{os.getppid()}",  # it runs
        ".other.png.9999999",  # none of the files of this run
        ".a.png.20240101",  # a date is no process
        ".a.png.99x",
        "a.png.9999999",
    )
    go = (".a.png.9999999", f".a.png.{os.getpid()}")
    for name in (*stay, *go):
        (tmp_path / name).write_text("half")
    removed = clear_unfinished([tmp_path / "a.png", tmp_path / "none" / "b.png"])
    assert sorted(path.name for path in removed) == sorted(go)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)


def test_files_that_end_too_early_do_not_look_whole(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 30), (1, 2, 3))
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "a.jpg")
    np.savez_compressed(tmp_path / "a.npz", probabilities=np.ones((3, 4)))
    (tmp_path / "a.txt").write_text("x")
    for name in ("a.png", "a.jpg", "a.npz", "a.txt"):
        path = tmp_path / name
        whole = path.read_bytes()
        assert looks_whole(path)
        for length in {0, 1, len(whole) // 2, len(whole) - 1} - {len(whole)}:
            if name != "a.txt" or length == 0:
                path.write_bytes(whole[:length])
                assert not looks_whole(path), (name, length)
        path.write_bytes(bytes(len(whole)))
        assert looks_whole(path) == (name == "a.txt")
    assert not looks_whole(tmp_path / "none.png")
