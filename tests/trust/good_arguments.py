"""Arguments that every public function and module takes well: what the walk starts from.

A call is a function, or a module built for it, with arguments by name. Names that no call can be
written down for are in `LEFT_OUT`, each with the reason. A new public name needs a line in either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import fsr
from fsr import (
    affinity,
    aggregation,
    attention,
    backbone,
    cam,
    data,
    decoder,
    filters,
    inference,
    interop,
    losses,
    masking,
    metrics,
    objective,
    optim,
    pooling,
    presets,
    projection,
    refine,
    schedules,
    segmenter,
    teacher,
    visualize,
)
from fsr.backbone import BackboneRequest
from fsr.segmenter import HeadInput, heads

B, C, D, K, S = 2, 3, 8, 6, 4
N = S * S
SMALL = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}


class Call(NamedTuple):
    """A function with arguments that it takes well.

    Attributes:
        function: what to call.
        arguments: by name.
        infinite: whether infinity or NaN is a right result of right arguments.
        also: further names by which a message may call an argument.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]
    infinite: bool = False
    also: tuple[str, ...] = ()


def maps(*shape: int) -> Tensor:
    """Numbers in [0, 1], the same every time."""
    shape = shape or (B, C, S, S)
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def whole(high: int, *shape: int) -> Tensor:
    """Integers from 0 to below ``high``."""
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(high))


def shares(*shape: int) -> Tensor:
    """Numbers that sum to 1 along the last axis."""
    return maps(*shape).softmax(dim=-1)


def yes(*shape: int) -> Tensor:
    """Booleans, some of each."""
    return maps(*shape) > 0.5


def present() -> Tensor:
    """Image-level labels."""
    return torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def box() -> Tensor:
    """A box within maps of S x S for each image."""
    return torch.tensor([[0, S, 1, S], [1, 3, 0, S]])


def picture(size: tuple[int, int] = (32, 24)) -> Image.Image:
    """A picture of noise."""
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@cache
def network() -> Any:
    """A small segmenter."""
    torch.manual_seed(0)
    return fsr.SingleStageSegmenter(
        C,
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=K,
        backbone_options=SMALL,
        projector_options={"hidden_dim": 16, "bottleneck_dim": 8},
        decoder_options={"hidden_dim": 8, "dilation": 2},
    ).eval()


@cache
def small_cnn() -> Any:
    """A small encoder of feature maps."""
    torch.manual_seed(0)
    return backbone.FeatureBackbone("resnet10t", image_size=64).eval()


@cache
def trainer() -> Any:
    """The objective of a small network and its teacher."""
    student = network()
    return objective.TrainingObjective(student, fsr.EMATeacher(student), mask_block=1).eval()


def images(batch: int = B) -> Tensor:
    """Images for the small segmenter."""
    return maps(batch, 3, 32, 32)


def par() -> nn.Module:
    """A refinement that takes little."""
    return refine.PAR(num_iter=1, dilations=(1,))


def read_of(**more: Any) -> HeadInput:
    """What a head reads of an encoder."""
    tokens = maps(B, N, D)
    return HeadInput(images(), tokens, tokens, tokens, (S, S), nn.Identity(), **more)


def affinities() -> Tensor:
    """Affinities of all pairs of tokens."""
    return shares(B, N, N)


def cams() -> dict[str, Call]:
    """The room ``cam``."""
    scores = {"cam": maps()}
    labelled = {**scores, "labels": present()}
    pair = {"cam": maps(), "cam_of_flipped": maps(B, C, S, S)}
    flips = {"maps": maps(), "flips": whole(2, B, 3)}
    return {
        "affinity_cam": Call(cam.affinity_cam, {**scores, "tokens": maps(B, N, D), "power": 2}),
        "cam_to_labels": Call(
            cam.cam_to_labels,
            {**labelled, "low": 0.2, "high": 0.7, "ignore_index": 255, "box": box()},
        ),
        "cam_to_labels, one threshold": Call(cam.cam_to_labels, {**labelled, "threshold": 0.4}),
        "class_activation_maps": Call(
            cam.class_activation_maps,
            {"tokens": maps(B, N, D), "weight": maps(C, D), "grid": (S, S)},
        ),
        "crop_maps": Call(cam.crop_maps, {"maps": maps(), "box": box(), "size": (3, 5)}),
        "filter_by_labels": Call(
            cam.filter_by_labels, {"probabilities": maps(), "labels": present()}
        ),
        "flip_maps": Call(cam.flip_maps, flips),
        "unflip_maps": Call(cam.unflip_maps, flips),
        "ignore_label": Call(cam.ignore_label, {"num_classes": 20}),
        "join_tiles": Call(cam.join_tiles, {"tiles": maps(B * 4, C, 2, 2), "grid": (2, 2)}),
        "split_tiles": Call(cam.split_tiles, {"pictures": maps(), "grid": (2, 2)}),
        "keep_present": Call(cam.keep_present, labelled),
        "max_norm": Call(cam.max_norm, {**scores, "eps": 1e-5}),
        "merge_flip": Call(cam.merge_flip, pair),
        "sum_flip": Call(cam.sum_flip, pair),
        "mixture_thresholds": Call(
            cam.mixture_thresholds,
            {"scores": maps(60), "low": 0.25, "high": 0.7, "confidence": 0.9, "iterations": 5},
        ),
        "normalize_cam": Call(cam.normalize_cam, {**scores, "eps": 1e-5}),
        "recam": Call(
            cam.recam,
            {
                "features": maps(B, D, S, S),
                "class_weight": maps(C, D),
                "predictor_weight": maps(C, D),
            },
        ),
        "resize_cam": Call(cam.resize_cam, {**scores, "size": (6, 5)}),
        "seam_normalize": Call(cam.seam_normalize, scores),
        "strongest_class": Call(cam.strongest_class, labelled),
        "strongest_with_background": Call(cam.strongest_with_background, {"maps": maps()}),
        "sum_scales": Call(cam.sum_scales, {"cams": [maps(), maps()], "eps": 1e-5}),
        "sum_sizes": Call(
            cam.sum_sizes, {"cams": [maps(), maps(B, C, 2, 2)], "size": (5, 4), "eps": 1e-5}
        ),
        "token_affinity": Call(cam.token_affinity, {"tokens": maps(B, N, D)}),
    }


