"""Kernels compiled for a GPU that need not be there: what the interpreter does not refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def compiled_for_a_gpu(
    kernel: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, **arguments: Any
) -> str:
    """Compile a kernel for compute capability 9.0, down to machine code; return its assembly.

    Arguments are types, such as ``"*fp32"``, or values of constants. Files go to a folder.
    """
    triton = pytest.importorskip("triton", minversion="3.3")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(folder))
    signature = {
        name: value if isinstance(value, str) else "constexpr" for name, value in arguments.items()
    }
    constants = {name: arguments[name] for name, kind in signature.items() if kind == "constexpr"}
    source = ASTSource(kernel, signature=signature, constexprs=constants)
    assembly: str = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    return assembly
