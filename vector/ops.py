"""The calculus page on arrays: what each op computes and how it differentiates.

Every block reads the same way, derivatives first, one for each input. The names of a rule say what it reads:

    g        the gradient arriving from above, dL/dout, of out's shape
    out      the op's value
    x, y     its inputs (xs: all the inputs of an op over a sequence)
    x_shape  an input's shape, where the derivative needs no more of it
    axis     or whatever else the op is told besides its inputs

A derivative is a pure function of these. Given arrays it gives an array, which is what the ordinary backward pass
uses; given nodes it builds nodes, which is how second derivatives come about. It need not undo broadcasting: the
backward pass sums a gradient back to its input's shape. To add an op, add its block here and, if it should be a
method, one name in `tensor.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from .op import OPS as OPS
from .op import arrays, floating, indicator, op, primitive
from .runtime.matmul import row_tiles, tiled

# --- arithmetic -------------------------------------------------------------------------------------------------------


@op(
    lambda g: g,
    lambda g: g,
)
def add(x, y):
    """x + y."""
    return np.add(x, y)


@op(
    lambda g: g,
    lambda g: -g,
)
def subtract(x, y):
    """x - y."""
    return np.subtract(x, y)


@op(
    lambda g, y: g * y,
    lambda g, x: g * x,
)
def multiply(x, y):
    """x y, element by element."""
    return np.multiply(x, y)


@op(
    lambda g, y: g / y,
    lambda g, out, y: -g * out / y,
)
def divide(x, y):
    """x / y; derivatives 1/y and -x/y^2."""
    return np.divide(x, y)


@op(lambda g: -g)
def negative(x):
    """-x."""
    return np.negative(x)


# y = 0: the exponent y - 1 becomes 0, so that y x^(y-1) is 0 even at x = 0 and x = inf.
# x = 0, y >= 0: log 1 stands for log 0, since x^y does not move with y there.
@op(
    lambda g, x, y: g * y * power(x, where(y != 0, y - 1.0, y)),
    lambda g, out, x, y: g * out * log(where((x != 0) | (y < 0), x, 1.0)),
)
def power(x, y):
    """x^y; derivatives y x^(y-1) and x^y log x. NaN, never complex, for a negative x and a broken y."""
    return powers(x, y) if y.ndim else np.power(x, y)


@primitive
def powers(x, y):
    """x^y for an array of exponents, each as numpy has it for that exponent alone: there it squares for 2, takes the
    root for 1/2 and divides for -1, but for many exponents that depends on how they lie in memory."""
    out = np.power(x, y)
    for exponent in (2.0, 0.5, -1.0):
        np.power(x, exponent, out=out, where=y == exponent, dtype=out.dtype)
    return out


@op(lambda g, x: where(x > 0, g, where(x < 0, -g, 0.0)))
def abs(x):
    """|x|; derivative the sign of x, 0 at 0."""
    return np.abs(x)


# --- exponentials -----------------------------------------------------------------------------------------------------


@op(lambda g, out: g * out)
def exp(x):
    """e^x, its own derivative."""
    return np.exp(x)


@op(lambda g, x: g / x)
def log(x):
    """The natural logarithm; derivative 1/x."""
    return np.log(x)


@op(lambda g, out: g / (2.0 * out))
def sqrt(x):
    """The square root; derivative 1 / (2 sqrt x), infinite at 0."""
    return np.sqrt(x)


@op(lambda g, out: g * out * (1.0 - out))
def sigmoid(x):
    """1 / (1 + e^-x), computed from e^-|x|, which cannot overflow; derivative s (1 - s)."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


@op(lambda g, x: g * sigmoid(x))
def softplus(x):
    """log(1 + e^x) without overflow; derivative sigmoid x."""
    return np.logaddexp(x, 0.0)


# --- trigonometry -----------------------------------------------------------------------------------------------------


@op(lambda g, x: g * cos(x))
def sin(x):
    """sin x; derivative cos x."""
    return np.sin(x)


