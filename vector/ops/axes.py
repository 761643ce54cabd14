"""Ops over axes: each element of the result is made of many."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..op import array, function, indicator, op, primitive
from .elementwise import exp, sqrt, where
from .shapes import (
    Axes,
    broadcast_to,
    concatenate,
    flip,
    index_,
    inverse,
    reshape,
    take_along_axis,
    transpose,
)


def axes_of(axis: Axes, n: int) -> tuple[int, ...]:
    """The axes that `axis` names of an array of n axes, counted from the front. An array without axes has one in
    name, as numpy has it: a reduction over axis 0 or -1 leaves it as it is."""
    if axis is None:
        return tuple(range(n))
    return () if n == 0 and axis in (0, -1) else normalize_axis_tuple(axis, n)


def spread(g: Any, shape: tuple[int, ...], axis: Axes) -> Any:
    """g, reduced over `axis`, with these axes back as 1, so that it broadcasts against an array of `shape`."""
    axes = axes_of(axis, len(shape))
    return reshape(g, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def count(shape: tuple[int, ...], axis: Axes) -> int:
    """How many elements of an array of `shape` each sum over `axis` has."""
    return math.prod(shape[i] for i in axes_of(axis, len(shape)))


def some(x: Any, axis: Axes, where: str) -> int:
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


def ties(g: Any, out: Any, x: Any, x_shape: tuple[int, ...], axis: Axes) -> Any:
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


# --- spread and size --------------------------------------------------------------------------------------------------


def degrees(shape: tuple[int, ...], axis: Axes, ddof: float, where: str) -> float:
    """What the sum of squares is divided by: how many elements, less `ddof`."""
    n = count(shape, axis)
    if n <= ddof:
        raise ValueError(f"{where}: expected more than {ddof} elements, got {n}")
    return float(n - ddof)


@op(
    lambda g, x, x_shape, axis, ddof: (
        spread(g * (2.0 / degrees(x_shape, axis, ddof, "var")), x_shape, axis) * (x - mean(x, axis, True))
    )
)
def var(x, axis=None, ddof=0, keepdims=False):
    """The variance over an axis, a tuple of axes, or all: the sum of (x - mean)^2 over n - ddof; derivative
    2 (x - mean) / (n - ddof)."""
    n = degrees(x.shape, axis, ddof, "var")
    d = x - mean(x, axis, True)
    return np.add.reduce(d * d, axis=axis, keepdims=keepdims) / n


def or_one(out: Any) -> Any:
    """`out` to divide by: 1 in place of 0."""
    return where(out == 0, 1.0, out)


@op(
    lambda g, out, x, x_shape, axis, ddof: (
        spread(g / (or_one(out) * degrees(x_shape, axis, ddof, "std")), x_shape, axis) * (x - mean(x, axis, True))
    )
)
def std(x, axis=None, ddof=0, keepdims=False):
    """The standard deviation, the root of `var`; derivative (x - mean) / ((n - ddof) std), and 0 where it is 0."""
    n = degrees(x.shape, axis, ddof, "std")
    d = x - mean(x, axis, True)
    return np.sqrt(np.add.reduce(d * d, axis=axis, keepdims=keepdims) / n)


# --- running sums and products ----------------------------------------------------------------------------------------


@op(lambda g, x_shape, axis: reshape(flip(cumsum(flip(g, axis), axis), axis), x_shape))
def cumsum(x, axis=None):
    """The sums of the first 1, 2, ... n elements along an axis, or of all in a row; derivative 1 for each element that
    is in it."""
    return np.cumsum(x, axis)


def before(x: Any, axis: int) -> Any:
    """x moved on by one place along an axis, with 1 in the first."""
    at = (slice(None),) * (axis % x.ndim)
    one = np.ones((*x.shape[: len(at)], 1, *x.shape[len(at) + 1 :]), x.dtype)
    return concatenate([one, index_(x, (*at, slice(0, -1)))], axis) if x.shape[axis] else x


def recurrence(a: Any, b: Any, axis: int) -> Any:
    """y1 = b1, y2 = a2 y1 + b2, ... along an axis. Two steps in one are a step, with a2 a1 and a2 b1 + b2: so all are
    taken in log n rounds, each of which doubles the steps."""
    n, k, at = b.shape[axis], 1, (slice(None),) * (axis % b.ndim)
    while k < n:
        low, high, back = ((*at, part) for part in (slice(0, k), slice(k, n), slice(0, n - k)))
        b = concatenate([index_(b, low), index_(b, high) + index_(a, high) * index_(b, back)], axis)
        a = concatenate([index_(a, low), index_(a, high) * index_(a, back)], axis)
        k *= 2
    return b


def of_products(g: Any, out: Any, x: Any, x_shape: tuple[int, ...], axis: int | None) -> Any:
    """Without dividing by x, which may be 0: each product before x, times r, where r = g + r' x' with r', x' of the
    next place."""
    if axis is None or not x_shape:
        x, axis = reshape(x, (-1,)), 0
    following = recurrence(before(flip(x, axis), axis), flip(g, axis), axis)
    return reshape(before(out, axis) * flip(following, axis), x_shape)


@op(of_products)
def cumprod(x, axis=None):
    """The products of the first 1, 2, ... n elements along an axis, or of all in a row; derivative the product of the
    others that are in it."""
    return np.cumprod(x, axis)


def others(x: Any, axis: Axes) -> Any:
    """For each element the product of all others over `axis`."""
    axes = axes_of(axis, x.ndim)
    order = (*(i for i in range(x.ndim) if i not in axes), *axes)
    turned = transpose(x, order)
    rows = reshape(turned, (*turned.shape[: x.ndim - len(axes)], count(x.shape, axis)))
    product = before(cumprod(rows, -1), -1) * flip(before(cumprod(flip(rows, -1), -1), -1), -1)
    return transpose(reshape(product, turned.shape), inverse(order))


@op(lambda g, x, x_shape, axis: spread(g, x_shape, axis) * others(x, axis))
def prod(x, axis=None, keepdims=False):
    """The product over an axis, a tuple of axes, or all; derivative the product of the others, also where x is 0."""
    return np.multiply.reduce(x, axis=axis, keepdims=keepdims)


# --- order ------------------------------------------------------------------------------------------------------------


def numbers(x: Any, where: str) -> Any:
    """x as an array, for what is no op: positions move in jumps."""
    x = array(x, where)
    return x.peek() if hasattr(x, "op") else x


@function
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where along an axis, or among all elements in a row, the largest element is, the first of several: integers in a
    plain array."""
    return np.argmax(numbers(x, "argmax"), axis, keepdims=keepdims)


