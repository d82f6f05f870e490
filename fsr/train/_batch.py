"""One micro-batch of a training process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """What the objective is given for some images.

    Attributes:
        view1: first view, ``(B, 3, height, width)``, normalised.
        view2: second view of the same shape, or None.
        labels: multi-hot image-level labels, ``(B, C)``.
        given: what belongs to view 1, by name, see :class:`fsr.objective.Step`.
    """

    view1: Tensor
    view2: Tensor | None
    labels: Tensor
    given: Mapping[str, Tensor]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        view2 = None if self.view2 is None else moved(self.view2)
        given = {name: moved(value) for name, value in self.given.items()}
        return Batch(moved(self.view1), view2, moved(self.labels), given)


def batch_of(drawn: Mapping[str, Any], labels: Tensor) -> Batch:
    """Return what a loader collated, by name, as a batch.

    Args:
        drawn: ``"view1"``, and what else there is.
        labels: multi-hot image-level labels, ``(B, C)``.

    Example:
        >>> batch_of({"view1": torch.zeros(1, 3, 8, 8)}, torch.ones(1, 2)).view2 is None
        True
    """
    rest = dict(drawn)
    return Batch(rest.pop("view1"), rest.pop("view2", None), labels, rest)
