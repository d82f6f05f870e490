"""The heads of the segmenter: their names, what a forward returns, and which of them to compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

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
# To a type checker names are those of the standard heads; one of a method's own is a plain string.
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

    def head(self, name: str) -> Tensor:
        """Return a head by its name, a standard one or one of a method.

        Raises:
            ValueError: it was not asked for.
        """
        return _given(name, getattr(self, name, None))

    def __repr__(self) -> str:
        return shown(self)


class MethodOutput(NamedTuple):
    """What a forward of a network with heads of a method's own returns: one field more.

    Attributes:
        class_logits: as of :class:`SegmenterOutput`, and so on to ``grid``.
        aux_class_logits: likewise.
        segmentation: likewise.
        tokens: likewise.
        aux_tokens: likewise.
        projections: likewise.
        grid: likewise.
        extra: the further heads that were asked for, by name.
    """

    class_logits: Tensor | None
    aux_class_logits: Tensor | None
    segmentation: Tensor | None
    tokens: Tensor | None
    aux_tokens: Tensor | None
    projections: Tensor | None
    grid: tuple[int, int]
    extra: dict[str, Tensor]

    def head(self, name: str) -> Tensor:
        """Return a head by its name; see :meth:`SegmenterOutput.head`."""
        return _given(name, self.extra.get(name, getattr(self, name, None)))

    def __repr__(self) -> str:
        return shown(self)


def _given(name: str, value: Tensor | None) -> Tensor:
    """Return a head's value, or raise if it was not asked for."""
    if not isinstance(value, Tensor):
        raise ValueError(f"name: expected a head that was asked for, got {name!r}")
    return value


def slices_by_head(outputs: Wanted, known: Sequence[str] = HEADS) -> dict[str, slice]:
    """Return the slice of the batch for every head asked for.

    Args:
        outputs: names, or slices by name; None asks for all.
        known: names of the heads that the network has.
    """
    if outputs is None:
        return dict.fromkeys(known, slice(None))
    if isinstance(outputs, str) or not isinstance(outputs, Iterable):
        raise TypeError(f"outputs: expected names of heads in a sequence, got {outputs!r}")
    asked: Any = outputs  # names of a method's own heads are no literals
    whole = slice(None)
    wanted: dict[str, slice] = {
        name: outputs[name] if isinstance(outputs, Mapping) else whole for name in asked
    }
    for name, part in wanted.items():
        check_choice("outputs", name, known)
        if not isinstance(part, slice):
            raise TypeError(f"outputs[{name!r}]: expected a slice of the batch, got {part!r}")
    return wanted
