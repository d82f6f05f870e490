"""Decoders: patch tokens to segmentation logits, and parts that features pass on the way."""

from fsr.decoder._global_cue_injection import GlobalCueInjection, adain
from fsr.decoder._grid_lstm import GridLSTM
from fsr.decoder._largefov import LargeFOV
from fsr.decoder._stochastic_gate import StochasticGate, stochastic_gate

__all__ = [
    "GlobalCueInjection",
    "GridLSTM",
    "LargeFOV",
    "StochasticGate",
    "adain",
    "stochastic_gate",
]
