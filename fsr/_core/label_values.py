"""Labels with a meaning of their own, in every label map, and how many classes there may be."""

from __future__ import annotations

BACKGROUND = 0
IGNORE = 255
# The same of label maps with more classes than a byte holds beside it, which are of 16 bits.
WIDE_IGNORE = 65535
# What a byte holds beside background and the label to ignore, and what 16 bits hold.
BYTE_CLASSES, MOST_CLASSES = IGNORE - 1, WIDE_IGNORE - 1
