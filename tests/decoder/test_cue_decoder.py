"""ASPP and the decoder of 1Stage: what they are made of, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fsr.decoder import ASPP, CueDecoder, GlobalCueInjection, StochasticGate
from fsr.errors import ShapeError

SMALL = {"hidden_dim": 6, "skip_dim": 4, "dilations": (1, 2)}


def test_aspp_joins_branches_and_the_mean_of_the_image() -> None:
    aspp = ASPP(5, 4, (2, 3)).eval()
    features = torch.randn(2, 5, 7, 6)
    kernels = [branch[0] for branch in aspp.branches]
    assert [(k.kernel_size[0], k.dilation[0], k.bias) for k in kernels] == [
        (1, 1, None),
        (3, 2, None),
        (3, 3, None),
    ]
    mean = F.relu(aspp.whole(features.mean(dim=(2, 3), keepdim=True))).expand(2, 4, 7, 6)
    joined = torch.cat([*(branch(features) for branch in aspp.branches), mean], dim=1)
    assert torch.equal(aspp(features), aspp.join(joined))


def test_aspp_trains_on_a_batch_of_one_image() -> None:
    ASPP(5, 4, (1,)).train()(torch.randn(1, 5, 3, 3)).sum().backward()


def test_the_decoder_is_its_parts_in_their_order() -> None:
    decoder = CueDecoder(8, 5, 3, gate_rate=0.3, **SMALL).eval()
    deep, shallow = torch.randn(2, 8, 3, 4), torch.randn(2, 5, 6, 8)
    seen = F.interpolate(decoder.aspp(deep), size=(6, 8), mode="bilinear", align_corners=True)
    joined = decoder.join(torch.cat([seen, decoder.skip(shallow)], dim=1))
    cued = decoder.cues(joined, shallow)
    expected = decoder.last(0.7 * joined + 0.3 * cued)
    assert torch.equal(decoder(deep, shallow), expected)
    assert isinstance(decoder.cues, GlobalCueInjection)
    assert isinstance(decoder.gate, StochasticGate)
    assert [m.p for m in decoder.last if isinstance(m, nn.Dropout)] == [0.5, 0.1]


def test_the_gate_draws_in_training_alone() -> None:
    decoder = CueDecoder(8, 5, 3, dropout=(0.0, 0.0), **SMALL)
    deep, shallow = torch.randn(2, 8, 3, 4), torch.randn(2, 5, 6, 8)
    assert not torch.equal(decoder(deep, shallow), decoder(deep, shallow))
    decoder.eval()
    assert torch.equal(decoder(deep, shallow), decoder(deep, shallow))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dilations": ()}, ValueError, "dilations: expected at least one, got none"),
        ({"dilations": (1.5,)}, TypeError, "dilations: expected a positive integer"),
        ({"skip_dim": 0}, ValueError, "skip_dim"),
        ({"gate_rate": 1.0}, ValueError, "rate"),
    ],
)
def test_bad_options_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        CueDecoder(8, 5, 3, **{**SMALL, **options})


def test_features_of_the_wrong_shape_are_refused() -> None:
    decoder = CueDecoder(8, 5, 3, **SMALL)
    with pytest.raises(ShapeError, match="shallow"):
        decoder(torch.zeros(1, 8, 2, 2), torch.zeros(1, 4, 4, 4))
    with pytest.raises(ShapeError, match="deep: expected shape"):
        decoder(torch.zeros(2, 7, 2, 2), torch.zeros(2, 5, 4, 4))
    with pytest.raises(TypeError, match="shallow: expected a floating"):
        decoder(torch.zeros(2, 8, 2, 2), torch.zeros(2, 5, 4, 4, dtype=torch.long))
