"""Ops on elements: each element of the result is made of the elements at the same place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..op import function, indicator, op, primitive

LN2, LN10 = math.log(2.0), math.log(10.0)
ROOT2, ROOT_PI, ROOT_TAU = math.sqrt(2.0), math.sqrt(math.pi), math.sqrt(2.0 * math.pi)

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
    lambda g, x, y: g * y * power(x, y - indicator(y != 0, y)),
    lambda g, out, x, y: g * out * log(where((x != 0) | (y < 0), x, 1.0)),
)
def power(x, y):
    """x^y, a product for y = 2, 3, 4; derivatives y x^(y-1) and x^y log x. NaN, never complex, for a negative x and a
    broken y."""
    return powers(x, y)


@primitive
def powers(x, y):
    """x^y for one exponent or an array of them, each as for that exponent alone: a product for 2, 3 and 4; and as numpy
    has it, the root for 1/2 and a division for -1, which for many exponents depends on how they lie in memory."""
    if x.dtype != y.dtype:
        x = x.astype(np.result_type(x, y))
    if not y.ndim:
        return x * x if y == 2 else x * x * x if y == 3 else x * x * x * x if y == 4 else np.power(x, y)
    whole = (y == 2) | (y == 3) | (y == 4)
    out = np.power(x, np.where(whole, 1.0, y))
    for exponent in (0.5, -1.0):
        np.power(x, exponent, out=out, where=y == exponent, dtype=out.dtype)
    for exponent in (2, 3, 4):
        np.multiply(out, x, out=out, where=whole & (y >= exponent))
    return out


@op(
    lambda g: g,
    lambda g, out, x, y: -g * floor((x - out) / y + 0.5),
)
def mod(x, y):
    """x - y floor(x / y), the remainder, with the sign of y; derivatives 1 and -floor(x / y)."""
    return np.mod(x, y)


@op(lambda g, x: where(x > 0, g, where(x < 0, -g, 0.0)))
def abs(x):
    """|x|; derivative the sign of x, 0 at 0."""
    return np.abs(x)


# --- exponentials -----------------------------------------------------------------------------------------------------


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
    e = np.exp(-np.abs(x))
    return np.maximum(x >= 0, e) / (1.0 + e)  # quicker than np.where: e is at most 1


@op(lambda g, x: g * sigmoid(x))
def softplus(x):
    """log(1 + e^x) without overflow; derivative sigmoid x."""
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0.0)


# --- trigonometry -----------------------------------------------------------------------------------------------------


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
    return where(r != 0, x / where(r != 0, r, 1.0), 0.0)


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
    y = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        y *= x
        y += c
    return y


def erf_near_0(x):
    return x + x * polynomial(x * x, ERF_P)


def erfc_from_half(x):
    s = np.minimum(x, 28.0)  # from where on it is 0
    return np.exp(-s * s) * (polynomial(s, ERFC_P) / polynomial(s, ERFC_Q))


@op(lambda g, x: g * (2.0 / ROOT_PI) * exp(-square(x)))
def erf(x):
    """2 / sqrt(pi) times the integral of e^-t^2 from 0 to x; derivative 2 / sqrt(pi) e^-x^2."""
    near = np.abs(x) <= 0.5
    return np.where(near, erf_near_0(np.where(near, x, 0.0)), np.copysign(1.0 - erfc_from_half(np.abs(x)), x))


@op(lambda g, x: -g * (2.0 / ROOT_PI) * exp(-square(x)))
def erfc(x):
    """1 - erf x, exact where it is small; derivative -2 / sqrt(pi) e^-x^2."""
    near, far = np.abs(x) <= 0.5, erfc_from_half(np.abs(x))
    return np.where(near, 1.0 - erf_near_0(np.where(near, x, 0.0)), np.where(x > 0, far, 2.0 - far))


FAR = 1e3  # from there on sigmoid x and Phi(x) are 0 or 1, and so are slopes, where inf times 0 would be NaN


def bounded(x):
    return clip(x, -FAR, FAR)


def bell(x):  # x times the normal density
    return x * exp(-0.5 * x * x) / ROOT_TAU


@op(lambda g, x: g * (0.5 * erfc(-x / ROOT2) + bell(bounded(x))))
def gelu(x):
    """x Phi(x), of the normal distribution Phi; derivative Phi(x) + x Phi'(x)."""
    return 0.5 * np.maximum(x, -FAR) * erfc(-x / ROOT2)


