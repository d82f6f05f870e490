"""What the training objective asks of its two networks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from fsr._core.modes import eval_mode
from fsr.aggregation import MaskedCrossAttentionAggregator, Masking
from fsr.objective._needs import Needs, in_order
from fsr.segmenter import SegmenterOutput, SingleStageSegmenter
from fsr.teacher import unwrap

_log = logging.getLogger(__name__)


def set_masking(network: nn.Module, masking: Masking) -> None:
    """Make a network's aggregator treat masked tokens as asked; others have no such choice."""
    aggregator = getattr(network, "aggregator", None)
    if isinstance(aggregator, MaskedCrossAttentionAggregator) and aggregator.masking != masking:
        _log.info("masking of the aggregator: %r instead of %r", masking, aggregator.masking)
        aggregator.masking = masking


def given(output: SegmenterOutput, heads: Iterable[str]) -> dict[str, Tensor]:
    """Return the heads that were asked for by name, or raise if the network left one out."""
    named: dict[str, Tensor] = {}
    for name in heads:
        try:
            named[name] = output.head(name)
        except ValueError:
            raise ValueError(f"student, teacher: expected a head {name!r}, got None") from None
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
        views: normalised images of all views, ``(B, 3, height, width)`` each; those that are read
            are of one shape.
        heads_by_view: what to return, by view from 1.
        masks: patches that are hidden, ``(B, H, W)`` boolean, by view; others are seen whole.

    Raises:
        ValueError: the network leaves a head out.
    """
    numbers = sorted(heads_by_view)
    batch = len(views[numbers[0] - 1])
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


def check_networks(
    term: str, needs: Needs, network: SingleStageSegmenter, *, teacher: bool
) -> None:
    """Raise if a network lacks what a term reads.

    Args:
        term: name of the term.
        needs: what it reads.
        network: the unwrapped student.
        teacher: whether there is a teacher.

    Raises:
        ValueError: with the name of the term, and of what is missing.
    """
    if needs.of_teacher and not teacher:
        raise ValueError(
            f"teacher: expected EMATeacher(student, ...), as the term {term!r} reads one, got None"
        )
    read: set[str] = set()
    for heads in (*needs.student.values(), *needs.teacher.values()):
        read.update(heads)
    for head in sorted(read - set(network.head_names)):
        raise ValueError(
            f"student: the term {term!r} reads a head {head!r}, which the network does not have; "
            f"it has {', '.join(network.head_names)}"
        )
    if any(source.layer == "auxiliary" for source in needs.cams) and network.aux_classifier is None:
        raise ValueError(
            f"student: the term {term!r} reads CAMs of the auxiliary layer, but the network was "
            "built without aux_class_logits"
        )


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
    for head in in_order({head for heads in heads_by_view.values() for head in heads}):
        places = [place for place, view in enumerate(views) if head in heads_by_view[view]]
        if places:
            rows[head] = slice(places[0] * batch, (places[-1] + 1) * batch)
    return rows


def projection_width(network: SingleStageSegmenter) -> int:
    """Return the width K of a network's projections, whatever kind of projector it has."""
    width = getattr(network.projector, "out_dim", None)
    if isinstance(width, int):
        return width
    if network.projector is None:
        raise ValueError("student: expected a projector, got a network built without projections")
    weight = network.classifier.weight
    with torch.no_grad(), eval_mode(network.projector):
        projected: Tensor = network.projector(weight.new_zeros(1, 2, weight.shape[1]))
    return projected.shape[-1]


def plain_segmenter(student: nn.Module) -> SingleStageSegmenter:
    """Return the segmenter inside a wrapper such as DDP, or itself.

    Raises:
        TypeError: it is another module.
    """
    network = unwrap(student)
    if not isinstance(network, SingleStageSegmenter):
        raise TypeError(f"student: expected a SingleStageSegmenter, got {type(network).__name__}")
    return network
