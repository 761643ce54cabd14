"""Layers on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .attention import MultiHeadAttention
from .base import Layer
from .combine import Lambda, Reshape, Residual
from .convolution import AvgPool, Conv1D, Conv2D, GlobalAveragePool, MaxPool, Upsample
from .dense import Dense, Flatten
from .dropout import Dropout
from .embedding import Embedding
from .initial import glorot_uniform, he_normal, he_uniform, lecun_normal, orthogonal, truncated_normal, zeros
from .norm import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from .recurrent import GRU, LSTM, SimpleRNN

if TYPE_CHECKING:
    from ..training.sequential import Sequential

__all__ = [
    "GRU",
    "LSTM",
    "AvgPool",
    "BatchNorm",
    "Conv1D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAveragePool",
    "GroupNorm",
    "Lambda",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "MultiHeadAttention",
    "RMSNorm",
    "Reshape",
    "Residual",
    "Sequential",
    "SimpleRNN",
    "Upsample",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "orthogonal",
    "truncated_normal",
    "zeros",
]
