"""Ops that move elements: each element of the result is an element of an input."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..op import array, floating, function, number, op, primitive
from .elementwise import where

Axes = int | tuple[int, ...] | None


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


# --- elements by their places -----------------------------------------------------------------------------------------


@op(lambda g, x_shape, key: scatter_(g, key, x_shape))
def index_(x, key):
    """x[key], for any key that numpy takes."""
    return x[key]


@op(lambda g, key: index_(g, key))
def scatter_(x, key, shape):
    """Zeros of `shape` with x added at `key`, as often as an element is named there: the transpose of `index_`."""
    return scattered(x, key, shape)


@primitive
def scattered(x, key, shape, out=None):
    """What `scatter_` is, in one call."""
    if out is None:
        out = np.zeros(shape, x.dtype)
    else:
        out.fill(0.0)
    if not may_repeat(key):
        out[key] = x
    elif out.size:  # np.add.at is several times quicker along one axis
        whole = len(shape) if isinstance(key, tuple) else 1
        row = math.prod(shape[whole:])
        if isinstance(key, np.ndarray):
            places = key.astype(np.intp, copy=False).reshape(-1)  # one below 0 stays so, and counts from the end
        else:
            places = np.arange(math.prod(shape[:whole])).reshape(shape[:whole])[key].reshape(-1)
        if row > 1:
            places = np.add.outer(places * row, counted(row)).reshape(-1)
        np.add.at(out.reshape(-1), places, x.reshape(-1))
    return out


@functools.lru_cache(maxsize=64)
def counted(n: int) -> np.ndarray:
    """The numbers from 0 to below n."""
    return np.arange(n)


def may_repeat(key: Any) -> bool:
    """Whether a key may name an element twice. Only arrays and lists of integers do."""
    if isinstance(key, np.ndarray):
        return key.ndim > 0 and key.dtype.kind in "iu"
    several = [k for k in (key if isinstance(key, tuple) else (key,)) if hasattr(k, "dtype") or np.iterable(k)]
    return any(np.ndim(k) and np.asarray(k).dtype.kind in "iu" for k in several)


@function
def take(x: Any, indices: Any, axis: int = 0) -> Any:
    """The slices of x at integer `indices` along `axis`; a slice taken twice gets both gradients. Raises TypeError for
    indices that are no integers."""
    dtype = indices.dtype if hasattr(indices, "dtype") else np.asarray(indices, None if np.size(indices) else int).dtype
    if dtype.kind not in "iu":
        raise TypeError(f"take: expected integer indices, got {dtype}; use x[mask] in place of vector.take for bools")
    x = x if np.ndim(x) else reshape(x, (1,))  # as numpy has it, an array without axes has one in name
    at = normalize_axis_index(axis, np.ndim(x))
    return index_(x, (slice(None),) * at + (indices,) if at or isinstance(indices, tuple) else indices)


@function
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """x at integer `indices` along `axis`, by an index for each place of the other axes, as np.argsort gives them: in
    two dimensions along the last, out[i, j] = x[i, indices[i, j]]. Without an axis, of all elements in a row."""
    x = array(x, "take_along_axis")
    if axis is None:
        x, axis = ravel(x), 0
    if np.ndim(indices) != x.ndim:
        raise ValueError(f"take_along_axis: expected indices of {x.ndim} axes, got shape {np.shape(indices)}")
    key: list[Any] = list(np.ix_(*map(np.arange, x.shape)))
    key[normalize_axis_index(axis, x.ndim)] = indices
    return index_(x, tuple(key))


@function
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements at i, i + offset of the matrices that two axes span, along a new last axis."""
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    n, m = x.shape[-2:]
    rows = reshape(x, (*x.shape[:-2], n * m))
    return index_(rows, (..., on_diagonal(max(0, min(n, m - offset, n + offset, m)), m, offset)))


def on_diagonal(length: int, m: int, offset: int) -> slice:
    """Where in all elements of a matrix of m columns those of a diagonal are."""
    start = offset if offset >= 0 else -offset * m
    return slice(start, start + length * (m + 1), m + 1) if length else slice(0, 0)


