"""Recording: arrays that compute as numpy does and write down every call.

A `TracedArray` stands for an array while a step is recorded. numpy hands each function called on it to the tracer
(`__array_ufunc__`, `__array_function__`), so whatever the op page, the backward pass and the optimizer do with arrays
is written down as the numpy calls that they make; none of them knows of it.
"""

from __future__ import annotations

import bisect
import functools
import operator
import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..autodiff import mode
from ..errors import Place, RecordingError, refuse, users_place
from ..op import node_in
from ..storage import EAGER, Saved, address
from .ir import Call, Program, Var, replace

DONATED = "a gradient that was used up inside a recorded step"
VIEWS = {np.reshape, np.transpose, np.broadcast_to, np.squeeze, np.expand_dims, np.swapaxes, np.moveaxis, np.ravel}
OF_VALUES = {np.unique, np.flatnonzero, np.argwhere, np.extract, np.compress}  # shapes that depend on values
TAKES_OUT = {np.take, np.cumsum, np.cumprod}
# An array's methods that are numpy's functions of that name.
SAME = "all any argmax argmin clip cumsum dot max mean min prod ravel repeat round squeeze std sum swapaxes take var"
METHODS = {name: getattr(np, name) for name in SAME.split()}
METHODS["clip"] = lambda x, min=None, max=None, **more: np.clip(x, min, max, **more)
METHODS["flatten"] = lambda x, order="C": np.ravel(x, order).copy()


class TracedArray(NDArrayOperatorsMixin):
    """An array of the program under way: `value` as it is in this first run, `_var` as it stands in the program."""

    __slots__ = ("_var", "number", "tracer", "value")

    def __init__(self, tracer: Tracer, var: Var, value: np.ndarray, number: bool = False):
        self.tracer, self._var, self.value = tracer, var, value
        self.number = number  # what numpy gave as a single number, which no operator changes in place

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    strides = property(lambda self: self.value.strides)
    base = property(lambda self: self._var.base)
    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any([type(x) is not TracedArray and hasattr(x, "op") for x in inputs]):
            return NotImplemented  # for the tensor among them, which makes a node
        if method not in ("__call__", "reduce") or ufunc.nout != 1:
            refuse(
                f"call np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}", "call it outside the step"
            )
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        inputs = tuple([self.tracer.joined(x) if isinstance(x, (list, tuple)) else x for x in inputs])
        out = kwargs.pop("out", (None,))
        kwargs = {key: x for key, x in kwargs.items() if x is not None or key == "axis"}
        number = isinstance(out[0], TracedArray) and out[0].number  # s += 1: a new one
        return self.tracer.call(function, inputs, kwargs, None if number else out[0])

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if node_in((*args, *kwargs.values())) is not None:
            return NotImplemented  # for the tensor among them, which makes a node
        if not args and kwargs and isinstance(first := next(iter(kwargs.values())), TracedArray):  # as in np.size(a=x)
            args, kwargs = (first,), dict([*kwargs.items()][1:])
        if function in VIEWS and args and isinstance(args[0], TracedArray):
            return self.tracer.view(args[0], function, args[1:], kwargs)
        if function is np.where and len(args) == 3:
            return self.tracer.choose(*args)
        if function is np.copyto:
            self.tracer.copyto(*args, **kwargs)
            return None
        if function is np.concatenate:
            return self.tracer.join(*args, **kwargs)
        if function in (np.shape, np.ndim, np.size):
            return function(args[0].value, *args[1:], **kwargs)
        out = kwargs.pop("out", None)
        return self.tracer.call(function, args, kwargs, out, into=function in TAKES_OUT)

    def settled(self) -> TracedArray:
        """A number as what it is in a tensor: an array, which can be written to."""
        return TracedArray(self.tracer, self._var, self.value)

    def record(self, function: Callable[..., Any], args: Any, kwargs: Any, into: bool) -> Any:
        """Write `function` down as one call, which takes `out=` or not."""
        return self.tracer.call(function, args, kwargs, into=into)

    __class__ = property(lambda self: np.ndarray)  # what the step is given where it takes arrays

    def reshape(self, *shape: Any) -> Any:
        """As numpy's."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """As numpy's."""
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def astype(self, dtype: Any) -> Any:
        """As numpy's: always a new array."""
        return self.tracer.cast(self, np.dtype(dtype))

    def copy(self) -> Any:
        """As numpy's: in the order of C."""
        return self.tracer.cast(self, self.dtype, "C")

    def __getitem__(self, key: Any) -> Any:
        keys = tuple(map(one_key, key if isinstance(key, tuple) else (key,)))
        key = keys if isinstance(key, tuple) else keys[0]
        advanced = [k for k in keys if hasattr(k, "dtype") or isinstance(k, list)]
        if not advanced:
            return self.tracer.view(self, operator.getitem, (key,), {})
        if any(np.asarray(unwrap(k)).dtype == bool for k in advanced):
            refuse("take as many elements as a mask has", "use vector.where, or indices: np.flatnonzero(mask) outside")
        if len(keys) == 1 and hasattr(key, "dtype") and self.value.flags.c_contiguous:  # laid out as indexing does
            return self.tracer.call(np.take, (self, key), {"axis": 0})
        return self.tracer.call(operator.getitem, (self, key), {}, into=False)

    def __setitem__(self, key: Any, new: Any) -> None:
        keys = key if isinstance(key, tuple) else (key,)
        single = all(isinstance(k, (int, np.integer)) for k in keys)  # else numpy gives a number in place of a view
        target = self[(*keys, ...)] if single else self[key]
        if target._var.root is not self._var.root:
            refuse("assign at an index that is an array")
        if not (isinstance(new, TracedArray) and new.is_view_like(target)):  # x[...] += y assigns to x[...] what it is
            np.copyto(target, new)

    def is_view_like(self, other: TracedArray) -> bool:
        """Whether two arrays are one view of the same memory."""
        a, b = self.value, other.value
        there = address(a) == address(b) and self._var.root is other._var.root
        return there and (a.shape, a.strides, a.dtype) == (b.shape, b.strides, b.dtype)

    def __len__(self) -> int:
        return len(self.value)

    def __contains__(self, x: Any) -> bool:
        return bool(np.any(self == x))

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self.value)))  # the TypeError of an array without axes is numpy's

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "op":
            raise AttributeError(name)
        if name in METHODS:
            return functools.partial(METHODS[name], self)
        refuse(f"use .{name} of an array", "use numpy's function of that name, or an op of vector")

    def __bool__(self) -> bool:
        refuse("branch on a value", "use vector.where")

    def __float__(self, *at: Any) -> float:
        refuse("turn a value into a number", "return the tensor from the step and read it outside")

    __int__ = __index__ = item = tolist = __float__

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        refuse(
            "hand a value to code that wants a plain array",
            "use numpy's functions and vector's ops: vector.Tensor(table)[x] in place of table[x]",
        )

    def __repr__(self) -> str:
        return f"<recorded {self.value!r}>"


