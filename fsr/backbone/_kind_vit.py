"""timm's VisionTransformer: ViT, DeiT and its distilled form, DINO, CLIP and SigLIP towers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers.format import Format
from timm.models import VisionTransformer
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor

from fsr.backbone._kind import AttentionPosition, Placed, keep_patch_tokens


class ViTKind:
    """``VisionTransformer``, with class, distillation and register tokens or without."""

    timm_class: Any = VisionTransformer
    registry = "vision_transformer"
    size_options: Mapping[str, Any] = {"dynamic_img_size": True}

    def prepare(self, model: Any) -> None:
        """Leave in a model what patch tokens need, and make it accept any input size."""
        keep_patch_tokens(model)
        model.dynamic_img_size = True
        embed = model.patch_embed
        embed.strict_img_size = False
        embed.flatten = False
        embed.output_fmt = Format.NHWC

    def embed(self, model: Any, images: Tensor) -> Tensor:
        """Return patches before anything else is added, ``(B, H, W, D)``."""
        patches: Tensor = model.patch_embed(images)
        return patches

    def place(self, model: Any, patches: Tensor) -> Placed:
        """Add prefix tokens and the position embedding; patch dropout is left out."""
        return Placed(model.norm_pre(model._pos_embed(patches)), None)

    def run(self, block: Any, tokens: Tensor, position: Any) -> Tensor:
        """Run one block on ``(B, T, D)``."""
        output: Tensor = block(tokens)
        return output

    def position_at(self, index: int, position: Any) -> Any:
        """Return nothing: these blocks know no position."""

    def attention_position(self, block: Any, position: Any) -> AttentionPosition:
        """Return nothing, likewise."""
        return AttentionPosition()

    def translate(self, state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
        """Bring a state of other code, such as DINOv2's, to timm's names."""
        return checkpoint_filter_fn(state, model, adapt_layer_scale=True)
