"""What the training objective asks of its two networks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from fsr._core.modes import eval_mode
from fsr.aggregation import MaskedCrossAttentionAggregator, Masking
from fsr.segmenter import HEADS, SegmenterOutput, SingleStageSegmenter

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


def forward_views(
    network: nn.Module,
    views: Sequence[Tensor],
    heads_by_view: Mapping[int, tuple[str, ...]],
    masks: Mapping[int, Tensor] | None = None,
) -> dict[tuple[str, int], Tensor]:
    """Forward a network once on the views that heads are read of; return these by name and view.

    Args:
        network: a segmenter, however wrapped, or its teacher.
        views: normalised images of all views, ``(B, 3, height, width)`` each.
        heads_by_view: what to return, by view from 1.
        masks: patches that are hidden, ``(B, H, W)`` boolean, by view; others are seen whole.

    Raises:
        ValueError: the network leaves a head out.
    """
    numbers, batch = sorted(heads_by_view), len(views[0])
    rows = slices(heads_by_view, batch)
    arguments = [torch.cat([views[number - 1] for number in numbers])]
    if masks:
        whole = torch.zeros_like(next(iter(masks.values())))
        arguments.append(torch.cat([masks.get(number, whole) for number in numbers]))
    output = given(network(*arguments, outputs=rows), rows)
    parts = {}
    for place, number in enumerate(numbers):
        for head in heads_by_view[number]:
            start = place * batch - rows[head].start
            value = output[head]
            parts[head, number] = value if len(value) == batch else value[start : start + batch]
    return parts


def slices(heads_by_view: Mapping[int, tuple[str, ...]], batch: int) -> dict[str, slice]:
    """Return for each head the rows of the joined batch to compute it for, in the heads' order.

    Args:
        heads_by_view: heads by view; the views are joined in ascending order.
        batch: images of one view, B.

    Example:
        >>> slices({1: ("tokens",), 2: ("tokens", "projections")}, batch=4)
        {'tokens': slice(0, 8, None), 'projections': slice(4, 8, None)}
    """
    views = sorted(heads_by_view)
    rows: dict[str, slice] = {}
    for head in HEADS:
        places = [place for place, view in enumerate(views) if head in heads_by_view[view]]
        if places:
            rows[head] = slice(places[0] * batch, (places[-1] + 1) * batch)
    return rows


def projection_width(network: SingleStageSegmenter) -> int:
    """Return the width K of a network's projections, whatever kind of projector it has."""
    width = getattr(network.projector, "out_dim", None)
    if isinstance(width, int):
        return width
    weight = network.classifier.weight
    with torch.no_grad(), eval_mode(network.projector):
        projected: Tensor = network.projector(weight.new_zeros(1, 2, weight.shape[1]))
    return projected.shape[-1]