def gate(x):  # Phi(x), nearly
    return sigmoid(4.0 / ROOT_TAU * (x + 0.044715 * x * x * x))


def bump(x):  # x times the logarithmic derivative of gate
    return x * gate(-x) * (4.0 / ROOT_TAU * (1.0 + 0.134145 * x * x))


@op(lambda g, x: g * gate(bounded(x)) * (1.0 + bump(bounded(x))))
def gelu_tanh(x):
    """x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, nearly gelu x."""
    return np.maximum(x, -FAR) * gate(bounded(x))


@op(lambda g, x: g * sigmoid(x) * (1.0 + bounded(x) * sigmoid(-x)))
def silu(x):
    """x sigmoid x; derivative s (1 + x (1 - s))."""
    return np.maximum(x, -FAR) * sigmoid(x)


# --- corners: where there is no derivative, the subgradient of least norm ---------------------------------------------


@op(lambda g, out: g * indicator(out > 0, g))
def relu(x):
    """max(x, 0); derivative 1 above 0, else 0."""
    return np.maximum(x, 0.0)


@op(lambda g, x, slope: where(x > 0, g, slope * g))
def leaky_relu(x, slope: float = 0.01):
    """x above 0, else slope x; derivative 1 above 0, else slope."""
    return np.where(x > 0, x, slope * np.where(x > 0, 1.0, x))  # multiplies what it chooses only: no false warning


@op(lambda g, x, alpha: where(x > 0, g, alpha * g * exp(where(x > 0, 0.0, x))))
def elu(x, alpha: float = 1.0):
    """x above 0, else alpha (e^x - 1); derivative 1 above 0, else alpha e^x."""
    return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0.0, x)))


SELU, SELU_ALPHA = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772  # mean 0 and variance 1 stay as they are


@op(lambda g, x: where(x >= 0, SELU * g, SELU_ALPHA * g * exp(where(x >= 0, 0.0, x))))
def selu(x):
    """1.0507 x from 0 on, else 1.7581 (e^x - 1); derivative 1.0507 from 0 on, else 1.7581 e^x."""
    return np.where(x >= 0, SELU * np.where(x >= 0, x, 0.0), SELU_ALPHA * np.expm1(np.where(x >= 0, 0.0, x)))


@op(lambda g, x: where((x > -1) & (x < 1), g, 0.0))
def hardtanh(x):
    """x kept between -1 and 1; derivative 1 strictly between them, else 0."""
    return np.minimum(np.maximum(x, -1.0), 1.0)


@op(lambda g, x: g / (1.0 + abs(x)) / (1.0 + abs(x)))
def softsign(x):
    """x / (1 + |x|); derivative 1 / (1 + |x|)^2."""
    c = clip(x, -1e30, 1e30)  # beyond that it is 1
    return c / (1.0 + np.abs(c))


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


# --- steps: the derivative is 0, also where they jump -----------------------------------------------------------------


@op(lambda g: where(False, g, 0.0))
def sign(x):
    """-1, 0 or 1, as x is below, at or above 0; derivative 0."""
    return np.sign(x)


@op(lambda g: where(False, g, 0.0))
def floor(x):
    """The largest whole number up to x; derivative 0."""
    return np.floor(x)


@op(lambda g: where(False, g, 0.0))
def ceil(x):
    """The smallest whole number from x on; derivative 0."""
    return np.ceil(x)


@op(lambda g: where(False, g, 0.0))
def round(x, decimals=0):
    """x to so many decimals, a tie to the even neighbour; derivative 0."""
    return np.round(x, int(decimals))
