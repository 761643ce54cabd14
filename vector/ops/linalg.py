"""Linear algebra on matrices, or on stacks of them, in the last two axes.

What gives several arrays is one op here, whose value has them below each other, and a function that takes it apart.
Formulas: M. Giles, An extended collection of matrix derivative results, 2008; S. Walter and L. Lehmann, Algorithmic
differentiation of linear algebra functions, 2010, for qr. numpy's LinAlgError, a ValueError, is raised for what is no
square matrix where one is needed, for singular ones, and by `cholesky` for those that are not positive definite.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from ..op import array, arrays, function, op, primitive
from .axes import axes_of, max, min, or_one, others, spread, sum
from .elementwise import abs, power, where
from .products import matmul_
from .shapes import Axes, concatenate, index_, moveaxis, reshape, triu

# --- equations and determinants ---------------------------------------------------------------------------------------


@op(lambda g, out: -matmul_(matmul_(out.mT, g), out.mT))
def inv(x):
    """The inverse of square matrices; derivative -x^-T g x^-T."""
    return np.linalg.inv(x)


@op(
    lambda g, out, x: -matmul_(solve_(x.mT, g), out.mT),
    lambda g, x: solve_(x.mT, g),
)
def solve_(x, y):
    """x^-1 y for square matrices x; derivatives -x^-T g out^T and x^-T g."""
    return np.linalg.solve(x, y)


@function
def solve(x: Any, y: Any) -> Any:
    """What x @ out = y holds for: for a vector y, or for each column of matrices y. Raises numpy's LinAlgError for
    singular x."""
    x, y = arrays(x, y, "solve")
    if y.ndim != 1:
        return solve_(x, y)
    out = solve_(x, reshape(y, (-1, 1)))
    return reshape(out, out.shape[:-1])


@op(lambda g, x: index_(g, (..., None, None)) * cofactor_(x))
def det(x):
    """The determinant of square matrices; derivative their cofactors, which singular ones have, too."""
    return np.linalg.det(x)


def by_inverse(g: Any, out: Any, x: Any) -> Any:
    y = inv(x).mT
    return out * sum(g * y, (-2, -1), True) - matmul_(matmul_(out, g.mT), y)


@op(by_inverse)
@primitive
def cofactor_(x):
    """det(x) x^-T, and by the singular values where there is no inverse; the derivative needs one."""
    d = np.linalg.det(x)[..., None, None]
    if np.all(d):
        return d * np.linalg.inv(x).mT
    u, s, v = np.linalg.svd(x)
    signs = np.linalg.det(u) * np.linalg.det(v)
    return signs[..., None, None] * (u * others(s, -1)[..., None, :]) @ v


class Slogdet(NamedTuple):
    """What `slogdet` gives."""

    sign: Any
    logabsdet: Any


@op(lambda g, x: index_(g, (..., 1, None, None)) * inv(x).mT)
@primitive
def slogdet_(x):
    """The sign of the determinant and the logarithm of its size, along a new last axis; derivative x^-T of the
    latter."""
    return np.stack(np.linalg.slogdet(x), -1)


@function
def slogdet(x: Any) -> Slogdet:
    """The sign of the determinant of square matrices, and the logarithm of its size, which cannot overflow."""
    out = slogdet_(x)
    return Slogdet(index_(out, (..., 0)), index_(out, (..., 1)))


# --- factors ----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def halved(n: int, dtype: Any) -> np.ndarray:
    """1 below the diagonal, 1/2 on it, 0 above."""
    return np.tri(n, dtype=dtype) - np.eye(n, dtype=dtype) / 2


def lower(x: Any) -> Any:
    """The lower triangles of square matrices, with half their diagonals."""
    return x * halved(x.shape[-1], x.dtype)


def of_cholesky(g: Any, out: Any) -> Any:
    half = solve_(out.mT, lower(matmul_(out.mT, g)))
    x = solve_(out.mT, half.mT)
    return lower(x + x.mT)


@op(of_cholesky)
def cholesky(x):
    """The lower triangular l with l l^T = x, of symmetric positive definite matrices. As numpy's it reads the lower
    triangle of x alone, and the derivative is by that: l^-T lower(l^T g) l^-1, with what it has above the diagonal
    added to what is below."""
    return np.linalg.cholesky(x)


def gaps(x: Any) -> Any:
    """1 / (xj - xi) in row i, column j, and 0 where these are equal."""
    d = index_(x, (..., None, slice(None))) - index_(x, (..., None))
    equal = d == 0
    return where(equal, 0.0, 1.0 / where(equal, 1.0, d))


def diagonals(x: Any) -> Any:
    """The square matrices that have x on their diagonals, and 0 else."""
    return index_(x, (..., None)) * np.eye(x.shape[-1], dtype=x.dtype)


def row(x: Any, i: int) -> Any:
    """Row number i of matrices."""
    return index_(x, (..., i, slice(None)))


def rows(x: Any, start: int, end: int | None = None) -> Any:
    """Some rows of matrices."""
    return index_(x, (..., slice(start, end), slice(None)))


def value_and_vectors(x: Any) -> tuple[Any, Any]:
    """What the value of `eigh_` has below each other."""
    return row(x, 0), rows(x, 1)


def of_eigh(g: Any, out: Any) -> Any:
    (w, v), (gw, gv) = value_and_vectors(out), value_and_vectors(g)
    x = matmul_(matmul_(v, gaps(w) * matmul_(v.mT, gv) + diagonals(gw)), v.mT)
    return lower(x + x.mT)


@op(of_eigh)
@primitive
def eigh_(x):
    """The eigenvalues of symmetric matrices, and below them the eigenvectors in columns."""
    w, v = np.linalg.eigh(x)
    return np.concatenate((w[..., None, :], v), -2)


class Eigh(NamedTuple):
    """What `eigh` gives."""

    eigenvalues: Any
    eigenvectors: Any


@function
def eigh(x: Any) -> Eigh:
    """The eigenvalues of symmetric matrices in ascending order, and the eigenvectors in columns. As numpy's it reads
    the lower triangle of x alone, and the derivative is by that.

    Where eigenvalues are equal their eigenvectors have no derivative: the terms 1 / (wj - wi) count as 0 there. What
    depends on the eigenvalues alone, and on all equal ones alike, has the right gradient there, but not the right
    second derivative.
    """
    return Eigh(*value_and_vectors(eigh_(x)))


def of_svd(g: Any, out: Any, x_shape: tuple[int, ...]) -> Any:
    m, n = x_shape[-2:]
    u, s, v, gu, gs, gv = (part for z in (out, g) for part in (rows(z, 0, m), row(z, m), rows(z, m + 1)))
    f, across = gaps(s * s), index_(s, (..., None, slice(None)))
    of_u, of_v = matmul_(u.mT, gu), matmul_(v.mT, gv)
    core = f * (of_u - of_u.mT) * across + index_(s, (..., None)) * f * (of_v - of_v.mT) + diagonals(gs)
    x = matmul_(matmul_(u, core), v.mT)
    if m > n:  # what leaves the space of the columns of u
        x = x + matmul_((gu - matmul_(u, of_u)) / or_one(across), v.mT)
    if n > m:
        x = x + matmul_(u / or_one(across), (gv - matmul_(v, of_v)).mT)
    return x


@op(of_svd)
@primitive
def svd_(x):
    """The left singular vectors in columns, below them the singular values, and below these the right vectors."""
    u, s, v = np.linalg.svd(x, full_matrices=False)
    return np.concatenate((u, s[..., None, :], v.mT), -2)


class Svd(NamedTuple):
    """What `svd` gives."""

    U: Any
    S: Any
    Vh: Any


@function
def svd(x: Any) -> Svd:
    """u, s and v of x = u diag(s) v with min(n, m) singular values, in descending order.

    Where singular values are equal, or 0 in matrices that are not square, their vectors have no derivative: the terms
    1 / (sj^2 - si^2) and 1 / s count as 0 and 1 there. What depends on the values alone, and on all equal ones alike,
    has the right gradient there, but not the right second derivative.
    """
    x = array(x, "svd")
    out, m = svd_(x), x.shape[-2]
    return Svd(rows(out, 0, m), row(out, m), rows(out, m + 1).mT)


def of_qr(g: Any, out: Any, x_shape: tuple[int, ...]) -> Any:
    m = x_shape[-2]
    q, r, gq, gr = rows(out, 0, m), rows(out, m).mT, rows(g, 0, m), rows(g, m).mT
    x = lower(matmul_(r, triu(gr).mT) - matmul_(gq.mT, q))
    return solve_(r, (gq + matmul_(q, x + x.mT)).mT).mT


@op(of_qr)
@primitive
def qr_(x):
    """q, and below it the transpose of r, for at least as many rows as columns."""
    q, r = np.linalg.qr(x)
    return np.concatenate((q, r.mT), -2)


class Qr(NamedTuple):
    """What `qr` gives."""

    Q: Any
    R: Any


@function
def qr(x: Any) -> Qr:
    """q with orthonormal columns and the upper triangular r of x = q r, as many columns of q as min(n, m). The
    derivative needs independent columns, and raises numpy's LinAlgError without."""
    x = array(x, "qr")
    m, n = x.shape[-2:]
    out = qr_(index_(x, (..., slice(0, m))))
    q, r = rows(out, 0, m), rows(out, m).mT
    return Qr(q, r if n <= m else concatenate((r, matmul_(q.mT, index_(x, (..., slice(m, None))))), -1))


