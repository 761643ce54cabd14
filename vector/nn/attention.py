"""Attention: each place of a sequence takes from all others, as much as they match."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import ops
from ..tensor import Tensor
from .base import Layer
from .dense import Dense


class MultiHeadAttention(Layer):
    """softmax(q k^T / sqrt(d)) v in each of `heads` parts of the width, d wide, then a Dense layer (Vaswani et al.,
    2017). q, k and v come from one Dense layer, `project`, side by side in this order. With `causal` no place takes
    from a later one.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        causal: bool = False,
        bias: bool = True,
        seed: int | None = None,
        dtype: Any = np.float64,
    ) -> None:
        if heads < 1 or width % heads:
            raise ValueError(f"MultiHeadAttention: expected heads that divide the width {width}, got {heads}")
        self.width, self.heads, self.causal = width, heads, causal
        seeds = (seed, None if seed is None else seed + 1)
        self.project = Dense(width, 3 * width, seed=seeds[0], bias=bias, dtype=dtype)
        self.output = Dense(width, width, seed=seeds[1], bias=bias, dtype=dtype)

    def __call__(self, x: Any, mask: Any = None) -> Any:
        """(n, places, width) to the same shape. `mask`, bools that broadcast to (n, heads, places, places), is True
        where a place may take from another. Raises ValueError for other shapes."""
        x = Tensor.lift(x, "MultiHeadAttention")
        if x.ndim != 3 or x.shape[2] != self.width:
            raise ValueError(f"MultiHeadAttention: expected shape (n, places, {self.width}), got {x.shape}")
        n, places, d = x.shape[0], x.shape[1], self.width // self.heads
        apart = ops.reshape(self.project(x), (n, places, 3, self.heads, d))
        q, k, v = (ops.transpose(apart[:, :, i], (0, 2, 1, 3)) for i in range(3))  # (n, heads, places, d)
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) / float(np.sqrt(d))
        if self.causal:
            scores = scores + later(places, x.dtype)
        if mask is not None:
            scores = ops.where(mask, scores, -np.inf)
        taken = ops.matmul(ops.softmax(scores), v)
        return self.output(ops.reshape(ops.transpose(taken, (0, 2, 1, 3)), (n, places, self.width)))

    def _details(self) -> str:
        """The width and the heads."""
        return f"{self.width}, {self.heads}{', causal' * self.causal}"


@functools.lru_cache(maxsize=64)
def later(places: int, dtype: Any) -> np.ndarray:
    """-infinity where a place would take from a later one, else 0."""
    return np.triu(np.full((places, places), -np.inf, dtype), 1)
