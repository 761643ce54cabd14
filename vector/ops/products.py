"""Products of matrices and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import arrays, function, op
from ..runtime.matmul import row_tiles, tiled
from .shapes import reshape


@op(
    lambda g, y: matmul_(g, y.mT),
    lambda g, x: matmul_(x.mT, g),
)
def matmul_(x, y):
    """The matrix product of (..., n, k) and (..., k, m); derivatives g y^T and x^T g."""
    n, k, m = x.shape[-2], x.shape[-1], y.shape[-1]
    if k != y.shape[-2]:
        raise ValueError(f"matmul: expected inner dimensions that agree, got shapes {x.shape} and {y.shape}")
    if k == 1:  # numpy leaves BLAS aside for these: for large ones, padding with zeros is several times faster
        if n * m < 5000:
            return np.multiply(x, y)
        row = np.swapaxes(x, -1, -2)
        x = np.swapaxes(np.concatenate((row, np.zeros_like(row)), axis=-2), -1, -2)
        y = np.concatenate((y, np.zeros_like(y)), axis=-2)
    if x.ndim == y.ndim == 2 and (tiles := row_tiles(x, y)) > 1:
        return tiled(np.reshape(x, (tiles, n // tiles, x.shape[1])), y)
    return np.matmul(x, y)


@function
def matmul(x: Any, y: Any) -> Any:
    """The matrix product x @ y as numpy has it: a vector counts as a row on the left, as a column on the right.

    Raises ValueError naming both shapes where the inner dimensions differ.
    """
    x, y = arrays(x, y, "matmul")
    if not x.ndim or not y.ndim:
        raise ValueError(f"matmul: expected at least one axis on both sides, got shapes {x.shape} and {y.shape}")
    if x.ndim > 1 and y.ndim > 1:
        return matmul_(x, y)
    if x.shape[-1] != y.shape[-2:][0]:
        raise ValueError(f"matmul: expected inner dimensions that agree, got shapes {x.shape} and {y.shape}")
    left = reshape(x, (1, *x.shape)) if x.ndim == 1 else x
    right = reshape(y, (*y.shape, 1)) if y.ndim == 1 else y
    out = matmul_(left, right)
    return reshape(out, x.shape[:-1] if y.ndim == 1 else (*y.shape[:-2], y.shape[-1]))


@function
def dot(x: Any, y: Any) -> Any:
    """x1 y1 + ... + xn yn, of two vectors. Raises ValueError when they differ in length or are no vectors."""
    x, y = arrays(x, y, "dot")
    if x.ndim != 1 or y.ndim != 1:
        raise TypeError(f"dot: expected a sequence, got shapes {x.shape} and {y.shape}")
    if x.shape != y.shape:
        raise ValueError(f"dot: expected sequences of one length, got {x.shape[0]} and {y.shape[0]}")
    return matmul(x, y)