def affinity_room() -> dict[str, Call]:
    """The room ``affinity``."""
    near = affinity.radius_mask((S, S), 2)
    more = {"mask": near, "power": 2, "eps": 1e-4}
    return {
        "AttentionAffinity": Call(affinity.AttentionAffinity, {"num_maps": 4}),
        "AttentionAffinity()": Call(
            affinity.AttentionAffinity(4), {"attention": shares(B, 4, N, N)}
        ),
        "affinity_labels": Call(
            affinity.affinity_labels, {"token_labels": whole(3, B, S, S), "mask": near}
        ),
        "propagate": Call(affinity.propagate, {"maps": maps(), "affinity": affinities(), **more}),
        "propagate_with_background": Call(
            affinity.propagate_with_background,
            {
                "cam": maps(),
                "affinity": affinities(),
                "labels": present(),
                "background": 0.4,
                **more,
            },
        ),
        "radius_mask": Call(affinity.radius_mask, {"grid": (S, S), "radius": 2}),
    }


def aggregation_room() -> dict[str, Call]:
    """The room ``aggregation``."""
    tokens, mask = maps(B, N, D), yes(B, N)
    built = {"dim": D, "num_heads": 2, "mlp_ratio": 2.0}
    seen = {"tokens": tokens, "mask": mask}
    asked = {"query": maps(B, 1, D), **seen, "masking": "exclude"}
    q, k = maps(B, 2, 1, 4), maps(B, 2, N, 4)
    torch.manual_seed(0)
    mca = aggregation.MaskedCrossAttentionAggregator(D, depth=1, num_heads=2).eval()
    block, cross = aggregation.AggregationBlock(D, 2), aggregation.CrossAttention(D, 2)
    equation = {"q": q, "k": k, "mask": mask, "masking": "exclude"}
    return {
        "AggregationBlock": Call(aggregation.AggregationBlock, built),
        "AggregationBlock()": Call(block, asked),
        "AggregationBlock.weights": Call(block.weights, asked),
        "AverageAggregator": Call(aggregation.AverageAggregator(), seen),
        "CrossAttention": Call(aggregation.CrossAttention, {"dim": D, "num_heads": 2}),
        "CrossAttention()": Call(cross, asked),
        "CrossAttention.weights": Call(cross.weights, asked),
        "MaskedCrossAttentionAggregator": Call(
            aggregation.MaskedCrossAttentionAggregator,
            {**built, "depth": 1, "masking": "exclude"},
        ),
        "MaskedCrossAttentionAggregator()": Call(mca, seen),
        "MaskedCrossAttentionAggregator.attention_maps": Call(mca.attention_maps, seen),
        "MaxAggregator": Call(aggregation.MaxAggregator(), seen),
        "cross_attention_weights": Call(aggregation.cross_attention_weights, equation),
        "masked_cross_attention": Call(
            aggregation.masked_cross_attention, {**equation, "v": maps(B, 2, N, 4)}
        ),
    }


def attention_room() -> dict[str, Call]:
    """The room ``attention``."""
    weights = [shares(B, 2, N + C, N + C), shares(B, 2, N + C, N + C)]
    return {
        "class_attention_maps": Call(
            attention.class_attention_maps,
            {"attention": weights, "num_classes": C, "grid": (S, S), "layers": 2},
        ),
        "fuse_maps": Call(attention.fuse_maps, {"class_maps": maps(), "patch_maps": maps()}),
        "patch_affinity": Call(
            attention.patch_affinity, {"attention": torch.stack(weights), "num_prefix": C}
        ),
        "refine_maps": Call(attention.refine_maps, {"maps": maps(), "affinity": affinities()}),
    }


def backbone_room() -> dict[str, Call]:
    """The room ``backbone``."""
    vit, cnn = network().backbone, small_cnn()
    seen = {"images": images(), "mask": yes(B, S, S), "aux_block": -1, "aux_only": False}
    built = {"model": "vit_tiny_patch16_224", "image_size": 32, "options": SMALL}
    frozen = backbone.FrozenEncoder(vit)
    rows = shares(B, 2, N, D)
    pictures = {"images": maps(B, 3, 64, 64)}
    return {
        "ViTBackbone": Call(
            backbone.ViTBackbone, {**built, "pretrained": False}, also=("backbone",)
        ),
        "ViTBackbone()": Call(vit, seen),
        "ViTBackbone.read": Call(
            vit.read, {**seen, "request": BackboneRequest(prefix_tokens=True, attention=(0,))}
        ),
        "ViTBackbone.grid": Call(vit.grid, {"images": images()}),
        "ViTBackbone.width": Call(vit.width, {"block": -1}, also=("aux_block",)),
        "FeatureBackbone": Call(
            backbone.FeatureBackbone,
            {"model": "resnet10t", "image_size": 64, "options": {}},
            also=("backbone",),
        ),
        "FeatureBackbone()": Call(cnn, {**pictures, "aux_block": -2}),
        "FeatureBackbone.stages": Call(cnn.stages, pictures),
        "FrozenEncoder": Call(frozen, {"images": images(), "grid": (S, S)}),
        "check_offers": Call(
            backbone.check_offers, {"encoder": vit, "needs": ["blocks"], "name": "backbone"}
        ),
        "fsr_scenes_tiny": Call(backbone.fsr_scenes_tiny, {"pretrained": False}),
        "weights_of": Call(
            backbone.weights_of, {"q": rows, "k": rows, "scale": 0.5, "form": "probabilities"}
        ),
    }


