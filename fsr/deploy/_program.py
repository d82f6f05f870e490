"""A network as a program of ``torch.export``, loaded and compared before the file appears."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fsr._core.files import whole_file
from fsr.deploy._network import DeployedSegmenter
from fsr.deploy._told import METADATA, metadata_of
from fsr.deploy._traced import Exported, compare, first_line, record
from fsr.errors import ExportError
from fsr.segmenter import SingleStageSegmenter

SAME = 1e-6  # the operations are the network's own


def export_program(
    model: SingleStageSegmenter, path: str | Path, *, outputs: Sequence[str] | None = None
) -> Exported:
    """Write a network as a program of ``torch.export``, which runs without this package.

    ``torch.export.load(path).module()`` takes images ``(batch, 3, height, width)``, normalised, in
    any number and of any size of at least two by two patches that the patch divides, and returns a
    tuple of maps. What to know besides is the extra file ``fsr``, JSON: see :func:`metadata_of`.
    The file is loaded and compared with the network before it takes its place.

    Args:
        model: the segmenter; it is left as it was.
        path: file to write, ``.pt2``; it appears whole or not at all.
        outputs: as of :class:`DeployedSegmenter`.

    Returns:
        The file and how far it differs.

    Raises:
        ExportError: the network cannot be recorded, or the file differs.
        OutputError: the file cannot be written.
        TypeError: ``model`` is no segmenter, or ``outputs`` no list.
        ValueError: there is no such output.
    """
    path = Path(path).expanduser()
    network = DeployedSegmenter(model, outputs)
    recorded = record(network)
    told = {METADATA: json.dumps({**metadata_of(model), "outputs": network.outputs})}
    with whole_file(path) as draft:
        # The name of a draft has no ending, of which torch would remark.
        with draft.open("wb") as file:
            torch.export.save(recorded, file, extra_files=told)
        difference, sizes = compare(network, _loaded(draft), str(path), SAME)
    return Exported(path, difference, sizes)


def _loaded(path: Path) -> Any:
    """Load a program that was written."""
    try:
        with path.open("rb") as file:
            return torch.export.load(file).module()
    except Exception as error:  # torch 2.6 writes some programs that it cannot read
        raise ExportError(
            f"model: torch {torch.__version__} cannot load what it wrote of this network "
            f"({first_line(error)}); a later release of torch may"
        ) from error
