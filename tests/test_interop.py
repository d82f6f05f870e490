"""Weights of the released code: the recorded network reproduced, and what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsr.aggregation import MaskedCrossAttentionAggregator, MaxAggregator
from fsr.cam import class_activation_maps
from fsr.interop import load_reference_aggregator, load_reference_state_dict
from fsr.segmenter import SingleStageSegmenter
from tests.conftest import PARITY

NETWORK = json.loads((PARITY / "network.json").read_text())
Load = Callable[[str], dict[str, Tensor]]


def released_state() -> dict[str, Tensor]:
    """The recorded network's weights by the rule of tests/parity/README.md."""
    state = {}
    for j, name in enumerate(sorted(NETWORK["shapes"])):
        shape = NETWORK["shapes"][name]
        i = np.arange(np.prod(shape), dtype=np.float64)
        w = np.sin(12.9898 * i + 78.233 * j) * 43758.5453
        fan = np.prod(shape[1:]) if len(shape) >= 2 else 25
        w = (w - np.floor(w) - 0.5) * np.sqrt(12 / fan)
        if ("norm" in name and name.endswith("weight")) or name.endswith("weight_g"):
            w = 1 + 0.1 * w
        state[name] = torch.from_numpy(w.reshape(shape)).float()
    return state


def build(**changes: Any) -> SingleStageSegmenter:
    """A segmenter of the recorded network's sizes."""
    options = {
        "class_token": False,
        "global_pool": "",
        "embed_dim": NETWORK["embed_dim"],
        "depth": NETWORK["depth"],
        "num_heads": NETWORK["num_heads"],
    }
    arguments: dict[str, Any] = {
        "image_size": NETWORK["img_size"],
        "aux_block": NETWORK["aux_layer"],
        "aggregator": MaskedCrossAttentionAggregator(64, num_heads=4, masking="ignore"),
        "projection_dim": NETWORK["projection_dim"],
        "backbone_options": {**options, **changes.pop("options", {})},
        **changes,
    }
    classes = arguments.pop("num_classes", NETWORK["foreground_classes"])
    return SingleStageSegmenter(classes, "vit_tiny_patch16_224", **arguments).eval()


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return released_state()


@pytest.fixture(scope="module")
def model(state: dict[str, Tensor]) -> SingleStageSegmenter:
    loaded = build()
    load_reference_state_dict(loaded, state)
    return loaded


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


# -- the recorded network -------------------------------------------------------------------------


def test_recorded_heads_are_reproduced(model: SingleStageSegmenter, parity: Load) -> None:
    recorded = parity("network")
    with torch.no_grad():
        output = model(recorded["images"])
        cam = class_activation_maps(output.tokens, model.classifier.weight, output.grid)
        aux = class_activation_maps(output.aux_tokens, model.aux_classifier.weight, output.grid)
    pairs = {
        "cls_logits": output.class_logits,
        "aux_cls_logits": output.aux_class_logits,
        "seg_logits": output.segmentation,
        "feature_map": output.tokens.transpose(1, 2).reshape(2, 64, 4, 4),
        "cam_raw": cam,
        "aux_cam_raw": aux,
    }
    for name, value in pairs.items():
        assert value.shape == recorded[name].shape
        assert relative_error(value, recorded[name]) < 1e-4, name


def test_recorded_projections_are_reproduced(model: SingleStageSegmenter, parity: Load) -> None:
    recorded = parity("network")
    masked = recorded["mask_view2"].bool()
    mask = torch.cat([torch.zeros_like(masked), masked])
    with torch.no_grad():
        projections = model(recorded["images"], mask, outputs=["projections"]).projections
    assert relative_error(projections[:1], recorded["proj_view1"]) < 1e-4
    assert relative_error(projections[1:], recorded["proj_view2_masked"]) < 1e-4


def test_recorded_multi_scale_cams_are_reproduced(
    model: SingleStageSegmenter, parity: Load
) -> None:
    recorded = parity("network")
    final, auxiliary = model.cam(recorded["images"])
    # The released code interpolates position embeddings without antialiasing, timm with it.
    assert relative_error(final, recorded["multi_scale_cam"]) < 1e-2
    assert relative_error(auxiliary, recorded["multi_scale_aux_cam"]) < 1e-2


