"""Options as one object and as keywords: the same results, names that are checked, types."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from fsr.inference import (
    EvaluationOptions,
    ExportOptions,
    ImagePlacement,
    LabelKind,
    OnError,
    PredictionOptions,
    evaluate,
    export_pseudo_labels,
    predict_paths,
    result_to_dict,
)
from fsr.inference._evaluation_options import EvaluationChanges
from fsr.inference._export_options import IMAGES, ExportChanges
from fsr.inference._label_sources import SOURCES
from fsr.inference._options import ON_ERROR, RunChanges, RunOptions
from fsr.inference._prediction_options import PredictionChanges
from fsr.segmenter import REDUCTIONS, Reduction
from tests.helpers import assert_same
from tests.inference.test_inference import ONE_PASS, build, samples
from tests.inference.test_predict import ONCE, write_images

KINDS = [
    (RunOptions, RunChanges),
    (EvaluationOptions, EvaluationChanges),
    (PredictionOptions, PredictionChanges),
    (ExportOptions, ExportChanges),
]


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_keywords_are_the_fields_with_their_types(kind: type, changes: type) -> None:
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    assert {field.name: hints[field.name] for field in fields(kind)} == get_type_hints(changes)


def test_choices_are_types_of_their_names() -> None:
    assert get_args(OnError) == ON_ERROR == ("raise", "skip")
    assert get_args(Reduction) == REDUCTIONS
    assert get_args(LabelKind) == SOURCES == ("prediction", "cam", "cam+par")
    assert get_args(ImagePlacement) == IMAGES == ("none", "link", "copy")


def test_an_evaluation_takes_an_object_keywords_or_both() -> None:
    model, data = build(), samples()
    options = EvaluationOptions(cam_threshold=(0.4, 0.6), trimap_widths=(1,), **ONE_PASS)
    given: list[dict[str, Any]] = [
        {"options": options},
        {"cam_threshold": (0.4, 0.6), "trimap_widths": (1,), **ONE_PASS},
        {"options": EvaluationOptions(**{**ONE_PASS, "flip": True}), "flip": False}
        | {"cam_threshold": (0.4, 0.6), "trimap_widths": (1,)},
    ]
    told = [result_to_dict(evaluate(model, data, **one), ("a", "b", "c")) for one in given]
    assert told[0] == told[1] == told[2]
    assert told[0] != result_to_dict(evaluate(model, data, **ONE_PASS), ("a", "b", "c"))


def test_a_prediction_takes_an_object_keywords_or_both(tmp_path: Path) -> None:
    model = build()
    write_images(tmp_path, [(20, 30)])
    given: list[dict[str, Any]] = [
        {"options": PredictionOptions(probabilities=True, max_size=16, **ONCE)},
        {"probabilities": True, "max_size": 16, **ONCE},
        {"options": PredictionOptions(max_size=16, **ONCE), "probabilities": True},
    ]
    one, two, three = (next(predict_paths(model, tmp_path, **options)) for options in given)
    assert_same(one.probabilities, two.probabilities)
    assert_same(one.probabilities, three.probabilities)


def test_an_export_takes_an_object_keywords_or_both(tmp_path: Path) -> None:
    model, data = build(), samples()
    given: list[dict[str, Any]] = [
        {"options": ExportOptions(source="cam", threshold=0.4, split="mine", **ONE_PASS)},
        {"source": "cam", "threshold": 0.4, "split": "mine", **ONE_PASS},
        {"options": ExportOptions(source="cam", threshold=0.3, **ONE_PASS)}
        | {"threshold": 0.4, "split": "mine"},
    ]
    written = []
    for number, options in enumerate(given):
        folder = tmp_path / str(number)
        assert export_pseudo_labels(model, data, folder, **options).written == 3
        found = sorted(path for path in folder.rglob("*.*") if path.is_file())
        found.remove(folder / "made_of.jsonl")  # it holds times
        written.append({path.relative_to(folder): path.read_bytes() for path in found})
    assert written[0] == written[1] == written[2]
    assert json.loads((tmp_path / "0/settings.json").read_text())["threshold"] == 0.4


def test_an_unknown_option_names_the_nearest(tmp_path: Path) -> None:
    model, data = build(), samples()
    wrong: Any = {"scalse": (1.0,)}
    for call in (
        lambda: evaluate(model, data, **wrong),
        lambda: predict_paths(model, tmp_path, **wrong),
        lambda: export_pseudo_labels(model, data, tmp_path / "out", **wrong),
    ):
        with pytest.raises(TypeError, match=r"unknown option 'scalse' \(did you mean 'scales'\?"):
            call()
    nothing_like: Any = {"qqq": 1}
    with pytest.raises(TypeError, match=r"unknown option 'qqq' \(there are flip, crf, batch_size,"):
        evaluate(model, data, **nothing_like)
    assert not (tmp_path / "out").exists()


def test_options_of_another_kind_are_refused() -> None:
    other: Any = PredictionOptions()
    with pytest.raises(TypeError, match="expected EvaluationOptions, got PredictionOptions"):
        evaluate(build(), samples(), options=other)


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (EvaluationOptions, {"batch_size": 0}, "batch_size: expected a positive integer"),
        (EvaluationOptions, {"save_every": 0}, "save_every: expected a positive integer"),
        (EvaluationOptions, {"scales": ()}, "scales: expected at least one scale"),
        (EvaluationOptions, {"cam_scales": (-1.0,)}, "cam_scales: expected a number"),
        (EvaluationOptions, {"on_error": "stop"}, "on_error: expected one of 'raise', 'skip'"),
        (PredictionOptions, {"reduce": "max"}, "reduce: expected one of"),
        (ExportOptions, {"batch_size": 0}, "batch_size: expected a positive integer"),
        (ExportOptions, {"images": "lnik"}, r"images: expected one of .*mean 'link'"),
        (
            ExportOptions,
            {"source": "cam", "threshold": 0.5, "confidence": 0.5},
            "confidence: source 'cam' has no probabilities without a CRF",
        ),
    ],
)
def test_an_object_is_checked_when_it_is_made(
    kind: Any, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**wrong)


def test_options_do_not_change() -> None:
    options: Any = EvaluationOptions()
    with pytest.raises(FrozenInstanceError):
        options.flip = False
