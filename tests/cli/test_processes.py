"""Several processes of one command."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from fsr.cli._processes import join_processes


def test_a_command_started_alone_joins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with ExitStack() as stack:
        assert join_processes(stack) == 0
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(("cards", "backend"), [(True, "nccl"), (False, "gloo")])
def test_processes_of_torchrun_are_joined_and_left_at_the_end(
    cards: bool, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", calls.append)
    monkeypatch.setattr(
        torch.distributed, "destroy_process_group", lambda: calls.append("destroyed")
    )
    with ExitStack() as stack:
        assert join_processes(stack) == 1
        assert calls == ([backend, 1] if cards else [backend])
    assert calls[-1] == "destroyed"
