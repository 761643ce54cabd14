"""The calculus page: what each op computes and how it differentiates, on plain numbers; one derivative an input.

    g      the gradient arriving from above, dL/dout
    out    the op's value
    x, y   its inputs (xs: all the inputs of an op over a sequence)

A derivative is a pure function of these: floats from floats, which is what the ordinary backward pass uses; nodes from
nodes, which is how second derivatives come about. To add an op, add its block here: exports and methods follow. `+ - *`
are Python's own; exp, log, tanh, ... are numpy's, called on one number, so that `scalar` and any array of float64
numbers agree to the last bit.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .op import OPS, op

# --- arithmetic -----------------------------------------------------------------------------------------------------


@op(
    lambda g, out, x, y: g,
    lambda g, out, x, y: g,
)
def add(x, y):
    """x + y."""
    return x + y


@op(
    lambda g, out, x, y: g,
    lambda g, out, x, y: -g,
)
def subtract(x, y):
    """x - y."""
    return x - y


@op(
    lambda g, out, x, y: g * y,
    lambda g, out, x, y: g * x,
)
def multiply(x, y):
    """x y."""
    return x * y


@op(
    lambda g, out, x, y: g / y,
    lambda g, out, x, y: -g * out / y,
)
def divide(x, y):
    """x / y; derivatives 1/y and -x/y^2."""
    return x / y


@op(lambda g, out, x: -g)
def negative(x):
    """-x."""
    return -x


# y = 0: the exponent y - 1 becomes 0, so that y x^(y-1) is 0 even at x = 0 and x = inf.
# x = 0, y >= 0: log 1 stands for log 0, since x^y does not move with y there.
@op(
    lambda g, out, x, y: g * y * power(x, y - 1.0 if y != 0 else y),
    lambda g, out, x, y: g * out * log(x if x != 0 or y < 0 else 1.0),
)
def power(x, y):
    """x^y; derivatives y x^(y-1) and x^y log x. NaN, never complex, for a negative x and a broken y."""
    return np.power(x, y)


@op(lambda g, out, x: g if x > 0 else -g if x < 0 else 0.0)
def abs(x):
    """|x|; derivative the sign of x, 0 at 0."""
    return builtins.abs(x)


# --- exponentials ---------------------------------------------------------------------------------------------------


@op(lambda g, out, x: g * out)
def exp(x):
    """e^x, its own derivative."""
    return np.exp(x)


@op(lambda g, out, x: g / x)
def log(x):
    """The natural logarithm; derivative 1/x."""
    return np.log(x)


@op(lambda g, out, x: g / (2.0 * out))
def sqrt(x):
    """The square root; derivative 1 / (2 sqrt x), infinite at 0."""
    return np.sqrt(x)


@op(lambda g, out, x: g * out * (1.0 - out))
def sigmoid(x):
    """1 / (1 + e^-x), computed from e^-|x|, which cannot overflow; derivative s (1 - s)."""
    return (1.0 if x >= 0 else np.exp(-builtins.abs(x))) / (1.0 + np.exp(-builtins.abs(x)))


@op(lambda g, out, x: g * sigmoid(x))
def softplus(x):
    """log(1 + e^x) without overflow; derivative sigmoid x."""
    return np.logaddexp(x, 0.0)


# --- trigonometry ---------------------------------------------------------------------------------------------------


@op(lambda g, out, x: g * cos(x))
def sin(x):
    """sin x; derivative cos x."""
    return np.sin(x)


@op(lambda g, out, x: -g * sin(x))
def cos(x):
    """cos x; derivative -sin x."""
    return np.cos(x)


@op(lambda g, out, x: g * (1.0 - out * out))
def tanh(x):
    """tanh x; derivative 1 - tanh^2 x."""
    return np.tanh(x)


# --- corners: where there is no derivative, the subgradient of least norm -------------------------------------------


@op(lambda g, out, x: g * (1.0 if out > 0 else 0.0))
def relu(x):
    """max(x, 0); derivative 1 above 0, else 0."""
    return 0.0 if x <= 0 else x


@op(lambda g, out, x, slope: g if x > 0 else slope * g)
def leaky_relu(x, slope: float = 0.01):
    """x above 0, else slope x; derivative 1 above 0, else slope."""
    return x if x > 0 else slope * x


@op(
    lambda g, out, x, y: g if x > y else 0.5 * g if x == y else 0.0,
    lambda g, out, x, y: g if y > x else 0.5 * g if x == y else 0.0,
)
def maximum(x, y):
    """The larger of x and y, NaN if either is; a tie shares the derivative."""
    return x if x >= y or x != x else y


@op(
    lambda g, out, x, y: g if x < y else 0.5 * g if x == y else 0.0,
    lambda g, out, x, y: g if y < x else 0.5 * g if x == y else 0.0,
)
def minimum(x, y):
    """The smaller of x and y, NaN if either is; a tie shares the derivative."""
    return x if x <= y or x != x else y


@op(lambda g, out, x, low, high: g if low < x < high else 0.0)
def clip(x, low: float, high: float):
    """x kept between the numbers low and high; derivative 1 strictly between them, else 0."""
    return minimum(maximum(x, low), high)


@op(
    lambda g, out, x, y, condition: g if condition else 0.0,
    lambda g, out, x, y, condition: 0.0 if condition else g,
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


# --- over a sequence ------------------------------------------------------------------------------------------------


@op(over=lambda g, out, *xs: [g] * len(xs))
def sum(*xs):
    """x1 + ... + xn; derivative 1 for each."""
    return builtins.sum(xs, 0.0)


@op(over=lambda g, out, *xs: [g / float(len(xs))] * len(xs))
def mean(*xs):
    """(x1 + ... + xn) / n; derivative 1/n for each."""
    return builtins.sum(xs, 0.0) / float(some(xs, "mean"))


def ties(g: Any, out: Any, *xs: Any) -> list[Any]:
    count = builtins.sum(bool(x == out) for x in xs)
    return [g * out if out != out else g / float(count) if x == out else 0.0 for x in xs]


@op(over=ties)
def max(*xs):
    """The largest of x1 ... xn, NaN if any is; k of them in a tie share the derivative, 1/k each."""
    some(xs, "max")
    return np.maximum.reduce(xs)


@op(over=ties)
def min(*xs):
    """The smallest of x1 ... xn, NaN if any is; k of them in a tie share the derivative, 1/k each."""
    some(xs, "min")
    return np.minimum.reduce(xs)


@op(over=lambda g, out, *xs: [g * exp(x - out) for x in xs], reads="own")
def logsumexp(*xs):
    """log(e^x1 + ... + e^xn), shifted by the largest so that nothing overflows; derivative softmax."""
    some(xs, "logsumexp")
    largest = np.max(xs)
    shift = largest if np.isfinite(largest) else 0.0
    return np.log(builtins.sum(np.exp(x - shift) for x in xs)) + shift


@op(over=lambda g, out, *xs: [g * y for y in second(xs)] + [g * x for x in first(xs)], reads="partner")
def dot(*xs):
    """x1 y1 + ... + xn yn, of two sequences; derivatives y and x."""
    return builtins.sum(map(operator.mul, first(xs), second(xs)), 0.0)


def first(xs: Sequence[Any]) -> Sequence[Any]:
    return xs[: len(xs) // 2]


def second(xs: Sequence[Any]) -> Sequence[Any]:
    return xs[len(xs) // 2 :]


def some(xs: Sequence[Any], where: str) -> int:
    if not xs:
        raise ValueError(f"{where}: expected at least one element, got none")
    return len(xs)


globals()["__all__"] = list(OPS)  # not assigned: mypy takes a list that it cannot read for an empty one
