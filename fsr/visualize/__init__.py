"""Pictures: label maps, heat, boundaries; attention and its entropy; the paper's figures."""

from fsr._core.palette import voc_palette
from fsr.visualize._attention import EncoderAttention, encoder_attention
from fsr.visualize._boundaries import boundary_overlay
from fsr.visualize._entropy import EncoderEntropy, attention_entropy, encoder_entropy
from fsr.visualize._entropy_plot import plot_attention_entropy
from fsr.visualize._heatmap import heatmap_overlay
from fsr.visualize._labels import colorize, legend, overlay
from fsr.visualize._recompute import recompute_attention
from fsr.visualize._sheets import attention_sheet, comparison_sheet
from fsr.visualize._sweep import plot_threshold_sweep

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
