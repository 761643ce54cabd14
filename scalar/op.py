"""What an op is: its value and its derivatives, what it takes for a number, and arithmetic as IEEE 754 has it."""

from __future__ import annotations

import builtins
import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from operator import is_
from types import MethodType
from typing import Any

import numpy as np

Rule = Callable[..., Any]
Settings = dict[str, Any]
OPS: dict[str, Op] = {}


class Op:
    """One operation: its value `forward(*inputs, **settings)`, and its derivatives, one rule for each input.

    A rule is a function whose parameter names say what it reads: `g`, the gradient that arrives; `out`, the op's value;
    an input; `<input>_shape`, where the shape is enough; a setting. It returns dL/d input. The parameters of `forward`
    are the inputs, as many as there are rules, and then the settings. With `over`, an input is a sequence of numbers,
    as long as the others, and its rule returns the list of their gradients.

    Raises TypeError, naming op and parameter, for a rule that reads anything else, and for an input called g or out.
    """

    def __init__(self, forward: Callable[..., Any], rules: Sequence[Rule], over: bool = False):
        self.name = forward.__name__.removesuffix("_")
        self.forward, self.over = forward, over
        parameters = list(inspect.signature(forward).parameters.values())
        if any(p.name in ("g", "out") for p in parameters):
            raise TypeError(
                f"{self.name}: expected inputs and settings by other names than g and out, which rules read"
            )
        self.inputs = tuple(p.name for p in parameters[: len(rules)])
        self.few = len(rules) in (1, 2) and not over
        self.defaults = {p.name: p.default for p in parameters[len(rules) :]}
        self.numbers = {p.name for p in parameters[len(rules) :] if p.annotation == "float"}
        self.rules = rules
        self.__doc__ = forward.__doc__

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    @property
    def rules(self) -> Sequence[Rule]:
        """The derivatives, as they stand on the page. Whoever sets others gets them checked and called."""
        return self._rules

    @rules.setter
    def rules(self, rules: Sequence[Rule]) -> None:
        self._rules, self.reads = tuple(rules), [self.names(rule) for rule in rules]
        self.reads_inputs = any(x in names for names in self.reads for x in self.inputs)
        self.linear = self.few and all(names == ["g"] for names in self.reads)
        calls = self.rules if self.linear else [self.of_node(i) for i in range(len(rules))]
        self.pair = (calls[0], calls[-1]) if self.few else None

    def names(self, rule: Rule) -> list[str]:
        """The names of what a rule reads."""
        known = ("g", "out", *self.inputs, *(f"{x}_shape" for x in self.inputs), *self.defaults)
        names = [str(p) if p.kind is p.VAR_POSITIONAL else p.name for p in inspect.signature(rule).parameters.values()]
        for name in names:
            if name not in known:
                raise TypeError(f"{self.name}: expected a rule that reads some of {', '.join(known)}, got {name}")
        return names

    def of_node(self, i: int) -> Callable[[float, Any], Any]:
        """Rule i of an op of one or two numbers, as a function of the gradient and the node. The usual ways to read are
        written out: nothing picks arguments faster."""
        rule, names = self.rules[i], self.reads[i]
        if names == ["g"]:
            return lambda g, node: rule(g)
        if names == ["g", "out"]:
            return lambda g, node: rule(g, node.saved)
        if names == ["g", self.inputs[0]]:
            return lambda g, node: rule(g, node.x_saved)
        if names == ["g", self.inputs[-1]]:
            return lambda g, node: rule(g, node.y_saved)
        return lambda g, node: self.slope(i, node.params or {}, (g, node.saved, *node.inputs_saved))

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """On nodes, build the node of the result; on plain numbers, just compute.

        Raises TypeError for an input that is not a real number and for a wrong number of inputs.
        """
        inputs: Sequence[Any] = args[: len(self.rules)]
        if self.defaults or len(args) != len(self.rules):
            settings = self.bind(args, settings)
        if self.over:
            inputs = self.sequence(inputs)
        for x in inputs:
            if hasattr(x, "op"):
                return x.apply(self, inputs, settings)
        if any(isinstance(x, np.ndarray) for x in inputs):  # `ieee` below asks again on one-element arrays
            return self.forward(*self.columns(inputs), **settings)
        return self.value([number(x, self.name) for x in inputs], settings)

    def __get__(self, node: Any, owner: type | None = None) -> Any:
        """As a method: `node.tanh()` is `tanh(node)`."""
        return self if node is None else MethodType(self, node)

    def bind(self, args: tuple[Any, ...], given: Settings) -> Settings:
        """All settings by name: those given by position or name, and the defaults."""
        n = len(self.rules)
        if not n <= len(args) <= n + len(self.defaults):
            what = (
                f"sequence{'s' * (n > 1)}, as in {self.name}([a, b])"
                if self.over and n == 1
                else f"input{'s' * (n > 1)}"
            )
            raise TypeError(f"{self.name}: expected {n} {what}, got {len(args)}")
        bound = self.defaults | dict(zip(self.defaults, args[n:], strict=False)) | given
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

    def sequence(self, args: Sequence[Any]) -> list[Any]:
        """The numbers of one or more sequences of one length, one after the other."""
        columns = [listed(xs, self.name) for xs in args]
        if len({len(xs) for xs in columns}) > 1:
            lengths = " and ".join(str(len(xs)) for xs in columns)
            raise ValueError(f"{self.name}: expected sequences of one length, got {lengths}")
        return [x for xs in columns for x in xs]

    def columns(self, xs: Sequence[Any]) -> Sequence[Any]:
        """What `sequence` put together, as the sequences that it was; the inputs of other ops as they are."""
        n = len(xs) // len(self.inputs)
        return [xs[i * n : (i + 1) * n] for i in range(len(self.inputs))] if self.over else xs

    def saves(self, needed: Sequence[bool]) -> list[int]:
        """What the derivatives of the inputs that are `needed` read: places in (*inputs, out), in order."""
        n = len(needed) // len(self.inputs)  # numbers in an input
        read = {name for i, names in enumerate(self.reads) if any(needed[i * n : (i + 1) * n]) for name in names}
        places = [name for name in self.inputs for _ in range(n)]
        return [i for i, name in enumerate([*places, "out"]) if name in read]

    def quick(self, *xs: float) -> Any:
        """The op on numbers as Python or numpy has it, NaN where Python refuses: `value`, if that is finite."""
        try:
            return self.forward(*xs)
        except ZeroDivisionError:
            return math.nan

    def value(self, xs: Sequence[float], settings: Settings | None = None) -> float:
        """The op on numbers; those of sequences stand one after the other."""
        return ieee(self.forward, self.columns(xs), settings or {})

    def gradients(self, g: Any, out: Any, xs: Sequence[Any], settings: Settings, needed: Sequence[bool]) -> list[Any]:
        """dL/dx for each input, None where it is not needed: floats from floats, nodes from nodes."""
        run = ieee if isinstance(out, float) else plainly
        n, columns = len(xs) // len(self.inputs), self.columns(xs)
        slopes: list[Any] = []
        for i in range(len(self.rules)):
            if not any(needed[i * n : (i + 1) * n]):
                slopes += [None] * n
            else:
                found = run(lambda *read, i=i: self.slope(i, settings, read), (g, out, *columns), {})
                slopes += found if self.over else [found]
        return slopes

    def slope(self, i: int, settings: Settings, numbers: Sequence[Any]) -> Any:
        """What rule i makes of the numbers (g, out, *inputs)."""
        known = settings | dict(zip(("g", "out", *self.inputs), numbers, strict=True))
        for name, x in zip(self.inputs, numbers[2:], strict=True):
            known[f"{name}_shape"] = (len(x),) if self.over else ()
        return self.rules[i](*[known[name] for name in self.reads[i]])

    def __reduce__(self) -> Any:
        """An op of the table is saved by its name, and found there again."""
        if OPS.get(self.name) is not self:
            raise TypeError(f"{self.name}: expected an op in the table of ops, to be saved by name; declare it by @op")
        return named, (self.name,)


