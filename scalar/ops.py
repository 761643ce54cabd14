"""The calculus page: what each op computes and how it differentiates, on plain numbers.

Every block reads the same way, derivatives first, one for each input. The names of a rule say what it reads:

    g         the gradient arriving from above, dL/dout
    out       the op's value
    x, y      its inputs (xs, ys: of an op over sequences)
    xs_shape  an input's shape, where the derivative needs no more of it
    slope     or whatever else the op is told besides its inputs

Floats give floats, nodes give nodes: so second derivatives come about. To add an op, add its block here, nothing else.
`+ - *` are Python's own; exp, log, ... are numpy's, so that any array of float64 agrees with them to the last bit.
"""

from __future__ import annotations

import builtins
import operator
from typing import Any

import numpy as np

from .op import OPS, op

# --- arithmetic -----------------------------------------------------------------------------------------------------


@op(lambda g: g, lambda g: g)
def add(x, y):
    """x + y."""
    return x + y


@op(
    lambda g: g,
    lambda g: -g,
)
def subtract(x, y):
    """x - y."""
    return x - y


@op(
    lambda g, y: g * y,
    lambda g, x: g * x,
)
def multiply(x, y):
    """x y."""
    return x * y


@op(
    lambda g, y: g / y,
    lambda g, out, y: -g * out / y,
)
def divide(x, y):
    """x / y; derivatives 1/y and -x/y^2."""
    return x / y


@op(lambda g: -g)
def negative(x):
    """-x."""
    return -x


# y = 0: the exponent y - 1 becomes 0, so that y x^(y-1) is 0 even at x = 0 and x = inf.
# x = 0, y >= 0: log 1 stands for log 0, since x^y does not move with y there.
@op(
    lambda g, x, y: g * y * power(x, y - 1.0 if y != 0 else y),
    lambda g, out, x, y: g * out * log(x if x != 0 or y < 0 else 1.0),
)
def power(x, y):
    """x^y; derivatives y x^(y-1) and x^y log x. NaN, never complex, for a negative x and a broken y."""
    return np.power(x, y)


@op(lambda g, x: g if x > 0 else -g if x < 0 else 0.0)
def abs(x):
    """|x|; derivative the sign of x, 0 at 0."""
    return builtins.abs(x)


# --- exponentials ---------------------------------------------------------------------------------------------------


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
    return (1.0 if x >= 0 else np.exp(-builtins.abs(x))) / (1.0 + np.exp(-builtins.abs(x)))


@op(lambda g, x: g * sigmoid(x))
def softplus(x):
    """log(1 + e^x) without overflow; derivative sigmoid x."""
    return np.logaddexp(x, 0.0)


# --- trigonometry ---------------------------------------------------------------------------------------------------


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


# --- corners: where there is no derivative, the subgradient of least norm -------------------------------------------


@op(lambda g, out: g * (1.0 if out > 0 else 0.0))
def relu(x):
    """max(x, 0); derivative 1 above 0, else 0."""
    return 0.0 if x <= 0 else x


@op(lambda g, x, slope: g if x > 0 else slope * g)
def leaky_relu(x, slope: float = 0.01):
    """x above 0, else slope x; derivative 1 above 0, else slope."""
    return x if x > 0 else slope * x


@op(
    lambda g, x, y: g if x > y else 0.5 * g if x >= y else 0.0,
    lambda g, x, y: g if y > x else 0.5 * g if y >= x else 0.0,
)
def maximum(x, y):
    """The larger of x and y, NaN if either is; a tie shares the derivative."""
    return x if x >= y or x != x else y


@op(
    lambda g, x, y: g if x < y else 0.5 * g if x <= y else 0.0,
    lambda g, x, y: g if y < x else 0.5 * g if y <= x else 0.0,
)
def minimum(x, y):
    """The smaller of x and y, NaN if either is; a tie shares the derivative."""
    return x if x <= y or x != x else y


@op(lambda g, x, low, high: g if low < x < high else 0.0)
def clip(x, low: float, high: float):
    """x kept between the numbers low and high; derivative 1 strictly between them, else 0."""
    return minimum(maximum(x, low), high)


@op(
    lambda g, condition: g if condition else 0.0,
    lambda g, condition: 0.0 if condition else g,
)
def where_(x, y, condition):
    """x if condition else y; the one that was not chosen has derivative 0."""
    return x if condition else y


def where(condition: bool, x: Any, y: Any) -> Any:
    """x if condition else y. The one that was not chosen has derivative 0, but 0 times an infinite slope is NaN:
    guard the argument too, `where(x > 0, sqrt(where(x > 0, x, 1)), 0)`.

    Raises TypeError when the condition is not a bool, as comparisons give it.
    """
    if not isinstance(condition, (bool, np.bool_)):
        raise TypeError(f"where: expected a bool condition such as x > 0, got {type(condition).__name__}")
    return where_(x, y, condition=condition)


# --- over sequences: an input is all the numbers of one --------------------------------------------------------------


@op(lambda g, xs_shape: [g] * xs_shape[0], over=True)
def sum(xs):
    """x1 + ... + xn; derivative 1 for each."""
    return builtins.sum(xs, 0.0)


@op(lambda g, xs_shape: [g / float(xs_shape[0])] * xs_shape[0], over=True)
def mean(xs):
    """(x1 + ... + xn) / n; derivative 1/n for each."""
    return builtins.sum(xs, 0.0) / float(some(xs, "mean"))


def ties(g, out, xs):
    count = builtins.sum(bool(x <= out <= x) for x in xs)
    return [g * out if out != out else g / float(count) if x <= out <= x else 0.0 for x in xs]


@op(ties, over=True)
def max(xs):
    """The largest of x1 ... xn, NaN if any is; k of them in a tie share the derivative, 1/k each."""
    some(xs, "max")
    return np.maximum.reduce(xs)


@op(ties, over=True)
def min(xs):
    """The smallest of x1 ... xn, NaN if any is; k of them in a tie share the derivative, 1/k each."""
    some(xs, "min")
    return np.minimum.reduce(xs)


@op(lambda g, out, xs: [g * exp(x - out) for x in xs], over=True)
def logsumexp(xs):
    """log(e^x1 + ... + e^xn), shifted by the largest so that nothing overflows; derivative softmax."""
    some(xs, "logsumexp")
    largest = np.max(xs)
    shift = largest if np.isfinite(largest) else 0.0
    return np.log(builtins.sum(np.exp(x - shift) for x in xs)) + shift


@op(
    lambda g, ys: [g * y for y in ys],
    lambda g, xs: [g * x for x in xs],
    over=True,
)
def dot(xs, ys):
    """x1 y1 + ... + xn yn, of two sequences; derivatives y and x."""
    return builtins.sum(map(operator.mul, xs, ys), 0.0)


def some(xs, where):
    if not xs:
        raise ValueError(f"{where}: expected at least one element, got none")
    return len(xs)


globals()["__all__"] = list(OPS)  # not assigned: mypy takes a list that it cannot read for an empty one
