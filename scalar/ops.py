"""The calculus page: what each op computes and how it differentiates, on plain numbers.

Every block reads the same way, derivatives first, one for each input. The names of a rule say what it reads:

    g         the gradient arriving from above, dL/dout
    out       the op's value
    x, y      its inputs (xs, ys: of an op over sequences), or `xs_shape`, where the shape is enough
    slope     or whatever else the op is told besides its inputs

Floats give floats, nodes give nodes: so second derivatives come about. (Two nodes are never `==`: compare by <=.) To
add an op, add its block here. `+ - *` are Python's own; exp, ... are numpy's: its arrays agree to the last bit.
"""

from __future__ import annotations

import builtins
import functools
import itertools
import math
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


@op(lambda g, x: g * (2.0 * x))
def square(x):
    """x^2; derivative 2x."""
    return np.square(x)


@op(lambda g, out: -g * out * out)
def reciprocal(x):
    """1 / x; derivative -1/x^2."""
    return np.reciprocal(x)


# y = 0: the exponent y - 1 becomes 0, so that y x^(y-1) is 0 even at x = 0 and x = inf.
# x = 0, y >= 0: log 1 stands for log 0, since x^y does not move with y there.
@op(
    lambda g, x, y: g * y * power(x, y - 1.0 if y != 0 else y),
    lambda g, out, x, y: g * out * log(x if x != 0 or y < 0 else 1.0),
)
def power(x, y):
    """x^y, a product for y = 2, 3, 4; derivatives y x^(y-1) and x^y log x. NaN, never complex, for a negative x and a
    broken y."""
    return x * x if y == 2 else x * x * x if y == 3 else x * x * x * x if y == 4 else np.power(x, y)


# x - out is the multiple of y that was taken away.
@op(
    lambda g: g,
    lambda g, out, x, y: -g * floor((x - out) / y + 0.5),
)
def mod(x, y):
    """x - y floor(x / y), the remainder, with the sign of y; derivatives 1 and -floor(x / y)."""
    return np.mod(x, y)


@op(lambda g, x: g if x > 0 else -g if x < 0 else 0.0)
def abs(x):
    """|x|; derivative the sign of x, 0 at 0."""
    return builtins.abs(x)


# --- exponentials ---------------------------------------------------------------------------------------------------

LN2, LN10 = math.log(2.0), math.log(10.0)
ROOT2, ROOT_PI, ROOT_TAU = math.sqrt(2.0), math.sqrt(math.pi), math.sqrt(2.0 * math.pi)


@op(lambda g, out: g * out)
def exp(x):
    """e^x, its own derivative."""
    return np.exp(x)


@op(lambda g, out: g * out * LN2)
def exp2(x):
    """2^x; derivative 2^x log 2."""
    return np.exp2(x)


@op(lambda g, x: g * exp(x))
def expm1(x):
    """e^x - 1, exact near 0; derivative e^x."""
    return np.expm1(x)


@op(lambda g, x: g / x)
def log(x):
    """The natural logarithm; derivative 1/x."""
    return np.log(x)


@op(lambda g, x: g / x / LN2)
def log2(x):
    """The logarithm to base 2; derivative 1 / (x log 2)."""
    return np.log2(x)


@op(lambda g, x: g / x / LN10)
def log10(x):
    """The logarithm to base 10; derivative 1 / (x log 10)."""
    return np.log10(x)


@op(lambda g, x: g / (1.0 + x))
def log1p(x):
    """log(1 + x), exact near 0; derivative 1 / (1 + x)."""
    return np.log1p(x)


@op(
    lambda g, x, y: g * sigmoid(subtract(x, y)),
    lambda g, x, y: g * sigmoid(subtract(y, x)),
)
def logaddexp(x, y):
    """log(e^x + e^y) without overflow; derivatives sigmoid(x - y) and sigmoid(y - x)."""
    return np.logaddexp(x, y)


@op(lambda g, out: g / (2.0 * out))
def sqrt(x):
    """The square root; derivative 1 / (2 sqrt x), infinite at 0."""
    return np.sqrt(x)


