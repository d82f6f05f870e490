"""Affinity of patches: learned from attention, labelled by pairs, and scores spread along it."""

from fsr._core.labels import IGNORE
from fsr.affinity._attention import AttentionAffinity
from fsr.affinity._pairs import affinity_labels, radius_mask
from fsr.affinity._propagation import propagate, propagate_with_background

__all__ = [
    "IGNORE",
    "AttentionAffinity",
    "affinity_labels",
    "propagate",
    "propagate_with_background",
    "radius_mask",
]
