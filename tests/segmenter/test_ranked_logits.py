"""Class scores pooled by rank in place of the maximum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fsr.segmenter import HeadInput, SingleStageSegmenter
from fsr.segmenter.heads import RankedLogits
from tests.segmenter.test_method_heads import images, network

RANKED = {"kind": "ranked_logits", "decay": 0.7}


def both() -> tuple[SingleStageSegmenter, SingleStageSegmenter]:
    """A plain network, and the same with ranked pooling."""
    plain, ranked = network(), network(heads={"class_logits": RANKED})
    assert ranked.load_state_dict(plain.state_dict()).missing_keys == []  # it has no weights
    return plain, ranked


def test_scores_are_the_loop_of_the_formula() -> None:
    _, ranked = both()
    x = images()
    output = ranked(x, outputs=("tokens", "class_logits"))
    weight = ranked.classifier.weight[..., 0, 0].detach().numpy()
    tokens = output.tokens.detach().numpy()
    for image in range(2):
        for label in range(3):
            scores = sorted((float(weight[label] @ token) for token in tokens[image]), reverse=True)
            weights = [0.7**rank for rank in range(len(scores))]
            expected = sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights)
            assert float(output.class_logits[image, label]) == pytest.approx(expected, abs=1e-5)


def test_no_decay_is_the_maximum_of_the_scores_and_one_their_mean() -> None:
    tokens = torch.randn(2, 16, 8)
    classifier = torch.nn.Conv2d(8, 3, 1, bias=False)
    read = HeadInput(
        torch.zeros(2, 3, 32, 32), tokens, tokens, tokens, (4, 4), None, classifier=classifier
    )
    scores = tokens @ classifier.weight[..., 0, 0].T
    torch.testing.assert_close(RankedLogits(0.0)(read), scores.amax(1))
    torch.testing.assert_close(RankedLogits(1.0)(read), scores.mean(1))


def test_maps_and_segmentation_are_those_of_the_plain_network() -> None:
    plain, ranked = both()
    x = images()
    assert all(map(torch.equal, ranked.cam(x), plain.cam(x)))
    assert torch.equal(ranked.predict(x), plain.predict(x))
    assert not torch.equal(ranked(x).class_logits, plain(x).class_logits)


def test_it_is_saved_with_its_decay(tmp_path: Path) -> None:
    _, ranked = both()
    ranked.save(tmp_path / "network.safetensors")
    again = SingleStageSegmenter.load(tmp_path / "network.safetensors")
    assert torch.equal(again(images()).class_logits, ranked(images()).class_logits)


def test_every_patch_has_a_gradient() -> None:
    def gradient(decay: float) -> Tensor:
        tokens = torch.randn(2, 16, 8, requires_grad=True)
        classifier = torch.nn.Conv2d(8, 3, 1, bias=False)
        rest = (tokens, tokens, tokens, (4, 4), None)
        read = HeadInput(torch.zeros(2, 3, 32, 32), *rest, classifier=classifier)
        (found,) = torch.autograd.grad(RankedLogits(decay)(read).sum(), tokens)
        return found.abs().sum(-1)

    assert int((gradient(0.7) > 0).sum()) == 2 * 16
    assert int((gradient(0.0) > 0).sum()) <= 2 * 3  # of each class the best alone


@pytest.mark.parametrize(
    ("decay", "error"), [(-0.1, ValueError), (1.5, ValueError), ("a", TypeError)]
)
def test_a_decay_that_is_none_is_refused(decay: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="decay: expected"):
        RankedLogits(decay)


def test_it_needs_the_classifier() -> None:
    tokens = torch.zeros(1, 4, 8)
    read = HeadInput(torch.zeros(1, 3, 16, 16), tokens, tokens, tokens, (2, 2), None)
    with pytest.raises(ValueError, match="classifier: expected the network's classifier, got None"):
        RankedLogits()(read)
