"""The calculus page: what each op computes and how it differentiates, on plain numbers.

Every block reads the same way, derivatives first, one for each input:

    g      the gradient arriving from above, dL/dout
    out    the op's value
    x, y   its inputs (xs: all the inputs of an op over a sequence)

A derivative is a pure function of these. Given floats it gives a float, which is what the ordinary backward pass
uses; given nodes it builds nodes, which is how second derivatives come about. To add an op, add its block here and,
if it should be a method, one line in `value.py`.

`+ - *` are Python's own; the transcendental functions are numpy's, called on one number, so that `scalar` and any
array of float64 numbers agree to the last bit.
"""

from __future__ import annotations

import builtins
import dis
import functools
import inspect
import itertools
import numbers
import operator
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import numpy as np

Rule = Callable[..., Any]
Params = dict[str, Any]
OPS: dict[str, Op] = {}


class Op:
    """One operation: its name, its value `forward(*xs, **params)`, and its derivatives.

    `rules` holds one derivative per input, `rule(g, out, *xs, **params) -> dL/dx`. An op over a sequence has any
    number of inputs and one rule, `over`, that returns the list of all their gradients. `reads` says which inputs each
    of these reads, if any: "all", its "own", or, of two sequences, its "partner" in the other.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        rules: tuple[Rule, ...],
        over: Rule | None = None,
        reads: str = "all",
    ):
        self.name = forward.__name__.removesuffix("_")
        self.forward, self.rules, self.over, self.reads = forward, rules, over, reads
        parameters = list(inspect.signature(forward).parameters.values())[len(rules) :] if rules else []
        self.defaults = {p.name: p.default for p in parameters}
        self.numbers = {p.name for p in parameters if p.annotation == "float"}
        self.__doc__ = forward.__doc__

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __call__(self, *args: Any, **params: Any) -> Any:
        """On nodes, build the node of the result; on plain numbers, just compute.

        Raises TypeError for an input that is not a real number and for a wrong number of inputs.
        """
        inputs = self.sequence(args) if self.over else args[: len(self.rules)]
        if not self.over and (self.defaults or len(args) != len(self.rules)):
            params = self.bind(args, params)
        for x in inputs:
            if isinstance(x, np.ndarray):  # `ieee` below asks again on one-element arrays
                return self.forward(*inputs, **params)
            if hasattr(x, "op"):
                return x.apply(self, inputs, params)
        return self.value([number(x, self.name) for x in inputs], params)

    def __get__(self, node: Any, owner: type | None = None) -> Any:
        """As a method: `node.tanh()` is `tanh(node)`."""
        return self if node is None else MethodType(self, node)

    def value(self, xs: Sequence[float], params: Params | None) -> float:
        return ieee(self.forward, xs, params or {})

    def bind(self, args: tuple[Any, ...], params: Params) -> Params:
        n = len(self.rules)
        if not n <= len(args) <= n + len(self.defaults):
            raise TypeError(f"{self.name}: expected {n} input{'s' * (n > 1)}, got {len(args)}")
        bound = self.defaults | dict(zip(self.defaults, args[n:], strict=False)) | params
        for name, value in bound.items():
            if name not in self.defaults:
                raise TypeError(f"{self.name}: expected {' and '.join(self.defaults)}, got {name}")
            if value is inspect.Parameter.empty:
                raise TypeError(f"{self.name}: expected {name}, got none")
            if hasattr(value, "op"):
                raise TypeError(f"{self.name}: expected a plain value for {name}, got a node")
            if name in self.numbers:
                bound[name] = number(value, f"{self.name}, {name}")
        return bound

    def sequence(self, args: tuple[Any, ...]) -> list[Any]:
        columns = [listed(xs, self.name) for xs in args]
        if len({len(xs) for xs in columns}) > 1:
            lengths = " and ".join(str(len(xs)) for xs in columns)
            raise ValueError(f"{self.name}: expected sequences of one length, got {lengths}")
        return [x for xs in columns for x in xs]

    @functools.cached_property
    def reads_inputs(self) -> bool:
        """Whether a derivative reads any input, and not only g and the result."""
        n = len(self.rules) or 2
        return any(i < n for i in self.read_by([True] * n))

    def read_by(self, needed: Sequence[bool]) -> list[int]:
        """What the derivatives of the inputs that are `needed` read: places in (*inputs, out), in order."""
        n = len(needed)
        wanted = [i for i in range(n) if needed[i]]
        rules = [self.over] if self.over and wanted else [self.rules[i] for i in wanted]
        read = {place for rule in rules for place in places_read(rule, n)}
        if self.reads != "all":
            read -= set(range(n)) - {i if self.reads == "own" else (i + n // 2) % n for i in wanted}
        return sorted(read)

    def gradients(self, g: Any, out: Any, xs: Sequence[Any], params: Params, needed: Sequence[bool]) -> list[Any]:
        """dL/dx for each input, None where it is not needed: floats from floats, nodes from nodes."""
        call = ieee if isinstance(out, float) else plainly
        if self.over:
            return call(self.over, (g, out, *xs), params)
        return [
            call(rule, (g, out, *xs), params) if need else None for rule, need in zip(self.rules, needed, strict=True)
        ]


def op(*rules: Rule, over: Rule | None = None, reads: str = "all") -> Callable[[Callable[..., Any]], Op]:
    """Make an `Op` of the function below and write it into the table `OPS`."""

    def declare(forward: Callable[..., Any]) -> Op:
        made = Op(forward, rules, over, reads)
        OPS[made.name] = made
        return made

    return declare


def places_read(rule: Any, n: int) -> set[int]:
    """Which of (*inputs, out), with n inputs, rule(g, out, *inputs, **params) reads: those that its bytecode names, but
    for len(xs)."""
    named = [x for i in dis.get_instructions(rule) for x in (i.argval if isinstance(i.argval, tuple) else (i.argval,))]
    read = {name for before, name in itertools.pairwise([None, *named]) if before != "len"}
    places: set[int] = set()
    for k, p in enumerate(inspect.signature(rule).parameters.values()):
        if p.name in read:
            places.update(range(k, n + 2) if p.kind is p.VAR_POSITIONAL else (k,))
    return {n if k == 1 else k - 2 for k in places if 1 <= k < n + 2}


def number(x: Any, where: str) -> float:
    """`x` as a float. Raises TypeError naming the type for bool, complex, str, None and anything not a real number."""
    if type(x) is float:
        return x
    if isinstance(x, numbers.Real) and not isinstance(x, bool):
        return float(x)
    raise TypeError(f"{where}: expected a real number, got {type(x).__name__}")


def listed(xs: Any, where: str) -> list[Any]:
    """A sequence as a list. Raises TypeError for what is none, and for text."""
    if isinstance(xs, str) or not hasattr(xs, "__iter__"):
        raise TypeError(f"{where}: expected a sequence, got {type(xs).__name__}")
    return list(xs)


def ieee(f: Callable[..., Any], xs: Sequence[float], params: Params) -> Any:
    """`f(*xs)`, a float or a list of floats, as IEEE 754 has it and with numpy's warnings.

    Python's floats raise on a division by zero and overflow in silence. Where one of them does, the question goes
    once more to numpy, on one-element arrays: its value, its RuntimeWarning. What is finite never takes that way.
    """
    try:
        out = f(*xs, **params)
        if type(out) is np.float64:  # numpy computed it, and has warned if it had to
            return float(out)
        total = builtins.sum(out) if type(out) is list else out
        if total - total == 0.0:
            return out
    except ZeroDivisionError:
        pass
    out = f(*(np.array([x]) for x in xs), **params)
    return [np.asarray(x).item() for x in out] if type(out) is list else np.asarray(out).item()


def plainly(f: Callable[..., Any], xs: Sequence[Any], params: Params) -> Any:
    return f(*xs, **params)


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
