"""Networks as files that need nothing of this package: ONNX and ``torch.export``."""

from fsr.deploy._network import OUTPUTS, DeployedSegmenter
from fsr.deploy._onnx import export_onnx
from fsr.deploy._program import export_program
from fsr.deploy._told import METADATA, metadata_of
from fsr.deploy._traced import Exported

__all__ = [
    "METADATA",
    "OUTPUTS",
    "DeployedSegmenter",
    "Exported",
    "export_onnx",
    "export_program",
    "metadata_of",
]
