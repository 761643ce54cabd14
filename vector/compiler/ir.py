"""A program: numpy calls in order, on arrays that have names.

    Call(np.matmul, (images, weight), {}, out)        prints as    np.matmul(images, weight, out=out)

Variables, calls and programs never change: a pass makes new ones, and `rewrite` puts them in the place of the old.
This holds of every program, and `check` verifies it:

1. A view has a base, and is what its function makes of the base's array. Nothing else has a base.
2. What exists before the step is written only by calls that say so (`writes`), and a constant by none.
3. A result is computed before it is read: as a whole by one call, or in parts by several, which say nothing.
4. Inputs that calls read are inputs of the program.
5. The parts of a parallel call make the same calls on other elements, and none touches what another one writes.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any

import numpy as np

KINDS = ("input", "state", "constant", "result", "view")


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Var:
    """One array of a program.

    kind   "input"     an argument of the step: another array at each replay
           "state"     an array from outside, such as a parameter: read and written where it lies
           "constant"  an array that never changes
           "result"    what a call computes
           "view"      a view of `base`: `view` is (function, args, kwargs) that makes it of the array of `base`
    array  the array itself where it is fixed (state, constant); else an example, or None where only the layout counts,
           which is that of the variable `like`
    """

    kind: str
    array: Any
    label: str = ""
    base: Var | None = None
    view: Any = None
    like: InitVar[Any] = None
    shape: tuple[int, ...] = field(init=False)
    dtype: np.dtype[Any] = field(init=False)
    strides: tuple[int, ...] = field(init=False)
    below: Var | None = field(init=False)  # the root of a view; a variable that held itself would be a cycle

    def __post_init__(self, like: Any) -> None:
        layout = self.array if like is None else like
        put = object.__setattr__
        put(self, "shape", layout.shape)
        put(self, "dtype", layout.dtype)
        put(self, "strides", layout.strides)
        put(self, "below", None if self.base is None else self.base.root)

    @property
    def root(self) -> Var:
        """The variable whose memory this one views: itself, unless it is a view."""
        return self.below or self

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that the elements take."""
        return self.size * self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie row by row without gaps."""
        size = self.dtype.itemsize
        for n, stride in zip(self.shape[::-1], self.strides[::-1], strict=True):
            if n != 1 and stride != size:
                return 0 in self.shape
            size *= n
        return True

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label} {self.shape} {self.dtype}>"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Call:
    """One statement: `out = function(*args, **kwargs)`.

    writes  whether `out` is an array that was there before (an update in place)
    into    whether the function takes `out=`, so that it can compute into memory planned beforehand
    parts   of a parallel call: what each thread does, a program a part; `function` runs them, and `out` is one of the
            arrays that they compute
    reads   the variables among the arguments, those of all parts among them
    outs    what the call writes: `out`, or what its parts write
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Var
    writes: bool = False
    into: bool = True
    parts: tuple[Program, ...] = ()
    reads: tuple[Var, ...] = field(init=False)
    outs: tuple[Var, ...] = field(init=False)

    def __post_init__(self) -> None:
        reads, outs = [*variables(self.args), *variables(self.kwargs)], [self.out]
        if self.parts:
            reads += (var for call in self.statements for var in call.reads)
            outs = [call.out for call in self.statements]
        object.__setattr__(self, "reads", tuple(reads))
        object.__setattr__(self, "outs", tuple(outs))

    @property
    def statements(self) -> tuple[Call, ...]:
        """The call itself, or those that its parts make."""
        return tuple(call for part in self.parts for call in part.calls) if self.parts else (self,)

    @property
    def allocates(self) -> bool:
        """Whether the result has memory of its own: it is not written over, nor into a place of, another array."""
        return not self.writes and self.out.base is None

    @property
    def elementwise(self) -> bool:
        """Whether each element of the result depends on the inputs' elements at its place alone."""
        f = self.function
        return (isinstance(f, np.ufunc) and f.signature is None) or f is np.copyto

    def __repr__(self) -> str:
        return statement(self, repr)


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Program:
    """A recorded step: its calls, and the structure of variables that it returns.

    source, listing  its Python source, and the same with numbers and shapes, where it is compiled
    lines            of its own function: text, remark and call of each
    memory           the bytes planned for its results
    """

    calls: Sequence[Call]
    inputs: Sequence[Var]
    outputs: Any
    source: str = ""
    listing: str = ""
    lines: Sequence[tuple[str, str, Call | None]] = ()
    memory: int = 0

    def statements(self) -> Iterator[Call]:
        """Every call, with those of its parts in the place of a parallel one."""
        for call in self.calls:
            yield from call.statements

    def __len__(self) -> int:
        return len(self.calls)

    def __str__(self) -> str:
        return self.listing or "\n".join(map(repr, self.calls))


