"""Filters of maps that follow the edges of an image."""

from fsr.filters._bilateral import MAX_ROUNDING, bilateral_filter
from fsr.filters._gaussian_sum import HEAD_MULTIPLE, MAX_SCORES

__all__ = ["HEAD_MULTIPLE", "MAX_ROUNDING", "MAX_SCORES", "bilateral_filter"]