@op(lambda g, x: -g * sin(x))
def cos(x):
    """cos x; derivative -sin x."""
    return np.cos(x)


@op(lambda g, out: g * (1.0 - out * out))
def tanh(x):
    """tanh x; derivative 1 - tanh^2 x."""
    return np.tanh(x)


# --- corners: where there is no derivative, the subgradient of least norm ---------------------------------------------


@op(lambda g, out: g * indicator(out > 0, g))
def relu(x):
    """max(x, 0); derivative 1 above 0, else 0."""
    return np.maximum(x, 0.0)


@op(lambda g, x, slope: where(x > 0, g, slope * g))
def leaky_relu(x, slope: float = 0.01):
    """x above 0, else slope x; derivative 1 above 0, else slope."""
    return np.where(x > 0, x, slope * np.where(x > 0, 1.0, x))  # multiplies what it chooses only: no false warning


@op(
    lambda g, x, y: where(x > y, g, where(x == y, 0.5 * g, 0.0)),
    lambda g, x, y: where(y > x, g, where(x == y, 0.5 * g, 0.0)),
)
def maximum(x, y):
    """The larger of x and y, NaN if either is; a tie shares the derivative."""
    return np.maximum(x, y)


@op(
    lambda g, x, y: where(x < y, g, where(x == y, 0.5 * g, 0.0)),
    lambda g, x, y: where(y < x, g, where(x == y, 0.5 * g, 0.0)),
)
def minimum(x, y):
    """The smaller of x and y, NaN if either is; a tie shares the derivative."""
    return np.minimum(x, y)


@op(lambda g, x, low, high: where((x > low) & (x < high), g, 0.0))
def clip(x, low: float, high: float):
    """x kept between the numbers low and high; derivative 1 strictly between them, else 0."""
    return np.minimum(np.maximum(x, low), high)


