"""Layers on lists of numbers, and layers one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..losses import log_softmax, softmax
from ..op import OPS
from ..ops import dot
from ..value import Value
from .base import Layer, called, label, parameter, samplewise, search

Activation = str | Callable[[Any], Any] | None


class Dense(Layer):
    """A fully connected layer: n_in numbers to n_out numbers, activation(x W + b).

    W is n_in by n_out, glorot uniform: uniform between +-sqrt(6 / (n_in + n_out)) (Glorot and Bengio, 2010); b is 0.
    The same seed gives the same numbers as `vector.nn.Dense`. `activation` is the name of an op of one input,
    "softmax", "log_softmax", a function of one Value, or None. With `bias=False` there is no b.
    """

    def __init__(
        self, n_in: int, n_out: int, activation: Activation = None, seed: int | None = None, *, bias: bool = True
    ) -> None:
        if n_in < 1 or n_out < 1:
            raise ValueError(f"Dense: expected widths of at least 1, got {n_in} and {n_out}")
        self.n_in, self.n_out = n_in, n_out
        self.weight = parameter(glorot_uniform(np.random.default_rng(seed), n_in, n_out), "weight")
        self.bias = parameter(np.zeros(n_out), "bias") if bias else None
        self.activation = activate(activation)

    def __call__(self, xs: Sequence[Any]) -> list[Any]:
        """n_in numbers or Values to n_out Values; lists of such, a batch or a sequence, row by row. Raises ValueError
        for another number of inputs, TypeError for no sequence of numbers."""
        return samplewise(self.row, xs, depth=1)

    def row(self, xs: Sequence[Any]) -> list[Any]:
        """The layer on one row of numbers."""
        if isinstance(xs, str) or not hasattr(xs, "__len__"):
            raise TypeError(f"Dense: expected {self.n_in} features, got {type(xs).__name__}")
        if len(xs) != self.n_in:
            raise ValueError(f"Dense: expected {self.n_in} features, got {len(xs)}")
        outputs = affine([Value.lift(x, "Dense") for x in xs], self.weight, self.bias)
        return self.activation(outputs) if self.activation else outputs

    def _details(self) -> str:
        return f"{self.n_in}, {self.n_out}{f', {called(self.activation)}' if self.activation else ''}"


def affine(xs: Sequence[Any], weight: list[list[Value]], bias: list[Value] | None) -> list[Any]:
    """x W + b: a number for each column of W."""
    products = [dot(xs, column) for column in zip(*weight, strict=True)]
    return products if bias is None else [p + b for p, b in zip(products, bias, strict=True)]


def glorot_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Uniform between +-sqrt(6 / (n_in + n_out)), n_in by n_out."""
    limit = np.sqrt(6.0 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_in, n_out))


def activate(activation: Activation) -> Callable[[list[Any]], list[Any]] | None:
    """An activation as a function of a row of numbers."""
    rows = {"softmax": softmax, "log_softmax": log_softmax}
    if activation is None:
        return None
    if isinstance(activation, str) and activation in rows:
        return rows[activation]
    if not callable(activation):
        names = {name for name, op in OPS.items() if len(op.inputs) == 1 and not op.over and not op.defaults}
        names |= {"elu", "leaky_relu", "log_softmax", "softmax"}
        if not isinstance(activation, str) or activation not in names:
            raise ValueError(f"Dense: expected an activation out of {', '.join(sorted(names))}, got {activation!r}")
        activation = OPS[activation]

    def each(outputs: list[Any]) -> list[Any]:
        return [activation(x) for x in outputs]

    each.__name__ = called(activation)
    return each


class Sequential(Layer):
    """Layers one after the other: `Sequential(first, second)`. Raises TypeError for what cannot be called.

    In names they are counted from 0, without those that have neither parameters nor buffers.
    """

    layers: tuple[Callable[[Any], Any], ...]

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for layer in layers:
            if not callable(layer):
                got = type(layer).__name__
                raise TypeError(f"Sequential: expected layers, each an argument of its own, got {got}")
        vars(self)["layers"] = layers  # not by the attribute's name: they are counted
        label({each.path: each.thing for each in search(self) if each.kind == "parameter"})

    def __call__(self, xs: Sequence[Any]) -> Any:
        """One sample, or a batch of them, through all layers."""
        for layer in self.layers:
            xs = layer(xs)
        return xs

    def _held(self) -> Iterator[tuple[str, Any]]:
        count = itertools.count()
        for layer in getattr(self, "layers", ()):
            kept = isinstance(layer, Layer) and any(each.kind in ("parameter", "buffer") for each in search(layer))
            yield str(next(count)) if kept else "", layer
        yield from ((name, thing) for name, thing in super()._held() if name != "layers")
