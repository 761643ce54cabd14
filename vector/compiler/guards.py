"""Guards: what a recorded step captures from outside, compared with the recording before each replay.

Captured are globals, variables of enclosing functions, defaults, attributes, and the contents of containers, of the
step and of the functions, methods, classes and modules that it reaches, as far as these are neither Python's, numpy's
nor this package's. Of layers and optimizers all attributes count, of other objects those that a function names. A guess
by names misses some; recording again (verify.py) finds the rest.

A replay compares identities, in plain loops over flat lists, and what layers, optimizers and tensors hold only after
the epoch changed. Only where an object is another one is everything walked again, and compared by value.
"""

from __future__ import annotations

import dis
import functools
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from sys import stdlib_module_names
from typing import Any

import numpy as np

from ..epoch import Guarded, epoch
from ..op import Op
from ..random import GENERATORS
from ..tensor import Tensor

PLAIN = (int, float, complex, str, bytes, np.generic, np.dtype, type(None), type(Ellipsis))
CONTAINERS = (list, tuple, set, frozenset, dict, deque)
STILL = {*stdlib_module_names, "numpy", __package__.partition(".")[0]}  # nobody changes what is in these packages
LIMIT = 1000  # elements of a container, and guards in all; beyond, lengths alone
NOT_CALLED = {"__init__", "__new__", "__init_subclass__", "__repr__", "__del__"}  # by a step that uses an object
CONTENTS = types.CellType.cell_contents.__get__
ALWAYS = frozenset({"__call__", "__wrapped__"})


class Method:
    """A method of an object that is held weakly: its recordings go with it."""

    def __init__(self, function: Callable[..., Any], instance: Any) -> None:
        functools.update_wrapper(self, function)
        self.function, self.instance = function, weakref.ref(instance)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.function(self.instance(), *args, **named)


class GuardSet:
    """The values that a step captures, as they were at its recording.

    found     the name and value of each, and the length of each container
    words     the names in the functions found: attributes of these names are guarded
    tensors   those that the recording reads, each with its array
    wanted    these and those whose `requires_grad` the step read, each with what it was
    """

    def __init__(self, roots: list[tuple[str, Any]], words: frozenset[str] = ALWAYS) -> None:
        self.roots, self.words = roots, words
        self.tensors: list[tuple[Tensor, np.ndarray]] = []
        self.wanted: list[tuple[Tensor, bool]] = []
        while True:  # an object is asked for the attributes that are named anywhere, so later names count, too
            walk = Walk(self.roots, self.words)
            if walk.words == self.words:
                break
            self.words = frozenset(walk.words)
        self.take(walk)

    def take(self, walk: Walk) -> None:
        self.found, self.names = walk.found, walk.names
        self.guarded, self.contents, self.lengths = walk.guarded, walk.contents, walk.lengths
        self.epoch = epoch.now

    def unchanged(self) -> bool:
        """Whether everything is the same object as at the recording."""
        try:
            for read, key, value in self.names:
                if read(key) is not value:
                    return False
            for parts, x, ids, _ in self.contents:
                if [*map(id, parts(x))] != ids:
                    return False
            for x, length in self.lengths:
                if len(x) != length:
                    return False
            if self.epoch != epoch.now:  # what else is compared changes it
                now = epoch.now
                for tensor, array in self.tensors:
                    if tensor._data is not array:
                        return False
                for tensor, wanted in self.wanted:
                    if tensor._requires_grad is not wanted:
                        return False
                for read, key, value in self.guarded:
                    if read(key) is not value:
                        return False
                self.epoch = now
        except (ValueError, AttributeError, RuntimeError):  # an empty cell or slot; a container that changes just now
            return False
        return True

    def changed(self) -> str:
        """The name of a captured value that is another one; empty if all are as at the recording."""
        if self.unchanged():
            return ""
        now = Walk(self.roots, self.words)
        old, new = dict(self.found), dict(now.found)
        for name in (*old, *new):  # near things first
            if name not in old or name not in new or not alike(old[name], new[name]):
                return name
        for (name, was), (other, x) in zip(self.found, now.found, strict=False):  # two may have one name
            if name != other or not alike(was, x):
                return name
        self.take(now)  # equal values in other objects: from now on these
        return ""

    def rebound(self) -> tuple[str, str] | None:
        """Of a tensor whose array or `requires_grad` is another one: what a replay cannot do, and what to do instead"""
        for tensor, array in self.tensors:
            if tensor._data is not array:
                return (
                    f"follow {tensor.label or 'a tensor'} to another array, which it was given after the recording",
                    "write into it, as in p.data[...] = new, or call clear() on the step to record anew",
                )
        for tensor, wanted in self.wanted:
            if tensor._requires_grad is not wanted:
                what = f"follow {tensor.label or 'a tensor'}, whose requires_grad changed after the recording"
                return what, "call clear() on the step to record anew"
        return None

    def iterators(self) -> Iterator[str]:
        """The names of captured iterators: what comes next is another thing each time."""
        guarded = {id(value) for _, _, value in self.guarded}
        return (name for name, x in (*self.roots, *self.found) if isinstance(x, Iterator) and id(x) not in guarded)

    def values(self) -> list[Any]:
        """All captured values."""
        return [x for _, x in self.found]


