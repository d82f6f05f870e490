"""Pictures: label maps in colours and over images, heat maps, legends, threshold sweeps."""

from fsr._palette import voc_palette
from fsr.visualize.heatmap import heatmap_overlay
from fsr.visualize.labels import colorize, legend, overlay
from fsr.visualize.sweep import plot_threshold_sweep

__all__ = [
    "colorize",
    "heatmap_overlay",
    "legend",
    "overlay",
    "plot_threshold_sweep",
    "voc_palette",
]
