"""Recording again: does a step still do what its recording does?

A signature holds what a recording wrote down before any pass: each call with its function, arguments and user's line,
variables numbered in order of appearance, what is returned, and which gradients are left. It keeps the numbers of
constants, but no array of the first run. Two signatures are compared call by call.
"""

from __future__ import annotations

import weakref
import zlib
from typing import Any, NamedTuple

import numpy as np

from ..errors import Place, RecordingError, line_at
from ..storage import same
from .guards import PLAIN
from .ir import Call, Program, Var
from .trace import Tracer

LARGE = 2**20  # bytes; of a larger constant a checksum is kept


class StaleRecording(RecordingError):
    """A step did something else than its recording.

    result     what the step, which ran as Python, returned
    replayed   how many steps were replayed since the recording was last found right, which may be wrong
    confirmed  whether it ever was found right after it was made
    asked      whether `verify_next` asked for the comparison
    """

    def __init__(self, message: str, result: Any, replayed: int, confirmed: bool, asked: bool) -> None:
        super().__init__(message)
        self.result, self.replayed, self.confirmed, self.asked = result, replayed, confirmed, asked


class Layout(NamedTuple):
    """What every array of a program has."""

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} {'x'.join(map(str, self.shape)) or 'scalar'} {self.dtype} with strides {self.strides}"


class Number(int):
    """The number of an array that appeared before."""

    def __str__(self) -> str:
        return f"array {int(self)}"


class Constant:
    """The numbers of an array that the engine made."""

    def __init__(self, array: np.ndarray) -> None:
        large = array.nbytes > LARGE
        self.numbers: Any = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data) if large else array

    def matches(self, other: Constant) -> bool:
        """Whether the bits are the same, but for the kind of a NaN."""
        if isinstance(self.numbers, int) or isinstance(other.numbers, int):
            return bool(self.numbers == other.numbers)
        return same(self.numbers, other.numbers)

    def __str__(self) -> str:
        return "many numbers" if isinstance(self.numbers, int) else text(self.numbers)


class Outer:
    """An array from outside: a tensor's or gradient's by its tensor, another by itself, or by its numbers as they are
    now, which is where a replay reads them. One that nobody holds any more is read by no replay."""

    def __init__(self, array: np.ndarray, owner: tuple[str, Any] | None) -> None:
        self.array, self.owner = weakref.ref(array), owner

    def matches(self, other: Outer) -> bool:
        """Whether a replay may read the one for the other."""
        if self.owner or other.owner:
            mine, others = self.owner or ("", None), other.owner or ("", None)
            moved = mine[0] == "data" and self.array() is not other.array()
            return mine[0] == others[0] and mine[1] is others[1] and not moved
        a, b = self.array(), other.array()
        return a is None or a is b or (b is not None and same(a, b))

    def __str__(self) -> str:
        array = self.array()
        if self.owner:
            return f"the {self.owner[0]} of {self.owner[1].label or 'a tensor'}"
        return "an array" if array is None else text(array)


