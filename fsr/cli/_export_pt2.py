"""``fsr export pt2``: a network that torch alone can load."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fsr.cli._deploy import add_network_arguments, write_network
from fsr.cli._parser import Parser
from fsr.deploy import Exported, export_program
from fsr.segmenter import SingleStageSegmenter

SUMMARY = "Write a network as a program of torch.export, loaded and compared."
NOTES = """
  fsr export pt2 teacher.safetensors
  fsr export pt2 teacher.safetensors --output model.pt2 --outputs probabilities cam

torch.export.load(FILE).module() takes any number of images of any height and width that the patch
divides, two patches at least, without this package; the extra file fsr, JSON, holds the classes,
how images are normalised, the patch and the colours. The file is loaded and compared with the
network before it appears.
"""
SUFFIX = ".pt2"


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    add_network_arguments(parser, SUFFIX)
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Write the file; return the exit status."""

    def write(model: SingleStageSegmenter, options: argparse.Namespace) -> Exported:
        return export_program(model, options.output, outputs=options.outputs)

    return write_network(build_parser(prog).parse(argv), prog, SUFFIX, write)
