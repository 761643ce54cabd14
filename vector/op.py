"""What an op is: its value, its derivatives, and how it takes its inputs; arrays from whatever comes."""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import numpy as np

ndarray = np.ndarray
Rule = Callable[..., Any]
Settings = dict[str, Any]
OPS: dict[str, Op] = {}
FUNCTIONS: dict[str, Callable[..., Any]] = {}  # that are made of ops


class Op:
    """One operation: its value `forward(*xs, **settings)`, and its derivatives, one rule for each input.

    A rule is a function whose parameter names say what it reads: `g`, the gradient that arrives; `out`, the op's value;
    an input; `<input>_shape`, where the shape is enough; a setting. It returns dL/d input. The parameters of `forward`
    are the inputs, as many as there are rules, and then the settings. An op over a sequence, `forward(*xs)`, has one
    rule, which returns the list of all the gradients; `xs_shape` is there the list of the shapes.

    Raises TypeError, naming op and parameter, for a rule that reads anything else.
    """

    def __init__(self, forward: Callable[..., Any], rules: Sequence[Rule]):
        self.name = forward.__name__.removesuffix("_")
        self.public = self.name == forward.__name__  # else a function of that name, or a method, stands before it
        self.forward = forward
        parameters = list(inspect.signature(forward).parameters.values())
        self.over = parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
        self.inputs = tuple(p.name for p in parameters[: len(rules)])
        settings = parameters[len(rules) :]
        self.defaults = {p.name: p.default for p in settings}
        self.numbers = {p.name for p in settings if p.annotation == "float"}
        self.known = ("g", "out", *self.inputs, *(f"{x}_shape" for x in self.inputs), *self.defaults)
        self.complete = inspect.Parameter.empty not in self.defaults.values()  # nothing must be given
        self.rules = rules
        self.__doc__ = forward.__doc__

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    @property
    def rules(self) -> Sequence[Rule]:
        """The derivatives, as they stand on the page. Who sets others gets them checked."""
        return self._rules

    @rules.setter
    def rules(self, rules: Sequence[Rule]) -> None:
        self._rules, self.reads = tuple(rules), [self.places(rule) for rule in rules]
        self.saved: dict[tuple[bool, ...], tuple[int, ...]] = {}

    def places(self, rule: Rule) -> list[int]:
        """What a rule reads, as places in `known`."""
        names = list(inspect.signature(rule).parameters)
        for name in names:
            if name not in self.known:
                raise TypeError(f"{self.name}: expected a rule that reads some of {', '.join(self.known)}, got {name}")
        return [self.known.index(name) for name in names]

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """On nodes, build the node of the result; on arrays and plain numbers, just compute.

        Raises TypeError for an input that is not of real numbers and for a wrong number of inputs.
        """
        inputs = args if self.over else args[: len(self.rules)]
        if self.defaults or len(args) != len(inputs) or len(inputs) < len(self.rules):
            settings = self.bind(args, settings)
        like = None  # the array of floats whose dtype a plain number takes
        for x in inputs:
            if type(x) is ndarray:
                like = x if x.dtype in FLOATS else like
                continue
            if hasattr(x, "op"):
                return x.apply(self, inputs, settings)
            if isinstance(x, (list, tuple)) and (node := node_in(x)) is not None:
                return node.apply(self, inputs, settings)
            if hasattr(x, "dtype") and x.dtype in FLOATS:
                like = x
        return self.value([array(x, self.name, like) for x in inputs], settings)

    def __reduce__(self) -> Any:
        """An op of the table is saved by its name, and found there again."""
        if OPS.get(self.name) is not self:
            raise TypeError(f"{self.name}: expected an op in the table of ops, to be saved by name; declare it by @op")
        return named, (self.name,)

    def __get__(self, node: Any, owner: type | None = None) -> Any:
        """As a method: `node.tanh()` is `tanh(node)`."""
        return self if node is None else MethodType(self, node)

    def bind(self, args: tuple[Any, ...], given: Settings) -> Settings:
        """All settings by name: those given by position or name, and the defaults."""
        n = len(args) if self.over else len(self.rules)
        if not given and len(args) == n and self.complete:
            return self.defaults
        if not n <= len(args) <= n + len(self.defaults):
            raise TypeError(f"{self.name}: expected {n} input{'s' * (n > 1)}, got {len(args)}")
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

    def saves(self, needed: tuple[bool, ...]) -> tuple[int, ...]:
        """What the derivatives of the inputs that are `needed` read: places in (*inputs, out), in order."""
        saved = self.saved.get(needed)
        if saved is None:
            n = len(needed)
            rules = self.reads if self.over else [reads for reads, need in zip(self.reads, needed, strict=True) if need]
            read = {self.known[place] for reads in rules for place in reads}
            names = [*(self.inputs * n if self.over else self.inputs), "out"]
            saved = self.saved[needed] = tuple(i for i, name in enumerate(names) if name in read)
        return saved

    def value(self, xs: Sequence[Any], settings: Settings | None) -> Any:
        """The op on arrays. Raises ValueError naming the shapes where they do not go together."""
        try:
            return self.forward(*xs, **settings) if settings else self.forward(*xs)
        except ValueError as error:
            if len(xs) > 1 and "broadcast" in str(error):
                shapes = " and ".join(str(np.shape(x)) for x in xs)
                message = f"{self.name}: expected shapes that broadcast together, got {shapes}"
                raise ValueError(message) from None
            raise

    def gradients(self, g: Any, out: Any, xs: Sequence[Any], settings: Settings, needed: Sequence[bool]) -> list[Any]:
        """dL/dx for each input, None where it is not needed: arrays from arrays, nodes from nodes."""
        shapes = [x.shape for x in xs]
        if self.over:
            return self.slope(0, (g, out, xs, shapes, *settings.values()))
        given = (g, out, *xs, *shapes, *settings.values())
        return [self.slope(i, given) if need else None for i, need in enumerate(needed)]

    def slope(self, i: int, given: Sequence[Any]) -> Any:
        """Rule number i on what it reads, out of all that is `given`: a value for each name in `known`."""
        return self.rules[i](*[given[place] for place in self.reads[i]])


