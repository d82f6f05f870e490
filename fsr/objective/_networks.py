"""What the training objective asks of its two networks."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fsr._core.modes import eval_mode
from fsr.aggregation import MaskedCrossAttentionAggregator, Masking
from fsr.segmenter import SegmenterOutput, SingleStageSegmenter

_log = logging.getLogger(__name__)


def set_masking(network: nn.Module, masking: Masking) -> None:
    """Make a network's aggregator treat masked tokens as asked; others have no such choice."""
    aggregator = getattr(network, "aggregator", None)
    if isinstance(aggregator, MaskedCrossAttentionAggregator) and aggregator.masking != masking:
        _log.info("masking of the aggregator: %r instead of %r", masking, aggregator.masking)
        aggregator.masking = masking


def given(output: SegmenterOutput, heads: Iterable[str]) -> dict[str, Tensor]:
    """Return the heads that were asked for by name, or raise if the network left one out."""
    named = {name: getattr(output, name) for name in heads}
    for name, value in named.items():
        if value is None:
            raise ValueError(f"student, teacher: expected a head {name!r}, got None")
    return named


def projection_width(network: SingleStageSegmenter) -> int:
    """Return the width K of a network's projections, whatever kind of projector it has."""
    width = getattr(network.projector, "out_dim", None)
    if isinstance(width, int):
        return width
    weight = network.classifier.weight
    with torch.no_grad(), eval_mode(network.projector):
        projected: Tensor = network.projector(weight.new_zeros(1, 2, weight.shape[1]))
    return projected.shape[-1]
