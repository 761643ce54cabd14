"""Layers on lists of Values, each number by number.

A layer takes one sample, numbers in lists: `[features]`, an image `[h][w][channels]`, a sequence `[steps][features]`.
A list of samples is a batch, and comes out as one.
"""

from .base import Layer
from .convolution import Conv2D
from .dense import Dense, Sequential
from .norm import BatchNorm, LayerNorm, RMSNorm
from .sequence import GRU, Embedding, MultiHeadAttention

__all__ = [
    "GRU",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Embedding",
    "Layer",
    "LayerNorm",
    "MultiHeadAttention",
    "RMSNorm",
    "Sequential",
]
