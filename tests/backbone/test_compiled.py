"""Blocks compiled in place: same numbers, same names, and one compilation for all of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from fsr.backbone import FeatureBackbone, ViTBackbone, compile_blocks
from fsr.segmenter import SingleStageSegmenter
from tests.helpers import assert_pickles


@pytest.fixture(autouse=True)
def _reset() -> None:
    torch._dynamo.reset()


def encoder(depth: int = 3, drop: float = 0.0) -> ViTBackbone:
    torch.manual_seed(0)
    small = {"embed_dim": 16, "depth": depth, "num_heads": 2, "patch_size": 8}
    options = {**small, "drop_path_rate": drop}
    return ViTBackbone("vit_tiny_patch16_224", image_size=32, options=options)


class Compiled:
    """A backend that runs graphs as they are and counts them."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        self.graphs += 1
        forward: Callable[..., Any] = graph.forward
        return forward


def outcome(backbone: ViTBackbone) -> tuple[Tensor, list[Tensor]]:
    """Tokens and gradients of one pass in training, whatever was drawn before."""
    torch.manual_seed(1)
    tokens = backbone(torch.rand(2, 3, 32, 32)).tokens
    gradients = torch.autograd.grad(tokens.square().sum(), [*backbone.model.blocks.parameters()])
    return tokens, list(gradients)


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_numbers_and_names_stay(drop: float) -> None:
    backbone = encoder(drop=drop)
    names, expected = list(backbone.state_dict()), outcome(backbone)
    backend = Compiled()
    compile_blocks(backbone, backend=backend)
    torch.testing.assert_close(outcome(backbone), expected)
    assert backend.graphs > 0
    assert list(backbone.state_dict()) == names
    encoder(drop=drop).load_state_dict(backbone.state_dict())


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_more_blocks_take_no_more_compilations(drop: float) -> None:
    counts = []
    for depth in (3, 5):
        torch._dynamo.reset()
        backend = Compiled()
        backbone = encoder(depth, drop)
        compile_blocks(backbone, backend=backend)
        outcome(backbone)
        counts.append(backend.graphs)
    assert counts == ([1, 1] if drop == 0 else [3, 3])


def test_stochastic_depth_follows_training_and_copies_are_apart() -> None:
    backbone = encoder(drop=0.5)
    compile_blocks(backbone, backend="eager")
    compile_blocks(backbone, backend="eager")  # again changes nothing
    other = copy.deepcopy(backbone).eval()
    paths = [module for module in backbone.modules() if isinstance(module, DropPath)]
    assert len(paths) == 4
    assert all(path.training for path in paths)
    assert not any(module.training for module in other.modules())
    assert_pickles(backbone.eval(), torch.rand(1, 3, 32, 32))


def test_every_encoder_within_a_network_is_compiled() -> None:
    size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
    network = SingleStageSegmenter(
        2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size
    )
    backend = Compiled()
    compile_blocks(nn.ModuleDict({"one": network}), backend=backend)
    network(torch.rand(1, 3, 32, 32))
    assert backend.graphs == 1


def test_what_has_no_blocks_is_refused() -> None:
    message = r"model: expected a transformer encoder \(ViTBackbone\) in it, .* got {} without"
    with pytest.raises(ValueError, match=message.format("Linear")):
        compile_blocks(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=message.format("FeatureBackbone")):
        compile_blocks(FeatureBackbone("resnet18"))
    with pytest.raises(TypeError, match="model: expected"):
        compile_blocks("vit")
