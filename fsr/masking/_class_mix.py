"""ClassMix: half of the classes of one image, pasted onto another with their labels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.arguments import check_generator
from fsr._core.checks import (
    check_bool,
    check_floating,
    check_integer,
    check_same_device,
    check_shape,
)
from fsr._core.labels import BACKGROUND, IGNORE
from fsr._core.transfer import to_device
from fsr.errors import ShapeError
from fsr.masking._label_range import check_label_range

# Half of the labels 0 to 254, rounded up: no image has more to choose from.
MOST = 128
# In a list of classes: no class.
NONE = -1


class MixedImages(NamedTuple):
    """A batch after ClassMix.

    Attributes:
        images: ``(B, 3, height, width)``.
        labels: ``(B, height, width)``.
        confident: ``(B, height, width)``, True = the label is to be trusted.
        mask: ``(B, height, width)``, True = pasted; :func:`fsr.masking.boundary` gives its rim.
    """

    images: Tensor
    labels: Tensor
    confident: Tensor
    mask: Tensor


def class_mix_mask(label_map: Tensor, classes: Tensor) -> Tensor:
    """Mark the pixels of the chosen classes.

    Args:
        label_map: integers from 0 to 255, ``(H, W)`` or ``(B, H, W)``.
        classes: integers, ``(K,)`` or ``(B, K)``; entries of -1 stand for none.

    Returns:
        Boolean of the label map's shape, True = of a chosen class.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: an argument is not integer.
        ValueError: a label or a class is out of range (not tested under ``torch.compile``).

    Source:
        Olsson et al., "ClassMix", WACV 2021.

    Example:
        >>> class_mix_mask(torch.tensor([[0, 1, 2, 255]]), torch.tensor([1, 2]))
        tensor([[False,  True,  True, False]])
    """
    if isinstance(label_map, Tensor) and label_map.ndim == 2:
        check_shape("classes", classes, "K?")
        return class_mix_mask(label_map[None], classes[None])[0]
    batch, _, _ = check_shape("label_map", label_map, "B H W")
    check_shape("classes", classes, "B K?", B=batch)
    check_same_device(label_map=label_map, classes=classes)
    check_integer("label_map", label_map)
    check_integer("classes", classes)
    check_label_range("label_map", label_map)
    check_label_range("classes", classes, NONE)
    # The place behind the last label takes the entries that stand for none.
    slots = classes.long().masked_fill(classes == NONE, IGNORE + 1)
    chosen = torch.zeros(batch, IGNORE + 2, dtype=torch.bool, device=label_map.device)
    chosen = chosen.scatter(1, slots, True)
    return chosen.gather(1, label_map.long().flatten(1)).view(label_map.shape)


def draw_classes(
    label_map: Tensor,
    *,
    ignore_background: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw half of the classes of each label map, rounded up, without replacement.

    Args:
        label_map: integers from 0 to 255, ``(B, H, W)``; 255 is no class.
        ignore_background: whether 0 is no class either.
        generator: source of the draw, on any device; default: torch's own.

    Returns:
        ``(B, 128)`` int64, the drawn classes of each map in random order, then -1.

    Raises:
        ShapeError: ``label_map`` has the wrong shape.
        TypeError: ``label_map`` is not integer.
        ValueError: a label is out of range (not tested under ``torch.compile``).

    Source:
        Olsson et al., "ClassMix", WACV 2021; without background: ShenghaiRong/BECO@6a57bed.

    Example:
        >>> draw_classes(torch.tensor([[[0, 7, 255]]]))[0, :3]
        tensor([ 7, -1, -1])
    """
    check_generator("generator", generator)
    batch, _, _ = check_shape("label_map", label_map, "B H W")
    check_integer("label_map", label_map)
    check_label_range("label_map", label_map)
    present = torch.zeros(batch, IGNORE + 1, dtype=torch.bool, device=label_map.device)
    present = present.scatter(1, label_map.long().flatten(1), True)
    present[:, IGNORE] = False
    if ignore_background:
        present[:, BACKGROUND] = False
    # A generator draws on its own device only: move the numbers, so that any will do.
    source = label_map.device if generator is None else generator.device
    noise = torch.rand(batch, IGNORE + 1, generator=generator, device=source)
    noise = to_device(noise, label_map.device).masked_fill(~present, -1.0)
    order = noise.argsort(dim=1, descending=True)
    wanted = (present.sum(dim=1, keepdim=True) + 1) // 2
    place = torch.arange(MOST, device=label_map.device)
    return order[:, :MOST].masked_fill(place >= wanted, NONE)


def class_mix(
    images: Tensor,
    labels: Tensor,
    confident: Tensor,
    classes: Tensor | None = None,
    *,
    ignore_background: bool = True,
    generator: torch.Generator | None = None,
) -> MixedImages:
    """Paste half of the classes of every image onto its partner in the other half of the batch.

    Image i of the first half and image i of the second are partners, and each is pasted onto the
    other. Only what an image is confident of has a class to paste. Where nothing is pasted the
    image keeps its own pixels, labels and confidence.

    Args:
        images: ``(B, 3, height, width)``, B even.
        labels: the network's own labels, ``(B, height, width)`` integers from 0 to 255.
        confident: where to trust them, ``(B, height, width)``, True = confident.
        classes: classes of each image to paste onto its partner, ``(B, K)``, -1 for none; default:
            drawn by :func:`draw_classes` among its confident labels.
        ignore_background: whether the background is never drawn.
        generator: source of the draw; default: torch's own.

    Returns:
        The mixed batch, in the order of the images pasted onto.

    Raises:
        ShapeError: a shape is wrong or does not fit the others, or B is odd.
        TypeError: ``images`` is not floating point, ``labels`` or ``classes`` not integer, or
            ``confident`` not boolean.
        ValueError: a label or class is out of range, or a ``generator`` is given beside
            ``classes``.

    Source:
        Rong et al., "Boundary-enhanced Co-training for Weakly Supervised Semantic Segmentation"
        (BECO), CVPR 2023; ShenghaiRong/BECO@6a57bed.

    Example:
        >>> images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 2)
        >>> labels, confident = torch.tensor([[[0, 1]], [[2, 0]]]), torch.ones(2, 1, 2).bool()
        >>> class_mix(images, labels, confident).labels
        tensor([[[2, 1]],
        <BLANKLINE>
                [[2, 1]]])
    """
    batch, _, height, width = check_shape("images", images, "B channels height width", channels=3)
    sizes = {"B": batch, "height": height, "width": width}
    check_shape("labels", labels, "B height width", **sizes)
    check_shape("confident", confident, "B height width", **sizes)
    check_same_device(images=images, labels=labels, confident=confident, classes=classes)
    check_floating("images", images)
    check_integer("labels", labels)
    check_label_range("labels", labels)
    check_bool("confident", confident)
    if batch % 2:
        raise ShapeError(f"images: expected an even batch, whose halves are mixed, got {batch}")
    seen = labels.masked_fill(~confident, IGNORE)
    if classes is None:
        classes = draw_classes(seen, ignore_background=ignore_background, generator=generator)
    elif generator is not None:
        raise ValueError("generator: expected None beside classes=, got both")
    mask = _partners(class_mix_mask(seen, classes))
    return MixedImages(
        images=_partners(images).where(mask[:, None], images),
        labels=_partners(labels).where(mask, labels),
        confident=_partners(confident).where(mask, confident),
        mask=mask,
    )


def _partners(values: Tensor) -> Tensor:
    """Swap the two halves of a batch."""
    return values.roll(values.shape[0] // 2, dims=0)
