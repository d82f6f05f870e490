"""Labels of many classes: only a class that can be the strongest somewhere gets a map of pixels.

A bilinear map is nowhere above the values that it is made of. So in a small part of the image the
classes whose values are largest are enlarged first, and of the others only those that can be above
what these have reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fsr._core.arguments import check_function
from fsr.segmenter._enlarging import Part, axis_of, part_of, upper_bounds
from fsr.segmenter._many_classes import Scales, contiguous
from fsr.segmenter._multiscale import check_batches, maps_at, size_of
from fsr.segmenter._scales import check_scales

# Classes that are enlarged first.
LEADING = 8
# Numbers of enlarged maps at a time.
AT_ONCE = 2**22
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
    scales = contiguous(scales)
    for image in range(batch):
        # Enlarged or not, the sum over flips is the same; so only one map is enlarged.
        maps = [
            plain[image] if mirrored is None else plain[image] + mirrored[image].flip(-1)
            for plain, mirrored in scales
        ]
        if all(bool(torch.isfinite(one).all()) for one in maps):
            found[image] = _strongest(maps, size)
    return found


def _strongest(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the channel of the largest merged logit at each pixel, part by part."""
    axes = [(axis_of(m.shape[1], size[0], m), axis_of(m.shape[2], size[1], m)) for m in maps]
    most = upper_bounds(maps[0], *axes[0])
    for one, both in zip(maps[1:], axes[1:], strict=True):
        most = torch.maximum(most, upper_bounds(one, *both))
    slack = ROUNDING * max(float(one.abs().max()) for one in maps)
    labels = torch.empty(size, dtype=torch.long, device=most.device)
    for i, (top, bottom) in enumerate(axes[0][0].parts):
        for j, (left, right) in enumerate(axes[0][1].parts):
            parts = [part_of(one, *both, i, j) for one, both in zip(maps, axes, strict=True)]
            labels[top:bottom, left:right] = _strongest_in(parts, most[:, i, j], slack)
    return labels


def _strongest_in(parts: Sequence[Part], most: Tensor, slack: float) -> Tensor:
    """Return the channel of the largest merged logit at each pixel of a part.

    Args:
        parts: the part of the logits at each scale.
        most: upper bound of each channel, ``(C + 1,)``.
        slack: how far rounding may lift a logit over its bound.
    """
    leading = most.topk(min(LEADING, len(most))).indices.sort().values
    best, labels = _largest(parts, leading)
    reached = most >= best.min() - slack
    reached[leading] = False
    rest = reached.nonzero().flatten()
    for some in rest.split(max(1, AT_ONCE // best.numel())) if len(rest) else ():
        score, found = _largest(parts, some)
        # Of equal ones the first counts, as in a maximum of all.
        better = (score > best) | ((score == best) & (found < labels))
        best, labels = torch.where(better, score, best), torch.where(better, found, labels)
    return labels


def _largest(parts: Sequence[Part], some: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest merged logit of some channels at each pixel of a part, and its channel."""
    merged = parts[0].enlarged(some)
    for part in parts[1:]:
        merged = torch.maximum(merged, part.enlarged(some))
    score, place = merged.max(dim=0)
    return score, some[place]
