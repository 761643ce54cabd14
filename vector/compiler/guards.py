"""What a recorded step finds outside of itself, by the names in its text, and takes as it is.

That are globals, the variables of enclosing functions, and attributes of objects found so: of layers and optimizers all
of them, of other objects those that the text names; and the same for the functions and methods that it calls, as far
as they are neither Python's nor of this package. Modules, classes and functions of packages stay what they are. A
tensor's array is not among all that: a replay reads it where it lies.
"""

from __future__ import annotations

import dis
import functools
import operator
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..op import Op
from ..random import GENERATORS
from ..storage import Guarded
from ..tensor import Tensor

PLAIN = (int, float, complex, str, bytes, np.generic, np.dtype)
CONTAINERS = (list, tuple, set, frozenset, dict)
STILL = {*sys.stdlib_module_names, "numpy", __package__.partition(".")[0]}  # what is in these packages does not change


class Look(NamedTuple):
    """Something that a step finds outside."""

    name: str
    read: Callable[[], Any]  # what it is now; None if it is not there
    watched: bool  # whether it is an attribute of a `Guarded`


class Outside:
    """What a step found outside when it was recorded: of each look what it found, and what can be compared with that
    later."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.found = [(look, x, frozen(x)) for look in looks(step) for x in [look.read()]]

    def changed(self) -> str:
        """The name of something that is not as it was; empty if all is."""
        for look, was, content in self.found:
            x = look.read()
            if (x is not was or content is not was) and not alike(frozen(x), content):
                return look.name
        return ""


def looks(step: Callable[..., Any]) -> list[Look]:
    """All that a step finds outside, except what stays."""
    words: set[str] = {"__call__"}
    while True:  # an object is asked for the attributes that are named anywhere, so later ones count, too
        known = len(words)
        found = walk(step, words)
        if len(words) == known:
            return [look for look in found.values() if not isinstance(look.read(), types.ModuleType)]


def walk(step: Callable[..., Any], words: set[str]) -> dict[Any, Look]:
    """What can be reached from a step, by where it is found. `words` are the names in texts, to which those of the
    functions found are added."""
    found: dict[Any, Look] = {}
    seen: dict[int, Any] = {}
    left: list[tuple[str, Any]] = [(getattr(step, "__name__", "self"), step)]

    def look(place: Any, *given: Any) -> None:
        found[place] = this = Look(*given)
        left.append((this.name, this.read()))

    while left:
        name, x = left.pop()
        if id(x) in seen or isinstance(x, (Tensor, np.ndarray, *GENERATORS, *PLAIN)) or x is None:
            continue
        seen[id(x)], parts = x, []
        if isinstance(x, CONTAINERS):
            items = x.items() if isinstance(x, dict) else enumerate(x)
            left += ((f"{name}[{key!r}]", value) for key, value in items if not isinstance(value, PLAIN))
        elif isinstance(x, types.MethodType):
            left += (("self", x.__self__), (name, x.__func__))
        elif isinstance(x, functools.partial):
            left.append((name, x.func))
            parts = [("args", "arguments"), ("keywords", "arguments")]
        elif isinstance(x, types.FunctionType):
            if stays(x) and x is not step:
                continue
            codes = list(texts(x.__code__))
            words |= {word for code in codes for word in code.co_names}
            loaded = {i.argval for code in codes for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
            for word in sorted(loaded):
                if not stays(x.__globals__.get(word)):
                    look((id(x.__globals__), word), word, functools.partial(x.__globals__.get, word), False)
            for word, cell in zip(x.__code__.co_freevars, x.__closure__ or (), strict=True):
                look(id(cell), word, functools.partial(contents, cell), False)
            parts = [("__defaults__", "defaults"), ("__kwdefaults__", "defaults")]
        elif not isinstance(x, (types.ModuleType, type)):
            attributes, watched = getattr(x, "__dict__", {}), isinstance(x, Guarded)
            for key in sorted(attributes if watched else attributes.keys() & words):
                look((id(attributes), key), f"{name}.{key}", functools.partial(attributes.get, key), watched)
            methods = [vars(kind).get(word) for kind in type(x).__mro__ for word in sorted(words)]
            methods = [getattr(f, "fget", None) or getattr(f, "__func__", f) for f in methods]
            left += ((name, f) for f in methods if isinstance(f, types.FunctionType))
            left.append((name, attributes.get("__wrapped__")))
        for part, called in parts:
            if getattr(x, part):
                look((id(x), part), f"the {called} of {name}", functools.partial(getattr, x, part), False)
    return found


def texts(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function, and of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from texts(constant)


def contents(cell: Any) -> Any:
    """What a closure's cell holds; None if nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def stays(x: Any) -> bool:
    """Whether a name for `x` is not looked at again: modules, and functions and classes of packages."""
    if isinstance(x, types.ModuleType):
        return True
    of_package = (getattr(x, "__module__", None) or "builtins").partition(".")[0] in STILL
    return of_package and (
        isinstance(x, (type, types.FunctionType, Op)) or (callable(x) and not hasattr(x, "__dict__"))
    )


def frozen(x: Any, *within: int) -> Any:
    """What can be compared with `x` later: the contents of an array; of a list, tuple, set or dict the same of its
    parts, which are not arrays; else x itself."""
    if isinstance(x, np.ndarray) and not within:
        return x.dtype, x.shape, x.tobytes()
    if not isinstance(x, CONTAINERS) or id(x) in within:
        return x
    parts = tuple(frozen(part, *within, id(x)) for part in (x.items() if isinstance(x, dict) else x))
    fixed = isinstance(x, (tuple, frozenset)) and all(map(operator.is_, parts, x))
    return x if fixed else parts


def alike(x: Any, y: Any) -> bool:
    """Whether x is y: the same object, the same number or text, or of the same parts."""
    if isinstance(x, tuple) and isinstance(y, tuple):
        return len(x) == len(y) and all(map(alike, x, y))
    return x is y or (type(x) is type(y) and isinstance(x, PLAIN) and repr(x) == repr(y))
