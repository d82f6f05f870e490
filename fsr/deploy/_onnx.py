"""A network as ONNX, compared with PyTorch before the file appears."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fsr._core.checks import check_between
from fsr._core.files import whole_file
from fsr._core.optional import import_extra
from fsr.deploy._network import DeployedSegmenter
from fsr.deploy._told import METADATA, metadata_of
from fsr.deploy._traced import TOLERANCE, Exported, compare, first_line, record
from fsr.errors import ExportError
from fsr.segmenter import SingleStageSegmenter

_AXES = ("batch", None, "height", "width")
_MOST_BYTES = 2**31 - 2**20  # of a protocol buffer, less what is no weight


def export_onnx(
    model: SingleStageSegmenter,
    path: str | Path,
    *,
    outputs: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a network as ONNX, for any number of images of any size that the patch divides.

    Images have at least two patches along each side. The input is ``images``, ``(batch, 3, height,
    width)``, normalised; the outputs are named as ``outputs`` are. What to know besides stands in
    the file's metadata as JSON, under ``fsr``: see :func:`metadata_of`. The file is run by
    onnxruntime on images of three sizes and compared with the network before it takes its place.

    Args:
        model: the segmenter; it is left as it was.
        path: file to write; it appears whole or not at all.
        outputs: as of :class:`DeployedSegmenter`.
        tolerance: largest difference of any probability or CAM score that is let pass.

    Returns:
        The file and how far it differs.

    Raises:
        ExportError: the network cannot be recorded, is too large for one file, or the file differs.
        ImportError: onnx, onnxscript or onnxruntime is not installed (extra ``onnx``).
        OutputError: the file cannot be written.
        TypeError: ``model`` is no segmenter, or another argument has the wrong type.
        ValueError: there is no such output, or ``tolerance`` is out of range.
    """
    check_between("tolerance", tolerance, 0.0, 1.0)
    purpose = "writing ONNX"
    for package in ("onnx", "onnxscript", "onnxruntime"):
        import_extra(package, "onnx", purpose)
    path = Path(path).expanduser()
    network = DeployedSegmenter(model, outputs)
    size = sum(weight.nbytes for weight in network.state_dict().values())
    if size > _MOST_BYTES:
        raise ExportError(
            f"model: its weights take {size} bytes, more than the 2 GiB of an ONNX file; "
            "fsr export pt2 (export_program) writes it"
        )
    proto = _translated(network)
    _rename_axes(proto)
    proto.metadata_props.add(key=METADATA, value=json.dumps(metadata_of(model)))
    content: bytes = proto.SerializeToString()
    run = _runner(content)
    difference, sizes = compare(network, run, str(path), tolerance)
    with whole_file(path) as draft:
        draft.write_bytes(content)
    return Exported(path, difference, sizes)


def _translated(network: DeployedSegmenter) -> Any:
    """Return ONNX's model of a network."""
    recorded = record(network)
    try:
        with _silent():
            program: Any = torch.onnx.export(
                recorded,
                (),
                dynamo=True,
                input_names=["images"],
                output_names=list(network.outputs),
            )
    except Exception as error:  # of the translator, by many kinds
        raise ExportError(f"model: cannot be written as ONNX: {first_line(error)}") from error
    return program.model_proto


def _rename_axes(proto: Any) -> None:
    """Name the open axes of inputs and outputs as people call them."""
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, _AXES, strict=True):
            if name is not None:
                axis.dim_param = name


def _runner(content: bytes) -> Any:
    """Return a function that runs a model by onnxruntime on the CPU."""
    runtime = import_extra("onnxruntime", "onnx", "running ONNX")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Any:
        return session.run(None, {"images": images.numpy()})

    return run


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the translator's progress to itself: what matters of it is an error."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
