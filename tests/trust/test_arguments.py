"""Labels, batches and types of tensors that were once taken without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fsr import UncertainMasker
from fsr.affinity import propagate_with_background
from fsr.aggregation import AverageAggregator, MaskedCrossAttentionAggregator
from fsr.cam import cam_to_labels, filter_by_labels, keep_present, strongest_class
from fsr.losses import (
    cam_consistency_loss,
    class_token_separation,
    classification_loss,
    confident_loss,
    recam_loss,
    self_supervised_mask_loss,
    uncertain_loss,
)
from fsr.masking import uncertain_regions
from fsr.metrics import LabelF1
from fsr.refine import PAR, cam_with_background, pseudo_labels, refine_in_box, refine_masks
from tests.trust.good_arguments import network

CAM = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
PAR_ = PAR(num_iter=1, dilations=(1,))
TAKERS: dict[str, Callable[[Tensor], Any]] = {
    "keep_present": lambda labels: keep_present(CAM, labels),
    "strongest_class": lambda labels: strongest_class(CAM, labels),
    "cam_to_labels": lambda labels: cam_to_labels(CAM, labels, threshold=0.5),
    "filter_by_labels": lambda labels: filter_by_labels(CAM, labels),
    "UncertainMasker": lambda labels: UncertainMasker()(CAM, labels),
    "uncertain_zone": lambda labels: UncertainMasker().uncertain_zone(CAM, labels),
    "uncertain_regions": lambda labels: uncertain_regions(CAM, labels, 0.2, 0.7),
    "pseudo_labels": lambda labels: pseudo_labels(PAR_, IMAGES, CAM, labels, low=0.3, high=0.6),
    "refine_masks": lambda labels: refine_masks(PAR_, IMAGES, torch.rand(1, 3, 8, 8), labels),
    "refine_in_box": lambda labels: refine_in_box(PAR_, IMAGES, torch.rand(1, 3, 8, 8), labels),
    "cam_with_background": lambda labels: cam_with_background(CAM, labels, 4.0),
    "propagate_with_background": lambda labels: propagate_with_background(
        CAM, torch.rand(1, 64, 64), labels, 0.4
    ),
    "cam_consistency_loss": lambda labels: cam_consistency_loss(CAM, CAM, labels),
    "class_token_separation": lambda labels: class_token_separation(torch.rand(1, 1, 2, 4), labels),
    "recam_loss": lambda labels: recam_loss(IMAGES, torch.rand(2, 3), torch.rand(2, 3), labels),
    "self_supervised_mask_loss": lambda labels: self_supervised_mask_loss(
        CAM, torch.rand(1, 3, 8, 8), labels
    ),
    "classification_loss": lambda labels: classification_loss(torch.rand(1, 2), labels),
    "LabelF1": lambda labels: LabelF1(2).update(torch.rand(1, 2), labels),
}


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("wrong", [float("nan"), -1.0, 2.0, 255.0, float("inf")])
def test_labels_other_than_0_and_1_are_refused_by_name(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=r"^labels: expected"):
        TAKERS[name](torch.tensor([[wrong, 1.0]]))


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("kind", [torch.float32, torch.int64, torch.bool, torch.uint8])
def test_labels_of_0_and_1_of_any_type_are_taken(name: str, kind: torch.dtype) -> None:
    TAKERS[name](torch.tensor([[0, 1]], dtype=kind))


def test_a_loss_over_no_image_is_refused_and_a_map_of_none_is_empty() -> None:
    none = torch.zeros(0, 4, 8)
    with pytest.raises(ValueError, match=r"student: expected at least one image, got shape \(0, 4"):
        uncertain_loss(none, none, torch.zeros(0, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"student: expected at least one image"):
        confident_loss(none[:, 0], none[:, 0])
    assert keep_present(torch.zeros(0, 2, 3, 3), torch.zeros(0, 2)).shape == (0, 2, 3, 3)
    assert UncertainMasker()(torch.zeros(0, 2, 3, 3)).shape == (0, 3, 3)


@pytest.mark.parametrize("method", ["predict", "cam"])
def test_a_network_refuses_a_batch_of_no_images(method: str) -> None:
    with pytest.raises(ValueError, match=r"images: expected at least one image, got shape \(0, 3"):
        getattr(network(), method)(torch.zeros(0, 3, 32, 32))


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_a_network_takes_images_of_another_float_type_in_its_own(kind: torch.dtype) -> None:
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(kind)
    model, own = network(), images.float()
    for name in ("predict", "cam"):
        call = getattr(model, name)
        found, expected = call(images, scales=(1.0, 1.5)), call(own, scales=(1.0, 1.5))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert torch.equal(model(images).class_logits, model(own).class_logits)


def test_images_on_another_device_or_of_bytes_are_told() -> None:
    with pytest.raises(ValueError, match="images: expected a tensor on cpu, where network is"):
        network()(torch.zeros(1, 3, 32, 32, device="meta"))
    with pytest.raises(TypeError, match="images: expected a floating-point tensor, got"):
        network().predict(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_a_module_names_the_argument_of_another_type_and_autocast_takes_it() -> None:
    module = MaskedCrossAttentionAggregator(8, depth=1, num_heads=2)
    tokens = torch.rand(1, 4, 8)
    with pytest.raises(TypeError, match=r"tokens: expected torch.float32, .* got torch.float64"):
        module(tokens.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert module(tokens.bfloat16()).isfinite().all()


def test_what_is_masked_may_hold_anything_and_the_rest_may_not() -> None:
    tokens, mask = torch.rand(1, 4, 8), torch.tensor([[True, False, False, False]])
    tokens[0, 0] = torch.nan
    assert AverageAggregator()(tokens, mask).isfinite().all()
    with pytest.raises(ValueError, match="tokens: expected finite values"):
        AverageAggregator()(tokens, ~mask)
