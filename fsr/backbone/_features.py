"""Networks that give feature maps: ResNet, ConvNeXt, Swin and others of timm, as encoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.layers.format import Format
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_shape, check_some
from fsr._core.module import TypedModule
from fsr._core.numerics import like_weights
from fsr.backbone._bands import band_count, normalisation, timm_options
from fsr.backbone._build import check_divisible, check_source
from fsr.backbone._build_features import build_features, load_features
from fsr.backbone._output import BackboneOutput, BackboneReading, BackboneRequest, check_block


class FeatureBackbone(TypedModule):
    """Encoder from a network of stages, without mask token, prefix tokens and attention.

    The cells of the last stage's map are its tokens. There is no final norm: ``norm`` is an
    identity. An earlier stage's map is averaged over the cells of the last one's grid, so that both
    have the same tokens; its width is its own, see :meth:`width`.

    Args:
        model: timm name of a network of ``timm.create_model(..., features_only=True)``, or such a
            network as a module.
        pretrained: False, True (timm's weights) or the path of a checkpoint of the whole network.
        image_size: input size in pixels, for networks that are built for one, such as Swin.
        options: options of ``timm.create_model`` such as ``output_stride=16``; of other bands than
            red, green and blue ``in_chans``, and ``mean`` and ``std`` of each.

    Attributes:
        model: timm's network.
        embed_dim: width D of the last stage.
        widths: width of each stage.
        depth: number of stages.
        num_heads: None.
        patch_size: stride ``(height, width)`` of the last stage in pixels.
        in_chans: number of bands.
        mean: normalisation of the pretraining, per channel, images in [0, 1]; of other bands than
            three in the units of the images.
        std: likewise.
        norm: an identity, for the final norm that other encoders have.
        prefix_names: empty.
        offers: what a method may ask of it, see :func:`check_offers`.

    Raises:
        FileNotFoundError: there is no file at the path ``pretrained``.
        TypeError: ``model`` is neither name nor module, or ``options`` no mapping.
        ValueError: the name is unknown, the network gives no feature maps, or options or weights
            do not fit it.

    Source:
        He et al., CVPR 2016; Liu et al., CVPR 2022 (ConvNeXt); Liu et al., ICCV 2021 (Swin).

    Example:
        >>> import torch
        >>> backbone = FeatureBackbone("resnet18")
        >>> output = backbone(torch.zeros(2, 3, 64, 96), aux_block=-2)
        >>> output.tokens.shape, output.aux_tokens.shape, output.grid
        (torch.Size([2, 6, 512]), torch.Size([2, 6, 256]), (2, 3))
    """

    prefix_names: tuple[str, ...] = ()
    offers = frozenset({"stages"})
    num_heads = None

    def __init__(
        self,
        model: str | nn.Module,
        *,
        pretrained: bool | str | Path = False,
        image_size: int | tuple[int, int] = 448,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_source(model, pretrained, options)
        network: Any = model
        if isinstance(model, str):
            chosen = timm_options(options or {})
            network = build_features(model, image_size, chosen)
            if pretrained is not False:
                load_features(network, model, pretrained, chosen)
        info = getattr(network, "feature_info", None)
        if not (hasattr(info, "channels") and hasattr(info, "reduction")):
            raise ValueError(
                "backbone: expected a network of timm.create_model(..., features_only=True), "
                f"got {type(network).__name__}"
            )
        self.model = network
        self.description = model if isinstance(model, str) else type(model).__name__
        self.widths = tuple(int(width) for width in network.feature_info.channels())
        self.depth = len(self.widths)
        self.embed_dim = self.widths[-1]
        stride = int(network.feature_info.reduction()[-1])
        self.patch_size = (stride, stride)
        self.in_chans = band_count(network)
        self.mean, self.std = normalisation(network, self.in_chans)
        self.norm = nn.Identity()

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return the grid ``(H, W)`` of the last stage for images ``(B, bands, height, width)``.

        Raises:
            ShapeError: ``images`` has the wrong shape.
            ValueError: the stride does not divide the image size.
        """
        _, _, height, width = check_shape(
            "images", images, "B channels H W", channels=self.in_chans
        )
        return check_divisible("images", (height, width), self.patch_size)

    def width(self, block: int) -> int:
        """Return the width of a stage; negative numbers count from the last."""
        return self.widths[self.check_block(block)]

    def check_block(self, aux_block: int) -> int:
        """Return the index of a stage from 0; raise unless the network has it."""
        return check_block("aux_block", aux_block, self.depth)

    def stages(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the map of every stage, ``(B, width, height, width)`` at its own stride.

        Args:
            images: ``(B, 3, height, width)``, normalised as the network's pretraining was.

        Raises:
            ShapeError: ``images`` has the wrong shape.
            TypeError: ``images`` is not floating point.
            ValueError: the stride does not divide the image size.
        """
        self.grid(images)
        check_floating("images", images)
        check_some("images", images)
        images = like_weights("images", images, next(self.model.parameters()))
        maps = self.model(images)
        if getattr(self.model, "output_fmt", Format.NCHW) == Format.NHWC:
            maps = [each.permute(0, 3, 1, 2) for each in maps]
        return tuple(maps)

    def forward(
        self,
        images: Tensor,
        mask: Tensor | None = None,
        *,
        aux_block: int = -2,
        aux_only: bool = False,
    ) -> BackboneOutput:
        """Encode images.

        Args:
            images: ``(B, 3, height, width)``, normalised as the network's pretraining was.
            mask: None, as there is no mask token.
            aux_block: stage whose map is returned too; negative counts from the last.
            aux_only: return that stage's tokens twice. The stages behind it run all the same.

        Returns:
            Tokens ``(B, N, D)``, auxiliary tokens ``(B, N, width)`` on the same grid, and the grid.

        Raises:
            ShapeError: ``images`` has the wrong shape.
            TypeError: ``images`` is not floating point.
            ValueError: the stride does not divide the image size, there is no such stage, or a
                mask is given.
        """
        reading = self.read(images, mask, aux_block=aux_block, aux_only=aux_only)
        return BackboneOutput(reading.tokens, reading.aux_tokens, reading.grid)

    def read(
        self,
        images: Tensor,
        mask: Tensor | None = None,
        request: BackboneRequest | None = None,
        *,
        aux_block: int = -2,
        aux_only: bool = False,
    ) -> BackboneReading:
        """Encode images as :meth:`forward` does, and return the stages' maps too where asked.

        Args:
            images: as in :meth:`forward`.
            mask: likewise.
            request: what to return besides; None asks for the stages.
            aux_block: as in :meth:`forward`.
            aux_only: likewise.

        Raises:
            ShapeError: as in :meth:`forward`.
            TypeError: likewise.
            ValueError: likewise, or something is asked for that only transformers have.
        """
        asked = BackboneRequest(stages=True) if request is None else request
        if asked.prefix_tokens or asked.blocks or asked.attention:
            raise ValueError(
                f"request: expected stages alone, as {self.description} gives feature maps, "
                f"got {asked}"
            )
        index = self.check_block(aux_block)
        if mask is not None:
            raise ValueError(
                f"mask: expected None; {self.description} has no mask token, as it gives feature "
                f"maps: take one of timm's vision transformers, got {tuple(mask.shape)}"
            )
        grid = self.grid(images)
        maps = self.stages(images)
        aux_tokens = _cells(maps[index], grid)
        tokens = aux_tokens if aux_only else _cells(maps[-1], grid)
        return BackboneReading(tokens, aux_tokens, grid, stages=maps if asked.stages else ())


def _cells(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return maps ``(B, C, h, w)`` as tokens ``(B, N, C)``, averaged over the cells of a grid."""
    if tuple(maps.shape[2:]) != grid:
        maps = F.adaptive_avg_pool2d(maps, grid)
    return maps.flatten(2).transpose(1, 2)
