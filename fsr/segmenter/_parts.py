"""The segmenter's exchangeable parts: built by name, or taken as modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn

from fsr._core.checks import check_choice
from fsr.aggregation import AverageAggregator, MaskedCrossAttentionAggregator, MaxAggregator
from fsr.backbone import FeatureBackbone, ViTBackbone, check_offers
from fsr.decoder import LargeFOV
from fsr.projection import ProjectionHead

Aggregator = Literal["mca", "average", "max"]
AGGREGATORS: tuple[Aggregator, ...] = get_args(Aggregator)
Decoder = Literal["largefov"]
DECODERS: tuple[Decoder, ...] = get_args(Decoder)
Backbone = ViTBackbone | FeatureBackbone
# Before the timm name of a network that gives feature maps.
FEATURES = "features:"
# Those that may be modules of the caller.
PARTS = ("backbone", "aggregator", "projector", "decoder")


def build_backbone(
    backbone: str | nn.Module,
    pretrained: bool | str | Path,
    image_size: int | tuple[int, int],
    options: Mapping[str, Any] | None,
    class_tokens: int | None = None,
) -> Backbone:
    """Return the encoder of a name, or the module given."""
    if isinstance(backbone, (ViTBackbone, FeatureBackbone)):
        if class_tokens is not None:
            check_offers(backbone, ["class_tokens"], "class_tokens")
        if pretrained is not False:
            raise ValueError(
                f"pretrained: expected False with a {type(backbone).__name__} module, "
                f"got {pretrained!r}"
            )
        _refuse_options("backbone_options", options, backbone)
        return backbone
    if isinstance(backbone, str) and backbone.startswith(FEATURES):
        name = backbone.removeprefix(FEATURES)
        if class_tokens is not None:
            raise ValueError(f"class_tokens: expected a vision transformer, got {backbone!r}")
        return FeatureBackbone(name, pretrained=pretrained, image_size=image_size, options=options)
    chosen: dict[str, Any] = {} if class_tokens is None else {"class_tokens": class_tokens}
    return ViTBackbone(
        backbone, pretrained=pretrained, image_size=image_size, options=options, **chosen
    )


def build_aggregator(
    aggregator: Aggregator | nn.Module | None,
    backbone: Backbone,
    options: Mapping[str, Any] | None,
) -> nn.Module:
    """Return the aggregator of a name, or the module given."""
    _check_options("aggregator_options", options)
    if isinstance(aggregator, nn.Module):
        _refuse_options("aggregator_options", options, aggregator)
        return aggregator
    name = "mca" if aggregator is None else aggregator
    check_choice("aggregator", name, AGGREGATORS)
    if name == "mca":
        chosen = {"num_heads": backbone.num_heads, **(options or {})}
        if chosen["num_heads"] is None:
            raise ValueError(
                f"aggregator: {backbone.description} has no attention heads whose number 'mca' "
                "could take: expected aggregator_options={'num_heads': ...}, or an aggregator "
                "'average', 'max' or a module"
            )
        return MaskedCrossAttentionAggregator(backbone.embed_dim, **chosen)
    if options:
        raise ValueError(f"aggregator_options: expected none with {name!r}, got {dict(options)}")
    if name == "average":
        return AverageAggregator()
    return MaxAggregator()


def build_projector(
    projector: nn.Module | None, dim: int, out_dim: int, options: Mapping[str, Any] | None
) -> nn.Module:
    """Return the default projector, or the module given."""
    _check_options("projector_options", options)
    if projector is None:
        return ProjectionHead(dim, out_dim, **(options or {}))
    if not isinstance(projector, nn.Module):
        raise TypeError(f"projector: expected a module or None, got {type(projector).__name__}")
    _refuse_options("projector_options", options, projector)
    return projector


def build_decoder(
    decoder: Decoder | nn.Module, dim: int, num_classes: int, options: Mapping[str, Any] | None
) -> nn.Module:
    """Return the decoder of a name, or the module given."""
    _check_options("decoder_options", options)
    if isinstance(decoder, nn.Module):
        _refuse_options("decoder_options", options, decoder)
        return decoder
    check_choice("decoder", decoder, DECODERS)
    return LargeFOV(dim, num_classes + 1, **(options or {}))


def _check_options(name: str, options: Any) -> None:
    """Raise ``TypeError`` unless options are a mapping or None."""
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"{name}: expected a mapping or None, got {type(options).__name__}")


def _refuse_options(name: str, options: Mapping[str, Any] | None, part: nn.Module) -> None:
    """Raise if options are given for a module that is already built."""
    if options:
        raise ValueError(
            f"{name}: expected none with a {type(part).__name__} module, got {dict(options)}"
        )


def recorded(**arguments: Any) -> dict[str, Any]:
    """Return the constructor's arguments as a checkpoint records them: modules by their class."""
    return {name: _recorded(value) for name, value in arguments.items()}


def _recorded(value: Any) -> Any:
    """Return one argument as plain data."""
    if isinstance(value, nn.Module):
        return {"module": type(value).__name__}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _recorded(item) for key, item in value.items()}
    return value
