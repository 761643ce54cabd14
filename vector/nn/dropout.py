"""Layers that draw random numbers while training."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..random import uniform
from .base import Layer


class Dropout(Layer):
    """While `training`, set each element to 0 with probability `rate` and scale the others up by 1 / (1 - rate), so
    that the mean stays (Srivastava et al., 2014). After `eval()` do nothing.
    """

    def __init__(self, rate: float, seed: int | None = None) -> None:
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"Dropout: expected a rate from 0 to below 1, got {rate}")
        self.rate = rate
        self.rng = np.random.default_rng(seed)

    def __call__(self, x: Any) -> Any:
        """An array or tensor of any shape to one of the same shape."""
        if not self.training or not self.rate:
            return x
        kept = uniform(self.rng, x.shape, x.dtype) >= self.rate
        return ops.multiply(x, kept.astype(x.dtype) / (1.0 - self.rate))

    def _details(self) -> str:
        """The rate."""
        return str(self.rate)
