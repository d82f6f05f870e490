"""Labels of many classes: only a class that can be the strongest somewhere gets a map of pixels.

Bilinear maps lie between the values around them. Of a small part of the image that bounds every
class from both sides, before anything is enlarged; a class below another one's lower bound in all
parts wins no pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fsr._core.arguments import check_function
from fsr.segmenter._many_classes import AT_ONCE, Scales, contiguous, merged_logits
from fsr.segmenter._multiscale import check_batches, maps_at, size_of
from fsr.segmenter._scales import check_scales

# Sides of the parts in pixels: about a patch, so that bounds are near what they bound.
PART = 16
# Share of the largest value that rounding may change, with a good deal to spare.
ROUNDING = 1e-5


def multi_scale_labels(
    logits_of: Callable[[Tensor], Tensor],
    batches: Sequence[Tensor],
    patch: tuple[int, int],
    scales: Sequence[float],
    flip: bool,
) -> list[Tensor]:
    """Return the most probable labels without the probabilities of all classes.

    They are those of the largest of :func:`fsr.segmenter.multi_scale_probabilities` with
    ``"max_logits"``; of equal ones the first. Where two probabilities are equal only after
    rounding, the larger logit wins.

    Args:
        logits_of: segmentation logits ``(B, C + 1, H, W)`` of images.
        batches: images ``(B, 3, height, width)``, batch by batch of any size; at a scale where
            their sizes coincide they go through the network together.
        patch: ``(height, width)`` of a patch in pixels.
        scales: factors of the image size.
        flip: merge with the logits of the mirror image.

    Returns:
        For each batch its labels ``(B, height, width)`` int64, 0 = background and c + 1 = class c;
        -1 throughout an image of which a logit is NaN or infinite.

    Raises:
        ShapeError: a batch holds no images.
        TypeError: an argument has the wrong type.
        ValueError: there is no batch or no scale, or a scale is out of range.

    Example:
        >>> images = torch.tensor([[[[0.0, 1.0]], [[0.5, 0.5]], [[0.2, 0.9]]]])
        >>> multi_scale_labels(lambda scaled: scaled, [images], (1, 1), (1.0,), False)
        [tensor([[[1, 0]]])]
    """
    check_function("logits_of", logits_of)
    check_batches(batches, patch)
    scales = check_scales("scales", scales)
    kept: list[list[tuple[Tensor, Tensor | None]]] = [[] for _ in batches]
    for scale in scales:
        for maps, pair in zip(kept, maps_at(logits_of, batches, scale, patch, flip), strict=True):
            maps.append(pair)
    return [merged_labels(maps, size_of(b)) for maps, b in zip(kept, batches, strict=True)]


def merged_labels(scales: Scales, size: tuple[int, int]) -> Tensor:
    """Return where the sum over flips, maximum over scales, of logits is largest.

    Args:
        scales: logits of each scale, ``(B, C + 1, h, w)``, and those of the mirror images, still
            mirrored, or None.
        size: size of the result.

    Returns:
        Labels ``(B, *size)`` int64, -1 throughout an image of which a logit is NaN or infinite.

    Example:
        >>> logits = torch.tensor([0.0, 2.0, 1.0]).view(1, 3, 1, 1)
        >>> merged_labels([(logits, None)], (1, 2))
        tensor([[[1, 1]]])
    """
    batch = scales[0][0].shape[0]
    found = scales[0][0].new_full((batch, *size), -1, dtype=torch.long)
    for image in range(batch):
        parts = contiguous(
            [
                (plain[image : image + 1], None if other is None else other[image : image + 1])
                for plain, other in scales
            ]
        )
        if all(bool(torch.isfinite(m).all()) for pair in parts for m in pair if m is not None):
            found[image] = _strongest(parts, possible_winners(parts, size), size)
    return found


def possible_winners(scales: Scales, size: tuple[int, int]) -> Tensor:
    """Return the channels that may be the largest at some pixel of one image, in their order.

    Args:
        scales: as of :func:`merged_labels`, of one image.
        size: size that the logits are to be enlarged to.

    Example:
        >>> logits = torch.tensor([[[[0.0, 3.0]], [[1.0, 1.0]], [[0.5, 0.9]]]])
        >>> possible_winners([(logits, None)], (1, 64))
        tensor([0, 1])
    """
    least = most = None
    spread = 0.0
    for plain, mirrored in scales:
        logits = plain[0] if mirrored is None else plain[0] + mirrored[0].flip(-1)
        spread = max(spread, float(logits.abs().max()))
        high, low = bounds(logits, size)
        most = high if most is None else torch.maximum(most, high)
        least = low if least is None else torch.maximum(least, low)
    if most is None or least is None:
        raise ValueError("scales: expected at least one scale, got none")
    reached = most >= least.amax(dim=0) - spread * ROUNDING
    return reached.flatten(1).any(dim=1).nonzero().flatten()


def bounds(maps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the most and the least that maps can be in each part of the enlarged image.

    Args:
        maps: ``(C, h, w)``.
        size: size that they are to be enlarged to, bilinearly.

    Returns:
        Two of ``(C, parts down, parts across)``.

    Example:
        >>> bounds(torch.tensor([[[0.0, 1.0, 2.0]]]), (1, 48))
        (tensor([[[1., 2., 2.]]]), tensor([[[0., 0., 1.]]]))
    """
    high = low = maps
    for axis, pixels in ((1, size[0]), (2, size[1])):
        places = _read_of(maps.shape[axis], pixels, maps.device)
        count, reach = places.shape
        high, low = (
            one.index_select(axis, places.flatten()).unflatten(axis, (count, reach))
            for one in (high, low)
        )
        high, low = high.amax(dim=axis + 1), low.amin(dim=axis + 1)
    return high, low


def _read_of(length: int, pixels: int, device: torch.device) -> Tensor:
    """Return which of ``length`` values each part of the enlarged axis is made of, repeated."""
    rows = []
    for start in range(0, pixels, PART):
        last = min(start + PART, pixels) - 1
        ends = [max(0.0, (pixel + 0.5) * length / pixels - 0.5) for pixel in (start, last)]
        rows.append((math.floor(ends[0]), min(math.floor(ends[1]) + 1, length - 1)))
    reach = max(end - begin for begin, end in rows) + 1
    places = [[min(begin + step, end) for step in range(reach)] for begin, end in rows]
    return torch.tensor(places, device=device)


def _strongest(scales: Scales, winners: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the channel of the largest merged logit at each pixel, a few channels at a time."""
    best: Tensor | None = None
    labels = winners.new_zeros(size)
    for some in winners.split(max(2, AT_ONCE // (size[0] * size[1]))):
        score, place = merged_logits(scales, some, size)[0].max(dim=0)
        if best is None:
            best, labels = score, some[place]
            continue
        # Only where it is larger: of equal ones the first counts, as in a maximum of all.
        labels = torch.where(score > best, some[place], labels)
        best = torch.maximum(best, score)
    return labels
