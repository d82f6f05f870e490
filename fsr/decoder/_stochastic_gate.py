"""Stochastic gate: deep features with shallow ones in place of a random part."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.checks import check_between, check_floating, check_same_device, check_shape
from fsr._core.module import TypedModule


def stochastic_gate(deep: Tensor, shallow: Tensor, keep: Tensor, rate: float) -> Tensor:
    r"""Shallow features in place of some of the deep ones, whose expectation stays.

    .. math:: x = k \odot \frac{d - p\,s}{1 - p} + (1 - k) \odot s

    For k drawn as 1 with probability 1 - p, the expectation of x is d.

    Args:
        deep: features d, ``(B, D, H, W)``, any real scale.
        shallow: features s of the same shape.
        keep: which elements stay deep, of the same shape: boolean, or 1 and 0.
        rate: the p that ``keep`` was drawn with, from 0 to below 1.

    Returns:
        ``(B, D, H, W)``.

    Raises:
        ShapeError: the shapes differ or are no maps.
        TypeError: the features are not floating point, or ``rate`` is no number.
        ValueError: ``rate`` is not within [0, 1).

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.5; visinf/1-stage-wseg@d905fca.

    Example:
        >>> deep, shallow = torch.full((1, 1, 1, 2), 3.0), torch.ones(1, 1, 1, 2)
        >>> stochastic_gate(deep, shallow, torch.tensor([[[[True, False]]]]), rate=0.5)
        tensor([[[[5., 1.]]]])
    """
    _check_features(deep, shallow)
    shape = tuple(deep.shape)
    check_shape("keep", keep, "B D H W", **dict(zip("BDHW", shape, strict=True)))
    check_same_device(deep=deep, shallow=shallow, keep=keep)
    _check_rate(rate)
    return torch.where(keep.bool(), (deep - rate * shallow) / (1 - rate), shallow)


class StochasticGate(TypedModule):
    r"""Mix deep with shallow features: at random in training, in fixed shares in evaluation.

    In training every element is drawn on its own, at the size of the features, see
    :func:`stochastic_gate`. (The released code draws on top of a mask that it keeps from the first
    batch's size.) In evaluation the result is :math:`(1 - p)\,d + p\,s`, as released, though the
    expectation in training is d.

    Args:
        rate: probability that an element is the shallow one, from 0 to below 1.

    Raises:
        TypeError: ``rate`` is no number.
        ValueError: ``rate`` is not within [0, 1).

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.5; visinf/1-stage-wseg@d905fca.

    Example:
        >>> gate = StochasticGate(rate=0.25).eval()
        >>> gate(torch.full((1, 1, 1, 1), 4.0), torch.zeros(1, 1, 1, 1)).item()
        3.0
    """

    def __init__(self, rate: float = 0.3) -> None:
        super().__init__()
        _check_rate(rate)
        self.rate = rate

    def forward(
        self,
        deep: Tensor,
        shallow: Tensor,
        *,
        keep: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the mixed features.

        Args:
            deep: features, ``(B, D, H, W)``.
            shallow: features of the same shape.
            keep: in training, which elements stay deep, instead of drawing them; boolean, or 1
                and 0, of the same shape.
            generator: what to draw them from, on any device.

        Returns:
            ``(B, D, H, W)``.

        Raises:
            ShapeError: the shapes differ or are no maps.
            TypeError: the features are not floating point.
            ValueError: both ``keep`` and ``generator`` are given.
        """
        _check_features(deep, shallow)
        if keep is not None and generator is not None:
            raise ValueError("generator: expected None beside keep=, got both")
        if not self.training:
            return (1 - self.rate) * deep + self.rate * shallow
        if keep is None:
            # A generator draws on its own device only: move the numbers, so that any will do.
            source = deep.device if generator is None else generator.device
            noise = torch.rand(deep.shape, generator=generator, device=source)
            keep = noise.to(deep.device) >= self.rate
        return stochastic_gate(deep, shallow, keep, self.rate)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"rate={self.rate}"


def _check_features(deep: Tensor, shallow: Tensor) -> None:
    """Raise unless both are floating-point maps of one shape."""
    shape = check_shape("deep", deep, "B D H W")
    check_shape("shallow", shallow, "B D H W", **dict(zip("BDHW", shape, strict=True)))
    check_same_device(deep=deep, shallow=shallow)
    check_floating("deep", deep)
    check_floating("shallow", shallow)


def _check_rate(rate: float) -> None:
    """Raise unless the rate is a probability below 1: the gate divides by what is left."""
    check_between("rate", rate, 0, 1)
    if rate == 1:
        raise ValueError(f"rate: expected a number in [0, 1), got {rate}")
