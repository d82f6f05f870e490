"""The single-stage segmenter: backbone, classifiers, aggregator, projector and decoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fsr._core.checks import check_choice, check_positive_int, check_shape
from fsr._core.modes import eval_mode
from fsr._core.version import __version__
from fsr.backbone import ViTBackbone
from fsr.projection import project_tokens
from fsr.segmenter._checkpoint import (
    load_strictly,
    read_checkpoint,
    restored_arguments,
    write_checkpoint,
)
from fsr.segmenter._multiscale import (
    check_multi_scale,
    multi_scale_cams,
    multi_scale_probabilities,
    raw_cams,
)
from fsr.segmenter._parts import (
    build_aggregator,
    build_decoder,
    build_projector,
    plain,
    recorded,
)

HEADS = (
    "class_logits",
    "aux_class_logits",
    "segmentation",
    "tokens",
    "aux_tokens",
    "projections",
)
PARTS = ("backbone", "aggregator", "projector", "decoder")


class SegmenterOutput(NamedTuple):
    """What one forward returns; heads that were not asked for are None.

    Attributes:
        class_logits: image-level logits of the final tokens, ``(B, C)``.
        aux_class_logits: image-level logits of the auxiliary tokens, ``(B, C)``.
        segmentation: logits at patch resolution, ``(B, C + 1, H, W)``, channel 0 background.
        tokens: patch tokens after the final norm, ``(B, N, D)``.
        aux_tokens: raw output of the auxiliary block, ``(B, N, D)``.
        projections: projector outputs, ``(B, 1 + N, K)``; row 0 is the aggregated token.
        grid: patch grid ``(H, W)``, ``H * W = N``.
    """

    class_logits: Tensor | None
    aux_class_logits: Tensor | None
    segmentation: Tensor | None
    tokens: Tensor | None
    aux_tokens: Tensor | None
    projections: Tensor | None
    grid: tuple[int, int]


class SingleStageSegmenter(nn.Module):
    """The network of the framework: one ViT, read by all the heads of Eq. 10.

    Args:
        num_classes: number C of foreground classes; background is not among them.
        backbone: timm name of a ViT, or such a module (see :class:`fsr.backbone.ViTBackbone`).
        pretrained: False, True (timm's weights) or the path of a checkpoint of the backbone.
        image_size: size in pixels that the position embedding is made for; any size is accepted.
        aux_block: block whose raw output feeds the auxiliary classifier.
        aggregator: None (``"mca"`` with the backbone's head count), ``"mca"``, ``"average"``,
            ``"max"``, or a module called as ``aggregator(tokens, mask)``.
        projector: None (a :class:`fsr.projection.ProjectionHead` of ``projection_dim``) or a module
            on tokens ``(B, 1 + N, D)``.
        decoder: ``"largefov"`` or a module from ``(B, D, H, W)`` to ``(B, C + 1, H, W)``.
        projection_dim: width K of the projections.
        backbone_options: options of ``timm.create_model``, for example ``class_token=False``.
        projector_options: options of the default projector, for example ``hidden_dim=256``.
        decoder_options: options of a decoder given by name, for example ``hidden_dim=128``.

    Attributes:
        classifier: 1x1 convolution without bias, weight ``(C, D, 1, 1)``, on the final tokens.
        aux_classifier: the same on the auxiliary tokens.
        class_names: C names or None; saved and loaded with the weights.

    Raises:
        FileNotFoundError: there is no file at the path ``pretrained``.
        TypeError: an argument has the wrong type.
        ValueError: there is no class, or no such backbone, block, aggregator or decoder, or
            the backbone does not fit its options or weights.

    Source:
        Section "A Single-Stage Framework for WSSS".

    Example:
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
        aggregator: str | nn.Module | None = None,
        projector: nn.Module | None = None,
        decoder: str | nn.Module = "largefov",
        projection_dim: int = 4096,
        backbone_options: Mapping[str, Any] | None = None,
        projector_options: Mapping[str, Any] | None = None,
        decoder_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_positive_int("num_classes", num_classes)
        check_positive_int("projection_dim", projection_dim)
        self.num_classes = num_classes
        self.class_names: tuple[str, ...] | None = None
        self._arguments = {
            "num_classes": num_classes,
            "backbone": recorded(backbone),
            "pretrained": pretrained if isinstance(pretrained, bool) else str(pretrained),
            "image_size": image_size,
            "aux_block": aux_block,
            "aggregator": recorded(aggregator),
            "projector": recorded(projector),
            "decoder": recorded(decoder),
            "projection_dim": projection_dim,
            "backbone_options": plain(backbone_options),
            "projector_options": plain(projector_options),
            "decoder_options": plain(decoder_options),
        }
        self.backbone = ViTBackbone(
            backbone, pretrained=pretrained, image_size=image_size, options=backbone_options
        )
        self.backbone.check_block(aux_block)
        self.aux_block = aux_block
        dim = self.backbone.embed_dim
        self.classifier = nn.Conv2d(dim, num_classes, kernel_size=1, bias=False)
        self.aux_classifier = nn.Conv2d(dim, num_classes, kernel_size=1, bias=False)
        self.aggregator = build_aggregator(aggregator, dim, self.backbone.num_heads)
        self.projector = build_projector(projector, dim, projection_dim, projector_options)
        self.decoder = build_decoder(decoder, dim, num_classes, decoder_options)

    def forward(
        self,
        images: Tensor,
        mask: Tensor | None = None,
        *,
        outputs: Iterable[str] | Mapping[str, slice] | None = None,
    ) -> SegmenterOutput:
        """Compute the heads.

        Args:
            images: ``(B, 3, height, width)``, normalised as the backbone's pretraining was.
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
        wanted = _slices(outputs)
        # No block after the auxiliary one runs, and no norm, if nobody reads the final tokens.
        aux_only = wanted.keys() <= {"aux_tokens", "aux_class_logits"}
        raw, aux_tokens, grid = self.backbone(
            images, mask, aux_block=self.aux_block, aux_only=aux_only
        )
        norm = self.backbone.norm
        tokens = raw if aux_only else norm(raw)

        heads: dict[str, Tensor] = {}
        for name, part in wanted.items():
            if name == "tokens":
                heads[name] = tokens[part]
            elif name == "aux_tokens":
                heads[name] = aux_tokens[part]
            elif name == "class_logits":
                heads[name] = _max_pooled_logits(self.classifier, tokens[part])
            elif name == "aux_class_logits":
                heads[name] = _max_pooled_logits(self.aux_classifier, aux_tokens[part])
            elif name == "segmentation":
                heads[name] = self._segment(tokens[part], grid)
            else:
                flat = None if mask is None else mask[part].flatten(1)
                aggregated = norm(self.aggregator(raw[part], flat))
                heads[name] = project_tokens(aggregated, tokens[part], self.projector)
        return SegmenterOutput(
            class_logits=heads.get("class_logits"),
            aux_class_logits=heads.get("aux_class_logits"),
            segmentation=heads.get("segmentation"),
            tokens=heads.get("tokens"),
            aux_tokens=heads.get("aux_tokens"),
            projections=heads.get("projections"),
            grid=grid,
        )

    def cam(
        self,
        images: Tensor,
        *,
        scales: Sequence[float] = (1.0, 0.5, 1.5),
        flip: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Multi-scale CAMs of the final and of the auxiliary tokens (Eq. 2).

        Runs the encoder and the classifiers alone, without gradient and in eval mode. At every
        scale the maximum over flips is taken; scales are summed, then normalised.

        Args:
            images: ``(B, 3, height, width)`` of any size of at least one patch.
            scales: factors of the image size; the product is rounded to the nearest size that the
                patch divides.
            flip: use the mirror images too.

        Returns:
            Final and auxiliary CAM between 0 and 1, each ``(B, C, height, width)``.

        Raises:
            ShapeError: ``images`` has the wrong shape.
            TypeError: ``images`` is not floating point, or ``scales`` holds no numbers.
            ValueError: the images are smaller than a patch, or a scale is not positive.
        """
        patch = self.backbone.patch_size
        scales = check_multi_scale(images, patch, scales)
        with torch.no_grad(), eval_mode(self):
            raw = partial(raw_cams, self)
            final, auxiliary = multi_scale_cams(raw, [images], patch, scales, flip)[0]
        return final, auxiliary

    def predict(
        self,
        images: Tensor,
        *,
        scales: Sequence[float] = (1.0, 1.25, 1.5),
        flip: bool = True,
        reduce: str = "max_logits",
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
            ValueError: the images are smaller than a patch, a scale is not positive, or there is
                no such reduction.
        """
        patch = self.backbone.patch_size
        scales = check_multi_scale(images, patch, scales)
        with torch.no_grad(), eval_mode(self):
            return multi_scale_probabilities(
                self._segmentation_logits, [images], patch, scales, flip, reduce
            )[0]

    def attention_maps(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention of the aggregated token on the patches (Eq. 7), no gradient, eval mode.

        Args:
            images: ``(B, 3, height, width)``, a size that the patch divides.
            mask: ``(B, H, W)`` boolean, True = masked.

        Returns:
            Weights per block and head of the aggregator, ``(B, depth, heads, H, W)``; they sum to
            1 over the patches.

        Raises:
            ShapeError: ``images`` or ``mask`` has the wrong shape.
            TypeError: a tensor has the wrong type.
            ValueError: the aggregator has no attention, or the patch does not divide the image.
        """
        attention = getattr(self.aggregator, "attention_maps", None)
        if attention is None:
            raise ValueError(
                "aggregator: expected one with attention_maps, "
                f"got {type(self.aggregator).__name__}"
            )
        with torch.no_grad(), eval_mode(self):
            raw, _, grid = self.backbone(images, mask, aux_block=self.aux_block)
            weights: Tensor = attention(raw, None if mask is None else mask.flatten(1))
        return weights.reshape(*weights.shape[:-1], *grid)

    def save(self, path: str | Path, *, class_names: Sequence[str] | None = None) -> None:
        """Save weights, constructor arguments, class names and version as safetensors.

        Args:
            path: file to write; it appears whole or not at all.
            class_names: C names; by default the attribute ``class_names``.

        Raises:
            ValueError: the number of names is not C, or an argument is not plain data.
        """
        names = self.class_names if class_names is None else _check_names(class_names, self)
        header = {
            "version": __version__,
            "arguments": self._arguments,
            "class_names": names,
            # A preset may have changed it since construction.
            "masking": getattr(self.aggregator, "masking", None),
        }
        write_checkpoint(path, self.state_dict(), header)

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
    ) -> SingleStageSegmenter:
        """Build a saved model, on the CPU and in eval mode. No file is ever unpickled.

        Args:
            path: file that :meth:`save` wrote.
            num_classes: number of classes that the caller needs; None takes what the file has.
            backbone: module to load into; needed where the model was built from one.
            aggregator: likewise.
            projector: likewise.
            decoder: likewise.

        Returns:
            The model, with its ``class_names``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file was not saved by :meth:`save`, has another number of classes,
                needs a module, or does not fit the module given.
        """
        header, state = read_checkpoint(path)
        if num_classes is not None and num_classes != header["arguments"]["num_classes"]:
            raise ValueError(
                f"num_classes: expected {num_classes}, "
                f"but {str(path)!r} has {header['arguments']['num_classes']}"
            )
        given = dict(zip(PARTS, (backbone, aggregator, projector, decoder), strict=True))
        model = cls(**restored_arguments(header["arguments"], given, path))
        load_strictly(model, state, path)
        model._arguments["pretrained"] = header["arguments"]["pretrained"]
        model.class_names = header["class_names"] and tuple(header["class_names"])
        if header["masking"] is not None and aggregator is None:
            model.aggregator.masking = header["masking"]
        return model.eval()

    def _segment(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Decode final tokens ``(B, N, D)`` into logits ``(B, C + 1, H, W)``."""
        features = tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *grid)
        logits: Tensor = self.decoder(features)
        check_shape("the decoder's output", logits, "B C H W", C=self.num_classes + 1)
        return logits

    def _segmentation_logits(self, images: Tensor) -> Tensor:
        """Logits of one scale for :meth:`predict`."""
        raw, _, grid = self.backbone(images, aux_block=self.aux_block)
        return self._segment(self.backbone.norm(raw), grid)


def _max_pooled_logits(classifier: nn.Conv2d, tokens: Tensor) -> Tensor:
    """Logits ``(B, C)`` of the global maximum over tokens ``(B, N, D)``."""
    pooled = tokens.max(dim=1).values
    logits: Tensor = classifier(pooled[:, :, None, None])
    return logits.flatten(1)


def _slices(outputs: Iterable[str] | Mapping[str, slice] | None) -> dict[str, slice]:
    """Return the slice of the batch for every head asked for."""
    if outputs is None:
        return dict.fromkeys(HEADS, slice(None))
    if isinstance(outputs, str):
        raise TypeError(f"outputs: expected names of heads in a sequence, got {outputs!r}")
    wanted = dict(outputs) if isinstance(outputs, Mapping) else dict.fromkeys(outputs, slice(None))
    for name, part in wanted.items():
        check_choice("outputs", name, HEADS)
        if not isinstance(part, slice):
            raise TypeError(f"outputs[{name!r}]: expected a slice of the batch, got {part!r}")
    return wanted


def _check_names(names: Sequence[str], model: SingleStageSegmenter) -> tuple[str, ...]:
    """Return class names as a tuple, or raise unless they are C strings."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"class_names: expected a sequence of strings, got {names!r}")
    if len(names) != model.num_classes:
        raise ValueError(f"class_names: expected {model.num_classes} names, got {len(names)}")
    return tuple(names)