def variables(structure: Any) -> list[Var]:
    """Every Var in tuples, lists and dicts in each other."""
    if isinstance(structure, Var):
        return [structure]
    found: list[Var] = []
    if isinstance(structure, (tuple, list, dict)):
        for x in structure.values() if isinstance(structure, dict) else structure:
            if isinstance(x, Var):
                found.append(x)
            elif isinstance(x, (tuple, list, dict)):
                found += variables(x)
    return found


NESTED = (tuple, list, dict)


def replace(structure: Any, new: Callable[[Any], Any]) -> Any:
    """The same structure of tuples, lists and dicts, with `new(x)` for each x that is none of these."""
    kind = type(structure)  # isinstance() would ask arrays of a recording for their class, which takes a while
    if not issubclass(kind, NESTED):
        return new(structure)
    if issubclass(kind, dict):
        return {key: replace(x, new) for key, x in structure.items()}
    parts = [replace(x, new) if issubclass(type(x), NESTED) else new(x) for x in structure]
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def with_arguments(call: Call, new: Callable[[Any], Any]) -> Call:
    """A call with new(x) for each argument x."""
    args, kwargs = replace(call.args, new), replace(call.kwargs, new)
    return Call(call.function, args, kwargs, call.out, call.writes, call.into, call.parts)


def in_place(call: Call, target: Var) -> Call:
    """A call that updates an array that is there."""
    return Call(call.function, call.args, call.kwargs, target, writes=True, into=call.into)


class Substitution:
    """Results and arrays from outside, each with an alias that stands for it from now on; views of it become views of
    the alias."""

    def __init__(self, aliases: Mapping[Var, Var]) -> None:
        self.aliases = aliases
        self.known: dict[Var, Var] = {}

    def __call__(self, x: Any) -> Any:
        """What stands for x: any argument of a call."""
        if not isinstance(x, Var) or x.root not in self.aliases:
            return x
        chain = []
        while x.base is not None and x not in self.known:
            chain.append(x)
            x = x.base
        new = self.known.get(x) or self(self.aliases[x])
        for view in reversed(chain):
            array = None if new.array is None else view.array
            new = self.known[view] = Var("view", array, view.label, new, view.view, like=view)
        return new

    def call(self, call: Call) -> Call:
        """The call on what stands for its variables."""
        aliases = self.aliases
        if not any([x.root in aliases for x in call.reads] + [x.root in aliases for x in (call.out, *call.outs)]):
            return call
        parts = tuple(rewrite(part, part.calls, self) for part in call.parts)
        args, kwargs = replace(call.args, self), replace(call.kwargs, self)
        return Call(call.function, args, kwargs, self(call.out), call.writes, call.into, parts)


def rewrite(program: Program, calls: Iterable[Call], aliases: Mapping[Var, Var] | Substitution) -> Program:
    """A program of other calls that returns the same, with the alias of a variable in its place."""
    if aliases == {}:
        return Program(tuple(calls), program.inputs, program.outputs)
    new = aliases if isinstance(aliases, Substitution) else Substitution(aliases)
    inputs = tuple(map(new, program.inputs))
    return Program(tuple(map(new.call, calls)), inputs, replace(program.outputs, new))


# --- as text ----------------------------------------------------------------------------------------------------------

METHODS = (np.reshape, np.transpose, np.swapaxes)


