"""The classes of encoders that the adapter takes."""

from __future__ import annotations

from typing import Any

from timm.models import model_entrypoint
from torch import nn

from fsr.backbone._kind import Kind
from fsr.backbone._kind_beit import BeitKind
from fsr.backbone._kind_eva import EvaKind
from fsr.backbone._kind_vit import ViTKind

KINDS: tuple[Kind, ...] = (ViTKind(), EvaKind(), BeitKind())


def kind_of(model: nn.Module) -> Kind:
    """Return the class of an encoder, or raise ``ValueError`` with what is supported.

    A subclass counts as long as it computes its tokens as its parent does.
    """
    own: Any = getattr(type(model), "forward_features", None)
    for kind in KINDS:
        if isinstance(model, kind.timm_class) and own is kind.timm_class.forward_features:
            return kind
    raise ValueError(
        "backbone: expected timm's VisionTransformer, VisionTransformerDistilled, Eva or Beit, "
        f"got {type(model).__name__}: not supported; networks that give feature maps go through "
        "FeatureBackbone"
    )


def kind_named(name: str) -> Kind:
    """Return the class that timm's file of this name builds, VisionTransformer if unknown."""
    registry = model_entrypoint(name.partition(".")[0]).__module__.rpartition(".")[2]
    return next((kind for kind in KINDS if kind.registry == registry), KINDS[0])
