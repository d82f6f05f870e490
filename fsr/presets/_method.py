"""What every method's settings say of a run, whatever the method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar, get_args

from fsr.presets._ranges import check_settings
from fsr.schedules import Schedule

#: What a step of a method is given: two views; one; a padded crop with its box, alone or with a
#: second view beside; or a padded crop with its mask.
Views = Literal["two", "one", "padded", "padded_and_second", "labelled"]
VIEWS: tuple[Views, ...] = get_args(Views)

Settings = TypeVar("Settings", bound="Method")


class Method:
    """Base of the settings of a method: a frozen dataclass of constants, phases and weights.

    A subclass is a ``dataclass(frozen=True)`` with ``name`` first and ``total_steps`` last, whose
    fields are its own; its recipe registers with :func:`fsr.objective.build_recipe`, and
    :func:`register_method` gives it its name. Phases are fractions of ``total_steps``: a field
    whose name is in ``phases``.

    Attributes:
        title: what the method is called, with authors, venue and year.
        offers: what the encoder must offer, see :func:`fsr.backbone.check_offers`.
        views: what a step is given.
        teacher: whether it reads an averaged teacher.
        stages: 1 for a method that trains a segmenter, 2 for one whose network gives labels for a
            second training.
        class_tokens: whether the encoder has one class token for each class.
        phases: fields that are fractions of the run.

    Example:
        >>> from fsr.presets import get_method
        >>> get_method("fast").views, get_method("fast").stages
        ('two', 1)
    """

    name: str
    total_steps: int
    drop_path_rate: float = 0.0

    title: ClassVar[str] = ""
    offers: ClassVar[frozenset[str]] = frozenset()
    views: ClassVar[Views] = "two"
    teacher: ClassVar[bool] = False
    stages: ClassVar[Literal[1, 2]] = 1
    class_tokens: ClassVar[bool] = False
    phases: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_settings(self, self.phases)

    def heads(self) -> Mapping[str, Any]:
        """Return the heads that the network is built with, by name."""
        return {}

    def backbone_options(self) -> Mapping[str, Any]:
        """Return options of the encoder that the method needs, which a run's own go before."""
        if "class_token" in self.offers:
            return {"class_token": True, "global_pool": "token"}
        return {}

    def resolve(
        self,
        total_steps: int | None = None,
        *,
        momentum: float | Callable[[int], float] | None = None,
    ) -> dict[str, int]:
        """Return the step at which each phase starts or ends, by field name.

        Args:
            total_steps: length of the run in steps; the method's own by default.
            momentum: the teacher's momentum, which phases of some methods wait for.
        """
        total = self.total_steps if total_steps is None else total_steps
        return {name: round(getattr(self, name) * total) for name in self.phases}

    def learning_rate_warmup_steps(self) -> int:
        """Return the steps of the learning rate's warm-up; 0 where the method has none."""
        return round(getattr(self, "learning_rate_warmup", 0.0) * self.total_steps)

    def momentum_schedule(self) -> Schedule | None:
        """Return the teacher's momentum as a function of the step; None without a teacher."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name, as plain data."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    def shortened(self: Settings) -> Settings:
        """Return the settings as a run of their length takes them where nobody sets them."""
        return self

    def per_micro_batch(self: Settings, accumulation: int) -> Settings:
        """Return the settings with every pace per step as one per micro-batch."""
        return self


METHODS: dict[str, Method] = {}


def register_method(settings: Settings) -> Settings:
    """Make a method known by the name of its settings; return them.

    Raises:
        ValueError: the name is taken.
    """
    if settings.name in METHODS:
        raise ValueError(f"name: expected a new one, got {settings.name!r}, which is taken")
    METHODS[settings.name] = settings
    return settings
