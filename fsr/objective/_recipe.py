"""A training recipe as data: which terms, what they weigh when, and which views are masked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fsr._core.checks import check_between, check_positive_int
from fsr.aggregation import Masking
from fsr.objective._needs import Needs
from fsr.objective._part import Part, Term
from fsr.schedules import Schedule, switch


@dataclass(frozen=True)
class Weighted:
    """A term, what it weighs and from when on; at weight 0 it costs nothing.

    Args:
        term: the term.
        weight: its weight in the total, or a function of the step.
        start: fraction of the run before which the weight is 0.

    Raises:
        TypeError: ``term`` is no :class:`Term`, or a number is none.
        ValueError: ``start`` is outside [0, 1].

    Example:
        >>> from fsr.objective import terms
        >>> weight = Weighted(terms.Classification(), weight=0.5, start=0.1).schedule(1000)
        >>> weight(99), weight(100)
        (0.0, 0.5)
    """

    term: Term
    weight: float | Schedule = 1.0
    start: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.term, Term):
            raise TypeError(f"term: expected a Term, got {type(self.term).__name__}")
        if not callable(self.weight):
            check_between("weight", self.weight, float("-inf"), float("inf"), inclusive=False)
        check_between("start", self.start, 0.0, 1.0)

    def schedule(self, total_steps: int) -> Schedule:
        """Return the weight as a function of the step."""
        weight, begin = self.weight, round(self.start * total_steps)
        if not callable(weight):
            return switch(0.0, weight, begin)
        return lambda step: weight(step) if step >= begin else 0.0


@dataclass(frozen=True)
class Recipe:
    """Everything that makes one objective: plain data to print, change and hand over.

    Args:
        name: what to call it.
        terms: the terms by name; they are summed in this order.
        masks: parts that say which patches of a view the student does not see, by view from 1; a
            mask is made at the steps at which a term reads the student's side of that view.
        masking: how the aggregators of both networks treat masked tokens; None leaves them.
        total_steps: length of the run, of which phases are fractions.
        shown: what to report of every step, by name: functions of the step.
        renamed: keys of the state as an earlier release wrote them, to those of now.
        views: parts that make further views out of what a step has, by number from 2: normalised
            images ``(B', 3, h, w)`` of any size and number, which the student forwards by
            themselves. A step that is given a view of that number takes the one given.
        offers: what the encoder must offer, see :func:`fsr.backbone.check_offers`.

    Raises:
        ValueError: ``total_steps`` is below 1.

    Example:
        >>> from fsr.objective import terms
        >>> recipe = Recipe("labels alone", {"classification": Weighted(terms.Classification())})
        >>> recipe.add(Weighted(terms.AuxiliaryClassification(), weight=0.5, start=0.1)).names
        ('classification', 'auxiliary')
    """

    name: str
    terms: Mapping[str, Weighted]
    masks: Mapping[int, Part] = field(default_factory=dict)
    masking: Masking | None = None
    total_steps: int = 20_000
    shown: Mapping[str, Callable[[int], Any]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[int, Part] = field(default_factory=dict)
    offers: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_positive_int("total_steps", self.total_steps)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the terms, in the order of the sum."""
        return tuple(self.terms)

    def add(self, *terms: Weighted | Term) -> Recipe:
        """Return the recipe with further terms at the end.

        Args:
            terms: terms with their weights, or alone for weight 1.

        Raises:
            ValueError: a term has no name, or one that the recipe has already.
        """
        joined = dict(self.terms)
        for each in terms:
            weighted = each if isinstance(each, Weighted) else Weighted(each)
            name = weighted.term.name
            if not name.isidentifier() or name in joined:
                taken = ", ".join(joined)
                raise ValueError(
                    f"terms: expected a name that is an identifier and none of {taken}, "
                    f"got {name!r}"
                )
            joined[name] = weighted
        return replace(self, terms=joined)

    def made_views(self) -> dict[int, Part]:
        """Return the parts that make further views: those of the terms, then the recipe's own."""
        found: dict[int, Part] = {}
        for name, each in self.terms.items():
            for view, part in each.term.made_views().items():
                if found.setdefault(view, part) is not part:
                    raise ValueError(
                        f"views: expected one part for view {view}, the term {name!r} has another"
                    )
        return {**found, **self.views}

    def schedules(self) -> dict[str, Schedule]:
        """Return the weight of each term as a function of the step."""
        return {name: each.schedule(self.total_steps) for name, each in self.terms.items()}


def needs_of(recipe: Recipe, weights: Mapping[str, Schedule]) -> dict[str, Needs]:
    """Return what each term reads at the first and at the last step, masks of its views included.

    Args:
        recipe: the recipe.
        weights: weight of each term by step; at weight 0 it reads nothing.
    """
    found, made = dict.fromkeys(recipe.terms, Needs()), recipe.made_views()
    for step in (0, recipe.total_steps):
        for name, each in recipe.terms.items():
            needs = each.term.needs(step) if weights[name](step) != 0 else Needs()
            for view in needs.student:
                for part in (recipe.masks.get(view), made.get(view)):
                    needs |= Needs() if part is None else part.needs(step)
            found[name] |= needs.complete()
    return found