def decoder_room() -> dict[str, Call]:
    """The room ``decoder``."""
    torch.manual_seed(0)
    deep, shallow = maps(B, D, S, S), maps(B, 5, 2 * S, 2 * S)
    pair = {"deep": deep, "shallow": shallow}
    like = {"deep": deep, "shallow": maps(B, D, S, S), "keep": yes(B, D, S, S)}
    cue = {"deep_channels": D, "shallow_channels": 5, "out_channels": 7}
    return {
        "ASPP": Call(decoder.ASPP, {"in_channels": D, "out_channels": 7, "dilations": (1, 2)}),
        "ASPP()": Call(decoder.ASPP(D, 7, (1, 2)).eval(), {"features": deep}),
        "CueDecoder": Call(
            decoder.CueDecoder, {**cue, "hidden_dim": 8, "skip_dim": 4, "gate_rate": 0.3}
        ),
        "CueDecoder()": Call(
            decoder.CueDecoder(D, 5, 7, hidden_dim=8, skip_dim=4, dilations=(1,)).eval(), pair
        ),
        "GlobalCueInjection": Call(decoder.GlobalCueInjection, cue),
        "GlobalCueInjection()": Call(decoder.GlobalCueInjection(D, 5, 7).eval(), pair),
        "GridLSTM": Call(decoder.GridLSTM, {"dim": D, "hidden": 5}),
        "GridLSTM()": Call(decoder.GridLSTM(D, 5), {"features": deep}),
        "LargeFOV": Call(
            decoder.LargeFOV,
            {"in_dim": D, "num_classes_with_background": 4, "hidden_dim": 5, "dilation": 2},
        ),
        "LargeFOV()": Call(decoder.LargeFOV(D, 4, 5, 2), {"features": deep}),
        "StochasticGate": Call(decoder.StochasticGate, {"rate": 0.3}),
        "StochasticGate()": Call(decoder.StochasticGate(0.3), like),
        "adain": Call(decoder.adain, {"features": deep, "attributes": maps(B, 2 * D)}),
        "stochastic_gate": Call(decoder.stochastic_gate, {**like, "rate": 0.3}),
    }


def loss_functions() -> dict[str, Call]:
    """The functions of the room ``losses``."""
    logits, labels = maps(B, C + 1, S, S), whole(C + 1, B, 6, 6)
    projected, targets = maps(B, N, K), shares(B, N, K)
    pixels = {"logits": logits, "labels": labels, "ignore_index": 255}
    given = {"labels": present()}
    cams_of_views = {
        name: maps(B, C + 1, S, S) for name in ("cam1", "revised1", "cam2", "revised2")
    }
    return {
        "affinity_loss": Call(
            losses.affinity_loss, {"affinity": affinities(), "labels": whole(2, B, N, N)}
        ),
        "balanced_segmentation_loss": Call(losses.balanced_segmentation_loss, pixels),
        "joint_cross_entropy": Call(losses.joint_cross_entropy, pixels),
        "pixel_cross_entropy": Call(losses.pixel_cross_entropy, pixels),
        "boundary_weights": Call(
            losses.boundary_weights, {"labels": whole(3, B, S, S), "weight": 0.5}
        ),
        "label_boundary": Call(losses.label_boundary, {"labels": whole(3, B, S, S)}),
        "cam_consistency_loss": Call(
            losses.cam_consistency_loss, {"scores": maps(), "target": maps(), **given}
        ),
        "class_token_contrast": Call(
            losses.class_token_contrast,
            {
                "student": maps(B, 5, K),
                "teacher": maps(B, K),
                "positive": yes(B, 5),
                "temperature": 0.5,
            },
        ),
        "class_token_separation": Call(
            losses.class_token_separation, {"class_tokens": maps(B, 2, C, D), **given}
        ),
        "classification_loss": Call(losses.classification_loss, {"logits": maps(B, C), **given}),
        "confident_loss": Call(
            losses.confident_loss,
            {"student": maps(B, K), "teacher": shares(B, K), "temperature": 0.1},
        ),
        "cotraining_loss": Call(
            losses.cotraining_loss,
            {
                "logits1": logits,
                "logits2": maps(B, C + 1, S, S),
                "labels": labels,
                "confident": yes(B, 6, 6),
                "boundary": yes(B, 6, 6),
                "confident_weight": 0.2,
                "unconfident_weight": 0.1,
            },
        ),
        "equivariance_losses": Call(
            losses.equivariance_losses, {**cams_of_views, **given, "share": 0.2}
        ),
        "equivariance_targets": Call(
            losses.equivariance_targets,
            {
                "probabilities": maps(),
                **given,
                "flips": whole(2, B, 3),
                "target_flips": whole(2, B, 3),
                "size": (3, 3),
                "box": box(),
            },
        ),
        "gated_dense_energy": Call(
            losses.gated_dense_energy,
            {
                "images": 255 * maps(B, 3, S, S),
                "probabilities": maps(),
                "gate": maps(B, 1, S, S),
                "sigma_rgb": 15.0,
                "sigma_xy": 5.0,
            },
        ),
        "min_pooling_loss": Call(losses.min_pooling_loss, {"cam": maps(B, C + 1, S, S)}),
        "output_spread": Call(losses.output_spread, {"outputs": maps(B, K), "joined": True}),
        "pair_labels": Call(losses.pair_labels, {"token_labels": whole(3, B, N)}),
        "patch_cross_entropy": Call(
            losses.patch_cross_entropy, {"probabilities": maps(), "targets": maps()}
        ),
        "patch_score_loss": Call(losses.patch_score_loss, {"scores": maps(B, C), **given}),
        "patch_token_contrast": Call(
            losses.patch_token_contrast,
            {"tokens": maps(B, N, D), "labels": whole(3, B, N), "ignore_index": 255},
        ),
        "prototype_loss": Call(
            losses.prototype_loss, {"segmentation": logits, "features": maps(B, D, S, S)}
        ),
        "recam_loss": Call(
            losses.recam_loss,
            {
                "features": maps(B, D, S, S),
                "class_weight": maps(C, D),
                "predictor_weight": maps(C, D),
                **given,
            },
        ),
        "regression_loss": Call(
            losses.regression_loss,
            {
                "student_tokens": maps(B, N, D),
                "teacher_tokens": maps(B, N, D),
                "mask": yes(B, N),
                "form": "cosine",
            },
        ),
        "relation_loss": Call(
            losses.relation_loss, {"tokens": maps(B, N, D), "target_tokens": maps(B, N, 5)}
        ),
        "self_supervised_mask_loss": Call(
            losses.self_supervised_mask_loss,
            {"logits": maps(), "pseudo_masks": maps(B, C + 1, 6, 6), **given},
        ),
        "sinkhorn_distribution": Call(
            losses.sinkhorn_distribution, {"logits": maps(5, K), "iterations": 3, "joined": True}
        ),
        "standardised_distribution": Call(
            losses.standardised_distribution,
            {
                "outputs": maps(B, K),
                "center": maps(K),
                "spread": torch.tensor(0.5),
                "temperature": 0.4,
            },
        ),
        "target_distribution": Call(
            losses.target_distribution,
            {
                "form": "standardised",
                "outputs": maps(B, K),
                "center": losses.Center(K),
                "scale": losses.Scale(),
                "temperature": 0.4,
                "training": False,
            },
        ),
        "target_information": Call(losses.target_information, {"targets": targets}),
        "teacher_distribution": Call(
            losses.teacher_distribution,
            {"outputs": maps(B, K), "center": maps(K), "temperature": 0.07},
        ),
        "uncertain_loss": Call(
            losses.uncertain_loss,
            {
                "student": projected,
                "teacher": targets,
                "mask": yes(B, N),
                "temperature": 0.1,
                "weights": maps(B, N),
            },
        ),
        "uncertainty_gate": Call(
            losses.uncertainty_gate, {"probabilities": maps(), "unlabelled": yes(B, S, S)}
        ),
        "underfit": Call(
            losses.underfit, {"loss_map": maps(B, S, S), "threshold": 0.5, "ceiling": 0.5}
        ),
        "weighted_cross_entropy": Call(
            losses.weighted_cross_entropy,
            {
                "logits": logits,
                "labels": labels,
                "weights": 255 * maps(B, 6, 6),
                "threshold": 0.05,
            },
        ),
    }


