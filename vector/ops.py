"""The calculus page on arrays: what each op computes and how it differentiates.

Every block reads the same way, derivatives first, one for each input:

    g      the gradient arriving from above, dL/dout, of out's shape
    out    the op's value
    x, y   its inputs (xs: all the inputs of an op over a sequence)

A derivative is a pure function of these. Given arrays it gives an array, which is what the ordinary backward pass
uses; given nodes it builds nodes, which is how second derivatives come about. It need not undo broadcasting: the
backward pass sums a gradient back to its input's shape. To add an op, add its block here and, if it should be a
method, one name in `tensor.py`.
"""

from __future__ import annotations

import dis
import functools
import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .blas import LARGE, SMALL, small_products_at_once
from .workers import shared_matmul, worth_sharing

Rule = Callable[..., Any]
Params = dict[str, Any]
OPS: dict[str, Op] = {}


class Op:
    """One operation: its name, its value `forward(*xs, **params)`, and its derivatives.

    `rules` holds one derivative per input, `rule(g, out, *xs, **params) -> dL/dx`. An op over a sequence has any
    number of inputs and one rule, `over`, that returns the list of all their gradients.
    """

    def __init__(self, forward: Callable[..., Any], rules: tuple[Rule, ...], over: Rule | None = None):
        self.name = forward.__name__.removesuffix("_")
        self.forward, self.rules, self.over = forward, rules, over
        parameters = list(inspect.signature(forward).parameters.values())[len(rules) :] if rules else []
        self.defaults = {p.name: p.default for p in parameters}
        self.numbers = {p.name for p in parameters if p.annotation == "float"}
        self.known: dict[tuple[bool, ...], tuple[int, ...]] = {}
        self.__doc__ = forward.__doc__

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __call__(self, *args: Any, **params: Any) -> Any:
        """On nodes, build the node of the result; on arrays and plain numbers, just compute.

        Raises TypeError for an input that is not of real numbers and for a wrong number of inputs.
        """
        inputs = args if self.over else args[: len(self.rules)]
        if not self.over and (self.defaults or len(args) != len(self.rules)):
            params = self.bind(args, params)
        like = None  # the array of floats whose dtype a plain number takes
        for x in inputs:
            if hasattr(x, "op"):
                return x.apply(self, inputs, params)
            if hasattr(x, "dtype") and x.dtype in FLOATS:
                like = x
        return self.value([array(x, self.name, like) for x in inputs], params)

    def __get__(self, node: Any, owner: type | None = None) -> Any:
        """As a method: `node.tanh()` is `tanh(node)`."""
        return self if node is None else MethodType(self, node)

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

    def read_by(self, needed: tuple[bool, ...]) -> tuple[int, ...]:
        """What the derivatives of the inputs that are `needed` read: places in (*inputs, out), in order."""
        places = self.known.get(needed)
        if places is None:
            n = len(needed)
            rules = [self.over] if self.over else [self.rules[i] for i in range(n) if needed[i]]
            places = self.known[needed] = tuple(sorted({place for rule in rules for place in places_read(rule, n)}))
        return places

    def value(self, xs: Sequence[Any], params: Params | None) -> Any:
        """The op on arrays. Raises ValueError naming the shapes where they do not go together."""
        try:
            return self.forward(*xs, **params) if params else self.forward(*xs)
        except ValueError as error:
            if len(xs) > 1 and "broadcast" in str(error):
                shapes = " and ".join(str(np.shape(x)) for x in xs)
                message = f"{self.name}: expected shapes that broadcast together, got {shapes}"
                raise ValueError(message) from None
            raise

    def gradients(self, g: Any, out: Any, xs: Sequence[Any], params: Params, needed: Sequence[bool]) -> list[Any]:
        """dL/dx for each input, None where it is not needed: arrays from arrays, nodes from nodes."""
        if self.over:
            return self.over(g, out, *xs, **params)
        return [rule(g, out, *xs, **params) if need else None for rule, need in zip(self.rules, needed, strict=True)]


def op(*rules: Rule, over: Rule | None = None) -> Callable[[Callable[..., Any]], Op]:
    """Make an `Op` of the function below and write it into the table `OPS`."""

    def declare(forward: Callable[..., Any]) -> Op:
        made = Op(forward, rules, over)
        OPS[made.name] = made
        return made

    return declare


LOOKS = {".shape", ".ndim", ".size", ".dtype"}  # attributes of an array that are not its numbers


