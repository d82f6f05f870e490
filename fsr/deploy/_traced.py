"""Networks recorded with open sizes, and files compared with the network they came from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import Dim

from fsr.deploy._network import DeployedSegmenter
from fsr.errors import ExportError

# Of all probabilities and CAM scores: far below what changes a mask.
TOLERANCE = 1e-4
_MOST_IMAGES, _MOST_PATCHES = 4096, 4096

Maps = Sequence[Any]


class Exported(NamedTuple):
    """A file that was written and compared.

    Attributes:
        path: the file.
        difference: largest difference to the network, over all outputs and sizes tried.
        sizes: the sizes tried, ``(B, 3, height, width)``.
    """

    path: Path
    difference: float
    sizes: tuple[tuple[int, ...], ...]


def record(network: DeployedSegmenter) -> torch.export.ExportedProgram:
    """Record a network for any number of images of any height and width that the patch divides.

    Two patches at least: torch takes a single one for another program.

    Raises:
        ExportError: torch cannot record it.
    """
    height, width = network.network.backbone.patch_size
    rows, columns = (Dim(name, min=2, max=_MOST_PATCHES) for name in ("rows", "columns"))
    sizes: Any = {0: Dim("batch", min=1, max=_MOST_IMAGES), 2: height * rows, 3: width * columns}
    images = torch.zeros(2, 3, 3 * height, 4 * width)
    try:
        # Its remarks are about code of torch's own.
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Not strict: torch 2.6 would interpret all of the encoder's Python.
            return torch.export.export(network, (images,), dynamic_shapes=(sizes,), strict=False)
    except Exception as error:  # torch tells by many kinds what it cannot record
        raise ExportError(
            f"model: torch {torch.__version__} cannot record this network: {first_line(error)}"
        ) from error


def compare(
    network: DeployedSegmenter, run: Callable[[Tensor], Maps], what: str, tolerance: float
) -> tuple[float, tuple[tuple[int, ...], ...]]:
    """Run a file beside its network on images of several sizes.

    Args:
        network: the network.
        run: runs the file.
        what: the file, for the message.
        tolerance: largest difference that is let pass.

    Returns:
        The largest difference, and the sizes.

    Raises:
        ExportError: the file cannot be run, or it differs more.
    """
    height, width = network.network.backbone.patch_size
    grids = ((1, 2, 2), (2, 3, 5), (1, 7, 4))
    generator = torch.Generator().manual_seed(0)
    sizes = tuple((count, 3, rows * height, columns * width) for count, rows, columns in grids)
    largest = 0.0
    for size in sizes:
        images = torch.randn(size, generator=generator)
        try:
            with torch.no_grad():
                wanted = network(images)
                found = [torch.as_tensor(each) for each in run(images)]
        except Exception as error:  # of whatever runs it
            raise ExportError(
                f"{what} cannot be run on images {size}: {first_line(error)}"
            ) from error
        for one, other in zip(found, wanted, strict=True):
            # Not max: it would let NaN pass.
            difference = float((one - other).abs().max()) if one.shape == other.shape else 1.0
            if not difference <= tolerance:
                raise ExportError(
                    f"{what} differs from the network by {difference:.1e} on images {size}, "
                    f"expected at most {tolerance:.0e}; nothing was written"
                )
            largest = max(largest, difference)
    return largest, sizes


def first_line(error: Exception) -> str:
    """Return the first line of an error, its kind if it says nothing."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