class Extents:
    """Where in memory the arrays from outside lie, to find those that overlap another."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[tuple[int, Any]] = []  # of the same arrays, in the same order, with what each belongs to
        self.longest = 0

    def add(self, array: np.ndarray, owner: Any) -> None:
        """Remember an array and what it belongs to."""
        start, end = byte_bounds(array)
        i = bisect.bisect(self.starts, start)
        self.starts.insert(i, start)
        self.ends.insert(i, (end, owner))
        self.longest = max(self.longest, end - start)

    def overlapping(self, array: np.ndarray) -> Iterator[Any]:
        """What the arrays belong to that may share memory with this one."""
        start, end = byte_bounds(array)
        for i in range(bisect.bisect(self.starts, start - self.longest), bisect.bisect_left(self.starts, end)):
            if self.ends[i][0] > start:
                yield self.ends[i][1]


class Tracer:
    """Writes down one run of a step."""

    def __init__(self, generators: Iterable[Any] = ()) -> None:
        self.drawn = {rng: stand(rng) for rng in generators}  # where each must stand, if nobody else draws from it
        self.stand = global_stand()
        self.errors = np.geterr()  # how numpy warns where the step begins
        self.calls: list[Call] = []
        self.places: list[Place] = []  # of each call, the user's line that it comes from
        self.inputs: list[Var] = []
        self.captured: dict[int, TracedArray] = {}  # arrays from outside, by id; the TracedArray keeps its array alive
        self.tensors: dict[Any, np.ndarray] = {}  # tensors from outside, and the array each had
        self.asked: dict[Any, None] = {}  # tensors from outside whose requires_grad was read
        self.versions: Counter[Var] = Counter()  # how often the memory of each root was written to
        self.extents = Extents()
        self.contents: dict[int, int] = {}  # checksums of the user's plain arrays as the step found them, by id
        self.writable: set[int] = set()  # ids of arrays that belong to a tensor: these may be written to
        self.gradients: dict[Any, Any] = {}  # leaf tensors whose gradient was set or reset inside the step
        self.pending_writes: dict[Any, TracedArray] = {}  # tensors from outside that were given another array
        # Leaf tensors whose gradient goes on from the step before; its array; what it starts from where there is none.
        self.accumulated: dict[Any, tuple[np.ndarray, float]] = {}

    # --- what TracedArray arrays ask for

    def emit(self, call: Call) -> None:
        """Write a call down."""
        self.calls.append(call)
        self.places.append(users_place())

    def call(self, f: Any, args: Any, kwargs: Any, out: Any = None, into: bool = True) -> TracedArray:
        """Run `f` and write it down."""
        if mode.store is not self:
            raise RecordingError(
                "an array of a recorded step was used after the step; return it from the step to keep it"
            )
        traced_args, traced_kwargs = given = replace((args, kwargs), self.traced)
        values, named = replace(given, unwrap)
        args, kwargs = replace(given, variable)
        if np.geterr() != self.errors:
            f = under(f, *np.geterr().items())
        if out is None:
            value = f(*values, **named)
            if not isinstance(value, (np.ndarray, np.generic)) or f in OF_VALUES:
                refuse(f"call {f.__name__}, whose result is no array of a fixed shape", "call it outside the step")
            number, value = isinstance(value, np.generic), np.asarray(value)
            if value.dtype.hasobject:  # planned memory is plain bytes
                refuse(f"call {f.__name__}, whose result holds objects", "compute with numbers, or call it outside")
            viewed = [x for x in leaves(given) if np.may_share_memory(x.value, value)]
            if viewed and not getattr(f, "checks", False):
                return self.view_of(f, traced_args, traced_kwargs, value, viewed)
            traced = TracedArray(self, Var("result", value), value, number)
            self.emit(Call(f, args, kwargs, traced._var, into=into))
            return viewed[0] if viewed else traced  # a check: its array goes on as it is
        target = self.traced(out)
        root = target._var.root
        if root.kind == "constant" or (root.kind == "state" and id(root.array) not in self.writable):
            refuse("write into a plain numpy array", "hold what changes in a Tensor made outside the step")
        if f is np.copyto:
            np.copyto(target.value, *values, **named)
        else:
            f(*values, **named, out=target.value)
        for other in {root, *self.extents.overlapping(root.array)}:
            self.versions[other] += 1
        self.emit(Call(f, args, kwargs, target._var, writes=True))
        return target

    def view_of(self, f: Any, args: Any, kwargs: Any, value: np.ndarray, viewed: list[TracedArray]) -> TracedArray:
        """What a function of numpy gives that is no new array: a view of its first argument."""
        first = viewed[0]
        if not args or args[0] is not first or first.value is value or len(leaves((args, kwargs))) > 1:
            refuse(f"call {f.__name__} so that it returns its argument, changed or not", "write to an array by out=")
        return TracedArray(self, Var("view", value, base=first._var, view=(f, args[1:], kwargs)), value)

    def view(self, x: TracedArray, f: Any, args: Any, kwargs: Any) -> TracedArray:
        """Another view of the memory of `x`, which costs nothing at a replay; a copy where numpy must copy."""
        value = f(x.value, *args, **kwargs)
        if not np.may_share_memory(value, x.value):
            if f is np.reshape and len(args) == 1 and not kwargs and x.size:  # a copy in planned memory, viewed
                return self.view(self.cast(x, x.dtype, "C"), f, args, kwargs)
            return self.call(f, (x, *args), kwargs, into=False)
        if f is np.swapaxes and x._var.base is not None and x._var.view == (f, args, kwargs):  # back again
            return TracedArray(self, x._var.base, value)
        return TracedArray(self, Var("view", value, base=x._var, view=(f, args, kwargs)), value)

    def joined(self, x: Any) -> Any:
        """Lists of numbers and arrays as one array, as numpy takes them; the passes know arrays and numbers."""
        if not isinstance(x, (list, tuple)):
            return x
        return np.stack([self.joined(part) for part in x]) if leaves(x) else self.constant(np.asarray(x))

    def choose(self, condition: Any, x: Any, y: Any) -> TracedArray:
        """np.where has no `out=`: copy y, then x where the condition holds."""
        condition, x, y = (self.traced(self.joined(part)) for part in (condition, x, y))
        if not isinstance(condition, TracedArray):
            condition = self.constant(np.asarray(condition, bool))
        if condition.dtype != np.bool_:  # np.copyto wants bools
            condition = np.not_equal(condition, 0)
        value = np.where(unwrap(condition), unwrap(x), unwrap(y))
        traced = TracedArray(self, Var("result", value), value)
        self.emit(Call(np.copyto, (variable(y),), {}, traced._var))
        self.emit(Call(np.copyto, (variable(x),), {"where": variable(condition)}, traced._var, writes=True))
        return traced

    def copyto(self, target: Any, x: Any, casting: str = "same_kind", where: Any = True) -> TracedArray:
        """np.copyto, in one form: what comes by position has its name."""
        kwargs = {"casting": casting} if casting != "same_kind" else {}
        return self.call(np.copyto, (x,), kwargs if where is True else {**kwargs, "where": where}, target)

    def join(
        self, parts: Iterable[Any], axis: int | None = 0, out: Any = None, dtype: Any = None, **kwargs: Any
    ) -> TracedArray:
        """np.concatenate, in one form: its axis may come by position, a part may be a list, and have another dtype."""
        arrays = [x if hasattr(x, "dtype") else np.asarray(x) for x in parts]
        arrays = arrays if dtype is None else [x.astype(dtype) for x in arrays]
        return self.call(np.concatenate, (arrays,), {"axis": axis, **kwargs}, out)

    def cast(self, x: TracedArray, dtype: np.dtype[Any], order: Any = "K") -> TracedArray:
        value = x.value.astype(dtype, order)
        traced = TracedArray(self, Var("result", value), value)
        self.emit(Call(np.copyto, (x._var,), {"casting": "unsafe"}, traced._var))
        return traced

    def random(self, rng: np.random.Generator, draw: str, args: Any, named: dict[str, Any]) -> TracedArray:
        """Drawn anew at each replay, from where the generator then stands: a method with a `dtype` draws into planned
        memory, whose shape says how many."""
        self.check_draws()
        f = getattr(rng, draw)
        into = "dtype" in named
        traced = self.call(f, args, named, into=into)
        self.drawn[rng] = stand(rng)
        if into:
            last = self.calls[-1]
            self.calls[-1] = Call(f, (), {"dtype": last.out.dtype}, last.out)
        return traced.settled() if traced.number else traced

    def input(self, x: np.ndarray, label: str) -> TracedArray:
        """An argument of the step."""
        traced = TracedArray(self, Var("input", x, label), x)
        self.inputs.append(traced._var)
        self.extents.add(x, traced._var)
        return traced

    def check_draws(self) -> None:
        """Nobody but `random` may draw numbers: a replay would see them again and again."""
        if self.stand != global_stand() or any(was != stand(rng) for rng, was in self.drawn.items()):
            refuse("draw random numbers by itself", "use vector.random.uniform, which draws anew at each replay")

    def check_contents(self) -> None:
        """Nobody but recorded calls may write to an array from outside: a replay would not do so."""
        for traced in self.captured.values():
            before = self.contents.get(id(traced.value))
            if before is not None and not self.versions[traced._var] and checksum(traced.value) != before:
                refuse(
                    "change a plain array that it reads as well",
                    "change a copy, or hold what changes in a Tensor made outside the step",
                )

    # --- the door that tensors go through, as `storage.Eager` has it

    def lift(self, x: Any) -> TracedArray:
        """An array from outside, as a tensor holds it."""
        if isinstance(x, TracedArray):
            return x.settled() if x.number else x
        return self.traced(np.asarray(x))

    def traced(self, x: Any, label: str = "", writable: bool = False) -> Any:
        """An array from outside as a TracedArray; a tensor's array; anything else as it is."""
        if type(x) is TracedArray:
            return x
        if hasattr(x, "op"):
            return self.read(x)
        if not issubclass(type(x), np.ndarray):
            return x
        if id(x) not in self.captured:
            self.captured[id(x)] = TracedArray(self, Var("state", x, label), x)
            self.extents.add(x, self.captured[id(x)]._var)
            if not writable:
                self.contents[id(x)] = checksum(x)
        return self.captured[id(x)]

    def constant(self, x: Any) -> TracedArray:
        """An array that the engine made, or a plain number: the recording keeps it as it is."""
        x = np.asarray(x)
        if id(x) not in self.captured:
            self.captured[id(x)] = TracedArray(self, Var("constant", x), x)
        return self.captured[id(x)]

    def value(self, op: Any, nodes: Any, settings: Any) -> Any:
        """The op's value, recorded."""
        return op.value([self.read(x) for x in nodes], settings)

    def memory(self, result: Any, inputs: Sequence[Any]) -> None:
        """The arrays of a recording are watched by their versions."""

    def read(self, tensor: Any) -> TracedArray:
        """The tensor's array."""
        if tensor in self.pending_writes:
            return self.pending_writes[tensor]
        array = tensor._data
        if isinstance(array, TracedArray):
            return array
        EAGER.expose(tensor)  # a replay may write to it
        self.tensors.setdefault(tensor, array)
        self.writable.add(id(array))
        return self.traced(array, tensor.label, writable=True)

    expose = read

    def write(self, tensor: Any, new: Any) -> None:
        """`tensor.data = new`: in the end copied into the array that the tensor has, where a replay looks for it."""
        new = self.traced(new if hasattr(new, "dtype") else np.asarray(new, tensor.dtype))
        if (new.shape, new.dtype) != (tensor.shape, tensor.dtype):
            refuse(f"turn a tensor from {tensor.dtype} {tensor.shape} into {new.dtype} {new.shape}")
        new = new.settled() if new.number else new
        if isinstance(tensor._data, TracedArray):
            tensor._data = new
        elif new is not self.read(tensor):
            self.pending_writes[tensor] = new

    def wants_gradient(self, tensor: Any) -> bool:
        """`tensor.requires_grad`: what the step decides by it stays only as long as it does."""
        if not isinstance(tensor._data, TracedArray):
            self.asked[tensor] = None
        return tensor._requires_grad

    def keep(self, settings: Any) -> Any:
        """An op's settings, as its derivatives will read them: what the forward pass reads."""
        return replace(settings, self.traced) if settings else settings

    def save(self, places: Sequence[int], nodes: Sequence[Any], inputs: Sequence[Any]) -> list[Saved]:
        """What to keep of the arrays of the nodes at `places` in order to see later, inside the step, a change."""
        arrays = [(i, self.read(nodes[i])) for i in places]
        return [(i, x, (self.versions[x._var.root],)) for i, x in arrays]

    def unchanged(self, tensor: Any, then: Any, more: Any) -> bool:
        """Whether the tensor's array is as it was when it was saved, inside the step or before it."""
        now = self.read(tensor)
        if not isinstance(then, TracedArray):
            return EAGER.unchanged(tensor, then, more) and not self.versions[now._var.root]
        return then is now and more == (self.versions[now._var.root],)

    def text(self, array: Any) -> str:
        """The numbers of a tensor's array, as they are in this run."""
        return EAGER.text(unwrap(array))

    def refuse(self, what: str, instead: str = "") -> NoReturn:
        """Raise RecordingError: a recorded step cannot do this."""
        refuse(what, instead)

    def filled(self, shape: tuple[int, ...], number: float, dtype: Any) -> TracedArray:
        """An array of one number, new at each replay."""
        return self.cast(self.constant(np.full(shape, number, dtype)), np.dtype(dtype))

    def set_gradient(self, tensor: Any, new: Any) -> None:
        """`tensor.grad = new`: its own, changed in place, or another one."""
        plain = new is not None and not hasattr(new, "dtype")
        new = self.filled(tensor.shape, new, tensor.dtype) if plain else new
        own = self.accumulated.get(tensor, (None,))[0]
        if isinstance(new, TracedArray) and new.value is own and not self.inside(tensor):
            tensor._grad = own
        else:
            tensor._grad = new
            self.gradients[tensor] = True

    def inside(self, tensor: Any) -> bool:
        """Whether the tensor's gradient is of this step alone: of a tensor made inside, or reset inside."""
        return isinstance(tensor._data, TracedArray) or tensor in self.gradients

    def gradient(self, tensor: Any, empty: float = 0.0) -> Any:
        """`tensor.grad`: what this step put there, or what goes on from step to step, from `empty` if there is none."""
        if tensor._grad is DONATED:
            refuse(f"read the gradient of {tensor.label or 'a tensor'}, which the last recorded step used up")
        if self.inside(tensor):
            if tensor._grad is None:
                tensor._grad = self.filled(tensor.shape, 0.0, tensor.dtype)
            return self.traced(tensor._grad)
        if tensor not in self.accumulated:
            given = np.full(tensor.shape, empty, tensor.dtype) if tensor._grad is None else tensor._grad
            tensor._grad = np.array(given)  # one's own: it is changed in place
            self.accumulated[tensor] = tensor._grad, empty
            self.writable.add(id(tensor._grad))
        return self.traced(tensor._grad, f"{tensor.label}.grad" if tensor.label else "", writable=True)

    def accumulate(self, tensor: Any, g: Any) -> None:
        """Add to a leaf's gradient: to what this step put there, or to what goes on from step to step."""
        if self.inside(tensor):
            tensor._grad = g if tensor._grad is None else self.gradient(tensor) + g
            self.gradients[tensor] = True
        else:
            gradient = self.gradient(tensor, empty=-0.0)  # -0 + g is g, for g = -0 too
            np.add(gradient, g, out=gradient)

    # --- the end

    def finish(self, result: Any) -> tuple[Program, Any]:
        """The program, and what it returns: the step's result, recorded."""
        self.check_draws()
        self.check_contents()
        self.carry()
        rebound = {tensor: self.kept(new) for tensor, new in self.pending_writes.items()}
        result = replace(result, self.kept if rebound else self.traced)
        self.pending_writes.clear()
        extents = Extents()
        for tensor, array in self.tensors.items() if rebound else ():
            extents.add(array, tensor)
        for tensor, new in rebound.items():
            array = self.tensors[tensor]
            if any(other is not tensor for other in extents.overlapping(array)):
                refuse(
                    f"give {tensor.label or 'a tensor'} another array, while a second tensor views the one it has",
                    "write into it, as in p.data[...] = new, or copy the second tensor before",
                )
            self.call(np.copyto, (new,), {}, self.read(tensor))
        return Program(self.calls, self.inputs, replace(result, variable)), result

    def carry(self) -> None:
        """Leave the gradients that the step goes on from at its next run where it will find them."""
        for tensor in [tensor for tensor in self.accumulated if isinstance(tensor._grad, TracedArray)]:
            gradient, tensor._grad = tensor._grad, self.accumulated[tensor][0]
            self.call(np.copyto, (gradient,), {}, self.traced(tensor._grad))
            del self.gradients[tensor]

    def kept(self, x: Any) -> Any:
        """x, copied if it views an array from outside, which may be about to change."""
        x = self.traced(x)
        return self.cast(x, x.dtype) if isinstance(x, TracedArray) and x._var.root.kind in ("state", "input") else x

    def close(self) -> list[tuple[Any, Any]]:
        """Forget the first run's arrays. Returns the leaf tensors whose gradient is set inside, and what each step
        leaves there: None, or a mark that the gradient is used up."""
        for tensor in self.gradients:
            if isinstance(tensor._grad, TracedArray):
                tensor._grad = DONATED
        left = [(tensor, tensor._grad) for tensor in self.gradients if not isinstance(tensor._data, TracedArray)]
        for held in (self.captured, self.gradients, self.pending_writes):
            held.clear()
        return left


