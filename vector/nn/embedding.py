"""A vector for each of a number of things."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..op import floating
from .base import Layer
from .initial import parameter


class Embedding(Layer):
    """A table of `count` vectors of `width` numbers, looked up by whole numbers.

    The weight is (count, width), normal with standard deviation `scale`.
    """

    def __init__(
        self, count: int, width: int, seed: int | None = None, scale: float = 1.0, dtype: Any = np.float64
    ) -> None:
        if count < 1 or width < 1:
            raise ValueError(f"Embedding: expected a count and a width of at least 1, got {count} and {width}")
        self.count, self.width = count, width
        table = np.random.default_rng(seed).normal(0.0, scale, (count, width))
        self.weight = parameter(table.astype(floating(dtype, "Embedding")), "weight")

    def __call__(self, x: Any) -> Any:
        """Whole numbers (...) from 0 to count - 1 to vectors (..., width). Raises TypeError for other numbers,
        IndexError for those out of range."""
        return ops.take(self.weight, x if hasattr(x, "dtype") else np.asarray(x), 0)

    def _details(self) -> str:
        """The count and the width."""
        return f"{self.count}, {self.width}"