class Walk:
    """One walk over what a step captures, near things first."""

    def __init__(self, roots: list[tuple[str, Any]], words: frozenset[str]) -> None:
        self.words = set(words)
        self.asked = words
        self.found: list[tuple[str, Any]] = []
        self.names: list[tuple[Callable[[Any], Any], Any, Any]] = []  # read(key) is the value
        self.guarded: list[tuple[Callable[[Any], Any], Any, Any]] = []  # the same, of a `Guarded`: told by the epoch
        self.contents: list[tuple[Callable[[Any], Any], Any, list[int], Any]] = []  # the ids of parts(x), and these
        self.lengths: list[tuple[Any, int]] = []  # of long containers
        self.seen: dict[int, Any] = {}
        self.left = deque(roots)
        self.steps = [x for _, x in roots]
        while self.left and len(self.names) + len(self.contents) < LIMIT:
            self.visit(*self.left.popleft())

    def guard(self, name: str, read: Callable[[Any], Any], key: Any, guarded: bool = False) -> None:
        """Guard read(key), and go on from there."""
        try:
            value = read(key)
        except (ValueError, AttributeError):  # empty: of no use until it is filled
            read, value = missing(read), MISSING
        if isinstance(value, types.ModuleType) and stays(value):
            return
        self.found.append((name, value))
        (self.guarded if guarded else self.names).append((read, key, value))
        self.left.append((name, value))

    def visit(self, name: str, x: Any) -> None:
        """Guard what can be reached from `x` directly."""
        if id(x) in self.seen or isinstance(x, (*PLAIN, Tensor, Op, np.ndarray, *GENERATORS)) or x is MISSING:
            return
        self.seen[id(x)] = x
        if isinstance(x, (types.MethodType, Method)):
            inner = (x.__self__, x.__func__) if isinstance(x, types.MethodType) else (x.instance(), x.function)
            self.left += (("self", inner[0]), (name, inner[1]))
        elif isinstance(x, functools.partial):
            self.left += ((name, x.func), (f"the arguments of {name}", x.args))
            self.left.append((f"the arguments of {name}", x.keywords))
        elif isinstance(x, types.FunctionType):
            self.function(name, x)
        elif isinstance(x, type):
            self.of_class(x)
        elif isinstance(x, types.ModuleType):
            if not stays(x):
                self.attributes(x.__name__, vars(x))
        elif isinstance(x, CONTAINERS):
            self.container(name, x)
        else:
            self.instance(name, x)

    def function(self, name: str, f: Any) -> None:
        """Globals, variables of enclosing functions and defaults."""
        if stays(f) and not any(f is step for step in self.steps):
            return
        words, loaded = named(f.__code__)
        self.words |= words
        for word in loaded:
            if word in f.__globals__:
                self.guard(word, f.__globals__.get, word)
        for word, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            self.guard(word, CONTENTS, cell)
        for part in ("__defaults__", "__kwdefaults__"):
            if getattr(f, part):
                self.guard(f"the defaults of {name}", functools.partial(getattr, f), part)
        self.attributes(name, vars(f))

    def container(self, name: str, x: Any) -> None:
        """The elements; of a long one the length alone."""
        kind: Any = next(kind for kind in CONTAINERS if isinstance(x, kind))
        length = kind.__len__(x)
        self.found.append((name, length))
        if length > LIMIT:
            self.lengths.append((x, length))
            return
        items = [*dict.items(x)] if kind is dict else [*enumerate(kind.__iter__(x))]
        keys, values = [key for key, _ in items], [value for _, value in items]
        if kind not in (tuple, frozenset):
            self.contents.append((dict.values if kind is dict else kind.__iter__, x, [*map(id, values)], values))
        if kind is dict:
            self.contents.append((dict.__iter__, x, [*map(id, keys)], keys))
        for key, value in items:
            self.found.append((f"{name}[{key!r}]", value))
            self.left.append((f"{name}[{key!r}]", value))
        self.attributes(name, getattr(x, "__dict__", {}))

    def instance(self, name: str, x: Any) -> None:
        """Attributes in the object's dict and slots, and what its class says."""
        attributes = getattr(x, "__dict__", None)
        own = attributes if isinstance(attributes, dict) else {}
        self.attributes(name, own, isinstance(x, Guarded))
        for kind in type(x).__mro__:
            if stays(kind):
                continue
            self.left.append((kind.__name__, kind))
            for word, value in sorted(vars(kind).items()):
                if isinstance(value, types.MemberDescriptorType) and word in self.asked:
                    self.guard(f"{name}.{word}", value.__get__, x)
                elif word in self.asked and word not in own and not callable(value) and isinstance(attributes, dict):
                    self.guard(f"{name}.{word}", own.get, word)  # which would hide the class's

    def attributes(self, name: str, attributes: Any, guarded: bool = False) -> None:
        """All attributes of a `Guarded`, of others those that a function names."""
        for word in sorted(attributes if guarded else attributes.keys() & self.asked):
            self.guard(f"{name}.{word}", attributes.get, word, guarded)

    def of_class(self, kind: Any) -> None:
        """Class attributes and methods."""
        if stays(kind):
            return
        attributes = vars(kind)
        for word in sorted(attributes):
            value = attributes[word]
            special = word[:2] == "__" and isinstance(value, types.FunctionType) and word not in NOT_CALLED
            if (word in self.asked or special) and not isinstance(value, types.MemberDescriptorType):
                self.guard(f"{kind.__name__}.{word}", attributes.get, word)
                inner = getattr(value, "fget", None) or getattr(value, "__func__", None)
                if inner is not None:
                    self.left.append((f"{kind.__name__}.{word}", inner))


