"""timm's Eva: EVA, EVA02, DINOv3, Perception Encoder, ViTs with rotary positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers.format import Format
from timm.models.eva import Eva, checkpoint_filter_fn
from torch import Tensor, nn

from fsr.backbone._kind import AttentionPosition, Placed, keep_patch_tokens

# One for all blocks, or one for each.
Rotation = Tensor | tuple[Tensor, ...] | None


class EvaKind:
    """``Eva``: absolute positions, rotary ones, or both; rotations follow the image's grid."""

    timm_class: Any = Eva
    registry = "eva"
    size_options: Mapping[str, Any] = {"dynamic_img_size": True}

    def prepare(self, model: Any) -> None:
        """Leave in a model what patch tokens need, and make it accept any input size.

        Raises:
            ValueError: its rotations were made for one size.
        """
        if model.rope is not None and not model.dynamic_img_size:
            raise ValueError(
                "backbone: expected an Eva built with dynamic_img_size=True, whose rotary "
                "positions follow the image; got one whose rotations are fixed to "
                f"{tuple(model.patch_embed.grid_size)} patches"
            )
        keep_patch_tokens(model)
        if getattr(model, "attn_pool", None) is not None:
            model.attn_pool = None
        model.patch_drop = None
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
        """Add prefix tokens and absolute positions; the rotation is the position."""
        tokens, rope = model._pos_embed(patches)
        if rope is not None and getattr(model, "rope_mixed", False):
            rope = tuple(rope.unbind(0))
        # A norm that came after the oldest timm supported.
        return Placed(getattr(model, "norm_pre", nn.Identity())(tokens), rope)

    def run(self, block: Any, tokens: Tensor, position: Tensor | None) -> Tensor:
        """Run one block on ``(B, T, D)``."""
        output: Tensor = block(tokens, rope=position)
        return output

    def position_at(self, index: int, position: Rotation) -> Tensor | None:
        """Return the block's rotation: the same for all, or its own where they are learned."""
        return position[index] if isinstance(position, tuple) else position

    def attention_position(self, block: Any, position: Tensor | None) -> AttentionPosition:
        """Return the block's rotation."""
        return AttentionPosition(rope=position)

    def translate(self, state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
        """Bring a state of other code, such as DINOv3's, to timm's names."""
        return checkpoint_filter_fn(state, model)
