"""What a part of the objective reads at a step: heads of the networks by view, and CAMs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from fsr.presets import CAMSource
from fsr.segmenter import HEADS


@dataclass(frozen=True)
class Needs:
    """Heads and CAMs that something reads; ``a | b`` is what both read.

    Args:
        student: heads of the student's training forward by view, counted from 1, such as
            ``{1: ("tokens",)}``; names are those of :class:`fsr.segmenter.SegmenterOutput`, and of
            the heads that the network has for a method.
        teacher: heads of the teacher's forward by view; it sees whole views.
        cams: sources of class activation maps. What a reused pass must give for them is added by
            :meth:`complete`.

    Raises:
        ValueError: a head is no name; whether the network has it, a step checks.

    Example:
        >>> both = Needs(student={1: ("tokens",)}) | Needs(student={1: ("tokens", "segmentation")})
        >>> both.student
        {1: ('segmentation', 'tokens')}
    """

    student: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    teacher: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    cams: tuple[CAMSource, ...] = ()

    def __post_init__(self) -> None:
        for name in ("student", "teacher"):
            for heads in getattr(self, name).values():
                if isinstance(heads, str) or not all(isinstance(head, str) for head in heads):
                    raise ValueError(f"{name}: expected names of heads, got {heads!r}")

    def __or__(self, other: Needs) -> Needs:
        """Return what both read."""
        return Needs(
            student=_joined(self.student, other.student),
            teacher=_joined(self.teacher, other.teacher),
            cams=tuple(dict.fromkeys((*self.cams, *other.cams))),
        )

    def complete(self) -> Needs:
        """Return the needs with the heads that reused CAMs take from the step's own forwards."""
        whole = self
        for source in self.cams:
            if source.reuse:
                heads = {source.view: (source.head,)}
                whole |= (
                    Needs(student=heads) if source.network == "student" else Needs(teacher=heads)
                )
        return whole

    @property
    def views(self) -> frozenset[int]:
        """The views that anything reads."""
        return frozenset({*self.student, *self.teacher, *(source.view for source in self.cams)})

    @property
    def of_teacher(self) -> bool:
        """Whether anything reads the teacher."""
        return bool(self.teacher) or any(source.network == "teacher" for source in self.cams)


def _joined(
    first: Mapping[int, tuple[str, ...]], second: Mapping[int, tuple[str, ...]]
) -> dict[int, tuple[str, ...]]:
    """Join heads by view, in the order in which a network computes them."""
    wanted = {
        view: {*first.get(view, ()), *second.get(view, ())} for view in sorted({*first, *second})
    }
    return {view: in_order(heads) for view, heads in wanted.items()}


def in_order(heads: Collection[str]) -> tuple[str, ...]:
    """Return heads in the order in which a network computes them: its own after the standard ones.

    Example:
        >>> in_order({"affinity", "segmentation", "tokens"})
        ('segmentation', 'tokens', 'affinity')
    """
    standard = [head for head in HEADS if head in heads]
    return (*standard, *sorted(set(heads) - set(standard)))
