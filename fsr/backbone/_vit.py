"""A thin adapter over timm's transformers that masks patches and returns patch tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fsr._core.checks import check_shape
from fsr._core.module import TypedModule
from fsr.backbone._attention import has_attention
from fsr.backbone._bands import band_count, normalisation
from fsr.backbone._build import check_divisible, encoder_of, head_count
from fsr.backbone._class_tokens import copy_class_token
from fsr.backbone._kind import prefix_names
from fsr.backbone._kinds import kind_of
from fsr.backbone._offers import offers_of
from fsr.backbone._output import (
    BackboneOutput,
    BackboneReading,
    BackboneRequest,
    check_block,
    check_request,
)
from fsr.backbone._pass import Watch, checked_inputs, place_patches, reading_of, run_blocks
from fsr.backbone._pretrained import final_norm_name


class ViTBackbone(TypedModule):
    """Encoder of the framework: a timm ViT for images of any size, with a learnable mask token.

    Masked patches are replaced by the mask token after patch embedding and before any position
    enters; absolute embeddings and tables of relative positions are interpolated in float32 to the
    image's patch grid, rotations computed for it. Class, distillation and register tokens work
    inside and are stripped outside. Patch dropout is left out, as every patch needs its token.

    Args:
        model: timm name of a ``VisionTransformer`` (or of its distilled subclass), an ``Eva`` or a
            ``Beit``, or such a module. A module is taken over: its head and attention pooling are
            removed, its other weights stay as they are.
        pretrained: False, True (timm's weights), or the path of a checkpoint (``.safetensors``, or
            ``.pth`` without code), whose input size and prefix tokens may differ from the model's.
        image_size: input size in pixels that the position embedding is made for.
        options: options of ``timm.create_model`` such as ``class_token=False, global_pool=""``; of
            other bands than red, green and blue ``in_chans``, and ``mean`` and ``std`` of each.
        class_tokens: C, one class token per class instead of the one that a ``VisionTransformer``
            has: copies of it and of its position, made after the weights are loaded.

    Attributes:
        model: the timm model.
        class_tokens: C, or None.
        mask_token: stands in for masked patches, ``(1, 1, D)``.
        embed_dim: width D.
        num_heads: attention heads per block.
        depth: number of blocks.
        patch_size: ``(height, width)`` of a patch in pixels.
        prefix_names: ``"class"``, ``"distillation"`` or ``"register"`` for each prefix token, in
            their order in the sequence.
        offers: what a method may ask of it, see :func:`check_offers`.
        in_chans: number of bands.
        mean: normalisation of the pretraining, per channel, images in [0, 1]; of other bands than
            three in the units of the images.
        std: likewise.

    Raises:
        FileNotFoundError: there is no file at the path ``pretrained``.
        TypeError: ``model`` is neither name nor module, or ``options`` no mapping.
        ValueError: the name is unknown, the class of model is not supported, or options, image
            size, pretrained weights or class tokens do not fit it.

    Source:
        Section "A Single-Stage Framework for WSSS"; Dosovitskiy et al., ICLR 2021.

    Example:
        >>> import torch
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
        class_tokens: int | None = None,
    ) -> None:
        super().__init__()
        vit = encoder_of(model, pretrained, image_size, options)
        self._kind = kind_of(vit)
        copy_class_token(vit, class_tokens)
        self.class_tokens = class_tokens
        self._kind.prepare(vit)
        self.model = vit
        self.prefix_names = prefix_names(vit)
        self.embed_dim = int(vit.embed_dim)
        self.depth = len(vit.blocks)
        self.num_heads = head_count(vit)
        height, width = vit.patch_embed.feat_ratio(as_scalar=False)
        self.patch_size = (int(height), int(width))
        self.in_chans = band_count(vit)
        self.mean, self.std = normalisation(vit, self.in_chans)
        like = next(vit.parameters())
        self.mask_token = nn.Parameter(like.new_empty(1, 1, self.embed_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    @property
    def offers(self) -> frozenset[str]:
        """What a method may ask of this encoder, see :func:`fsr.backbone.check_offers`."""
        attention = all(has_attention(block) for block in self.model.blocks)
        per_class = self.class_tokens is not None
        return offers_of(self.prefix_names, attention=attention, per_class=per_class)

    @property
    def description(self) -> str:
        """Name of the encoder in messages, that of its class in timm."""
        return type(self.model).__name__

    def width(self, block: int) -> int:
        """Return the width of a block's tokens, D for each."""
        self.check_block(block)
        return self.embed_dim

    @property
    def norm(self) -> nn.Module:
        """The final norm, which :meth:`forward` leaves out; an identity where the ViT has none."""
        norm: nn.Module = self.model.get_submodule(final_norm_name(self.model))
        return norm

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return the patch grid ``(H, W)`` of images ``(B, bands, height, width)``.

        Raises:
            ShapeError: ``images`` has the wrong shape.
            ValueError: the patch size does not divide the image size.
        """
        _, _, height, width = check_shape(
            "images", images, "B channels H W", channels=self.in_chans
        )
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
            images: ``(B, 3, height, width)``, normalised as the backbone's pretraining was, of any
                floating-point type; they are taken in that of the weights.
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
        reading = self.read(images, mask, BackboneRequest(), aux_block=aux_block, aux_only=aux_only)
        return BackboneOutput(reading.tokens, reading.aux_tokens, reading.grid)

    def read(
        self,
        images: Tensor,
        mask: Tensor | None = None,
        request: BackboneRequest | None = None,
        *,
        aux_block: int = -1,
        aux_only: bool = False,
    ) -> BackboneReading:
        """Encode images as :meth:`forward` does, in one pass, and return more of what it computes.

        Attention comes with gradient, in at least float32 and without the dropout of training; the
        pass itself stays on the fused kernel, so its tokens are those of :meth:`forward`.

        Args:
            images: as in :meth:`forward`.
            mask: likewise.
            request: what to return besides; None asks for the prefix tokens.
            aux_block: as in :meth:`forward`.
            aux_only: likewise.

        Returns:
            Tokens, auxiliary tokens and grid, and what was asked for.

        Raises:
            ShapeError: ``images`` or ``mask`` has the wrong shape.
            TypeError: a tensor has the wrong type, or ``request`` is none.
            ValueError: as in :meth:`forward`; there is no such block, the pass stops before it,
                its attention cannot be formed, or there is no prefix token.

        Example:
            >>> import torch
            >>> small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
            >>> backbone = ViTBackbone("vit_tiny_patch16_224", image_size=32, options=small)
            >>> asked = BackboneRequest(prefix_tokens=True, attention=(-1,))
            >>> reading = backbone.read(torch.zeros(1, 3, 32, 32), request=asked)
            >>> reading.prefix_tokens.shape, reading.attention[0].shape, backbone.prefix_names
            (torch.Size([1, 1, 32]), torch.Size([1, 2, 5, 5]), ('class',))
        """
        grid, aux_index = self.grid(images), self.check_block(aux_block)
        images, mask = checked_inputs(images, mask, grid, self.mask_token)
        depth = aux_index + 1 if aux_only else self.depth
        asked = BackboneRequest(prefix_tokens=True) if request is None else request
        asked = check_request(asked, self.depth, depth)
        if asked.prefix_tokens and not self.prefix_names:
            raise ValueError("request: expected no prefix tokens, as the encoder has none")
        if asked.stages:
            raise ValueError(
                f"request: expected no stages, as {self.description} gives tokens, not feature maps"
            )

        attention: dict[int, Tensor] = {}
        watch = Watch(asked.attention, attention.__setitem__, asked.attention_form)
        placed = place_patches(self._kind, self.model, self.mask_token, images, mask)
        wanted = (*asked.blocks, aux_index)
        kept = run_blocks(self._kind, self.model, placed, depth, wanted, watch)
        return reading_of(kept, asked, attention, aux_index, grid)

    def visit_attention(
        self,
        images: Tensor,
        receive: Callable[[int, Tensor], Any],
        *,
        mask: Tensor | None = None,
        blocks: Sequence[int],
        rows: slice | None = None,
    ) -> None:
        """Encode images and hand over each block's attention at once, of which none is kept.

        Args:
            images: as in :meth:`forward`.
            receive: called as ``receive(block, weights)``, weights ``(B, heads, Q, T)``, in order.
            mask: as in :meth:`forward`.
            blocks: numbers of the blocks from 0.
            rows: queries to compute; None computes all T.

        Raises:
            ValueError: as in :meth:`forward`, or a block's attention cannot be formed.
        """
        images, mask = checked_inputs(images, mask, self.grid(images), self.mask_token)
        placed = place_patches(self._kind, self.model, self.mask_token, images, mask)
        watch = Watch(tuple(blocks), receive, rows=rows)
        run_blocks(self._kind, self.model, placed, self.depth, (), watch)

    def check_block(self, aux_block: int) -> int:
        """Return the index of a block from 0; raise unless the backbone has it."""
        return check_block("aux_block", aux_block, self.depth)