def function_name(function: Any) -> str:
    """The name of a function, with its module where that is numpy."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"np.{owner.__name__}.{function.__name__}"
    if isinstance(function, np.ufunc) or getattr(function, "__module__", "") == "numpy":
        return f"np.{function.__name__}"
    return function.__name__


def statement(call: Call, show: Callable[[Any], str], name: str = "") -> str:
    """The call as a line of Python."""
    parts = [show(x) for x in call.args] + [f"{key}={show(x)}" for key, x in call.kwargs.items()]
    name = name or function_name(call.function)
    if call.function is np.copyto:
        return f"{name}({', '.join([show(call.out), *parts])})"
    if call.function is operator.getitem:
        return f"{show(call.out)} = {parts[0]}[{subscript(call.args[1], show)}]"
    if call.function in METHODS:  # several times quicker than numpy's function of that name
        return f"{show(call.out)} = {parts[0]}.{call.function.__name__}({', '.join(parts[1:])})"
    if call.into:
        return f"{name}({', '.join([*parts, f'out={show(call.out)}'])})"
    return f"{show(call.out)} = {name}({', '.join(parts)})"


def subscript(key: Any, show: Callable[[Any], str]) -> str:
    """What stands between the brackets."""
    if isinstance(key, tuple) and key:
        return ", ".join(subscript(k, show) for k in key) + "," * (len(key) == 1)
    if key is Ellipsis:
        return "..."
    if isinstance(key, slice):
        start, stop, step = ("" if k is None else str(k) for k in (key.start, key.stop, key.step))
        return f"{start}:{stop}" + f":{step}" * bool(step)
    return show(key)


# --- what holds of every program --------------------------------------------------------------------------------------


def check(program: Program) -> None:
    """Raises ValueError, naming the call, where a program is not as the top of this page says."""
    made: set[Var] = set()  # results that are computed as a whole, or of which a part is
    whole: set[Var] = set()
    inputs = {*program.inputs}
    seen: set[Var] = set()
    for call in program.calls:
        for var in (*call.reads, *call.outs, call.out):
            check_variable(var, inputs, seen, call)
        late = [x for x in call.reads if x.root.kind == "result" and x.root not in made]
        if call.parts:
            check_parts(call)
            late = [x for x in late if x.root not in {out.root for out in call.outs}]
        for inner in call.statements:
            check_out(inner, made, whole)
        if late:
            raise ValueError(f"{call}: reads {late[0]} before it is computed")
    for var in variables(program.outputs):
        check_variable(var, inputs, seen, "return")
        if var.root.kind == "result" and var.root not in made:
            raise ValueError(f"return: {var} is never computed")


def check_variable(var: Var, inputs: set[Var], seen: set[Var], where: Any) -> None:
    """The first and the fourth."""
    while var not in seen:
        seen.add(var)
        if var.kind not in KINDS or (var.kind == "view") is not (var.base is not None):
            raise ValueError(f"{where}: {var} has kind {var.kind} and base {var.base}")
        if var.kind == "input" and var not in inputs:
            raise ValueError(f"{where}: {var} is no input of the program")
        if var.kind in ("state", "constant") and not isinstance(var.array, np.ndarray):
            raise ValueError(f"{where}: {var} has no array")
        if var.base is None:
            return
        if var.base.array is not None and var.array is not None:
            f, args, kwargs = var.view
            array = f(var.base.array, *args, **kwargs)
            if (array.shape, array.dtype, array.strides) != (var.shape, var.dtype, var.strides):
                raise ValueError(f"{where}: {var} is not what {f.__name__} makes of its base")
            if not np.may_share_memory(array, var.base.array) and var.size:
                raise ValueError(f"{where}: {var} is a copy of its base")
        var = var.base


def check_out(call: Call, made: set[Var], whole: set[Var]) -> None:
    """The second, and that a result is computed once."""
    root = call.out.root
    if root.kind == "constant" or (root.kind != "result" and not call.writes):
        raise ValueError(f"{call}: writes to what is there before the step without saying so")
    if root.kind == "result" and call.writes and root not in made:
        raise ValueError(f"{call}: updates {root} before it is computed")
    if root.kind == "result" and not call.writes and (root in whole or (call.out is root and root in made)):
        raise ValueError(f"{call}: computes {root} a second time")
    made.add(root)
    if call.allocates:
        whole.add(root)


def check_parts(call: Call) -> None:
    """The fifth."""
    first = [inner.function for inner in call.parts[0].calls]
    for one, other in itertools.permutations(call.parts, 2):
        if [inner.function for inner in other.calls] != first:
            raise ValueError(f"{call}: its parts do different things")
        touched = [x for inner in other.calls for x in (*inner.reads, inner.out)]
        for out in (inner.out for inner in one.calls):
            if any(x.root is out.root and np.shares_memory(x.array, out.array) for x in touched):
                raise ValueError(f"{call}: one part touches {out}, which another one writes")
