"""Recurrent conditioning of a grid of tokens on its rows and columns."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from einops import rearrange
from torch import Tensor, nn

from fsr._core.checks import check_floating, check_like_weight, check_positive_int, check_shape
from fsr._core.module import TypedModule
from fsr._core.numerics import no_autocast
from fsr.errors import ShapeError


class GridLSTM(TypedModule):
    """Two bidirectional LSTMs over the same tokens, one along rows, one along columns.

    Every token gets what the LSTMs hold at it: along its row from the left and from the right,
    then along its column from above and from below.

    An LSTM has one bias here, as in the released code: torch's second one is 0 and not trained.
    Initial weights are as there: Glorot-uniform from the tokens, orthogonal from the state, biases
    of 0 but for 1 of the forget gate.

    Args:
        dim: width of the tokens.
        hidden: width of the state of each of the four directions.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.

    Source:
        Rossetti et al., "Max Pooling with Vision Transformers Reconciles Class and Shape in Weakly
        Supervised Semantic Segmentation", ECCV 2022 (HV-BiLSTM); deepplants/ViT-PCM@1fea66f (CC0).

    Example:
        >>> GridLSTM(8, hidden=3)(torch.randn(2, 8, 4, 5)).shape
        torch.Size([2, 12, 4, 5])
    """

    def __init__(self, dim: int, hidden: int = 192) -> None:
        super().__init__()
        check_positive_int("dim", dim)
        check_positive_int("hidden", hidden)
        self.dim = dim
        self.hidden = hidden
        self.rows = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.columns = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        for lstm in (self.rows, self.columns):
            _initialise(lstm)

    def forward(self, features: Tensor) -> Tensor:
        """Return the states at every token.

        Args:
            features: tokens as a map, ``(B, dim, h, w)``, any real scale.

        Returns:
            ``(B, 4 * hidden, h, w)``, within -1 and 1: rows from the left and from the right,
            columns from above and from below.

        Raises:
            ShapeError: ``features`` has the wrong shape, or there is no image or token.
            TypeError: ``features`` is not floating point.
        """
        batch, _, height, width = check_shape("features", features, "B D h w", D=self.dim)
        check_floating("features", features)
        weight = self.rows.get_parameter("weight_ih_l0")
        check_like_weight("features", features, weight)
        if min(batch, height, width) < 1:
            raise ShapeError(
                f"features: expected at least one image and token, got {tuple(features.shape)}"
            )
        on_cpu = features.device.type == "cpu"
        # Many CPUs have no recurrence in half precision, which autocast would ask for.
        with no_autocast(features) if on_cpu else nullcontext():
            features = features.to(weight.dtype) if on_cpu else features
            along_rows, _ = self.rows(rearrange(features, "b d h w -> (b h) w d"))
            along_columns, _ = self.columns(rearrange(features, "b d h w -> (b w) h d"))
        # Not einops' rearrange, whose sizes torch 2.6 cannot compile where they change.
        return torch.cat(
            [
                along_rows.unflatten(0, (batch, height)).permute(0, 3, 1, 2),
                along_columns.unflatten(0, (batch, width)).permute(0, 3, 2, 1),
            ],
            dim=1,
        )


def _initialise(lstm: nn.LSTM) -> None:
    """Start the weights as the released code's framework does, with one trained bias."""
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        else:
            nn.init.zeros_(parameter)
        if name.startswith("bias_ih"):
            # Gates in torch's order: input, forget, cell, output.
            nn.init.ones_(parameter.detach()[lstm.hidden_size : 2 * lstm.hidden_size])
        if name.startswith("bias_hh"):
            parameter.requires_grad_(False)
