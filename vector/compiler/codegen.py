"""The source of a program: one statement a call, on the arrays that the plan has for it."""

from __future__ import annotations

import functools
import keyword
import linecache
import math
import operator
import re
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..runtime.blas import Moving, ProductsAtOnce
from ..runtime.threads import Autotuner, parallel_for
from .alias import IN_ORDER
from .ir import METHODS, Call, Program, Var, function_name, rewrite, statement, subscript, variables
from .memory import Plan


class Line(NamedTuple):
    """A statement, a remark, and the call that it is, if it is not a view or the like."""

    text: str
    remark: str = ""
    call: Call | None = None


def build(program: Program, title: str) -> tuple[Program, Callable[..., Any]]:
    """Plan the memory and write the source. Returns the program with its text, and the source as a function; the
    arrays of the first run are let go."""
    program = without_examples(program)
    source = Source(program, title)
    written = source.text, source.listing, tuple(source.lines)
    return Program(program.calls, program.inputs, program.outputs, *written, source.plan.memory), source.run


def timed(program: Program, run: Callable[..., Any], clock: Callable[[], int]) -> tuple[Callable[..., Any], list[int]]:
    """The program's function with a look at the clock around each line, and where it writes what the clock said."""
    head, *_ = program.source.splitlines()
    count = len(program.lines)
    body = ["    _times[0] = _clock()\n"]
    for i, line in enumerate(program.lines):
        statement = line[0]
        if statement.startswith("return "):
            body.append(f"    _result = {statement.removeprefix('return ')}\n    _times[{i + 1}] = _clock()\n")
        else:
            body.append(f"    {statement}\n    _times[{i + 1}] = _clock()\n")
    times = [0] * (count + 1)
    names = {**run.__globals__, "_times": times, "_clock": clock}
    exec("".join([f"{head}\n", *body, "    return _result\n"]), names)
    by_line: Callable[..., Any] = names[head.removeprefix("def ").partition("(")[0]]
    return by_line, times


def viewer(x: Var) -> Callable[[np.ndarray], np.ndarray]:
    """The function that makes a view of its root's array."""
    chain: list[Any] = []
    while x.base is not None:
        chain.insert(0, x.view)
        x = x.base

    def view(array: np.ndarray) -> np.ndarray:
        for f, args, kwargs in chain:
            array = f(array, *args, **kwargs)
        return array

    return view


def without_examples(program: Program) -> Program:
    """The same program without the arrays that differ from replay to replay."""
    roots = {x.root for call in program.calls for x in (*call.reads, *call.outs)}
    roots |= {*program.inputs, *(x.root for x in variables(program.outputs))}
    changing = [x for x in roots if x.kind in ("input", "result")]
    return rewrite(program, program.calls, {x: Var(x.kind, None, x.label, like=x) for x in changing})


