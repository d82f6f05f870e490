"""Edge pixels per patch, for the edge-based masking of Table 3."""

from __future__ import annotations

import numpy as np
import torch
from einops import reduce
from torch import Tensor

from fsr._core.optional import import_extra
from fsr.errors import ShapeError
from fsr.masking._equations import keep_one, mask_count

# ITU-R BT.601 luma.
_LUMA = (0.299, 0.587, 0.114)
# Ranges below this are flatter than one step of an 8-bit image and hold no edge.
_FLAT = 1e-3
# A cell is an edge cell if at least this share of its pixels lies on an edge.
EDGE_SHARE = 0.05


def edge_mask(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mask the cells of a grid that lie on edges, but for the one with the fewest edge pixels.

    Args:
        images: RGB of any scale, ``(B, 3, height, width)``.
        grid: cells ``(rows, columns)``, which must divide the height and the width.

    Returns:
        Boolean ``(B, rows, columns)`` on the images' device, True = masked.

    Raises:
        ImportError: scikit-image is missing (extra ``edge``).
        ShapeError: the grid does not divide the images.

    Source:
        Table 3, "Edge (strict)".
    """
    edges = count_per_cell(canny_edges(images), grid)
    pixels = images.shape[2] * images.shape[3] // (grid[0] * grid[1])
    mask = edges >= mask_count(EDGE_SHARE, pixels, "ceil")
    return keep_one(mask.flatten(1), -edges.flatten(1)).view_as(mask)


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
    if images.shape[0] == 0:
        return images[:, 0].bool()
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
    _, height, width = pixels.shape
    rows, columns = grid
    if height % rows or width % columns:
        raise ShapeError(
            f"images: expected a height and width that {rows} x {columns} cells divide, "
            f"got {height} x {width}"
        )
    return reduce(pixels, "b (h p) (w q) -> b h w", "sum", h=rows, w=columns)
