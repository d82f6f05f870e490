"""ViT backbone: a thin adapter over timm that masks patches and returns patch tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.data.config import resolve_data_config
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fsr._core.checks import check_bool, check_floating, check_shape
from fsr._core.module import TypedModule
from fsr._core.shown import shown
from fsr.backbone._build import (
    build_vit,
    check_divisible,
    check_supported,
    head_count,
    prepared,
)
from fsr.backbone._pretrained import final_norm_name, load_pretrained


class BackboneOutput(NamedTuple):
    """Patch tokens of one pass, prefix tokens stripped.

    Attributes:
        tokens: output of the last block BEFORE the final norm, ``(B, N, D)``.
        aux_tokens: raw output of the auxiliary block, ``(B, N, D)``.
        grid: patch grid ``(H, W)``, ``H * W = N``.
    """

    tokens: Tensor
    aux_tokens: Tensor
    grid: tuple[int, int]

    def __repr__(self) -> str:
        return shown(self)


class ViTBackbone(TypedModule):
    """Encoder of the framework: a timm ViT for images of any size, with a learnable mask token.

    Masked patches are replaced by the mask token after patch embedding and before the position
    embedding is added, which is interpolated in float32 to the image's patch grid. Class,
    distillation and register tokens work inside and are stripped outside. Patch dropout is left
    out, as every patch needs its token.

    Args:
        model: timm name of a ``VisionTransformer`` (or of its distilled subclass), or such a
            module. A module is taken over: its head and attention pooling are removed, its other
            weights stay as they are.
        pretrained: False, True (timm's weights), or the path of a checkpoint (``.safetensors``, or
            ``.pth`` without code), whose input size and prefix tokens may differ from the model's.
        image_size: input size in pixels that the position embedding is made for.
        options: options of ``timm.create_model`` such as ``class_token=False, global_pool=""``.

    Attributes:
        model: the timm model.
        mask_token: stands in for masked patches, ``(1, 1, D)``.
        embed_dim: width D.
        num_heads: attention heads per block.
        depth: number of blocks.
        patch_size: ``(height, width)`` of a patch in pixels.
        mean: normalisation of the pretraining, per channel, images in [0, 1].
        std: likewise.

    Raises:
        FileNotFoundError: there is no file at the path ``pretrained``.
        TypeError: ``model`` is neither name nor module, or ``options`` no mapping.
        ValueError: the name is unknown, the class of model is not supported, or options, image
            size or pretrained weights do not fit it.

    Source:
        Section "A Single-Stage Framework for WSSS"; Dosovitskiy et al., ICLR 2021.

    Example:
        >>> small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
        >>> backbone = ViTBackbone("vit_tiny_patch16_224", image_size=64, options=small)
        >>> output = backbone(torch.zeros(1, 3, 32, 48))
        >>> output.tokens.shape, output.grid
        (torch.Size([1, 6, 32]), (2, 3))
    """

    def __init__(
        self,
        model: str | nn.Module,
        *,
        pretrained: bool | str | Path = False,
        image_size: int | tuple[int, int] = 448,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(pretrained, bool | str | Path):
            raise TypeError(
                f"pretrained: expected False, True or a path, got {type(pretrained).__name__}"
            )
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"backbone_options: expected a mapping, got {type(options).__name__}")
        if isinstance(model, str):
            vit = build_vit(model, image_size, options or {})
            if pretrained is not False:
                load_pretrained(vit, model, pretrained, options or {})
        elif isinstance(model, nn.Module):
            if pretrained is not False or options:
                raise ValueError(
                    "backbone: pretrained and backbone_options belong to a name; "
                    f"got them with a module, {type(model).__name__}"
                )
            vit = check_supported(model)
        else:
            raise TypeError(
                f"backbone: expected a timm name or a module, got {type(model).__name__}"
            )
        self.model = prepared(vit)
        self.embed_dim = int(vit.embed_dim)
        self.depth = len(vit.blocks)
        self.num_heads = head_count(vit)
        height, width = vit.patch_embed.feat_ratio(as_scalar=False)
        self.patch_size = (int(height), int(width))
        config = resolve_data_config(model=vit)  # type: ignore[no-untyped-call]
        self.mean = tuple(float(value) for value in config["mean"])
        self.std = tuple(float(value) for value in config["std"])
        like = next(vit.parameters())
        self.mask_token = nn.Parameter(like.new_empty(1, 1, self.embed_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    @property
    def norm(self) -> nn.Module:
        """The final norm, which :meth:`forward` leaves out; an identity where the ViT has none."""
        norm: nn.Module = self.model.get_submodule(final_norm_name(self.model))
        return norm

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return the patch grid ``(H, W)`` of images ``(B, 3, height, width)``.

        Raises:
            ShapeError: ``images`` has the wrong shape.
            ValueError: the patch size does not divide the image size.
        """
        _, _, height, width = check_shape("images", images, "B channels H W", channels=3)
        return check_divisible("images", (height, width), self.patch_size)

    def forward(
        self,
        images: Tensor,
        mask: Tensor | None = None,
        *,
        aux_block: int = -1,
        aux_only: bool = False,
    ) -> BackboneOutput:
        """Encode images, masked patches replaced by the mask token.

        Args:
            images: ``(B, 3, height, width)``, normalised as the backbone's pretraining was.
            mask: ``(B, H, W)`` boolean, True = masked; None masks nothing.
            aux_block: block whose raw output is returned too; negative counts from the end.
            aux_only: stop after that block, whose output is then returned twice.

        Returns:
            Tokens before the final norm and auxiliary tokens, ``(B, N, D)``, and the patch grid.

        Raises:
            ShapeError: ``images`` or ``mask`` has the wrong shape.
            TypeError: ``images`` is not floating point or ``mask`` not boolean.
            ValueError: the patch does not divide the image size, or there is no such block.
        """
        height, width = self.grid(images)
        check_floating("images", images)
        aux_index = self.check_block(aux_block)
        if mask is not None:
            check_shape("mask", mask, "B H W", B=images.shape[0], H=height, W=width)
            check_bool("mask", mask)

        vit = self.model
        embedded: Tensor = vit.patch_embed(images)
        if mask is None and torch.is_grad_enabled():
            # Without this, DDP would wait for the mask token's gradient after a pass without mask.
            mask = torch.zeros(embedded.shape[:3], dtype=torch.bool, device=embedded.device)
        if mask is not None:
            token = self.mask_token.to(embedded.dtype).unsqueeze(0)
            embedded = torch.where(mask.unsqueeze(-1), token, embedded)
        tokens: Tensor = vit.norm_pre(vit._pos_embed(embedded))

        aux_tokens = tokens
        blocks = vit.blocks[: aux_index + 1] if aux_only else vit.blocks
        for index, block in enumerate(blocks):
            if vit.grad_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
            if index == aux_index:
                aux_tokens = tokens
        count = height * width
        return BackboneOutput(tokens[:, -count:], aux_tokens[:, -count:], (height, width))

    def check_block(self, aux_block: int) -> int:
        """Return the index of a block from 0; raise unless the backbone has it."""
        if isinstance(aux_block, bool) or not isinstance(aux_block, int):
            raise TypeError(f"aux_block: expected an integer, got {aux_block!r}")
        if not -self.depth <= aux_block < self.depth:
            raise ValueError(
                f"aux_block: expected -{self.depth} to {self.depth - 1} for {self.depth} blocks, "
                f"got {aux_block}"
            )
        return aux_block % self.depth
