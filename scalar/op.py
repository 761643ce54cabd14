"""What an op is: its value and its derivatives, what it takes for a number, and arithmetic as IEEE 754 has it."""

from __future__ import annotations

import builtins
import dis
import functools
import inspect
import itertools
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
