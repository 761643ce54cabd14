"""What parameters start from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..runtime.memory import aligned
from ..tensor import Tensor

Initializer = Callable[..., np.ndarray]  # (generator, n_in, n_out) to (n_in, n_out)


def glorot_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Uniform between +-sqrt(6 / (n_in + n_out)) (Glorot and Bengio, 2010). Returns (n_in, n_out), float64."""
    limit = np.sqrt(6.0 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_in, n_out))


def he_normal(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Normal with standard deviation sqrt(2 / n_in), for relu (He et al., 2015). Returns (n_in, n_out), float64."""
    return rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out))


def he_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Uniform between +-sqrt(6 / n_in), for relu (He et al., 2015). Returns (n_in, n_out), float64."""
    limit = np.sqrt(6.0 / n_in)
    return rng.uniform(-limit, limit, (n_in, n_out))


def lecun_normal(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Normal with standard deviation sqrt(1 / n_in), for selu (LeCun et al., 1998). Returns (n_in, n_out), float64."""
    return rng.normal(0.0, np.sqrt(1.0 / n_in), (n_in, n_out))


def truncated_normal(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Normal with standard deviation 0.02, what is further than 0.04 from 0 drawn again. Returns (n_in, n_out),
    float64."""
    out = rng.normal(0.0, 0.02, (n_in, n_out))
    while (far := np.abs(out) > 0.04).any():
        out[far] = rng.normal(0.0, 0.02, int(far.sum()))
    return out


def orthogonal(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Rows or columns, whichever are fewer, at right angles and of length 1 (Saxe et al., 2014). Returns (n_in, n_out),
    float64."""
    q, r = np.linalg.qr(rng.normal(size=(max(n_in, n_out), min(n_in, n_out))))
    q = q * np.sign(np.diag(r))  # uniform over all of these
    return q if n_in >= n_out else q.T


def zeros(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """All 0. Returns (n_in, n_out), float64."""
    return np.zeros((n_in, n_out))


def parameter(data: np.ndarray, label: str) -> Tensor:
    """A leaf with a copy of the data, which nobody else can write to until somebody asks for its `data`."""
    made = Tensor(aligned(data), label)
    made.memory = []
    return made