@op(lambda g, out: g / (3.0 * out * out))
def cbrt(x):
    """The cube root; derivative 1 / (3 cbrt^2 x), infinite at 0."""
    return np.cbrt(x)


@op(lambda g, out: g * out * (1.0 - out))
def sigmoid(x):
    """1 / (1 + e^-x), computed from e^-|x|, which cannot overflow; derivative s (1 - s)."""
    return (1.0 if x >= 0 else np.exp(-builtins.abs(x))) / (1.0 + np.exp(-builtins.abs(x)))


@op(lambda g, x: g * sigmoid(x))
def softplus(x):
    """log(1 + e^x) without overflow; derivative sigmoid x."""
    return np.log1p(np.exp(-builtins.abs(x))) + (x if x > 0 else 0.0)


# --- trigonometry ---------------------------------------------------------------------------------------------------


@op(lambda g, x: g * cos(x))
def sin(x):
    """sin x; derivative cos x."""
    return np.sin(x)


@op(lambda g, x: -g * sin(x))
def cos(x):
    """cos x; derivative -sin x."""
    return np.cos(x)


@op(lambda g, out: g * (1.0 + out * out))
def tan(x):
    """tan x; derivative 1 + tan^2 x."""
    return np.tan(x)


@op(lambda g, x: g / sqrt(1.0 - x * x))
def arcsin(x):
    """The angle from -pi/2 to pi/2 whose sine is x; derivative 1 / sqrt(1 - x^2)."""
    return np.arcsin(x)


@op(lambda g, x: -g / sqrt(1.0 - x * x))
def arccos(x):
    """The angle from 0 to pi whose cosine is x; derivative -1 / sqrt(1 - x^2)."""
    return np.arccos(x)


@op(lambda g, x: g / (1.0 + square(x)))
def arctan(x):
    """The angle from -pi/2 to pi/2 whose tangent is x; derivative 1 / (1 + x^2)."""
    return np.arctan(x)


def ratio(x, r):  # 0 at the origin, where there is no derivative
    return x / r if r != 0 else 0.0


@op(
    lambda g, y, x: g * ratio(ratio(x, hypot(y, x)), hypot(y, x)),
    lambda g, y, x: -g * ratio(ratio(y, hypot(y, x)), hypot(y, x)),
)
def arctan2(y, x):
    """The angle of the point (x, y), from -pi to pi; derivatives x/r^2 and -y/r^2, of r = hypot(x, y)."""
    return np.arctan2(y, x)


@op(
    lambda g, out, x: g * ratio(x, out),
    lambda g, out, y: g * ratio(y, out),
)
def hypot(x, y):
    """sqrt(x^2 + y^2) without overflow; derivatives x/out and y/out, 0 at the origin."""
    return np.hypot(x, y)


@op(lambda g, x: g * cosh(x))
def sinh(x):
    """sinh x; derivative cosh x."""
    return np.sinh(x)


@op(lambda g, x: g * sinh(x))
def cosh(x):
    """cosh x; derivative sinh x."""
    return np.cosh(x)


@op(lambda g, out: g * (1.0 - out * out))
def tanh(x):
    """tanh x; derivative 1 - tanh^2 x."""
    return np.tanh(x)


@op(lambda g, x: g / hypot(x, 1.0))
def arcsinh(x):
    """The number whose sinh is x; derivative 1 / sqrt(x^2 + 1)."""
    return np.arcsinh(x)


@op(lambda g, out: g / sinh(out))
def arccosh(x):
    """The number from 0 whose cosh is x; derivative 1 / sqrt(x^2 - 1), which is 1 / sinh out."""
    return np.arccosh(x)


@op(lambda g, x: g / (1.0 - square(x)))
def arctanh(x):
    """The number whose tanh is x; derivative 1 / (1 - x^2)."""
    return np.arctanh(x)


# --- the error function and what is made of it ----------------------------------------------------------------------