def loss_modules() -> dict[str, Call]:
    """The modules of the room ``losses``."""
    rows = maps(B, N + 1, K)
    loss = losses.SelfReinforcementLoss(K).eval()
    scale = losses.Scale().eval()
    return {
        "Center": Call(losses.Center, {"dim": K, "momentum": 0.9}),
        "Center.update": Call(losses.Center(K, 1.0).update, {"outputs": rows}),
        "ClassTokenContrastLoss": Call(losses.ClassTokenContrastLoss, {"temperature": 0.5}),
        "ClassTokenContrastLoss()": Call(
            losses.ClassTokenContrastLoss(),
            {"student": maps(B, 5, K), "teacher": maps(B, K), "positive": yes(B, 5)},
        ),
        "DenseEnergyLoss": Call(
            losses.DenseEnergyLoss,
            {"weight": 1e-7, "sigma_rgb": 15.0, "sigma_xy": 100.0, "scale": 0.5},
        ),
        "DenseEnergyLoss()": Call(
            losses.DenseEnergyLoss(),
            {
                "images_rgb": 255 * maps(B, 3, 6, 6),
                "logits": maps(B, C + 1, S, S),
                "labels": whole(C + 1, B, 6, 6),
                "inside": yes(B, 6, 6),
            },
            also=("images",),
        ),
        "PTCLoss": Call(losses.PTCLoss, {"ignore_index": 255}),
        "PTCLoss()": Call(losses.PTCLoss(), {"tokens": maps(B, N, D), "labels": whole(3, B, N)}),
        "Scale": Call(losses.Scale, {"momentum": 0.5}),
        "Scale()": Call(scale, {"outputs": rows, "training": True}),
        "Scale.update": Call(scale.update, {"spread": torch.tensor(0.5)}),
        "SelfReinforcementLoss": Call(
            losses.SelfReinforcementLoss,
            {"dim": K, "student_temperature": 0.1, "center_momentum": 0.9, "target": "centred"},
        ),
        "SelfReinforcementLoss()": Call(
            loss,
            {
                "student": rows,
                "teacher_view1": maps(B, N + 1, K),
                "teacher_view2": maps(B, N + 1, K),
                "mask": yes(B, N),
                "teacher_temperature": 0.07,
                "weights": maps(B, N),
            },
        ),
    }


