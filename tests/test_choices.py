"""String choices: the names of each are a type, and exactly what its argument takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch

from fsr import aggregation, cam, losses, masking, presets, refine, segmenter
from fsr.aggregation import MaskedCrossAttentionAggregator
from fsr.masking import UncertainMasker
from fsr.objective.terms import RegressionReinforcement
from fsr.refine import DenseCRF
from fsr.segmenter import SingleStageSegmenter, multi_scale_probabilities


def build(**options: Any) -> SingleStageSegmenter:
    small = {"embed_dim": 16, "depth": 3, "num_heads": 2}
    return SingleStageSegmenter(
        2,
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        backbone_options=small,
        **options,
    )


def merge(reduce: Any) -> object:
    images = torch.zeros(1, 3, 16, 16)
    return multi_scale_probabilities(lambda x: x, [images], (16, 16), (1.0,), False, reduce)


Build = Callable[[Any], object]
CASES: dict[str, tuple[Any, tuple[str, ...], tuple[str, ...], Build]] = {
    "strategy": (
        masking.Strategy,
        masking.STRATEGIES,
        ("uncertain", "random", "strict", "edge", "entropy"),
        lambda name: UncertainMasker(strategy=name),
    ),
    "rounding": (
        masking.Rounding,
        masking.ROUNDINGS,
        ("floor", "ceil"),
        lambda name: UncertainMasker(rounding=name),
    ),
    "thresholds": (
        masking.Thresholds,
        masking.THRESHOLDS,
        ("fixed", "otsu"),
        lambda name: UncertainMasker(thresholds=name),
    ),
    "masking": (
        aggregation.Masking,
        aggregation.MASKINGS,
        ("exclude", "scale", "ignore"),
        lambda name: MaskedCrossAttentionAggregator(12, masking=name),
    ),
    "pseudo_thresholds": (
        cam.LabelThresholds,
        cam.LABEL_THRESHOLDS,
        ("fixed", "mixture"),
        lambda name: presets.get_preset("fast", pseudo_thresholds=name),
    ),
    "form": (
        losses.RegressionForm,
        losses.REGRESSION_FORMS,
        ("cosine", "smooth_l1"),
        lambda name: RegressionReinforcement(name),
    ),
    "uncertain_form": (
        presets.UncertainForm,
        presets.UNCERTAIN_FORMS,
        ("prototypes", "cosine", "smooth_l1"),
        lambda name: presets.get_preset("fast", uncertain_form=name),
    ),
    "aggregator": (
        segmenter.Aggregator,
        segmenter.AGGREGATORS,
        ("mca", "average", "max"),
        lambda name: build(aggregator=name),
    ),
    "decoder": (
        segmenter.Decoder,
        segmenter.DECODERS,
        ("largefov",),
        lambda name: build(decoder=name),
    ),
    "outputs": (
        segmenter.Head,
        segmenter.HEADS,
        (
            "class_logits",
            "aux_class_logits",
            "segmentation",
            "tokens",
            "aux_tokens",
            "projections",
        ),
        lambda name: build()(torch.zeros(1, 3, 32, 32), outputs=[name]),
    ),
    "reduce": (
        segmenter.Reduction,
        segmenter.REDUCTIONS,
        ("max_logits", "mean_probabilities"),
        merge,
    ),
    "preset": (
        refine.CRFPreset,
        tuple(refine.CRF_PRESETS),
        ("test", "labels", "one_stage", "rrm", "toco", "urn", "vit_pcm"),
        lambda name: DenseCRF(name, backend="torch"),
    ),
    "backend": (
        refine.Backend,
        refine.BACKENDS,
        ("pydensecrf", "torch", "lattice"),
        lambda name: DenseCRF(backend=name),
    ),
}


@pytest.mark.parametrize("argument", CASES)
def test_type_tuple_and_argument_agree(argument: str) -> None:
    kind, names, expected, make = CASES[argument]
    assert get_args(kind) == names == expected
    for name in names:
        try:
            make(name)
        except ImportError:  # Of a choice that needs an extra.
            assert name in ("edge", "pydensecrf")
    with pytest.raises(ValueError, match=f"{argument}: expected one of '{expected[0]}'.*'nothing'"):
        make("nothing")


def test_the_layers_of_a_cam() -> None:
    assert get_args(cam.Layer) == cam.LAYERS == ("final", "auxiliary")
