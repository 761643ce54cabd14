"""A program: numpy calls in order, on arrays that have names.

    Call(np.matmul, (images, weight), {}, out)        prints as    np.matmul(images, weight, out=out)

Everything that happens to a program (the passes, the plan of its memory, its source) reads these two classes.
"""

from __future__ import annotations

import keyword
import linecache
import math
import operator
import re
import types
import weakref
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from ..runtime.memory import allocate
from ..runtime.threads import Experience, share


class Var:
    """One array of a program.

    kind   "input"     an argument of the step: another array at each replay
           "state"     an array from outside, such as a parameter: read and written where it lies
           "constant"  an array that never changes
           "result"    what a call computes
           "view"      another look at the memory of `base`: `view` is (function, args, kwargs) that makes it of the
                       array of `base`, or None for that array itself
    array  the array itself where it is fixed (state, constant), and while recording, any
    """

    def __init__(self, kind: str, array: np.ndarray, label: str = "", base: Var | None = None, view: Any = None):
        self.kind, self.label, self.base, self.view = kind, label, base, view
        self.array: Any = array
        self.shape, self.dtype, self.strides = array.shape, array.dtype, array.strides
        self.name = ""

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def root(self) -> Var:
        """The variable whose memory this one looks at."""
        var = self
        while var.base is not None:
            var = var.base
        return var

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name or self.label} {self.shape} {self.dtype}>"


class Call:
    """One statement: `out = function(*args, **kwargs)`.

    writes  whether `out` is an array that was there before (an update in place)
    into    whether the function takes `out=`, so that it can compute into memory planned beforehand
    region  None, or how several threads go through this call and its neighbours of the same region: each does a part,
            which `region.parts(calls)` describes statement by statement, with a call for each part
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Var,
        writes: bool = False,
        into: bool = True,
    ):
        self.function, self.args, self.kwargs, self.out = function, args, kwargs, out
        self.writes, self.into = writes, into
        self.region: Any = None

    def reads(self) -> Iterator[Var]:
        """The variables among the arguments."""
        return variables((self.args, self.kwargs))

    def rename(self, new: Callable[[Any], Any]) -> None:
        """Put new(x) for each argument x."""
        self.args, self.kwargs = replace(self.args, new), replace(self.kwargs, new)

    @property
    def anew(self) -> bool:
        """Whether the result has memory of its own: it is not written over, nor into a place of, another array."""
        return not self.writes and self.out.base is None

    @property
    def elementwise(self) -> bool:
        """Whether each element of the result depends on the inputs' elements at its place alone."""
        f = self.function
        return (isinstance(f, np.ufunc) and f.signature is None) or f is np.copyto

    def __repr__(self) -> str:
        return statement(self, lambda x: repr(x))


def variables(structure: Any) -> Iterator[Var]:
    """Every Var in tuples, lists and dicts in each other."""
    if isinstance(structure, Var):
        yield structure
    elif isinstance(structure, (tuple, list)):
        for x in structure:
            yield from variables(x)
    elif isinstance(structure, dict):
        yield from variables(tuple(structure.values()))


def replace(structure: Any, new: Callable[[Any], Any]) -> Any:
    """The same structure of tuples, lists and dicts, with `new(x)` for each x that is none of these."""
    if isinstance(structure, (tuple, list)):
        parts = [replace(x, new) for x in structure]
        return type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)
    if isinstance(structure, dict):
        return {key: replace(x, new) for key, x in structure.items()}
    return new(structure)


class Program:
    """A recorded step: its calls, and the structure of variables that it returns."""

    def __init__(self, calls: list[Call], inputs: list[Var], outputs: Any):
        self.calls, self.inputs, self.outputs = calls, inputs, outputs
        self.memory = 0  # bytes planned for results
        self.source = ""
        self.listing = ""

    def build(self, title: str) -> Callable[..., Any]:
        """Plan the memory and write the source. Returns the source as a function; the first run's arrays are let go."""
        source = Source(self, title)
        self.source, self.listing, self.memory = source.text, source.listing, source.plan.memory
        for call in self.calls:
            for var in (*call.reads(), call.out):
                if var.kind in ("input", "result", "view"):
                    var.array = None
        return source.run

    def __len__(self) -> int:
        return len(self.calls)

    def __str__(self) -> str:
        return self.listing


# --- memory -----------------------------------------------------------------------------------------------------------


