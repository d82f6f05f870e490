"""The segmenter: heads, multi-scale CAMs and predictions, checkpoints, parity, bad input."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import fsr
from fsr.aggregation import AverageAggregator, MaskedCrossAttentionAggregator, MaxAggregator
from fsr.cam import class_activation_maps
from fsr.errors import ShapeError
from fsr.projection import ProjectionHead
from fsr.segmenter import HEADS, SegmenterOutput, SingleStageSegmenter, scaled_size
from tests.helpers import (
    assert_compiles,
    assert_deepcopy_after_forward,
    assert_pickles,
    assert_state_dict_round_trip,
)

NAME = "vit_tiny_patch16_224"
SMALL = {"embed_dim": 16, "depth": 3, "num_heads": 2}


def build(num_classes: int = 3, name: str = NAME, **options: Any) -> SingleStageSegmenter:
    options["backbone_options"] = {**SMALL, **options.get("backbone_options", {})}
    if "decoder" not in options:
        options["decoder"] = small_decoder(num_classes)
    if "projector" not in options:
        options["projector"] = small_projector()
    options.setdefault("image_size", 32)
    return SingleStageSegmenter(num_classes, name, **options)


def small_projector() -> ProjectionHead:
    return ProjectionHead(16, 8, hidden_dim=8, bottleneck_dim=4)


def small_decoder(num_classes: int) -> nn.Module:
    return nn.Conv2d(16, num_classes + 1, 1)


def half_mask(batch: int = 2, height: int = 2, width: int = 2) -> Tensor:
    mask = torch.zeros(batch, height, width, dtype=torch.bool)
    mask[:, 0, 0] = True
    return mask


def tensors(output: SegmenterOutput) -> list[Tensor]:
    return [value for value in output if isinstance(value, Tensor)]


# -- heads ----------------------------------------------------------------------------------------


def test_all_heads_and_their_shapes() -> None:
    model = build(num_classes=5)
    output = model(torch.randn(2, 3, 32, 48))
    assert output.class_logits.shape == output.aux_class_logits.shape == (2, 5)
    assert output.segmentation.shape == (2, 6, 2, 3)
    assert output.tokens.shape == output.aux_tokens.shape == (2, 6, 16)
    assert output.projections.shape == (2, 7, 8)
    assert output.grid == (2, 3)


def test_heads_are_wired_as_the_paper_draws_them() -> None:
    model = build().eval()
    images, mask = torch.randn(2, 3, 32, 32), half_mask()
    output = model(images, mask)
    raw, aux, _ = model.backbone(images, mask, aux_block=-3)
    norm = model.backbone.norm
    tokens = norm(raw)
    torch.testing.assert_close(output.tokens, tokens)
    torch.testing.assert_close(output.aux_tokens, aux)
    for logits, features, classifier in (
        (output.class_logits, tokens, model.classifier),
        (output.aux_class_logits, aux, model.aux_classifier),
    ):
        expected = features.amax(dim=1) @ classifier.weight.flatten(1).T
        torch.testing.assert_close(logits, expected)
    features = tokens.transpose(1, 2).reshape(2, 16, 2, 2)
    torch.testing.assert_close(output.segmentation, model.decoder(features))
    aggregated = model.aggregator(raw, mask.flatten(1)).unsqueeze(1)
    expected = model.projector(norm(torch.cat([aggregated, raw], dim=1)))
    torch.testing.assert_close(output.projections, expected)


def test_the_default_parts() -> None:
    model = SingleStageSegmenter(3, NAME, image_size=32, backbone_options=SMALL)
    assert isinstance(model.aggregator, MaskedCrossAttentionAggregator)
    assert model.aggregator.blocks[0].attn.num_heads == 2
    assert len(model.aggregator.blocks) == 2
    assert model.projector.out_dim == 4096
    assert model.aux_block == -3
    for classifier in (model.classifier, model.aux_classifier):
        assert classifier.weight.shape == (3, 16, 1, 1)
        assert classifier.bias is None
    assert model(torch.zeros(1, 3, 32, 32)).segmentation.shape == (1, 4, 2, 2)


def test_parts_by_name_and_as_modules() -> None:
    assert isinstance(build(aggregator="average").aggregator, AverageAggregator)
    assert isinstance(build(aggregator="max").aggregator, MaxAggregator)
    aggregator = MaskedCrossAttentionAggregator(16, depth=1, num_heads=4, masking="ignore")
    projector = nn.Linear(16, 5)
    model = build(aggregator=aggregator, projector=projector, aux_block=0)
    assert model.aggregator is aggregator
    assert model.projector is projector
    output = model(torch.zeros(1, 3, 32, 32))
    assert output.projections.shape == (1, 5, 5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (NAME, {}),
        (NAME, {"class_token": False, "global_pool": ""}),
        (NAME, {"global_pool": "avg"}),
        ("deit_tiny_distilled_patch16_224", {}),
        ("vit_small_patch14_reg4_dinov2", {}),
        ("vit_base_patch16_clip_224", {}),
        ("vit_base_patch16_siglip_224", {}),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_all_heads_together_leave_no_parameter_without_gradient(
    name: str, options: dict[str, Any], masked: bool
) -> None:
    model = build(name=name, image_size=28 if "14" in name else 32, backbone_options=options)
    patch = model.backbone.patch_size[0]
    images = torch.randn(2, 3, 2 * patch, 2 * patch)
    output = model(images, half_mask() if masked else None)
    sum(value.square().sum() for value in tensors(output)).backward()
    silent = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []


def test_a_vit_module_passed_in() -> None:
    module = timm.create_model(NAME, img_size=64, num_classes=10, **SMALL)
    model = SingleStageSegmenter(3, module, decoder=small_decoder(3), projection_dim=8)
    assert model.backbone.model is module
    assert model(torch.zeros(1, 3, 32, 64)).grid == (2, 4)


# -- outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADS)
def test_each_head_alone_equals_itself_among_all(name: str) -> None:
    model = build().eval()
    images, mask = torch.randn(2, 3, 32, 32), half_mask()
    everything, alone = model(images, mask), model(images, mask, outputs=[name])
    torch.testing.assert_close(getattr(alone, name), getattr(everything, name))
    assert [other for other in HEADS if getattr(alone, other) is not None] == [name]


def test_slices_compute_each_head_for_its_part_of_the_batch() -> None:
    model = build().eval()
    images, mask = torch.randn(4, 3, 32, 32), torch.rand(4, 2, 2) < 0.5
    mask[:, 1, 1] = False
    everything = model(images, mask)
    seen: list[int] = []
    model.projector.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    parts = {name: slice(None, 2) for name in HEADS} | {"projections": slice(2, None)}
    output = model(images, mask, outputs=parts)
    assert seen == [2]
    for name, part in parts.items():
        torch.testing.assert_close(getattr(output, name), getattr(everything, name)[part])


def test_unasked_heads_do_no_work() -> None:
    model = build()
    for part in (model.aggregator, model.projector, model.decoder, model.classifier):
        part.register_forward_hook(lambda *_: pytest.fail("computed, but not asked for"))
    output = model(torch.zeros(1, 3, 32, 32), outputs=("tokens", "aux_class_logits"))
    assert output.tokens is not None


def test_bad_outputs_are_named() -> None:
    model, images = build(), torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"outputs: expected one of .*did you mean 'tokens'"):
        model(images, outputs=["token"])
    with pytest.raises(TypeError, match="outputs: expected names of heads in a sequence"):
        model(images, outputs="tokens")
    with pytest.raises(TypeError, match=r"outputs\['tokens'\]: expected a slice of the batch"):
        model(images, outputs={"tokens": 1})


# -- CAM ------------------------------------------------------------------------------------------


def cams_by_hand(
    model: SingleStageSegmenter, images: Tensor, scales: tuple[float, ...], flip: bool
) -> list[np.ndarray]:
    """Multi-scale CAMs of one image size, view by view, from plain forwards."""
    size = images.shape[-2:]
    totals = [np.zeros((len(images), model.num_classes, *size)) for _ in range(2)]
    for scale in scales:
        target = [max(int(scale * side / 16 + 0.5), 1) * 16 for side in size]
        resized = F.interpolate(images, size=target, mode="bilinear", align_corners=False)
        views = [resized, resized.flip(-1)] if flip else [resized]
        for kind in range(2):
            maps = []
            for index, view in enumerate(views):
                output = model(view)
                tokens = (output.tokens, output.aux_tokens)[kind]
                weight = (model.classifier, model.aux_classifier)[kind].weight
                cam = class_activation_maps(tokens, weight, output.grid)
                cam = F.interpolate(cam, size=size, mode="bilinear", align_corners=False)
                maps.append((cam.flip(-1) if index else cam).numpy())
            totals[kind] += np.maximum.reduce(maps)
    result = []
    for total in totals:
        low = total.min(axis=(2, 3), keepdims=True)
        high = (total - low).max(axis=(2, 3), keepdims=True)
        result.append((total - low) / (high + 1e-5))
    return result


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize(
    ("size", "scales"), [((32, 48), (1.0, 0.5, 1.5)), ((37, 21), (1.0, 2.0)), ((16, 16), (0.1,))]
)
def test_cam_is_the_sum_over_scales_of_maxima_over_flips(
    size: tuple[int, int], scales: tuple[float, ...], flip: bool
) -> None:
    model = build().eval()
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = cams_by_hand(model, images, scales, flip)
    for cam, reference in zip(model.cam(images, scales=scales, flip=flip), expected, strict=True):
        assert cam.shape == (2, 3, *size)
        np.testing.assert_allclose(cam.numpy(), reference, atol=1e-5)
        assert cam.min() >= 0
        assert cam.max() <= 1


def test_cam_runs_encoder_and_classifiers_alone_without_gradient() -> None:
    model = build()
    for part in (model.aggregator, model.projector, model.decoder):
        part.register_forward_hook(lambda *_: pytest.fail("a CAM needs neither of these"))
    final, auxiliary = model.cam(torch.randn(1, 3, 32, 32).requires_grad_())
    assert not final.requires_grad
    assert not auxiliary.requires_grad


@settings(max_examples=10)
@given(st.integers(16, 70), st.integers(16, 70), st.integers(0, 2**16))
def test_cam_of_a_mirrored_image_is_the_mirrored_cam(height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    model, images = build(), torch.randn(1, 3, height, width)
    for cam, mirrored in zip(model.cam(images), model.cam(images.flip(-1)), strict=True):
        torch.testing.assert_close(mirrored, cam.flip(-1), rtol=0, atol=1e-3)


@settings(max_examples=10)
@given(st.integers(0, 2**16))
def test_an_images_results_do_not_depend_on_its_batch(seed: int) -> None:
    torch.manual_seed(seed)
    model, images = build().eval(), torch.randn(3, 3, 32, 32)
    mask = torch.rand(3, 2, 2) < 0.4
    mask[:, 0, 1] = False

    def results(part: slice) -> list[Tensor]:
        return [
            *tensors(model(images[part], mask[part])),
            *model.cam(images[part], scales=(1.0, 1.5)),
            model.predict(images[part], scales=(1.0, 1.5)),
        ]

    together = results(slice(None))
    for index in range(3):
        for alone, all_three in zip(results(slice(index, index + 1)), together, strict=True):
            torch.testing.assert_close(alone[0], all_three[index], rtol=1e-4, atol=1e-4)


@settings(max_examples=10)
@given(st.permutations(range(4)))
def test_permuting_classes_permutes_cams_and_logits(order: list[int]) -> None:
    model = build(num_classes=4).eval()
    images = torch.randn(1, 3, 32, 32)
    permuted = copy.deepcopy(model)
    with torch.no_grad():
        for classifier in (permuted.classifier, permuted.aux_classifier):
            classifier.weight.copy_(classifier.weight[list(order)])
    for plain, other in zip(model.cam(images), permuted.cam(images), strict=True):
        torch.testing.assert_close(other, plain[:, list(order)])
    torch.testing.assert_close(
        permuted(images).class_logits, model(images).class_logits[:, list(order)]
    )


def test_scaled_sizes_are_the_nearest_patch_multiples() -> None:
    assert scaled_size((448, 448), 0.5, (16, 16)) == (224, 224)
    assert scaled_size((448, 448), 1.5, (16, 16)) == (672, 672)
    assert scaled_size((500, 375), 1.0, (16, 16)) == (496, 368)
    assert scaled_size((500, 375), 1.25, (14, 14)) == (630, 462)
    assert scaled_size((16, 40), 0.01, (16, 16)) == (16, 16)
    assert scaled_size((80, 80), 0.5, (16, 16)) == (48, 48)  # halves go up
    assert scaled_size((64, 64), 1.0, (16, 32)) == (64, 64)


# -- predict --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["max_logits", "mean_probabilities"])
@pytest.mark.parametrize("flip", [True, False])
def test_predict_merges_flips_and_scales(reduce: str, flip: bool) -> None:
    model = build().eval()
    images = torch.randn(2, 3, 37, 48)
    scales = (1.0, 1.25, 1.5)
    per_scale = []
    with torch.no_grad():
        for target in ((32, 48), (48, 64), (48, 80))[: len(scales)]:
            resized = F.interpolate(images, size=target, mode="bilinear", align_corners=False)
            views = [resized, resized.flip(-1)] if flip else [resized]
            maps = [
                F.interpolate(
                    model(view).segmentation, size=(37, 48), mode="bilinear", align_corners=False
                )
                for view in views
            ]
            if flip:
                maps[1] = maps[1].flip(-1)
            per_scale.append(torch.stack(maps))
    stacked = torch.stack(per_scale)
    expected = (
        stacked.sum(dim=1).amax(dim=0).softmax(dim=1)
        if reduce == "max_logits"
        else stacked.softmax(dim=3).mean(dim=(0, 1))
    )
    result = model.predict(images, scales=scales, flip=flip, reduce=reduce)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(result.sum(dim=1), torch.ones(2, 37, 48))
    assert not result.requires_grad


# -- modes ----------------------------------------------------------------------------------------


CALLS: dict[str, Callable[[SingleStageSegmenter, Tensor], Any]] = {
    "cam": lambda model, images: model.cam(images),
    "predict": lambda model, images: model.predict(images),
    "attention_maps": lambda model, images: model.attention_maps(images),
}


@pytest.mark.parametrize("call", CALLS)
def test_inference_is_in_eval_mode_and_restores_every_modules_mode(call: str) -> None:
    model = build(backbone_options={"drop_path_rate": 0.9}).train()
    model.decoder.eval()
    modes = [module.training for module in model.modules()]
    images = torch.randn(1, 3, 32, 32)
    first, second = CALLS[call](model, images), CALLS[call](model, images)
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one, two)
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("call", CALLS)
def test_modes_come_back_after_an_exception(call: str) -> None:
    model = build().train()

    def fail(*_: Any) -> None:
        raise RuntimeError("on the way")

    model.backbone.model.blocks[1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="on the way"):
        CALLS[call](model, torch.randn(1, 3, 32, 32))
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()


def test_droppath_acts_in_training_only() -> None:
    model = build(backbone_options={"drop_path_rate": 0.9})
    images = torch.randn(1, 3, 32, 32)
    assert not torch.equal(model(images).tokens, model(images).tokens)
    model.eval()
    assert torch.equal(model(images).tokens, model(images).tokens)


# -- attention ------------------------------------------------------------------------------------


def test_attention_maps_are_distributions_over_unmasked_patches() -> None:
    model = build()
    mask = half_mask(2, 2, 3)
    maps = model.attention_maps(torch.randn(2, 3, 32, 48), mask)
    assert maps.shape == (2, 2, 2, 2, 3)
    torch.testing.assert_close(maps.sum(dim=(3, 4)), torch.ones(2, 2, 2))
    assert torch.all(maps[..., 0, 0] == 0)
    assert not maps.requires_grad


def test_pooling_aggregators_have_no_attention() -> None:
    with pytest.raises(ValueError, match="aggregator: expected one with attention_maps, got Max"):
        build(aggregator="max").attention_maps(torch.zeros(1, 3, 32, 32))


# -- checkpoints ----------------------------------------------------------------------------------


def plain_model(**options: Any) -> SingleStageSegmenter:
    """A model that names alone describe."""
    return SingleStageSegmenter(
        3, NAME, image_size=32, projection_dim=8, backbone_options=SMALL, **options
    ).eval()


def test_save_and_load_give_the_same_model(tmp_path: Path) -> None:
    model = plain_model(aux_block=-2)
    model.aggregator.masking = "ignore"  # type: ignore[assignment]
    path = tmp_path / "model.safetensors"
    model.save(path, class_names=["cat", "dog", "sheep"])
    loaded = SingleStageSegmenter.load(path)
    images, mask = torch.randn(2, 3, 48, 32), half_mask(2, 3, 2)
    for own, other in zip(model(images, mask), loaded(images, mask), strict=True):
        assert own == other if isinstance(own, tuple) else torch.equal(own, other)
    assert loaded.class_names == ("cat", "dog", "sheep")
    assert loaded.aux_block == -2
    assert not loaded.training
    again = tmp_path / "again.safetensors"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["again.safetensors", "model.safetensors"]


def test_metadata_is_json_with_arguments_names_and_version(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    plain_model().save(path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["fsr_wsss"])
    assert header["version"] == fsr.__version__
    assert header["class_names"] is None
    assert header["arguments"]["backbone"] == NAME
    assert header["arguments"]["backbone_options"] == SMALL
    assert load_file(path).keys() == plain_model().state_dict().keys()


def test_loading_needs_no_pretrained_weights(tmp_path: Path) -> None:
    source = timm.create_model(NAME, img_size=32, **SMALL)
    weights = tmp_path / "vit.safetensors"
    save_file(source.state_dict(), weights)
    model = plain_model(pretrained=weights)
    assert torch.equal(model.backbone.model.pos_embed, source.pos_embed)
    model.save(tmp_path / "model.safetensors")
    weights.unlink()
    loaded = SingleStageSegmenter.load(tmp_path / "model.safetensors")
    assert torch.equal(loaded.backbone.model.pos_embed, source.pos_embed)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_weights_type_survives(tmp_path: Path, dtype: torch.dtype) -> None:
    model = plain_model().to(dtype)
    model.save(tmp_path / "model.safetensors")
    loaded = SingleStageSegmenter.load(tmp_path / "model.safetensors")
    for name, value in loaded.state_dict().items():
        assert value.dtype == dtype
        assert torch.equal(value, model.state_dict()[name])


def test_parts_given_as_modules_must_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    module = timm.create_model(NAME, img_size=32, **SMALL)
    model = SingleStageSegmenter(3, module, projection_dim=8, decoder=small_decoder(3)).eval()
    model.save(path)
    with pytest.raises(ValueError, match=r"backbone: .*was built from a module, VisionTransformer"):
        SingleStageSegmenter.load(path)
    fresh = timm.create_model(NAME, img_size=32, **SMALL)
    with pytest.raises(ValueError, match=r"decoder: .*Conv2d; give one: load\(path, decoder=mod"):
        SingleStageSegmenter.load(path, backbone=fresh)
    loaded = SingleStageSegmenter.load(path, backbone=fresh, decoder=small_decoder(3))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(loaded(images).segmentation, model(images).segmentation)
    other = timm.create_model(NAME, img_size=32, **{**SMALL, "depth": 4})
    with pytest.raises(
        ValueError, match=r"(?s)model.safetensors' does not fit the model: .*blocks.3"
    ):
        SingleStageSegmenter.load(path, backbone=other, decoder=small_decoder(3))


def test_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    torch.save(plain_model().state_dict(), tmp_path / "pickle.pth")
    with pytest.raises(ValueError, match=r"pickle.pth' is no safetensors file .*never loaded"):
        SingleStageSegmenter.load(tmp_path / "pickle.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors' was not saved by SingleStageSegment"):
        SingleStageSegmenter.load(tmp_path / "other.safetensors")
    header = json.dumps({"format": 99})
    save_file({"a": torch.zeros(1)}, tmp_path / "later.safetensors", {"fsr_wsss": header})
    with pytest.raises(ValueError, match=r"later.safetensors' has format 99, expected 1"):
        SingleStageSegmenter.load(tmp_path / "later.safetensors")
    with pytest.raises(FileNotFoundError, match=r"path: no file .*none.safetensors"):
        SingleStageSegmenter.load(tmp_path / "none.safetensors")


def test_another_class_count_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    plain_model().save(path)
    assert SingleStageSegmenter.load(path, num_classes=3).num_classes == 3
    with pytest.raises(ValueError, match=r"num_classes: expected 20, but .*safetensors' has 3"):
        SingleStageSegmenter.load(path, num_classes=20)


def test_bad_class_names_and_arguments_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match="class_names: expected 3 names, got 2"):
        plain_model().save(path, class_names=["a", "b"])
    with pytest.raises(TypeError, match="class_names: expected a sequence of strings, got 'abc'"):
        plain_model().save(path, class_names="abc")
    model = build(decoder="largefov", backbone_options={"norm_layer": nn.LayerNorm})
    with pytest.raises(ValueError, match="save: the constructor's arguments are not plain data"):
        model.save(path)
    assert not path.exists()


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    plain_model().save(path)
    before = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("fsr.segmenter._checkpoint.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        plain_model().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_saved_network_is_readable_for_whom_the_umask_says(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.safetensors"
    before = os.umask(0o027)
    try:
        build().save(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(path.parent) == ["model.safetensors"]


# -- common checks --------------------------------------------------------------------------------


def shallow() -> dict[str, Any]:
    """One block each: compilers take their time per layer."""
    aggregator = MaskedCrossAttentionAggregator(16, depth=1, num_heads=2)
    return {"backbone_options": {"depth": 1}, "aux_block": 0, "aggregator": aggregator}


def test_state_copies_and_compilation() -> None:
    model = build(**shallow()).eval()
    images, mask = torch.randn(2, 3, 32, 48), half_mask(2, 2, 3)
    assert_state_dict_round_trip(model, lambda: build(**shallow()), images, mask)
    assert_deepcopy_after_forward(model, images, mask)
    assert_pickles(model, images, mask)
    assert_compiles(model, images, mask, atol=1e-5)


def test_default_backend_compiles() -> None:
    model = build(**shallow()).eval()
    images = torch.randn(1, 3, 32, 32)
    assert_compiles(model, images, half_mask(1), backend="inductor", rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_the_function() -> None:
    model = build(num_classes=1, projector=nn.Linear(16, 2)).double().eval()
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    weight = model.classifier.weight.detach().clone().requires_grad_()
    bias = model.backbone.mask_token.detach().clone().requires_grad_()

    def heads(weight: Tensor, token: Tensor) -> tuple[Tensor, ...]:
        parameters = {"classifier.weight": weight, "backbone.mask_token": token}
        output = torch.func.functional_call(model, parameters, (images, half_mask(1)))
        return tuple(tensors(output))

    assert torch.autograd.gradcheck(heads, (weight, bias))


def test_follows_device_dtype_and_autocast(device: torch.device) -> None:
    model = build().eval().to(device)
    images, mask = torch.randn(2, 3, 32, 32, device=device), half_mask().to(device)
    expected = tensors(model(images, mask))
    with torch.autocast(device.type, torch.bfloat16):
        mixed = tensors(model(images, mask))
        cams = model.cam(images)
        probabilities = model.predict(images)
    for half, full in zip(mixed, expected, strict=True):
        assert half.device == full.device
        torch.testing.assert_close(half.float(), full, rtol=0.2, atol=0.2)
    assert all(cam.dtype == torch.float32 for cam in (*cams, probabilities))
    double = copy.deepcopy(model).double()
    assert all(value.dtype == torch.float64 for value in tensors(double(images.double(), mask)))
    assert double.cam(images.double())[0].dtype == torch.float64
    assert double.predict(images.double()).dtype == torch.float64


def test_one_image_and_one_patch_and_one_class() -> None:
    model = build(num_classes=1)
    images = torch.randn(1, 3, 16, 16)
    assert model(images).segmentation.shape == (1, 2, 1, 1)
    assert model.cam(images)[0].shape == (1, 1, 16, 16)
    assert model.predict(images).shape == (1, 2, 16, 16)


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [0, -1])
def test_class_counts_must_be_positive(num_classes: int) -> None:
    with pytest.raises(ValueError, match=f"num_classes: expected a positive .*, got {num_classes}"):
        build(num_classes=num_classes, decoder="largefov")


def test_bad_parts_are_named() -> None:
    with pytest.raises(ValueError, match="aggregator: expected one of 'mca', 'average', 'max'"):
        build(aggregator="avg")
    with pytest.raises(ValueError, match="decoder: expected one of 'largefov', got 'fcn'"):
        build(decoder="fcn")
    with pytest.raises(TypeError, match="projector: expected a module or None, got str"):
        build(projector="mlp")
    with pytest.raises(ValueError, match="projection_dim: expected a positive integer, got 0"):
        build(projection_dim=0)
    with pytest.raises(ValueError, match="aux_block: expected -3 to 2"):
        build(aux_block=-4)
    with pytest.raises(ValueError, match="backbone: expected the name of a timm model"):
        build(name="vit_of_nobody")
    model = build(decoder=nn.Conv2d(16, 3, 1))
    with pytest.raises(ShapeError, match=r"the decoder's output: expected shape .* with C=4"):
        model(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("call", ["cam", "predict"])
def test_bad_multi_scale_input_is_named(call: str) -> None:
    run = getattr(build(), call)
    images = torch.zeros(1, 3, 32, 32)
    with pytest.raises(
        ValueError, match=r"images: expected at least one patch of \(16, 16\) pixels"
    ):
        run(torch.zeros(1, 3, 15, 32))
    with pytest.raises(ShapeError, match="images: expected shape"):
        run(torch.zeros(3, 32, 32))
    with pytest.raises(TypeError, match="images: expected a floating-point tensor"):
        run(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match="scales: expected at least one scale, got none"):
        run(images, scales=())
    with pytest.raises(ValueError, match=r"scales: expected a number in \(0.0, inf\), got 0"):
        run(images, scales=(1.0, 0))
    with pytest.raises(TypeError, match=r"scales: expected a sequence of numbers, got 1.0"):
        run(images, scales=1.0)


def test_unknown_reductions_are_named() -> None:
    with pytest.raises(ValueError, match="reduce: expected one of 'max_logits', 'mean_prob"):
        build().predict(torch.zeros(1, 3, 32, 32), reduce="max")


def test_a_wholly_masked_image_is_refused() -> None:
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="mask: expected an unmasked token in every row"):
        build()(torch.zeros(1, 3, 32, 32), mask)
