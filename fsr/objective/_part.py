"""What an objective is made of: parts that a step makes on first use, and terms among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fsr._core.module import TypedModule
from fsr.objective._needs import Needs

if TYPE_CHECKING:
    from fsr.objective._step import Step
    from fsr.segmenter import SingleStageSegmenter


class Part(TypedModule):
    """Something that a step derives from its views and networks, once, whoever asks for it.

    ``step.get(part)`` calls the part the first time and returns the same value afterwards, so a
    part that several terms hold is made once. Labels made from CAMs, masks and targets are parts.

    Example:
        >>> class Brightness(Part):
        ...     def forward(self, step):
        ...         return step.image(1).mean(dim=(1, 2, 3))
        >>> Brightness().needs(0)
        Needs(student={}, teacher={}, cams=())
    """

    def needs(self, number: int) -> Needs:
        """Return what the part reads of the networks at a step of the run; nothing by default."""
        return Needs()

    def check(self, network: SingleStageSegmenter) -> None:
        """Raise if a network cannot give what the part needs; called once, at construction.

        Raises:
            ValueError: it lacks something, which the message names.
        """

    def forward(self, step: Step) -> Any:
        """Return the part's value at a step."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method forward(step)")


class Term(Part):
    """A term of the training objective: a scalar made of what a step has at hand.

    A term names what it reads in :meth:`Part.needs` and knows no other term. The objective forwards
    each network once, on the union of what the terms with a weight read.

    Attributes:
        name: what the term is called in outputs and logs.

    Example:
        >>> class TokenNorm(Term):
        ...     name = "token_norm"
        ...
        ...     def needs(self, number):
        ...         return Needs(student={1: ("tokens",)})
        ...
        ...     def forward(self, step):
        ...         return step.student("tokens", view=1).square().mean()
        >>> TokenNorm().needs(0).student
        {1: ('tokens',)}
    """

    name: str = ""

    def made_views(self) -> Mapping[int, Part]:
        """Return the parts that make further views which the term reads, by number from 2."""
        return {}

    def forward(self, step: Step) -> Tensor:
        """Return the term at a step, a scalar."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method forward(step)")
