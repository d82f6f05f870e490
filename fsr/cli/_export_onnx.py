"""``fsr export onnx``: a network for onnxruntime, TensorRT and others."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fsr.cli._deploy import add_network_arguments, write_network
from fsr.cli._parser import Parser
from fsr.cli._types import fraction
from fsr.deploy import Exported, export_onnx
from fsr.segmenter import SingleStageSegmenter

SUMMARY = "Write a network as ONNX, compared with PyTorch."
NOTES = """
  fsr export onnx teacher.safetensors
  fsr export onnx teacher.safetensors --output model.onnx --outputs probabilities cam

The file takes any number of images of any height and width that the patch divides, two patches at
least; its metadata hold the classes, how images are normalised, the patch and the colours. It is
run by onnxruntime and compared with the network before it appears. Needs the extra onnx.
"""
SUFFIX = ".onnx"


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    add_network_arguments(parser, SUFFIX)
    parser.add_argument(
        "--tolerance",
        type=fraction,
        default=1e-4,
        metavar="D",
        help="largest difference of a probability or a CAM score (default: 0.0001)",
    )
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Write the file; return the exit status."""

    def write(model: SingleStageSegmenter, options: argparse.Namespace) -> Exported:
        return export_onnx(
            model, options.output, outputs=options.outputs, tolerance=options.tolerance
        )

    return write_network(build_parser(prog).parse(argv), prog, SUFFIX, write)
