"""The decoder of 1Stage: deep features, shallow detail, and cues of the whole image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.checks import (
    check_between,
    check_floating,
    check_like_weight,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.module import TypedModule
from fsr.decoder._aspp import ASPP, conv_norm
from fsr.decoder._global_cue_injection import GlobalCueInjection
from fsr.decoder._stochastic_gate import StochasticGate


class CueDecoder(TypedModule):
    """Deep features up-sampled onto shallow ones, gated with shallow ones that the deep ones cue.

    :class:`ASPP` sees the deep features; up-sampled, they are joined with a narrow 1x1 convolution
    of the shallow ones. :class:`GlobalCueInjection` gives the shallow features what the joined ones
    say of the whole image, :class:`StochasticGate` mixes the two, and three convolutions make maps.

    Args:
        deep_channels: width of the deep features.
        shallow_channels: width of the shallow features.
        out_channels: number of maps.
        hidden_dim: width within.
        skip_dim: width that the shallow features are joined at.
        dilations: of :class:`ASPP`.
        gate_rate: rate of :class:`StochasticGate`.
        dropout: probabilities of dropout after the first and after the second of the last three
            convolutions.

    Raises:
        TypeError: a width is no integer.
        ValueError: a number is out of range.

    Source:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, Fig.
        3; visinf/1-stage-wseg@d905fca.

    Example:
        >>> decoder = CueDecoder(16, 8, 3, hidden_dim=8, skip_dim=4, dilations=(1, 2))
        >>> decoder(torch.randn(2, 16, 4, 4), torch.randn(2, 8, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        deep_channels: int,
        shallow_channels: int,
        out_channels: int,
        *,
        hidden_dim: int = 256,
        skip_dim: int = 48,
        dilations: Sequence[int] = (12, 24, 36),
        gate_rate: float = 0.3,
        dropout: tuple[float, float] = (0.5, 0.1),
    ) -> None:
        super().__init__()
        check_positive_int("deep_channels", deep_channels)
        check_positive_int("shallow_channels", shallow_channels)
        check_positive_int("hidden_dim", hidden_dim)
        check_between("gate_rate", gate_rate, 0.0, 1.0)
        check_positive_int("out_channels", out_channels)
        check_positive_int("skip_dim", skip_dim)
        self.shallow_channels = shallow_channels
        self.aspp = ASPP(deep_channels, hidden_dim, dilations)
        self.aspp_dropout = nn.Dropout(dropout[0])
        self.skip = conv_norm(shallow_channels, skip_dim, 1)
        self.join = conv_norm(hidden_dim + skip_dim, hidden_dim, 3)
        self.cues = GlobalCueInjection(hidden_dim, shallow_channels, hidden_dim)
        self.gate = StochasticGate(gate_rate)
        self.last = nn.Sequential(
            conv_norm(hidden_dim, hidden_dim, 3),
            nn.Dropout(dropout[0]),
            conv_norm(hidden_dim, hidden_dim, 3),
            nn.Dropout(dropout[1]),
            nn.Conv2d(hidden_dim, out_channels, 1),
        )

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        """Return the maps, at the size of the shallow features.

        Args:
            deep: ``(B, deep_channels, h, w)``, any real scale.
            shallow: ``(B, shallow_channels, H, W)``.

        Returns:
            ``(B, out_channels, H, W)``, any real scale.

        Raises:
            ShapeError: a shape is wrong.
            TypeError: an argument is not floating point.
        """
        batch, _, *size = check_shape("shallow", shallow, "B D H W", D=self.shallow_channels)
        check_shape("deep", deep, "B D h w", B=batch, D=self.aspp.in_channels)
        check_same_device(deep=deep, shallow=shallow)
        check_floating("shallow", shallow)
        check_floating("deep", deep)
        for name, value in (("deep", deep), ("shallow", shallow)):
            check_like_weight(name, value, self.aspp.whole.weight)
        seen = self.aspp_dropout(self.aspp(deep))
        seen = F.interpolate(seen, size=size, mode="bilinear", align_corners=True)
        joined = self.join(torch.cat([seen, self.skip(shallow)], dim=1))
        gated = self.gate(joined, self.cues(joined, shallow))
        maps: Tensor = self.last(gated)
        return maps
