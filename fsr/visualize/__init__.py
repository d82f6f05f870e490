"""Pictures: label maps, heat, boundaries; attention and its entropy; the paper's figures."""

from fsr._palette import voc_palette
from fsr.visualize.attention import EncoderAttention, encoder_attention
from fsr.visualize.boundaries import boundary_overlay
from fsr.visualize.entropy import EncoderEntropy, attention_entropy, encoder_entropy
from fsr.visualize.entropy_plot import plot_attention_entropy
from fsr.visualize.heatmap import heatmap_overlay
from fsr.visualize.labels import colorize, legend, overlay
from fsr.visualize.recompute import recompute_attention
from fsr.visualize.sheets import attention_sheet, comparison_sheet
from fsr.visualize.sweep import plot_threshold_sweep

__all__ = [
    "EncoderAttention",
    "EncoderEntropy",
    "attention_entropy",
    "attention_sheet",
    "boundary_overlay",
    "colorize",
    "comparison_sheet",
    "encoder_attention",
    "encoder_entropy",
    "heatmap_overlay",
    "legend",
    "overlay",
    "plot_attention_entropy",
    "plot_threshold_sweep",
    "recompute_attention",
    "voc_palette",
]