MISSING = object()


def missing(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same for what may be empty."""

    def look(key: Any) -> Any:
        try:
            return read(key)
        except (ValueError, AttributeError):
            return MISSING

    return look


@functools.lru_cache(512)
def named(code: types.CodeType) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names in a function and in those within it, also as texts; and the globals among them, which are not all that
    are named like one."""
    codes = [code]
    for inner in codes:
        codes += (x for x in inner.co_consts if isinstance(x, types.CodeType))
    texts = {x for inner in codes for x in inner.co_consts if isinstance(x, str) and x.isidentifier()}
    loaded = {i.argval for inner in codes for i in dis.get_instructions(inner) if i.opname == "LOAD_GLOBAL"}
    return frozenset(texts.union(*(inner.co_names for inner in codes))), tuple(sorted(loaded))


def stays(x: Any) -> bool:
    """Whether a name for `x` needs no guard: modules, functions and classes of Python, numpy and this package."""
    if isinstance(x, types.ModuleType):
        return x.__name__.partition(".")[0] in STILL
    of_package = (getattr(x, "__module__", None) or "builtins").partition(".")[0] in STILL
    return of_package and (
        isinstance(x, (type, types.FunctionType, Op)) or (callable(x) and not hasattr(x, "__dict__"))
    )


def alike(x: Any, y: Any) -> bool:
    """Whether x is y: the same object, the same number or text, the same method, or containers of one kind (whose
    elements are compared by themselves)."""
    if x is y:
        return True
    if type(x) is not type(y):
        return False
    if isinstance(x, PLAIN):
        return repr(x) == repr(y)
    if isinstance(x, types.MethodType):
        return x.__self__ is y.__self__ and x.__func__ is y.__func__
    return isinstance(x, CONTAINERS) and len(x) == len(y) <= LIMIT