def masking_room() -> dict[str, Call]:
    """The room ``masking``."""
    generator = torch.Generator().manual_seed(0)
    zoned = {"cam": maps(), "labels": present(), "grid": (S, S)}
    regions = whole(3, B, 8, 8)
    return {
        "UncertainMasker": Call(
            masking.UncertainMasker,
            {"ratio": 0.4, "low": 0.2, "high": 0.7, "strategy": "uncertain", "block": 2},
        ),
        "UncertainMasker()": Call(
            masking.UncertainMasker(block=2), {**zoned, "noise": maps(B, 2, 2), "ratio": 0.5}
        ),
        "UncertainMasker(), entropy": Call(
            masking.UncertainMasker(strategy="entropy"),
            {**zoned, "entropy": maps(B, S, S), "noise": maps(B, S, S)},
        ),
        "UncertainMasker(), strict": Call(
            masking.UncertainMasker(strategy="strict", thresholds="otsu"), zoned
        ),
        "UncertainMasker(), edge": Call(
            masking.UncertainMasker(strategy="edge"), {**zoned, "images": maps(B, 3, 16, 16)}
        ),
        "UncertainMasker.uncertain_zone": Call(masking.UncertainMasker().uncertain_zone, zoned),
        "block_mean": Call(masking.block_mean, {"values": maps(B, S, S), "block": 2}),
        "boundary": Call(masking.boundary, {"mask": yes(B, S, S), "size": 1}),
        "class_mix": Call(
            masking.class_mix,
            {
                "images": maps(B, 3, S, S),
                "labels": whole(3, B, S, S),
                "confident": yes(B, S, S),
                "classes": whole(3, B, 2),
            },
        ),
        "class_mix_mask": Call(
            masking.class_mix_mask, {"label_map": whole(3, B, S, S), "classes": whole(3, B, 2)}
        ),
        "confident_share": Call(
            masking.confident_share,
            {"scores": maps(B, C, S, S), "labels": whole(C, B, S, S), "share": 0.5},
        ),
        "crop_flags": Call(
            masking.crop_flags,
            {
                "regions": regions,
                "top_left": whole(3, B, 4, 2),
                "crop_size": 4,
                "threshold": 0.2,
            },
        ),
        "draw_classes": Call(
            masking.draw_classes,
            {
                "label_map": whole(3, B, S, S),
                "ignore_background": True,
                "generator": generator,
            },
        ),
        "entropy_soft_mask": Call(
            masking.entropy_soft_mask, {"entropy": maps(B, N), "noise": maps(B, N)}
        ),
        "keep_one": Call(masking.keep_one, {"mask": yes(B, N), "certainty": maps(B, N)}),
        "mask_count": Call(masking.mask_count, {"ratio": 0.4, "total": 100, "rounding": "floor"}),
        "otsu_thresholds": Call(
            masking.otsu_thresholds, {"cam": maps(), "low": 0.2, "high": 0.7, "bins": 8}
        ),
        "sample_local_crops": Call(
            masking.sample_local_crops,
            {
                "images": maps(B, 3, 8, 8),
                "regions": regions,
                "count": 3,
                "crop_size": 4,
                "threshold": 0.2,
                "generator": generator,
            },
        ),
        "soft_mask": Call(masking.soft_mask, {"zone": yes(B, S, S), "noise": maps(B, S, S)}),
        "strict_mask": Call(
            masking.strict_mask,
            {"score": maps(B, S, S), "low": 0.2, "high": 0.7, "from_border": False},
        ),
        "strongest_with_thresholds": Call(
            masking.strongest_with_thresholds,
            {"cam": maps(), "low": maps(B, C), "high": maps(B, C)},
        ),
        "token_entropy": Call(masking.token_entropy, {"probabilities": shares(B, N, K)}),
        "top_k_mask": Call(masking.top_k_mask, {"soft": maps(B, N), "count": 3}),
        "uncertain_regions": Call(
            masking.uncertain_regions,
            {"cam": maps(), "labels": present(), "low": 0.25, "high": 0.7},
        ),
        "uncertain_zone": Call(
            masking.uncertain_zone, {"score": maps(B, S, S), "low": 0.2, "high": 0.7}
        ),
    }


def metrics_room() -> dict[str, Call]:
    """The room ``metrics``; each update has a counter of its own."""
    pair = {"prediction": whole(C + 1, B, S, S), "target": whole(C + 1, B, S, S)}

    def update(make: Callable[[], Any]) -> Callable[..., Any]:
        return lambda **given: make().update(**given)

    return {
        "LabelF1": Call(metrics.LabelF1, {"num_classes": C, "threshold": 0.0}),
        "LabelF1.update": Call(
            update(lambda: metrics.LabelF1(C)), {"scores": maps(B, C), "labels": present()}
        ),
        "SegmentationMetrics": Call(
            metrics.SegmentationMetrics, {"num_classes": C, "ignore_index": 255}
        ),
        "SegmentationMetrics.update": Call(update(lambda: metrics.SegmentationMetrics(C)), pair),
        "ThresholdSweep": Call(
            metrics.ThresholdSweep,
            {"num_classes": C, "thresholds": (0.3, 0.5), "ignore_index": 255},
        ),
        "ThresholdSweep.update": Call(
            update(lambda: metrics.ThresholdSweep(C, (0.5,))),
            {
                "score": maps(B, S, S),
                "label": whole(C, B, S, S) + 1,
                "target": whole(C + 1, B, S, S),
            },
        ),
        "TrimapMetrics": Call(
            metrics.TrimapMetrics, {"num_classes": C, "widths": (1, 2), "ignore_index": 255}
        ),
        "TrimapMetrics.update": Call(update(lambda: metrics.TrimapMetrics(C, (1, 2))), pair),
        "boundary_distance": Call(
            metrics.boundary_distance, {"target": whole(3, S, S), "limit": 2}, infinite=True
        ),
    }


def pooling_room() -> dict[str, Call]:
    """The room ``pooling``."""
    return {
        "focal_mask_penalty": Call(
            pooling.focal_mask_penalty,
            {"masks": maps(B, C + 1, S, S), "power": 3.0, "offset": 0.01},
        ),
        "global_weighted_ranking": Call(
            pooling.global_weighted_ranking, {"logits": maps(), "decay": 0.9}
        ),
        "masks_with_background": Call(
            pooling.masks_with_background, {"logits": maps(), "background": 1.0}
        ),
        "max_pool": Call(pooling.max_pool, {"tokens": maps(B, N, D)}),
        "normalized_global_weighted_pooling": Call(
            pooling.normalized_global_weighted_pooling, {"logits": maps()}
        ),
        "patch_max": Call(pooling.patch_max, {"logits": maps()}),
    }


def projection_room() -> dict[str, Call]:
    """The room ``projection``, and ``filters``."""
    torch.manual_seed(0)
    sizes = {"in_dim": D, "out_dim": K, "hidden_dim": 5, "bottleneck_dim": 4, "num_layers": 2}
    return {
        "projection.ProjectionHead": Call(projection.ProjectionHead, sizes),
        "projection.ProjectionHead()": Call(
            projection.ProjectionHead(**sizes), {"tokens": maps(B, N, D)}
        ),
        "projection.WeightNormLinear": Call(
            projection.WeightNormLinear, {"in_features": D, "out_features": K}
        ),
        "projection.WeightNormLinear()": Call(
            projection.WeightNormLinear(D, K), {"features": maps(B, N, D)}
        ),
        "projection.project_tokens": Call(
            projection.project_tokens,
            {
                "aggregated": maps(B, D),
                "tokens": maps(B, N, D),
                "projector": projection.ProjectionHead(**sizes),
            },
        ),
        "filters.PermutohedralLattice": Call(
            filters.PermutohedralLattice, {"features": maps(9, 2)}
        ),
        "filters.PermutohedralLattice()": Call(
            filters.PermutohedralLattice(maps(9, 2)), {"values": maps(9, 3)}
        ),
        "filters.pixel_features": Call(
            filters.pixel_features,
            {"images": maps(B, 3, S, S), "sigma_xy": 2.0, "sigma_rgb": 0.1},
        ),
        "filters.bilateral_filter": Call(
            filters.bilateral_filter,
            {
                "values": maps(),
                "images": 255 * maps(B, 3, S, S),
                "sigma_xy": 5.0,
                "sigma_rgb": 15.0,
            },
        ),
    }