@functools.lru_cache(maxsize=1024)
def under(f: Callable[..., Any], *errors: tuple[str, Any]) -> Callable[..., Any]:
    """f with numpy's warnings as they were at this place of the step: the same function at each recording."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(**dict(errors)):
            return f(*args, **kwargs)

    call.__name__ = f"{f.__name__}_under_errstate"
    return call


def checksum(x: np.ndarray) -> int:
    """Of an array's content; objects are not looked into."""
    return 0 if x.dtype.hasobject else zlib.crc32(np.ascontiguousarray(x).view(np.uint8).data if x.size else b"")


def stand(rng: Any) -> str:
    """Where a generator of numpy or of Python stands, as text."""
    if isinstance(rng, random.Random):
        return "" if isinstance(rng, random.SystemRandom) else repr(rng.getstate())
    return repr(rng.get_state(legacy=False) if isinstance(rng, np.random.RandomState) else rng.bit_generator.state)


def global_stand() -> tuple[Any, ...]:
    """Where the global generators of numpy and of Python stand."""
    state: Any = np.random.get_state(legacy=False)["state"]
    return state["pos"], state["key"].tobytes(), random.getstate()


def leaves(structure: Any) -> list[TracedArray]:
    """The recorded arrays in tuples, lists and dicts."""
    found: list[Any] = []
    replace(structure, found.append)
    return [x for x in found if isinstance(x, TracedArray)]


def one_key(k: Any) -> Any:
    """What stands for one axis in an index, in one form: an int, and a list where it is a tuple."""
    return int(k) if isinstance(k, np.integer) else list(k) if isinstance(k, tuple) else k


def unwrap(x: Any) -> Any:
    return x.value if isinstance(x, TracedArray) else x


def variable(x: Any) -> Any:
    return x._var if isinstance(x, TracedArray) else x