class Plan:
    """An array for every variable that has its place for good; results share memory when not needed at one time.

    A call computes in place of an operand that is read there for the last time, when it goes element by element; not so
    a single number, which numpy then takes twice as long for. Otherwise it takes the smallest free piece that is large
    enough. Returned variables keep their own. An array is laid out as it was when recorded, so that sums run in the
    same order. What is read for the last time in a region of several threads is free after the region, and in it for
    what the threads write in the same parts.
    """

    def __init__(self, program: Program) -> None:
        self.arrays: dict[Var, np.ndarray] = {}
        self.pieces: dict[Var, np.ndarray] = {}  # the memory of every result that is still needed
        self.free: list[np.ndarray] = []
        self.unread: list[tuple[Var, np.ndarray, bool]] = []  # free after this region; whether read in parts
        self.memory = 0
        self.last: dict[Var, int] = {}
        for i, call in enumerate(program.calls):
            for var in (*call.reads(), call.out):
                self.last[var.root] = i
        for var in variables(program.outputs):
            self.last[var.root] = len(program.calls)
        for i, call in enumerate(program.calls):
            if call.out.root.kind == "result" and call.into and not call.writes and call.out.root not in self.arrays:
                self.place(i, call)
            for root in {var.root for var in (*call.reads(), call.out)}:
                if self.last[root] == i and root in self.pieces:
                    piece = self.pieces.pop(root)
                    if call.region is None:
                        self.free.append(piece)
                    else:
                        whole = [v for v in call.reads() if v.root is root and v.size < call.out.size]  # by each thread
                        self.unread.append((root, piece, call.elementwise and not whole))
            if call.region and call.region is not next((other.region for other in program.calls[i + 1 : i + 2]), None):
                self.free += [piece for _, piece, _ in self.unread]
                self.unread.clear()

    def place(self, i: int, call: Call) -> None:
        """Choose the memory of what call number i computes."""
        out = call.out.root
        size = out.dtype.itemsize * math.prod(out.shape)
        fitting = [k for k, piece in enumerate(self.free) if piece.nbytes >= size]
        given = self.given_up(i, call) if call.elementwise and out is call.out and out.size > 1 else None
        parted = [k for k, (x, _, in_parts) in enumerate(self.unread) if in_parts and in_same_places(x, out)]
        if given is not None:
            self.pieces[out] = self.pieces.pop(given)
        elif call.elementwise and parted:
            self.pieces[out] = self.unread.pop(parted[0])[1]
        elif fitting:
            self.pieces[out] = self.free.pop(min(fitting, key=lambda k: self.free[k].nbytes))
        else:
            self.pieces[out] = allocate(size)
            self.memory += self.pieces[out].nbytes
        self.arrays[out] = np.ndarray(out.shape, out.dtype, buffer=self.pieces[out], strides=out.strides)

    def given_up(self, i: int, call: Call) -> Var | None:
        """The root of an operand that call number i may overwrite with its result: read for the last time, nowhere
        else in the call, and covering its memory as the result will."""
        reads = [canonical(var) for var in call.reads()]
        for var in reads:
            root = var.root
            if root in self.pieces and self.last[root] == i and all(x is var for x in reads if x.root is root):
                array = self.fixed(var)
                if array is not None and alike(var, call.out) and array.strides == call.out.strides:
                    if array.nbytes == self.arrays[root].nbytes:
                        return root
        return None

    def fixed(self, var: Var) -> np.ndarray | None:
        """The array of a variable that has its place for good, else None."""
        var = canonical(var)
        if var.kind in ("state", "constant"):
            return var.array
        if var not in self.arrays and var.base is not None:
            base = self.fixed(var.base)
            if base is not None:
                f, args, kwargs = var.view
                self.arrays[var] = f(base, *args, **kwargs)
        return self.arrays.get(var)


def alike(x: Var, y: Var) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype


def in_same_places(x: Var, y: Var) -> bool:
    """Whether the elements of two arrays in the same memory are at the same places."""
    return x.size == y.size and x.dtype.itemsize == y.dtype.itemsize


def may_overlap(x: Var, y: Var) -> bool:
    """Whether two roots may lie in the same memory: arrays from outside may, an argument with any of them."""
    if x is y or not {x.kind, y.kind} <= {"input", "state"}:
        return x is y
    return "input" in (x.kind, y.kind) or np.may_share_memory(x.array, y.array)