def contributions(node: Any, g: Any, create_graph: bool = False) -> list[Any]:
    """What a node with the gradient `g` hands on to each input, None where no gradient is needed."""
    inputs, out = node.inputs, node.data
    xs, needed = [x.data for x in inputs], [x.requires_grad for x in inputs]
    if out is not node.saved or not all(map(is_, xs, node.inputs_saved)):
        check_unchanged(node)
    if create_graph:
        out, xs = node, inputs
    return node.op.gradients(g, out, xs, node.params or {}, needed)


def check_unchanged(node: Any) -> None:
    """Raises RuntimeError where a derivative that is needed reads a number that the forward pass saw otherwise."""
    nodes = (*node.inputs, node)
    for i in node.op.saves([x.requires_grad for x in node.inputs]):
        now, then = nodes[i].data, node.saved if nodes[i] is node else node.inputs_saved[i]
        if not (now == then and math.copysign(1.0, now) == math.copysign(1.0, then)) and (now == now or then == then):
            what = f"input {i}" if nodes[i] is not node else "the result"
            label = f", {nodes[i].label!r}," if nodes[i].label else ""
            raise RuntimeError(
                f"backward: {node.op.name}: {what}{label} was changed after the forward pass, and the derivative reads "
                f"it; call backward() before changing data, or run the forward pass again"
            )


