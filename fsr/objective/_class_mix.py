"""Images of a batch mixed by their classes, with labels, confidence and the pastes' boundaries."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.boxes import outside_box
from fsr._core.labels import IGNORE, check_byte_classes
from fsr._core.modes import eval_mode
from fsr._core.transfer import to_device
from fsr.cam import resize_cam
from fsr.masking import boundary, class_mix, draw_classes
from fsr.objective._part import Part
from fsr.objective._step import Step
from fsr.segmenter import SingleStageSegmenter


class Trusted(NamedTuple):
    """Labels of pixels and which of them to trust.

    Attributes:
        labels: ``(B, height, width)`` int64, 255 = no label.
        confident: ``(B, height, width)`` boolean. Padding is confident of no label: nothing is
            learnt there.
    """

    labels: Tensor
    confident: Tensor


class Mixed(NamedTuple):
    """A batch after mixing.

    Attributes:
        images: ``(B, 3, height, width)``, normalised.
        labels: ``(B, height, width)`` int64, 255 = no label.
        confident: ``(B, height, width)`` boolean.
        boundary: ``(B, height, width)`` boolean, the rim of what was pasted.
    """

    images: Tensor
    labels: Tensor
    confident: Tensor
    boundary: Tensor


class GivenLabels(Part):
    """The label maps that a step is given, trusted where their weight is above a half.

    Without weights every label is trusted.

    Example:
        >>> GivenLabels().needs(0).views
        frozenset()
    """

    def forward(self, step: Step) -> Trusted:
        """Return the labels of a step."""
        labels, weights = step.given("masks"), step.given("weights")
        if labels is None:
            raise ValueError("given: expected the label maps of view 1 as 'masks', got none")
        step.seen["pseudo_labels"] = labels
        confident = labels != IGNORE if weights is None else weights > 0.5
        return _without_padding(step, Trusted(labels, confident))


class OnlineLabels(Part):
    """The network's own labels of view 1, trusted where their probability is high.

    A pass of its own, in evaluation mode and without gradient.

    Args:
        confidence: probability above which a label is trusted.

    Raises:
        ValueError: the network has no segmentation.

    Source:
        Rong et al., CVPR 2023 (ShenghaiRong/BECO@6a57bed).

    Example:
        >>> OnlineLabels(confidence=0.9).needs(0).views
        frozenset()
    """

    def __init__(self, confidence: float = 0.95) -> None:
        super().__init__()
        self.confidence = confidence

    def check(self, network: SingleStageSegmenter) -> None:
        """Raise unless the network has a segmentation."""
        if "segmentation" not in network.head_names:
            raise ValueError("student: expected a head 'segmentation', to label images with")

    def forward(self, step: Step) -> Trusted:
        """Return the labels of a step."""
        images, network = step.view(1), step.network
        with torch.no_grad(), eval_mode(network):
            logits = network(images, outputs=("segmentation",)).head("segmentation")
        scores = resize_cam(logits, (images.shape[2], images.shape[3])).softmax(dim=1)
        largest, labels = scores.max(dim=1)
        return _without_padding(step, Trusted(labels, largest > self.confidence))


class ClassMix(Part):
    """View 1 with classes of other images pasted onto it.

    The halves of a batch are partners. Onto a share of the images the partner's pixels of half of
    its trusted classes are pasted, with the network's own labels of both; other images keep the
    labels that were given. Before the network's labels are good, those given are mixed, whatever
    their confidence, and no pixel counts as boundary.

    Args:
        given: the labels given.
        online: the network's own.
        start: step of the run from which on these are mixed.
        probability: probability that something is pasted onto an image.
        background: whether the background may be pasted too.
        size: how far a boundary reaches on either side, in pixels.

    Source:
        Rong et al., CVPR 2023 (ShenghaiRong/BECO@6a57bed); Olsson et al., "ClassMix", WACV 2021.

    Example:
        >>> ClassMix(GivenLabels(), OnlineLabels(), start=10).probability
        0.5
    """

    def __init__(
        self,
        given: GivenLabels,
        online: OnlineLabels,
        *,
        start: int = 0,
        probability: float = 0.5,
        background: bool = False,
        size: int = 1,
    ) -> None:
        super().__init__()
        self.given, self.online, self.start = given, online, start
        self.probability, self.background, self.size = probability, background, size

    def check(self, network: SingleStageSegmenter) -> None:
        """Raise if the network has more classes than can be drawn."""
        check_byte_classes("num_classes: mixing by classes", network.num_classes)

    def forward(self, step: Step) -> Mixed:
        """Return the mixed batch; how much was pasted and is trusted can be seen afterwards."""
        images, given = step.view(1), step.get(self.given)
        online = step.number >= self.start
        pasted: Trusted = step.get(self.online) if online else given
        drawn_from = pasted.confident if online else torch.ones_like(pasted.confident)
        chosen, classes = self._draw(step, pasted.labels.masked_fill(~drawn_from, IGNORE))
        mixed = class_mix(images, pasted.labels, drawn_from, classes)
        confident = mixed.confident
        if not online:  # what was drawn from all labels is pasted with its own confidence
            half = len(images) // 2
            confident = given.confident.roll(half, dims=0).where(mixed.mask, given.confident)
        rim = boundary(mixed.mask, self.size).boundary
        each = chosen[:, None, None]
        confident = confident.where(each, given.confident)
        step.seen |= {"pasted": mixed.mask.float().mean(), "trusted": confident.float().mean()}
        return Mixed(
            mixed.images,
            mixed.labels.where(each, given.labels),
            confident,
            rim if online else torch.zeros_like(rim),
        )

    def _draw(self, step: Step, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images that are pasted onto, and the classes of their partners."""
        generator = step.generator
        classes = draw_classes(labels, ignore_background=not self.background, generator=generator)
        device = labels.device if generator is None else generator.device
        draw = torch.rand(len(labels), generator=generator, device=device)
        chosen = to_device(draw, labels.device) < self.probability
        partners = chosen.roll(len(chosen) // 2)
        return chosen, classes.masked_fill(~partners[:, None], -1)


class MixedView(Part):
    """The images of a mixed batch as one view, ``(B, 3, height, width)``.

    Args:
        mix: the mixed batch.

    Example:
        >>> MixedView(ClassMix(GivenLabels(), OnlineLabels())).needs(0).views
        frozenset()
    """

    def __init__(self, mix: ClassMix) -> None:
        super().__init__()
        self.mix = mix

    def forward(self, step: Step) -> Tensor:
        """Return the images."""
        mixed: Mixed = step.get(self.mix)
        return mixed.images


def _without_padding(step: Step, trusted: Trusted) -> Trusted:
    """Return labels that say nothing outside the box of the real pixels."""
    box = step.given("box")
    if box is None:
        return trusted
    height, width = trusted.labels.shape[1:]
    outside = outside_box(box.to(trusted.labels.device), height, width)
    return Trusted(trusted.labels.masked_fill(outside, IGNORE), trusted.confident | outside)
