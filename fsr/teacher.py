"""The teacher: an exponential moving average (EMA) of the student, never trained itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, cast, overload

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from fsr._core.checks import check_between
from fsr._core.matched import Pairs, match_networks

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, Protocol, Self, TypeVar

    Network = TypeVar("Network", bound=nn.Module, default=nn.Module, covariant=True)
    Arguments = ParamSpec("Arguments")
    Result = TypeVar("Result", covariant=True)

    class _Averaging(Protocol[Arguments, Result]):
        """A teacher of a module that is called with such arguments and returns such a result."""

        @property
        def module(self) -> Callable[Arguments, Result]: ...
else:
    from typing import TypeVar

    # Without the default, which Python has from 3.13 on only.
    Network = TypeVar("Network", bound=nn.Module, covariant=True)


class EMATeacher(nn.Module, Generic[Network]):
    r"""Copy of a student whose weights follow it, :math:`\theta_t = m\theta_t + (1-m)\theta_s`.

    The copy runs without gradient and in eval mode whatever is asked of it: a parent's ``train()``
    does not wake it, so dropout and DropPath add no noise to its targets. Parameters are averaged,
    frozen ones included, and buffers copied. Parameters other than floating point are copied too.

    To a type checker it is generic over the network, ``EMATeacher[SingleStageSegmenter]``, and its
    calls return what the network's do.

    A half-precision teacher does not move at a momentum near 1, as the change is below the spacing
    of its numbers: keep the student in float32 (under autocast) or call ``teacher.float()``.

    Args:
        student: network to follow, plain, in ``DistributedDataParallel`` or compiled. It is copied.
        momentum: m in [0, 1], or a function of the step such as :func:`fsr.schedules.cosine`.

    Attributes:
        module: the averaged network, unwrapped.

    Raises:
        TypeError: ``student`` is no module or ``momentum`` neither number nor function.
        ValueError: ``momentum`` is outside [0, 1].

    Source:
        Section "Implementation Details"; Tarvainen and Valpola, "Mean teachers are better role
        models", NeurIPS 2017.

    Example:
        >>> student = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.ones_(student.weight)
        >>> teacher = EMATeacher(student, momentum=0.75)
        >>> _ = nn.init.zeros_(student.weight)
        >>> teacher.update(student)
        >>> teacher(torch.ones(1, 2))
        tensor([[1.5000]])
    """

    @overload
    def __init__(
        self: EMATeacher[nn.Module],
        student: DistributedDataParallel | DataParallel[Any],
        momentum: float | Callable[[int], float] = 0.9995,
    ) -> None: ...

    @overload
    def __init__(
        self, student: Network, momentum: float | Callable[[int], float] = 0.9995
    ) -> None: ...

    def __init__(
        self, student: nn.Module, momentum: float | Callable[[int], float] = 0.9995
    ) -> None:
        super().__init__()
        if not isinstance(student, nn.Module):
            raise TypeError(f"student: expected a module, got {type(student).__name__}")
        if not callable(momentum):
            check_between("momentum", momentum, 0.0, 1.0)
        self.momentum = momentum
        # What is inside a wrapper is of the type that the overloads promise.
        self.module: Network = copy.deepcopy(cast("Network", unwrap(student)))
        self.module.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever ``mode`` says; return the teacher."""
        super().train(False)
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the averaged network returns, without gradient and in eval mode."""
        if self.module.training:  # somebody reached inside: teacher.module.train()
            self.module.eval()
        with torch.no_grad():
            return self.module(*args, **kwargs)

    if TYPE_CHECKING:

        def __call__(  # noqa: D102 - its documentation is that of forward
            self: _Averaging[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
        ) -> Result: ...

    def update(self, student: nn.Module, step: int = 0) -> None:
        """Move towards the student; call it once after every optimiser step.

        Momentum 0 copies the student's parameters and 1 leaves the teacher's as they are, exactly.

        Args:
            student: the network that this teacher was made from, however wrapped.
            step: what a momentum given as a function is called with.

        Raises:
            TypeError: ``student`` is no module or the momentum at this step no number.
            ValueError: the momentum at this step is outside [0, 1], or names of parameters or
                buffers differ between student and teacher.
            ShapeError: a shape differs.
        """
        if not isinstance(student, nn.Module):
            raise TypeError(f"student: expected a module, got {type(student).__name__}")
        momentum = self.momentum
        if callable(momentum):
            momentum = momentum(step)
            check_between(f"momentum at step {step}", momentum, 0.0, 1.0)
        matched = match_networks(self.module, unwrap(student))
        averaged = [pair for pair in matched.parameters if pair[0].is_floating_point()]
        copied = [pair for pair in matched.parameters if not pair[0].is_floating_point()]
        copied += matched.buffers
        with torch.no_grad():
            _average(averaged, momentum)
            _copy(copied)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"momentum={self.momentum}"


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside data-parallel and ``torch.compile`` wrappers.

    Args:
        model: a module, wrapped any number of times or not at all.

    Example:
        >>> inner = nn.Linear(2, 1)
        >>> unwrap(torch.compile(inner)) is inner
        True
    """
    while True:
        compiled = getattr(model, "_orig_mod", None)
        if isinstance(compiled, nn.Module):
            model = compiled
        elif isinstance(model, (DistributedDataParallel, DataParallel)):
            model = model.module
        else:
            return model


def _average(pairs: Pairs, momentum: float) -> None:
    """Move the first of each pair towards the second, one fused call per device and dtype."""
    # The two ends are exact, and NaN on the side that has no weight must not come through.
    if momentum == 1.0:
        return
    if momentum == 0.0:
        _copy(pairs)
        return
    groups: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
    for own, other in pairs:
        ours, theirs = groups.setdefault((own.device, own.dtype), ([], []))
        ours.append(own)
        same = other.dtype == own.dtype and other.device == own.device
        theirs.append(other if same else other.to(own))
    for ours, theirs in groups.values():
        torch._foreach_lerp_(ours, theirs, 1.0 - momentum)


def _copy(pairs: Pairs) -> None:
    """Copy the second of each pair into the first."""
    if pairs:
        torch._foreach_copy_([own for own, _ in pairs], [other for _, other in pairs])
