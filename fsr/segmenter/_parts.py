"""The segmenter's exchangeable parts: built by name, or taken as modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from fsr._core.checks import check_choice
from fsr.aggregation import AverageAggregator, MaskedCrossAttentionAggregator, MaxAggregator
from fsr.decoder import LargeFOV
from fsr.projection import ProjectionHead


def build_aggregator(aggregator: str | nn.Module | None, dim: int, num_heads: int) -> nn.Module:
    """Return the aggregator of a name, or the module given."""
    if isinstance(aggregator, nn.Module):
        return aggregator
    name = "mca" if aggregator is None else aggregator
    check_choice("aggregator", name, ("mca", "average", "max"))
    if name == "mca":
        return MaskedCrossAttentionAggregator(dim, num_heads=num_heads)
    if name == "average":
        return AverageAggregator()
    return MaxAggregator()


def build_projector(
    projector: nn.Module | None, dim: int, out_dim: int, options: Mapping[str, Any] | None
) -> nn.Module:
    """Return the default projector, or the module given."""
    if projector is None:
        return ProjectionHead(dim, out_dim, **(options or {}))
    if not isinstance(projector, nn.Module):
        raise TypeError(f"projector: expected a module or None, got {type(projector).__name__}")
    _refuse_options("projector_options", options, projector)
    return projector


def build_decoder(
    decoder: str | nn.Module, dim: int, num_classes: int, options: Mapping[str, Any] | None
) -> nn.Module:
    """Return the decoder of a name, or the module given."""
    if isinstance(decoder, nn.Module):
        _refuse_options("decoder_options", options, decoder)
        return decoder
    check_choice("decoder", decoder, ("largefov",))
    return LargeFOV(dim, num_classes + 1, **(options or {}))


def _refuse_options(name: str, options: Mapping[str, Any] | None, part: nn.Module) -> None:
    """Raise if options are given for a module that is already built."""
    if options:
        raise ValueError(
            f"{name}: expected none with a {type(part).__name__} module, got {dict(options)}"
        )


def plain(options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return options as a checkpoint records them."""
    return None if options is None else dict(options)


def recorded(part: Any) -> Any:
    """Return a part as a checkpoint records it: names as they are, modules by their class."""
    return {"module": type(part).__name__} if isinstance(part, nn.Module) else part
