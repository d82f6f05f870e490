"""Global cue injection: shallow features scaled and shifted by what deep ones say of the image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.checks import (
    check_floating,
    check_like_weight,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.module import TypedModule
from fsr.errors import ShapeError


def adain(features: Tensor, attributes: Tensor) -> Tensor:
    r"""Scale and shift every channel of an image, :math:`x (1 + \gamma) + \beta`.

    Args:
        features: normalised features x, ``(B, D, H, W)``.
        attributes: for each image :math:`\gamma`, then :math:`\beta`, ``(B, 2 * D)``; zeros change
            nothing.

    Returns:
        ``(B, D, H, W)``.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: an argument is not floating point.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.5; visinf/1-stage-wseg@d905fca.

    Example:
        >>> import torch
        >>> adain(torch.full((1, 1, 1, 2), 3.0), torch.tensor([[1.0, -2.0]]))
        tensor([[[[4., 4.]]]])
    """
    batch, channels, _, _ = check_shape("features", features, "B D H W")
    sizes = {"B": batch, "2D": 2 * channels}
    check_shape("attributes", attributes, "B 2D", **sizes)
    check_same_device(features=features, attributes=attributes)
    check_floating("features", features)
    check_floating("attributes", attributes)
    scale, shift = attributes[:, :, None, None].chunk(2, dim=1)
    return features * (1 + scale) + shift


class GlobalCueInjection(TypedModule):
    """Inject what deep features say of the whole image into shallow features.

    The deep features, after a 1x1 convolution, batch norm and ReLU, are reduced to their maximum
    over space: scales and shifts of the shallow features, which had a 1x1 convolution and a batch
    norm without any of its own. ReLU, one more 1x1 convolution, batch norm and ReLU follow. The
    convolutions have no bias.

    Args:
        deep_channels: width of the deep features.
        shallow_channels: width of the shallow features, within as well.
        out_channels: width of the result.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        section 3.5; visinf/1-stage-wseg@d905fca.

    Example:
        >>> import torch
        >>> injection = GlobalCueInjection(16, 8, 12)
        >>> injection(torch.randn(2, 16, 4, 4), torch.randn(2, 8, 8, 8)).shape
        torch.Size([2, 12, 8, 8])
    """

    def __init__(self, deep_channels: int, shallow_channels: int, out_channels: int) -> None:
        super().__init__()
        check_positive_int("deep_channels", deep_channels)
        check_positive_int("shallow_channels", shallow_channels)
        check_positive_int("out_channels", out_channels)
        self.deep_channels = deep_channels
        self.shallow_channels = shallow_channels
        self.deep = nn.Conv2d(deep_channels, 2 * shallow_channels, 1, bias=False)
        self.deep_norm = nn.BatchNorm2d(2 * shallow_channels)
        self.shallow = nn.Conv2d(shallow_channels, shallow_channels, 1, bias=False)
        self.shallow_norm = nn.BatchNorm2d(shallow_channels, affine=False)
        self.out = nn.Conv2d(shallow_channels, out_channels, 1, bias=False)
        self.out_norm = nn.BatchNorm2d(out_channels)
        for layer in (self.deep, self.shallow, self.out):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        """Return the shallow features with the cues of the deep ones.

        Args:
            deep: features, ``(B, deep_channels, h, w)``, of any size.
            shallow: features, ``(B, shallow_channels, H, W)``.

        Returns:
            ``(B, out_channels, H, W)``, at least 0.

        Raises:
            ShapeError: a shape is wrong, or there is no pixel.
            TypeError: an argument is not floating point.
            ValueError: in training, a batch of a single pixel: it has no variance.
        """
        batch, _, *cue = check_shape("deep", deep, "B D h w", D=self.deep_channels)
        _, _, *size = check_shape("shallow", shallow, "B D H W", B=batch, D=self.shallow_channels)
        check_same_device(deep=deep, shallow=shallow)
        check_floating("deep", deep)
        check_floating("shallow", shallow)
        check_like_weight("deep", deep, self.deep.weight)
        check_like_weight("shallow", shallow, self.deep.weight)
        if min(*cue, *size) < 1:
            raise ShapeError(
                f"deep, shallow: expected at least one pixel, got {tuple(deep.shape)} and "
                f"{tuple(shallow.shape)}"
            )
        attributes = F.relu(self.deep_norm(self.deep(deep))).amax(dim=(2, 3))
        features = self.shallow_norm(self.shallow(shallow))
        features = F.relu(adain(features, attributes))
        return F.relu(self.out_norm(self.out(features)))
