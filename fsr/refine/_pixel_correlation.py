"""SEAM's pixel correlation: maps spread between pixels whose features look alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_positive_int, check_same_device, check_shape
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError

EPS = 1e-5


def pixel_correlation(maps: Tensor, features: Tensor) -> Tensor:
    r"""Maps spread along the similarity of the pixels' features.

    .. math:: y_{cj} = \sum_i m_{ci} \frac{a_{ij}}{\sum_k a_{kj} + 10^{-5}}, \qquad
              a_{ij} = \mathrm{ReLU}(\hat f_i^\top \hat f_j), \quad
              \hat f_i = \frac{f_i}{\lVert f_i \rVert + 10^{-5}}

    Every pixel takes the mean of the pixels that look like it, weighted by how much they do.

    Args:
        maps: maps m, ``(B, C, h, w)`` of any size; resized to the grid of the features (bilinear,
            aligned corners).
        features: projected features f, ``(B, K, H, W)``.

    Returns:
        ``(B, C, H, W)``, in at least float32. A pixel without features is 0.

    Raises:
        ShapeError: a shape is wrong or does not fit the other, or there is no pixel.
        TypeError: an argument is not floating point.

    Source:
        Wang et al., "Self-Supervised Equivariant Attention Mechanism for Weakly Supervised
        Semantic Segmentation", CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> maps = torch.tensor([[[[1.0, 0.0, 0.0]]]])
        >>> features = torch.tensor([[[[1.0, 2.0, 0.0]], [[0.0, 0.0, 1.0]]]])
        >>> pixel_correlation(maps, features).round(decimals=3)
        tensor([[[[0.5000, 0.5000, 0.0000]]]])
    """
    batch, _, *size = check_shape("features", features, "B K H W")
    _, channels, _, _ = check_shape("maps", maps, "B C h w", B=batch)
    check_same_device(maps=maps, features=features)
    check_floating("maps", maps)
    check_floating("features", features)
    for name, value in (("maps", maps), ("features", features)):
        if min(value.shape[2:]) < 1:
            raise ShapeError(f"{name}: expected at least one pixel, got {tuple(value.shape)}")
    with no_autocast(features):
        unit = at_least_float32(features).flatten(2)
        unit = unit / (torch.linalg.vector_norm(unit, dim=1, keepdim=True) + EPS)
        spread = at_least_float32(maps).to(unit.dtype)
        if spread.shape[2:] != features.shape[2:]:
            spread = F.interpolate(spread, size=size, mode="bilinear", align_corners=True)
        alike = F.relu(unit.transpose(1, 2) @ unit)
        # The matrix is divided after the product: N sums instead of N x N quotients are kept.
        revised = spread.flatten(2) @ alike / (alike.sum(dim=1, keepdim=True) + EPS)
        return revised.reshape(batch, channels, *size)


class PixelCorrelation(TypedModule):
    r"""Pixel correlation module of SEAM: a 1x1 convolution without bias, then the spreading.

    The scale of the weight hardly matters, since projected features are brought to length 1.

    Args:
        in_channels: channels of the features.
        out_channels: channels that they are projected to, 192 in SEAM.

    Attributes:
        weight: that of the convolution, ``(out_channels, in_channels, 1, 1)``.

    Raises:
        TypeError: a number of channels is no integer.
        ValueError: a number of channels is below 1.

    Source:
        Wang et al., "Self-Supervised Equivariant Attention Mechanism for Weakly Supervised
        Semantic Segmentation", CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> from fsr.cam import seam_normalize
        >>> correlation = PixelCorrelation(in_channels=195, out_channels=192)
        >>> cam, features = torch.rand(2, 21, 14, 14), torch.rand(2, 195, 14, 14)
        >>> correlation(seam_normalize(cam), features).shape
        torch.Size([2, 21, 14, 14])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        check_positive_int("in_channels", in_channels)
        check_positive_int("out_channels", out_channels)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 1, 1))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, maps: Tensor, features: Tensor) -> Tensor:
        """Return the revised maps, :func:`pixel_correlation` of the projected features.

        Args:
            maps: those of :func:`fsr.cam.seam_normalize`, ``(B, C + 1, h, w)`` of any size.
            features: ``(B, in_channels, H, W)``; in SEAM the image, resized, and two stages of the
                encoder without gradient, each after a 1x1 convolution and ReLU.

        Returns:
            ``(B, C + 1, H, W)``, in at least float32.

        Raises:
            ShapeError: a shape is wrong or does not fit the other, or there is no pixel.
            TypeError: an argument is not floating point.
        """
        check_shape("features", features, "B D H W", D=self.weight.shape[1])
        check_same_device(maps=maps, features=features)
        check_same_device(features=features, weight=self.weight)
        check_floating("features", features)
        with no_autocast(features):
            exact = at_least_float32(features)
            projected = F.conv2d(exact, self.weight.to(exact.dtype))
        return pixel_correlation(maps, projected)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        out_channels, in_channels = self.weight.shape[:2]
        return f"in_channels={in_channels}, out_channels={out_channels}"
