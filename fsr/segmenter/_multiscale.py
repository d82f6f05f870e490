"""Inference at several scales with flips: CAMs (Eq. 2) and segmentation probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_function, check_sequence, check_tensors
from fsr._core.checks import (
    check_choice,
    check_dense,
    check_floating,
    check_grid,
    check_shape,
)
from fsr._core.labels import BYTE_CLASSES
from fsr._core.numerics import at_least_float32
from fsr.cam import (
    LAYERS,
    Layer,
    class_activation_maps,
    normalize_cam,
)
from fsr.errors import ShapeError
from fsr.segmenter._many_classes import merged_probabilities
from fsr.segmenter._merged import added
from fsr.segmenter._scales import check_scales, scaled_size

Reduction = Literal["max_logits", "mean_probabilities"]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)


def raw_cams(network: Any, images: Tensor, layers: Sequence[Layer] = LAYERS) -> tuple[Tensor, ...]:
    """Return the CAM of each layer before min-max of Eq. 2, ``(B, C, H, W)`` each.

    Args:
        network: a segmenter; no block that no layer needs is run.
        images: ``(B, 3, height, width)``, a size that the patch divides.
        layers: any of ``"final"`` and ``"auxiliary"``.
    """
    _check_network(network)
    check_sequence("layers", layers, "names")
    for layer in layers:
        check_choice("layers", layer, LAYERS)
    heads = {layer: cam_head(network, layer) for layer in layers}
    output = network(images, outputs=tuple(dict.fromkeys(heads.values())))
    return tuple(cam_of(network, output.head(heads[layer]), layer, output.grid) for layer in layers)


def cam_head(network: Any, layer: Layer) -> str:
    """Return the head that the CAM of a layer is made from.

    A method's head ``"maps"`` stands for the final layer, and that for an auxiliary layer which the
    network was built without.
    """
    _check_network(network)
    check_choice("layer", layer, LAYERS)
    if layer == "auxiliary" and network.aux_classifier is not None:
        return "aux_tokens"
    return "maps" if "maps" in network.heads else "tokens"


def cam_of(network: Any, value: Tensor, layer: Layer, grid: tuple[int, int]) -> Tensor:
    """Return the CAM of a layer before min-max, ``(B, C, H, W)``, from its head's output."""
    _check_network(network)
    check_dense("value", value)
    if value.ndim not in (3, 4):
        raise ShapeError(f"value: expected (B, N, D) or (B, C, H, W), got {tuple(value.shape)}")
    check_floating("value", value)
    if value.ndim == 4:
        check_shape("value", value, "B C H W", C=network.num_classes)
        return value.relu()
    auxiliary = layer == "auxiliary" and network.aux_classifier is not None
    classifier = network.aux_classifier if auxiliary else network.classifier
    check_shape("value", value, "B N D", D=classifier.weight.shape[1])
    return class_activation_maps(value, classifier.weight, grid)


def multi_scale_cams(
    raw_cams: Callable[[Tensor], tuple[Tensor, ...]],
    batches: Sequence[Tensor],
    patch: tuple[int, int],
    scales: Sequence[float],
    flip: bool,
) -> list[tuple[Tensor, ...]]:
    """Sum CAMs over scales, maxima over flips, normalise them.

    Args:
        raw_cams: one or more CAMs of images before min-max of Eq. 2, ``(B, C, H, W)`` each.
        batches: images ``(B, 3, height, width)``, batch by batch of any size; at a scale where
            their sizes coincide they go through the network together.
        patch: ``(height, width)`` of a patch in pixels.
        scales: factors of the image size.
        flip: merge with the CAM of the mirror image.

    Returns:
        For each batch as many CAMs between 0 and 1, ``(B, C, height, width)``.
    """
    check_function("raw_cams", raw_cams)
    check_batches(batches, patch)
    scales = check_scales("scales", scales)
    count = 0

    def joined(images: Tensor) -> Tensor:
        nonlocal count
        maps = raw_cams(images)
        count = len(maps)
        # As channels of one map: all that follows is done channel by channel.
        return torch.cat(maps, dim=1)

    sums: list[Tensor | None] = [None for _ in batches]
    for scale in scales:
        maps = maps_at(joined, batches, scale, patch, flip)
        for index, (batch, pair) in enumerate(zip(batches, maps, strict=True)):
            sums[index] = added(sums[index], pair, size_of(batch))
    return [normalize_cam(total).chunk(count, dim=1) for total in sums if total is not None]


