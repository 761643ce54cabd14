"""Layers on vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..op import OPS, floating
from ..tensor import Tensor
from .base import Layer
from .hidden import name_of
from .initial import Initializer, glorot_uniform, parameter

Activation = str | Callable[[Any], Any] | None


class Flatten(Layer):
    """Each sample as one vector: (n, ...) to (n, features)."""

    def __call__(self, x: Any) -> Any:
        """(n, ...) to (n, features). Raises ValueError for an array without axes."""
        if not np.ndim(x):
            raise ValueError("Flatten: expected a batch of samples, got shape ()")
        return ops.reshape(x, (x.shape[0], int(np.prod(x.shape[1:]))))


class Dense(Layer):
    """A fully connected layer: (n, n_in) to (n, n_out), activation(x W + b).

    W is (n_in, n_out), from `init` with the seed, glorot uniform unless told; b is (n_out,), 0. The same seed gives
    the same numbers as `scalar.nn.Dense`, rounded to `dtype`: float64, or float32, which trains twice as fast.
    `activation` is the name of an op of one input, "softmax", "log_softmax", a function of a tensor, or None. With
    `bias=False` there is no b.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: Activation = None,
        seed: int | None = None,
        init: Initializer = glorot_uniform,
        dtype: Any = np.float64,
        bias: bool = True,
    ) -> None:
        if n_in < 1 or n_out < 1:
            raise ValueError(f"Dense: expected widths of at least 1, got {n_in} and {n_out}")
        dtype = floating(dtype, "Dense")
        self.n_in, self.n_out = n_in, n_out
        self.weight = parameter(init(np.random.default_rng(seed), n_in, n_out).astype(dtype), "weight")
        self.bias = parameter(np.zeros(n_out, dtype), "bias") if bias else None
        self.activation = activate(activation)

    def __call__(self, x: Any) -> Tensor:
        """(..., n_in) to (..., n_out). Raises ValueError for another number of features, TypeError
        for no array of numbers."""
        if not np.ndim(x):
            raise TypeError(f"Dense: expected {self.n_in} features, got {type(x).__name__}")
        if np.shape(x)[-1] != self.n_in:
            raise ValueError(f"Dense: expected {self.n_in} features, got {np.shape(x)[-1]}")
        out = ops.matmul(x, self.weight)
        out = out if self.bias is None else out + self.bias
        return self.activation(out) if self.activation else out

    def _details(self) -> str:
        """The widths, and the activation by name."""
        return ", ".join(map(str, (self.n_in, self.n_out, *([name_of(self.activation)] if self.activation else []))))


def activate(activation: Activation) -> Callable[[Any], Any] | None:
    if activation is None or callable(activation):
        return activation
    page = ops.elementwise.__name__
    names = {n for n, op in OPS.items() if op.forward.__module__ == page and len(op.rules) == 1 and not op.defaults}
    names |= {"elu", "leaky_relu", "log_softmax", "softmax"}
    if not isinstance(activation, str) or activation not in names:
        raise ValueError(f"Dense: expected an activation out of {', '.join(sorted(names))}, got {activation!r}")
    return OPS[activation]
