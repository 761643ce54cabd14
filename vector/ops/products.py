"""Products of matrices and vectors."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..op import FLOATS, array, arrays, function, op, single
from ..runtime.matmul import row_tiles, tiled
from .axes import sum
from .elementwise import multiply
from .shapes import diagonal, reshape, transpose

Labels = tuple[Any, ...]  # a name for each axis


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
    if x.ndim > 2 and y.ndim == 2 and x.shape[-1] == y.shape[0]:  # one large product instead of many small ones
        out = matmul_(reshape(x, (math.prod(x.shape[:-1]), x.shape[-1])), y)
        return reshape(out, (*x.shape[:-1], y.shape[1]))
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


# --- contractions -----------------------------------------------------------------------------------------------------


def arranged(x: Any, labels: Labels, *groups: Sequence[Any]) -> Any:
    """x with its axes in the order of the groups: those of a tuple become one axis, those of a list stay."""
    order = tuple(labels.index(label) for group in groups for label in group)
    x = x if order == tuple(range(len(order))) else transpose(x, order)
    sizes, shape = iter(x.shape), []
    for group in groups:
        lengths = list(itertools.islice(sizes, len(group)))
        shape += lengths if isinstance(group, list) else [math.prod(lengths)]
    return x if tuple(shape) == x.shape else reshape(x, tuple(shape))


def contract(x: Any, xs: Labels, y: Any, ys: Labels, kept: Collection[Any]) -> tuple[Any, Labels]:
    """The sum of products over the labels that x and y share, but for those that are `kept`. Returns the result and its
    labels. A label that only one of them has is kept."""
    shared = [label for label in xs if label in ys]
    batch, over = [a for a in shared if a in kept], tuple(a for a in shared if a not in kept)
    left, right = tuple(a for a in xs if a not in shared), tuple(a for a in ys if a not in shared)
    labels = (*batch, *left, *right)
    sizes = {**dict(zip(xs, x.shape, strict=True)), **dict(zip(ys, y.shape, strict=True))}
    shape = tuple(sizes[label] for label in labels)
    if not over or (batch and not left and not right):  # element by element
        x, y = arranged(x, xs, batch, [*left, *over]), arranged(y, ys, batch, [*right, *over])
        if left and right:
            x = reshape(x, (*x.shape, *(1,) * len(right)))
            y = reshape(y, (*y.shape[: len(batch)], *(1,) * len(left), *y.shape[len(batch) :]))
        elif right:
            x = reshape(x, (*x.shape, *(1,) * len(right)))
        elif left:
            y = reshape(y, (*y.shape, *(1,) * len(left)))
        out = multiply(x, y)
        return sum(out, tuple(range(len(batch), out.ndim))) if over else out, labels
    out = matmul_(arranged(x, xs, batch, left, over), arranged(y, ys, batch, over, right))
    return out if out.shape == shape else reshape(out, shape), labels


@functools.lru_cache(maxsize=256)
def parsed(subscripts: str, dimensions: tuple[int, ...]) -> tuple[list[Labels], Labels]:
    """The labels of each operand and of the result: the letters of the subscripts, and numbers from the end for the
    axes that an ellipsis stands for. Raises ValueError for subscripts that numpy does not take."""
    text, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = text.split(",")
    if len(terms) != len(dimensions):
        raise ValueError(f"einsum: expected {len(terms)} operands for {subscripts!r}, got {len(dimensions)}")
    dots = max([n - len(t.replace("...", "")) for t, n in zip(terms, dimensions, strict=True) if "..." in t], default=0)

    def labels(term: str, n: int) -> Labels:
        before, ellipsis, after = term.partition("...")
        letters = before + after
        if not all(c.isascii() and c.isalpha() for c in letters):
            raise ValueError(f"einsum: expected letters, commas, ... and ->, got {subscripts!r}")
        if n < len(letters) or (n > len(letters) and not ellipsis):
            raise ValueError(f"einsum: expected an operand of {len(letters)} axes for {term!r}, got one of {n}")
        return (*before, *range(len(letters) - n, 0), *after)

    named = [labels(term, n) for term, n in zip(terms, dimensions, strict=True)]
    every = [label for term in named for label in term]
    if arrow:
        out = labels(result, len(result.replace("...", "")) + dots * ("..." in result))
    else:
        once = sorted({a for a in every if isinstance(a, str) and every.count(a) == 1})
        out = (*range(-dots, 0), *once)
    if len({*out}) < len(out) or not {*out} <= {*every}:
        raise ValueError(f"einsum: expected each letter of the result once, from those of the operands: {subscripts!r}")
    return named, out


def prepared(x: Any, labels: Labels, sizes: dict[Any, int], others: Collection[Any]) -> tuple[Any, Labels]:
    """An operand where a label that it has twice stands for the diagonal, without axes of length 1 that broadcast, and
    summed over the labels that nobody else has."""
    while twice := [a for a in labels if labels.count(a) > 1]:
        i = labels.index(twice[0])
        j = labels.index(twice[0], i + 1)
        if x.shape[i] != x.shape[j]:
            raise ValueError(f"einsum: expected axes of one length for {twice[0]!r}, got {x.shape[i]} and {x.shape[j]}")
        x = diagonal(x, 0, i, j)
        labels = (*labels[:i], *labels[i + 1 : j], *labels[j + 1 :], twice[0])
    kept = [i for i, a in enumerate(labels) if x.shape[i] == sizes[a]]
    if len(kept) < len(labels):
        x, labels = reshape(x, tuple(x.shape[i] for i in kept)), tuple(labels[i] for i in kept)
    if alone := tuple(i for i, a in enumerate(labels) if a not in others):
        x, labels = sum(x, alone), tuple(a for a in labels if a in others)
    return x, labels


def lengths(terms: Sequence[Labels], xs: Sequence[Any]) -> dict[Any, int]:
    """The length of each label. Raises ValueError where it has several; 1 goes with any."""
    sizes: dict[Any, int] = {}
    for labels, x in zip(terms, xs, strict=True):
        for label, n in zip(labels, x.shape, strict=True):
            if sizes.setdefault(label, n) == 1:
                sizes[label] = n
            elif n not in (1, sizes[label]):
                raise ValueError(f"einsum: expected axes of one length for {label!r}, got {sizes[label]} and {n}")
    return sizes


@function
def einsum(subscripts: str, *operands: Any) -> Any:
    """Sums of products of tensors over axes that are named by letters, as numpy's: einsum("ij,jk->ik", x, y) is x @ y.
    A letter that is not in the result is summed over, one that an operand has twice stands for its diagonal, "..." for
    all other axes, which broadcast. Without "->" the result has the letters that occur once, in alphabetical order.

    Each pair of operands is one product of matrices; of three and more, the pair with the smallest result comes first.
    Raises ValueError for subscripts and shapes that do not fit.
    """
    like = next((x for x in operands if getattr(x, "dtype", None) in FLOATS and not single(x)), None)
    xs = [array(x, "einsum", like) for x in operands]
    terms, out = parsed(subscripts, tuple(x.ndim for x in xs))
    sizes = lengths(terms, xs)

    def elsewhere(i: int, j: int | None = None) -> set[Any]:
        return {*out, *(a for k, (_, labels) in enumerate(left) if k not in (i, j) for a in labels)}

    left = list(zip(xs, terms, strict=True))
    for i in range(len(left)):
        left[i] = prepared(*left[i], sizes, elsewhere(i))

    def growth(pair: tuple[int, int]) -> int:
        (_, a), (_, b) = (left[i] for i in pair)
        result = ({*a} | {*b}) & elsewhere(*pair)
        return volume(result) - volume(a) - volume(b)

    def volume(labels: Collection[Any]) -> int:
        return math.prod(sizes[a] for a in labels)

    while len(left) > 1:
        i, j = min(itertools.combinations(range(len(left)), 2), key=growth)
        made = contract(*left[i], *left[j], elsewhere(i, j))
        left = [*(x for k, x in enumerate(left) if k not in (i, j)), prepared(*made, sizes, elsewhere(i, j))]
    x, labels = left[0]
    return arranged(x, labels, list(out))


@function
def tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """The sum of products over the last axes of x and the first of y, so many, or over axes of x and of y, given as a
    pair of numbers or of tuples. Raises ValueError where these differ in length."""
    x, y = arrays(x, y, "tensordot")
    over = (range(x.ndim - axes, x.ndim), range(axes)) if isinstance(axes, int) else axes
    a, b = (
        normalize_axis_tuple(tuple(np.atleast_1d(part).tolist()), z.ndim) for part, z in zip(over, (x, y), strict=True)
    )
    if [x.shape[i] for i in a] != [y.shape[i] for i in b]:
        raise ValueError(f"tensordot: expected axes {a} and {b} of one length, got shapes {x.shape} and {y.shape}")
    pairs = dict(zip(b, a, strict=True))
    return contract(x, tuple(range(x.ndim)), y, tuple(pairs.get(i, i + x.ndim) for i in range(y.ndim)), ())[0]


@function
def outer(x: Any, y: Any) -> Any:
    """xi yj for all elements of x, a row each, and of y."""
    x, y = arrays(x, y, "outer")
    return multiply(reshape(x, (-1, 1)), reshape(y, (1, -1)))


@function
def inner(x: Any, y: Any) -> Any:
    """The sum of products over the last axes of x and y, for all combinations of the others."""
    x, y = arrays(x, y, "inner")
    return tensordot(x, y, (-1, -1)) if x.ndim and y.ndim else multiply(x, y)


@function
def kron(x: Any, y: Any) -> Any:
    """Kronecker's product: each element of x times all of y, in blocks. The one with fewer axes gets more in front."""
    x, y = arrays(x, y, "kron")
    n = max(x.ndim, y.ndim)
    a, b = ((1,) * (n - z.ndim) + z.shape for z in (x, y))
    blocks = multiply(reshape(x, tuple(m for k in a for m in (k, 1))), reshape(y, tuple(m for k in b for m in (1, k))))
    return reshape(blocks, tuple(i * j for i, j in zip(a, b, strict=True)))


@function
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of the diagonal number `offset` of the matrices that two axes span."""
    return sum(diagonal(x, offset, axis1, axis2), -1)
