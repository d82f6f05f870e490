"""Affinity of patches, learned from the attention of the encoder's last blocks."""

from __future__ import annotations

import math

from torch import Tensor, nn

from fsr._core.checks import check_floating, check_positive_int, check_same_device, check_shape
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32, no_autocast


class AttentionAffinity(TypedModule):
    r"""One affinity matrix from several attention maps, by a 1x1 convolution with bias.

    .. math:: A = \sigma\Bigl(b + \sum_k w_k \,(S_k + S_k^\top)\Bigr)

    S are raw attention logits :math:`q k^\top`, before scale and softmax, of all heads of the last
    blocks (two in AFA), stacked; class and register tokens are dropped before. The result is
    symmetric.

    Args:
        num_maps: number of attention maps, heads times blocks.

    Attributes:
        projection: the convolution, weight ``(1, num_maps, 1, 1)`` from a normal distribution of
            standard deviation :math:`\sqrt{2 / 6}`, bias ``(1,)``.

    Raises:
        TypeError: ``num_maps`` is no integer.
        ValueError: ``num_maps`` is below 1.

    Source:
        Ru et al., "Learning Affinity from Attention: End-to-End Weakly-Supervised Semantic
        Segmentation with Transformers", CVPR 2022 (rulixiang/afa@adcfa29).

    Example:
        >>> import torch
        >>> affinity = AttentionAffinity(num_maps=6)
        >>> affinity(torch.zeros(2, 6, 9, 9)).shape
        torch.Size([2, 9, 9])
    """

    def __init__(self, num_maps: int) -> None:
        super().__init__()
        check_positive_int("num_maps", num_maps)
        self.num_maps = num_maps
        self.projection = nn.Conv2d(num_maps, 1, kernel_size=1)
        # A leaky ReLU of slope sqrt(5) after a layer of one output.
        nn.init.normal_(self.projection.weight, std=math.sqrt(2 / 6))

    def forward(self, attention: Tensor) -> Tensor:
        """Return the affinity of all pairs of patches.

        Args:
            attention: raw logits of the patches, ``(B, num_maps, N, N)``, any real scale.

        Returns:
            ``(B, N, N)`` between 0 and 1, in at least float32.

        Raises:
            ShapeError: ``attention`` has the wrong shape.
            TypeError: ``attention`` is not floating point.
        """
        *_, count = check_shape("attention", attention, "B maps N N", maps=self.num_maps)
        check_shape("attention", attention, "B maps N M", N=count, M=count)
        check_floating("attention", attention)
        # Logits of hundreds times a weight: half precision would round what the sigmoid decides by.
        check_same_device(attention=attention, weight=self.projection.weight)
        with no_autocast(attention):
            maps = at_least_float32(attention)
            weight, bias = (value.to(maps) for value in self.projection.parameters())
            mixed = (weight.view(1, -1) @ maps.flatten(2)).view(-1, count, count)
            # The convolution is linear: one map is transposed where the formula does all of them.
            return (mixed + mixed.transpose(1, 2) + bias).sigmoid()

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"num_maps={self.num_maps}"
