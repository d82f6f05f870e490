"""Labels of many classes: only a class that can be the strongest somewhere gets a map of pixels.

A bilinear map is nowhere above the values that it is made of. So in a small part of the image the
classes whose values are largest are enlarged first, and of the others only those that can be above
what these have reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.arguments import check_function
from fsr.segmenter._many_classes import Scales, contiguous
from fsr.segmenter._multiscale import check_batches, maps_at, size_of
from fsr.segmenter._scales import check_scales

# Side of the parts in pixels: a few patches, so that bounds are near what they bound. A GPU, which
# waits for each of them, gets larger ones.
PART, PART_OF_GPU = 32, 128
# Classes that are enlarged first.
LEADING = 8
# Numbers of enlarged maps at a time.
AT_ONCE = 2**22
# Share of the largest value that rounding may change, with a good deal to spare.
ROUNDING = 1e-5


class Axis(NamedTuple):
    """How the values along an axis are enlarged to pixels, bilinearly.

    Attributes:
        first: the value before each pixel, ``(pixels,)``.
        second: the value behind it.
        share: share of the second.
        parts: pixels of each part, from and to.
        read: values that each part is made of, from and to.
    """

    first: Tensor
    second: Tensor
    share: Tensor
    parts: list[tuple[int, int]]
    read: list[tuple[int, int]]


class Part(NamedTuple):
    """The values of a part of the image at one scale, and how they are enlarged.

    Attributes:
        values: ``(C + 1, h, w)``.
        above: the value above each row of pixels.
        below: the value below it.
        down: share of the latter.
        left: the value left of each column of pixels.
        right: the value right of it.
        across: share of the latter.
    """

    values: Tensor
    above: Tensor
    below: Tensor
    down: Tensor
    left: Tensor
    right: Tensor
    across: Tensor

    def enlarged(self, some: Tensor) -> Tensor:
        """Return the pixels of some channels, ``(K, height, width)``."""
        values = self.values[some]
        rows = values[:, self.above].lerp(values[:, self.below], self.down[:, None])
        return rows[:, :, self.left].lerp(rows[:, :, self.right], self.across)


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
        # Enlarged or not, the sum over flips is the same; so only one map is enlarged.
        maps = [
            plain[image] if mirrored is None else plain[image] + mirrored[image].flip(-1)
            for plain, mirrored in contiguous(scales)
        ]
        if all(bool(torch.isfinite(one).all()) for one in maps):
            found[image] = _strongest(maps, size)
    return found


def upper_bounds(maps: Tensor, down: Axis, across: Axis) -> Tensor:
    """Return the most that maps can be in each part of the enlarged image.

    Args:
        maps: ``(C, h, w)``.
        down: how rows are enlarged.
        across: how columns are.

    Returns:
        ``(C, parts down, parts across)``.

    Example:
        >>> maps = torch.tensor([[[0.0, 1.0, 2.0, 3.0]]])
        >>> upper_bounds(maps, axis_of(1, 1, maps), axis_of(4, 64, maps))
        tensor([[[2., 3.]]])
    """
    rows = torch.stack([maps[:, begin:end].amax(dim=1) for begin, end in down.read], dim=1)
    return torch.stack([rows[..., begin:end].amax(dim=-1) for begin, end in across.read], dim=-1)


def axis_of(length: int, pixels: int, like: Tensor) -> Axis:
    """Return how ``length`` values are enlarged to so many pixels, as torch does it.

    Args:
        length: number of values.
        pixels: number of pixels.
        like: tensor whose device and type the shares have.

    Example:
        >>> axis = axis_of(2, 4, torch.zeros(1))
        >>> axis.first.tolist(), axis.second.tolist(), axis.share.tolist()
        ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.25])
    """
    centres = torch.arange(pixels, device=like.device, dtype=like.dtype) + 0.5
    places = (centres * (length / pixels) - 0.5).clamp(min=0)
    first = places.long().clamp(max=length - 1)
    second = (first + 1).clamp(max=length - 1)
    side = PART if like.device.type == "cpu" else PART_OF_GPU
    parts = [(start, min(start + side, pixels)) for start in range(0, pixels, side)]
    begins, ends = first.tolist(), second.tolist()
    read = [(begins[start], ends[stop - 1] + 1) for start, stop in parts]
    return Axis(first, second, places - first, parts, read)


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
            parts = [
                Part(
                    one[:, slice(*down.read[i]), slice(*across.read[j])],
                    *_weights(down, i),
                    *_weights(across, j),
                )
                for one, (down, across) in zip(maps, axes, strict=True)
            ]
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


def _weights(axis: Axis, part: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return of which values of a part each of its pixels is made, and the share of the second."""
    pixels, begin = slice(*axis.parts[part]), axis.read[part][0]
    return axis.first[pixels] - begin, axis.second[pixels] - begin, axis.share[pixels]
