"""Aggregation of unmasked patch tokens into one token (Eq. 5 to 7, and the pools of Table 4)."""

from fsr.aggregation._attention import AggregationBlock, CrossAttention
from fsr.aggregation._equations import (
    MASKINGS,
    Masking,
    cross_attention_weights,
    masked_cross_attention,
)
from fsr.aggregation._mca import MaskedCrossAttentionAggregator
from fsr.aggregation._pooling import AverageAggregator, MaxAggregator

__all__ = [
    "MASKINGS",
    "AggregationBlock",
    "AverageAggregator",
    "CrossAttention",
    "MaskedCrossAttentionAggregator",
    "Masking",
    "MaxAggregator",
    "cross_attention_weights",
    "masked_cross_attention",
]
