"""Decoders from features to segmentation logits."""

from fsr.decoder._largefov import LargeFOV

__all__ = ["LargeFOV"]
