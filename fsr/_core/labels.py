"""Labels with a meaning of their own, in every label map."""

from __future__ import annotations

BACKGROUND = 0
IGNORE = 255
