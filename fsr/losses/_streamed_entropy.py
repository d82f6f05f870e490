"""Cross entropy of many classes at the size of an image, whose map of scores is never made whole.

A thousand classes at 448 x 448 are 0.8 GB an image. Here the scores are interpolated tile by tile,
for the pixels that have a label alone, and forgotten; what stays is as large as the logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from fsr._core.labels import BYTE_CLASSES
from fsr._core.numerics import at_least_float32, no_autocast

# Scores of a tile: on a CPU they stay in its cache, elsewhere they keep the device busy.
TILE = {"cpu": 2**19}
TILE_ELSEWHERE = 2**25


def streams(logits: Tensor, labels: Tensor) -> bool:
    """Tell whether a map of scores at the labels' size is not to be made: of many classes, larger.

    Example:
        >>> labels = torch.zeros(1, 32, 32, dtype=torch.long)
        >>> streams(torch.zeros(1, 21, 2, 2), labels), streams(torch.zeros(1, 301, 2, 2), labels)
        (False, True)
    """
    _, channels, height, width = logits.shape
    _, rows, columns = labels.shape
    larger = rows >= height and columns >= width and rows * columns > height * width
    return channels > BYTE_CLASSES + 1 and larger


def streamed_entropy(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """Return the cross entropy of every pixel, ``(B, H, W)``, without a map of all scores.

    Args:
        logits: ``(B, C+1, h, w)``, interpolated bilinearly to the labels' size.
        labels: ``(B, H, W)`` integers.
        ignore_index: label of pixels to leave out; they get 0.
    """
    entropy: Tensor = _Map.apply(at_least_float32(logits), labels.long(), ignore_index)
    return entropy


def streamed_weighted_sum(
    logits: Tensor, labels: Tensor, weights: Tensor, ignore_index: int
) -> Tensor:
    r"""Return :math:`\sum_i w_i \mathrm{CE}_i`, scalar; its gradient is made along with the value.

    Args:
        logits: ``(B, C+1, h, w)``, interpolated bilinearly to the labels' size.
        labels: ``(B, H, W)`` integers.
        weights: w, ``(B, H, W)``; constants.
        ignore_index: label of pixels to leave out.
    """
    scores = at_least_float32(logits)
    total: Tensor = _Sum.apply(scores, labels.long(), weights.to(scores.dtype), ignore_index)
    return total


class _Map(torch.autograd.Function):
    """The map; scores are interpolated once more for its gradient."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        ctx.save_for_backward(scores, labels)
        ctx.ignore_index = ignore_index
        entropy: Tensor = _entropy_and_gradient(scores, labels, None, ignore_index)[0]
        return entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        scores, labels = ctx.saved_tensors
        return _entropy_and_gradient(scores, labels, grad, ctx.ignore_index)[1], None, None


class _Sum(torch.autograd.Function):
    """The weighted sum, whose gradient needs no second look at the scores."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, weights: Tensor, ignore_index: int
    ) -> Tensor:
        wanted = weights if ctx.needs_input_grad[0] else None
        entropy, gradient = _entropy_and_gradient(scores, labels, wanted, ignore_index)
        ctx.save_for_backward(gradient)
        total: Tensor = (entropy * weights).sum()
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None, None


# One operator for torch.compile, which would unroll the loop over tiles.
@torch.library.custom_op("fsr::entropy_and_gradient", mutates_args=())
def _entropy_and_gradient(
    scores: Tensor, labels: Tensor, weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Cross entropy of every pixel, and the gradient of its weighted sum; none without weights."""
    with torch.no_grad(), no_autocast(scores):
        flat = scores.permute(0, 2, 3, 1).contiguous()
        entropy = torch.zeros(labels.shape, dtype=scores.dtype, device=scores.device)
        gradient = torch.zeros_like(flat) if weights is not None else flat.new_empty(0)
        # One room for the scores of every tile: asking the system for new ones takes longer.
        room = flat.new_empty(_pixels_of_tile(scores), flat.shape[-1])
        for tile in _tiles(scores, labels):
            _add_tile(flat, labels, weights, ignore_index, entropy, gradient, room, *tile)
        if weights is not None:
            gradient = gradient.permute(0, 3, 1, 2).contiguous()
        return entropy, gradient


