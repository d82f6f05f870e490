"""When Triton's kernels are used: asked for, on a GPU or interpreted, and installed."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fsr._core.kernel_switch import kernels_wanted
from tests.processes import run_code

CPU: Any = torch.zeros(1)
GPU: Any = SimpleNamespace(device=torch.device("cuda"))


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv("FSR_TRITON", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def test_kernels_are_off_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not kernels_wanted(GPU)
    for value, wanted in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv("FSR_TRITON", value)
        assert kernels_wanted(GPU) is wanted
        assert not kernels_wanted(CPU)


def test_only_the_interpreter_runs_them_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert not kernels_wanted(CPU)
    monkeypatch.setenv("FSR_TRITON", "1")
    assert kernels_wanted(CPU)
    assert not kernels_wanted(torch.zeros(1, device="meta"))


def test_compiled_code_does_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSR_TRITON", "1")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not kernels_wanted(GPU)


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSR_TRITON", "yes")
    with pytest.raises(ValueError, match="FSR_TRITON: expected 0 or 1 in the environment, got"):
        kernels_wanted(CPU)


def test_without_triton_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not kernels_wanted(GPU)
    monkeypatch.setenv("FSR_TRITON", "1")
    assert not kernels_wanted(CPU)
    message = "FSR_TRITON=1 needs the package 'triton', .* install it, or set FSR_TRITON=0"
    with pytest.raises(ImportError, match=message):
        kernels_wanted(GPU)


def test_files_of_kernels_can_be_imported_without_triton_and_nothing_else_imports_it() -> None:
    done = run_code(
        "import sys\n"
        "import fsr, fsr.losses, fsr.refine, fsr.filters\n"
        "assert not [n for n in sys.modules if n.startswith('fsr.') and n.endswith('_kernel')]\n"
        "sys.modules['triton'] = None\n"
        "import fsr.filters._gaussian_kernel, fsr.refine._affinity_kernel\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
