"""Filters of maps that follow the edges of an image."""

from fsr.filters._bilateral import MAX_ROUNDING, bilateral_filter, pixel_features
from fsr.filters._gaussian_sum import HEAD_MULTIPLE, MAX_SCORES
from fsr.filters._permutohedral import MAX_CELLS, PermutohedralLattice

__all__ = [
    "HEAD_MULTIPLE",
    "MAX_CELLS",
    "MAX_ROUNDING",
    "MAX_SCORES",
    "PermutohedralLattice",
    "bilateral_filter",
    "pixel_features",
]
