"""One process and several at the same effective batch: what is the same, and what is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fsr.objective import ObjectiveOutput, Place, TrainingObjective
from fsr.presets import LOSS_TERMS
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher

# Means over images of sums that each image has alone.
SAME = ("classification", "auxiliary", "uncertain", "confident", "energy")
# Ratios of sums over the images that a process forwards at once.
SPLIT = ("affinity", "segmentation")
LATE = 60


def _objective() -> TrainingObjective:
    torch.manual_seed(0)
    options = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
    student = SingleStageSegmenter(
        3, "vit_tiny_patch16_224", image_size=64, projection_dim=8, backbone_options=options
    )
    return TrainingObjective(
        student, EMATeacher(student, 0.9), preset="fast", mask_block=2, total_steps=100
    )


@pytest.fixture(scope="module")
def outputs() -> tuple[ObjectiveOutput, list[ObjectiveOutput]]:
    """A step on four images at once, and on halves of them."""
    views = torch.randn(2, 4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]])

    def forward(first: int, count: int) -> ObjectiveOutput:
        images = slice(first, first + count)
        shared = torch.Generator().manual_seed(5)
        output: ObjectiveOutput = _objective()(
            views[0, images],
            views[1, images],
            labels[images],
            step=LATE,
            generator=torch.Generator().manual_seed(first),
            place=Place(first, 4, shared),
        )
        return output

    return forward(0, 4), [forward(0, 2), forward(2, 2)]


def _mean(parts: list[ObjectiveOutput], term: str) -> Tensor:
    return torch.stack([part.values[term] for part in parts]).mean()


def test_masks_are_those_of_the_whole_batch(
    outputs: tuple[ObjectiveOutput, list[ObjectiveOutput]],
) -> None:
    whole, halves = outputs
    assert torch.equal(torch.cat([half.mask for half in halves]), whole.mask)
    assert not torch.equal(halves[0].mask, halves[1].mask)


@pytest.mark.parametrize("term", SAME)
def test_terms_that_are_means_over_images_are_the_same(
    term: str, outputs: tuple[ObjectiveOutput, list[ObjectiveOutput]]
) -> None:
    whole, halves = outputs
    assert whole.values[term].item() != 0.0
    torch.testing.assert_close(_mean(halves, term), whole.values[term], rtol=1e-4, atol=1e-6)


def test_terms_that_are_ratios_over_the_batch_differ_by_little(
    outputs: tuple[ObjectiveOutput, list[ObjectiveOutput]],
) -> None:
    whole, halves = outputs
    assert {*SAME, *SPLIT} == set(LOSS_TERMS)
    for term in SPLIT:
        share = abs(_mean(halves, term) / whole.values[term] - 1).item()
        assert share < 0.2
