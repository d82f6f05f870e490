"""Refinement of class activation maps into pseudo labels."""

from fsr.refine.par import PAR, pixel_adaptive_affinity, propagate
from fsr.refine.pseudo_labels import pseudo_labels

__all__ = ["PAR", "pixel_adaptive_affinity", "propagate", "pseudo_labels"]
