"""The classes that images show, in the place of all: maps of the others are never needed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.labels import BACKGROUND

# A CPU resizes so many channels at a time; the maps of a few classes then come out as those of all,
# but for the last bit of the C mod 8 classes that all leave over.
LANES = 8
# Of so few classes all are taken: nothing would be saved.
FEW = 32


def some_classes(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the classes to make maps of, ``(B, K)``, and which of them an image shows.

    They are all, in their order, where they are few, and else those that the images show.

    Args:
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.

    Example:
        >>> some_classes(torch.tensor([[0.0, 1.0]]))
        (tensor([[0, 1]]), tensor([[False,  True]]))
    """
    if labels.shape[1] > FEW:
        return present_classes(labels, LANES)
    every = torch.arange(labels.shape[1], device=labels.device)
    return every.expand(len(labels), -1), labels > 0


def present_classes(labels: Tensor, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Return the classes of each image, ``(B, K)``, and whether the entry is one or filling.

    K is the largest number of classes that an image of the batch shows: a few channels instead of
    all C. It is read on the host, and is C where values cannot be looked at.

    Args:
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.
        multiple: K is rounded up to a multiple of this, or is C.

    Example:
        >>> present_classes(torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
        (tensor([[1, 2],
                [0, 1]]), tensor([[ True,  True],
                [ True, False]]))
    """
    present = labels > 0
    most = present.shape[1]
    if not present.is_meta and present.numel() and not torch.compiler.is_compiling():
        most = max(1, int(present.sum(dim=1).max()))
        most = -(-most // multiple) * multiple
    shown = present.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    return shown, present.gather(1, shown)


def maps_of_classes(maps: Tensor, shown: Tensor) -> Tensor:
    """Return the maps ``(B, K, h, w)`` of some classes of each image, of all ``(B, C, h, w)``.

    Example:
        >>> maps_of_classes(torch.arange(3.0).view(1, 3, 1, 1), torch.tensor([[2, 0]])).flatten()
        tensor([2., 0.])
    """
    found = maps.gather(1, shown[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
    # In the order in which the maps lie: what reads them then works in the same way.
    last = maps.shape[1] > 1 and maps.stride(1) == 1
    return found.contiguous(memory_format=torch.channels_last) if last else found


def labels_of_classes(places: Tensor, shown: Tensor, unknown: int | None = None) -> Tensor:
    """Return the labels that places among some classes of each image stand for.

    Args:
        places: ``(B, H, W)`` integers: 0 background, k + 1 for the k-th of the classes, anything
            below 0 unknown.
        shown: the classes, ``(B, K)``.
        unknown: label of what is unknown; None where nothing is.

    Returns:
        ``(B, H, W)`` int64: 0 background, c + 1 class c.

    Example:
        >>> labels_of_classes(torch.tensor([[[0, 1, -1]]]), torch.tensor([[7]]), 255)
        tensor([[[  0,   8, 255]]])
    """
    table = F.pad(shown + 1, (1, 0), value=BACKGROUND)
    labels = table.gather(1, places.clamp(min=0).flatten(1)).view_as(places)
    return labels if unknown is None else labels.masked_fill(places < 0, unknown)
