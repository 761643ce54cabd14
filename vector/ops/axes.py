"""Ops over axes: each element of the result is made of many."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..op import indicator, op, primitive
from .elementwise import exp, where
from .shapes import broadcast_to, reshape

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
