"""What the training objective returns, and the sum of Eq. 10 itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fsr._core.labels import IGNORE
from fsr._core.shown import described
from fsr.objective._seen import Later


@dataclass(frozen=True, eq=False, repr=False)
class ObjectiveOutput:
    """Every term of one batch, unweighted, and what they were computed from.

    A term is also an attribute of its own name (``output.segmentation``), and so is what a part
    left to be seen (``output.cam``). A term without a weight at this step is not computed: it is a
    zero. What nobody computed reads as None, or as the empty answer named below.

    Attributes:
        total: weighted sum of the terms, scalar; call ``backward`` on this one.
        values: the terms by name, scalars.
        weights: weight of each term at this step, by the same names.
        seen: what the parts left to be seen, by name: FSR's are ``cam`` ``(B, C, height, width)``,
            ``segmentation_logits`` ``(B, C+1, H, W)``, detached, ``teacher_temperature`` and
            ``mask_strategy``, beside the next three. The CAM of all classes is made when it is
            first looked at, of what the step kept on the patch grid.
        image_size: height and width of the views in pixels.
        grid: their patch grid ``(H, W)``.
        images: number of images B.
        ignore_index: label of what has none: 255 of at most 254 classes.

    Example:
        >>> zero = torch.zeros(())
        >>> output = ObjectiveOutput(zero, {"affinity": zero}, {"affinity": 0.2}, {}, (32, 32), (4, 4), 1)
        >>> output.affinity, output.cam is None, output.mask.shape
        (tensor(0.), True, torch.Size([1, 4, 4]))
    """  # noqa: E501 - the example's call is one line

    total: Tensor
    values: dict[str, Tensor]
    weights: dict[str, float]
    seen: dict[str, Any]
    image_size: tuple[int, int]
    grid: tuple[int, int]
    images: int
    ignore_index: int = IGNORE

    def terms(self) -> dict[str, Tensor]:
        """Return the terms by name, unweighted."""
        return dict(self.values)

    def scalars(self) -> dict[str, Tensor]:
        """Return the tensors of one number that parts left to be seen, by name."""
        left = dict.items(self.seen)  # what is made when it is looked at is no number
        return {name: v for name, v in left if isinstance(v, Tensor) and v.ndim == 0}

    @property
    def mask(self) -> Tensor:
        """Patches that the student did not see, ``(B, H, W)`` boolean, True = masked; or none."""
        return self._seen_or("mask", (self.images, *self.grid), False)

    @property
    def pseudo_labels(self) -> Tensor:
        """Pseudo labels of the pixels, ``(B, height, width)`` int64; 255 where none were made."""
        return self._seen_or("pseudo_labels", (self.images, *self.image_size), self.ignore_index)

    @property
    def affinity_labels(self) -> Tensor:
        """Labels of the tokens, ``(B, H, W)`` int64; 255 where none were made."""
        return self._seen_or("affinity_labels", (self.images, *self.grid), self.ignore_index)

    def __getattr__(self, name: str) -> Any:
        """Return a term, or what a part left to be seen, by its name."""
        if name.startswith("__") or name in ("values", "seen"):  # not there yet: copies, pickles
            raise AttributeError(name)
        if name in self.values:
            return self.values[name]
        if name in self.seen:
            return self.seen[name]
        if name in ("cam", "segmentation_logits", "teacher_temperature", "mask_strategy"):
            return None
        known = ", ".join((*self.values, *self.seen))
        raise AttributeError(f"the output has no {name!r}; it has {known}")

    def _replace(self, **changes: Any) -> ObjectiveOutput:
        """Return a copy with other fields or terms, as of the named tuple that this once was."""
        values = {name: changes.pop(name) for name in list(changes) if name in self.values}
        return replace(self, values={**self.values, **values}, **changes)

    def _seen_or(self, name: str, shape: tuple[int, ...], fill: int | bool) -> Tensor:
        """Return what was left to be seen, or a map of one value."""
        found: Tensor | None = self.seen.get(name)
        if found is not None:
            return found
        return torch.full(
            shape,
            fill,
            dtype=torch.bool if isinstance(fill, bool) else torch.long,
            device=self.total.device,
        )

    def __repr__(self) -> str:
        """Show values, and of maps their shape alone."""
        shown = {"total": self.total, **self.values, **dict(dict.items(self.seen))}
        spelled = ", ".join(f"{name}={_spell(value)}" for name, value in shown.items())
        return f"{type(self).__name__}({spelled})"


def _spell(value: Any) -> str:
    """Spell a scalar as its value, and other tensors by shape and type."""
    if isinstance(value, Later):
        return f"Tensor({', '.join(map(str, value.shape))}; not made yet)"
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.item()
    return f"{value:.4g}" if isinstance(value, float) else described(value)


def total_loss(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    r"""Weighted sum of Eq. 10, :math:`\sum_i \lambda_i L_i`.

    Args:
        terms: the terms by name, scalars.
        weights: the weight of each of them, by the same names.

    Returns:
        Scalar.

    Source:
        Section "Feature Self-reinforcement", Eq. 10.

    Example:
        >>> terms = {"classification": torch.tensor(2.0), "affinity": torch.tensor(5.0)}
        >>> total_loss(terms, {"classification": 1.0, "affinity": 0.2})
        tensor(3.)
    """
    for name, value in (("terms", terms), ("weights", weights)):
        if not isinstance(value, Mapping):
            raise TypeError(f"{name}: expected a mapping from names, got {type(value).__name__}")
    if missing := sorted(terms.keys() - weights.keys()):
        raise ValueError(f"weights: expected one for each term, got none for {missing}")
    if not terms:
        raise ValueError("terms: expected at least one, got none")
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()
