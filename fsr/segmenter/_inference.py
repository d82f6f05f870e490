"""What a trained segmenter is asked for: CAMs, probabilities and attention of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from fsr._core.checks import check_some
from fsr._core.modes import eval_mode
from fsr._core.numerics import like_weights
from fsr.segmenter._multiscale import (
    Reduction,
    multi_scale_cams,
    multi_scale_probabilities,
    raw_cams,
)
from fsr.segmenter._scales import check_multi_scale


def cams_of(
    network: Any, images: Tensor, scales: Sequence[float], flip: bool
) -> tuple[Tensor, Tensor]:
    """Final and auxiliary CAM of images; the network's mode is restored."""
    patch = network.backbone.patch_size
    scales = check_multi_scale(images, patch, scales, network.backbone.in_chans)
    check_some("images", images)
    images = like_weights("images", images, network.classifier.weight)
    with torch.no_grad(), eval_mode(network):
        raw = partial(raw_cams, network)
        final, auxiliary = multi_scale_cams(raw, [images], patch, scales, flip)[0]
    return final, auxiliary


def probabilities_of(
    network: Any, images: Tensor, scales: Sequence[float], flip: bool, reduce: Reduction
) -> Tensor:
    """Segmentation probabilities of images; the network's mode is restored."""

    def logits_of(scaled: Tensor) -> Tensor:
        logits: Tensor = network(scaled, outputs=("segmentation",)).head("segmentation")
        return logits

    if "segmentation" not in network.head_names:
        raise ValueError(
            "segmentation: expected a network with a decoder, got one that was built without; "
            "export its CAMs as labels and train a segmenter on them"
        )
    patch = network.backbone.patch_size
    scales = check_multi_scale(images, patch, scales, network.backbone.in_chans)
    check_some("images", images)
    images = like_weights("images", images, network.classifier.weight)
    with torch.no_grad(), eval_mode(network):
        return multi_scale_probabilities(logits_of, [images], patch, scales, flip, reduce)[0]


def attention_of(network: Any, images: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of the aggregated token on the patches; the network's mode is restored."""
    attention = getattr(network.aggregator, "attention_maps", None)
    if attention is None:
        raise ValueError(
            f"aggregator: expected one with attention_maps, got {type(network.aggregator).__name__}"
        )
    with torch.no_grad(), eval_mode(network):
        raw, _, grid = network.backbone(images, mask, aux_block=network.aux_block)
        weights: Tensor = attention(raw, None if mask is None else mask.flatten(1))
    return rearrange(weights, "... (h w) -> ... h w", h=grid[0])
