"""Reliable regions of a batch: two dense CRFs an image, inside the box of its real pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.boxes import check_box
from fsr._core.checks import check_floating, check_multi_hot, check_same_device, check_shape
from fsr._core.labels import BACKGROUND, ignore_label
from fsr._core.numerics import at_least_float32
from fsr.refine._crf_pool import CRFPool
from fsr.refine._reliable_region import (
    HIGH_POWER,
    LOW_POWER,
    cam_with_background,
    reliable_region,
)


class _Inside(NamedTuple):
    """What lies in the box of one image, on the CPU.

    Attributes:
        place: of the image in the batch.
        pixels: ``(h, w, 3)`` uint8.
        cam: of all classes, ``(C, h, w)``.
        present: numbers of the classes that the image shows.
    """

    place: int
    pixels: Tensor
    cam: Tensor
    present: Tensor


def reliable_labels(
    pool: CRFPool, images: Tensor, cam: Tensor, labels: Tensor, box: Tensor | None = None
) -> Tensor:
    """Label maps of a batch by :func:`fsr.refine.reliable_region`, each image with its own CRFs.

    The CRFs of background and present classes, with a small and with a large background, run on the
    real pixels alone, so that no padding takes part; the released code runs them over the padding.
    An image without a class is background.

    Args:
        pool: runs the CRF, such as ``CRFPool(DenseCRF("rrm"))``.
        images: RGB in [0, 1], ``(B, 3, H, W)``.
        cam: normalised CAMs, ``(B, C, H, W)``, 0 to 1.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.
        box: the real pixels of padded crops, ``(B, 4)`` integers top, bottom, left, right,
            half-open; all if None.

    Returns:
        ``(B, H, W)`` int64 on the device of the CAM: 0 background, c+1 class c, 255 unknown or
        outside the box.

    Raises:
        RuntimeError: a CRF raised, or a worker died.
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: ``images`` or ``cam`` is not floating point, or ``box`` not of integers.
        ValueError: a box is empty or leaves its image, or the CAM is not within 0 to 1.

    Source:
        Zhang et al., "Reliability Does Matter: An End-to-End Weakly Supervised Semantic
        Segmentation Approach" (RRM), AAAI 2020; zbf1991/RRM@6d4191c.

    Example:
        >>> unrefined = CRFPool(lambda image, maps: torch.from_numpy(maps), workers=0)
        >>> cam = torch.tensor([[[[0.0, 0.3, 0.6, 0.9]]]])
        >>> images, box = torch.zeros(1, 3, 1, 4), torch.tensor([[0, 1, 1, 4]])
        >>> reliable_labels(unrefined, images, cam, torch.ones(1, 1), box)
        tensor([[[255, 255, 255,   1]]])
    """
    if not isinstance(pool, CRFPool):
        raise TypeError(f"pool: expected a CRFPool, got {type(pool).__name__}")
    batch, classes, height, width = check_shape("cam", cam, "B C H W")
    check_shape("images", images, "B 3 H W", B=batch, H=height, W=width, **{"3": 3})
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_multi_hot("labels", labels)
    check_same_device(images=images, cam=cam, labels=labels, box=box)
    check_floating("images", images)
    check_floating("cam", cam)
    boxes = [[0, height, 0, width]] * batch
    if box is not None:
        check_box(box, batch, height, width)
        boxes = box.tolist()
    found = torch.full((batch, height, width), ignore_label(classes), dtype=torch.long)
    pixels = (255 * images.detach().cpu().float()).round().clamp(0, 255).to(torch.uint8)
    maps, shown = at_least_float32(cam.detach().cpu()), labels.detach().cpu() > 0
    inside = []
    for place, (top, bottom, left, right) in enumerate(boxes):
        part = (slice(top, bottom), slice(left, right))
        if not shown[place].any():
            found[place][part] = BACKGROUND
            continue
        colours = pixels[place].permute(1, 2, 0)[part].contiguous()
        present = shown[place].nonzero()[:, 0]
        inside.append(_Inside(place, colours, maps[place][:, part[0], part[1]], present))
    refined = pool.map(_pairs(inside))
    for each in inside:
        top, bottom, left, right = boxes[each.place]
        low, high = (_whole(next(refined), each) for _ in range(2))
        region = reliable_region(each.cam, shown[each.place].to(each.cam), low, high)
        found[each.place, top:bottom, left:right] = region
    return found.to(cam.device)


def _pairs(inside: list[_Inside]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what the CRF runs on: every image with a small and with a large background."""
    for each in inside:
        cam = each.cam[each.present]
        for power in (LOW_POWER, HIGH_POWER):
            yield each.pixels, cam_with_background(cam, torch.ones(len(cam)), power)


def _whole(refined: Tensor, each: _Inside) -> Tensor:
    """Return the CRF's maps among those of all classes; those of absent classes are 0."""
    maps = refined.new_zeros(len(each.cam) + 1, *refined.shape[1:])
    maps[0] = refined[0]
    maps[each.present + 1] = refined[1:]
    return maps.clamp(0, 1)