def canonical(var: Var) -> Var:
    """The variable itself, without views that change nothing."""
    while var.base is not None and var.view is None:
        var = var.base
    return var


# --- source -----------------------------------------------------------------------------------------------------------


def function_name(function: Any) -> str:
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"np.{owner.__name__}.{function.__name__}"
    if isinstance(function, np.ufunc) or getattr(function, "__module__", "") == "numpy":
        return f"np.{function.__name__}"
    return function.__name__


METHODS = (np.reshape, np.transpose, np.swapaxes)


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


def remark(x: Var) -> str:
    """What an array is."""
    return f"{'x'.join(map(str, x.shape)) or 'scalar'} {x.dtype}"


def place_of(array: np.ndarray) -> tuple[Any, ...]:
    """What two arrays have in common if and only if it makes no difference which of them is used."""
    return array.ctypes.data, array.shape, array.strides, array.dtype, array.flags.writeable


def identifier(label: str) -> str:
    """A Python name for a label: "0.weight" becomes weight0."""
    name = re.sub(r"^(\d+)\.([A-Za-z]+)", r"\2\1", label)
    name = re.sub(r"\W", "_", name)
    return f"_{name}" if not name or name[0].isdigit() or keyword.iskeyword(name) or name == "np" else name


class Names:
    """Python names for the arrays of a program, and what each stands for."""

    def __init__(self) -> None:
        self.of: dict[int, str] = {}
        self.bound: dict[str, Any] = {"np": np, "slice": slice, "Ellipsis": Ellipsis}  # what the source may name

    def new(self, wanted: str) -> str:
        name, k = wanted, 2
        while name in self.bound:
            name, k = f"{wanted}_{k}", k + 1
        self.bound[name] = None
        return name

    def bind(self, wanted: str, x: Any) -> str:
        """The name of the object `x`, the same at each call."""
        if id(x) not in self.of:
            name = self.of[id(x)] = self.new(wanted)
            self.bound[name] = x
        return self.of[id(x)]


