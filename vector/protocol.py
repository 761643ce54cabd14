"""numpy's own functions on tensors: which of them are ops here, by numpy's arguments and defaults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .op import OPS

COMPARISONS = {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}
UFUNCS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): op for name, op in OPS.items() if isinstance(getattr(np, name, None), np.ufunc)},
    np.absolute: ops.abs,
    np.matmul: ops.matmul,
}


def only(name: str, **unsupported: Any) -> None:
    """Raise TypeError for an argument of numpy's function that tensors do not take."""
    for argument, value in unsupported.items():
        if value is not None:
            raise TypeError(
                f"np.{name}: expected no {argument}= with tensors; use vector.{name}, or .data for the plain array"
            )


def reduction(name: str) -> Callable[..., Any]:
    """np.sum and its like."""
    op = OPS[name]

    def call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, **more: Any) -> Any:
        only(name, dtype=dtype, out=out, **more)
        return op(a, axis=axis, keepdims=bool(keepdims))

    def without_dtype(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, **more: Any) -> Any:
        return call(a, axis, None, out, keepdims, **more)

    return without_dtype if name in ("max", "min") else call


def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, min: Any = None, max: Any = None) -> Any:
    """np.clip: a bound that is None does not bind."""
    only("clip", out=out)
    low, high = (x if y is None else y for x, y in ((a_min, min), (a_max, max)))
    if low is None and high is None:
        raise ValueError("np.clip: expected a lower or an upper bound, got none")
    return ops.clip(a, -np.inf if low is None else low, np.inf if high is None else high)


def reshape(a: Any, shape: Any, order: str = "C", copy: Any = None) -> Any:
    """np.reshape, row by row."""
    only("reshape", order=None if order == "C" else order, copy=copy)
    return ops.reshape(a, tuple(shape) if isinstance(shape, (list, tuple)) else (shape,))


def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    """np.take: without an axis, from all elements in a row."""
    only("take", out=out, mode=None if mode == "raise" else mode)
    return ops.take(ops.reshape(a, (-1,)), indices, 0) if axis is None else ops.take(a, indices, axis)


def concatenate(arrays: Sequence[Any], axis: int | None = 0, out: Any = None, **more: Any) -> Any:
    """np.concatenate."""
    only("concatenate", out=out, **more)
    return ops.concatenate(arrays, axis)


def stack(arrays: Sequence[Any], axis: int = 0, out: Any = None, **more: Any) -> Any:
    """np.stack."""
    only("stack", out=out, **more)
    return ops.stack(arrays, axis)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """np.where, to choose: the indices of what is true need a plain array."""
    if x is None or y is None:
        raise TypeError("np.where: expected x and y with tensors; use np.nonzero on .data for indices")
    return ops.where(condition, x, y)


def dot(a: Any, b: Any, out: Any = None) -> Any:
    """np.dot, of at most two axes on the right: there it is the matrix product, and with a number the plain one."""
    only("dot", out=out)
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return ops.multiply(a, b)
    if np.ndim(b) > 2:
        raise TypeError(f"np.dot: expected at most two axes on the right, got shape {np.shape(b)}; use vector.matmul")
    return ops.matmul(a, b)


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): reduction(name) for name in ("sum", "mean", "max", "min")},
    np.clip: clip,
    np.reshape: reshape,
    np.transpose: lambda a, axes=None: ops.transpose(a, None if axes is None else tuple(axes)),
    np.broadcast_to: lambda array, shape: ops.broadcast_to(array, shape),
    np.take: take,
    np.concatenate: concatenate,
    np.stack: stack,
    np.where: where,
    np.dot: dot,
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
}
