"""Whether timm's weights can be had: they are here, or the hub that holds them answers."""

from __future__ import annotations

import os
import socket
import time
import urllib.request
from urllib.parse import urlsplit

from timm.models import get_pretrained_cfg

HUB = "https://huggingface.co"
# The names that timm looks for, in its order.
FILES = ("model.safetensors", "pytorch_model.bin")
SECONDS = 5.0


def check_weights_at_hand(name: str) -> None:
    """Raise unless the weights of a model are in the cache or the hub takes a connection.

    One short attempt: the hub's own client tries for a minute and a half before it gives up.

    Args:
        name: a timm name, with or without a tag.

    Raises:
        ConnectionError: they would have to be fetched, and the hub cannot be reached.
    """
    config = get_pretrained_cfg(name, allow_unregistered=True)
    repository = getattr(config, "hf_hub_id", None)
    if not repository or getattr(config, "file", None) or _cached(repository, config):
        return
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        raise ConnectionError(_refusal(name, "HF_HUB_OFFLINE is set"))
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    fault = connection_fault(endpoint)
    if fault:
        raise ConnectionError(_refusal(name, f"{urlsplit(endpoint).hostname}: {fault}"))


def connection_fault(url: str, seconds: float = SECONDS) -> str:
    """Return why a server, or the proxy before it, takes no connection; empty if it does.

    Args:
        url: address of the server.
        seconds: how long all attempts together may take.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    fault, until = "no address", time.monotonic() + seconds
    try:
        addresses = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return str(error.strerror or error)
    for family, kind, protocol, _, address in addresses:
        left = until - time.monotonic()
        if left <= 0:
            break
        with socket.socket(family, kind, protocol) as attempt:
            attempt.settimeout(left)
            try:
                attempt.connect(address)
            except OSError as error:
                fault = str(error.strerror or error)
            else:
                return ""
    return fault


def _cached(repository: str, config: object) -> bool:
    """Whether the hub's client has the weights on disk."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:  # timm then takes them from elsewhere
        return True
    repository, _, revision = repository.partition("@")
    named = getattr(config, "hf_hub_filename", None)
    found = (
        try_to_load_from_cache(repository, file, revision=revision or None)
        for file in ((named,) if named else FILES)
    )
    return any(isinstance(path, str) for path in found)


def _refusal(name: str, fault: str) -> str:
    return (
        f"pretrained: timm's weights of {name!r} are not on this machine and cannot be fetched "
        f"({fault}); give a file of them, or False for random weights"
    )
