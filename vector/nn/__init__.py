"""Layers on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Layer
from .dense import Dense, Flatten
from .dropout import Dropout
from .initial import glorot_uniform, he_normal, zeros

if TYPE_CHECKING:
    from ..training.sequential import Sequential

__all__ = ["Dense", "Dropout", "Flatten", "Layer", "Sequential", "glorot_uniform", "he_normal", "zeros"]
