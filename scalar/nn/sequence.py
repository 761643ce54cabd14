"""Layers on sequences, `xs[t]` the numbers at step t: a vector for each word, a memory, and attention."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..losses import softmax
from ..ops import dot, sigmoid, tanh
from .base import Layer, expect, parameter, samplewise
from .dense import Dense, affine


class Embedding(Layer):
    """A table of `count` vectors of `width` numbers, looked up by whole numbers.

    The table starts normal with standard deviation `scale`; the same seed gives the same numbers as
    `vector.nn.Embedding`.
    """

    def __init__(self, count: int, width: int, seed: int | None = None, scale: float = 1.0) -> None:
        if count < 1 or width < 1:
            raise ValueError(f"Embedding: expected a count and a width of at least 1, got {count} and {width}")
        self.count, self.width = count, width
        self.weight = parameter(np.random.default_rng(seed).normal(0.0, scale, (count, width)), "weight")

    def __call__(self, x: Any) -> Any:
        """A whole number from 0 to count - 1 to a vector; a sequence of them, or lists in lists, number by number.
        Raises TypeError for other numbers, IndexError for those out of range."""
        return samplewise(lambda i: self.weight[operator.index(i)], x, depth=0)

    def _details(self) -> str:
        return f"{self.count}, {self.width}"


class Recurrent(Layer):
    """What layers share that read a sequence step by step, and carry a state h from each to the next, from 0 on.

    The weights, uniform between +-1/sqrt(n_hidden), are for all gates side by side: `weight` is n_in by gates n_hidden,
    `recurrent` n_hidden by gates n_hidden, with a bias for each of the two products. The same seed gives the same
    numbers as in `vector.nn`. A subclass says how many `gates` it has, and writes `step`.
    """

    gates = 1

    def __init__(self, n_in: int, n_hidden: int, last: bool = False, seed: int | None = None) -> None:
        if n_in < 1 or n_hidden < 1:
            raise ValueError(f"{type(self).__name__}: expected widths of at least 1, got {n_in} and {n_hidden}")
        self.n_in, self.n_hidden, self.last = n_in, n_hidden, last
        rng, limit, wide = np.random.default_rng(seed), 1.0 / np.sqrt(n_hidden), self.gates * n_hidden
        self.weight = parameter(rng.uniform(-limit, limit, (n_in, wide)), "weight")
        self.recurrent = parameter(rng.uniform(-limit, limit, (n_hidden, wide)), "recurrent")
        self.bias = parameter(rng.uniform(-limit, limit, wide), "bias")
        self.recurrent_bias = parameter(rng.uniform(-limit, limit, wide), "recurrent_bias")

    def __call__(self, x: Any) -> Any:
        """A sequence `[steps][n_in]` to the states `[steps][n_hidden]`, or with `last` to the last of them; a batch
        sequence by sequence."""
        return samplewise(self.read, x, depth=2)

    def read(self, xs: Sequence[Any]) -> list[Any]:
        """The layer on one sequence."""
        expect(xs, ("steps", self.n_in), type(self).__name__)
        states = [self.begin()]
        for x in xs:
            inner = affine(x, self.weight, self.bias)
            outer = affine(states[-1][0], self.recurrent, self.recurrent_bias)
            states.append(self.step(self.by_gate(inner), self.by_gate(outer), *states[-1]))
        handed = [h for h, *_ in states[1:]]
        return handed[-1] if self.last else handed

    def begin(self) -> tuple[list[Any], ...]:
        """The states before the first step."""
        return ([0.0] * self.n_hidden,)

    def step(self, x: list[Any], h: list[Any], *states: list[Any]) -> tuple[list[Any], ...]:
        """The states after one step, the one that is handed out first: from the two products, x W + b and h U + c, of
        each gate, and the states before."""
        raise NotImplementedError

    def by_gate(self, product: list[Any]) -> list[list[Any]]:
        """The parts of a product that belong to the gates."""
        n = self.n_hidden
        return [product[i : i + n] for i in range(0, self.gates * n, n)]

    def _details(self) -> str:
        return f"{self.n_in}, {self.n_hidden}"


class GRU(Recurrent):
    """Gated recurrent units (Cho et al., 2014): r says how much of the past the candidate n sees, z how much of it
    stays.

    r = sigmoid(x Wr + br + h Ur + cr)
    z = sigmoid(x Wz + bz + h Uz + cz)
    n = tanh(x Wn + bn + r (h Un + cn))
    h' = (1 - z) n + z h

    In the weights the three stand side by side in this order.
    """

    gates = 3

    def step(self, x: list[Any], h: list[Any], *states: list[Any]) -> tuple[list[Any], ...]:
        """The new state, number by number."""
        (before,) = states
        new = []
        for xr, xz, xn, hr, hz, hn, old in zip(*x, *h, before, strict=True):
            r = sigmoid(xr + hr)
            z = sigmoid(xz + hz)
            n = tanh(xn + r * hn)
            new.append((1.0 - z) * n + z * old)
        return (new,)


class MultiHeadAttention(Layer):
    """Attention: each place of a sequence takes from all others, as much as they match (Vaswani et al., 2017).

    One Dense layer, `project`, makes of each place three vectors as wide as the place: its query q, its key k and its
    value v. They are cut into `heads` parts, each d wide. In each part, place t takes

    sum over s of p[s] v[s], where p = softmax over s of q[t] . k[s] / sqrt(d)

    and another Dense layer, `output`, mixes the parts. With `causal` no place takes from a later one.
    """

    def __init__(
        self, width: int, heads: int, causal: bool = False, bias: bool = True, seed: int | None = None
    ) -> None:
        if heads < 1 or width % heads:
            raise ValueError(f"MultiHeadAttention: expected heads that divide the width {width}, got {heads}")
        self.width, self.heads, self.causal = width, heads, causal
        self.project = Dense(width, 3 * width, seed=seed, bias=bias)
        self.output = Dense(width, width, seed=None if seed is None else seed + 1, bias=bias)

    def __call__(self, x: Any, mask: Any = None) -> Any:
        """A sequence `[places][width]` to the same shape; a batch sequence by sequence. `mask`, bools
        `[places][places]`, is true where the place of a row may take from that of a column. Raises ValueError for other
        shapes, and where a place may take from none."""
        return samplewise(functools.partial(self.attend, mask=mask), x, depth=2)

    def attend(self, xs: Sequence[Any], mask: Any = None) -> list[Any]:
        """The layer on one sequence."""
        expect(xs, ("places", self.width), "MultiHeadAttention")
        every = range(len(xs))
        if mask is not None:
            expect(mask, (len(xs), len(xs)), "MultiHeadAttention: mask")
        seen = [[s for s in every if (s <= t or not self.causal) and (mask is None or mask[t][s])] for t in every]
        if not all(seen):
            alone = seen.index([])
            raise ValueError(f"MultiHeadAttention: expected a mask by which each place sees one, got none for {alone}")
        projected = self.project(xs)
        places: list[list[Any]] = [[] for _ in xs]
        for head in range(self.heads):
            q, k, v = ([self.part(row, i, head) for row in projected] for i in range(3))
            for t, query in enumerate(q):
                places[t] += take(query, [k[s] for s in seen[t]], [v[s] for s in seen[t]])
        return self.output(places)

    def part(self, projected: list[Any], i: int, head: int) -> list[Any]:
        """Of the query (i = 0), key (1) or value (2) of a place, the numbers of one head."""
        d = self.width // self.heads
        first = i * self.width + head * d
        return projected[first : first + d]

    def _details(self) -> str:
        return f"{self.width}, {self.heads}{', causal' * self.causal}"


def take(query: list[Any], keys: list[list[Any]], values: list[list[Any]]) -> list[Any]:
    """The mean of the values, each weighed by how well its key matches the query."""
    scale = float(np.sqrt(len(query)))
    shares = softmax([dot(query, key) / scale for key in keys])
    return [dot(shares, column) for column in zip(*values, strict=True)]
