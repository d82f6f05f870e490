"""Edge pixels per patch, for the edge-based masking of Table 3."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fsr._core.optional import import_extra
from fsr.errors import ShapeError

# ITU-R BT.601 luma.
_LUMA = (0.299, 0.587, 0.114)
# Ranges below this are flatter than one step of an 8-bit image and hold no edge.
_FLAT = 1e-3


def canny_edges(images: Tensor) -> Tensor:
    """Mark the pixels on Canny edges of the grey images (scikit-image, its default thresholds).

    Every grey image is first stretched to [0, 1]: Canny's thresholds are absolute, and images
    arrive normalised in the backbone's way, which this function does not know.

    Args:
        images: RGB of any scale, ``(B, 3, height, width)``.

    Returns:
        Boolean ``(B, height, width)`` on the images' device.

    Raises:
        ImportError: scikit-image is missing (extra ``edge``).

    Source:
        Table 3, "Edge (strict)"; Canny, PAMI 1986.
    """
    feature = import_extra("skimage.feature", "edge", "UncertainMasker(strategy='edge')")
    weights = torch.tensor(_LUMA, dtype=torch.float64)[:, None, None]
    grey = (images.detach().double().cpu() * weights).sum(dim=1)
    darkest, brightest = grey.amin(dim=(1, 2), keepdim=True), grey.amax(dim=(1, 2), keepdim=True)
    stretched = (grey - darkest) / (brightest - darkest).clamp_min(_FLAT)
    edges = [feature.canny(image, mode="nearest") for image in stretched.numpy()]
    return torch.from_numpy(np.stack(edges)).to(images.device)


def count_per_cell(pixels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Count the marked pixels of every cell of a grid.

    Args:
        pixels: boolean ``(B, height, width)``.
        grid: cells ``(rows, columns)``, which must divide the height and the width.

    Returns:
        Counts ``(B, rows, columns)``, int64.

    Raises:
        ShapeError: the grid does not divide the image.

    Example:
        >>> count_per_cell(torch.tensor([[[True, True, False, True]]]), (1, 2))
        tensor([[[2, 1]]])
    """
    batch, height, width = pixels.shape
    rows, columns = grid
    if height % rows or width % columns:
        raise ShapeError(
            f"images: expected a height and width that {rows} x {columns} cells divide, "
            f"got {height} x {width}"
        )
    cells = pixels.reshape(batch, rows, height // rows, columns, width // columns)
    return cells.sum(dim=(2, 4))