# Fitted for this page, the highest power first: erf x = x + x p(x^2) up to 1/2, with an error of 2^-57; from there on
# erfc x = e^-x^2 p(x) / q(x), with one of 2^-55 below 7 and of 10^-12 at 26.
ERF_P = (
    *(1.4726917415076591e-06, -1.4845953094944062e-05, 0.0001205333927818933, -0.000854829783992973),
    *(0.005223977374009503, -0.026866170632949028, 0.11283791670925537, -0.37612638903183476, 0.12837916709551256),
)
ERFC_P = (
    *(0.00028287321477179437, 0.004452015648649045, 0.034543028060982216, 0.16872465638225306, 0.5619107002040353),
    *(1.302207314602103, 2.055677509961412, 2.040628961911891, 1.0000000000984006),
)
ERFC_Q = (
    *(0.0005013797187726162, 0.00789099228739662, 0.061476612667443004, 0.30300217141844016),
    *(1.0263228963949749, 2.4536874704643603, 4.111562976919023, 4.631520254064741),
    *(3.1690081305060365, 1.0),
)


def polynomial(x, coefficients):
    return functools.reduce(lambda y, c: y * x + c, coefficients)


def erf_near_0(x):
    return x + x * polynomial(x * x, ERF_P)


def erfc_from_half(x):
    s = 28.0 if x > 28.0 else x  # from where on it is 0
    return np.exp(-s * s) * (polynomial(s, ERFC_P) / polynomial(s, ERFC_Q))


@op(lambda g, x: g * (2.0 / ROOT_PI) * exp(-square(x)))
def erf(x):
    """2 / sqrt(pi) times the integral of e^-t^2 from 0 to x; derivative 2 / sqrt(pi) e^-x^2."""
    return erf_near_0(x) if -0.5 <= x <= 0.5 else np.copysign(1.0 - erfc_from_half(builtins.abs(x)), x)


@op(lambda g, x: -g * (2.0 / ROOT_PI) * exp(-square(x)))
def erfc(x):
    """1 - erf x, exact where it is small; derivative -2 / sqrt(pi) e^-x^2."""
    if -0.5 <= x <= 0.5:
        return 1.0 - erf_near_0(x)
    return erfc_from_half(x) if x > 0 else 2.0 - erfc_from_half(-x)


FAR = 1e3  # from there on sigmoid x and Phi(x) are 0 or 1, and so are slopes, where inf times 0 would be NaN


def bounded(x):
    return FAR if x > FAR else -FAR if x < -FAR else x


def bell(x):  # x times the normal density
    return x * exp(-0.5 * x * x) / ROOT_TAU


@op(lambda g, x: g * (0.5 * erfc(-x / ROOT2) + bell(bounded(x))))
def gelu(x):
    """x Phi(x), of the normal distribution Phi; derivative Phi(x) + x Phi'(x)."""
    return 0.5 * maximum(x, -FAR) * erfc(-x / ROOT2)


def gate(x):  # Phi(x), nearly
    return sigmoid(4.0 / ROOT_TAU * (x + 0.044715 * x * x * x))


def bump(x):  # x times the logarithmic derivative of gate
    return x * gate(-x) * (4.0 / ROOT_TAU * (1.0 + 0.134145 * x * x))


@op(lambda g, x: g * gate(bounded(x)) * (1.0 + bump(bounded(x))))
def gelu_tanh(x):
    """x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, nearly gelu x."""
    return maximum(x, -FAR) * gate(bounded(x))


@op(lambda g, x: g * sigmoid(x) * (1.0 + bounded(x) * sigmoid(-x)))
def silu(x):
    """x sigmoid x; derivative s (1 + x (1 - s))."""
    return maximum(x, -FAR) * sigmoid(x)


# --- corners: where there is no derivative, the subgradient of least norm -------------------------------------------


@op(lambda g, out: g * (1.0 if out > 0 else 0.0))
def relu(x):
    """max(x, 0); derivative 1 above 0, else 0."""
    return 0.0 if x <= 0 else x


@op(lambda g, x, slope: g if x > 0 else slope * g)
def leaky_relu(x, slope: float = 0.01):
    """x above 0, else slope x; derivative 1 above 0, else slope."""
    return x if x > 0 else slope * x


@op(lambda g, x, alpha: g if x > 0 else alpha * g * exp(x))
def elu(x, alpha: float = 1.0):
    """x above 0, else alpha (e^x - 1); derivative 1 above 0, else alpha e^x."""
    return x if x > 0 else alpha * np.expm1(x)


