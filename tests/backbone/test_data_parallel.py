"""Data-parallel training without a search for unused parameters, whatever is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from fsr.backbone import BackboneRequest, ViTBackbone
from tests.backbone.classes import FORMS, build, images_for


class Reader(nn.Module):
    """A network whose forward asks for attention and prefix tokens too."""

    def __init__(self, backbone: ViTBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        asked = BackboneRequest(prefix_tokens=True, attention=(0, -1), attention_form="logits")
        reading = self.backbone.read(images, mask, asked)
        assert reading.prefix_tokens is not None
        parts = (self.backbone.norm(reading.tokens), reading.prefix_tokens, *reading.attention)
        return torch.stack([part.square().mean() for part in parts]).sum()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[None]:
    store = f"file://{tmp_path / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("form", FORMS)
def test_two_steps_with_and_without_a_mask(form: str, process: None) -> None:
    network = DistributedDataParallel(Reader(build(form).train()))
    images = images_for(form)
    mask = torch.rand(2, 3, 3) < 0.5
    for given in (mask, None, mask):
        # The next forward raises if a parameter of this one got no gradient.
        network(images, given).backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
