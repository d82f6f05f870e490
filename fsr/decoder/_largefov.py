"""Segmentation decoder: two dilated convolutions on the patch map (LargeFOV)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_like_weight, check_positive_int, check_shape
from fsr._core.module import TypedModule


class LargeFOV(TypedModule):
    """Decoder behind the segmentation term of Eq. 10: large field of view by dilation.

    Two 3x3 convolutions with ReLU and a 1x1 convolution, all without bias.

    Args:
        in_dim: width D of the patch tokens.
        num_classes_with_background: number of output channels, C + 1; channel 0 is background.
        hidden_dim: width of the two hidden layers.
        dilation: distance between the kernel's taps, in patches.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.

    Source:
        Section "A Single-Stage Framework for WSSS"; Chen et al., "DeepLab", TPAMI 2018
        (DeepLab-LargeFOV).

    Example:
        >>> import torch
        >>> decoder = LargeFOV(8, 3, hidden_dim=16)
        >>> decoder(torch.ones(2, 8, 5, 7)).shape
        torch.Size([2, 3, 5, 7])
    """

    def __init__(
        self,
        in_dim: int,
        num_classes_with_background: int,
        hidden_dim: int = 512,
        dilation: int = 5,
    ) -> None:
        super().__init__()
        check_positive_int("in_dim", in_dim)
        check_positive_int("num_classes_with_background", num_classes_with_background)
        check_positive_int("hidden_dim", hidden_dim)
        check_positive_int("dilation", dilation)
        self.in_dim = in_dim
        self.conv1 = _dilated(in_dim, hidden_dim, dilation)
        self.conv2 = _dilated(hidden_dim, hidden_dim, dilation)
        self.classifier = nn.Conv2d(hidden_dim, num_classes_with_background, 1, bias=False)
        for layer in (self.conv1, self.conv2, self.classifier):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """Return segmentation logits at patch resolution.

        Args:
            features: patch tokens as a map, ``(B, D, H, W)``, any real scale.

        Returns:
            Logits ``(B, C + 1, H, W)``; channel 0 is background.

        Raises:
            ShapeError: ``features`` has the wrong shape.
            TypeError: ``features`` is no floating-point tensor.
        """
        check_shape("features", features, "B D H W", D=self.in_dim)
        check_floating("features", features)
        check_like_weight("features", features, self.conv1.weight)
        hidden = F.relu(self.conv1(features))
        hidden = F.relu(self.conv2(hidden))
        logits: Tensor = self.classifier(hidden)
        return logits


def _dilated(in_dim: int, out_dim: int, dilation: int) -> nn.Conv2d:
    """3x3 convolution without bias that keeps the map's size."""
    return nn.Conv2d(in_dim, out_dim, 3, padding=dilation, dilation=dilation, bias=False)
