"""Evaluation beyond plain scores: sweep, pseudo labels, dense CRF, boundaries, interruptions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr.data import Sample
from fsr.inference import (
    EvaluationResult,
    PseudoLabelOptions,
    evaluate,
    result_table,
    result_to_dict,
)
from fsr.metrics import SegmentationMetrics, TrimapMetrics
from fsr.refine import PAR, pseudo_labels
from tests.helpers import assert_same
from tests.inference.test_inference import CLASSES, ONE_PASS, build, normalised, samples
from tests.processes import run_together

NAMES = ("cat", "dog", "cow")
EVERYTHING: dict[str, Any] = {
    **ONE_PASS,
    "cam_threshold": (0.5, 0.3, 0.7),
    "pseudo": PseudoLabelOptions(PAR(2, (1, 2)), 0.3, 0.6),
    "trimap_widths": (1, 3),
}


def invert(image: np.ndarray, probabilities: Tensor) -> Tensor:
    """A stand-in for a CRF: the least probable class wins; checks what it is given."""
    assert image.dtype == np.uint8
    assert image.shape == (*probabilities.shape[1:], 3)
    torch.testing.assert_close(probabilities.sum(0), torch.ones(image.shape[:2]))
    return 1 - probabilities


class Stream:
    """A CRF that works on a stream, two images behind."""

    def __init__(self) -> None:
        self.crf = invert

    def map(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[Tensor]:
        waiting: list[Tensor] = []
        for pair in pairs:
            waiting.append(self.crf(*pair))
            if len(waiting) > 2:
                yield waiting.pop(0)
        yield from waiting


class Broken:
    """Samples of which some cannot be read, or that stop everything once."""

    names = ("a", "b", "c", "d", "e")

    def __init__(self, bad: tuple[int, ...] = (), stop_at: int | None = None) -> None:
        self.samples = samples(((32, 40), (29, 35), (32, 40), (24, 32), (33, 33)))
        self.bad = bad
        self.stop_at = stop_at

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        if index == self.stop_at:
            raise KeyboardInterrupt
        if index in self.bad:
            raise OSError(f"{index}.jpg: truncated")
        return self.samples[index]

    def __repr__(self) -> str:
        return "Broken()"


def plain(result: EvaluationResult) -> str:
    return json.dumps(result_to_dict(result, NAMES), sort_keys=True)


def test_one_pass_gives_what_separate_passes_by_hand_give() -> None:
    model, data = build(), samples()
    result = evaluate(model, data, crf=invert, **EVERYTHING)
    crf, pseudo = SegmentationMetrics(CLASSES), SegmentationMetrics(CLASSES)
    trimap = TrimapMetrics(CLASSES, (1, 3))
    decided, counted = 0, 0
    for sample in data:
        image, labels, target = normalised(model, sample.image), sample.labels, sample.target
        assert target is not None
        maps = model.predict(image, scales=(1.0,), flip=False)[0]
        crf.update((1 - maps).argmax(0), target)
        trimap.update(maps.argmax(0), target)
        cam, _ = model.cam(image, scales=(1.0,), flip=False)
        pixels = torch.from_numpy(np.asarray(sample.image).copy()).permute(2, 0, 1)[None] / 255
        made = pseudo_labels(PAR(2, (1, 2)), pixels, cam, labels[None], low=0.3, high=0.6)[0]
        known = (made != 255) & (target != 255)
        decided, counted = decided + int(known.sum()), counted + int((target != 255).sum())
        pseudo.update(made.masked_fill(made == 255, 0), target.masked_fill(made == 255, 255))
    assert_same(result.segmentation_crf, crf.compute())
    assert_same(result.pseudo_label, pseudo.compute(), rtol=1e-3, atol=1e-3)
    assert result.pseudo_label_decided == pytest.approx(decided / counted, abs=2e-3)
    assert result.trimap["segmentation"] == trimap.compute()
    assert set(result.trimap) == {"segmentation", "segmentation_crf"}
    for threshold, scores in result.cam_sweep.items():
        alone = evaluate(model, data, cam_threshold=threshold, **ONE_PASS)
        assert scores == (alone.cam_miou, alone.aux_cam_miou)


def test_a_stream_counts_as_single_calls_do() -> None:
    model, data = build(), samples()
    one = evaluate(model, data, crf=invert, batch_size=2, **EVERYTHING)
    many = evaluate(model, data, crf=Stream(), **EVERYTHING)
    assert plain(one) == plain(many)


def test_several_scales_give_a_crf_probabilities() -> None:
    options = {"scales": (1.0, 1.5), "cam_scales": (1.0,), "flip": True}
    result = evaluate(build(), samples(), crf=invert, **options)
    assert result.segmentation_crf is not None


def test_a_bad_sample_raises_or_is_skipped_and_listed() -> None:
    model, data = build(), Broken(bad=(1, 3))
    with pytest.raises(ValueError, match=r"sample 1 cannot be read: 1\.jpg: truncated"):
        evaluate(model, data, **ONE_PASS)
    result = evaluate(model, data, on_error="skip", batch_size=3, **ONE_PASS)
    assert result.skipped == (1, 3)
    assert result.images == 3
    good = evaluate(model, [data.samples[i] for i in (0, 2, 4)], **ONE_PASS)
    assert_same(result.segmentation, good.segmentation)
    assert "WARNING: 2 samples could not be used" in result_table(result, NAMES)
    with pytest.raises(ValueError, match="on_error: expected"):
        evaluate(model, data, on_error="ignore", **ONE_PASS)


def test_labels_out_of_range_are_skipped_before_anything_is_counted() -> None:
    model, data = build(), samples()
    target = data[1].target
    assert target is not None
    wrong = [data[0], data[1]._replace(target=target.masked_fill(target == 1, 7)), data[2]]
    result = evaluate(model, wrong, on_error="skip", **ONE_PASS)
    good = evaluate(model, [data[0], data[2]], **ONE_PASS)
    assert result.skipped == (1,)
    assert_same(result.labels, good.labels)


def test_an_interrupted_evaluation_goes_on_exactly(tmp_path: Path) -> None:
    model, path = build(), tmp_path / "counts.safetensors"
    options = {"crf": invert, "state": path, "save_every": 2, **EVERYTHING}
    expected = evaluate(model, Broken(), crf=invert, **EVERYTHING)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, Broken(stop_at=3), **options)
    assert path.is_file()
    calls: list[tuple[int, int]] = []
    result = evaluate(model, Broken(), progress=lambda *c: calls.append(c), **options)
    assert plain(result) == plain(expected)
    assert calls[0] == (3, 5)
    assert not path.exists()


def test_counts_of_another_evaluation_are_refused(tmp_path: Path) -> None:
    model, path = build(), tmp_path / "counts.safetensors"
    options: dict[str, Any] = {"state": path, "save_every": 2}
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, Broken(stop_at=3), **options, **ONE_PASS)
    with pytest.raises(ValueError, match="counts of another evaluation"):
        evaluate(model, Broken(), **options, **{**ONE_PASS, "flip": True})
    with torch.no_grad():
        model.classifier.weight.add_(1.0)
    with pytest.raises(ValueError, match="counts of another evaluation"):
        evaluate(model, Broken(), **options, **ONE_PASS)
    path.write_bytes(b"no such file")
    with pytest.raises(ValueError, match="no counts of an evaluation"):
        evaluate(model, Broken(), **options, **ONE_PASS)


def _in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    data = Broken(bad=(2,))
    result = evaluate(build(), data, crf=invert, on_error="skip", **EVERYTHING)
    Path(folder, f"{rank}.json").write_text(plain(result))
    torch.distributed.destroy_process_group()


def test_two_processes_agree_exactly_with_one(tmp_path: Path) -> None:
    run_together(_in_process, str(tmp_path))
    one = evaluate(build(), Broken(bad=(2,)), crf=invert, on_error="skip", **EVERYTHING)
    for rank in range(2):
        assert (tmp_path / f"{rank}.json").read_text() == plain(one)


def test_the_report_has_no_nan_and_names_every_class() -> None:
    result = evaluate(build(), samples(((32, 40),)), **EVERYTHING)
    content = json.loads(json.dumps(result_to_dict(result, NAMES), allow_nan=False))
    assert list(content["segmentation"]["iou"]) == ["background", *NAMES]
    assert len(content["cam_sweep"]) == 3
    table = result_table(result, NAMES)
    assert "best CAM threshold" in table
    assert "near boundaries: 1 px" in table
    without = [sample._replace(target=None) for sample in samples()]
    nothing = result_to_dict(evaluate(build(), without, **ONE_PASS), NAMES)
    assert nothing["segmentation"]["miou"] is None
    assert nothing["without_mask"] == 3


def test_a_table_without_masks_says_nothing_of_scores_that_there_are_none_of() -> None:
    without = [sample._replace(target=None) for sample in samples(((32, 40),))]
    lines = result_table(evaluate(build(), without, **EVERYTHING), NAMES).splitlines()
    assert not [line for line in lines if re.search(r"\bnan\b", line)]
    assert not [line for line in lines if line.startswith(("best", "pseudo labels decide"))]
    assert [line.split()[-1] for line in lines if line.startswith("mIoU")] == ["-"]


def test_thresholds_are_given_once() -> None:
    with pytest.raises(ValueError, match="cam_threshold: expected each once"):
        evaluate(build(), samples(), cam_threshold=(0.5, 0.5), **ONE_PASS)
    with pytest.raises(ValueError, match="cam_threshold: expected at least one"):
        evaluate(build(), samples(), cam_threshold=(), **ONE_PASS)
