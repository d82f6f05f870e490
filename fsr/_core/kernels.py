"""Triton, for the files that hold kernels; they can be imported without it, but not run.

Kernels are written with the built-in operations of ``tl`` alone. Those of its library, such as
``tl.zeros``, are kernels themselves, and run in Triton's interpreter only where it was on when
Triton was first imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triton import language as tl
else:
    try:
        from triton import language as tl
    except ImportError:
        tl = None

__all__ = ["jit", "tl"]


def jit(function: Callable[..., Any]) -> Any:
    """Return a function as a kernel, to be started as ``kernel[grid](...)``; without Triton as is.

    Example:
        >>> @jit
        ... def nothing() -> None:
        ...     pass
        >>> nothing.__name__
        'nothing'
    """
    if tl is None:
        return function
    import triton

    return triton.jit(function)
