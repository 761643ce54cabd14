"""Layers that read a sequence step by step, and carry a state from each to the next.

All take (n, steps, n_in) and give the states (n, steps, n_hidden), or with `last=True` the last alone, (n, n_hidden).
Their weights, uniform between +-1/sqrt(n_hidden), are for all gates side by side: `weight` (n_in, gates n_hidden),
`recurrent` (n_hidden, gates n_hidden), and a bias for each of the two products. The state begins at 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..op import floating
from ..tensor import Tensor
from .base import Layer
from .initial import parameter


class Recurrent(Layer):
    """What these layers share. A subclass says how many `gates` it has, and writes `step`."""

    gates = 1

    def __init__(
        self, n_in: int, n_hidden: int, last: bool = False, seed: int | None = None, dtype: Any = np.float64
    ) -> None:
        name = type(self).__name__
        if n_in < 1 or n_hidden < 1:
            raise ValueError(f"{name}: expected widths of at least 1, got {n_in} and {n_hidden}")
        self.n_in, self.n_hidden, self.last = n_in, n_hidden, last
        rng, dtype, limit = np.random.default_rng(seed), floating(dtype, name), 1.0 / np.sqrt(n_hidden)
        wide = self.gates * n_hidden

        def uniform(*shape: int) -> np.ndarray:
            return rng.uniform(-limit, limit, shape).astype(dtype)

        self.weight, self.recurrent = (
            parameter(uniform(n_in, wide), "weight"),
            parameter(uniform(n_hidden, wide), "recurrent"),
        )
        self.bias = parameter(uniform(wide), "bias")
        self.recurrent_bias = parameter(uniform(wide), "recurrent_bias")

    def step(self, x: Any, h: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        """The states after one step, the one that is handed out first: from the two products, x W + b and h U + c,
        each (n, gates n_hidden), and the states before."""
        raise NotImplementedError

    def begin(self, n: int) -> tuple[Any, ...]:
        """The states before the first step."""
        return (np.zeros((n, self.n_hidden), self.weight.dtype),)

    def __call__(self, x: Any) -> Any:
        """(n, steps, n_in) to (n, steps, n_hidden), or with `last` to (n, n_hidden)."""
        x = Tensor.lift(x, type(self).__name__)
        if x.ndim != 3 or x.shape[2] != self.n_in or not x.shape[1]:
            raise ValueError(f"{type(self).__name__}: expected shape (n, steps, {self.n_in}), got {x.shape}")
        inner = ops.matmul(ops.transpose(x, (1, 0, 2)), self.weight) + self.bias  # of all steps at once
        states, handed = self.begin(x.shape[0]), []
        for t in range(x.shape[1]):
            states = self.step(inner[t], ops.matmul(states[0], self.recurrent) + self.recurrent_bias, states)
            handed.append(states[0])
        return handed[-1] if self.last else ops.stack(handed, axis=1)

    def gate(self, x: Any, i: int) -> Any:
        """The part of a product that belongs to gate number i."""
        return x[:, i * self.n_hidden : (i + 1) * self.n_hidden]

    def _details(self) -> str:
        """The widths."""
        return f"{self.n_in}, {self.n_hidden}"


class SimpleRNN(Recurrent):
    """h' = tanh(x W + b + h U + c) (Elman, 1990)."""

    def step(self, x: Any, h: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        """The new state."""
        return (ops.tanh(x + h),)


class GRU(Recurrent):
    """Gated recurrent units (Cho et al., 2014), with gates r, z and the candidate n, in this order:

    r = sigmoid(xr + hr), z = sigmoid(xz + hz), n = tanh(xn + r hn), h' = (1 - z) n + z h, where xr is the part of
    x W + b for r, and hr that of h U + c.
    """

    gates = 3

    def step(self, x: Any, h: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        """The new state."""
        both, n = x[:, : 2 * self.n_hidden] + h[:, : 2 * self.n_hidden], self.n_hidden
        gates = ops.sigmoid(both)
        r, z = gates[:, :n], gates[:, n:]
        candidate = ops.tanh(self.gate(x, 2) + r * self.gate(h, 2))
        return (candidate + z * (states[0] - candidate),)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), with gates i, f, g, o, in this order:

    c' = sigmoid(f) c + sigmoid(i) tanh(g) and h' = sigmoid(o) tanh(c'), where i is the part of x W + b + h U + c for i.
    """

    gates = 4

    def begin(self, n: int) -> tuple[Any, ...]:
        """h and c."""
        return super().begin(n) * 2

    def step(self, x: Any, h: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        """The new h and c."""
        total = x + h
        i, f, g, o = (self.gate(total, k) for k in range(4))
        cell = ops.sigmoid(f) * states[1] + ops.sigmoid(i) * ops.tanh(g)
        return ops.sigmoid(o) * ops.tanh(cell), cell
