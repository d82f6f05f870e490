"""What encoders offer, and that a lack is named when a method is put together."""

from __future__ import annotations

import pytest
import timm
import torch

from fsr.backbone import FeatureBackbone, ViTBackbone, check_offers
from tests.backbone.classes import CLASSES
from tests.backbone.classes import build as build_class
from tests.backbone.test_backbone import FORMS, build_form

ALWAYS = {"mask_token", "blocks", "attention"}


@pytest.mark.parametrize(
    ("form", "further"),
    [
        ("class token", {"prefix_tokens", "class_token"}),
        ("no prefix token", set()),
        ("distillation token", {"prefix_tokens", "class_token", "distillation_token"}),
        ("registers, patch 14, layer scale", {"prefix_tokens", "class_token", "register_token"}),
        ("attention pool", set()),
        ("parallel blocks", {"prefix_tokens", "class_token"}),
    ],
)
def test_vits_offer_what_they_have(form: str, further: set[str]) -> None:
    assert form in FORMS
    assert build_form(form).offers == ALWAYS | further


@pytest.mark.parametrize(
    ("form", "further"),
    [
        ("BEiT: relative by block", {"class_token"}),
        ("DINOv3: rotary alone, registers", {"class_token", "register_token"}),
        ("rotary, register, no class token", {"register_token"}),
    ],
)
def test_other_classes_offer_what_they_have(form: str, further: set[str]) -> None:
    if not timm.is_model(CLASSES[form][0]):
        pytest.skip("this timm lacks it")
    assert build_class(form).offers == ALWAYS | {"prefix_tokens"} | further


def test_what_is_offered_passes_and_what_is_not_is_named() -> None:
    small = {"embed_dim": 32, "depth": 2, "num_heads": 2, "class_token": False, "global_pool": ""}
    plain = ViTBackbone("vit_tiny_patch16_224", image_size=32, options=small)
    check_offers(plain, sorted(ALWAYS), "afa")
    message = (
        r"^toco: needs a class token \(class_token\), which VisionTransformer does not offer; "
        r"it offers attention, blocks, mask_token$"
    )
    with pytest.raises(ValueError, match=message):
        check_offers(plain, ["attention", "class_token"], "toco")
    message = (
        r"afa: needs attention of every block \(attention\), a mask token \(mask_token\), "
        r"which resnet18 does not offer; it offers stages"
    )
    with pytest.raises(ValueError, match=message):
        check_offers(FeatureBackbone("resnet18"), ["attention", "mask_token"], "afa")
    with pytest.raises(ValueError, match=r"needs: .*'atention' .*mean 'attention'"):
        check_offers(plain, ["atention"])


def test_a_block_without_known_attention_takes_the_offer_away() -> None:
    backbone = build_form("class token")
    backbone.model.blocks[1].attn = torch.nn.Identity()
    assert "attention" not in backbone.offers
    assert "mask_token" in backbone.offers
