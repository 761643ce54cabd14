"""Layers on lists of Values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .losses import log_softmax, softmax
from .op import OPS
from .ops import dot
from .value import Value

Activation = str | Callable[[Any], Any] | None


class Dense:
    """A fully connected layer: n_in numbers to n_out numbers, activation(x W + b).

    W is n_in by n_out, glorot uniform: uniform between +-sqrt(6 / (n_in + n_out)) (Glorot and Bengio, 2010); b is 0.
    The same seed gives the same numbers as `vector.nn.Dense`. `activation` is the name of an op of one input,
    "softmax", "log_softmax", a function of one Value, or None.
    """

    def __init__(self, n_in: int, n_out: int, activation: Activation = None, seed: int | None = None) -> None:
        if n_in < 1 or n_out < 1:
            raise ValueError(f"Dense: expected widths of at least 1, got {n_in} and {n_out}")
        limit = np.sqrt(6.0 / (n_in + n_out))
        weight = np.random.default_rng(seed).uniform(-limit, limit, (n_in, n_out))
        self.n_in, self.n_out = n_in, n_out
        self.weight = [[Value(w) for w in row] for row in weight.tolist()]
        self.bias = [Value(0.0) for _ in range(n_out)]
        self.columns = list(zip(*self.weight, strict=True))  # the weights of each output
        self.activation = activate(activation)

    def __call__(self, xs: Sequence[Any]) -> list[Value]:
        """n_in numbers or Values to n_out Values. Raises ValueError for another number of inputs, TypeError for no
        sequence of numbers."""
        if isinstance(xs, str) or not hasattr(xs, "__len__"):
            raise TypeError(f"Dense: expected {self.n_in} features, got {type(xs).__name__}")
        if len(xs) != self.n_in:
            raise ValueError(f"Dense: expected {self.n_in} features, got {len(xs)}")
        xs = [Value.lift(x, "Dense") for x in xs]
        outputs = [dot(xs, column) + b for column, b in zip(self.columns, self.bias, strict=True)]
        return self.activation(outputs) if self.activation else outputs

    def parameters(self) -> list[Value]:
        """The weights row by row, then the biases."""
        return [w for row in self.weight for w in row] + self.bias

    def state(self) -> dict[str, Any]:
        """The parameters by name, as nested lists."""
        return {"weight": self.weight, "bias": self.bias}


def activate(activation: Activation) -> Callable[[list[Any]], list[Any]] | None:
    rows = {"softmax": softmax, "log_softmax": log_softmax}
    if activation is None:
        return None
    if isinstance(activation, str) and activation in rows:
        return rows[activation]
    if not callable(activation):
        names = {name for name, op in OPS.items() if len(op.inputs) == 1 and not op.over and not op.defaults}
        names |= {"leaky_relu", "log_softmax", "softmax"}
        if not isinstance(activation, str) or activation not in names:
            raise ValueError(f"Dense: expected an activation out of {', '.join(sorted(names))}, got {activation!r}")
        activation = OPS[activation]
    return lambda outputs: [activation(x) for x in outputs]


class Sequential:
    """Layers one after the other: `Sequential(first, second)`. Raises TypeError for what cannot be called."""

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for layer in layers:
            if not callable(layer):
                got = type(layer).__name__
                raise TypeError(f"Sequential: expected layers, each an argument of its own, got {got}")
        self.layers = layers

    def __call__(self, xs: Sequence[Any]) -> Any:
        """One sample through all layers."""
        for layer in self.layers:
            xs = layer(xs)
        return xs

    def parameters(self) -> list[Value]:
        """All layers' parameters, in order."""
        return [p for layer in self.layers if hasattr(layer, "parameters") for p in layer.parameters()]

    def named(self) -> dict[str, Any]:
        """The parameters by name; layers are counted from 0, those without parameters left out."""
        states = [layer.state() for layer in self.layers if hasattr(layer, "state")]
        return {f"{i}.{name}": nested for i, state in enumerate(states) for name, nested in state.items()}

    def state_dict(self) -> dict[str, np.ndarray]:
        """The parameters' numbers as float64 arrays by name: "0.weight" is (n_in, n_out), "0.bias" (n_out,)."""
        return {name: np.array(numbers(nested)) for name, nested in self.named().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the numbers of a state dict of either engine.

        Raises ValueError, and changes nothing, when names or shapes are not this model's; TypeError for no numbers.
        """
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ValueError(f"load_state_dict: expected the names {sorted(own)}, got {sorted(state)}")
        arrays = {name: np.asarray(state[name]) for name in own}
        for name, array in own.items():
            if arrays[name].dtype.kind not in "fiu":
                raise TypeError(f"load_state_dict: {name}: expected a real number, got {arrays[name].dtype.name}")
            if array.shape != arrays[name].shape:
                raise ValueError(f"load_state_dict: {name}: expected shape {array.shape}, got {arrays[name].shape}")
        for name, nested in self.named().items():
            rows, values = (nested, arrays[name]) if arrays[name].ndim == 2 else ([nested], arrays[name][None])
            for row, xs in zip(rows, values.astype(float).tolist(), strict=True):
                for parameter, x in zip(row, xs, strict=True):
                    parameter.data = x


def numbers(nested: Any) -> Any:
    return [numbers(x) for x in nested] if isinstance(nested, list) else nested.data
