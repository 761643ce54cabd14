"""numpy's own functions on tensors: which of them are ops here, by numpy's arguments and defaults.

One rule decides what becomes of a function of numpy called with tensors. What is an op here gives tensors. What gives
bools or whole numbers moves in jumps, its derivative is 0: comparisons, predicates and positions are plain. All else
raises TypeError, for a plain answer would cut the graph in silence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .op import OPS

COMPARISONS: set[Any] = {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}
COMPARISONS |= {np.isfinite, np.isinf, np.isnan, np.signbit}
UFUNCS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): op for name, op in OPS.items() if isinstance(getattr(np, name, None), np.ufunc)},
    np.absolute: ops.abs,
    np.positive: lambda x: x,
    np.fabs: ops.abs,
    np.rint: ops.round,
    np.matmul: ops.matmul,
}


def only(name: str, **unsupported: Any) -> None:
    """Raise TypeError for an argument of numpy's function that tensors do not take."""
    for argument, value in unsupported.items():
        if value is not (True if argument == "where" else None):
            raise TypeError(f"np.{name}: expected no {argument}= with tensors; use an op of vector, or .data")


def adapted(function: Callable[..., Any], here: Callable[..., Any]) -> Callable[..., Any]:
    """numpy's function as ours, `here`, which has the same arguments behind the arrays, or some of them: the others
    must be as numpy has them by default."""
    name = f"{function.__module__.removeprefix('numpy.')}.{function.__name__}".removeprefix("numpy.")
    signature = inspect.signature(function)
    parameters, taken = signature.parameters, list(inspect.signature(getattr(here, "forward", here)).parameters)
    arrays = 2 if taken[1:2] == ["y"] else 1

    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        inputs = [given.pop(argument) for argument in [*parameters][:arrays]]
        for argument in [argument for argument in given if argument not in taken]:
            value, usual = given.pop(argument), getattr(parameters.get(argument), "default", inspect.Parameter.empty)
            only(name, **{argument: None if value is usual or (isinstance(value, str) and value == usual) else [value]})
        if nodes := [argument for argument, value in given.items() if hasattr(value, "op")]:
            raise TypeError(f"np.{name}: expected a plain value for {nodes[0]}, got a tensor; give its .data")
        return here(*inputs, **given)

    return call


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
        raise TypeError("np.clip: expected a lower or an upper bound with tensors, got none; use .data to copy it")
    if any(hasattr(x, "op") or np.ndim(x) for x in (low, high)):
        raise TypeError("np.clip: expected numbers as bounds with tensors; use vector.maximum and vector.minimum")
    return ops.clip(a, -np.inf if low is None else low, np.inf if high is None else high)


def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """np.broadcast_to."""
    only("broadcast_to", subok=subok or None)
    return ops.broadcast_to(array, shape)


def reshape(a: Any, shape: Any, order: str = "C", copy: Any = None) -> Any:
    """np.reshape, row by row."""
    only("reshape", order=None if order == "C" else order, copy=copy)
    return ops.reshape(a, tuple(shape) if isinstance(shape, (list, tuple)) else (shape,))


def transpose(a: Any, axes: Any = None) -> Any:
    """np.transpose."""
    return ops.transpose(a, axes if axes is None else tuple(np.atleast_1d(axes).tolist()))


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
    """np.dot: with a number the plain product, else over the last axis of a and the last but one of b."""
    only("dot", out=out)
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return ops.multiply(a, b)
    return ops.matmul(a, b) if np.ndim(b) <= 2 else ops.tensordot(a, b, (-1, -2))


def einsum(*operands: Any, out: Any = None, optimize: Any = False, **more: Any) -> Any:
    """np.einsum, with the subscripts as text: `optimize` says in which order to multiply, and ours has its own."""
    only("einsum", out=out, **more)
    if not operands or not isinstance(operands[0], str):
        raise TypeError("np.einsum: expected subscripts as text with tensors; use vector.einsum('ij,jk->ik', x, y)")
    return ops.einsum(*operands)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """np.linalg.svd: of matrices that are not square, without the vectors that fill up the space."""
    only("linalg.svd", hermitian=hermitian or None)
    if compute_uv and full_matrices and a.shape[-2] != a.shape[-1]:
        raise TypeError("np.linalg.svd: expected full_matrices=False with tensors that are not square, as vector.svd")
    return ops.svd(a) if compute_uv else ops.svd(a).S


def qr(a: Any, mode: str = "reduced") -> Any:
    """np.linalg.qr: both factors, or r alone."""
    if mode not in ("reduced", "r"):
        raise TypeError(f"np.linalg.qr: expected mode reduced or r with tensors, got {mode!r}; use vector.qr")
    return ops.qr(a) if mode == "reduced" else ops.qr(a).R


def plain(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numpy on the arrays of the tensors among its arguments."""

    def peeked(x: Any) -> Any:
        return type(x)(map(peeked, x)) if type(x) in (list, tuple) else x.peek() if hasattr(x, "op") else x

    return lambda *args, **kwargs: f(*peeked(args), **{name: peeked(x) for name, x in kwargs.items()})


POSITIONS = (np.argmax, np.argmin, np.argsort, np.argwhere, np.count_nonzero, np.flatnonzero, np.nonzero)
PREDICATES = (np.all, np.allclose, np.any, np.array_equal, np.isclose)
# numpy's and ours by these names take the same arguments.
SAME = "cumprod cumsum diag diagonal expand_dims flip hstack inner kron moveaxis outer pad prod ravel repeat roll round"
SAME += " sort split squeeze std swapaxes take_along_axis tensordot tile trace tril triu var vstack"
LINALG = "cholesky det eigh inv norm slogdet solve"
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): adapted(getattr(np, name), getattr(ops, name)) for name in SAME.split()},
    **{f: plain(f) for f in (*POSITIONS, *PREDICATES)},
    **{getattr(np, name): reduction(name) for name in ("sum", "mean", "max", "min")},
    np.clip: clip,
    np.reshape: reshape,
    np.transpose: transpose,
    np.broadcast_to: broadcast_to,
    np.take: take,
    np.concatenate: concatenate,
    np.stack: stack,
    np.where: where,
    **{getattr(np.linalg, name): adapted(getattr(np.linalg, name), getattr(ops, name)) for name in LINALG.split()},
    np.linalg.eigvalsh: adapted(np.linalg.eigvalsh, lambda x: ops.eigh(x).eigenvalues),
    np.linalg.qr: qr,
    np.linalg.svd: svd,
    np.linalg.svdvals: lambda x, /: ops.svd(x).S,
    np.dot: dot,
    np.einsum: einsum,
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else np.size(a._data, axis),
}
