"""What a dense CRF, a reader or the network refuses: told by name, and the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr.data import Sample
from fsr.errors import DataError
from fsr.inference import (
    EvaluationResult,
    evaluate,
    export_pseudo_labels,
    predict_paths,
    result_to_dict,
)
from fsr.inference._crf_stream import refined
from fsr.inference._item import Item
from fsr.refine import CRFPool
from fsr.segmenter import SingleStageSegmenter
from tests.helpers import assert_same
from tests.inference.test_evaluation_options import EVERYTHING, NAMES, Broken
from tests.inference.test_inference import ONE_PASS, build, samples
from tests.inference.test_predict import ONCE, write_images

REFUSED = (29, 35)
SIZES = ((32, 40), REFUSED, (32, 40), (24, 32), (33, 33))


class Picky:
    """A CRF that refuses images of one size, and sharpens the others."""

    def __call__(self, image: Any, probabilities: Any) -> Tensor:
        if tuple(image.shape[:2]) == REFUSED:
            raise ValueError(f"image: {REFUSED} is too much")
        squared = torch.as_tensor(probabilities) ** 2
        return squared / squared.sum(0)


class Ahead:
    """A stream of it that takes pairs before it gives results."""

    def __init__(self, ahead: int) -> None:
        self.crf = Picky()
        self.ahead = ahead

    def map(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[Tensor]:
        waiting: list[Tensor] = []
        for pair in pairs:
            waiting.append(self.crf(*pair))
            if len(waiting) > self.ahead:
                yield waiting.pop(0)
        yield from waiting


CRFS: dict[str, Callable[[], Any]] = {
    "function": Picky,
    "pool in this process": lambda: CRFPool(Picky(), 0),
    "stream": lambda: Ahead(0),
    "stream two ahead": lambda: Ahead(2),
    "stream that takes all first": lambda: Ahead(100),
}
every_crf = pytest.mark.parametrize("crf", CRFS.values(), ids=CRFS)


@pytest.fixture(scope="module")
def model() -> SingleStageSegmenter:
    return build()


def plain(result: EvaluationResult) -> str:
    content = result_to_dict(result, NAMES)
    return json.dumps(content | {"skipped": None}, sort_keys=True)


def good(data: list[Sample]) -> list[Sample]:
    return [data[index] for index in (0, 2, 3, 4)]


# -- evaluation -----------------------------------------------------------------------------------


@every_crf
def test_an_image_that_the_crf_refuses_counts_for_no_score(
    model: SingleStageSegmenter, crf: Callable[[], Any]
) -> None:
    data, told = samples(SIZES), []
    result = evaluate(
        model, data, crf=crf(), on_error="skip", progress=lambda *n: told.append(n), **EVERYTHING
    )
    assert plain(result) == plain(evaluate(model, good(data), crf=Picky(), **EVERYTHING))
    assert result.skipped == (1,)
    assert result.failed == (
        "dataset: sample 1 ('image1'): dense CRF: ValueError: image: (29, 35) is too much",
    )
    assert told == [(done, 5) for done in range(1, 6)]


@every_crf
def test_an_evaluation_stops_at_an_image_that_the_crf_refuses(
    model: SingleStageSegmenter, crf: Callable[[], Any]
) -> None:
    message = r"dataset: sample 1 \('image1'\): dense CRF: ValueError: image: \(29, 35\) is too"
    with pytest.raises(DataError, match=message) as caught:
        evaluate(model, samples(SIZES), crf=crf(), **ONE_PASS)
    assert "in __call__" in str(caught.value.__cause__)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_pools")
def test_processes_that_refuse_an_image_do_the_others(model: SingleStageSegmenter) -> None:
    data = samples(SIZES)
    with CRFPool(Picky(), 2) as pool:
        result = evaluate(model, data, crf=pool, on_error="skip", **ONE_PASS)
    assert plain(result) == plain(evaluate(model, good(data), crf=Picky(), **ONE_PASS))
    assert result.failed == (
        "dataset: sample 1 ('image1'): dense CRF: ValueError: image: (29, 35) is too much",
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_reader_refuses_is_named_with_its_traceback(
    model: SingleStageSegmenter, workers: int
) -> None:
    with pytest.raises(DataError, match="sample 1 cannot be read") as caught:
        evaluate(model, Broken(bad=(1,)), num_workers=workers, **ONE_PASS)
    assert "OSError: 1.jpg: truncated" in str(caught.value.__cause__)
    result = evaluate(model, Broken(bad=(1, 4)), num_workers=workers, on_error="skip", **ONE_PASS)
    assert result.failed == (
        "dataset: sample 1 cannot be read: 1.jpg: truncated",
        "dataset: sample 4 cannot be read: 4.jpg: truncated",
    )


def test_reasons_survive_an_interruption(model: SingleStageSegmenter, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        **EVERYTHING,
        "crf": Picky(),
        "on_error": "skip",
        "state": tmp_path / "counts.safetensors",
        "save_every": 2,
    }
    expected = evaluate(model, Broken(), **{**options, "state": None})
    assert expected.skipped == (1,)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, Broken(stop_at=3), **options)
    read: list[int] = []

    class Watched(Broken):
        def __getitem__(self, index: int) -> Sample:
            read.append(index)
            return super().__getitem__(index)

    again = evaluate(model, Watched(), **options)
    assert read == [2, 3, 4]
    assert plain(again) == plain(expected)
    assert (again.skipped, again.failed) == (expected.skipped, expected.failed)


# -- prediction -----------------------------------------------------------------------------------


@every_crf
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_file_that_the_crf_refuses_is_told_and_the_others_go_on(
    tmp_path: Path, crf: Callable[[], Any], batch_size: int
) -> None:
    paths = write_images(tmp_path, SIZES)
    (tmp_path / "02b.png").write_bytes(b"no image")
    model, told = build(), []
    options: dict[str, Any] = {**ONCE, "batch_size": batch_size, "probabilities": True}
    found = {
        result.path: result
        for result in predict_paths(
            model, tmp_path, crf=crf(), progress=lambda *n: told.append(n), **options
        )
    }
    assert sorted(found) == sorted([*paths, tmp_path / "02b.png"])
    refused = found.pop(paths[1])
    assert (refused.labels, refused.probabilities) == (None, None)
    assert refused.error == f"{paths[1]}: dense CRF: ValueError: image: (29, 35) is too much"
    unread = found.pop(tmp_path / "02b.png").error
    assert unread is not None
    assert unread.startswith(f"{tmp_path / '02b.png'}: cannot be read as an image")
    rest = [path for path in paths if path != paths[1]]
    for expected in predict_paths(model, rest, crf=Picky(), **options):
        # Batches are of other images there, and a product may be summed in another order.
        found_here = found[expected.path].probabilities
        assert_same(found_here, expected.probabilities, rtol=1e-5, atol=1e-6)
        assert found[expected.path].error is None
    assert told == [(done, 6) for done in range(1, 7)]


def test_a_network_that_gives_nan_is_told_with_the_file(tmp_path: Path) -> None:
    model = build()
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(torch.nan)
    (path,) = write_images(tmp_path, [(16, 16)])
    (result,) = predict_paths(model, tmp_path, crf=Picky(), **ONCE)
    assert result.error == (
        f"{path}: the network gives NaN or infinity; mend its weights or leave autocast out"
    )


# -- export ---------------------------------------------------------------------------------------


@every_crf
@pytest.mark.parametrize("source", [{}, {"source": "cam", "threshold": 0.4}], ids=["pred", "cam"])
def test_a_sample_that_the_crf_refuses_gets_no_mask_and_the_others_do(
    model: SingleStageSegmenter,
    tmp_path: Path,
    crf: Callable[[], Any],
    source: dict[str, Any],
) -> None:
    data = samples(SIZES)
    options: dict[str, Any] = {**ONE_PASS, **source}
    result = export_pseudo_labels(
        model, data, tmp_path / "a", crf=crf(), on_error="skip", batch_size=2, **options
    )
    assert (result.written, result.kept) == (4, 0)
    assert result.failed == (
        "dataset: sample 1 ('image1'): dense CRF: ValueError: image: (29, 35) is too much",
    )
    assert "image1" not in (tmp_path / "a/ImageSets/Segmentation/train.txt").read_text()
    export_pseudo_labels(model, good(data), tmp_path / "b", crf=Picky(), batch_size=2, **options)
    masks = [
        {path.name: path.read_bytes() for path in (tmp_path / out / "SegmentationClass").iterdir()}
        for out in ("a", "b")
    ]
    assert masks[0] == masks[1]
    assert len(masks[0]) == 4


def test_an_export_stops_at_a_sample_that_the_crf_refuses(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"sample 1 \('image1'\): dense CRF: ValueError: image"):
        export_pseudo_labels(model, samples(SIZES), tmp_path, crf=Picky(), **ONE_PASS)
    assert [path.stem for path in (tmp_path / "SegmentationClass").iterdir()] == ["image0"]


# -- the stream -----------------------------------------------------------------------------------


def items(count: int, broken: int | None = None) -> Iterator[Item]:
    for number in range(count):
        if number == broken:
            raise RuntimeError("the network is out of memory")
        pixels, maps = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.full((2, 2, 2), 0.5)
        yield Item(number, f"image {number}", pixels=pixels, probabilities=maps)


@pytest.mark.parametrize("crf", [Picky(), Ahead(0), Ahead(2)])
def test_errors_of_the_network_are_no_refusals(crf: Any) -> None:
    with pytest.raises(RuntimeError, match="the network is out of memory"):
        list(refined(items(4, broken=2), crf))


class Dying:
    """A pool whose processes die at the second image, or whenever it is asked again."""

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone

    def map(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[Tensor]:
        if self.alone and isinstance(pairs, list):
            raise RuntimeError("a worker process died") from BrokenProcessPool()
        for position, (_, maps) in enumerate(pairs):
            if position == 1:
                cause = ValueError("refused") if self.alone else BrokenProcessPool()
                raise RuntimeError("a worker process died") from cause
            yield maps


@pytest.mark.parametrize("alone", [False, True])
def test_no_image_answers_for_a_process_that_dies(alone: bool) -> None:
    with pytest.raises(RuntimeError, match="a worker process died"):
        list(refined(items(4), Dying(alone=alone)))


class Mute:
    """A stream that cannot begin, or that ends too soon."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def map(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[Tensor]:
        if self.error is not None:
            raise self.error
        for _ in pairs:
            pass
        return iter(())


def test_streams_that_do_not_work_at_all_are_not_begun_for_ever() -> None:
    with pytest.raises(OSError, match="closed"):
        list(refined(items(3), Mute(OSError("closed"))))
    with pytest.raises(RuntimeError, match="crf: expected a result of map for every image"):
        list(refined(items(3), Mute(None)))


def test_images_are_given_as_arrays_where_that_is_the_form() -> None:
    seen: list[type] = []

    def crf(image: Any, probabilities: Tensor) -> Tensor:
        seen.append(type(image))
        return probabilities

    list(refined(items(1), crf))
    list(refined(items(1), crf, arrays=True))
    assert seen == [Tensor, np.ndarray]
