"""Ops on elements: each element of the result is made of the elements at the same place."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import function, indicator, op, primitive

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


@function
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
