"""Whether what a run has learned is finite: looked at before it is written, or scored."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fsr.errors import NotFiniteError


def check_finite_state(step: int, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Raise if a tensor holds NaN or infinity.

    Args:
        step: number of completed steps, for the message.
        states: tensors by name, by what they are of.

    Raises:
        NotFiniteError: with the first tensor that does, and how many there are.

    Example:
        >>> check_finite_state(3, {"student": {"weight": torch.tensor([1.0, float("nan")])}})
        Traceback (most recent call last):
        fsr.errors.NotFiniteError: step 3: weight of the student is not finite
    """
    for part, tensors in states.items():
        bad = not_finite(tensors)
        if bad:
            more = f", and so are {len(bad) - 1} more of it" if len(bad) > 1 else ""
            raise NotFiniteError(f"step {step}: {bad[0]} of the {part} is not finite{more}")


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity.

    Example:
        >>> not_finite({"a": torch.ones(2), "b": torch.tensor(float("inf")), "c": torch.arange(2)})
        ['b']
    """
    floating = {name: value for name, value in tensors.items() if value.is_floating_point()}
    # NaN and infinity survive a sum: one pass and one answer for each, and most are done with.
    sums = [value.detach().sum(dtype=torch.float32).cpu() for value in floating.values()]
    if not sums or bool(torch.isfinite(torch.stack(sums)).all()):
        return []
    return [name for name, value in floating.items() if not bool(torch.isfinite(value).all())]