@_entropy_and_gradient.register_fake
def _(
    scores: Tensor, labels: Tensor, weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    entropy = labels.new_empty(labels.shape, dtype=scores.dtype)
    shape = scores.shape if weights is not None else (0,)
    return entropy, scores.new_empty(shape)


def _add_tile(
    flat: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    ignore_index: int,
    entropy: Tensor,
    gradient: Tensor,
    room: Tensor,
    image: int,
    pixels: tuple[slice, slice],
    cells: tuple[slice, slice],
    shares: Tensor,
) -> None:
    """Write the entropy of a tile's pixels, and add to the gradient of its cells."""
    where = (image, *pixels)
    wanted = labels[where].flatten()
    labelled = wanted != ignore_index
    if flat.device.type == "cpu":  # elsewhere the host would wait for their number
        chosen = labelled.nonzero()[:, 0]
        if len(chosen) == 0:
            return
        shares, wanted = shares[chosen], wanted[chosen]
    inside = flat[(image, *cells)]
    scores = room[: len(shares)]
    torch.mm(shares, inside.reshape(-1, inside.shape[-1]), out=scores)
    wanted = wanted.where(wanted != ignore_index, 0)[:, None]
    peak = scores.amax(dim=1, keepdim=True)
    right = scores.gather(1, wanted) - peak
    # In place from here on: the only copy of the tile's scores.
    total = scores.sub_(peak).exp_().sum(dim=1, keepdim=True)
    found = (total.log() - right)[:, 0]
    if flat.device.type == "cpu":
        place = torch.zeros(labelled.shape, dtype=found.dtype)
        place[chosen] = found
    else:
        place = found.masked_fill(~labelled, 0.0)
    entropy[where] = place.view(labels[where].shape)
    if weights is None:
        return
    weight = weights[where].flatten().where(labelled, 0.0)
    if flat.device.type == "cpu":
        weight = weight[chosen]
    # Softmax less the one of the label, both times the sum, which the shares divide by.
    scores.scatter_add_(1, wanted, -total)
    back = (shares * (weight[:, None] / total)).t() @ scores
    gradient[(image, *cells)] += back.view(inside.shape)


def _tiles(
    scores: Tensor, labels: Tensor
) -> Iterator[tuple[int, tuple[slice, slice], tuple[slice, slice], Tensor]]:
    """Yield image, pixels, cells of the logits that these are between, and the pixels' shares."""
    batch, _, height, width = scores.shape
    _, rows, columns = labels.shape
    most = _pixels_of_tile(scores)
    # Twice as wide as high; a quarter more cells than a square of them costs nothing beside that.
    tall = max(1, math.isqrt(most // 2))
    wide = max(1, most // tall)
    down, across = _shares(height, rows, scores), _shares(width, columns, scores)
    for top in range(0, rows, tall):
        bottom = min(top + tall, rows)
        upper = _between(top, bottom, height / rows, height)
        for left in range(0, columns, wide):
            right = min(left + wide, columns)
            middle = _between(left, right, width / columns, width)
            vertical, horizontal = down[top:bottom, upper], across[left:right, middle]
            shares = vertical[:, None, :, None] * horizontal[None, :, None, :]
            shares = shares.flatten(2).flatten(0, 1)
            for image in range(batch):
                pixels = (slice(top, bottom), slice(left, right))
                yield image, pixels, (upper, middle), shares


def _pixels_of_tile(scores: Tensor) -> int:
    """Return how many pixels a tile has at most."""
    return max(1, TILE.get(scores.device.type, TILE_ELSEWHERE) // scores.shape[1])


def _shares(cells: int, pixels: int, like: Tensor) -> Tensor:
    """Shares of the cells of an axis in its pixels, bilinear, ``(pixels, cells)``."""
    each = torch.eye(cells, device=like.device, dtype=like.dtype)[None]
    return F.interpolate(each, size=pixels, mode="linear", align_corners=False)[0].t().contiguous()


def _between(start: int, stop: int, scale: float, cells: int) -> slice:
    """Return the cells that pixels from ``start`` to before ``stop`` lie between."""
    first, last = ((place + 0.5) * scale - 0.5 for place in (start, stop - 1))
    # One more on either side where rounding may decide.
    return slice(max(0, math.floor(first - 1e-3)), min(cells, math.floor(last + 1e-3) + 2))
