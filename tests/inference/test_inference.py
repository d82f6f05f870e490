"""Streaming evaluation: the same numbers as by hand, in constant memory, on any sizes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from fsr.cam import cam_to_labels
from fsr.data import Sample
from fsr.decoder import LargeFOV
from fsr.inference import EvaluationResult, evaluate
from fsr.metrics import LabelF1, SegmentationMetrics
from fsr.projection import ProjectionHead
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher
from tests.helpers import assert_same
from tests.processes import run_together

CLASSES = 3
ONE_PASS: dict[str, Any] = {"scales": (1.0,), "cam_scales": (1.0,), "flip": False}


def build(drop_path: float = 0.0) -> SingleStageSegmenter:
    torch.manual_seed(1)
    return SingleStageSegmenter(
        CLASSES,
        "vit_tiny_patch16_224",
        image_size=32,
        projector=ProjectionHead(16, 8, hidden_dim=16, bottleneck_dim=8),
        decoder=LargeFOV(16, CLASSES + 1, hidden_dim=8),
        backbone_options={
            "patch_size": 8,
            "embed_dim": 16,
            "depth": 3,
            "num_heads": 2,
            "drop_path_rate": drop_path,
        },
    )


def samples(sizes: Sequence[tuple[int, int]] = ((32, 40), (29, 35), (32, 40))) -> list[Sample]:
    draw = np.random.default_rng(0)
    made = []
    for index, (height, width) in enumerate(sizes):
        image = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        labels = torch.zeros(CLASSES)
        labels[index % CLASSES] = 1.0
        labels[(index + 1) % CLASSES] = 1.0
        target = torch.from_numpy(draw.integers(0, CLASSES + 1, (height, width)))
        target[0] = 255
        made.append(Sample(image, labels, target, f"image{index}"))
    return made


def normalised(model: SingleStageSegmenter, image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float()[None] / 255
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (model.backbone.mean, model.backbone.std)
    )
    return (pixels - mean) / std


def by_hand(
    model: SingleStageSegmenter, data: list[Sample], threshold: float, **options: Any
) -> tuple[float, float, float, float]:
    """The scores from model.cam and model.predict, one image at a time."""
    cam, aux, segmentation = (SegmentationMetrics(CLASSES) for _ in range(3))
    label_f1 = LabelF1(CLASSES)
    with torch.no_grad():
        for sample in data:
            image, labels = normalised(model, sample.image), sample.labels[None]
            maps = model.cam(image, scales=options["cam_scales"], flip=options["flip"])
            for metric, one in zip((cam, aux), maps, strict=True):
                metric.update(cam_to_labels(one, labels, threshold=threshold), sample.target[None])
            scores = model.predict(image, scales=options["scales"], flip=options["flip"])
            segmentation.update(scores.argmax(1), sample.target[None])
            size = [max(8, round(side / 8) * 8) for side in image.shape[2:]]
            fitted = F.interpolate(image, size, mode="bilinear", align_corners=False)
            label_f1.update(model.eval()(fitted).class_logits, labels)
    found = [metric.compute().miou for metric in (cam, aux, segmentation)]
    return found[0], found[1], found[2], label_f1.compute().micro


def test_the_old_name_of_the_predictions_score_works_and_warns() -> None:
    result = evaluate(build(), samples(), **ONE_PASS)
    with pytest.warns(DeprecationWarning, match="segmentation_miou: read prediction_miou"):
        assert result.segmentation_miou == result.prediction_miou


def named(result: EvaluationResult) -> tuple[float, float, float, float]:
    return result.cam_miou, result.aux_cam_miou, result.prediction_miou, result.label_f1


@pytest.mark.parametrize(
    "options",
    [ONE_PASS, {"scales": (1.0, 1.5), "cam_scales": (1.0, 0.5), "flip": True}],
    ids=["one pass", "multi-scale"],
)
def test_scores_equal_those_of_cam_and_predict_at_native_size(options: dict[str, Any]) -> None:
    model, data = build(), samples()
    result = evaluate(model, data, cam_threshold=0.4, **options)
    assert named(result) == pytest.approx(by_hand(model, data, 0.4, **options), rel=1e-3)
    assert result.cam.miou == result.cam_miou
    assert result.segmentation.iou.shape == (CLASSES + 1,)
    assert (result.images, result.without_target) == (3, 0)


def test_the_defaults_are_the_multi_scale_protocol() -> None:
    model, data = build(), samples([(32, 32)])
    options = {"scales": (1.0, 1.25, 1.5), "cam_scales": (1.0, 0.5, 1.5), "flip": True}
    assert_same(list(evaluate(model, data).cam), list(evaluate(model, data, **options).cam))


def test_batches_of_mixed_sizes_change_nothing() -> None:
    model, data = build(), samples()
    one, three = (evaluate(model, data, batch_size=size, **ONE_PASS) for size in (1, 3))
    assert named(one) == pytest.approx(named(three))


def test_images_may_be_resized_while_scores_stay_at_the_targets_size() -> None:
    model, data = build(), samples()
    square, pair = (
        evaluate(model, data, image_size=size, batch_size=3, **ONE_PASS) for size in (32, (32, 32))
    )
    assert named(square) == named(pair)
    # All pixels but the ignored first row of each image.
    assert square.segmentation.pixel_accuracy > 0
    metric = SegmentationMetrics(CLASSES)
    for sample in data:
        image = F.interpolate(normalised(model, sample.image), (32, 32), mode="bilinear")
        scores = model.predict(image, **{k: ONE_PASS[k] for k in ("scales", "flip")})
        height, width = sample.target.shape
        scores = F.interpolate(scores, (height, width), mode="bilinear")
        metric.update(scores.argmax(1), sample.target[None])
    assert square.prediction_miou == pytest.approx(metric.compute().miou, rel=0.02)


def test_one_scale_needs_one_forward_per_batch() -> None:
    model, seen = build(), []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[0]))
    evaluate(model, samples([(32, 32)] * 4), batch_size=2, **ONE_PASS)
    assert seen == [2, 2]


def test_cam_labels_are_restricted_to_present_classes() -> None:
    model, data = build(), samples([(32, 32)])
    nothing = [data[0]._replace(labels=torch.zeros(CLASSES))]
    result = evaluate(model, nothing, cam_threshold=0.0, **ONE_PASS)
    assert result.cam.iou[1:].nansum() == 0
    background = (data[0].target == 0).sum() / (data[0].target != 255).sum()
    assert result.cam.iou[0].item() == pytest.approx(background.item())


def test_several_thresholds_cost_no_further_pass() -> None:
    model, data, seen = build(), samples(), []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[0]))
    sweep = evaluate(model, data, cam_threshold=(0.3, 0.6), **ONE_PASS)
    assert len(seen) == 3
    for threshold in (0.3, 0.6):
        one = evaluate(model, data, cam_threshold=threshold, **ONE_PASS)
        assert sweep.cam_sweep[threshold] == (one.cam_miou, one.aux_cam_miou)
    assert sweep.cam_miou == sweep.cam_sweep[0.3][0]


def test_samples_without_a_mask_count_for_the_labels_only() -> None:
    model, data = build(), samples()
    partly = [data[0], data[1]._replace(target=None), data[2]]
    result, rest = evaluate(model, partly, **ONE_PASS), evaluate(model, partly[::2], **ONE_PASS)
    assert (result.images, result.without_target) == (3, 1)
    assert result.prediction_miou == rest.prediction_miou
    assert result.label_f1 == pytest.approx(evaluate(model, data, **ONE_PASS).label_f1)
    nothing = evaluate(model, [data[1]._replace(target=None)], **ONE_PASS)
    assert np.isnan(nothing.prediction_miou)
    assert not np.isnan(nothing.label_f1)


def test_teachers_and_wrapped_models_are_evaluated_as_they_are() -> None:
    model, data = build(), samples()
    expected = named(evaluate(model, data, **ONE_PASS))
    teacher = EMATeacher(model)
    for other in (teacher, teacher.module, torch.compile(model, backend="eager")):
        assert named(evaluate(other, data, **ONE_PASS)) == expected


def test_evaluation_is_free_of_drop_path_and_leaves_the_model_as_it_was() -> None:
    model = build(drop_path=0.8).train()
    model.decoder.eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    first, second = (named(evaluate(model, samples(), **ONE_PASS)) for _ in range(2))
    assert first == second
    assert [module.training for module in model.modules()] == modes
    assert_same(list(model.state_dict().values()), list(before.values()))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_model_comes_back_from_another_device(device: torch.device) -> None:
    model = build()
    on_cpu = named(evaluate(model, samples(), **ONE_PASS))
    there = named(evaluate(model, samples(), device=device, **ONE_PASS))
    assert there == pytest.approx(on_cpu, abs=0.02)
    assert next(model.parameters()).device.type == "cpu"


def test_other_types_and_other_normalisation_work() -> None:
    model, data = build().double(), samples()
    same = named(evaluate(model.float(), data, **ONE_PASS))
    assert named(evaluate(model.double(), data, **ONE_PASS)) == pytest.approx(same, abs=0.01)
    other = evaluate(model, data, mean=(0.0, 0.0, 0.0), std=(9.0, 9.0, 9.0), **ONE_PASS)
    assert named(other) != same


def test_max_images_stops_early_and_progress_is_told() -> None:
    model, data, told = build(), samples(), []
    result = evaluate(
        model, data, max_images=2, progress=lambda *numbers: told.append(numbers), **ONE_PASS
    )
    assert result.images == 2
    assert told == [(1, 2), (2, 2)]
    assert named(result) == named(evaluate(model, data[:2], **ONE_PASS))


def test_evaluation_draws_no_random_numbers() -> None:
    model = build()
    state = torch.random.get_rng_state()
    evaluate(model, samples(), **ONE_PASS)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_workers_read_the_same_images() -> None:
    model, data = build(), samples()
    assert named(evaluate(model, data, num_workers=1, **ONE_PASS)) == named(
        evaluate(model, data, **ONE_PASS)
    )


class _Broken:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        if index == 1:
            raise OSError("image1.jpg: truncated")
        return samples()[index]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_sample_is_named(workers: int) -> None:
    with pytest.raises(ValueError, match=r"sample 1 cannot be read: image1\.jpg: truncated"):
        evaluate(build(), _Broken(), num_workers=workers, **ONE_PASS)


def test_bad_arguments_raise_and_name_the_sample() -> None:
    model, (sample, *_) = build(), samples()
    assert sample.target is not None
    cases: list[tuple[Sample, str]] = [
        (sample._replace(labels=torch.zeros(2)), r"'image0'\): expected labels of shape \(3,\)"),
        (sample._replace(image=sample.image.convert("L")), "expected an RGB image, got mode 'L'"),
        (sample._replace(target=sample.target[:5]), r"expected a target of the image's size"),
        (
            sample._replace(target=torch.full_like(sample.target, 9)),
            r"'image0'\): target: expected labels in 0\.\.3 or 255, got 9",
        ),
    ]
    for bad, message in cases:
        with pytest.raises(ValueError, match=message):
            evaluate(model, [bad], **ONE_PASS)
    with pytest.raises(ValueError, match="dataset: expected at least one sample, got none"):
        evaluate(model, [], **ONE_PASS)
    with pytest.raises(TypeError, match="model: expected a SingleStageSegmenter, got Linear"):
        evaluate(nn.Linear(2, 2), [sample])
    options: list[tuple[dict[str, Any], str]] = [
        ({"cam_threshold": 1.5}, "cam_threshold: expected a number"),
        ({"cam_threshold": ()}, "cam_threshold: expected at least one"),
        ({"max_images": 0}, "max_images: expected a positive integer"),
        ({"batch_size": 0}, "batch_size: expected a positive integer"),
    ]
    for option, message in options:
        with pytest.raises(ValueError, match=message):
            evaluate(model, [sample], **(ONE_PASS | option))


def _evaluate_in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    result = evaluate(build(), samples(), **ONE_PASS)
    only_one = evaluate(build(), samples()[:1], **ONE_PASS)  # nothing for the second process
    each = [v.nan_to_num(-1.0).tolist() for v in (result.image_iou, result.image_certainty)]
    told = (named(result), result.images, named(only_one), each, result.confusion.tolist())
    torch.save(told, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_count_what_one_counts(tmp_path: Path) -> None:
    run_together(_evaluate_in_process, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first == second
    scores, images, of_one, (iou, certainty), confusion = first
    assert images == 3
    alone = evaluate(build(), samples(), **ONE_PASS)
    assert scores == pytest.approx(named(alone))
    assert iou == pytest.approx(alone.image_iou.tolist())
    assert certainty == pytest.approx(alone.image_certainty.tolist())
    assert confusion == alone.confusion.tolist()
    assert of_one == pytest.approx(named(evaluate(build(), samples()[:1], **ONE_PASS)))
