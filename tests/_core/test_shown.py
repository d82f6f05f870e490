"""Results print their tensors by shape, not by their numbers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fsr._core.shown import shown
from fsr.backbone import BackboneOutput
from fsr.losses import ReinforcementLosses
from fsr.segmenter import SegmenterOutput


class Result(NamedTuple):
    maps: Tensor | None
    loss: Tensor
    mask: Tensor
    name: str


def test_shapes_types_devices_and_values_of_scalars() -> None:
    result = Result(
        torch.zeros(2, 5, device="meta"), torch.tensor(0.5), torch.ones(3, dtype=torch.bool), "a"
    )
    expected = "Result(maps=Tensor(2, 5; float32 on meta), loss=tensor(0.5000), "
    assert shown(result) == expected + "mask=Tensor(3; bool), name='a')"
    assert "maps=None" in shown(result._replace(maps=None))


def test_the_segmenters_output() -> None:
    output = SegmenterOutput(
        torch.zeros(2, 5), None, torch.zeros(2, 6, 4, 3), None, None, None, (4, 3)
    )
    assert (
        repr(output)
        == str(output)
        == (
            "SegmenterOutput(class_logits=Tensor(2, 5; float32), aux_class_logits=None, "
            "segmentation=Tensor(2, 6, 4, 3; float32), tokens=None, aux_tokens=None, "
            "projections=None, grid=(4, 3))"
        )
    )
    logits, *_, grid = output
    assert logits is output.class_logits
    assert grid == (4, 3)


def test_the_backbones_output() -> None:
    tokens = torch.zeros(1, 4, 8, dtype=torch.bfloat16)
    assert repr(BackboneOutput(tokens, tokens, (2, 2))) == (
        "BackboneOutput(tokens=Tensor(1, 4, 8; bfloat16), aux_tokens=Tensor(1, 4, 8; bfloat16), "
        "grid=(2, 2))"
    )


def test_losses_show_their_values() -> None:
    losses = ReinforcementLosses(torch.tensor(0.25), torch.tensor(2.0))
    assert repr(losses) == "ReinforcementLosses(uncertain=tensor(0.2500), confident=tensor(2.))"
