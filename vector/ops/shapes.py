"""Ops that move elements: each element of the result is an element of an input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..op import floating, function, op, primitive


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


@function
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
