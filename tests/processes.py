"""Processes that tests start, forked from one that has loaded torch: its import takes seconds.

The server is a new interpreter that computes nothing; a process that it forks imports this package
itself. What must not find torch loaded starts an interpreter of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

ROOT = Path(__file__).resolve().parent.parent
# No optional package may be among them, and nothing of ours.
LOADED = ["torch", "torchvision", "timm", "pytest", "hypothesis"]
METHOD: Final = "forkserver"
FORKED = multiprocessing.get_context(METHOD)
FORKED.set_forkserver_preload(LOADED)


def run_together(function: Callable[..., None], *args: Any, processes: int = 2) -> None:
    """Call ``function(rank, *args)`` in several processes; an exception in one is raised here."""
    torch.multiprocessing.start_processes(function, args, nprocs=processes, start_method=METHOD)


def run_script(
    script: Path,
    *arguments: str,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    timeout: float = 900,
) -> CompletedProcess[str]:
    """Run a file as ``python FILE ARGUMENTS`` does, with this checkout on the path."""
    with TemporaryDirectory() as pipes:
        out, err = Path(pipes, "out"), Path(pipes, "err")
        argv = [str(script), *arguments]
        process = FORKED.Process(
            target=_run,
            args=(argv, folder, {**os.environ, **(environment or {})}, str(out), str(err)),
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
        assert process.exitcode is not None
        return CompletedProcess(argv, process.exitcode, out.read_text(), err.read_text())


def run_code(code: str, *, folder: Path = ROOT) -> CompletedProcess[str]:
    """Run code as ``python -c CODE`` does, with this checkout on the path."""
    with TemporaryDirectory() as place:
        script = Path(place, "code.py")
        script.write_text(code, encoding="utf-8")
        return run_script(script, folder=folder)


def _run(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str], out: str, err: str
) -> None:
    """Become the script: streams, folder, path and arguments are those of a new program."""
    for name, stream in ((out, 1), (err, 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if "OMP_NUM_THREADS" in environment:  # torch reads it when it is loaded, which it is
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.argv = list(argv)
    # Not what pytest put there for itself, such as the folder of the benchmarks.
    others = [path for path in sys.path if Path(path) not in (ROOT, ROOT / "benchmarks", Path())]
    sys.path[:] = [str(Path(argv[0]).parent), str(ROOT), *others]
    runpy.run_path(argv[0], run_name="__main__")
