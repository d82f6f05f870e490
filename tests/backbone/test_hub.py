"""Weights that would have to be fetched where there is no network: said at once, with a way out."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from fsr._core.reachable import connection_fault
from fsr.backbone import ViTBackbone, _hub

NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", nothing)


def _closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
    return port


@pytest.mark.usefixtures("empty_cache")
def test_weights_out_of_reach_are_refused_before_any_download_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{_closed_port()}")
    monkeypatch.setattr(timm, "create_model", _only_unpretrained(timm.create_model))
    expected = rf"timm's weights of '{NAME}' are not on this machine .*\(127\.0\.0\.1: .*refused\)"
    with pytest.raises(ConnectionError, match=expected + r"; give a file of them, or False"):
        ViTBackbone(NAME, pretrained=True, image_size=32)


def _only_unpretrained(create: Any) -> Any:
    def checked(*args: Any, pretrained: bool = False, **kwargs: Any) -> Any:
        assert not pretrained, "a download is tried"
        return create(*args, pretrained=pretrained, **kwargs)

    return checked


@pytest.mark.usefixtures("empty_cache")
def test_the_hubs_own_switch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(_hub, "connection_fault", lambda url: pytest.fail("it is asked"))
    with pytest.raises(ConnectionError, match=r"\(HF_HUB_OFFLINE is set\)"):
        _hub.check_weights_at_hand(NAME)


def test_weights_that_are_here_ask_for_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def cached(repository: str, file: str, revision: str | None = None) -> str | None:
        asked.append((repository, file))
        return str(tmp_path / file) if file == "pytorch_model.bin" else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    monkeypatch.setattr(_hub, "connection_fault", lambda url: pytest.fail("it is asked"))
    _hub.check_weights_at_hand(NAME)
    assert asked == [(f"timm/{NAME}", "model.safetensors"), (f"timm/{NAME}", "pytorch_model.bin")]
    _hub.check_weights_at_hand("fsr_scenes_tiny")  # shipped with the package
    assert len(asked) == 2


def test_a_server_or_the_proxy_before_it_is_what_must_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        open_port, closed = server.getsockname()[1], _closed_port()
        assert connection_fault(f"http://127.0.0.1:{open_port}") == ""
        assert "refused" in connection_fault(f"http://127.0.0.1:{closed}")
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{open_port}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert connection_fault(f"http://127.0.0.1:{closed}") == ""
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert "refused" in connection_fault(f"http://127.0.0.1:{closed}")
    assert connection_fault("https://no-such-host.invalid") != ""


def test_a_file_that_the_options_name_needs_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(name: str) -> None:
        raise AssertionError("the hub is asked")

    monkeypatch.setattr("fsr.backbone._pretrained.check_weights_at_hand", unexpected)
    small = {"embed_dim": 16, "depth": 2, "num_heads": 2}
    source = timm.create_model("vit_tiny_patch16_224", **small)
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    overlay = {"file": str(path), "custom_load": False}
    options = {**small, "pretrained_cfg_overlay": overlay}
    found = ViTBackbone("vit_tiny_patch16_224", pretrained=True, image_size=224, options=options)
    weights = found.model.state_dict()["blocks.1.mlp.fc1.weight"]
    assert torch.equal(weights, source.state_dict()["blocks.1.mlp.fc1.weight"])
