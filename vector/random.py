"""Random numbers that a recorded step draws anew at each replay, and the generators they come from."""

from __future__ import annotations

import random
import types
from numbers import Real
from typing import Any

import numpy as np

from .autodiff import mode
from .held import held
from .tensor import Tensor

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    """Numbers drawn uniformly from [0, 1), as an array. A recorded step draws new ones at each replay."""
    return mode.store.random(rng, shape, dtype)


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
