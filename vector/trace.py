"""Recording: arrays that compute as numpy does and write down every call.

A `Traced` stands for an array while a step is recorded. numpy hands each function called on it to the recorder
(`__array_ufunc__`, `__array_function__`), so whatever the op page, the backward pass and the optimizer do with arrays
is written down as the numpy calls that they make; none of them knows of it.
"""

from __future__ import annotations

import linecache
import operator
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .autodiff import mode
from .program import Call, Program, Var, replace


class RecordingError(RuntimeError):
    """A step does something that cannot be recorded, or a recorded step was asked for what it was not recorded for."""


SPENT = "a gradient that was used up inside a recorded step"
VIEWS = {np.reshape, np.transpose, np.broadcast_to, np.squeeze, np.expand_dims, np.swapaxes, np.moveaxis, np.ravel}
TAKES_OUT = {np.concatenate, np.take}


class Traced(NDArrayOperatorsMixin):
    """An array of the program under way: `value` as it is in this first run, `var` as it stands in the program."""

    __slots__ = ("recorder", "value", "var")

    def __init__(self, recorder: Recorder, var: Var, value: np.ndarray):
        self.recorder, self.var, self.value = recorder, var, value

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    base = property(lambda self: self.var.base)
    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(hasattr(x, "op") for x in inputs):
            return NotImplemented  # for the tensor among them, which makes a node
        if method not in ("__call__", "reduce") or ufunc.nout != 1:
            refuse(f"call np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}")
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        out = kwargs.pop("out", (None,))
        kwargs = {key: x for key, x in kwargs.items() if x is not None or key == "axis"}
        return self.recorder.call(function, inputs, kwargs, out[0])

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if function in VIEWS and isinstance(args[0], Traced):
            return self.recorder.view(args[0], function, args[1:], kwargs)
        if function is np.where and len(args) == 3:
            return self.recorder.choose(*args)
        if function is np.copyto:
            return self.recorder.call(np.copyto, args[1:], kwargs, args[0])
        if function in (np.shape, np.ndim, np.size):
            return function(args[0].value)
        out = kwargs.pop("out", None)
        return self.recorder.call(function, args, kwargs, out, into=function in TAKES_OUT)

    def record(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Write `function` down as one call."""
        return self.recorder.call(function, args, kwargs, into=False)

    def reshape(self, *shape: Any) -> Any:
        """As numpy's."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """As numpy's."""
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def astype(self, dtype: Any) -> Any:
        """As numpy's: always a new array."""
        return self.recorder.cast(self, np.dtype(dtype))

    def copy(self) -> Any:
        """As numpy's: in the order of C."""
        return self.recorder.cast(self, self.dtype, "C")

    def __getitem__(self, key: Any) -> Any:
        advanced = [
            k for k in (key if isinstance(key, tuple) else (key,)) if hasattr(k, "dtype") or isinstance(k, list)
        ]
        if not advanced:
            return self.recorder.view(self, operator.getitem, (key,), {})
        if isinstance(key, tuple) and key[:-1] == (slice(None),) * (len(key) - 1) and key[-1].dtype.kind in "iu":
            return self.recorder.call(np.take, (self, key[-1]), {"axis": len(key) - 1})
        return self.recorder.call(operator.getitem, (self, key), {}, into=False)

    def __setitem__(self, key: Any, new: Any) -> None:
        target = self[key]
        if target.var.root is not self.var.root:
            refuse("assign at an index that is an array")
        if target is not new:
            np.copyto(target, new)

    def __len__(self) -> int:
        return len(self.value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "op":
            raise AttributeError(name)
        refuse(f"use .{name} of an array", "use numpy's function of that name, or an op of vector")

    def __bool__(self) -> bool:
        refuse("branch on a value", "use vector.where")

    def __float__(self) -> float:
        refuse("turn a value into a number", "return the tensor from the step and look at it outside")

    __int__ = __index__ = item = tolist = __float__

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        refuse("hand a value to code that wants a plain array", "use numpy's functions and vector's ops")

    def __repr__(self) -> str:
        return f"<recorded array {self.shape} {self.dtype}>"


class Recorder:
    """Writes down one run of a step."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.inputs: list[Var] = []
        self.known: dict[int, Traced] = {}  # arrays from outside, by id; the Traced keeps its array alive
        self.literals: set[int] = set()  # ids of arrays made of plain numbers inside the step
        self.held: list[tuple[Any, np.ndarray]] = []  # tensors from outside, and the array each had
        self.owned: set[int] = set()  # ids of arrays that belong to a tensor: these may be written to
        self.gradients: dict[Any, Any] = {}  # leaf tensors whose gradient was set or reset inside the step
        self.carried: list[tuple[Any, np.ndarray]] = []  # leaf tensors whose gradient goes on from the step before

    # --- what Traced arrays ask for

    def call(self, f: Any, args: Any, kwargs: Any, out: Any = None, into: bool = True) -> Traced:
        """Run `f` and write it down."""
        if mode.recorder is not self:
            raise RecordingError(
                "an array of a recorded step was used after the step; return it from the step to keep it"
            )
        traced_args, traced_kwargs = replace(args, self.lift), replace(kwargs, self.lift)
        values, named = replace(traced_args, unwrap), replace(traced_kwargs, unwrap)
        args, kwargs = replace(traced_args, variable), replace(traced_kwargs, variable)
        if out is None:
            value = np.asarray(f(*values, **named))
            if any(x is value for x in values):  # a check: its array goes on as it is
                value = value.view()
            traced = Traced(self, Var("result", value), value)
            self.calls.append(Call(f, args, kwargs, traced.var, into=into))
            return traced
        target = self.lift(out)
        if target.var.root.kind == "state" and id(target.var.root.array) not in self.owned:
            refuse("write into a plain numpy array", "hold what changes from step to step in a Tensor")
        if f is np.copyto:
            np.copyto(target.value, *values, **named)
        else:
            f(*values, **named, out=target.value)
        self.calls.append(Call(f, args, kwargs, target.var, writes=True))
        return target

    def view(self, x: Traced, f: Any, args: Any, kwargs: Any) -> Traced:
        """Another look at the memory of `x`, which costs nothing at a replay; a copy where numpy must copy."""
        value = f(x.value, *args, **kwargs)
        if not np.may_share_memory(value, x.value):
            return self.call(f, (x, *args), kwargs, into=False)
        return Traced(self, Var("view", value, base=x.var, view=(f, args, kwargs)), value)

    def choose(self, condition: Any, x: Any, y: Any) -> Traced:
        """np.where has no `out=`: copy y, then x where the condition holds."""
        condition, x, y = self.lift(condition), self.lift(x), self.lift(y)
        value = np.where(unwrap(condition), unwrap(x), unwrap(y))
        traced = Traced(self, Var("result", value), value)
        self.calls.append(Call(np.copyto, (variable(y),), {}, traced.var))
        self.calls.append(Call(np.copyto, (variable(x),), {"where": variable(condition)}, traced.var, writes=True))
        return traced

    def cast(self, x: Traced, dtype: np.dtype[Any], order: Any = "K") -> Traced:
        value = x.value.astype(dtype, order)
        traced = Traced(self, Var("result", value), value)
        self.calls.append(Call(np.copyto, (x.var,), {"casting": "unsafe"}, traced.var))
        return traced

    def random(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Traced:
        """Drawn anew at each replay, from where the generator then stands."""
        value = np.asarray(rng.random(shape, dtype))
        traced = Traced(self, Var("result", value), value)
        self.calls.append(Call(rng.random, (), {"dtype": value.dtype}, traced.var))
        return traced

    def lift(self, x: Any, label: str = "") -> Any:
        """An array from outside as a Traced; anything else as it is."""
        if hasattr(x, "op"):
            return self.read(x)
        if not isinstance(x, np.ndarray):
            return x
        if id(x) not in self.known:
            kind = "constant" if id(x) in self.literals or not x.flags.writeable else "state"
            self.known[id(x)] = Traced(self, Var(kind, x, label), x)
        return self.known[id(x)]

    def constant(self, x: np.ndarray) -> Traced:
        """An array that the engine made and nobody changes."""
        self.literals.add(id(x))
        return self.lift(x)

    def input(self, x: np.ndarray, label: str) -> Traced:
        """An argument of the step."""
        traced = Traced(self, Var("input", x, label), x)
        self.inputs.append(traced.var)
        return traced

    # --- what tensors ask for

    def value(self, op: Any, nodes: Any, params: Any) -> Any:
        """The op's value, recorded."""
        return op.value([self.read(x) for x in nodes], params)

    def read(self, tensor: Any) -> Traced:
        """The tensor's array."""
        array = tensor._data
        if isinstance(array, Traced):
            return array
        if id(array) not in self.known and id(array) not in self.literals:
            self.held.append((tensor, array))
        if id(array) not in self.literals:
            self.owned.add(id(array))
        return self.lift(array, tensor.label)

    def write(self, tensor: Any, new: Any) -> None:
        """`tensor.data = new`: into the array that the tensor has, which is where a replay will look for it."""
        if isinstance(tensor._data, Traced):
            tensor._data = new if isinstance(new, Traced) else self.lift(np.asarray(new))
        elif new is not self.read(tensor):
            if np.shape(new) != tensor.shape:
                refuse(f"change the shape of a tensor from {tensor.shape} to {np.shape(new)}")
            self.call(np.copyto, (new,), {}, self.read(tensor))

    def literal(self, tensor: Any) -> None:
        """A plain number in the step: frozen."""
        self.constant(tensor._data)

    def gradient_set(self, tensor: Any) -> None:
        self.gradients[tensor] = True

    def gradient(self, tensor: Any) -> Any:
        """`tensor.grad`."""
        if tensor._grad is None:
            return np.zeros(tensor.shape, tensor.dtype)
        if tensor._grad is SPENT:
            refuse(f"read the gradient of {tensor.label or 'a tensor'}, which the last recorded step used up")
        if isinstance(tensor._grad, np.ndarray):
            self.owned.add(id(tensor._grad))
            if tensor not in self.gradients:
                self.carry(tensor)
            return self.lift(tensor._grad, f"{tensor.label}.grad" if tensor.label else "")
        return tensor._grad

    def accumulate(self, tensor: Any, g: Any) -> None:
        """Add to a leaf's gradient: to what this step put there, or to what goes on from step to step."""
        if isinstance(tensor._data, Traced) or tensor in self.gradients:
            tensor._grad = g if tensor._grad is None else self.gradient(tensor) + g
            self.gradients[tensor] = True
        else:
            if tensor._grad is None:
                tensor._grad = np.zeros(tensor.shape, tensor.dtype)
            gradient = self.gradient(tensor)
            np.add(gradient, g, out=gradient)

    def carry(self, tensor: Any) -> None:
        if all(tensor is not other for other, _ in self.carried):
            self.carried.append((tensor, tensor._grad))

    # --- the end

    def finish(self, outputs: Any) -> Program:
        """The program, and no trace of the recording left in any tensor."""
        return Program(self.calls, self.inputs, replace(outputs, lambda x: variable(self.lift(x))))

    def close(self) -> list[Any]:
        """Forget the first run's arrays. Returns the leaf tensors whose gradient each step uses up."""
        spent = [tensor for tensor in self.gradients if not isinstance(tensor._data, Traced)]
        for tensor in self.gradients:
            if tensor._grad is not None:
                tensor._grad = SPENT
        self.known.clear()
        self.gradients.clear()
        return spent


def unwrap(x: Any) -> Any:
    return x.value if isinstance(x, Traced) else x


def variable(x: Any) -> Any:
    return x.var if isinstance(x, Traced) else x


def refuse(what: str, instead: str = "") -> NoReturn:
    raise RecordingError(f"{users_line()}: a recorded step cannot {what}{'; ' + instead if instead else ''}")


HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep


def users_line() -> str:
    """File, number and text of the innermost line that is neither ours nor numpy's."""
    frame = sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith((HERE, NUMPY)):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{os.path.basename(file)}:{number}: `{linecache.getline(file, number).strip()}`"
