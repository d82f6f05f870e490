"""timm's Beit: BEiT and BEiT v2, whose attention adds a bias by the patches' relative position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.beit import Beit, gen_relative_position_index
from torch import Tensor
from torch.nn import functional as F

from fsr.backbone._kind import AttentionPosition, Placed, keep_patch_tokens
from fsr.backbone._relative_positions import resize_relative_positions


class BeitPosition(NamedTuple):
    """Where the tokens of a pass are.

    Attributes:
        grid: patch grid.
        rows: row of a table of relative positions for every pair of tokens, ``(T, T)``, or None.
        shared: bias that all blocks share, ``(1, heads, T, T)``, or None.
    """

    grid: tuple[int, int]
    rows: Tensor | None
    shared: Tensor | None


class BeitKind:
    """``Beit``. timm's takes one size; here tables and positions follow the image's grid."""

    timm_class: Any = Beit
    registry = "beit"
    size_options: Mapping[str, Any] = {}

    def prepare(self, model: Any) -> None:
        """Leave in a model what patch tokens need, and make it accept any input size."""
        keep_patch_tokens(model)
        model.patch_embed.strict_img_size = False

    def embed(self, model: Any, images: Tensor) -> Tensor:
        """Return patches before anything else is added, ``(B, H, W, D)``."""
        grid = model.patch_embed.dynamic_feat_size(images.shape[2:])
        patches: Tensor = model.patch_embed(images).unflatten(1, grid)
        return patches

    def place(self, model: Any, patches: Tensor) -> Placed:
        """Add the class token and absolute positions; find the relative ones."""
        grid = (int(patches.shape[1]), int(patches.shape[2]))
        token = model.cls_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat((token, patches.flatten(1, 2)), dim=1)
        native = tuple(model.patch_embed.grid_size)
        if model.pos_embed is not None:
            positions = model.pos_embed
            if grid != native:
                positions = resample_abs_pos_embed(
                    positions, list(grid), list(native), num_prefix_tokens=1
                )
            tokens = tokens + positions
        rows: Tensor | None = None
        if model.rel_pos_bias is not None or model.blocks[0].attn.window_size is not None:
            rows = gen_relative_position_index(grid).to(tokens.device)
        shared = _bias(model.rel_pos_bias, grid, rows)
        return Placed(model.pos_drop(tokens), BeitPosition(grid, rows, shared))

    def run(self, block: Any, tokens: Tensor, position: BeitPosition) -> Tensor:
        """Run one block on ``(B, T, D)``, timm's block with its bias at the image's grid."""
        attended = _attend(block.attn, block.norm1(tokens), _block_bias(block, position))
        attended = attended if block.gamma_1 is None else block.gamma_1 * attended
        middle: Tensor = tokens + block.drop_path1(attended)
        fed = block.mlp(block.norm2(middle))
        fed = fed if block.gamma_2 is None else block.gamma_2 * fed
        output: Tensor = middle + block.drop_path2(fed)
        return output

    def position_at(self, index: int, position: BeitPosition) -> BeitPosition:
        """Return the position, which is that of all blocks."""
        return position

    def attention_position(self, block: Any, position: BeitPosition) -> AttentionPosition:
        """Return the block's bias."""
        return AttentionPosition(bias=_block_bias(block, position))

    def translate(self, state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
        """Leave out what BEiT's own code keeps beside the weights that timm names alike.

        timm's translation would resize tables to its own size on the way.
        """
        return {
            key: value
            for key, value in state.items()
            if not key.endswith("relative_position_index")
            and not key.startswith(("lm_head.", "mask_token"))
        }


def _attend(attention: Any, tokens: Tensor, bias: Tensor | None) -> Tensor:
    """Apply an attention to tokens ``(B, T, D)`` with a bias ``(1, heads, T, T)``."""
    offset = None
    if attention.q_bias is not None:
        offset = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
    projected = F.linear(tokens, attention.qkv.weight, offset)
    shape = (3, attention.num_heads, -1)
    q, k, v = projected.unflatten(2, shape).permute(2, 0, 3, 1, 4).unbind(0)
    values = F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=None if bias is None else bias.to(q.dtype),
        dropout_p=attention.attn_drop.p if attention.training else 0.0,
    )
    result: Tensor = attention.proj_drop(attention.proj(values.transpose(1, 2).flatten(2)))
    return result


def _block_bias(block: Any, position: BeitPosition) -> Tensor | None:
    """Return the bias of a block's attention, its own and the shared one added."""
    attention = block.attn if block.attn.window_size is not None else None
    own = _bias(attention, position.grid, position.rows)
    if own is None or position.shared is None:
        return position.shared if own is None else own
    return own + position.shared


def _bias(holder: Any, grid: tuple[int, int], rows: Tensor | None) -> Tensor | None:
    """Return the bias ``(1, heads, T, T)`` of what holds a table, at a grid; None if nothing."""
    if holder is None or rows is None:
        return None
    table: Tensor = resize_relative_positions(
        holder.relative_position_bias_table, tuple(holder.window_size), grid
    )
    pairs: Tensor = table[rows.flatten()].unflatten(0, rows.shape)
    return pairs.permute(2, 0, 1).unsqueeze(0)