def refine_room() -> dict[str, Call]:
    """The room ``refine``."""
    pictures = {"images": maps(B, 3, S, S)}
    pair = {**pictures, "masks": maps()}
    around = {"dilations": (1, 2)}
    built = {"num_iter": 2, **around}
    crf = refine.DenseCRF(backend="torch", iterations=1)
    boxed = {"labels": present(), "box": box()}
    field = {
        "iterations": 1,
        "gaussian_sxy": 1.0,
        "gaussian_weight": 1.0,
        "bilateral_sxy": 20.0,
        "bilateral_srgb": 5.0,
        "bilateral_weight": 4.0,
    }
    colours = whole(255, S, S, 3).to(torch.uint8)
    return {
        "PAR": Call(refine.PAR, built),
        "PAR()": Call(par(), pair),
        "PAMR": Call(refine.PAMR, built),
        "PAMR()": Call(refine.PAMR(1, (1,)), pair),
        "CRFPool": Call(refine.CRFPool, {"crf": crf, "workers": 0, "max_pending": 2}),
        "CRFSettings": Call(refine.CRFSettings, field),
        "DenseCRF": Call(
            refine.DenseCRF,
            {"preset": "test", "backend": "torch", "min_probability": 0.0, "max_pixels": 100},
        ),
        "DenseCRF()": Call(crf, {"image": colours, "probabilities": maps(C, S, S).softmax(dim=0)}),
        "PixelCorrelation": Call(refine.PixelCorrelation, {"in_channels": D, "out_channels": 5}),
        "PixelCorrelation()": Call(
            refine.PixelCorrelation(D, 5).eval(),
            {"maps": maps(), "features": maps(B, D, S, S)},
        ),
        "cam_with_background": Call(
            refine.cam_with_background, {"cam": maps(), "labels": present(), "power": 4.0}
        ),
        "confident_masks": Call(
            refine.confident_masks,
            {"masks": maps(), "top": 0.6, "background_top": 0.7, "lowest": 0.2},
        ),
        "label_map_probabilities": Call(
            refine.label_map_probabilities,
            {"labels": whole(C + 1, S, S), "num_classes": C, "confidence": 0.7},
        ),
        "labels_between": Call(
            refine.labels_between,
            {"low_maps": maps(), "high_maps": maps(B, C, S, S), "box": box()},
        ),
        "mean_field": Call(
            refine.mean_field,
            {
                "probabilities": maps(C, S, S).softmax(dim=0),
                "image": colours.permute(2, 0, 1),
                **field,
                "approximate": True,
            },
        ),
        "pamr_affinity": Call(refine.pamr_affinity, {**pictures, **around}),
        "pixel_adaptive_affinity": Call(refine.pixel_adaptive_affinity, {**pictures, **around}),
        "pixel_correlation": Call(
            refine.pixel_correlation, {"maps": maps(), "features": maps(B, D, S, S)}
        ),
        "propagate": Call(
            refine.propagate, {"masks": maps(), "affinity": maps(B, 16, S, S), **around}
        ),
        "pseudo_labels": Call(
            refine.pseudo_labels,
            {
                "par": par(),
                **pictures,
                "cams": maps(),
                **boxed,
                "low": 0.3,
                "high": 0.6,
                "down_scale": 2,
                "ignore_index": 255,
            },
        ),
        "refine_in_box": Call(
            refine.refine_in_box,
            {
                "par": par(),
                "images": maps(B, 3, S, S),
                "maps": maps(B, C + 1, S, S),
                "labels": present(),
                "box": torch.tensor([[0, S, 0, S], [0, 2, 0, S]]),
                "down_scale": 2,
            },
        ),
        "refine_masks": Call(
            refine.refine_masks,
            {
                "pamr": refine.PAMR(1, (1,)),
                **pictures,
                "masks": maps(B, C + 1, S, S),
                "labels": present(),
            },
        ),
        "reliable_labels": Call(
            refine.reliable_labels,
            {"pool": refine.CRFPool(crf, 0), **pictures, "cam": maps(), **boxed},
        ),
        "reliable_region": Call(
            refine.reliable_region,
            {
                "cam": maps(C, S, S),
                "labels": present()[0],
                "crf_low": maps(C + 1, S, S),
                "crf_high": maps(C + 1, S, S),
            },
        ),
        "response_scaling_uncertainty": Call(
            refine.response_scaling_uncertainty,
            {"scores": maps(C, S, S), "scales": (0.2, 5.0)},
        ),
        "uncertainty_weights": Call(refine.uncertainty_weights, {"uncertainty": maps(S, S)}),
    }


def schedules_room() -> dict[str, Call]:
    """The room ``schedules``."""
    warm = {"base": 0.1, "warmup_steps": 5, "total_steps": 20, "warmup_ratio": 0.1}
    found = {
        "constant": {"value": 0.5},
        "cosine": {"start": 1.0, "end": 0.1, "total_steps": 10},
        "linear_warmup": {"start": 0.1, "end": 1.0, "warmup_steps": 5},
        "switch": {"before": 0.1, "after": 0.2, "at_step": 5},
        "two_poly": {"first": 0.1, "second": 0.2, "at_step": 5, "total_steps": 10, "power": 0.9},
        "warmup_cosine": {**warm, "final": 0.01},
        "warmup_poly": {**warm, "power": 0.9},
    }
    calls = {}
    for name, arguments in found.items():
        kind = getattr(schedules, name)
        calls[name] = Call(kind, arguments)
        calls[f"{name}()"] = Call(kind(**arguments), {"step": 3})
    run = {"total_steps": 100, "memories": 20.0}
    return {**calls, "run_momentum": Call(schedules.run_momentum, run)}