@op(
    lambda g, condition: where(condition, g, 0.0),
    lambda g, condition: where(condition, 0.0, g),
)
def where_(x, y, condition):
    """x where the condition holds, else y; the one that was not chosen has derivative 0."""
    return np.where(condition, x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition, an array of bools, holds, else y. All three broadcast together. The one that was not
    chosen has derivative 0, but 0 times an infinite slope is NaN: guard the argument too,
    `where(x > 0, sqrt(where(x > 0, x, 1)), 0)`.

    Raises TypeError when the condition is not of bools, as comparisons give them.
    """
    plain = isinstance(getattr(condition, "dtype", None), np.dtype) and not hasattr(condition, "op")
    name = condition.dtype.name if plain else type(condition).__name__
    if name != "bool":
        raise TypeError(f"where: expected a bool condition such as x > 0, got {name}")
    return where_(x, y, condition=condition)


# --- shapes -----------------------------------------------------------------------------------------------------------


@op(lambda g, x_shape: reshape(g, x_shape))
def reshape(x, shape):
    """The same elements in a new shape, a tuple that may hold one -1."""
    return np.reshape(x, shape)


def inverse(axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The permutation that undoes `axes`, which may count from the end."""
    return None if axes is None else tuple(int(i) for i in np.argsort(normalize_axis_tuple(axes, len(axes))))


@op(lambda g, axes: transpose(g, inverse(axes)))
def transpose(x, axes=None):
    """The axes in the order `axes`, or reversed."""
    return np.transpose(x, axes)


@op(lambda g: g)  # the backward pass sums it back to x's shape
def broadcast_to(x, shape):
    """x repeated to `shape` without copying."""
    return np.broadcast_to(x, shape)


@op(lambda g: g)  # the backward pass gives it x's dtype
def cast_(x, dtype):
    """The same numbers as float32 or float64."""
    return x.astype(floating(dtype, "astype"))


@op(lambda g, x_shape, key: scatter_(g, key, x_shape))
def index_(x, key):
    """x[key], for any key that numpy takes."""
    return x[key]


@op(lambda g, key: index_(g, key))
@primitive
def scatter_(x, key, shape):
    """Zeros of `shape` with x added at `key`, as often as an element is named there: the transpose of `index_`."""
    out = np.zeros(shape, x.dtype)
    np.add.at(out, key, x)
    return out


def take(x: Any, indices: Any, axis: int = 0) -> Any:
    """The slices of x at integer `indices` along `axis`; a slice taken twice gets both gradients. Raises TypeError for
    indices that are no integers."""
    dtype = indices.dtype if hasattr(indices, "dtype") else np.asarray(indices, None if np.size(indices) else int).dtype
    if dtype.kind not in "iu":
        raise TypeError(f"take: expected integer indices, got {dtype}; use x[mask] in place of vector.take for bools")
    x = x if np.ndim(x) else reshape(x, (1,))  # as numpy has it, an array without axes has one in name
    return index_(x, (slice(None),) * normalize_axis_index(axis, np.ndim(x)) + (indices,))


def parts(g: Any, shapes: Sequence[tuple[int, ...]], axis: int | None) -> list[Any]:
    if axis is None:  # all elements, one array after the other
        flat = parts(g, [(math.prod(shape),) for shape in shapes], 0)
        return [reshape(part, shape) for part, shape in zip(flat, shapes, strict=True)]
    before = (slice(None),) * (axis % g.ndim)
    lengths = [shape[axis] for shape in shapes]
    ends = np.cumsum(lengths).tolist()
    return [index_(g, (*before, slice(end - n, end))) for n, end in zip(lengths, ends, strict=True)]


@op(lambda g, xs_shape, axis: parts(g, xs_shape, axis))
def concatenate_(*xs, axis=0):
    """Arrays joined along an axis they have, or all elements of each (axis None)."""
    return np.concatenate(xs, axis=axis)


def concatenate(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """Tensors joined along an axis they have, or all elements of each (axis None). Raises ValueError for other shapes
    that do not fit."""
    return concatenate_(*xs, axis=axis)


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis."""

    def widened(x: Any) -> Any:
        at = normalize_axis_index(axis, np.ndim(x) + 1)
        return reshape(x, (*np.shape(x)[:at], 1, *np.shape(x)[at:]))

    return concatenate([widened(x) for x in xs], axis=axis)


# --- over axes --------------------------------------------------------------------------------------------------------

Axis = int | tuple[int, ...] | None


def axes_of(axis: Axis, n: int) -> tuple[int, ...]:
    """The axes that `axis` names of an array of n axes, counted from the front. An array without axes has one in
    name, as numpy has it: a reduction over axis 0 or -1 leaves it as it is."""
    if axis is None:
        return tuple(range(n))
    return () if n == 0 and axis in (0, -1) else normalize_axis_tuple(axis, n)


def spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """g, reduced over `axis`, with these axes back as 1, so that it broadcasts against an array of `shape`."""
    axes = axes_of(axis, len(shape))
    return reshape(g, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def count(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements of an array of `shape` each sum over `axis` has."""
    return math.prod(shape[i] for i in axes_of(axis, len(shape)))


def some(x: Any, axis: Axis, where: str) -> int:
    n = count(x.shape, axis)
    if not n:
        raise ValueError(f"{where}: expected at least one element, got none")
    return n


@op(lambda g, x_shape, axis: broadcast_to(spread(g, x_shape, axis), x_shape))
def sum(x, axis=None, keepdims=False):
    """The sum over an axis, a tuple of axes, or all; derivative 1 for each element."""
    return np.add.reduce(x, axis=axis, keepdims=keepdims)


@op(lambda g, x_shape, axis: broadcast_to(spread(g / float(count(x_shape, axis)), x_shape, axis), x_shape))
def mean(x, axis=None, keepdims=False):
    """The mean over an axis, a tuple of axes, or all; derivative 1/n for each element."""
    return np.add.reduce(x, axis=axis, keepdims=keepdims) / float(some(x, axis, "mean"))


def ties(g: Any, out: Any, x: Any, x_shape: tuple[int, ...], axis: Axis) -> Any:
    g, out = spread(g, x_shape, axis), spread(out, x_shape, axis)
    tied = x == out
    number = np.add.reduce(tied, axis=axis, keepdims=True, dtype=x.dtype)
    share = where(tied, g / np.maximum(number, 1.0), 0.0)
    return where(out != out, g * out, share)


@op(ties)
def max(x, axis=None, keepdims=False):
    """The largest element, NaN if any is; k of them in a tie share the derivative, 1/k each."""
    some(x, axis, "max")
    return np.maximum.reduce(x, axis=axis, keepdims=keepdims)


@op(ties)
def min(x, axis=None, keepdims=False):
    """The smallest element, NaN if any is; k of them in a tie share the derivative, 1/k each."""
    some(x, axis, "min")
    return np.minimum.reduce(x, axis=axis, keepdims=keepdims)


@op(lambda g, out, x, x_shape, axis: spread(g, x_shape, axis) * exp(x - spread(out, x_shape, axis)))
def logsumexp(x, axis=None, keepdims=False):
    """log(e^x1 + ... + e^xn), shifted by the largest so that nothing overflows; derivative softmax."""
    some(x, axis, "logsumexp")
    largest = np.maximum.reduce(x, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    total = np.log(np.add.reduce(np.exp(x - shift), axis=axis, keepdims=keepdims))
    return total + np.reshape(shift, np.shape(total))


def shifted(x: Any, axis: int, where: str) -> Any:
    some(x, axis, where)
    return x - np.maximum.reduce(x, axis=axis, keepdims=True)


@op(lambda g, out, axis: out * (g - sum(g * out, axis=axis, keepdims=True)))
def softmax(x, axis=-1):
    """e^xi / (e^x1 + ... + e^xn) along an axis, shifted by the largest so that nothing overflows."""
    e = np.exp(shifted(x, axis, "softmax"))
    return e / np.add.reduce(e, axis=axis, keepdims=True)


@op(lambda g, out, axis: g - exp(out) * sum(g, axis=axis, keepdims=True))
def log_softmax(x, axis=-1):
    """xi - log(e^x1 + ... + e^xn) along an axis, shifted by the largest so that nothing overflows."""
    d = shifted(x, axis, "log_softmax")
    return d - np.log(np.add.reduce(np.exp(d), axis=axis, keepdims=True))


# --- products ---------------------------------------------------------------------------------------------------------


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


def dot(x: Any, y: Any) -> Any:
    """x1 y1 + ... + xn yn, of two vectors. Raises ValueError when they differ in length or are no vectors."""
    x, y = arrays(x, y, "dot")
    if x.ndim != 1 or y.ndim != 1:
        raise TypeError(f"dot: expected a sequence, got shapes {x.shape} and {y.shape}")
    if x.shape != y.shape:
        raise ValueError(f"dot: expected sequences of one length, got {x.shape[0]} and {y.shape[0]}")
    return matmul(x, y)


# --- cross-entropy ----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def starts(n: int, k: int) -> np.ndarray:
    """Where the rows of (n, k) begin."""
    return np.arange(0, n * k, k)


@primitive
def picked(x, classes, starts):
    """The element of each row of (n, k) at that row's class number: (n,)."""
    return x.ravel().take(classes + starts if len(starts) > 1 else classes)


@op(lambda g, x, x_shape, hot: (softmax(x) - indicator(hot, x)) * (g / float(x_shape[0])))
def cross_entropy_(x, hot, classes):
    """The mean over rows of log(e^x1 + ... + e^xk) - x_true, where `classes` gives each row's true class, and `hot`
    has 1 there and 0 elsewhere; derivative (softmax - hot) / n."""
    n, k = x.shape
    d = shifted(x, -1, "cross_entropy")
    total = np.reshape(np.log(np.add.reduce(np.exp(d), axis=-1, keepdims=True)), (n,))
    return np.add.reduce(total - picked(d, classes, starts(n, k)), axis=None) / float(n)


FUNCTIONS = ("concatenate", "dot", "matmul", "stack", "take", "where")  # that are made of ops
__all__ = sorted([*FUNCTIONS, *(made.name for made in OPS.values() if made.public)])
