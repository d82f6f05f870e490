"""What an evaluation tells of every image, and of which class is taken for which."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fsr.cam import cam_to_labels
from fsr.data import Sample
from fsr.inference import evaluate
from fsr.metrics import SegmentationMetrics
from fsr.segmenter import SingleStageSegmenter
from tests.inference.test_inference import CLASSES, ONE_PASS, build, normalised, samples


def alone(prediction: torch.Tensor, sample: Sample) -> SegmentationMetrics:
    metrics = SegmentationMetrics(CLASSES)
    metrics.update(prediction, sample.target[None])
    return metrics


@pytest.mark.parametrize("size", [1, 3])
def test_every_image_has_its_iou_and_all_together_the_confusion(size: int) -> None:
    model, data = build(), samples()
    result = evaluate(model, data, batch_size=size, **ONE_PASS)
    pairs = [
        alone(model.predict(normalised(model, s.image), scales=(1.0,), flip=False).argmax(1), s)
        for s in data
    ]
    expected = [metrics.compute().miou for metrics in pairs]
    assert result.image_iou.tolist() == pytest.approx(expected, abs=2e-3)
    assert result.confusion.shape == (CLASSES + 1, CLASSES + 1)
    # Rows are the truth.
    truth = torch.stack([torch.bincount(s.target[1:].flatten(), minlength=4) for s in data])
    assert torch.equal(result.confusion.sum(1), truth.sum(0))
    miou = SegmentationMetrics(CLASSES)
    miou._add(result.confusion)
    assert miou.compute().miou == pytest.approx(result.prediction_miou)


def test_certainty_is_that_of_the_label_in_most_doubt() -> None:
    model, data = build(), samples([(32, 32)])
    result = evaluate(model, data, **ONE_PASS)
    with torch.no_grad():
        logits = model.eval()(normalised(model, data[0].image)).class_logits
    expected = (2 * logits.sigmoid() - 1).abs().min().item()
    assert result.image_certainty.tolist() == pytest.approx([expected], abs=1e-4)


def test_images_without_a_mask_have_a_certainty_alone() -> None:
    first, second, _ = samples()
    result = evaluate(build(), [first._replace(target=None), second], **ONE_PASS)
    assert result.image_iou.isnan().tolist() == [True, False]
    assert result.image_certainty.isfinite().all()


def test_without_a_decoder_the_map_that_is_scored_is_the_cam() -> None:
    torch.manual_seed(0)
    size: dict[str, Any] = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
    model = SingleStageSegmenter(
        CLASSES,
        "vit_tiny_patch16_224",
        image_size=32,
        heads={"segmentation": None},
        projection_dim=8,
        backbone_options=size,
    )
    (data,) = samples([(32, 32)])
    result = evaluate(model, [data], cam_threshold=[0.4, 0.2], **ONE_PASS)
    cam, _ = model.cam(normalised(model, data.image), scales=(1.0,), flip=False)
    found = alone(cam_to_labels(cam, data.labels[None], threshold=0.4), data)
    assert result.image_iou.tolist() == pytest.approx([found.compute().miou], abs=2e-3)
    assert (result.confusion - found.counts).abs().sum() <= 4  # a pixel on the threshold


def test_an_evaluation_that_was_interrupted_knows_the_images_before(tmp_path: Any) -> None:
    class Stops(list[Sample]):
        def __getitem__(self, index: Any) -> Any:
            if index == 2 and stop:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    data, state = Stops(samples()), tmp_path / "counts.safetensors"
    stop = True
    options = ONE_PASS | {"state": state, "save_every": 1}
    with pytest.raises(KeyboardInterrupt):
        evaluate(build(), data, **options)
    assert state.exists()
    stop = False
    result = evaluate(build(), data, **options)
    assert torch.equal(result.image_iou, evaluate(build(), data, **ONE_PASS).image_iou)