@function
def diag(x: Any, k: int = 0) -> Any:
    """The diagonal number k of a matrix, or the matrix that has a vector there and zeros else. Raises ValueError for
    any other number of axes."""
    x = array(x, "diag")
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError(f"diag: expected a vector or a matrix, got shape {x.shape}")
    n = x.shape[0] + abs(k)
    return reshape(scatter_(x, on_diagonal(x.shape[0], n, k), (n * n,)), (n, n))


@functools.lru_cache(maxsize=64)
def triangle(n: int, m: int, k: float) -> np.ndarray:
    """Where an (n, m) matrix is on or below its diagonal number k."""
    return np.tri(n, m, k, bool)  # type: ignore[call-overload]


@function
def tril(x: Any, k: int = 0) -> Any:
    """Matrices with zeros above their diagonal number k."""
    x = array(x, "tril")
    return where(triangle(*last_two(x, "tril"), float(k)), x, 0.0)


@function
def triu(x: Any, k: int = 0) -> Any:
    """Matrices with zeros below their diagonal number k."""
    x = array(x, "triu")
    return where(triangle(*last_two(x, "triu"), float(k) - 1.0), 0.0, x)


def last_two(x: Any, where: str) -> Any:
    """The lengths of the last two axes; a vector counts as a row for each of its elements, as numpy has it."""
    if not x.ndim:
        raise ValueError(f"{where}: expected at least one axis, got none")
    return x.shape[-2:] if x.ndim > 1 else x.shape * 2


@function
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Any:
    """x with more elements around it. `pad_width` is how many before and after, on each axis: ((1, 2), (0, 0)), or one
    pair or number for all axes. They are `constant_values`, or by `mode` those of x: "edge", "reflect" (not the edge
    twice), "symmetric" (the edge twice) or "wrap". Raises ValueError for another mode."""
    x = array(x, "pad")
    widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    if any(not isinstance(w, int) or w < 0 for pair in widths for w in pair):
        raise ValueError(f"pad: expected whole numbers of elements from 0, got {pad_width}")
    if mode == "constant":
        fill = number(constant_values, "pad, constant_values")
        shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths, strict=True))
        inside = tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, widths, strict=True))
        out = scatter_(x, inside, shape)
        return out if fill == 0.0 else where(scattered(np.ones(x.shape, bool), inside, shape), out, fill)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(f"pad: expected mode constant, edge, reflect, symmetric or wrap, got {mode}")
    for axis, pair in enumerate(widths):
        if pair != [0, 0]:
            x = take(x, np.pad(np.arange(x.shape[axis]), pair, mode), axis)  # type: ignore[call-overload]
    return x


# --- made of these ----------------------------------------------------------------------------------------------------


def blank(shape: tuple[int, ...]) -> np.ndarray:
    """An array without memory, to ask numpy what it makes of a shape."""
    return np.broadcast_to(0.0, shape)


@function
def squeeze(x: Any, axis: Axes = None) -> Any:
    """x without an axis, several, or all, of length 1. Raises ValueError for an axis of another length."""
    x = array(x, "squeeze")
    return reshape(x, np.squeeze(blank(x.shape), axis).shape)


@function
def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Any:
    """x with a new axis of length 1 that is number `axis` of the result, or several."""
    x = array(x, "expand_dims")
    return reshape(x, np.expand_dims(blank(x.shape), axis).shape)


@function
def flip(x: Any, axis: Axes = None) -> Any:
    """The elements in reverse order along an axis, several, or all."""
    x = array(x, "flip")
    turned = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim)
    return index_(x, tuple(slice(None, None, -1) if i in turned else slice(None) for i in range(x.ndim)))


@function
def roll(x: Any, shift: int | tuple[int, ...], axis: Axes = None) -> Any:
    """The elements moved on by `shift` along an axis, those from the end to the start; several axes have one shift, or
    each its own. Without an axis, through all elements."""
    x = array(x, "roll")
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), x.shape)
    if hasattr(shift, "op"):
        raise TypeError("roll: expected whole numbers to shift by, got a node; give its .data")
    for at, k in np.broadcast(normalize_axis_tuple(axis, x.ndim, allow_duplicate=True), shift):
        n = x.shape[at]
        if n and (cut := n - int(k) % n) < n:
            before = (slice(None),) * at
            x = concatenate([index_(x, (*before, slice(cut, n))), index_(x, (*before, slice(0, cut)))], at)
    return x


@function
def ravel(x: Any) -> Any:
    """All elements in a row, the last axis first."""
    return reshape(x, (-1,))


