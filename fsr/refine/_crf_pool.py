"""Dense CRFs in several processes, in order and in bounded memory."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr._core.checks import check_between, check_positive_int

CRF = Callable[[NDArray[np.uint8], NDArray[np.float32]], Tensor]

# What every worker holds, set once when it starts.
_worker: dict[str, CRF] = {}


class CRFPool:
    """Run a dense CRF in worker processes; results come in order, while the caller goes on.

    Processes are spawned, not forked, so a pool may be opened after torch has started threads or a
    GPU. A script that opens one needs the usual ``if __name__ == "__main__"``.

    Args:
        crf: such as :class:`fsr.refine.DenseCRF`; it must be picklable, and is called with arrays.
        workers: number of processes; by default one per core. 0 runs in this one.
        max_pending: images that may wait or be at work at once, which bounds the memory; by
            default twice the workers.

    Raises:
        TypeError: a number is no integer.
        ValueError: a number is out of range.

    Example:
        >>> image = np.zeros((2, 2, 3), np.uint8)
        >>> halves = torch.full((2, 2, 2), 0.5)
        >>> with CRFPool(lambda image, probabilities: torch.from_numpy(probabilities), 0) as pool:
        ...     [result.shape for result in pool.map([(image, halves)])]
        [torch.Size([2, 2, 2])]
    """

    def __init__(
        self, crf: CRF, workers: int | None = None, *, max_pending: int | None = None
    ) -> None:
        workers = _cores() if workers is None else workers
        if isinstance(workers, bool) or not isinstance(workers, int):
            raise TypeError(f"workers: expected an integer, got {workers!r}")
        check_between("workers", workers, 0, float("inf"))
        self.crf = crf
        self.workers = workers
        self.max_pending = max(2 * self.workers, 1) if max_pending is None else max_pending
        check_positive_int("max_pending", self.max_pending)
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> CRFPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; what has not begun is dropped."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def map(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[Tensor]:
        """Refine a stream of images.

        The stream is read only as far as ``max_pending`` allows, in this process.

        Args:
            pairs: image ``(height, width, 3)`` uint8 and probabilities ``(C + 1, height, width)``,
                arrays or tensors.

        Yields:
            Marginals ``(C + 1, height, width)`` on the CPU, in the order of the stream.

        Raises:
            RuntimeError: a worker died, or the CRF raised; the message has the image's position.
        """
        if self.workers == 0:
            for position, pair in enumerate(pairs):
                yield _result(position, lambda pair=pair: self.crf(*_arrays(*pair)))  # type: ignore[misc]
            return
        pending: deque[tuple[int, Future[NDArray[np.float32]]]] = deque()
        try:
            for position, pair in enumerate(pairs):
                pending.append((position, self._submit(position, pair, pending)))
                # Before the next pair is drawn, so that no more are held than may wait.
                if len(pending) >= self.max_pending:
                    yield self._next(pending)
            while pending:
                yield self._next(pending)
        finally:
            for _, future in pending:
                future.cancel()

    def _submit(
        self,
        position: int,
        pair: tuple[Any, Any],
        pending: deque[tuple[int, Future[NDArray[np.float32]]]],
    ) -> Future[NDArray[np.float32]]:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=(self.crf,),
            )
        try:
            return self._executor.submit(_work, *_arrays(*pair))
        except BrokenProcessPool as error:
            raise self._died(pending[0][0] if pending else position) from error

    def _next(self, pending: deque[tuple[int, Future[NDArray[np.float32]]]]) -> Tensor:
        position, future = pending.popleft()
        try:
            return _result(position, lambda: torch.from_numpy(future.result()))
        except BrokenProcessPool as error:
            raise self._died(position) from error

    def _died(self, position: int) -> RuntimeError:
        self.close()
        return RuntimeError(
            f"dense CRF: a worker process died at image {position} or one of the "
            f"{self.max_pending - 1} after it; if memory ran out, use fewer workers (now "
            f"{self.workers}), smaller images or min_probability; a script needs "
            "if __name__ == '__main__'"
        )


def _result(position: int, make: Callable[[], Tensor]) -> Tensor:
    """Return a result; an error gets the image's position."""
    try:
        return make()
    except BrokenProcessPool:
        raise
    except Exception as error:
        raise RuntimeError(
            f"dense CRF: image {position}: {type(error).__name__}: {error}"
        ) from error


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _arrays(image: Any, probabilities: Any) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return arrays: tensors would be sent as open files, of which there are few."""
    pixels = image.cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if isinstance(probabilities, Tensor):
        probabilities = probabilities.detach().float().cpu().numpy()
    return pixels, np.asarray(probabilities, dtype=np.float32)


def _begin(crf: CRF) -> None:
    """Start a worker: one core each, and the CRF."""
    torch.set_num_threads(1)
    _worker["crf"] = crf


def _work(image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Refine one image in a worker."""
    refined: NDArray[np.float32] = _worker["crf"](image, probabilities).numpy()
    return refined
