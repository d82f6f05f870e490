"""What the training step needs to know about its two views: checks and pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

import torch
from torch import Tensor, nn

from fsr._core.checks import (
    check_between,
    check_finite,
    check_floating,
    check_grid,
    check_positive_int,
    check_same_device,
    check_shape,
    check_some,
)
from fsr._core.numerics import at_least_float32
from fsr._core.values import may_look
from fsr.objective._needs import Needs


class Pixels(nn.Module):
    """Undo the normalisation of images: RGB in [0, 1], in float32 at least.

    Of other bands than three nobody knows which are colours: they are refused when a term asks.

    Args:
        mean: mean per channel.
        std: standard deviation per channel.
        channels: how many there are.

    Raises:
        ShapeError: there are others.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], channels: int = 3) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            numbers = torch.tensor(tuple(values), dtype=torch.float32)
            check_shape(name, numbers, "channels", channels=channels)
            self.register_buffer(name, numbers.view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return normalised images ``(B, 3, height, width)`` as RGB in [0, 1].

        Raises:
            ValueError: they have other bands.
        """
        if self.mean.shape[1] != 3:
            raise ValueError(
                "pixels: a term reads the images' colours, which only three bands have, got "
                f"{self.mean.shape[1]}; set objective.pixels to a module that makes RGB in [0, 1] "
                "of normalised images"
            )
        return (at_least_float32(images) * self.std + self.mean).clamp(0.0, 1.0)


def check_block(block: int, grid: tuple[int, int]) -> None:
    """Raise unless blocks of ``block`` patches tile the patch grid."""
    check_positive_int("block", block)
    check_grid("grid", grid)
    if grid[0] % block or grid[1] % block:
        raise ValueError(
            f"mask_block: expected a divisor of the patch grid {grid}, got {block}; "
            f"mask_block={math.gcd(*grid, block)} would do"
        )


def check_needs(needs: Needs, views: Set[int], *, teacher: bool) -> None:
    """Raise if a view or a network is missing that a step's parts read.

    Args:
        needs: what they read.
        views: numbers of the views that there are.
        teacher: whether there is a teacher.
    """
    if missing := sorted(needs.views - views):
        raise ValueError(
            f"views: expected one for each that the terms read, {sorted(needs.views)}, "
            f"got {len(views)}; missing {missing}"
        )
    if needs.of_teacher and not teacher:
        raise ValueError(
            "teacher: expected EMATeacher(student, ...), which the terms read, got None"
        )


def check_views(
    view1: Tensor, view2: Tensor | None, labels: Tensor, classes: int, step: int, bands: int = 3
) -> None:
    """Check the arguments of one training step: shapes, then all values in one test."""
    batch, _, height, width = check_shape("view1", view1, "B channels H W", channels=bands)
    views = {"view1": view1}
    if view2 is not None:
        check_shape("view2", view2, "B channels H W", B=batch, channels=bands, H=height, W=width)
        views["view2"] = view2
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_some("view1", view1)
    check_same_device(view1=view1, view2=view2, labels=labels)
    for name, view in views.items():
        check_floating(name, view, finite=False)
    if isinstance(step, bool) or not isinstance(step, int):
        raise TypeError(f"step: expected an integer of at least 0, got {step!r}")
    check_between("step", step, 0, math.inf)
    if not may_look(view1):  # a training loop has looked, or nobody can
        return
    finite = torch.stack([torch.isfinite(view).all() for view in views.values()]).all()
    if bool(finite & ((labels == 0) | (labels == 1)).all()):
        return
    for name, view in views.items():
        check_finite(name, view)
    raise ValueError("labels: expected multi-hot labels of 0 and 1, got other values")
