"""The heads of the segmenter: their names, what a forward returns, and which of them to compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from fsr._core.checks import check_choice
from fsr._core.shown import shown

Head = Literal[
    "class_logits",
    "aux_class_logits",
    "segmentation",
    "tokens",
    "aux_tokens",
    "projections",
]
HEADS: tuple[Head, ...] = get_args(Head)
# Which heads to compute: all, some, or some for slices of the batch.
Wanted = Iterable[Head] | Mapping[Head, slice] | None


class SegmenterOutput(NamedTuple):
    """What one forward returns; heads that were not asked for are None.

    Attributes:
        class_logits: image-level logits of the final tokens, ``(B, C)``.
        aux_class_logits: image-level logits of the auxiliary tokens, ``(B, C)``.
        segmentation: logits at patch resolution, ``(B, C + 1, H, W)``, channel 0 background.
        tokens: patch tokens after the final norm, ``(B, N, D)``.
        aux_tokens: raw output of the auxiliary block, ``(B, N, D)``.
        projections: projector outputs, ``(B, 1 + N, K)``; row 0 is the aggregated token.
        grid: patch grid ``(H, W)``, ``H * W = N``.
    """

    class_logits: Tensor | None
    aux_class_logits: Tensor | None
    segmentation: Tensor | None
    tokens: Tensor | None
    aux_tokens: Tensor | None
    projections: Tensor | None
    grid: tuple[int, int]

    def __repr__(self) -> str:
        return shown(self)


def slices_by_head(outputs: Wanted) -> dict[Head, slice]:
    """Return the slice of the batch for every head asked for."""
    if outputs is None:
        return dict.fromkeys(HEADS, slice(None))
    if isinstance(outputs, str):
        raise TypeError(f"outputs: expected names of heads in a sequence, got {outputs!r}")
    wanted = dict(outputs) if isinstance(outputs, Mapping) else dict.fromkeys(outputs, slice(None))
    for name, part in wanted.items():
        check_choice("outputs", name, HEADS)
        if not isinstance(part, slice):
            raise TypeError(f"outputs[{name!r}]: expected a slice of the batch, got {part!r}")
    return wanted
