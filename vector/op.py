"""What an op is: its value, its derivatives, and how it takes its inputs; arrays from whatever comes."""

from __future__ import annotations

import dis
import functools
import inspect
import numbers
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
        weak = type(x) is not np.ndarray and like is not None and getattr(type(x), "weak", False)
        return x.array(like.dtype) if weak else x  # a plain number that stands for others
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