def test_recorded_multi_scale_cams_agree_closely_without_antialiasing(
    model: SingleStageSegmenter, parity: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timm.layers.pos_embed import resample_abs_pos_embed

    def plain(*args: Any, **kwargs: Any) -> Tensor:
        return resample_abs_pos_embed(*args, **kwargs, antialias=False)

    monkeypatch.setattr("timm.models.vision_transformer.resample_abs_pos_embed", plain)
    recorded = parity("network")
    final, auxiliary = model.cam(recorded["images"])
    assert relative_error(final, recorded["multi_scale_cam"]) < 1e-4
    assert relative_error(auxiliary, recorded["multi_scale_aux_cam"]) < 1e-4


# -- forms of the state ---------------------------------------------------------------------------


def test_names_saved_from_ddp_load_too(
    model: SingleStageSegmenter, state: dict[str, Tensor]
) -> None:
    other = build()
    load_reference_state_dict(other, {f"module.{name}": value for name, value in state.items()})
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_the_final_norm_may_be_fc_norm(state: dict[str, Tensor]) -> None:
    model = build(options={"global_pool": "avg"})
    load_reference_state_dict(model, state)
    assert torch.equal(model.backbone.model.fc_norm.weight, state["encoder.norm.weight"])


def test_position_embedding_is_interpolated_to_the_models_grid(state: dict[str, Tensor]) -> None:
    model = build(image_size=96)
    load_reference_state_dict(model, state)
    grid = state["encoder.pos_embed"][:, 1:].reshape(1, 4, 4, 64).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(grid, size=(6, 6), mode="bicubic", antialias=True)
    actual = model.backbone.model.pos_embed.reshape(1, 6, 6, 64).permute(0, 3, 1, 2)
    torch.testing.assert_close(actual, expected)


# -- the aggregator alone -------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "w.", "cls_blocks.", "module.encoder.cls_blocks."])
def test_recorded_aggregation_is_reproduced(parity: Load, prefix: str) -> None:
    recorded = parity("aggregation")
    weights = {
        prefix + name.removeprefix("w."): value
        for name, value in recorded.items()
        if name.startswith("w.")
    }
    heads, depth = int(recorded["num_heads"]), int(recorded["depth"])
    for masking, expected in (("ignore", "out_no_mask"), ("exclude", "out_masked_tokens_dropped")):
        aggregator = MaskedCrossAttentionAggregator(32, depth, heads, masking=masking)
        load_reference_aggregator(aggregator, weights, class_token=recorded["class_token"])
        with torch.no_grad():
            out = aggregator(recorded["tokens"], recorded["mask"])
        assert relative_error(out, recorded[expected].squeeze(1)) < 1e-5


# -- what does not fit ----------------------------------------------------------------------------


def test_everything_that_does_not_fit_is_named_and_nothing_is_loaded(
    state: dict[str, Tensor],
) -> None:
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    broken = dict(state)
    del broken["encoder.cls_blocks.1.attn.q.bias"]
    broken["decoder.conv9.weight"] = torch.zeros(1)
    broken["epoch"] = torch.zeros(1)
    broken["top_classifier.weight"] = torch.zeros(20, 64, 1, 1)
    message = (
        r"state_dict: does not fit the model; missing: aggregator.blocks.1.attn.q.bias; "
        r"unexpected: decoder.conv9.weight, epoch; "
        r"of another shape: classifier.weight \(20, 64, 1, 1\) for \(5, 64, 1, 1\)"
    )
    with pytest.raises(ValueError, match=message):
        load_reference_state_dict(model, broken)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_model_of_other_parts_is_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"unexpected: aggregator.blocks.0.attn.k.bias"):
        load_reference_state_dict(build(aggregator=MaxAggregator()), state)
    with pytest.raises(ValueError, match=r"missing: .*blocks.4.*"):
        load_reference_state_dict(build(options={"depth": 5}), state)


def test_a_class_token_in_the_backbone_is_refused(state: dict[str, Tensor]) -> None:
    model = build(options={"class_token": True, "global_pool": "token"})
    message = r"model: expected a backbone without prefix tokens, .*got 1; build it with backbone_o"
    with pytest.raises(ValueError, match=message):
        load_reference_state_dict(model, state)


def test_a_position_embedding_of_no_known_grid_is_refused(state: dict[str, Tensor]) -> None:
    broken = {**state, "encoder.pos_embed": torch.zeros(1, 1 + 15, 64)}
    with pytest.raises(ValueError, match=r"^state_dict: encoder.pos_embed has 15 positions and"):
        load_reference_state_dict(build(), broken)


def test_wrong_types_are_named(state: dict[str, Tensor]) -> None:
    with pytest.raises(TypeError, match="model: expected a SingleStageSegmenter, got Linear"):
        load_reference_state_dict(nn.Linear(1, 1), state)
    with pytest.raises(TypeError, match="state_dict: expected a mapping, got list"):
        load_reference_state_dict(build(), [])
    with pytest.raises(TypeError, match=r"state_dict\['a'\]: expected a tensor, got int"):
        load_reference_state_dict(build(), {"a": 1})
    aggregator = MaskedCrossAttentionAggregator(8, num_heads=2)
    with pytest.raises(TypeError, match=r"aggregator: expected a MaskedCrossAttention.*got MaxAgg"):
        load_reference_aggregator(MaxAggregator(), {}, class_token=torch.zeros(8))
    with pytest.raises(TypeError, match="class_token: expected a tensor, got None"):
        load_reference_aggregator(aggregator, {}, class_token=None)
    with pytest.raises(ValueError, match=r"fit the aggregator; missing: blocks.0.attn.k.bias"):
        load_reference_aggregator(aggregator, {}, class_token=torch.zeros(8))
