"""Parameter groups: who is decayed, who learns at ten times the rate, and what is refused."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import pytest
import torch
from timm.models import create_model
from torch import nn

from fsr.backbone import FeatureBackbone, ViTBackbone
from fsr.optim import (
    freeze_early_blocks,
    freeze_norms,
    is_decayed,
    parameter_groups,
    set_learning_rate,
)


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


def test_unscaled_the_schedule_value_is_that_of_every_group() -> None:
    optimizer = torch.optim.AdamW(parameter_groups(_model(), 1e-3))
    set_learning_rate(optimizer, 0.5, scaled=False)
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.5, 0.5]
    set_learning_rate(optimizer, 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.5, 5.0]


def test_frozen_batch_norms_keep_weights_and_statistics_in_training() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.GroupNorm(1, 2))
    images = 3 + torch.randn(4, 2, 5, 5)
    expected = model.eval()(images)
    assert freeze_norms(model) == 4
    model.train()
    assert torch.equal(model(images), expected)
    assert torch.equal(model[1].running_mean, torch.zeros(2))
    assert model[1].num_batches_tracked == 0
    assert [p.requires_grad for p in model.parameters()] == [True, True, *[False] * 4]
    assert model[0].training
    copied = copy.deepcopy(model).train()
    assert torch.equal(copied(images), expected)


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


# -- which blocks learn, and when -----------------------------------------------------------------


@pytest.mark.parametrize("trained", [0, 1, 3])
def test_all_but_the_last_blocks_and_the_final_norm_are_frozen(trained: int) -> None:
    size = {"patch_size": 8, "embed_dim": 8, "depth": 3, "num_heads": 2}
    encoder = ViTBackbone("vit_tiny_patch16_224", image_size=16, options=size)
    frozen = freeze_early_blocks(encoder, trained)
    learning = [name for name, weight in encoder.named_parameters() if weight.requires_grad]
    blocks = sorted({name.split(".")[2] for name in learning if name.startswith("model.blocks")})
    assert blocks == ["0", "1", "2"][3 - trained :]
    others = [name for name in learning if not name.startswith("model.blocks")]
    assert others == ["model.norm.weight", "model.norm.bias"]
    assert frozen == len(list(encoder.parameters())) - len(learning)


@pytest.mark.parametrize("trained", [-1, 4])
def test_more_blocks_than_there_are_cannot_learn(trained: int) -> None:
    size = {"patch_size": 8, "embed_dim": 8, "depth": 3, "num_heads": 2}
    encoder = ViTBackbone("vit_tiny_patch16_224", image_size=16, options=size)
    with pytest.raises(ValueError, match=f"trained_blocks: expected 0 to .* 3, got {trained}"):
        freeze_early_blocks(encoder, trained)
    with pytest.raises(ValueError, match=r"trained_blocks: .* blocks, 0, got 0"):
        freeze_early_blocks(FeatureBackbone("resnet18"), 0)


def test_a_group_rests_until_its_start() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD(
        [{"params": [weights[0]], "start": 3}, {"params": [weights[1]], "lr_scale": 2.0}], lr=1.0
    )
    rates = []
    for step in (2, 3, None):
        set_learning_rate(optimizer, 0.5, step)
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates == [[0.0, 1.0], [0.5, 1.0], [0.5, 1.0]]
