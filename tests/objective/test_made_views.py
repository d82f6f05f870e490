"""Views that a step makes of others, boxes of padding, and what is given beside view 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from fsr.objective import (
    Needs,
    Part,
    PixelLabels,
    Recipe,
    Step,
    Term,
    TokenLabels,
    TrainingObjective,
    Weighted,
)
from fsr.presets import CAMSource, ToCo
from fsr.segmenter import SingleStageSegmenter
from tests.processes import run_together

SIZE = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def student(**options: Any) -> SingleStageSegmenter:
    torch.manual_seed(0)
    return SingleStageSegmenter(
        3,
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        backbone_options=SIZE,
        **options,
    )


def views(seed: int = 1) -> Tensor:
    return torch.randn(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


class Half(Part):
    """View 1 at half its size, twice."""

    def forward(self, step: Step) -> Tensor:
        half = F.interpolate(step.view(1), scale_factor=0.5, mode="bilinear")
        return torch.cat([half, half])


class Small(Term):
    """Mean of the class logits of a small view."""

    name = "small"

    def __init__(self, part: Part, view: int = 3) -> None:
        super().__init__()
        self.part, self.view = part, view

    def made_views(self) -> Mapping[int, Part]:
        return {self.view: self.part}

    def needs(self, number: int) -> Needs:
        return Needs(student={self.view: ("class_logits",)})

    def forward(self, step: Step) -> Tensor:
        return step.student("class_logits", self.view).mean()


def test_a_made_view_is_forwarded_by_itself_with_gradient() -> None:
    network, images = student(), views()
    objective = TrainingObjective(
        network, preset=Recipe("small", {"small": Weighted(Small(Half()))})
    )
    output = objective(images[0], None, LABELS, step=0)
    half = F.interpolate(images[0], scale_factor=0.5, mode="bilinear")
    expected = network(torch.cat([half, half]), outputs=("class_logits",)).class_logits
    assert torch.equal(output.small, expected.mean())
    output.total.backward()
    assert network.classifier.weight.grad is not None
    assert network.classifier.weight.grad.abs().sum() > 0


def test_a_view_that_is_given_is_not_made() -> None:
    network, images = student(), views()
    recipe = Recipe("small", {"small": Weighted(Small(Half(), view=2))})
    output = TrainingObjective(network, preset=recipe)(images[0], images[1], LABELS, step=0)
    expected = network(images[1], outputs=("class_logits",)).class_logits
    assert torch.equal(output.small, expected.mean())


def test_a_recipes_own_view_goes_before_a_terms_and_two_terms_must_agree() -> None:
    first, second = Half(), Half()
    other = Small(second)
    other.name = "other"
    recipe = Recipe("small", {"small": Weighted(Small(first))}, views={3: second})
    assert recipe.made_views() == {3: second}
    shared = Small(first)
    shared.name = "shared"
    assert Recipe("small", {}).add(Small(first), shared).made_views() == {3: first}
    with pytest.raises(ValueError, match="views: expected one part for view 3, the term 'other'"):
        Recipe("small", {}).add(Small(first), other).made_views()


def test_a_view_that_nobody_makes_is_missed_by_its_number() -> None:
    class Bare(Small):
        def made_views(self) -> Mapping[int, Part]:
            return {}

    objective = TrainingObjective(
        student(), preset=Recipe("bare", {"small": Weighted(Bare(Half()))})
    )
    with pytest.raises(ValueError, match=r"views: expected one .*got 2; missing \[3\]"):
        objective(views()[0], views()[1], LABELS, step=0)


def test_heads_that_the_network_lacks_are_refused_at_construction() -> None:
    class Reads(Term):
        name = "reads"

        def needs(self, number: int) -> Needs:
            return Needs(student={1: ("affinity",)})

    recipe = Recipe("reads", {"reads": Weighted(Reads())})
    with pytest.raises(ValueError, match="term 'reads' reads a head 'affinity', which the network"):
        TrainingObjective(student(), preset=recipe)
    labels = TokenLabels(CAMSource(layer="auxiliary"))

    class Follows(Reads):
        def needs(self, number: int) -> Needs:
            return labels.needs(number)

    recipe = Recipe("reads", {"reads": Weighted(Follows())})
    with pytest.raises(ValueError, match="reads CAMs of the auxiliary layer, but the network was"):
        TrainingObjective(student(heads={"aux_class_logits": None}), preset=recipe)


def test_an_encoder_that_lacks_what_a_recipe_needs_is_refused_by_its_name() -> None:
    recipe = Recipe("many", {}, offers=frozenset({"class_tokens"}))
    with pytest.raises(ValueError, match=r"many: needs .*class_tokens"):
        TrainingObjective(student(), preset=recipe)


def test_what_lies_outside_the_box_has_no_label() -> None:
    network, images = student(), views()[0]
    box = torch.tensor([[0, 32, 0, 32], [8, 24, 4, 32]])
    source = CAMSource(layer="auxiliary", scales=(1.0,), flip=False)
    pixels, tokens = PixelLabels(source, low=0.2, high=0.5), TokenLabels(source, low=0.2, high=0.5)

    def labels(given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        step = Step([images], LABELS, student=network, parts=[pixels, tokens], given=given)
        return step.get(pixels), step.get(tokens)

    inside = torch.zeros(2, 32, 32, dtype=torch.bool)
    inside[0], inside[1, 8:24, 4:32] = True, True
    whole, cut = labels({}), labels({"box": box})
    assert torch.equal(cut[0], whole[0].masked_fill(~inside, 255))
    # A patch of 8 pixels is real if its centre is: rows 1 and 2; pixel 4 is the first column's.
    patches = torch.zeros(2, 4, 4, dtype=torch.bool)
    patches[0], patches[1, 1:3] = True, True
    assert torch.equal(cut[1], whole[1].masked_fill(~patches, 255))


def _toco_in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    network = _toco_student()
    objective = _toco_objective(DistributedDataParallel(network), network)
    for step in (0, 5, 5):  # DDP complains about an unused parameter at the next forward
        network.zero_grad()
        _toco_step(objective, rank, step)
    gradients = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    # The same unwrapped: its own gradients, of losses that count the images of both.
    own = _toco_student()
    objective = _toco_objective(own, own)
    for step in (0, 5, 5):
        own.zero_grad()
        _toco_step(objective, rank, step)
    mine = {name: p.grad for name, p in own.named_parameters() if p.requires_grad}
    torch.save((gradients, mine), f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _settings() -> ToCo:
    options = {"hidden_dim": 8, "bottleneck_dim": 4}
    return ToCo(contrast_dim=8, projection_options=options, crops=2, crop_size=16, total_steps=10)


def _toco_student() -> SingleStageSegmenter:
    return student(heads=_settings().heads())


def _toco_objective(network: Any, plain: SingleStageSegmenter) -> TrainingObjective:
    return TrainingObjective(network, preset=_settings())


def _toco_step(objective: TrainingObjective, rank: int, step: int) -> None:
    generator = torch.Generator().manual_seed(rank)
    view1, view2 = views(rank)
    output = objective(view1, view2, LABELS, step=step, generator=generator)
    output.total.backward()


@pytest.mark.slow
def test_several_forwards_of_a_step_agree_over_processes(tmp_path: Path) -> None:
    run_together(_toco_in_process, str(tmp_path))
    (first, own), (second, other) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    mean = {name: (gradient + other[name]) / 2 for name, gradient in own.items()}
    assert first.keys() == mean.keys()
    for name, gradient in first.items():
        assert torch.equal(gradient, second[name]), name
        torch.testing.assert_close(gradient, mean[name], rtol=1e-4, atol=1e-6)