def multi_scale_probabilities(
    logits_of: Callable[[Tensor], Tensor],
    batches: Sequence[Tensor],
    patch: tuple[int, int],
    scales: Sequence[float],
    flip: bool,
    reduce: Reduction,
) -> list[Tensor]:
    """Merge segmentation logits over flips and scales into probabilities.

    Args:
        logits_of: segmentation logits ``(B, C + 1, H, W)`` of images.
        batches: images ``(B, 3, height, width)``, batch by batch of any size; at a scale where
            their sizes coincide they go through the network together.
        patch: ``(height, width)`` of a patch in pixels.
        scales: factors of the image size.
        flip: merge with the logits of the mirror image.
        reduce: ``"max_logits"`` sums logits over flips, takes the maximum over scales, then
            softmax; ``"mean_probabilities"`` averages softmax over flips and scales.

    Returns:
        For each batch its probabilities ``(B, C + 1, height, width)``, in float32 at least.
    """
    check_function("logits_of", logits_of)
    check_batches(batches, patch)
    scales = check_scales("scales", scales)
    check_choice("reduce", reduce, REDUCTIONS)
    merged: list[Tensor] = []
    kept: list[list[tuple[Tensor, Tensor | None]]] = [[] for _ in batches]
    for number, scale in enumerate(scales):
        every = maps_at(logits_of, batches, scale, patch, flip)
        if reduce == "max_logits" and every[0][0].shape[1] > BYTE_CLASSES + 1:
            for maps_of_batch, pair in zip(kept, every, strict=True):
                maps_of_batch.append(pair)
            continue
        for index, (batch, (plain, mirrored)) in enumerate(zip(batches, every, strict=True)):
            maps = _resized_scores(plain, size_of(batch), reduce)
            if mirrored is not None:
                maps = maps + _resized_scores(mirrored, size_of(batch), reduce).flip(-1)
            if number == 0:
                merged.append(maps)
            elif reduce == "max_logits":
                merged[index] = torch.maximum(merged[index], maps)
            else:
                merged[index] = merged[index] + maps
    if kept[0]:
        return [merged_probabilities(k, size_of(b)) for k, b in zip(kept, batches, strict=True)]
    if reduce == "max_logits":
        return [maps.softmax(dim=1) for maps in merged]
    return [maps / (len(scales) * (2 if flip else 1)) for maps in merged]


def maps_at(
    maps_of: Callable[[Tensor], Tensor],
    batches: Sequence[Tensor],
    scale: float,
    patch: tuple[int, int],
    flip: bool,
) -> list[tuple[Tensor, Tensor | None]]:
    """Return the maps of every batch at one scale, and of its mirror images, still mirrored.

    The latter are None without flips. Batches of one scaled size share a forward.
    """
    check_function("maps_of", maps_of)
    check_batches(batches, patch)
    targets = [scaled_size(size_of(batch), scale, patch) for batch in batches]
    found: dict[int, tuple[Tensor, Tensor | None]] = {}
    for target in dict.fromkeys(targets):
        members = [index for index, other in enumerate(targets) if other == target]
        joined = torch.cat([_resized(batches[index], target) for index in members])
        maps = maps_of(torch.cat([joined, joined.flip(-1)]) if flip else joined)
        counts = [len(batches[index]) for index in members]
        parts = torch.split(maps, counts * 2 if flip else counts)
        for position, index in enumerate(members):
            mirrored = parts[position + len(members)] if flip else None
            found[index] = (parts[position], mirrored)
    return [found[index] for index in range(len(batches))]


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images bilinearly, in float32 at least."""
    if size == size_of(images):
        return images
    scaled = F.interpolate(
        at_least_float32(images), size=size, mode="bilinear", align_corners=False
    )
    return scaled.to(images.dtype)


def _resized_scores(logits: Tensor, size: tuple[int, int], reduce: Reduction) -> Tensor:
    """Resize logits to an image's size, as probabilities if those are averaged."""
    # Not resize_cam, which refuses NaN: of a network that gives it, one image's result is lost.
    maps = F.interpolate(at_least_float32(logits), size=size, mode="bilinear", align_corners=False)
    return maps.softmax(dim=1) if reduce == "mean_probabilities" else maps


def size_of(images: Tensor) -> tuple[int, int]:
    """Height and width of images."""
    return images.shape[-2], images.shape[-1]


def _check_network(network: Any) -> None:
    """Raise ``TypeError`` unless something has the heads of a segmenter."""
    if not hasattr(network, "heads") or not hasattr(network, "classifier"):
        raise TypeError(f"network: expected a segmenter, got {type(network).__name__}")


def check_batches(batches: Sequence[Tensor], patch: tuple[int, int]) -> None:
    """Raise unless there are batches of images, all of one type and on one device."""
    check_tensors("batches", batches)
    check_grid("patch", patch)
    for index, batch in enumerate(batches):
        name = f"batches[{index}]"
        check_shape(name, batch, "B channels H W")
        check_shape(name, batch, "B channels H W", channels=batches[0].shape[1])
        check_floating(name, batch)