def places_read(rule: Any, n: int) -> set[int]:
    """Which of (*inputs, out), with n inputs, rule(g, out, *inputs, **params) reads: those that its bytecode names, but
    for x.shape and the like, len(x) and shapes(xs)."""
    named = []
    for i in dis.get_instructions(rule):
        dot = "." if "ATTR" in i.opname else ""
        named += [f"{dot}{x}" for x in (i.argval if isinstance(i.argval, tuple) else (i.argval,))]
    triples = zip([None, *named], named, [*named[1:], None], strict=False)
    read = {x for before, x, after in triples if before not in ("len", "shapes") and after not in LOOKS}
    places: set[int] = set()
    for k, p in enumerate(inspect.signature(rule).parameters.values()):
        if p.name in read and p.kind is not p.KEYWORD_ONLY:
            places.update(range(k, n + 2) if p.kind is p.VAR_POSITIONAL else (k,))
    return {n if k == 1 else k - 2 for k in places if 1 <= k < n + 2}


def primitive(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays that a recorder, whose arrays have `record`, writes down as one step, whatever it does."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        for x in args:
            if hasattr(x, "record"):
                return x.record(f, args, kwargs)
        return f(*args, **kwargs)

    return call


FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def array(x: Any, where: str, like: Any = None) -> Any:
    """`x` as an array of float32 or float64: these are kept, and so are nodes, in the machine's order of bytes;
    integers become float64; a plain number takes the dtype of `like` or float64. Raises TypeError naming the type for
    bool, complex, str, None and whatever else, ValueError for lists that are ragged.
    """
    if isinstance(x, (list, tuple)):
        x = nested(x, where)
        if x.dtype.kind not in "fiu":  # name the type of the element, not of the array that numpy made of it
            raise TypeError(f"{where}: expected a real number, got {type(x.ravel().tolist()[0]).__name__}")
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return np.asarray(number(x, where), dtype=getattr(like, "dtype", np.float64))
    if dtype in FLOATS:
        return x
    if dtype.kind in "iu":
        return x.astype(np.float64)
    if dtype.kind == "f":
        return x.astype(floating(dtype, where))
    raise TypeError(f"{where}: expected a real number, got {dtype.name}")


def floating(dtype: Any, where: str) -> np.dtype[Any]:
    """float32 or float64, whichever `dtype` says, in the machine's order of bytes. Raises TypeError for any other."""
    found = np.dtype(dtype).newbyteorder("=")
    if found not in FLOATS:
        raise TypeError(f"{where}: expected float32 or float64, got {found.name}")
    return FLOATS[FLOATS.index(found)]


def nested(x: Any, where: str) -> np.ndarray:
    """Lists in lists as an array. Raises ValueError where they are ragged."""
    try:
        return np.asarray(x)
    except ValueError:
        raise ValueError(f"{where}: expected rows of one length, got different ones") from None


def number(x: Any, where: str) -> float:
    """`x` as a float. Raises TypeError naming the type for bool, complex, str, None and anything not a real number."""
    if isinstance(x, numbers.Real) and not isinstance(x, bool):
        return float(x)
    raise TypeError(f"{where}: expected a real number, got {type(x).__name__}")


def indicator(condition: Any, like: Any) -> Any:
    """A bool array as ones and zeros. Arrays take the bools as they are, which is the quickest; nodes need numbers."""
    return condition.astype(like.dtype) if hasattr(like, "op") else condition


# --- arithmetic -------------------------------------------------------------------------------------------------------


@op(
    lambda g, out, x, y: g,
    lambda g, out, x, y: g,
)
def add(x, y):
    """x + y."""
    return np.add(x, y)


@op(
    lambda g, out, x, y: g,
    lambda g, out, x, y: -g,
)
def subtract(x, y):
    """x - y."""
    return np.subtract(x, y)


@op(
    lambda g, out, x, y: g * y,
    lambda g, out, x, y: g * x,
)
def multiply(x, y):
    """x y, element by element."""
    return np.multiply(x, y)


@op(
    lambda g, out, x, y: g / y,
    lambda g, out, x, y: -g * out / y,
)
def divide(x, y):
    """x / y; derivatives 1/y and -x/y^2."""
    return np.divide(x, y)


@op(lambda g, out, x: -g)
def negative(x):
    """-x."""
    return np.negative(x)


# y = 0: the exponent y - 1 becomes 0, so that y x^(y-1) is 0 even at x = 0 and x = inf.
# x = 0, y >= 0: log 1 stands for log 0, since x^y does not move with y there.
@op(
    lambda g, out, x, y: g * y * power(x, where(y != 0, y - 1.0, y)),
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


@op(lambda g, out, x: where(x > 0, g, where(x < 0, -g, 0.0)))
def abs(x):
    """|x|; derivative the sign of x, 0 at 0."""
    return np.abs(x)


# --- exponentials -----------------------------------------------------------------------------------------------------


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
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


@op(lambda g, out, x: g * sigmoid(x))
def softplus(x):
    """log(1 + e^x) without overflow; derivative sigmoid x."""
    return np.logaddexp(x, 0.0)


# --- trigonometry -----------------------------------------------------------------------------------------------------


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


# --- corners: where there is no derivative, the subgradient of least norm ---------------------------------------------


@op(lambda g, out, x: g * indicator(out > 0, g))
def relu(x):
    """max(x, 0); derivative 1 above 0, else 0."""
    return np.maximum(x, 0.0)


@op(lambda g, out, x, slope: where(x > 0, g, slope * g))
def leaky_relu(x, slope: float = 0.01):
    """x above 0, else slope x; derivative 1 above 0, else slope."""
    return np.where(x > 0, x, slope * np.where(x > 0, 1.0, x))  # multiplies what it chooses only: no false warning


@op(
    lambda g, out, x, y: where(x > y, g, where(x == y, 0.5 * g, 0.0)),
    lambda g, out, x, y: where(y > x, g, where(x == y, 0.5 * g, 0.0)),
)
def maximum(x, y):
    """The larger of x and y, NaN if either is; a tie shares the derivative."""
    return np.maximum(x, y)


@op(
    lambda g, out, x, y: where(x < y, g, where(x == y, 0.5 * g, 0.0)),
    lambda g, out, x, y: where(y < x, g, where(x == y, 0.5 * g, 0.0)),
)
def minimum(x, y):
    """The smaller of x and y, NaN if either is; a tie shares the derivative."""
    return np.minimum(x, y)


@op(lambda g, out, x, low, high: where((x > low) & (x < high), g, 0.0))
def clip(x, low: float, high: float):
    """x kept between the numbers low and high; derivative 1 strictly between them, else 0."""
    return np.minimum(np.maximum(x, low), high)


@op(
    lambda g, out, x, y, condition: where(condition, g, 0.0),
    lambda g, out, x, y, condition: where(condition, 0.0, g),
)
def where_(x, y, condition):
    """x where the condition holds, else y; the one that was not chosen has derivative 0."""
    return np.where(condition, x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition, an array of bools, holds, else y. All three broadcast together. The one that was not
    chosen has derivative 0, but 0 times an infinite slope is NaN: guard the argument too,
    `where(x > 0, sqrt(where(x > 0, x, 1)), 0)`.

    Raises TypeError when the condition is not of bools, as comparisons give them.
    """
    plain = hasattr(condition, "dtype") and not hasattr(condition, "op")
    name = condition.dtype.name if plain else type(condition).__name__
    if name != "bool":
        raise TypeError(f"where: expected a bool condition such as x > 0, got {name}")
    return where_(x, y, condition=condition)


# --- shapes -----------------------------------------------------------------------------------------------------------


@op(lambda g, out, x, shape: reshape(g, x.shape))
def reshape(x, shape):
    """The same elements in a new shape, a tuple that may hold one -1."""
    return np.reshape(x, shape)


@op(lambda g, out, x, axes: transpose(g, None if axes is None else tuple(int(i) for i in np.argsort(axes))))
def transpose(x, axes=None):
    """The axes in the order `axes`, or reversed."""
    return np.transpose(x, axes)


@op(lambda g, out, x, shape: g)  # the backward pass sums it back to x's shape
def broadcast_to(x, shape):
    """x repeated to `shape` without copying."""
    return np.broadcast_to(x, shape)


@op(lambda g, out, x, dtype: g)  # the backward pass gives it x's dtype
def cast(x, dtype):
    """The same numbers as float32 or float64."""
    return x.astype(floating(dtype, "astype"))


@op(lambda g, out, x, key: scatter(g, key, x.shape))
def index(x, key):
    """x[key], for any key that numpy takes."""
    return x[key]


@op(lambda g, out, x, key, shape: index(g, key))
@primitive
def scatter(x, key, shape):
    """Zeros of `shape` with x added at `key`, as often as an element is named there: the transpose of `index`."""
    out = np.zeros(shape, x.dtype)
    np.add.at(out, key, x)
    return out


def take(x: Any, indices: Any, axis: int = 0) -> Any:
    """The slices of x at integer `indices` along `axis`; a slice taken twice gets both gradients."""
    return index(x, (slice(None),) * normalize_axis_index(axis, np.ndim(x)) + (indices,))


def parts(g: Any, shapes: Sequence[tuple[int, ...]], axis: int) -> list[Any]:
    before = (slice(None),) * (axis % g.ndim)
    lengths = [shape[axis] for shape in shapes]
    ends = np.cumsum(lengths).tolist()
    return [index(g, (*before, slice(end - n, end))) for n, end in zip(lengths, ends, strict=True)]


def shapes(xs: Sequence[Any]) -> list[tuple[int, ...]]:
    return [x.shape for x in xs]


@op(over=lambda g, out, *xs, axis: parts(g, shapes(xs), axis))
def concatenate_(*xs, axis):
    """Arrays joined along an axis they have."""
    return np.concatenate(xs, axis=axis)


def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors joined along an axis they have. Raises ValueError for other shapes that do not fit."""
    return concatenate_(*xs, axis=axis)


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis."""

    def widened(x: Any) -> Any:
        at = normalize_axis_index(axis, np.ndim(x) + 1)
        return reshape(x, (*np.shape(x)[:at], 1, *np.shape(x)[at:]))

    return concatenate([widened(x) for x in xs], axis=axis)


# --- over axes --------------------------------------------------------------------------------------------------------

Axis = int | tuple[int, ...] | None


def spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """g, reduced over `axis`, with these axes back as 1, so that it broadcasts against an array of `shape`."""
    n = len(shape)
    axes = range(n) if axis is None else [i % n for i in (axis if isinstance(axis, tuple) else (axis,))]
    return reshape(g, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def count(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements of an array of `shape` each sum over `axis` has."""
    n = len(shape)
    axes = range(n) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return math.prod(shape[normalize_axis_index(i, n)] for i in axes)


def some(x: Any, axis: Axis, where: str) -> int:
    n = count(x.shape, axis)
    if not n:
        raise ValueError(f"{where}: expected at least one element, got none")
    return n


@op(lambda g, out, x, axis, keepdims: broadcast_to(spread(g, x.shape, axis), x.shape))
def sum(x, axis=None, keepdims=False):
    """The sum over an axis, a tuple of axes, or all; derivative 1 for each element."""
    return np.add.reduce(x, axis=axis, keepdims=keepdims)


@op(lambda g, out, x, axis, keepdims: broadcast_to(spread(g / float(count(x.shape, axis)), x.shape, axis), x.shape))
def mean(x, axis=None, keepdims=False):
    """The mean over an axis, a tuple of axes, or all; derivative 1/n for each element."""
    return np.add.reduce(x, axis=axis, keepdims=keepdims) / float(some(x, axis, "mean"))


def ties(g: Any, out: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    g, out = spread(g, x.shape, axis), spread(out, x.shape, axis)
    tied = x == out
    number = np.add.reduce(tied, axis=axis, keepdims=True, dtype=x.dtype)
    share = where(tied, g / np.maximum(number, 1.0), 0.0)
    return where(out != out, g * out, share)


@op(ties)
def max(x, axis=None, keepdims=False):
    """The largest element, NaN if any is; k of them in a tie share the derivative, 1/k each."""
    some(x, axis, "max")
    return np.maximum.reduce(x, axis=axis, keepdims=keepdims)


@op(ties)
def min(x, axis=None, keepdims=False):
    """The smallest element, NaN if any is; k of them in a tie share the derivative, 1/k each."""
    some(x, axis, "min")
    return np.minimum.reduce(x, axis=axis, keepdims=keepdims)


@op(lambda g, out, x, axis, keepdims: spread(g, x.shape, axis) * exp(x - spread(out, x.shape, axis)))
def logsumexp(x, axis=None, keepdims=False):
    """log(e^x1 + ... + e^xn), shifted by the largest so that nothing overflows; derivative softmax."""
    some(x, axis, "logsumexp")
    largest = np.maximum.reduce(x, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    total = np.log(np.add.reduce(np.exp(x - shift), axis=axis, keepdims=keepdims))
    return total + np.reshape(shift, np.shape(total))


def shifted(x: Any, axis: int, where: str) -> Any:
    some(x, axis, where)
    return x - np.maximum.reduce(x, axis=axis, keepdims=True)


@op(lambda g, out, x, axis: out * (g - sum(g * out, axis=axis, keepdims=True)))
def softmax(x, axis=-1):
    """e^xi / (e^x1 + ... + e^xn) along an axis, shifted by the largest so that nothing overflows."""
    e = np.exp(shifted(x, axis, "softmax"))
    return e / np.add.reduce(e, axis=axis, keepdims=True)


@op(lambda g, out, x, axis: g - exp(out) * sum(g, axis=axis, keepdims=True))
def log_softmax(x, axis=-1):
    """xi - log(e^x1 + ... + e^xn) along an axis, shifted by the largest so that nothing overflows."""
    d = shifted(x, axis, "log_softmax")
    return d - np.log(np.add.reduce(np.exp(d), axis=axis, keepdims=True))


# --- products ---------------------------------------------------------------------------------------------------------


@op(
    lambda g, out, x, y: matmul_(g, y.mT),
    lambda g, out, x, y: matmul_(x.mT, g),
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


def tiled(x: Any, y: Any) -> Any:
    """The product of tiles of rows (t, n, k) and (k, m), as one matrix (t n, m)."""
    shape = (x.shape[0] * x.shape[1], y.shape[1])
    if not isinstance(x, np.ndarray):
        return np.reshape(np.matmul(x, y), shape)
    out = np.empty(shape, np.result_type(x, y))
    shared_matmul(x, y, out.reshape(*x.shape[:2], -1))
    return out


def row_tiles(x: Any, y: Any) -> int:
    """Into how many tiles of rows, of at least four each, to cut the product of (n, k) and (k, m).

    BLAS multiplies small matrices where they lie, larger ones it packs first. Where it does the small ones at once, a
    product is faster in such pieces by a tenth to a third, up to a size and as long as y lies row by row in a cache of
    1 MB; where x lies column by column, only for a short k. Else one for each thread that may take part.
    """
    (n, k), m = x.shape, y.shape[1]
    total, size = n * k * m, y.dtype.itemsize
    fits = y.strides[1] == size and k * m * size <= 2**20 and (x.strides[1] == size or k <= 128)
    if SMALL < total < LARGE and fits and small_products_at_once():
        least = -(-total // SMALL)
    else:
        least = worth_sharing(x, y)
    return next((t for t in range(least, n // 4 + 1) if n % t == 0), 1)


def matmul(x: Any, y: Any) -> Any:
    """The matrix product x @ y as numpy has it: a vector counts as a row on the left, as a column on the right.

    Raises ValueError naming both shapes where the inner dimensions differ.
    """
    x, y = array(x, "matmul"), array(y, "matmul")
    if not x.ndim or not y.ndim:
        raise ValueError(f"matmul: expected at least one axis on both sides, got shapes {x.shape} and {y.shape}")
    if x.ndim > 1 and y.ndim > 1:
        return matmul_(x, y)
    if x.shape[-1] != y.shape[-2:][0]:
        raise ValueError(f"matmul: expected inner dimensions that agree, got shapes {x.shape} and {y.shape}")
    left = reshape(x, (1, *x.shape)) if x.ndim == 1 else x
    right = reshape(y, (*y.shape, 1)) if y.ndim == 1 else y
    out = matmul_(left, right)
    return reshape(out, x.shape[:-1] if y.ndim == 1 else (*y.shape[:-2], y.shape[-1]))


def dot(x: Any, y: Any) -> Any:
    """x1 y1 + ... + xn yn, of two vectors. Raises ValueError when they differ in length or are no vectors."""
    x, y = array(x, "dot"), array(y, "dot")
    if x.ndim != 1 or y.ndim != 1:
        raise TypeError(f"dot: expected a sequence, got shapes {x.shape} and {y.shape}")
    if x.shape != y.shape:
        raise ValueError(f"dot: expected sequences of one length, got {x.shape[0]} and {y.shape[0]}")
    return matmul(x, y)


# --- cross-entropy ----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def starts(n: int, k: int) -> np.ndarray:
    """Where the rows of (n, k) begin."""
    return np.arange(0, n * k, k)


@primitive
def picked(x, classes, starts):
    """The element of each row of (n, k) at that row's class number: (n,)."""
    return x.ravel().take(classes + starts if len(starts) > 1 else classes)


@op(lambda g, out, x, hot, classes: (softmax(x) - indicator(hot, x)) * (g / float(x.shape[0])))
def cross_entropy_(x, hot, classes):
    """The mean over rows of log(e^x1 + ... + e^xk) - x_true, where `classes` gives each row's true class, and `hot`
    has 1 there and 0 elsewhere; derivative (softmax - hot) / n."""
    n, k = x.shape
    d = shifted(x, -1, "cross_entropy")
    total = np.reshape(np.log(np.add.reduce(np.exp(d), axis=-1, keepdims=True)), (n,))
    return np.add.reduce(total - picked(d, classes, starts(n, k)), axis=None) / float(n)
