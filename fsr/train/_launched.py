"""A step that a device may still be at: its numbers are read when they have come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fsr.errors import NotFiniteError

SCALE = "loss scale"
# Steps in a row that fp16 skips: from 65536 down to here it has halved its scale 36 times.
LEAST_SCALE = 2.0**-20


class Numbers:
    """Numbers on their way from a device to the host; reading them waits for no later work.

    Args:
        values: ``(N,)``.

    Attributes:
        at_hand: whether reading them waits for nothing.

    Example:
        >>> numbers = Numbers(torch.tensor([1.0, 2.0]))
        >>> numbers.at_hand, numbers.read()
        (True, [1.0, 2.0])
    """

    def __init__(self, values: Tensor) -> None:
        late = values.device.type == "cuda"
        self.at_hand = not late
        self._arrived = torch.cuda.Event() if late else None
        self._values = values.detach().to("cpu", non_blocking=late)
        if self._arrived is not None:
            self._arrived.record()

    def read(self) -> list[float]:
        """Return the numbers, as soon as they have come."""
        if self._arrived is not None:
            self._arrived.synchronize()
        found: list[float] = self._values.tolist()
        return found


@dataclass(frozen=True)
class Launched:
    """A step that was launched, whose numbers are read later.

    Attributes:
        step: completed steps before it.
        names: names in the log of what the device tells, ``"gradient_norm"`` among them, and
            `SCALE` where losses are scaled.
        numbers: what it tells, in that order.
        losses: names of those that are losses.
        told: what the log has beside them.
    """

    step: int
    names: Sequence[str]
    numbers: Numbers
    losses: Sequence[str]
    told: Mapping[str, Any]

    def read(self) -> dict[str, Any]:
        """Return what the log shows of the step.

        Raises:
            NotFiniteError: a loss or the gradient is NaN or infinite.

        Example:
            >>> numbers = Numbers(torch.tensor([torch.nan, 1.0]))
            >>> Launched(6, ["total", "gradient_norm"], numbers, ["total"], {}).read()
            Traceback (most recent call last):
            fsr.errors.NotFiniteError: step 7: the total loss is nan
        """
        values = dict(zip(self.names, self.numbers.read(), strict=True))
        for name in self.losses:
            self._check(f"the {name} loss", values[name])
        scale = values.pop(SCALE, None)
        if scale is None:
            self._check("the gradient", values["gradient_norm"])
        elif scale < LEAST_SCALE:
            # In fp16 the scaler skips such a step, halves its scale and goes on; not for ever.
            what = "the gradient, however small the loss is scaled,"
            self._check(what, values["gradient_norm"])
        return {**values, **self.told}

    def _check(self, what: str, value: float) -> None:
        if not abs(value) < float("inf"):
            raise NotFiniteError(f"step {self.step + 1}: {what} is {value}")
