"""Filters of maps that follow the edges of an image."""

from fsr.filters._bilateral import HEAD_MULTIPLE, MAX_ROUNDING, MAX_SCORES, bilateral_filter

__all__ = ["HEAD_MULTIPLE", "MAX_ROUNDING", "MAX_SCORES", "bilateral_filter"]
