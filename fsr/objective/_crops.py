"""Local crops of a view around uncertain regions, as a view of their own."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from fsr.masking import sample_local_crops, uncertain_regions
from fsr.objective._needs import Needs
from fsr.objective._part import Part
from fsr.objective._step import Step
from fsr.presets import CAMSource


class Crops(NamedTuple):
    """Crops of a step.

    Attributes:
        images: ``(B, count, 3, s, s)``, normalised.
        positive: which of them show an object, ``(B, count)`` boolean.
    """

    images: Tensor
    positive: Tensor


class LocalCrops(Part):
    """Crops of view 1 around pixels that its CAM calls background or uncertain.

    Args:
        source: the CAM, of view 1.
        count: crops of an image.
        crop_size: side of a crop in pixels.
        low: CAM scores up to this are background.
        high: CAM scores from this on are sure.
        threshold: largest mean region of a negative crop.

    Source:
        Ru et al., CVPR 2023 (rulixiang/ToCo@e13514d), which cuts from the image before its colours.

    Example:
        >>> LocalCrops(CAMSource(layer="auxiliary"), count=8, crop_size=96).needs(0).views
        frozenset({1})
    """

    def __init__(
        self,
        source: CAMSource,
        *,
        count: int = 8,
        crop_size: int = 96,
        low: float = 0.25,
        high: float = 0.7,
        threshold: float = 0.2,
    ) -> None:
        super().__init__()
        self.source, self.count, self.crop_size = source, count, crop_size
        self.low, self.high, self.threshold = low, high, threshold

    def needs(self, number: int) -> Needs:
        """Return the CAM."""
        return Needs(cams=(self.source,))

    def forward(self, step: Step) -> Crops:
        """Return the crops of a step."""
        images = step.views[0]
        cam, present, _ = step.present_cam(self.source, (images.shape[2], images.shape[3]))
        regions = uncertain_regions(cam, present, self.low, self.high)
        crops, _, positive = sample_local_crops(
            images,
            regions,
            self.count,
            self.crop_size,
            threshold=self.threshold,
            generator=step.generator,
        )
        return Crops(crops, positive)


class CropView(Part):
    """The images of crops as one view, ``(B * count, 3, s, s)``, those of an image together.

    Args:
        crops: the crops.

    Example:
        >>> CropView(LocalCrops(CAMSource(layer="auxiliary"))).needs(0).cams[0].layer
        'auxiliary'
    """

    def __init__(self, crops: LocalCrops) -> None:
        super().__init__()
        self.crops = crops

    def needs(self, number: int) -> Needs:
        """Return what the crops read."""
        return self.crops.needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the images."""
        crops: Crops = step.get(self.crops)
        return crops.images.flatten(0, 1)