class Signature:
    """What a recording wrote down, for comparison with another one of the same step. `ends` are the tensors whose
    gradients it leaves, and how."""

    def __init__(self, tracer: Tracer, program: Program, ends: list[tuple[Any, ...]]) -> None:
        self.owners: dict[int, tuple[str, Any]] = {}
        for tensor, array in reversed(tracer.tensors.items()):
            self.owners[id(array)] = "data", tensor
        for tensor, (array, _) in tracer.accumulated.items():
            self.owners[id(array)] = "gradient", tensor
        self.numbers: dict[Var, Number] = {}
        inputs = self.token(tracer.inputs)
        self.calls = [self.call(call) for call in tracer.calls]
        self.places = tracer.places[:]
        self.outputs = inputs, self.token(program.outputs)
        self.ends = tuple(ends)
        self.owners.clear()  # these hold the arrays
        self.numbers.clear()

    def call(self, call: Call) -> Any:
        """A call as something to compare."""
        operands = self.token((call.args, call.kwargs))
        return call.function, operands, self.token(call.out), call.writes, call.into

    def token(self, x: Any) -> Any:
        """x as something to compare; where an array first appears, with all that is known of it."""
        if isinstance(x, Var):
            if (number := self.numbers.get(x)) is not None:
                return number
            base = None if x.base is None else self.token(x.base)
            more: Any = None
            if x.kind == "constant":
                more = Constant(x.array)
            elif x.kind == "state":
                more = Outer(x.array, self.owners.get(id(x.array)))
            elif x.view is not None:
                f, args, kwargs = x.view
                more = f, self.token((args, kwargs))
            self.numbers[x] = number = Number(len(self.numbers))
            return number, Layout(x.kind, x.shape, x.dtype, x.strides), base, more
        if isinstance(x, (tuple, list)):
            return type(x), tuple([self.token(part) for part in x])
        if isinstance(x, dict):
            return dict, tuple([(key, self.token(part)) for key, part in x.items()])
        return x

    def difference(self, now: Signature) -> tuple[Place | None, str] | None:
        """Where and in what the step, as it ran now, first differs from the recording; None where it does not."""
        for i, (mine, other) in enumerate(zip(self.calls, now.calls, strict=False)):
            if pair := differing(mine, other):
                was, x = pair
                if mine[0] is was:
                    return now.places[i], f"it calls {text(x)}, where the recording calls {text(was)}"
                return now.places[i], f"{text(other[0])} has {text(x)}, where the recording has {text(was)}"
        if len(self.calls) != len(now.calls):
            n = min(len(self.calls), len(now.calls))
            longer, what = (self, "no longer") if n < len(self.calls) else (now, "now also")
            return longer.places[n], f"it {what} calls {text(longer.calls[n][0])}"
        if pair := differing(self.outputs, now.outputs):
            return None, f"it returns {text(pair[1])}, where the recording returns {text(pair[0])}"
        if pair := differing(self.ends, now.ends):
            return None, f"it leaves {text(pair[1])}, where the recording leaves {text(pair[0])}"
        return None


def differing(a: Any, b: Any) -> tuple[Any, Any] | None:
    """The first parts of two tokens that differ."""
    if a is b:
        return None
    if type(a) is not type(b):
        return a, b
    if type(a) is tuple:
        for x, y in zip(a, b, strict=False):
            if pair := differing(x, y):
                return pair
        return None if len(a) == len(b) else (a, b)
    if isinstance(a, (Constant, Outer)):
        return None if a.matches(b) else (a, b)
    equal = repr(a) == repr(b) if isinstance(a, PLAIN) else a == b
    return None if equal is True else (a, b)


def text(x: Any) -> str:
    """A part of a token, for people."""
    if isinstance(x, np.ndarray):
        return repr(x.item()) if x.ndim == 0 else np.array2string(x, threshold=8, separator=", ")
    if isinstance(x, (Layout, Number, Constant, Outer)):
        return str(x)
    if isinstance(x, tuple):
        return next((text(part) for part in x if isinstance(part, (Constant, Outer, Layout))), "other arguments")
    owner = getattr(x, "__self__", None)
    name = getattr(x, "__name__", None)
    if isinstance(owner, np.ufunc):
        return f"np.{owner.__name__}.{name}"
    return repr(x) if name is None else f"np.{name}" if isinstance(x, np.ufunc) else str(name)


def stale(difference: tuple[Place | None, str], line: str, replayed: int) -> str:
    """The message about a recording that is out of date."""
    place, what = difference
    doubtful = f", but {replayed} replayed since the last check may not be" if replayed else ""
    return (
        f"{line_at(place) if place else line}: a recorded step does something else than its recording: {what}; the "
        f"step just taken is right{doubtful}; hold what changes in a tensor or pass it as an argument; the next call "
        f"records anew, and verify=1 checks every call"
    )
