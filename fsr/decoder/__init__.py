"""Decoders: patch tokens to segmentation logits, and parts that features pass on the way."""

from fsr.decoder._aspp import ASPP
from fsr.decoder._cue_decoder import CueDecoder
from fsr.decoder._global_cue_injection import GlobalCueInjection, adain
from fsr.decoder._grid_lstm import GridLSTM
from fsr.decoder._largefov import LargeFOV
from fsr.decoder._stochastic_gate import StochasticGate, stochastic_gate

__all__ = [
    "ASPP",
    "CueDecoder",
    "GlobalCueInjection",
    "GridLSTM",
    "LargeFOV",
    "StochasticGate",
    "adain",
    "stochastic_gate",
]
