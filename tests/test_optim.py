"""Parameter groups: who is decayed, who learns at ten times the rate, and what is refused."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from timm.models import create_model
from torch import nn

from fsr.optim import is_decayed, parameter_groups, set_learning_rate


def _model() -> nn.Module:
    backbone = create_model(
        "vit_tiny_patch16_224", embed_dim=12, depth=1, num_heads=3, img_size=32, num_classes=0
    )
    backbone.mask_token = nn.Parameter(torch.zeros(1, 1, 12))
    aggregator = nn.Linear(12, 12)
    aggregator.class_token = nn.Parameter(torch.zeros(1, 1, 12))
    parts = OrderedDict(
        backbone=backbone,
        aggregator=aggregator,
        projector=nn.utils.parametrizations.weight_norm(nn.Linear(12, 7, bias=False)),
        classifier=nn.Conv2d(12, 3, 1, bias=False),
    )
    return nn.Sequential(parts)


def _names(groups: list[dict[str, Any]], name: str) -> set[str]:
    return next(set(g["parameter_names"]) for g in groups if g["name"] == name)


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    model = _model()
    model.backbone.cls_token.requires_grad_(False)
    groups = parameter_groups(model, 1e-3)
    seen = [id(p) for group in groups for p in group["params"]]
    assert len(seen) == len(set(seen))
    assert set(seen) == {id(p) for p in model.parameters() if p.requires_grad}
    named = dict(model.named_parameters())
    for group in groups:
        assert all(
            named[n] is p for n, p in zip(group["parameter_names"], group["params"], strict=True)
        )


def test_vectors_and_embeddings_are_not_decayed_and_kernels_are() -> None:
    groups = parameter_groups(_model(), 1e-3, weight_decay=0.2)
    free = _names(groups, "base_no_decay")
    assert {
        "backbone.pos_embed",
        "backbone.cls_token",
        "backbone.mask_token",
        "aggregator.class_token",
        "backbone.norm.weight",
        "backbone.blocks.0.attn.qkv.bias",
        "aggregator.bias",
    } <= free
    decayed = _names(groups, "base")
    assert {"backbone.patch_embed.proj.weight", "aggregator.weight"} <= decayed
    assert {g["name"]: g["weight_decay"] for g in groups} == {
        "base": 0.2,
        "base_no_decay": 0.0,
        "head": 0.2,
    }
    assert not is_decayed("reg_token", nn.Parameter(torch.zeros(1, 4, 8)))


def test_heads_learn_at_ten_times_the_rate_and_the_aggregator_with_the_encoder() -> None:
    groups = parameter_groups(_model(), 1e-3)
    rates = {g["name"]: g["lr"] for g in groups}
    assert rates["base"] == rates["base_no_decay"] == pytest.approx(1e-3)
    assert rates["head"] == pytest.approx(1e-2)
    assert "classifier.weight" in _names(groups, "head")
    other = parameter_groups(_model(), 1e-3, base=["backbone"], head_lr_scale=3)
    assert "aggregator.weight" in _names(other, "head")
    assert {g["lr_scale"] for g in other} == {1.0, 3}


def test_classifiers_may_learn_at_a_rate_of_their_own() -> None:
    groups = parameter_groups(_model(), 1e-3, classifier_lr_scale=50, classifiers=["classifier"])
    rates = {g["name"]: g["lr"] for g in groups}
    assert rates["classifier"] == pytest.approx(5e-2)
    assert _names(groups, "classifier") == {"classifier.weight"}
    assert {g["name"] for g in parameter_groups(_model(), 1e-3)} == {
        "base",
        "base_no_decay",
        "head",
    }


def test_the_schedule_value_reaches_every_group_with_its_scale() -> None:
    optimizer = torch.optim.AdamW(parameter_groups(_model(), 1e-3))
    set_learning_rate(optimizer, 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.5, 5.0]


def test_a_part_of_a_child_may_learn_at_the_rate_of_the_base() -> None:
    inner = nn.Sequential(OrderedDict(encoder=nn.Linear(4, 4), encoder_head=nn.Linear(4, 4)))
    model = nn.Sequential(OrderedDict(backbone=nn.Linear(4, 4), head=inner))
    groups = parameter_groups(model, 1.0, base=["backbone", "head.encoder"])
    assert _names(groups, "base") == {"backbone.weight", "head.encoder.weight"}
    assert _names(groups, "head") == {"head.encoder_head.weight"}


def test_a_weight_shared_by_two_modules_is_listed_once() -> None:
    first = nn.Linear(4, 4)
    shared = nn.Sequential(OrderedDict(backbone=first, head=first))
    groups = parameter_groups(shared, 1.0, base=["backbone"])
    assert sum(len(g["params"]) for g in groups) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": ["backbon"]}, r"base: expected one of 'backbone'.*did you mean 'backbone'"),
        ({"base": ["backbone.blok"]}, r"base: expected one of 'backbone\.\w+'"),
        ({"lr": -1.0}, r"lr: expected a number in \[0.0, inf\], got -1.0"),
        ({"lr": 1.0, "weight_decay": -0.1}, r"weight_decay: expected a number"),
        ({"lr": 1.0, "head_lr_scale": float("nan")}, r"head_lr_scale: expected a number"),
        ({"classifier_lr_scale": -1.0}, r"classifier_lr_scale: expected a number"),
        (
            {"classifier_lr_scale": 1.0, "classifiers": ["clasifier"]},
            r"classifiers: expected one of",
        ),
    ],
)
def test_bad_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameter_groups(_model(), **{"lr": 1.0, **options})
