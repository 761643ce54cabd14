"""Layers on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import glorot_uniform, he_normal, zeros
from .dense import Dense, Dropout, Flatten

if TYPE_CHECKING:
    from ..training.sequential import Sequential

__all__ = ["Dense", "Dropout", "Flatten", "Sequential", "glorot_uniform", "he_normal", "zeros"]
