"""Pictures: label maps in colours and over images, heat maps, legends."""

from fsr._palette import voc_palette
from fsr.visualize.heatmap import heatmap_overlay
from fsr.visualize.labels import colorize, legend, overlay

__all__ = ["colorize", "heatmap_overlay", "legend", "overlay", "voc_palette"]