# --- norms ------------------------------------------------------------------------------------------------------------


def of_norm(g: Any, out: Any, x: Any, x_shape: tuple[int, ...], ord: float, axis: Axes) -> Any:
    g, out = spread(g, x_shape, axis), spread(or_one(out), x_shape, axis)
    if ord == 2:
        return g / out * x
    size = g * power(where(x == 0, 1.0, abs(x)) / out, ord - 1.0)
    return where(x > 0, size, where(x < 0, -size, 0.0))


@op(of_norm)
def norm_(x, ord: float, axis=None, keepdims=False):
    """(|x1|^p + ... + |xn|^p)^(1/p) over an axis, a tuple of axes, or all; derivative sign(x) (|x| / norm)^(p - 1),
    and 0 where x or the norm is 0."""
    if ord == 2:
        return np.sqrt(np.add.reduce(x * x, axis=axis, keepdims=keepdims))
    return np.power(np.add.reduce(np.power(np.abs(x), ord), axis=axis, keepdims=keepdims), 1.0 / ord)


@function
def norm(x: Any, ord: Any = None, axis: Axes = None, keepdims: bool = False) -> Any:
    """The norm of vectors along an axis, or of matrices in two axes: by default the root of the sum of squares, of all
    elements without an axis.

    Vectors: `ord` is p, also math.inf (the largest |x|) and -math.inf (the smallest). Matrices: "fro" (the default),
    "nuc" (the sum of the singular values), 2 and -2 (the largest and smallest of them), 1 and -1 (the largest and
    smallest sum of |x| down a column), math.inf and -math.inf (along a row). Raises ValueError for any other, TypeError
    for 0, which counts.
    """
    x = array(x, "norm")
    axis, keepdims = axis if axis is None or isinstance(axis, tuple) else int(axis), bool(keepdims)
    if ord is None:
        return norm_(x, 2.0, axis, keepdims)
    axes, shape = axes_of(axis, x.ndim), x.shape
    if len(axes) == 1:
        if ord == 0:
            raise TypeError("norm: expected a norm that has a derivative, got 0; use np.count_nonzero on .data")
        if isinstance(ord, str):
            raise ValueError(f"norm: expected a number for vectors, got {ord!r}")
        if math.isinf(ord):
            return (max if ord > 0 else min)(abs(x), axes, keepdims)
        return sum(abs(x), axes, keepdims) if ord == 1 else norm_(x, ord, axes, keepdims)
    if len(axes) != 2 or ord not in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise ValueError(f"norm: expected a norm of vectors or matrices, got {ord!r} over {len(axes)} axes")
    if ord == "fro":
        return norm_(x, 2.0, axes, keepdims)
    x = moveaxis(x, axes, (-2, -1))
    if ord in ("nuc", 2, -2):
        out = {"nuc": sum, 2: max, -2: min}[ord](svd(x).S, -1)
    else:
        out = (max if ord > 0 else min)(sum(abs(x), -1 if math.isinf(ord) else -2), -1)
    return spread(out, shape, axes) if keepdims else out
