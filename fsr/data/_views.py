"""Two random views of an image: crop, flip and colour, each view drawn on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomResizedCrop, v2
from torchvision.transforms.v2 import functional as TF

from fsr._core.checks import check_between, check_choice, check_positive_int
from fsr.data._opening import without_limit

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# The paper names crop, flip and colour jitter without their strengths: the released code's, which
# are the defaults below. Its three other augmentations (Table 5) are off in both.
VIEW_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"blur_prob": 0.0, "solarize_prob": 0.0, "rand_augment": False},
}


class View(NamedTuple):
    """One view of an image, and where it comes from.

    Attributes:
        image: normalised image, ``(3, image_size, image_size)`` float32.
        box: top, left, height and width of the crop in pixels of the source image. The box of a
            :class:`fsr.data.PaddedCrop`, which labels take as ``box=``, is another: top, bottom,
            left and right of the real pixels in the crop.
        flipped: whether the crop was mirrored after cutting.
    """

    image: Tensor
    box: tuple[int, int, int, int]
    flipped: bool


class TwoViews:
    """Two independent random views of an RGB image.

    Each view is a random resized crop (bicubic, antialiased), a horizontal flip, colour jitter and
    the options asked for, then normalised. Everything follows torch's global random state.

    RandAugment also shears and shifts the image, which box and flip say nothing about.

    Args:
        image_size: side of the views in pixels.
        scale: smallest and largest share of the image's area that a crop takes.
        ratio: smallest and largest aspect ratio of a crop, width over height.
        flip: probability of the mirror image.
        jitter: strength of brightness, contrast, saturation and hue.
        jitter_prob: probability of the colour jitter.
        blur_prob: probability of a Gaussian blur of 0.1 to 2 pixels; 0.1 in the released options.
        solarize_prob: probability of inverting bright pixels; 0.2 in the released options.
        rand_augment: apply RandAugment, two operations at nine tenths of their strength.
        mean: mean of the normalisation per channel, that of the backbone's pretraining.
        std: standard deviation likewise.

    Raises:
        TypeError: an option is of the wrong type.
        ValueError: an option is out of range.

    Source:
        Section "Implementation Details" and Table 5; strengths from the released code.

    Example:
        >>> views = TwoViews(32)(Image.new("RGB", (64, 48)))
        >>> views[0].image.shape, len(views[1].box), type(views[1].flipped)
        (torch.Size([3, 32, 32]), 4, <class 'bool'>)
    """

    def __init__(
        self,
        image_size: int,
        *,
        scale: Sequence[float] = (0.32, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        jitter: Sequence[float] = (0.4, 0.4, 0.2, 0.1),
        jitter_prob: float = 0.5,
        blur_prob: float = 0.0,
        solarize_prob: float = 0.0,
        rand_augment: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        check_positive_int("image_size", image_size)
        _check_range("scale", scale, 1.0)
        _check_range("ratio", ratio, float("inf"))
        for name, value in (
            ("flip", flip),
            ("jitter_prob", jitter_prob),
            ("blur_prob", blur_prob),
            ("solarize_prob", solarize_prob),
        ):
            check_between(name, value, 0.0, 1.0)
        _check_numbers("jitter", jitter, 4, 0.0)
        _check_numbers("mean", mean, 3, float("-inf"))
        _check_numbers("std", std, 3, 1e-12)
        self.image_size = image_size
        self.scale = list(scale)
        self.ratio = list(ratio)
        self.flip = flip
        self.mean = list(mean)
        self.std = list(std)
        brightness, contrast, saturation, hue = jitter
        steps: list[Any] = []
        if rand_augment:
            # 27 of torchvision's 30 steps are timm's magnitude 9 of 10, the released option.
            steps.append(v2.RandAugment(num_ops=2, magnitude=27, num_magnitude_bins=31))
        if jitter_prob:
            colour = v2.ColorJitter(brightness, contrast, saturation, hue)
            steps.append(v2.RandomApply([colour], p=jitter_prob))
        if blur_prob:
            blur = v2.GaussianBlur(kernel_size=13, sigma=(0.1, 2.0))
            steps.append(v2.RandomApply([blur], p=blur_prob))
        if solarize_prob:
            steps.append(v2.RandomSolarize(threshold=128, p=solarize_prob))
        self.steps = steps

    @classmethod
    def from_preset(cls, name: str, image_size: int = 448, **overrides: Any) -> TwoViews:
        """Make the views of the "paper" or of the "released" code, with changes by keyword.

        Both are the defaults of this class: the paper prints no strengths.

        Raises:
            ValueError: there is no such preset.
        """
        check_choice("name", name, VIEW_PRESETS)
        return cls(image_size, **{**VIEW_PRESETS[name], **overrides})

    def __call__(self, image: Image.Image) -> tuple[View, View]:
        """Return two views of a PIL image in RGB.

        Raises:
            TypeError: ``image`` is no PIL image.
            ValueError: ``image`` is not in RGB.
        """
        if not isinstance(image, Image.Image):
            raise TypeError(f"image: expected a PIL image, got {type(image).__name__}")
        if image.mode != "RGB":
            raise ValueError(
                f'image: expected mode RGB, got {image.mode}; image.convert("RGB") makes it so'
            )
        return self._view(image), self._view(image)

    def one(self, image: Image.Image) -> View:
        """Return one such view of a PIL image in RGB."""
        return self._view(image)

    def coloured(self, image: Image.Image) -> Tensor:
        """Return a PIL image in RGB as it is, but for colours: normalised, ``(3, h, w)``."""
        for step in self.steps:
            image = step(image)
        pixels = TF.to_dtype(TF.pil_to_tensor(image), torch.float32, scale=True)
        normalised: Tensor = TF.normalize(pixels, self.mean, self.std)
        return normalised

    def __repr__(self) -> str:
        steps = "".join(f", {step}" for step in self.steps)
        return (
            f"TwoViews({self.image_size}, scale={self.scale}, ratio={self.ratio}, "
            f"flip={self.flip}{steps})"
        )

    def _view(self, image: Image.Image) -> View:
        """Draw one view."""
        top, left, height, width = RandomResizedCrop.get_params(image, self.scale, self.ratio)
        size = [self.image_size, self.image_size]
        with without_limit(height * width):  # of a picture that was allowed to be so large
            crop: Any = TF.resized_crop(
                image, top, left, height, width, size, interpolation=InterpolationMode.BICUBIC
            )
        flipped = bool(torch.rand(()) < self.flip)
        if flipped:
            crop = TF.horizontal_flip(crop)
        return View(self.coloured(crop), (top, left, height, width), flipped)


def _check_range(name: str, value: Sequence[float], most: float) -> None:
    """Raise unless the value is two numbers, above 0, in order and at most ``most``."""
    low, high = _check_numbers(name, value, 2, 0.0)
    if not 0 < low <= high <= most or high == float("inf"):
        raise ValueError(f"{name}: expected 0 < low <= high <= {most}, got {tuple(value)}")


def _check_numbers(name: str, value: Sequence[float], count: int, least: float) -> Sequence[float]:
    """Return the value, or raise unless it is so many numbers of at least ``least``."""
    if not isinstance(value, Sequence) or len(value) != count:
        raise TypeError(f"{name}: expected {count} numbers, got {value!r}")
    for index, number in enumerate(value):
        check_between(f"{name}[{index}]", number, least, float("inf"))
    return value