class Source:
    """The source of a program: a function of its inputs that returns copies of its outputs, in a tuple. What several
    threads do parts of are functions of their own below it.

    Where an array has its place for good, so have its views: they are made here, once. Only inputs, and what a call
    allocates anew, are looked at again at each replay.
    """

    def __init__(self, program: Program, title: str):
        self.names = Names()
        self.plan = Plan(program)
        self.places: dict[Any, Any] = {}  # arrays of one place, shape and dtype share one name, and so do their parts
        self.local = {var: self.names.new(identifier(var.label)) for var in program.inputs}
        self.lines: list[tuple[str, str]] = []  # of the function, with remarks
        self.parts: dict[str, tuple[str, list[tuple[str, str]]]] = {}  # other functions: their arguments, their lines
        if any(call.region for call in program.calls):
            self.helpers = self.names.new("helpers")
            ask = self.names.bind("experience", Experience())
            self.lines.append((f"{self.helpers} = {ask}.helpers()", "how many other threads"))
        for region, calls in groupby(program.calls, lambda call: call.region):
            if region is not None:
                self.divide([*region.parts(list(calls))])
                continue
            for call in calls:
                self.lines.append((statement(call, self.show, self.function(call.function)), remark(call.out)))
        outputs = [f"{self.show(var)}.copy()" for var in variables(program.outputs)]
        title = self.names.new(identifier(title))
        self.lines.append((f"return ({', '.join(outputs)}{',' * (len(outputs) == 1)})", ""))
        functions = {title: (", ".join(self.local[var] for var in program.inputs), self.lines), **self.parts}
        remarked = [line for _, lines in functions.values() for line, about in lines if about]
        width = min(88, max(map(len, remarked), default=0))
        texts, listings = [], []
        for name, (given, lines) in functions.items():
            head = f"def {name}({given}):"
            texts.append("\n    ".join([head, *(line for line, _ in lines)]) + "\n")
            rows = [f"{i:3}  {a:{width}}  # {b}" if b else f"     {a}" for i, (a, b) in enumerate(lines)]
            listings.append("\n".join([head, *rows]))
        self.text, self.listing = "\n\n".join(texts), "\n\n".join(listings)
        file = f"<recorded {title} {id(self):x}>"
        linecache.cache[file] = (len(self.text), None, self.text.splitlines(True), file)
        exec(compile(self.text, file, "exec"), self.names.bound)
        made = {name: self.names.bound.pop(name) for name in functions}
        names = dict(self.names.bound)
        for name in self.parts:  # a function that can find itself would hold itself
            self.names.bound[name] = types.FunctionType(made[name].__code__, names, name)
        self.run = made[title]
        weakref.finalize(self.run, linecache.cache.pop, file, None)

    def divide(self, statements: list[list[Call]]) -> None:
        """Write what several threads do parts of, as a function of a part's number. Each statement is given as the
        calls that it is in the parts."""
        given: dict[str, None] = {}  # what the function needs of the step's own names

        def show(parts: tuple[Any, ...]) -> str:
            x, number = parts[0], ""
            arrays: list[Any] = [self.plan.fixed(part) if isinstance(part, Var) else None for part in parts]
            if arrays[0] is None:  # a plain number, or what each replay has anew: itself or parts of it
                if x is not parts[-1]:
                    x, places = x.base, [part.view[1][0] for part in parts]
                    number = f"[{self.names.bind('places', self.places.setdefault(repr(places), places))}[i]]"
                shown = self.show(x)
                if isinstance(x, Var):
                    given[shown] = None
                return shown + number
            where = tuple(map(place_of, arrays))
            if len({*where}) == 1:
                return self.show(x)
            wanted = self.wanted(x).removesuffix("_part")
            return f"{self.names.bind(f'{wanted}_parts', self.places.setdefault(where, arrays))}[i]"

        lines = []
        for parts in statements:
            operands: list[Any] = [*zip(*[(*part.args, part.out) for part in parts], strict=True)]
            one = Call(parts[0].function, tuple(operands[:-1]), {}, operands[-1], parts[0].writes)
            about = " or ".join(dict.fromkeys(map(remark, operands[-1])))
            lines.append((statement(one, show, self.function(one.function)), about))
        name, share_, count = self.names.new("part"), self.names.bind("share", share), len(statements[0])
        self.parts[name] = ", ".join(["i", *given]), lines
        self.lines.append((f"{share_}({', '.join([name, str(count), self.helpers, *given])})", f"{count} parts"))

    def function(self, f: Any) -> str:
        """The name by which the source calls `f`."""
        owner = getattr(f, "__self__", None)
        if isinstance(owner, np.random.Generator):
            return f"{self.names.bind('rng', owner)}.{f.__name__}"
        name = function_name(f)
        return name if name.startswith("np.") else self.names.bind(name, f)

    def show(self, x: Any) -> str:
        """A variable's name, or a plain argument as Python."""
        if isinstance(x, (tuple, list)):
            inside = ", ".join(map(self.show, x))
            return f"[{inside}]" if isinstance(x, list) else f"({inside}{',' * (len(x) == 1)})"
        if not isinstance(x, Var):
            if isinstance(x, np.dtype):
                return self.names.bind(x.name, x)
            plain = x is None or x is Ellipsis or type(x) in (bool, int, str, slice)
            return repr(x) if plain or (type(x) is float and math.isfinite(x)) else self.names.bind("value", x)
        x = canonical(x)
        array = self.plan.fixed(x)
        if array is not None:
            return self.names.bind(self.wanted(x), self.places.setdefault(place_of(array), array))
        if x not in self.local:
            base = "" if x.base is None else self.show(x.base)
            self.local[x] = self.names.new(self.wanted(x))
            if base:
                f, args, kwargs = x.view
                look = Call(f, (x.base, *args), kwargs, x, into=False)
                name = "" if f is operator.getitem or f in METHODS else self.function(f)
                self.lines.append((statement(look, self.show, name), remark(x)))
        return self.local[x]

    def wanted(self, var: Var) -> str:
        """The name that a variable would like to have."""
        if var.label:
            return identifier(var.label)
        if var.base is not None:
            base, looks = var, []
            while base.base is not None and not base.label:
                looks.append(base.view and base.view[0])
                base = base.base
            name = identifier(base.label) if base.label else self.show(base)
            turned = np.transpose in looks or np.swapaxes in looks
            return f"{name}{'_T' * turned}{'_part' * (operator.getitem in looks)}"
        if var.kind == "constant" and not var.shape:
            return identifier(f"{float(var.array):g}")
        return {"result": "t", "state": "array"}.get(var.kind, var.kind)
