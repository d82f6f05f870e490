"""Whether timm's weights can be had: they are here, or the hub that holds them answers."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from timm.models import get_pretrained_cfg

from fsr._core.reachable import connection_fault

HUB = "https://huggingface.co"
# The names that timm looks for, in its order.
FILES = ("model.safetensors", "pytorch_model.bin")


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
