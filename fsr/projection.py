"""Projection head: the distributions over K prototypes that Eq. 8 and Eq. 9 compare."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.arguments import check_function
from fsr._core.checks import (
    check_floating,
    check_like_weight,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError


def project_tokens(
    aggregated: Tensor, tokens: Tensor, projector: Callable[[Tensor], Tensor]
) -> Tensor:
    r"""Projections of Eq. 1 before the softmax, :math:`P([A(Z); Z])`: the aggregate comes first.

    The softmax is left to the losses, which divide by a temperature first and want its logarithm.

    Args:
        aggregated: one token per image, ``(B, D)``.
        tokens: patch tokens, ``(B, N, D)``.
        projector: the projector P, from ``(B, 1 + N, D)`` to ``(B, 1 + N, K)``.

    Returns:
        Projections ``(B, 1 + N, K)``.

    Raises:
        ShapeError: ``tokens`` or ``aggregated`` has the wrong shape.

    Source:
        Section "A Single-Stage Framework for WSSS", Eq. 1.

    Example:
        >>> project_tokens(torch.zeros(1, 2), torch.ones(1, 3, 2), lambda z: z).tolist()
        [[[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]]
    """
    batch, _, dim = check_shape("tokens", tokens, "B N D")
    check_shape("aggregated", aggregated, "B D", B=batch, D=dim)
    check_same_device(aggregated=aggregated, tokens=tokens)
    check_floating("aggregated", aggregated)
    check_floating("tokens", tokens)
    check_function("projector", projector)
    return projector(torch.cat([aggregated.unsqueeze(1), tokens], dim=1))


class WeightNormLinear(TypedModule):
    r"""Linear layer without bias whose rows are :math:`w_k = g_k\, v_k / \lVert v_k \rVert`.

    It computes and names its parameters as ``torch.nn.utils.parametrizations.weight_norm`` does,
    so states go back and forth. That one makes a class of its own for every layer, which cannot be
    pickled, and a network must be, to reach the processes of a launcher that spawns them.

    Args:
        in_features: width of the input.
        out_features: number of rows K.

    Attributes:
        norms: the g, ``(K, 1)``, at first those of the rows that a linear layer starts with.
        directions: the v, ``(K, in_features)``.
        weight: the w, ``(K, in_features)``.

    Source:
        Salimans and Kingma, "Weight Normalization", NeurIPS 2016.

    Example:
        >>> layer = WeightNormLinear(2, 3)
        >>> sorted(layer.state_dict())
        ['parametrizations.weight.original0', 'parametrizations.weight.original1']
        >>> layer(torch.ones(5, 2)).shape
        torch.Size([5, 3])
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        check_positive_int("in_features", in_features)
        check_positive_int("out_features", out_features)
        directions = nn.Linear(in_features, out_features, bias=False).weight
        norms = nn.Parameter(torch.norm_except_dim(directions.detach(), 2, 0))
        pair = nn.ParameterDict({"original0": norms, "original1": directions})
        self.parametrizations = nn.ModuleDict({"weight": pair})
        self.register_load_state_dict_pre_hook(_take_older_names)  # type: ignore[no-untyped-call]

    @property
    def norms(self) -> Tensor:
        """The norms g of the rows."""
        return self.get_parameter("parametrizations.weight.original0")

    @property
    def directions(self) -> Tensor:
        """The directions v of the rows, of any length."""
        return self.get_parameter("parametrizations.weight.original1")

    @property
    def weight(self) -> Tensor:
        """The rows w."""
        return torch._weight_norm(self.directions, self.norms, 0)

    def forward(self, features: Tensor) -> Tensor:
        """Return the products of features ``(..., in_features)`` and the rows, ``(..., K)``."""
        check_floating("features", features)
        width = self.directions.shape[1]
        if features.ndim < 1 or features.shape[-1] != width:
            raise ShapeError(
                f"features: expected shape (..., D) with D={width}, got {tuple(features.shape)}"
            )
        check_like_weight("features", features, self.directions)
        return F.linear(features, self.weight)

    def extra_repr(self) -> str:
        """Show the sizes in ``print(module)``."""
        rows, width = self.directions.shape
        return f"in_features={width}, out_features={rows}"


def _take_older_names(
    module: nn.Module, state: dict[str, Any], prefix: str, *unused: object
) -> None:
    """Load states of the older ``torch.nn.utils.weight_norm`` too, as torch's own form does."""
    for older, name in (("weight_g", "original0"), ("weight_v", "original1")):
        if f"{prefix}{older}" in state:
            state[f"{prefix}parametrizations.weight.{name}"] = state.pop(f"{prefix}{older}")


class ProjectionHead(TypedModule):
    r"""Projector P of Eq. 1: MLP with GELU, L2 norm, cosine scores of K prototypes.

    The last layer is weight-normed with its norms frozen at 1, so that score k is the cosine of
    the bottleneck vector and prototype k; only directions are learned.

    Args:
        in_dim: width D of the tokens.
        out_dim: number K of prototypes.
        hidden_dim: width of the hidden layers; unused with one layer.
        bottleneck_dim: width of the normalised vector.
        num_layers: linear layers up to the bottleneck; 1 is a single linear layer.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.

    Source:
        Section "Implementation Details"; Caron et al., "Emerging Properties in Self-Supervised
        Vision Transformers", ICCV 2021.

    Example:
        >>> import torch
        >>> head = ProjectionHead(8, out_dim=16, hidden_dim=32, bottleneck_dim=4)
        >>> head(torch.ones(2, 10, 8)).shape
        torch.Size([2, 10, 16])
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int = 4096,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        num_layers: int = 3,
    ) -> None:
        super().__init__()
        sizes = {
            "in_dim": in_dim,
            "out_dim": out_dim,
            "hidden_dim": hidden_dim,
            "bottleneck_dim": bottleneck_dim,
            "num_layers": num_layers,
        }
        for name, value in sizes.items():
            check_positive_int(name, value)
        self.in_dim = in_dim
        self.out_dim = out_dim

        widths = [in_dim, *[hidden_dim] * (num_layers - 1), bottleneck_dim]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            linear = nn.Linear(before, after)
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.GELU()]
        self.mlp = nn.Sequential(*layers[:-1])

        self.prototypes = WeightNormLinear(bottleneck_dim, out_dim)
        self.prototype_norms.requires_grad_(False).fill_(1.0)

    @property
    def prototype_norms(self) -> Tensor:
        """The frozen norms of the prototypes, ``(K, 1)``."""
        return self.prototypes.norms

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores before softmax, cosines between -1 and 1.

        Args:
            tokens: tokens of any leading shape, ``(..., D)``, any real scale.

        Returns:
            ``(..., K)``, in the type that a linear layer returns for ``tokens``.

        Raises:
            ShapeError: the last axis is not D wide.
            TypeError: ``tokens`` is no floating-point tensor.
        """
        if not isinstance(tokens, Tensor):
            raise TypeError(f"tokens: expected a tensor (..., D), got {type(tokens).__name__}")
        check_floating("tokens", tokens)
        if tokens.ndim < 2 or tokens.shape[-1] != self.in_dim:
            raise ShapeError(
                f"tokens: expected shape (..., D) with D={self.in_dim}, got {tuple(tokens.shape)}"
            )
        check_like_weight("tokens", tokens, self.prototypes.directions)
        bottleneck: Tensor = self.mlp(tokens)
        # The norm of half-precision features can overflow where they do not.
        with no_autocast(tokens):
            unit = F.normalize(at_least_float32(bottleneck), dim=-1).to(bottleneck.dtype)
        return self.prototypes(unit)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"in_dim={self.in_dim}, out_dim={self.out_dim}"