def op(*rules: Rule, over: bool = False) -> Callable[[Callable[..., Any]], Op]:
    """Make an `Op` of the function below and write it into the table `OPS`.

    A cell of a notebook that is run again declares its op again. Raises ValueError for the name of any other op.
    """

    def declare(forward: Callable[..., Any]) -> Op:
        made = Op(forward, rules, over)
        if made.name in OPS and OPS[made.name].forward.__module__ != "__main__":
            raise ValueError(f"op: expected a new name, got {made.name}, which is an op already")
        OPS[made.name] = made
        return made

    return declare


def named(name: str) -> Op:
    """The op of the table with that name."""
    return OPS[name]


def number(x: Any, where: str) -> float:
    """`x` as a float. Raises TypeError naming the type for bool, complex, str, None and anything not a real number."""
    if type(x) is float:
        return x
    if type(x) is int or (isinstance(x, numbers.Real) and not isinstance(x, bool)):
        return float(x)
    advice = "; a Value is one number: take a list of Values, or vector.Tensor" if hasattr(x, "__array__") else ""
    raise TypeError(f"{where}: expected a real number, got {type(x).__name__}{advice}")


def listed(xs: Any, where: str) -> list[Any]:
    """A sequence as a list. Raises TypeError for what is none, and for text."""
    if isinstance(xs, str) or not hasattr(xs, "__iter__"):
        raise TypeError(f"{where}: expected a sequence, got {type(xs).__name__}")
    return list(xs)


def ieee(f: Callable[..., Any], args: Sequence[Any], settings: Settings) -> Any:
    """`f(*args)`, of floats and sequences of floats a float or a list of floats, as IEEE 754 has it and with numpy's
    warnings.

    Python's floats raise on a division by zero and overflow in silence. Where one of them does, the question goes
    once more to numpy, on one-element arrays: its value, its RuntimeWarning. What is finite never takes that way.
    """
    try:
        out = f(*args, **settings)
        if type(out) is np.float64:  # numpy computed it, and has warned if it had to
            return float(out)
        total = builtins.sum(out) if type(out) is list else out
        if total - total == 0.0:
            return out
    except ZeroDivisionError:
        pass
    out = f(*map(one_element, args), **settings)
    return [np.asarray(x).item() for x in out] if type(out) is list else np.asarray(out).item()


def one_element(x: Any) -> Any:
    return np.array([x]) if isinstance(x, float) else [np.array([y]) for y in x]


def plainly(f: Callable[..., Any], args: Sequence[Any], settings: Settings) -> Any:
    return f(*args, **settings)