SELU, SELU_ALPHA = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772  # mean 0 and variance 1 stay as they are


@op(lambda g, x: SELU * g if x >= 0 else SELU_ALPHA * g * exp(x))
def selu(x):
    """1.0507 x from 0 on, else 1.7581 (e^x - 1); derivative 1.0507 from 0 on, else 1.7581 e^x."""
    return SELU * x if x >= 0 else SELU_ALPHA * np.expm1(x)


@op(lambda g, x: g if -1.0 < x < 1.0 else 0.0)
def hardtanh(x):
    """x kept between -1 and 1; derivative 1 strictly between them, else 0."""
    return minimum(maximum(x, -1.0), 1.0)


@op(lambda g, x: g / (1.0 + abs(x)) / (1.0 + abs(x)))
def softsign(x):
    """x / (1 + |x|); derivative 1 / (1 + |x|)^2."""
    c = clip(x, -1e30, 1e30)  # beyond that it is 1
    return c / (1.0 + builtins.abs(c))


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


# --- steps: the derivative is 0, also where they jump ---------------------------------------------------------------


@op(lambda: 0.0)
def sign(x):
    """-1, 0 or 1, as x is below, at or above 0; derivative 0."""
    return np.sign(x)


@op(lambda: 0.0)
def floor(x):
    """The largest whole number up to x; derivative 0."""
    return np.floor(x)


@op(lambda: 0.0)
def ceil(x):
    """The smallest whole number from x on; derivative 0."""
    return np.ceil(x)


@op(lambda: 0.0)
def round(x, decimals=0):
    """x to so many decimals, a tie to the even neighbour; derivative 0."""
    return np.round(x, int(decimals))


# --- over sequences: an input is all the numbers of one --------------------------------------------------------------


@op(lambda g, xs_shape: [g] * xs_shape[0], over=True)
def sum(xs):
    """x1 + ... + xn; derivative 1 for each."""
    return builtins.sum(xs, 0.0)


@op(lambda g, xs_shape: [g / float(xs_shape[0])] * xs_shape[0], over=True)
def mean(xs):
    """(x1 + ... + xn) / n; derivative 1/n for each."""
    return builtins.sum(xs, 0.0) / float(some(xs, "mean"))


@op(lambda g, out, xs: [g / (out if out != 0 else 1.0) * x for x in xs], over=True)
def norm(xs):
    """The root of the sum of squares; derivative x / norm, 0 at the origin."""
    return sqrt(builtins.sum([x * x for x in xs], 0.0))


def others(xs):  # for each number the product of all others: of those before it and those behind it
    before = itertools.accumulate([1.0, *xs[:-1]], operator.mul)
    behind = itertools.accumulate([1.0, *list(reversed(xs))[:-1]], operator.mul)
    return list(map(operator.mul, before, reversed(list(behind))))


@op(lambda g, xs: [g * x for x in others(xs)], over=True)
def prod(xs):
    """x1 ... xn; derivative the product of the others, also where one is 0."""
    return functools.reduce(operator.mul, xs, 1.0)


def degrees(xs, ddof, where):
    if len(xs) <= ddof:
        raise ValueError(f"{where}: expected more than {ddof} elements, got {len(xs)}")
    return float(len(xs) - ddof)


def deviations(xs):
    m = mean(xs)
    return [x - m for x in xs]


@op(lambda g, xs, ddof: [g * (2.0 / degrees(xs, ddof, "var")) * d for d in deviations(xs)], over=True)
def var(xs, ddof=0):
    """The variance: the sum of (x - mean)^2 over n - ddof; derivative 2 (x - mean) / (n - ddof)."""
    n = degrees(xs, ddof, "var")
    return builtins.sum([d * d for d in deviations(xs)], 0.0) / n


@op(
    lambda g, out, xs, ddof: [g / ((out if out != 0 else 1.0) * degrees(xs, ddof, "std")) * d for d in deviations(xs)],
    over=True,
)
def std(xs, ddof=0):
    """The standard deviation, the root of `var`; derivative (x - mean) / ((n - ddof) std), and 0 where it is 0."""
    degrees(xs, ddof, "std")
    return sqrt(var(xs, ddof))


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
