"""Fixtures and small helpers shared by the tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from tests.processes import FORKED

# Several test processes share the cores: a process that took them all would slow every other, and
# so would the programs that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"

# Property tests run the same cases every time: a failure must be repeatable, and no test is timed.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")

PARITY = Path(__file__).parent / "parity"
Arrays = dict[str, NDArray[np.generic]]


def pytest_configure(config: pytest.Config) -> None:
    """Let xdist hand modules out in their order below; it would start with those of most tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put modules with slow tests first, so that no process waits for another in the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def forked_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pools of the dense CRF start processes that have loaded torch; they spawn theirs."""
    forked = SimpleNamespace(get_context=lambda method: FORKED)
    monkeypatch.setattr("fsr.refine._crf_pool.multiprocessing", forked)


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels are switched on and run in Triton's interpreter, on the CPU."""
    pytest.importorskip("triton", minversion="3.3")
    monkeypatch.setenv("FSR_TRITON", "1")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    # How a kernel runs is settled when its file is imported.
    forget_kernels()
    yield
    forget_kernels()


def forget_kernels() -> None:
    """Let files of kernels be imported anew."""
    for name in [name for name in sys.modules if name.startswith("fsr.")]:
        if name.endswith("_kernel"):
            room, _, last = name.rpartition(".")
            delattr(sys.modules[room], last)
            del sys.modules[name]


@pytest.fixture(scope="session")
def parity() -> Callable[[str], dict[str, torch.Tensor]]:
    """Load recorded arrays of the authors' released code by name, as tensors (strings left out)."""

    def load(name: str) -> dict[str, torch.Tensor]:
        with np.load(PARITY / f"{name}.npz", allow_pickle=False) as arrays:
            return {
                key: torch.from_numpy(np.array(arrays[key]))
                for key in arrays.files
                if arrays[key].dtype.kind != "U"
            }

    return load


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
        ),
    ]
)
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A device to compute on, in full float32 where a test asks for float32."""
    # Convolutions on GPUs round their input to 11 bits unless told otherwise: 5e-4 of a result,
    # where tests compare with another precision or device. Matrix products do not by default.
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield torch.device(request.param)
    finally:
        torch.backends.cudnn.allow_tf32 = before
