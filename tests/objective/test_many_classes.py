"""A step with more classes than a byte holds: the same numbers, nothing as large as all classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fsr import EMATeacher
from fsr.cam import cam_to_labels
from fsr.objective import Step, TokenLabels, TrainingObjective
from fsr.presets import CAMSource, get_preset
from fsr.refine import PAR, pseudo_labels
from fsr.segmenter import SingleStageSegmenter
from tests.losses.test_streamed_entropy import Largest

SIZE, CLASSES, WIDE = 64, 300, 65535
SOURCES = (
    CAMSource(scales=(1.0, 0.5), flip=True),
    CAMSource(scales=(1.0,), flip=False, layer="auxiliary"),
    CAMSource(reuse=True, extra=(0.5,)),
    CAMSource(reuse=True),
)


def student(classes: int = CLASSES) -> SingleStageSegmenter:
    torch.manual_seed(0)
    size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
    return SingleStageSegmenter(
        classes,
        "vit_tiny_patch16_224",
        image_size=SIZE,
        projection_dim=8,
        backbone_options=size,
        projector_options={"hidden_dim": 16, "bottleneck_dim": 8},
        decoder_options={"hidden_dim": 16},
    )


def batch(*present: tuple[int, ...], classes: int = CLASSES) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.zeros(len(present), classes)
    for row, shown in zip(labels, present, strict=True):
        row[list(shown)] = 1.0
    view1, view2 = torch.randn(2, len(present), 3, SIZE, SIZE, generator=generator)
    return view1, view2, labels


@pytest.mark.parametrize("source", SOURCES, ids=CAMSource.describe)
@pytest.mark.parametrize("size", [None, (SIZE, SIZE), (8, 8)])
def test_maps_of_present_classes_are_those_of_all(
    source: CAMSource, size: tuple[int, int] | None
) -> None:
    view1, _, labels = batch((3, 254, 299), (254,), ())
    step = Step([view1], labels, student=student(), parts=[TokenLabels(source)])
    every = step.cam(source, size)
    cam, there, classes = step.present_cam(source, size)
    assert classes[0, :3].tolist() == [3, 254, 299]
    assert there.sum(dim=1).tolist() == [3.0, 1.0, 0.0]
    assert there[:, 0].tolist() == [1.0, 1.0, 0.0]
    assert cam.shape == (3, 8, *every.shape[2:])
    for image in range(3):
        torch.testing.assert_close(cam[image], every[image, classes[image]], rtol=0, atol=1e-6)
    # The last 300 mod 8 classes are resized one by one on a CPU, and may differ in the last bit.
    assert torch.equal(cam[0, :2], every[0, [3, 254]])
    later = step.cam_later(source, (SIZE, SIZE))
    assert later.shape == (3, CLASSES, SIZE, SIZE)
    assert torch.equal(later.make(), step.cam(source, (SIZE, SIZE)))


def made(classes: int = CLASSES, **changes: Any) -> tuple[TrainingObjective, Any, tuple[Any, ...]]:
    network = student(classes)
    preset = get_preset("fast", total_steps=10, energy_weight=0.0, mask_block=1, **changes)
    objective = TrainingObjective(network, EMATeacher(network), preset=preset)
    views = batch((3, 254), (classes - 1,), classes=classes)
    return objective, network, views


def test_labels_of_more_than_254_classes_are_those_of_all_maps() -> None:
    """Label 255 is class 254; what is not known is 65535 and teaches nothing."""
    objective, _, (view1, view2, labels) = made(pseudo_low=0.3, pseudo_high=0.6)
    output = objective(view1, view2, labels, step=9)
    assert objective.ignore_index == output.ignore_index == WIDE
    pixels, cam = objective.pixels(view1), output.cam
    assert cam.shape == (2, CLASSES, SIZE, SIZE)
    expected = pseudo_labels(PAR(), pixels, cam, labels, low=0.3, high=0.6)
    assert torch.equal(output.pseudo_labels, expected)
    assert set(expected.unique().tolist()) <= {0, 4, 255, CLASSES, WIDE}
    assert 255 in expected
    assert WIDE in expected
    tokens = output.affinity_labels
    assert set(tokens.unique().tolist()) <= {0, 4, 255, CLASSES, WIDE}
    output.total.backward()


def test_token_labels_are_those_of_all_maps() -> None:
    source = CAMSource(scales=(1.0,), flip=False)
    part = TokenLabels(source, low=0.3, high=0.6)
    view1, _, labels = batch((3, 254), (299, 10))
    step = Step([view1], labels, student=student(), parts=[part])
    expected = cam_to_labels(step.cam(source, step.grid), labels, low=0.3, high=0.6)
    assert torch.equal(step.get(part), expected)
    assert WIDE in expected


@pytest.mark.parametrize("step", [0, 9])
def test_a_step_makes_no_map_of_all_classes(step: int) -> None:
    """The largest tensor of a step is that of a tile, a projection or tokens, not C x H x W."""
    objective, network, (view1, view2, labels) = made(1000)
    with Largest() as made_there:
        output = objective(view1, view2, labels, step=step)
        output.total.backward()
    assert 1000 * 64 <= made_there.numbers < 1000 * SIZE * SIZE // 4
    assert network.classifier.weight.grad is not None


def test_what_is_never_asked_for_is_never_made() -> None:
    objective, _, (view1, view2, labels) = made()
    output = objective(view1, view2, labels, step=9)
    assert "cam" in output.seen
    assert "cam" not in output.scalars()
    assert "cam=Tensor(2, 300, 64, 64; not made yet)" in repr(output)
    assert torch.equal(output.cam, output.seen["cam"])
    assert output.seen.get("cam") is output.cam
    assert output.seen.get("nothing") is None
    assert "not made yet" not in repr(output)


def test_more_classes_than_16_bits_hold_are_refused() -> None:
    network = student(4)
    network.num_classes = 65_535  # a network of so many is slow to make
    with pytest.raises(ValueError, match="num_classes: expected at most 65534"):
        TrainingObjective(network, EMATeacher(network), preset="fast")


def test_a_method_of_bytes_refuses_more_classes() -> None:
    from fsr.objective import ClassMix, GivenLabels, OnlineLabels

    mix = ClassMix(GivenLabels(), OnlineLabels())
    mix.check(student(254))
    with pytest.raises(ValueError, match=r"num_classes: .* expected at most 254 classes"):
        mix.check(student(255))
