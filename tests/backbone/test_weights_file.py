"""Files of weights of other code: the encoder in them is found, or the message names the parts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fsr.backbone import FeatureBackbone, ViTBackbone
from fsr.backbone._weights_file import read_state_dict, without_prefix

NAME = "vit_tiny_patch16_224"
SMALL = {"embed_dim": 16, "depth": 2, "num_heads": 2}


def weights() -> dict[str, Tensor]:
    """Weights of a small encoder."""
    torch.manual_seed(3)
    found: dict[str, Tensor] = ViTBackbone(NAME, image_size=64, options=SMALL).model.state_dict()
    return found


def loaded(content: Any, path: Path) -> Tensor:
    """A weight of the encoder that takes a checkpoint."""
    torch.save(content, path)
    model = ViTBackbone(NAME, image_size=64, options=SMALL, pretrained=path).model
    weight: Tensor = model.blocks[1].mlp.fc1.weight
    return weight


def named(prefix: str, state: dict[str, Tensor], add: float = 0.0) -> dict[str, Tensor]:
    """A state under a prefix, with something added to tell it by."""
    return {f"{prefix}{name}": value + add for name, value in state.items()}


OWN = "blocks.1.mlp.fc1.weight"
HEAD = {"head.mlp.0.weight": torch.zeros(4, 16), "head.last_layer.weight_v": torch.zeros(3, 4)}


@pytest.mark.parametrize(
    "place", ["state_dict_ema", "model_ema", "state_dict", "model", "teacher", "student"]
)
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "encoder.vit."])
def test_weights_are_found_at_their_place_and_behind_their_prefix(
    tmp_path: Path, place: str, prefix: str
) -> None:
    state = weights()
    content = {place: {**named(prefix, state), **HEAD}, "epoch": 3, "optimizer": {"state": {}}}
    assert torch.equal(loaded(content, tmp_path / "checkpoint.pth"), state[OWN])


def test_of_self_supervised_training_the_teacher_is_taken(tmp_path: Path) -> None:
    state = weights()
    content = {
        "student": named("module.backbone.", state, 1.0),
        "teacher": {**named("backbone.", state), **HEAD},
        "epoch": 3,
        "args": argparse.Namespace(arch="vit_tiny", lr=0.1),
    }
    assert torch.equal(loaded(content, tmp_path / "checkpoint.pth"), state[OWN])
    flat = {**named("student.backbone.", state, 1.0), **named("teacher.backbone.", state)}
    assert torch.equal(loaded(flat, tmp_path / "flat.pth"), state[OWN])


def test_a_prefix_is_taken_off_for_networks_of_maps_too(tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = FeatureBackbone("resnet10t", image_size=64).model.state_dict()
    torch.save({"model": named("backbone.", state)}, tmp_path / "cnn.pth")
    network = FeatureBackbone("resnet10t", image_size=64, pretrained=tmp_path / "cnn.pth").model
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_two_encoders_without_a_teacher_are_named(tmp_path: Path) -> None:
    state = weights()
    flat = {**named("encoder_q.", state), **named("encoder_k.", state)}
    with pytest.raises(
        ValueError, match=r"two\.pth.*holds 2 encoders.*'encoder_k\.', 'encoder_q\.'"
    ):
        loaded(flat, tmp_path / "two.pth")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"generator": {"a": torch.zeros(2)}, "step": 3}, "it holds 'generator', 'step', and none"),
        ({}, "it holds nothing, and none is a tensor"),
        ([torch.zeros(2)], "it holds a list"),
        (torch.zeros(2), "it holds a Tensor"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(ValueError, match=rf"other\.pth.* one at 'state_dict_ema', .*; {told}"):
        loaded(content, tmp_path / "other.pth")


def test_weights_that_are_nan_are_refused_by_name(tmp_path: Path) -> None:
    state = weights()
    state[OWN][0, 0] = torch.nan
    with pytest.raises(ValueError, match=rf"nan\.pth.* holds NaN or infinity in '{OWN}'"):
        loaded(state, tmp_path / "nan.pth")


def test_a_torn_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "torn.pth"
    torch.save(weights(), path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"no weights could be read from .*torn\.pth.*save_file"):
        read_state_dict(path)


def test_a_state_of_other_names_is_left_as_it_is() -> None:
    state = {"a.b": torch.zeros(1), "c": torch.zeros(1)}
    assert without_prefix(state, ["b", "x", "y", "z"], Path("file.pth")) == state
