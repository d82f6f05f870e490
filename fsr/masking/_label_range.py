"""The check that label maps are what label maps can be."""

from __future__ import annotations

from torch import Tensor

from fsr._core.labels import IGNORE
from fsr._core.values import may_look


def check_label_range(name: str, values: Tensor, lowest: int = 0) -> None:
    """Raise ``ValueError`` that names a value out of range; not under ``torch.compile``."""
    if not may_look(values):
        return
    outside = (values < lowest) | (values > IGNORE)
    if bool(outside.any()):
        found = values[outside][0].item()
        raise ValueError(f"{name}: expected integers from {lowest} to {IGNORE}, got {found}")
