"""Random numbers that a recorded step draws anew at each replay, and the generators they come from.

>>> import numpy as np, vector
>>> rng = np.random.default_rng(0)
>>> vector.where(bernoulli(rng, 0.5, 3), vector.Tensor([1.0, 2.0, 3.0]), 0.0).data
array([0., 2., 3.])
>>> permutation(rng, 4)
array([0, 3, 2, 1])
"""

from __future__ import annotations

import random
import types
from numbers import Real
from typing import Any

import numpy as np

from .autodiff import mode
from .held import held
from .op import floating
from .tensor import Tensor

__all__ = ["bernoulli", "normal", "permutation", "uniform"]

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)


Shape = int | tuple[int, ...]


def drawn(rng: np.random.Generator, draw: str, shape: Shape, dtype: Any) -> Any:
    return mode.store.random(rng, draw, (shape,), {"dtype": floating(dtype, f"random.{draw}")})


def uniform(
    rng: np.random.Generator, shape: Shape, dtype: Any = np.float64, low: float = 0.0, high: float = 1.0
) -> Any:
    """Numbers drawn uniformly from [low, high), as an array of float64 or float32."""
    x = drawn(rng, "random", shape, dtype)
    return x if (low, high) == (0.0, 1.0) else x * (high - low) + low


def normal(rng: np.random.Generator, shape: Shape, dtype: Any = np.float64, mean: float = 0.0, std: float = 1.0) -> Any:
    """Numbers drawn from the normal distribution with a mean and a standard deviation, as an array of float64 or
    float32."""
    x = drawn(rng, "standard_normal", shape, dtype)
    return x if (mean, std) == (0.0, 1.0) else x * std + mean


def bernoulli(rng: np.random.Generator, p: Any, shape: Shape) -> Any:
    """An array of bools, each True with probability p, a number or an array that broadcasts: for `vector.where`. Raises
    ValueError for a number that is no probability."""
    if isinstance(p, (int, float)) and not 0.0 <= p <= 1.0:
        raise ValueError(f"bernoulli: expected a probability from 0 to 1, got {p}")
    return drawn(rng, "random", shape, np.float64) < p


def permutation(rng: np.random.Generator, x: Any) -> Any:
    """The numbers from 0 to below x in random order, or the rows of an array x, as an array."""
    if hasattr(x, "op"):
        raise TypeError("permutation: expected a number or an array, got a tensor; take its rows in a drawn order")
    return mode.store.random(rng, "permutation", (x,), {})


def find_generators(roots: list[Any], kinds: Any = np.random.Generator) -> list[Any]:
    """The random generators among objects, what these hold, and so on."""
    found, seen, left = [], {}, list(roots)
    while left:
        x = left.pop()
        if x is None or id(x) in seen or isinstance(x, (types.ModuleType, type, Tensor, np.ndarray, str, bytes, Real)):
            continue
        seen[id(x)] = x
        if isinstance(x, kinds):
            found.append(x)
        else:
            left += held(x)
    return found
