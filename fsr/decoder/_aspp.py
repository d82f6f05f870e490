"""Atrous spatial pyramid pooling: one map seen through kernels of several widths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.arguments import check_sequence
from fsr._core.checks import check_floating, check_like_weight, check_positive_int, check_shape
from fsr._core.module import TypedModule


class ASPP(TypedModule):
    """A 1x1 convolution, 3x3 convolutions of several dilations and the mean of the image, joined.

    Each branch but the last has batch norm; the mean over space has a bias instead, as a norm over
    one pixel would not train on a batch of one image. A 1x1 convolution with batch norm joins them.

    Args:
        in_channels: width of the features.
        out_channels: width of each branch and of the result.
        dilations: distances of the taps of the 3x3 convolutions, in pixels of the map.

    Raises:
        TypeError: a number is no integer.
        ValueError: one of them is below 1, or there is no dilation.

    Source:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017
        (DeepLab v3).

    Example:
        >>> ASPP(8, 4, (1, 2))(torch.randn(2, 8, 5, 6)).shape
        torch.Size([2, 4, 5, 6])
    """

    def __init__(
        self, in_channels: int, out_channels: int = 256, dilations: Sequence[int] = (6, 12, 18)
    ) -> None:
        super().__init__()
        check_positive_int("in_channels", in_channels)
        check_positive_int("out_channels", out_channels)
        check_sequence("dilations", dilations, "integers")
        if not dilations:
            raise ValueError("dilations: expected at least one, got none")
        for dilation in dilations:
            check_positive_int("dilations", dilation)
        self.in_channels = in_channels
        branches = [conv_norm(in_channels, out_channels, 1)]
        branches += [conv_norm(in_channels, out_channels, 3, each) for each in dilations]
        self.branches = nn.ModuleList(branches)
        self.whole = nn.Conv2d(in_channels, out_channels, 1)
        self.join = conv_norm(out_channels * (len(branches) + 1), out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features as all branches see them.

        Args:
            features: ``(B, in_channels, h, w)``, any real scale.

        Returns:
            ``(B, out_channels, h, w)``, at least 0.

        Raises:
            ShapeError: ``features`` has the wrong shape.
            TypeError: ``features`` is not floating point.
        """
        check_shape("features", features, "B D h w", D=self.in_channels)
        check_floating("features", features)
        check_like_weight("features", features, self.whole.weight)
        seen = [branch(features) for branch in self.branches]
        mean = F.relu(self.whole(features.mean(dim=(2, 3), keepdim=True)))
        joined: Tensor = self.join(torch.cat([*seen, mean.expand_as(seen[0])], dim=1))
        return joined


def conv_norm(in_channels: int, out_channels: int, size: int, dilation: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the map's size, without bias, batch norm and ReLU."""
    padding = dilation * (size // 2)
    conv = nn.Conv2d(
        in_channels, out_channels, size, padding=padding, dilation=dilation, bias=False
    )
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())
