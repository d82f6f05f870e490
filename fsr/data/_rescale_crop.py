"""Random crops of a rescaled image, padded where it is smaller, and the box of real pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from fsr._core.checks import check_between, check_positive_int, check_shape

Box = tuple[int, int, int, int]


class PaddedCrop(NamedTuple):
    """A square crop and the part of it that shows the image.

    Attributes:
        image: the crop, of the kind of the image that was given: PIL image or tensor.
        box: top, bottom, left and right, half-open, of the real pixels **in the crop**:
            ``image[top:bottom, left:right]``; the rest is padding. Batches of them are the ``box``
            of :func:`fsr.cam.cam_to_labels` and :func:`fsr.refine.pseudo_labels`. The ``box`` of a
            :class:`fsr.data.View` is something else: top, left, height and width of what a view
            shows **in its source image**; nothing of a view is padding.
    """

    image: Any
    box: Box


class CropDraw(NamedTuple):
    """How a :class:`RandomRescaleCrop` was drawn.

    Attributes:
        size: height and width that the image is scaled to.
        flip: whether it is mirrored then.
        pad: rows above and columns left of it on its canvas.
        start: first row and column of the crop on that.
    """

    size: tuple[int, int]
    flip: bool
    pad: tuple[int, int]
    start: tuple[int, int]


def padded_crop(
    image: Any, size: int, *, pad: Sequence[int], start: Sequence[int], fill: int = 0
) -> PaddedCrop:
    r"""Put an image on a black canvas of at least ``size`` in each direction and cut a square out.

    With the image's size n, what lies before it on the canvas p and the crop's start on the canvas
    q, the real pixels of the crop are, along rows and columns alike,

    .. math:: \max(p - q, 0) \le x < \min(S, p - q + n)

    Args:
        image: PIL image, or tensor ``(..., h, w)``; the canvas is max(S, h) by max(S, w).
        size: S, side of the crop in pixels.
        pad: rows above and columns left of the image, each from 0 to ``max(S - n, 0)``.
        start: first row and column of the crop, each from 0 to ``max(n - S, 0)``.
        fill: value of the canvas.

    Returns:
        The crop and its box.

    Raises:
        TypeError: ``image`` is neither PIL image nor tensor, or a number no integer.
        ValueError: ``pad`` or ``start`` leaves its range.

    Source:
        Padded crops of Ru et al., CVPR 2022 and 2023 (rulixiang/afa@adcfa29,
        rulixiang/ToCo@e13514d).

    Example:
        >>> crop = padded_crop(torch.ones(1, 2, 5), 4, pad=(1, 0), start=(0, 1))
        >>> crop.image.shape, crop.box
        (torch.Size([1, 4, 4]), (1, 3, 0, 4))
    """
    check_positive_int("size", size)
    height, width = _size_of(image)
    _check_pair("pad", pad)
    _check_pair("start", start)
    edges: list[int] = []
    canvas: list[int] = []
    for axis, length in enumerate((height, width)):
        _check_offset(f"pad[{axis}]", pad[axis], size - length)
        _check_offset(f"start[{axis}]", start[axis], length - size)
        shift = pad[axis] - start[axis]
        edges += [max(shift, 0), min(size, shift + length)]
        canvas.append(max(size, length) - length - pad[axis])
    padded = TF.pad(image, [pad[1], pad[0], canvas[1], canvas[0]], fill=fill)
    crop = TF.crop(padded, start[0], start[1], size, size)
    return PaddedCrop(crop, (edges[0], edges[1], edges[2], edges[3]))


class RandomRescaleCrop:
    """Rescale an image at random, mirror it at random, and cut a square out of it, padded if small.

    Rows and columns are scaled by one number and rounded down, bilinearly and antialiased. Where
    the image is smaller than the crop it lies at a random place on black, before any normalisation;
    where it is larger the crop is cut at a random place. The mirror is drawn once, before the box
    is taken: in ToCo's released code the crop is mirrored again after it, so that the box is that
    of the mirror image half of the time. Everything follows torch's global random state.

    Args:
        size: side of the crop in pixels.
        scale: smallest and largest factor.
        flip: probability of the mirror image.

    Raises:
        TypeError: an option is of the wrong type.
        ValueError: an option is out of range.

    Source:
        Ru et al., "Learning Affinity from Attention", CVPR 2022, and "Token Contrast for Weakly
        Supervised Semantic Segmentation", CVPR 2023 (rulixiang/afa@adcfa29,
        rulixiang/ToCo@e13514d).

    Example:
        >>> crop, box = RandomRescaleCrop(32, scale=(0.5, 0.5))(Image.new("RGB", (60, 40)))
        >>> top, bottom, left, right = box
        >>> crop.size, bottom - top, right - left
        ((32, 32), 20, 30)
    """

    def __init__(
        self, size: int, scale: Sequence[float] = (0.5, 2.0), *, flip: float = 0.5
    ) -> None:
        check_positive_int("size", size)
        if not isinstance(scale, Sequence) or len(scale) != 2:
            raise TypeError(f"scale: expected two numbers, got {scale!r}")
        for index, number in enumerate(scale):
            check_between(f"scale[{index}]", number, 0.0, float("inf"), inclusive=False)
        if scale[0] > scale[1]:
            raise ValueError(f"scale: expected low <= high, got {tuple(scale)}")
        check_between("flip", flip, 0.0, 1.0)
        self.size = size
        self.scale = (float(scale[0]), float(scale[1]))
        self.flip = flip

    def __call__(self, image: Any) -> PaddedCrop:
        """Return a random crop of an image and the box of its real pixels.

        Args:
            image: PIL image, or tensor ``(channels, height, width)``.

        Raises:
            TypeError: ``image`` is neither.
            ShapeError: a tensor has another rank.
        """
        if isinstance(image, Tensor):
            check_shape("image", image, "channels height width")
        return self.apply(image, self.draw(_size_of(image)))

    def draw(self, size: tuple[int, int]) -> CropDraw:
        """Draw how an image of a height and width is rescaled, mirrored and cut."""
        low, high = self.scale
        factor = low + (high - low) * float(torch.rand((), dtype=torch.float64))
        height, width = (max(1, int(factor * length)) for length in size)
        flip = bool(torch.rand(()) < self.flip)
        pad = (_draw(self.size - height), _draw(self.size - width))
        start = (_draw(height - self.size), _draw(width - self.size))
        return CropDraw((height, width), flip, pad, start)

    def apply(
        self, image: Any, draw: CropDraw, *, fill: int = 0, labels: bool = False
    ) -> PaddedCrop:
        """Return the crop of an image that was drawn, so that masks are cut as their image is.

        Args:
            image: PIL image, or tensor ``(channels, height, width)``.
            draw: what :meth:`draw` returned.
            fill: value of the padding.
            labels: whether values are labels, which are not mixed with their neighbours.
        """
        mode = InterpolationMode.NEAREST if labels else InterpolationMode.BILINEAR
        scaled = TF.resize(image, list(draw.size), interpolation=mode, antialias=not labels)
        if draw.flip:
            scaled = TF.horizontal_flip(scaled)
        return padded_crop(scaled, self.size, pad=draw.pad, start=draw.start, fill=fill)

    def __repr__(self) -> str:
        return f"RandomRescaleCrop({self.size}, scale={self.scale}, flip={self.flip})"


def _size_of(image: Any) -> tuple[int, int]:
    """Return the height and width of a PIL image or a tensor."""
    if isinstance(image, Image.Image):
        return image.height, image.width
    if isinstance(image, Tensor) and image.ndim >= 2:
        return int(image.shape[-2]), int(image.shape[-1])
    shown = f"shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
    raise TypeError(f"image: expected a PIL image or a tensor (..., height, width), got {shown}")


def _draw(most: int) -> int:
    """Return an integer from 0 to ``most``, both included; 0 where that is negative."""
    return int(torch.randint(max(most, 0) + 1, ()))


def _check_pair(name: str, value: Any) -> None:
    """Raise unless the value is a sequence of two."""
    if not isinstance(value, Sequence) or len(value) != 2:
        raise TypeError(f"{name}: expected two integers (rows, columns), got {value!r}")


def _check_offset(name: str, value: int, most: int) -> None:
    """Raise unless the offset is an integer from 0 to ``most``; only 0 if that is negative."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    check_between(name, value, 0, max(most, 0))