def segmenter_room() -> dict[str, Call]:
    """The room ``segmenter``."""
    model = network()
    seen = {"images": images(), "mask": yes(B, S, S)}
    many = {"images": images(), "scales": (1.0, 0.5), "flip": True}
    batches = [images(1), images(1)]
    at = {"batches": batches, "scale": 1.0, "patch": (8, 8), "flip": True}
    scaled = {"batches": batches, "patch": (8, 8), "scales": (1.0,), "flip": True}

    def scores(pictures: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pictures, 8)

    return {
        "SingleStageSegmenter": Call(
            segmenter.SingleStageSegmenter,
            {
                "num_classes": C,
                "backbone": "vit_tiny_patch16_224",
                "image_size": 32,
                "aux_block": -2,
                "projection_dim": K,
                "backbone_options": SMALL,
                "projector_options": {"hidden_dim": 16, "bottleneck_dim": 8},
                "decoder_options": {"hidden_dim": 8, "dilation": 2},
            },
        ),
        "SingleStageSegmenter()": Call(model, {**seen, "outputs": ("class_logits", "tokens")}),
        "SingleStageSegmenter.cam": Call(model.cam, many),
        "SingleStageSegmenter.predict": Call(model.predict, {**many, "reduce": "max_logits"}),
        "SingleStageSegmenter.attention_maps": Call(model.attention_maps, seen),
        "cam_head": Call(segmenter.cam_head, {"network": model, "layer": "final"}),
        "cam_of": Call(
            segmenter.cam_of,
            {"network": model, "value": maps(B, N, 16), "layer": "final", "grid": (S, S)},
        ),
        "check_multi_scale": Call(
            segmenter.check_multi_scale,
            {"images": images(), "patch": (8, 8), "scales": (1.0, 0.5)},
        ),
        "check_scales": Call(partial(segmenter.check_scales, "scales"), {"scales": (1.0, 0.5)}),
        "encoder_names": Call(segmenter.encoder_names, {"network": model}),
        "maps_at": Call(segmenter.maps_at, {"maps_of": scores, **at}),
        "merged_cam": Call(
            segmenter.merged_cam,
            {"scales": [(maps(B, C, S, S), maps(B, C, S, S))], "size": (2 * S, S)},
        ),
        "multi_scale_cams": Call(
            segmenter.multi_scale_cams, {"raw_cams": lambda x: (scores(x),), **scaled}
        ),
        "multi_scale_labels": Call(segmenter.multi_scale_labels, {"logits_of": scores, **scaled}),
        "multi_scale_probabilities": Call(
            segmenter.multi_scale_probabilities,
            {"logits_of": scores, **scaled, "reduce": "max_logits"},
        ),
        "raw_cams": Call(
            segmenter.raw_cams,
            {"network": model, "images": images(), "layers": ("final", "auxiliary")},
        ),
        "scaled_size": Call(
            segmenter.scaled_size, {"size": (100, 64), "scale": 0.5, "patch": (16, 16)}
        ),
    }


def visualize_room() -> dict[str, Call]:
    """The room ``visualize``."""
    image, labels = picture(), whole(C + 1, 24, 32)
    weights = shares(B, 2, 2, N + 1, N + 1)
    backbone_ = network().backbone
    return {
        "attention_entropy": Call(
            visualize.attention_entropy,
            {"attention": weights, "prefix": 1, "queries": "patches", "normalize": True},
        ),
        "boundary_overlay": Call(
            visualize.boundary_overlay,
            {"image": image, "labels": labels, "colour": (255, 0, 0), "width": 1},
        ),
        "colorize": Call(visualize.colorize, {"labels": labels}),
        "encoder_attention": Call(
            visualize.encoder_attention,
            {
                "model": backbone_,
                "images": images(),
                "mask": yes(B, S, S),
                "blocks": (-1,),
                "queries": "all",
            },
        ),
        "encoder_entropy": Call(
            visualize.encoder_entropy,
            {"model": backbone_, "images": images(), "queries": "patches", "normalize": False},
        ),
        "heatmap_overlay": Call(visualize.heatmap_overlay, {"image": image, "scores": maps(6, 8)}),
        "legend": Call(visualize.legend, {"class_names": ["cat", "dog"], "width": 260}),
        "overlay": Call(
            visualize.overlay, {"image": image, "labels": labels, "alpha": 0.5, "contours": True}
        ),
        "recompute_attention": Call(
            visualize.recompute_attention,
            {"module": backbone_.model.blocks[0].attn, "tokens": maps(B, N, 16)},
        ),
        "voc_palette": Call(visualize.voc_palette, {"labels": 256}),
    }


def heads_room() -> dict[str, Call]:
    """The modules of ``segmenter.heads``: what they are built with."""
    sized = {"dim": D, "num_classes": C}
    layered = {"num_classes": C, "depth": 3, "blocks": 2}
    return {
        "AttentionAffinityHead": Call(heads.AttentionAffinityHead, {"num_heads": 2, "blocks": 2}),
        "CAMWithBackground": Call(heads.CAMWithBackground, {"dropout": 0.5}),
        "ClassAttention": Call(heads.ClassAttention, layered),
        "ClassTokens": Call(heads.ClassTokens, layered),
        "ClassPredictor": Call(heads.ClassPredictor, sized),
        "ClassProjection": Call(
            heads.ClassProjection, {"dim": D, "out_dim": K, "hidden_dim": 8, "bottleneck_dim": 4}
        ),
        "ClassToken": Call(heads.ClassToken, {"index": 0}),
        "DilatedFeatures": Call(heads.DilatedFeatures, {"dim": D, "out_dim": 5, "dilation": 2}),
        "MeanScores": Call(heads.MeanScores, {"dropout": 0.5}),
        "PatchClassifier": Call(heads.PatchClassifier, {**sized, "hidden": 5, "dropout": 0.2}),
        "PatchMaps": Call(heads.PatchMaps, sized),
        "PooledScores": Call(heads.PooledScores, {"focal_power": 3.0, "focal_offset": 0.01}),
        "RankedLogits": Call(heads.RankedLogits, {"decay": 0.9}),
        "RankedPatches": Call(heads.RankedPatches, {"decay": 0.9}),
        "SegmentationOfFeatures": Call(
            heads.SegmentationOfFeatures, {"dim": D, "channels": 4, "dilation": 2}
        ),
    }