def op(*rules: Rule) -> Callable[[Callable[..., Any]], Op]:
    """Make an `Op` of the function below and write it into the table `OPS`.

    A cell of a notebook that is run again declares its op again. Raises ValueError for the name of any other op.
    """

    def declare(forward: Callable[..., Any]) -> Op:
        made = Op(forward, rules)
        if made.name in OPS and OPS[made.name].forward.__module__ != "__main__":
            raise ValueError(f"op: expected a new name, got {made.name}, which is an op already")
        OPS[made.name] = made
        return made

    return declare


def function(f: Callable[..., Any]) -> Callable[..., Any]:
    """Write a function that is made of ops into the table `FUNCTIONS`: it is exported as an op is."""
    FUNCTIONS[f.__name__] = f
    return f


def methods() -> dict[str, Callable[..., Any]]:
    """The public ops and functions of one input, x."""
    ops = {name: op for name, op in OPS.items() if op.public and len(op.rules) == 1 and not op.over}
    first = {name: list(inspect.signature(f).parameters)[:2] for name, f in FUNCTIONS.items()}
    return ops | {name: FUNCTIONS[name] for name, names in first.items() if names[0] == "x" and "y" not in names}


def named(name: str) -> Op:
    """The op of a name."""
    return OPS[name]


def primitive(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays that a recording, whose arrays have `record`, writes down as one call: one that computes
    into memory planned beforehand, if the function has a parameter `out`."""
    into = "out" in inspect.signature(f).parameters

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        traced = recorded_in((*args, *kwargs.values()))
        return f(*args, **kwargs) if traced is None else traced.record(f, args, kwargs, into)

    return call


def recorded_in(xs: tuple[Any, ...] | list[Any]) -> Any:
    """An array of a recording in lists and tuples, None if there is none."""
    for x in xs:
        if hasattr(x, "record"):
            return x
        if isinstance(x, (list, tuple)) and (found := recorded_in(x)) is not None:
            return found
    return None


FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def array(x: Any, where: str, like: Any = None) -> Any:
    """`x` as an array of float32 or float64: arrays of these are kept, and so are nodes, in the machine's order of
    bytes. Numbers, plain or numpy's, lists of them and integers take the dtype of `like`, or float64. Raises TypeError
    naming the type for bool, complex, str, None, another library's tensors and whatever else, ValueError for lists that
    are ragged.
    """
    if type(x) is ndarray and x.dtype in FLOATS:
        return x
    weak, dtype = getattr(like, "dtype", np.float64), getattr(x, "dtype", None)
    if isinstance(x, (list, tuple)):
        if (node := node_in(x)) is not None:
            return node.stacked(x, where)
        x = nested(x, where)
        if x.dtype.kind not in "fiu":  # name the type of the element, not of the array that numpy made of it
            raise TypeError(f"{where}: expected a real number, got {type(x.ravel().tolist()[0]).__name__}")
        return x.astype(weak)
    if dtype is None:
        return np.asarray(number(x, where), dtype=weak)
    if not isinstance(dtype, np.dtype):
        kind = f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}"
        raise TypeError(f"{where}: expected a numpy array or a number, got a {kind}; convert it, as by its numpy()")
    if dtype in FLOATS:
        return x if like is None or not single(x) else x.astype(weak)
    if dtype.kind in "iu":
        return x.astype(weak)
    if dtype.kind == "f":
        return x.astype(floating(dtype, where))
    raise TypeError(f"{where}: expected a real number, got {dtype.name}")


def arrays(x: Any, y: Any, where: str) -> tuple[Any, Any]:
    """Two arrays, of which numbers and lists take the dtype of the other."""
    floats = [z for z in (x, y) if getattr(z, "dtype", None) in FLOATS and not single(z)]
    like = floats[0] if floats else None
    return array(x, where, like), array(y, where, like)


def single(x: Any) -> bool:
    """Whether x is a number in numpy's dress, such as np.sqrt(2.0): in an expression it counts as a plain number."""
    return isinstance(x, np.generic) or getattr(x, "number", False)


def floating(dtype: Any, where: str) -> np.dtype[Any]:
    """float32 or float64, whichever `dtype` says, in the machine's order of bytes. Raises TypeError for any other."""
    found = np.dtype(dtype).newbyteorder("=")
    if found not in FLOATS:
        raise TypeError(f"{where}: expected float32 or float64, got {found.name}")
    return FLOATS[FLOATS.index(found)]


def node_in(x: Any) -> Any:
    """A node in lists in lists, None if there is none."""
    if isinstance(x, (list, tuple)):
        return next((node for part in x if (node := node_in(part)) is not None), None)
    return x if hasattr(x, "op") else None


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
