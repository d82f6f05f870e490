"""Dense CRFs in worker processes: order, bounded memory, and what happens when one fails."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr.refine import CRFPool, DenseCRF

Pair = tuple[np.ndarray, Tensor]


def pairs(count: int, drawn: list[int] | None = None) -> Iterator[Pair]:
    for number in range(count):
        if drawn is not None:
            drawn.append(number)
        image = np.full((3, 4, 3), number, np.uint8)
        yield image, torch.full((2, 3, 4), 0.5)


def marked(image: np.ndarray, probabilities: np.ndarray) -> Tensor:
    """Say which image it was, from which process with how many threads."""
    result = torch.from_numpy(probabilities.copy())
    result[0, 0, 0] = float(image[0, 0, 0])
    result[0, 0, 1] = float(torch.get_num_threads())
    result[0, 0, 2] = float(os.getpid() % 1000)
    return result


def failing(image: np.ndarray, probabilities: np.ndarray) -> Tensor:
    if image[0, 0, 0] == 2:
        raise ValueError("cannot do this one")
    return torch.from_numpy(probabilities.copy())


def dying(image: np.ndarray, probabilities: np.ndarray) -> Tensor:
    if image[0, 0, 0] == 1:
        os._exit(9)
    return torch.from_numpy(probabilities.copy())


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_and_bounded(workers: int) -> None:
    drawn: list[int] = []
    with CRFPool(marked, workers, max_pending=3) as pool:
        for number, result in enumerate(pool.map(pairs(9, drawn))):
            assert result[0, 0, 0] == number
            assert len(drawn) <= number + 3
            if workers:
                assert result[0, 0, 1] == 1
                assert result[0, 0, 2] != os.getpid() % 1000
    assert drawn == list(range(9))


@pytest.mark.usefixtures("forked_pools")
def test_a_pool_gives_what_single_calls_give() -> None:
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (6, 7, 3), generator=draw, dtype=torch.uint8)
    probabilities = torch.rand(3, 6, 7, generator=draw).softmax(0)
    crf = DenseCRF(backend="torch", iterations=3)
    with CRFPool(crf, 1) as pool:
        (result,) = pool.map([(image, probabilities)])
        again = list(pool.map([(image, probabilities)] * 2))
    torch.testing.assert_close(result, crf(image, probabilities))
    assert len(again) == 2


@pytest.mark.usefixtures("forked_pools")
@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_names_the_image(workers: int) -> None:
    with (
        CRFPool(failing, workers) as pool,
        pytest.raises(RuntimeError, match="image 2: ValueError: cannot do this one"),
    ):
        list(pool.map(pairs(4)))


@pytest.mark.usefixtures("forked_pools")
def test_a_dead_worker_is_an_error_and_no_hang() -> None:
    with (
        CRFPool(dying, 1, max_pending=2) as pool,
        pytest.raises(RuntimeError, match=r"a worker process died at image \d.*fewer workers"),
    ):
        list(pool.map(pairs(5)))


@pytest.mark.usefixtures("forked_pools")
def test_a_stream_may_be_left_early() -> None:
    with CRFPool(marked, 1) as pool:
        stream = pool.map(pairs(50))
        assert next(stream)[0, 0, 0] == 0
        stream.close()  # type: ignore[attr-defined]


def test_bad_numbers_are_named() -> None:
    with pytest.raises(TypeError, match="workers: expected an integer"):
        CRFPool(marked, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="workers: expected"):
        CRFPool(marked, -1)
    with pytest.raises(ValueError, match="max_pending: expected"):
        CRFPool(marked, 1, max_pending=0)