@function
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where along an axis, or among all elements in a row, the smallest element is, the first of several: integers in a
    plain array."""
    return np.argmin(numbers(x, "argmin"), axis, keepdims=keepdims)


@function
def argsort(x: Any, axis: int | None = -1) -> Any:
    """Where the elements along an axis, or of all in a row, are in ascending order: integers in a plain array. Equal
    ones stay in their order, NaN comes last."""
    return np.argsort(numbers(x, "argsort"), axis, kind="stable")


@function
def sort(x: Any, axis: int | None = -1) -> Any:
    """The elements along an axis, or of all in a row, in ascending order. Of equal ones each gets the gradient of its
    own place."""
    x = array(x, "sort")
    return take_along_axis(x, argsort(x, axis), axis)


@function
def topk(x: Any, k: int, axis: int = -1) -> tuple[Any, Any]:
    """The k largest elements along an axis in descending order, the first of equal ones first, and where they are:
    integers in a plain array. Raises ValueError where there are fewer than k."""
    x = array(x, "topk")
    at = axes_of(axis, x.ndim)[0] if x.ndim else 0
    n = x.shape[at] if x.ndim else 1
    if not 0 <= k <= n:
        raise ValueError(f"topk: expected k from 0 to {n}, got {k}")
    backwards = np.argsort(np.flip(numbers(x, "topk"), at), at, kind="stable")
    places = n - 1 - np.flip(backwards, at)[(slice(None),) * at + (slice(0, k),)]
    return take_along_axis(x, places, at), places


# --- standardizing ----------------------------------------------------------------------------------------------------


def scale(x: Any, axis: Axes, eps: float) -> Any:
    """1 / sqrt(variance + eps) over `axis`, which stays as 1."""
    d = x - mean(x, axis=axis, keepdims=True)
    return 1.0 / sqrt(mean(d * d, axis=axis, keepdims=True) + eps)


def across(g: Any, out: Any, x: Any, axis: Axes, eps: float) -> Any:
    centred = g - mean(g, axis=axis, keepdims=True)
    return (centred - out * mean(g * out, axis=axis, keepdims=True)) * scale(x, axis, eps)


@op(across)
def standardize(x, axis=-1, eps: float = 1e-5):
    """(x - mean) / sqrt(variance + eps) over an axis, a tuple of axes, or all; the variance divides by the number. The
    derivative takes from g its mean and its part along the result, and divides by the root."""
    n = float(some(x, axis, "standardize"))
    d = x - np.add.reduce(x, axis=axis, keepdims=True) / n
    return d * (1.0 / np.sqrt(np.add.reduce(d * d, axis=axis, keepdims=True) / n + eps))


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
