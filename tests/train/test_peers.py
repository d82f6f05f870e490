"""Several processes: one that stops or is killed ends the others in one line, and soon."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

pytest.importorskip("accelerate")

from fsr.errors import NotFiniteError, ResourceError
from fsr.train import _peers
from fsr.train._peers import BEATS, Peers, joined, lost_line
from tests.processes import FORKED


class Words:
    """A store of words, as the processes of a run share one."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.gone = threading.Event()

    def set(self, key: str, value: str) -> None:
        if self.gone.is_set():
            raise RuntimeError("Connection reset by peer")
        self.words[key] = value

    def check(self, keys: list[str]) -> bool:
        return all(key in self.words for key in keys)

    def get(self, key: str) -> bytes:
        return self.words[key].encode()


def _watched(
    store: Words, others: Callable[[int], None], timeout: float = 0.2
) -> tuple[list[str], int]:
    """Watch from process 0 of 3 for some timeouts; return what was told, and the beats waited."""
    told: list[str] = []
    lost = threading.Event()

    def lose(line: str) -> None:
        told.append(line)
        lost.set()

    beats = 0
    with Peers(store, 0, 3, timeout, lose):
        while beats < 5 * BEATS and not lost.wait(timeout / BEATS):
            others(beats)
            beats += 1
    return told, beats


def test_processes_that_tell_are_not_lost() -> None:
    store = Words()

    def tell(beat: int) -> None:
        store.set("fsr/lives/1", str(beat))
        store.set("fsr/lives/2", str(beat))

    assert _watched(store, tell) == ([], 5 * BEATS)
    assert store.words["fsr/lives/0"] == "done"


def test_a_silent_process_is_named_and_one_that_is_done_is_not() -> None:
    store = Words()
    store.set("fsr/lives/2", "done")
    told, _ = _watched(store, lambda beat: store.set("fsr/lives/1", "5"))
    assert told == [lost_line([1], 3, 0.2)]


def test_a_process_that_never_came_and_a_store_that_is_gone_count_as_silence() -> None:
    told, _ = _watched(Words(), lambda beat: None)
    assert told == [lost_line([1, 2], 3, 0.2)]
    assert told[0] == (
        "training processes 1, 2 of 0 to 2 have not answered for 0.2 s (run.timeout): stopped; "
        "--resume goes on from the last checkpoint"
    )
    store = Words()
    told, _ = _watched(store, lambda beat: store.gone.set())
    assert told == [lost_line([1, 2], 3, 0.2)]


def test_one_that_ends_with_an_error_does_not_say_that_it_is_done() -> None:
    store = Words()
    with pytest.raises(ValueError, match="x"), Peers(store, 0, 1, 0.1, print):
        raise ValueError("x")
    assert store.words["fsr/lives/0"] != "done"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer"), ResourceError),
        (RuntimeError("NCCL error: remote process exited"), ResourceError),
        (RuntimeError("size mismatch"), RuntimeError),
        (NotFiniteError("step 1: the store is nan"), NotFiniteError),
    ],
)
def test_a_collective_that_fails_is_one_line(
    error: Exception, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", Words)
    accelerator = SimpleNamespace(num_processes=2, process_index=0)
    with pytest.raises(kind) as caught:  # noqa: SIM117
        with joined(accelerator, 30.0):
            raise error
    assert type(caught.value) is kind
    if kind is ResourceError:
        assert str(caught.value).startswith("another of the 2 training processes has ended (")
        assert str(caught.value).endswith("--resume goes on from the last checkpoint")


def test_one_process_watches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_peers, "Peers", None)
    with joined(SimpleNamespace(num_processes=1), 30.0):
        pass


def _work(rank: int, folder: str) -> None:
    """Reduce together, over and over, as training does."""
    with open(Path(folder, f"error-{rank}"), "w") as errors:
        os.dup2(errors.fileno(), 2)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    accelerator: Any = SimpleNamespace(num_processes=2, process_index=rank)
    try:
        with joined(accelerator, 4.0):
            while True:
                dist.all_reduce(torch.ones(1))
                Path(folder, f"started-{rank}").touch()
                time.sleep(0.01)
    except ResourceError as error:
        Path(folder, f"told-{rank}").write_text(str(error))
        os._exit(1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_or_stopped_does_not_hold_the_other(
    number: int, tmp_path: Path
) -> None:
    pair = [FORKED.Process(target=_work, args=(rank, str(tmp_path))) for rank in (0, 1)]
    for process in pair:
        process.start()
    try:
        while not all((tmp_path / f"started-{rank}").exists() for rank in (0, 1)):
            assert all(process.is_alive() for process in pair)
            time.sleep(0.01)
        assert pair[1].pid is not None
        os.kill(pair[1].pid, number)
        pair[0].join(60)
        assert pair[0].exitcode == 1
    finally:
        for process in pair:
            process.kill()
            process.join()
    if number == signal.SIGKILL:
        told = (tmp_path / "told-0").read_text()
        assert told.startswith("another of the 2 training processes has ended (")
    else:
        assert (tmp_path / "error-0").read_text() == (
            f"fsr train: error: {lost_line([1], 2, 4.0)}\n"
        )
