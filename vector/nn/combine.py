"""Layers made of other layers and of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from .base import Layer
from .hidden import name_of


class Residual(Layer):
    """x + f(x), where f is the layers one after the other (He et al., 2016). They must keep the shape, or broadcast."""

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for layer in layers:
            if not callable(layer):
                raise TypeError(f"Residual: expected layers, each an argument of its own, got {type(layer).__name__}")
        self.layers = layers

    def __call__(self, x: Any) -> Any:
        """Any shape to the same."""
        out = x
        for layer in self.layers:
            out = layer(out)
        return ops.add(x, out)


class Lambda(Layer):
    """A function of a tensor as a layer, which holds no parameters: `Lambda(lambda x: vector.mean(x, axis=1))`."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if not callable(function):
            raise TypeError(f"Lambda: expected a function, got {type(function).__name__}")
        self.function = function

    def __call__(self, x: Any) -> Any:
        """What the function gives."""
        return self.function(x)

    def _details(self) -> str:
        """The function's name."""
        return name_of(self.function)


class Reshape(Layer):
    """Each sample in another shape: (n, ...) to (n, *shape), where one length may be -1."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __call__(self, x: Any) -> Any:
        """(n, ...) to (n, *shape)."""
        if not np.ndim(x):
            raise ValueError("Reshape: expected a batch of samples, got shape ()")
        return ops.reshape(x, (np.shape(x)[0], *self.shape))

    def _details(self) -> str:
        """The shape."""
        return ", ".join(map(str, self.shape))
