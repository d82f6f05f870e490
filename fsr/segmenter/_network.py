"""The single-stage segmenter: backbone, classifiers, aggregator, projector and decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fsr._core.checks import check_positive_int
from fsr._core.module import TypedModule
from fsr.segmenter._checkpoint import load_network, save_network
from fsr.segmenter._heads import heads_of
from fsr.segmenter._inference import attention_of, cams_of, probabilities_of
from fsr.segmenter._method_head import HeadSpec, MethodHead, build_heads
from fsr.segmenter._multiscale import Reduction
from fsr.segmenter._output import HEADS, SegmenterOutput, Wanted, slices_by_head
from fsr.segmenter._parts import (
    PARTS,
    Aggregator,
    Decoder,
    build_aggregator,
    build_backbone,
    build_decoder,
    build_projector,
    recorded,
)
from fsr.segmenter._pretrained import HubMethods


class SingleStageSegmenter(HubMethods, TypedModule):
    """The network of the framework: one ViT, read by all the heads of Eq. 10.

    Args:
        num_classes: number C of foreground classes; background is not among them.
        backbone: timm name or module of a ViT, see :class:`fsr.backbone.ViTBackbone`; or such a
            backbone, or a :class:`fsr.backbone.FeatureBackbone`, by name ``"features:resnet50"``.
        pretrained: False, True (timm's weights) or the path of a checkpoint of the backbone.
        image_size: size in pixels that the position embedding is made for; any size is accepted.
        aux_block: block, or stage, whose raw output feeds the auxiliary classifier.
        aggregator: None (``"mca"`` with the backbone's head count), ``"mca"``, ``"average"``,
            ``"max"``, or a module called as ``aggregator(tokens, mask)``.
        projector: None (a :class:`fsr.projection.ProjectionHead` of ``projection_dim``) or a module
            on tokens ``(B, 1 + N, D)``.
        decoder: ``"largefov"`` or a module from ``(B, D, H, W)`` to ``(B, C + 1, H, W)``.
        projection_dim: width K of the projections.
        backbone_options: options of ``timm.create_model``, for example ``class_token=False``; of
            other bands than red, green and blue ``in_chans``, and ``mean`` and ``std`` of each.
        aggregator_options: options of ``"mca"``, for example ``num_heads=8``.
        projector_options: options of the default projector, for example ``hidden_dim=256``.
        decoder_options: options of a decoder given by name, for example ``hidden_dim=128``.
        heads: heads of a method's own by name: a kind of :data:`fsr.segmenter.HEAD_KINDS`, a
            mapping with ``kind`` and its options, or a :class:`fsr.segmenter.MethodHead`; and None
            for a standard head to leave out, with what it is made of: ``"aux_class_logits"``,
            ``"segmentation"`` (decoder) or ``"projections"`` (aggregator and projector).
        class_tokens: give a ViT one class token for each class, in place of its one.

    Attributes:
        classifier: 1x1 convolution without bias, weight ``(C, D, 1, 1)``, on the final tokens.
        aux_classifier: the same on the auxiliary tokens.
        class_names: C names or None; saved and loaded with the weights.
        head_names: all heads that the network has.

    Raises:
        FileNotFoundError: there is no file at the path ``pretrained``.
        TypeError: an argument has the wrong type.
        ValueError: no class, no such part or block, or options or weights that do not fit.

    Source:
        Section "A Single-Stage Framework for WSSS".

    Example:
        >>> import torch
        >>> small = {"embed_dim": 32, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     5, "vit_tiny_patch16_224", image_size=64, projection_dim=8, backbone_options=small)
        >>> output = model(torch.zeros(2, 3, 64, 48), outputs=("class_logits", "segmentation"))
        >>> output.class_logits.shape, output.segmentation.shape, output.grid
        (torch.Size([2, 5]), torch.Size([2, 6, 4, 3]), (4, 3))
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str | nn.Module = "vit_base_patch16_224",
        *,
        pretrained: bool | str | Path = False,
        image_size: int | tuple[int, int] = 448,
        aux_block: int = -3,
        aggregator: Aggregator | nn.Module | None = None,
        projector: nn.Module | None = None,
        decoder: Decoder | nn.Module = "largefov",
        projection_dim: int = 4096,
        backbone_options: Mapping[str, Any] | None = None,
        aggregator_options: Mapping[str, Any] | None = None,
        projector_options: Mapping[str, Any] | None = None,
        decoder_options: Mapping[str, Any] | None = None,
        heads: Mapping[str, HeadSpec] | None = None,
        class_tokens: bool = False,
    ) -> None:
        super().__init__()
        check_positive_int("num_classes", num_classes)
        check_positive_int("projection_dim", projection_dim)
        self.num_classes = num_classes
        self.class_names: tuple[str, ...] | None = None
        self._arguments = recorded(
            num_classes=num_classes,
            backbone=backbone,
            # The name of a file: whoever gets the network needs no folders of this machine.
            pretrained=Path(pretrained).name if isinstance(pretrained, (str, Path)) else pretrained,
            image_size=image_size,
            aux_block=aux_block,
            aggregator=aggregator,
            projector=projector,
            decoder=decoder,
            projection_dim=projection_dim,
            backbone_options=backbone_options,
            aggregator_options=aggregator_options,
            projector_options=projector_options,
            decoder_options=decoder_options,
            **({"heads": heads} if heads else {}),
            **({"class_tokens": True} if class_tokens else {}),
        )
        tokens = num_classes if class_tokens else None
        self.backbone = build_backbone(backbone, pretrained, image_size, backbone_options, tokens)
        self.aux_block = aux_block
        dim, aux_dim = self.backbone.embed_dim, self.backbone.width(aux_block)
        self.classifier = nn.Conv2d(dim, num_classes, 1, bias=False)
        own, left = build_heads(heads or {}, self.backbone, num_classes)
        names = dict.fromkeys((*HEADS, *own))
        self.head_names = tuple(name for name in names if name not in left)
        without = left | own.keys()
        self.aux_classifier: Any = None
        if "aux_class_logits" not in without:
            self.aux_classifier = nn.Conv2d(aux_dim, num_classes, 1, bias=False)
        self.aggregator: Any = None
        self.projector: Any = None
        if "projections" not in without:
            self.aggregator = build_aggregator(aggregator, self.backbone, aggregator_options)
            self.projector = build_projector(projector, dim, projection_dim, projector_options)
        self.decoder: Any = None
        if "segmentation" not in without:
            self.decoder = build_decoder(decoder, dim, num_classes, decoder_options)
        self.heads = nn.ModuleDict(own)

    def forward(
        self, images: Tensor, mask: Tensor | None = None, *, outputs: Wanted = None
    ) -> SegmenterOutput:
        """Compute the heads.

        Args:
            images: ``(B, 3, height, width)``, normalised as the backbone's pretraining was; of
                other bands, ``in_chans`` of them.
            mask: ``(B, H, W)`` boolean, True = masked; None masks nothing.
            outputs: names of the heads to compute, or a mapping from names to slices of the batch
                to compute them for; None computes all.

        Returns:
            The heads; those not asked for are None.

        Raises:
            ShapeError: ``images`` or ``mask`` has the wrong shape.
            TypeError: a tensor has the wrong type, or ``outputs`` is neither names nor slices.
            ValueError: the patch does not divide the image size, or there is no such head.
        """
        return heads_of(self, images, mask, slices_by_head(outputs, self.head_names))

    def cam(
        self, images: Tensor, *, scales: Sequence[float] = (1.0, 0.5, 1.5), flip: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Multi-scale CAMs of the final and of the auxiliary tokens (Eq. 2).

        Runs the encoder and the classifiers alone, without gradient and in eval mode. At every
        scale the maximum over flips is taken; scales are summed, then normalised.

        Args:
            images: ``(B, 3, height, width)`` of any size of at least one patch.
            scales: factors of the image size, rounded to the nearest size that the patch divides.
            flip: use the mirror images too.

        Returns:
            Final and auxiliary CAM between 0 and 1, each ``(B, C, height, width)``.

        Raises:
            ShapeError: ``images`` has the wrong shape.
            TypeError: ``images`` is not floating point, or ``scales`` holds no numbers.
            ValueError: the images are smaller than a patch, or a scale is not positive.
        """
        return cams_of(self, images, scales, flip)

    def predict(
        self,
        images: Tensor,
        *,
        scales: Sequence[float] = (1.0, 1.25, 1.5),
        flip: bool = True,
        reduce: Reduction = "max_logits",
    ) -> Tensor:
        """Segmentation probabilities at the images' size, without gradient and in eval mode.

        Args:
            images: ``(B, 3, height, width)`` of any size of at least one patch.
            scales: factors of the image size, rounded as in :meth:`cam`.
            flip: use the mirror images too.
            reduce: ``"max_logits"``: logits summed over flips, maximum over scales, softmax, as the
                released code does; ``"mean_probabilities"``: softmax averaged over both.

        Returns:
            Probabilities ``(B, C + 1, height, width)``; channel 0 is background.

        Raises:
            ShapeError: ``images`` has the wrong shape.
            TypeError: ``images`` is not floating point, or ``scales`` holds no numbers.
            ValueError: images smaller than a patch, a scale not positive, or no such reduction.
        """
        return probabilities_of(self, images, scales, flip, reduce)

    def attention_maps(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention of the aggregated token on the patches (Eq. 7), no gradient, eval mode.

        Args:
            images: ``(B, 3, height, width)``, a size that the patch divides.
            mask: ``(B, H, W)`` boolean, True = masked.

        Returns:
            The aggregator's weights ``(B, depth, heads, H, W)``, whose sum over patches is 1.

        Raises:
            ShapeError: ``images`` or ``mask`` has the wrong shape.
            TypeError: a tensor has the wrong type.
            ValueError: the aggregator has no attention, or the patch does not divide the image.
        """
        return attention_of(self, images, mask)

    def save(self, path: str | Path, *, class_names: Sequence[str] | None = None) -> None:
        """Save weights, constructor arguments, class names and version as safetensors.

        Args:
            path: file to write; it appears whole or not at all.
            class_names: C names; by default the attribute ``class_names``.

        Raises:
            ValueError: the number of names is not C, or an argument is not plain data.
        """
        save_network(self, path, class_names)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        num_classes: int | None = None,
        backbone: nn.Module | None = None,
        aggregator: nn.Module | None = None,
        projector: nn.Module | None = None,
        decoder: nn.Module | None = None,
        heads: Mapping[str, MethodHead] | None = None,
    ) -> SingleStageSegmenter:
        """Build a saved model, on the CPU and in eval mode. No file is ever unpickled.

        Args:
            path: file that :meth:`save` wrote.
            num_classes: number of classes that the caller needs; None takes what the file has.
            backbone: module to load into; needed where the model was built from one.
            aggregator: likewise.
            projector: likewise.
            decoder: likewise.
            heads: likewise, by name.

        Returns:
            The model, with its ``class_names``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file was not saved by :meth:`save`, has another number of classes,
                needs a module, or does not fit the module given.
        """
        parts = dict(zip(PARTS, (backbone, aggregator, projector, decoder), strict=True))
        return load_network(cls, path, num_classes, parts, heads or {})