@functools.lru_cache(maxsize=256)
def remark(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Shape and dtype of an array."""
    return f"{'x'.join(map(str, shape)) or 'scalar'} {dtype}"


def place_of(array: np.ndarray) -> tuple[Any, ...]:
    """What two arrays have in common if and only if it makes no difference which of them is used."""
    data, writeable = array.__array_interface__["data"]
    return data, array.shape, array.strides, array.dtype, not writeable


# --- names ------------------------------------------------------------------------------------------------------------


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
        self.taken: dict[str, int] = {}  # how often a name was wanted

    def new(self, wanted: str) -> str:
        """The wanted name, or the first free one of those with _2, _3, ... behind it."""
        name, k = wanted, self.taken.get(wanted, 1)
        while name in self.bound:
            k += 1
            name = f"{wanted}_{k}"
        self.bound[name], self.taken[wanted] = None, k
        return name

    def bind(self, wanted: str, x: Any) -> str:
        """The name of the object `x`, the same at each call."""
        if id(x) not in self.of:
            name = self.of[id(x)] = self.new(wanted)
            self.bound[name] = x
        return self.of[id(x)]


# --- the source -------------------------------------------------------------------------------------------------------


class Source:
    """The source of a program: a function of its inputs that returns copies of its outputs, in a tuple. The parts of a
    parallel call are a function of their own below it.

    Where an array has its place for good, so have its views: they are made here, once. Only inputs, and what a call
    allocates anew, are viewed again at each replay.
    """

    def __init__(self, program: Program, title: str):
        self.names = Names()
        self.plan = Plan(program)
        self.places: dict[Any, Any] = {}  # arrays of one place, shape and dtype share one name, and so do their parts
        self.known = {var: self.names.new(identifier(var.label)) for var in program.inputs}  # the name of each variable
        self.lines: list[Line] = []
        self.parts: dict[str, tuple[str, list[Line]]] = {}  # other functions: their arguments, their lines
        if any(call.parts for call in program.calls):
            self.helpers = self.names.new("helpers")
            ask = self.names.bind("autotuner", Autotuner())
            self.lines.append(Line(f"{self.helpers} = {ask}.helpers()", "how many other threads"))
        for call in program.calls:
            if call.function is ProductsAtOnce:
                self.write_products(call)
            elif call.parts:
                self.write_parts(call)
            else:
                text = statement(call, self.show, self.function(call.function))
                self.lines.append(Line(text, remark(call.out.shape, call.out.dtype), call))
        outputs = [f"{self.show(var)}.copy()" for var in variables(program.outputs)]
        self.lines.append(Line(f"return ({', '.join(outputs)}{',' * (len(outputs) == 1)})"))
        title = self.names.new(identifier(title))
        self.functions = {title: (", ".join(self.known[var] for var in program.inputs), self.lines), **self.parts}
        self.text, self.listing = self.texts()
        self.run = self.compile(title)

    def texts(self) -> tuple[str, str]:
        """The source, and the same with numbered statements and remarks."""
        remarked = [line.text for _, lines in self.functions.values() for line in lines if line.remark]
        width = min(88, max(map(len, remarked), default=0))
        texts, listings = [], []
        for name, (given, lines) in self.functions.items():
            head = f"def {name}({given}):"
            texts.append("\n    ".join([head, *(line.text for line in lines)]) + "\n")
            rows = [f"{i:3}  {a:{width}}  # {b}" if b else f"     {a}" for i, (a, b, _) in enumerate(lines)]
            listings.append("\n".join([head, *rows]))
        return "\n\n".join(texts), "\n\n".join(listings)

    def compile(self, title: str) -> Callable[..., Any]:
        """The first function of the source."""
        file = f"<recorded {title} {id(self):x}>"
        linecache.cache[file] = (len(self.text), None, self.text.splitlines(True), file)
        exec(compile(self.text, file, "exec"), self.names.bound)
        made = {name: self.names.bound.pop(name) for name in self.functions}
        names = dict(self.names.bound)
        for name in self.parts:  # a function that can find itself would hold itself
            self.names.bound[name] = types.FunctionType(made[name].__code__, names, name)
        weakref.finalize(made[title], linecache.cache.pop, file, None)
        run: Callable[..., Any] = made[title]
        return run

    def write_products(self, call: Call) -> None:
        """Write products that BLAS computes at one time."""
        given: dict[Var, int] = {}  # what each replay has anew, and its place among the arguments
        sign = getattr(call.statements[0].function, "sign", None)
        products, about = [], []
        for product in call.statements:
            operands = (*product.args[-2:], product.out)
            found: list[Any] = [self.plan.fixed(x) for x in operands]
            for i, x in enumerate(operands):
                if found[i] is None:
                    found[i] = Moving(given.setdefault(x.root, len(given)), viewer(x))
            products.append(tuple(found))
            x, y, out = map(self.described, operands)
            about.append(f"{out} {'' if sign is None else '+' if sign > 0 else '-'}= {x} @ {y}")
        run = ProductsAtOnce(sign, products)
        text = f"{self.names.bind(run.__name__, run)}({', '.join([self.helpers, *map(self.show, given)])})"
        self.lines.append(Line(text, "; ".join([*about[:2], *["..."][: len(about) - 2]]), call))

    def described(self, x: Var) -> str:
        """A variable as text: parts of what each replay has anew as such."""
        if x.base is None or self.plan.fixed(x) is not None:
            return self.show(x)
        f, args, _ = x.view
        base = self.described(x.base)
        if f is operator.getitem:
            return f"{base}[{subscript(args[0], self.show)}]"
        return base if f in IN_ORDER else f"{base}.T"

    def write_parts(self, call: Call) -> None:
        """Write the parts of a parallel call, as a function of a part's number."""
        statements = [*zip(*(part.calls for part in call.parts), strict=True)]  # each as the calls that it is
        given: dict[str, None] = {}  # what the function needs of the step's own names
        lines = []
        for parts in statements:
            operands: list[Any] = [*zip(*[(*part.args, part.out) for part in parts], strict=True)]
            one = Call(parts[0].function, tuple(operands[:-1]), {}, operands[-1], parts[0].writes)
            about = " or ".join(dict.fromkeys(remark(x.shape, x.dtype) for x in operands[-1]))
            text = statement(one, lambda xs: self.show_parts(xs, given), self.function(one.function))
            lines.append(Line(text, about, one))
        name, run, number = self.names.new("part"), self.names.bind("parallel_for", parallel_for), len(statements[0])
        self.parts[name] = ", ".join(["i", *given]), lines
        text = f"{run}({', '.join([name, str(number), self.helpers, *given])})"
        self.lines.append(Line(text, f"{number} parts", call))

    def show_parts(self, parts: Sequence[Any], given: dict[str, None]) -> str:
        """What stands for an operand that is another one in each part: the same in all, or part number i of it."""
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

    def function(self, f: Any) -> str:
        """The name by which the source calls `f`."""
        owner = getattr(f, "__self__", None)
        if isinstance(owner, np.random.Generator):
            return f"{self.names.bind('rng', owner)}.{f.__name__}"
        name = function_name(f)
        found: Any = np
        for part in name.removeprefix("np.").split("."):  # ufuncs of other libraries look like numpy's
            found = getattr(found, part, None)
        return name if found == f else self.names.bind(identifier(name.rpartition(".")[2]), f)

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
        if x in self.known:
            return self.known[x]
        array = self.plan.fixed(x)
        if array is not None:
            place = place_of(array)
            if place not in self.places:
                wanted = self.wanted(x)  # which may name the array of a base at the same place
                self.names.bind(wanted, self.places.setdefault(place, array))
            self.known[x] = self.names.of[id(self.places[place])]
        else:
            if x.base is not None:
                self.show(x.base)
            self.known[x] = self.names.new(self.wanted(x))
            if x.base is not None:
                f, args, kwargs = x.view
                name = "" if f is operator.getitem or f in METHODS else self.function(f)
                view = Call(f, (x.base, *args), kwargs, x, into=False)
                self.lines.append(Line(statement(view, self.show, name), remark(x.shape, x.dtype)))
        return self.known[x]

    def wanted(self, var: Var) -> str:
        """The name that a variable would like to have."""
        if var.label:
            return identifier(var.label)
        if var.base is not None:
            base, functions = var, []
            while base.base is not None and not base.label:
                functions.append(base.view[0])
                base = base.base
            name = identifier(base.label) if base.label else self.show(base)
            turned = np.transpose in functions or np.swapaxes in functions
            return f"{name}{'_T' * turned}{'_part' * (operator.getitem in functions)}"
        if var.kind == "constant" and not var.shape:
            return identifier(f"{float(var.array):g}")
        return {"result": "t", "state": "array"}.get(var.kind, var.kind)
