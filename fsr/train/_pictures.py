"""Pictures for the report: an image, and layers to lay over it, as data of a page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fsr.train._maps import Shown
from fsr.visualize import heatmap_overlay, voc_palette

PICTURES = "pictures.json"
# Longer side in pixels: twice what a telephone shows, some 20 KB as JPEG.
LONGER, QUALITY = 360, 80
# Label maps by the name that the report gives their layer.
LABEL_MAPS = ("pseudo", "prediction", "truth")


def worst_images(detail: dict[str, Any], count: int) -> list[int]:
    """Return the images with the lowest IoU or, where nothing has a mask, the least certain ones.

    Args:
        detail: of one network, its ``"image_iou"`` and ``"image_certainty"`` by image.
        count: how many.

    Example:
        >>> worst_images({"image_iou": [0.5, None, 0.1], "image_certainty": [0.3, 0.2, 0.1]}, 1)
        [2]
    """
    scores = detail["image_iou"]
    if all(score is None for score in scores):
        scores = detail["image_certainty"]
    known = [(score, index) for index, score in enumerate(scores) if score is not None]
    return [index for _, index in sorted(known)[:count]]


def picture(drawn: Shown) -> dict[str, Any]:
    """Return a sample's image and its layers as data URIs, with its name and classes.

    Args:
        drawn: the sample with its maps.
    """
    sample, maps = drawn
    longer = max(sample.image.size)
    scale = min(1.0, LONGER / longer)
    size = (
        max(1, round(sample.image.width * scale)),
        max(1, round(sample.image.height * scale)),
    )
    photo = sample.image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    labels = {"truth": sample.target, **maps}
    found = {
        "name": sample.name,
        "classes": sample.labels.nonzero().flatten().tolist(),
        "size": list(size),
        "image": _jpeg(photo),
        "cam": _jpeg(heatmap_overlay(photo, maps["cam"])),
    }
    for name in LABEL_MAPS:
        layer = labels.get(name)
        if layer is not None:
            found[name] = _label_layer(layer, size)
    return found


def image_scores(values: Tensor | None) -> list[float | None]:
    """Return one score of all images as plain data, four digits each.

    Example:
        >>> image_scores(torch.tensor([0.25, float("nan")]))
        [0.25, None]
    """
    numbers = [] if values is None else values.tolist()
    return [None if math.isnan(number) else round(number, 4) for number in numbers]


def _label_layer(labels: Tensor, size: tuple[int, int]) -> str:
    """Draw a label map in its colours, nothing where it is background."""
    indices = labels.to(torch.uint8).cpu().numpy()
    layer = Image.fromarray(np.ascontiguousarray(indices), mode="L")
    layer = layer.resize(size, Image.Resampling.NEAREST)
    layer.putpalette(voc_palette().tobytes())
    return _data_uri("png", layer, optimize=True, transparency=0)


def _jpeg(image: Image.Image) -> str:
    return _data_uri("jpeg", image, quality=QUALITY, optimize=True)


def _data_uri(kind: str, image: Image.Image, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def pictures_of(
    drawn: Mapping[int, Shown],
    first: Sequence[int],
    worst: Sequence[int],
    network: str,
    step: int,
) -> dict[str, Any]:
    """Return what ``pictures.json`` holds.

    Args:
        drawn: samples with their maps, by index.
        first: indices of those of the picture sheet.
        worst: indices of the worst.
        network: whose maps these are.
        step: completed steps.
    """
    return {
        "step": step,
        "network": network,
        "first": list(first),
        "worst": list(worst),
        "pictures": {str(index): picture(each) for index, each in drawn.items()},
    }