def training_rooms() -> dict[str, Call]:
    """What a training step is made of: ``objective``, ``optim``, ``teacher`` and ``presets``."""
    student = network()
    ema = fsr.EMATeacher(student)
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    released = {"state_dict": {"0.attn.q.weight": maps(D, D)}}
    return {
        "objective.TrainingObjective()": Call(
            trainer(),
            {"view1": images(), "view2": images(), "labels": present(), "step": 0},
            also=("views", "images"),
        ),
        "objective.TrainingObjective": Call(
            objective.TrainingObjective,
            {"student": student, "teacher": ema, "preset": "reference", "mask_ratio": 0.4},
        ),
        "objective.check_block": Call(objective.check_block, {"block": 2, "grid": (S, S)}),
        "objective.total_loss": Call(
            objective.total_loss,
            {"terms": {"a": torch.tensor(1.0)}, "weights": {"a": 0.5}},
        ),
        "optim.freeze_early_blocks": Call(
            optim.freeze_early_blocks, {"encoder": own_encoder(), "trained": 1}
        ),
        "optim.freeze_norms": Call(optim.freeze_norms, {"model": own_encoder()}),
        "optim.is_decayed": Call(
            optim.is_decayed, {"name": "weight", "parameter": nn.Parameter(maps(D, D))}
        ),
        "optim.parameter_groups": Call(
            optim.parameter_groups,
            {"model": student, "lr": 0.1, "weight_decay": 0.05, "head_lr_scale": 10.0},
        ),
        "optim.set_learning_rate": Call(
            optim.set_learning_rate, {"optimizer": optimizer, "lr": 0.1, "step": 3}
        ),
        "teacher.EMATeacher": Call(teacher.EMATeacher, {"student": student, "momentum": 0.9}),
        "teacher.EMATeacher.update": Call(ema.update, {"student": student, "step": 0}),
        "teacher.unwrap": Call(teacher.unwrap, {"model": student}),
        "presets.get_method": Call(
            presets.get_method, {"method": "afa", "total_steps": 100}, also=("preset",)
        ),
        "presets.get_preset": Call(presets.get_preset, {"preset": "fast", "mask_ratio": 0.4}),
        "presets.teacher_source_step": Call(
            presets.teacher_source_step, {"momentum": 0.99, "total_steps": 100}
        ),
        "interop.load_reference_state_dict": Call(
            interop.load_reference_state_dict, {"model": student, **released}
        ),
        "interop.load_reference_aggregator": Call(
            interop.load_reference_aggregator,
            {"aggregator": student.aggregator, **released, "class_token": maps(1, 1, D)},
        ),
    }


def own_encoder() -> nn.Module:
    """An encoder that freezing may change."""
    return backbone.ViTBackbone("vit_tiny_patch16_224", image_size=32, options=SMALL)


def data_room() -> dict[str, Call]:
    """What ``data`` and ``inference`` have beside their readers of files."""
    photograph, scenes = picture(), data.Scenes(2, seed=0, image_size=32)
    crop = data.RandomRescaleCrop(16)
    runner = inference.SegmenterRunner(network())
    stream = data.ViewStream(scenes, lambda sample: sample)
    return {
        "data.NoisyLabels": Call(data.NoisyLabels, {"dataset": scenes, "share": 0.1, "seed": 0}),
        "data.RandomRescaleCrop": Call(
            data.RandomRescaleCrop, {"size": 16, "scale": (0.5, 2.0), "flip": 0.5}
        ),
        "data.RandomRescaleCrop()": Call(crop, {"image": photograph}),
        "data.Scenes": Call(
            data.Scenes, {"size": 2, "seed": 0, "image_size": 32, "objects": (1, 3)}
        ),
        "data.StepBatches": Call(
            data.StepBatches, {"batch_size": 2, "steps": 3, "start": 0, "accumulation": 1}
        ),
        "data.TwoViews": Call(
            data.TwoViews,
            {
                "image_size": 16,
                "scale": (0.3, 1.0),
                "ratio": (0.75, 1.3),
                "flip": 0.5,
                "jitter": (0.4, 0.4, 0.2, 0.1),
                "jitter_prob": 0.5,
                "blur_prob": 0.1,
            },
        ),
        "data.TwoViews()": Call(data.TwoViews(16), {"image": photograph}),
        "data.ViewStream.index": Call(stream.index, {"position": 3}),
        "data.derive_seed": Call(lambda keys: data.derive_seed(keys), {"keys": 1}),
        "data.padded_crop": Call(
            data.padded_crop,
            {"image": photograph, "size": 40, "pad": (8, 16), "start": (0, 0), "fill": 0},
        ),
        "inference.SegmenterRunner.probabilities": Call(
            runner.probabilities, {"images": [maps(3, 32, 32)], "scales": (1.0,)}
        ),
        "inference.SegmenterRunner.cams": Call(
            runner.cams, {"images": [maps(3, 32, 32)], "scales": (1.0,)}
        ),
        "inference.check_decoder": Call(inference.check_decoder, {"network": network()}),
        "inference.flat_name": Call(inference.flat_name, {"name": "a/b"}),
    }


def calls() -> dict[str, Call]:
    """Every call of the walk, by room and name; what a name is given to is told behind a comma."""
    rooms = {
        "affinity": affinity_room,
        "aggregation": aggregation_room,
        "attention": attention_room,
        "backbone": backbone_room,
        "cam": cams,
        "decoder": decoder_room,
        "losses": lambda: {**loss_functions(), **loss_modules()},
        "masking": masking_room,
        "metrics": metrics_room,
        "pooling": pooling_room,
        "refine": refine_room,
        "schedules": schedules_room,
        "segmenter": segmenter_room,
        "segmenter.heads": heads_room,
        "visualize": visualize_room,
    }
    found = {
        f"{room}.{name}": call for room, make in rooms.items() for name, call in make().items()
    }
    return {**found, **projection_room(), **training_rooms(), **data_room()}