@function
def flatten(x: Any) -> Any:
    """All elements in a row, the last axis first."""
    return reshape(x, (-1,))


@function
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """x with two axes in each other's place."""
    x = array(x, "swapaxes")
    a, b = normalize_axis_index(axis1, x.ndim), normalize_axis_index(axis2, x.ndim)
    return transpose(x, tuple(b if i == a else a if i == b else i for i in range(x.ndim)))


@function
def moveaxis(x: Any, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Any:
    """x with axes moved to other places, the others in their order. Raises ValueError where these differ in number."""
    x = array(x, "moveaxis")
    here, there = normalize_axis_tuple(source, x.ndim, "source"), normalize_axis_tuple(destination, x.ndim)
    if len(here) != len(there):
        raise ValueError(f"moveaxis: expected as many places as axes, got {len(here)} and {len(there)}")
    order = [i for i in range(x.ndim) if i not in here]
    for place, axis in sorted(zip(there, here, strict=True)):
        order.insert(place, axis)
    return transpose(x, tuple(order))


@function
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each slice along `axis` several times, one after the other: `repeats` is how often, one number for all or one for
    each. Without an axis, each element."""
    x = array(x, "repeat")
    if axis is None or not x.ndim:
        x, axis = ravel(x), 0 if axis is None else axis
    axis = normalize_axis_index(axis, x.ndim)
    n = x.shape[axis]
    if np.ndim(repeats):
        return take(x, np.repeat(np.arange(n), repeats), axis)
    before, after = x.shape[: axis + 1], x.shape[axis + 1 :]
    several = broadcast_to(reshape(x, (*before, 1, *after)), (*before, int(repeats), *after))
    return reshape(several, (*before[:-1], n * int(repeats), *after))


@function
def tile(x: Any, reps: Any) -> Any:
    """x side by side with itself, as often as `reps` says: a number for the last axis, or one for each axis."""
    x = array(x, "tile")
    times = tuple(int(r) for r in np.atleast_1d(reps))
    times = (1,) * (x.ndim - len(times)) + times
    shape = (1,) * (len(times) - x.ndim) + x.shape
    apart = reshape(x, tuple(m for n in shape for m in (1, n)))
    several = broadcast_to(apart, tuple(m for pair in zip(times, shape, strict=True) for m in pair))
    return reshape(several, tuple(r * n for r, n in zip(times, shape, strict=True)))


# --- several arrays ---------------------------------------------------------------------------------------------------


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


@function
def concatenate(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """Tensors joined along an axis they have, or all elements of each (axis None). Raises ValueError for other shapes
    that do not fit."""
    return concatenate_(*xs, axis=axis)


@function
def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis."""

    def widened(x: Any) -> Any:
        at = normalize_axis_index(axis, np.ndim(x) + 1)
        return reshape(x, (*np.shape(x)[:at], 1, *np.shape(x)[at:]))

    return concatenate([widened(x) for x in xs], axis=axis)


@function
def hstack(xs: Sequence[Any]) -> Any:
    """Tensors side by side: joined along their second axis, vectors and numbers along their only one."""
    wide = [x if np.ndim(x) else reshape(x, (1,)) for x in xs]
    return concatenate(wide, 0 if np.ndim(wide[0]) == 1 else 1)


@function
def vstack(xs: Sequence[Any]) -> Any:
    """Tensors below each other: joined along their first axis, of which a vector is a row."""
    return concatenate([x if np.ndim(x) > 1 else reshape(x, (1, -1)) for x in xs], 0)


@function
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """x cut along an axis, into so many parts of one length, or before each of these indices. Raises ValueError where
    the parts differ in length."""
    x = array(x, "split")
    axis = normalize_axis_index(axis, x.ndim)
    n = x.shape[axis]
    if np.ndim(indices_or_sections):
        cuts = [0, *(int(i) for i in indices_or_sections), n]
    else:
        number = int(indices_or_sections)
        if number <= 0 or n % number:
            raise ValueError(f"split: expected a number of parts that divides {n}, got {number}")
        cuts = list(range(0, n + 1, n // number)) if n else [0] * (number + 1)
    before = (slice(None),) * axis
    return [index_(x, (*before, slice(a, b))) for a, b in itertools.pairwise(cuts)]
