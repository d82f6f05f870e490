"""Modules whose calls have a type: that of their ``forward``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, Protocol, TypeVar

    Arguments = ParamSpec("Arguments")
    Result = TypeVar("Result", covariant=True)

    class _HasForward(Protocol[Arguments, Result]):
        """A module with such a forward."""

        def forward(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result: ...


class TypedModule(nn.Module):
    """A module; to a type checker, a call of it takes and returns what its ``forward`` does.

    torch leaves the type of calls open. At run time this class adds nothing.

    Example:
        >>> import torch
        >>> class Double(TypedModule):
        ...     def forward(self, x: torch.Tensor) -> torch.Tensor:
        ...         return 2 * x
        >>> Double()(torch.ones(1))
        tensor([2.])
    """

    if TYPE_CHECKING:

        def __call__(
            self: _HasForward[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
        ) -> Result: ...
