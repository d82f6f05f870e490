"""What makes the results of a folder of predictions, as plain data for the record beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fsr._core.spelled import describe
from fsr.inference._prediction_options import PredictionOptions
from fsr.inference._provenance import (
    file_hash,
    fingerprint,
    structure_hash,
    versions,
    weights_hash,
)
from fsr.inference._tiling import check_tiles

_PRECISIONS = {None: "none", torch.bfloat16: "bf16", torch.float16: "fp16"}


def prediction_settings(options: PredictionOptions) -> dict[str, Any]:
    """Return the options that change a result, and the versions.

    Example:
        >>> settings = prediction_settings(PredictionOptions(tile=512))
        >>> settings["tile"], settings["max_size"], settings["autocast"]
        ([512, 128], None, 'none')
    """
    tiles = check_tiles(options.tile, options.tile_overlap)
    crf: Any = options.crf
    found: dict[str, Any] = {
        "scales": list(options.scales),
        "flip": options.flip,
        "max_size": options.max_size if tiles is None else None,
        "orient": options.orient,
        "crf": None if crf is None else describe(getattr(crf, "crf", crf)),
        "autocast": _PRECISIONS.get(options.autocast, str(options.autocast)),
        "versions": versions(),
    }
    # Folders of earlier releases have no such settings.
    unusual = {"background": "white", "bits": None, "reduce": "max_logits"}
    changed = {name: getattr(options, name) for name in unusual}
    found |= {name: value for name, value in changed.items() if value != unusual[name]}
    return found if tiles is None else {**found, "tile": list(tiles)}


def made_by_file(checkpoint: Path, labels: str | None) -> dict[str, Any]:
    """Return what the settings say of a network in a file and of image-level labels.

    Args:
        checkpoint: file of the network.
        labels: digest of the labels, None without.
    """
    return {
        "labels": labels,
        "checkpoint": str(checkpoint.resolve()),
        "checkpoint_sha256": file_hash(checkpoint),
    }


def made_by_network(network: nn.Module, labels: str | None) -> dict[str, Any]:
    """Return the same of a network in memory: a digest of its weights and of its form."""
    digest = fingerprint([weights_hash(network), structure_hash(network)])
    return {"labels": labels, "checkpoint": None, "checkpoint_sha256": digest}


def labels_digest(options: PredictionOptions) -> str | None:
    """Return a digest of image-level labels by name, None without.

    Example:
        >>> labels_digest(PredictionOptions()) is None
        True
        >>> one, other = ({"a.jpg": [name]} for name in ("cat", "dog"))
        >>> digests = [labels_digest(PredictionOptions(labels=given)) for given in (one, other)]
        >>> digests[0] == digests[1]
        False
    """
    if options.labels is None:
        return None
    plain = {
        str(key): value.tolist() if isinstance(value, Tensor) else list(value)
        for key, value in options.labels.items()
    }
    return fingerprint([plain, list(options.class_names or ())])
