"""The graph on arrays: a `Tensor` is one numpy array that remembers which op made it from which others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import autodiff, ops, storage
from .autodiff import mode
from .op import OPS, Op, Params, array


class Tensor:
    """One array in a graph.

    data           the array, float32 or float64 (Python numbers and integers become float64)
    grad           d output / d self, an array of the same shape, 0 until a backward pass reaches it
    op, inputs     how it was made: an `Op` and the Tensors it took, in order; None and () for a leaf
    params         the op's plain arguments, such as an axis or a key; None without any
    label          a name for pictures and programs
    requires_grad  False for constants (numbers and arrays in an expression, results under `no_grad`)
    line           what made it, if that was inside `detect_anomaly`
    memory, seen   who else may write to the array, and marks of what the derivatives will read: see storage.py

    An array of float32 or float64 is taken over without copying. Raises TypeError, naming the type, for data that is
    not of real numbers.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_grad",
        "inputs",
        "label",
        "line",
        "memory",
        "op",
        "params",
        "requires_grad",
        "seen",
    )

    def __init__(self, data: Any, label: str = "", requires_grad: bool = True) -> None:
        given = data.held if isinstance(data, Tensor) else data
        made = array(given, "Tensor")
        self._data = np.asarray(made) if mode.recorder is None else mode.recorder.made(made)
        self.memory: list[Any] | None = data.memory if isinstance(data, Tensor) else None if made is given else []
        self._grad: Any = None
        self.op: Op | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.params: Params | None = None
        self.label = label
        self.requires_grad = requires_grad
        self.seen: Sequence[storage.Mark] = NOTHING

    @staticmethod
    def apply(op: Op, inputs: Sequence[Any], params: Params | None = None) -> Tensor:
        """The node of `op` on `inputs`, Tensors, arrays or numbers. This is the only place where the graph grows.

        Where no gradient is wanted (all inputs constant, or `no_grad`) the result is a constant leaf.
        """
        recorder = mode.recorder
        like = inputs[0] if isinstance(inputs[0], Tensor) else next(x for x in inputs if isinstance(x, Tensor))
        nodes = tuple([x if isinstance(x, Tensor) else Tensor.lift(x, op.name, like) for x in inputs])
        if recorder is None:
            data = op.value([x._data for x in nodes], params)
            if type(data) is not np.ndarray:
                data = np.asarray(data)
        else:
            data = recorder.value(op, nodes, params)
        node = Tensor.constant(data)
        if recorder is None and data.base is not None:
            node.memory = storage.memory_of(data, nodes)
        needed = tuple([x.requires_grad for x in nodes])
        if True in needed and mode.graph:
            node.op, node.inputs, node.params, node.requires_grad = op, nodes, params, True
            if recorder is None and data.base is None:
                node.memory = []
            if places := op.read_by(needed):
                node.seen = (storage if recorder is None else recorder).marks(places, (*nodes, node), inputs)
        if autodiff.observer is not None:
            autodiff.observer(node, op, nodes)
        return node

    @staticmethod
    def constant(data: Any) -> Tensor:
        """A constant leaf around an array as it is."""
        node = Tensor.__new__(Tensor)
        node._data, node._grad, node.label, node.memory, node.seen = data, None, "", None, NOTHING
        node.op, node.inputs, node.params, node.requires_grad = None, (), None, False
        return node

    @staticmethod
    def lift(x: Any, where: str = "Tensor", like: Any = None) -> Tensor:
        """`x` itself if it is a Tensor, else the array or number (in the dtype of `like`) as a constant."""
        if isinstance(x, Tensor):
            return x
        data = array(x, where, like)
        if mode.recorder is None:
            node = Tensor.constant(np.asarray(data))
            node.memory = None if data is x else []
            return node
        node = Tensor.constant(mode.recorder.made(data))
        if not hasattr(x, "dtype"):
            mode.recorder.literal(node)
        return node

    @property
    def held(self) -> Any:
        """The array, for those who do not write to it."""
        return self._data if mode.recorder is None else mode.recorder.read(self)

    @property
    def data(self) -> Any:
        """The array. Assign to it, or change it in place, between a backward pass and the next forward pass: after a
        change in between, `backward` raises RuntimeError where a derivative would read what was changed."""
        if mode.recorder is not None:
            return mode.recorder.read(self)
        if self.memory is not None:
            storage.reveal(self)
        return self._data

    @data.setter
    def data(self, new: Any) -> None:
        if mode.recorder is None:
            self._data, self.memory = np.asarray(array(new, "Tensor.data")), None
        else:
            mode.recorder.write(self, new)

    @property
    def grad(self) -> Any:
        """The gradient, an array like `data`; zeros before a backward pass. Assign an array or a number to set it."""
        if mode.recorder is not None:
            return mode.recorder.gradient(self)
        if self._grad is None:
            self._grad = np.zeros_like(self._data)
        elif isinstance(self._grad, str):
            raise RuntimeError(f"{self.label or 'Tensor'}.grad is {self._grad}; return it from the step to see it")
        return self._grad

    @grad.setter
    def grad(self, new: Any) -> None:
        if new is not None and not hasattr(new, "dtype"):
            filled = np.full if mode.recorder is None else mode.recorder.filled
            new = filled(self.shape, new, self.dtype)
        elif new is not None:
            if new.shape != self.shape:
                raise ValueError(f"Tensor.grad: expected shape {self.shape}, got {new.shape}")
            if new.dtype != self.dtype:
                new = array(new, "Tensor.grad").astype(self.dtype)
        self._grad = new
        if mode.recorder is not None:
            mode.recorder.gradient_set(self)

    def accumulate(self, g: Any) -> None:
        """Add `g`, an array that nobody else holds, to the gradient."""
        if mode.recorder is not None:
            mode.recorder.accumulate(self, g)
        else:
            self._grad = g if self._grad is None else self.grad + g

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._data.dtype

    @property
    def T(self) -> Tensor:
        """All axes reversed."""
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return ops.transpose(self, (*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    def backward(self, gradient: Any = None) -> None:
        """Set `.grad` of every node this one depends on to d self / d node; leaves accumulate over calls.

        Raises ValueError for a tensor of several elements without a `gradient` of its shape.
        """
        autodiff.backward(self, gradient)

    def item(self) -> float:
        """The only element, as a float. Raises ValueError when there are more."""
        if self.size != 1:
            raise ValueError(f"item: expected one element, got shape {self.shape}")
        return float(self.held.reshape(()))

    def detach(self) -> Tensor:
        """The same array as a constant, cut from the graph."""
        return Tensor(self, self.label, requires_grad=False)

    def astype(self, dtype: Any) -> Tensor:
        """The same numbers as float32 or float64. Raises TypeError for another dtype."""
        return ops.cast(self, dtype)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return self.item()

    def __bool__(self) -> bool:
        return bool(self.held)

    def __getitem__(self, key: Any) -> Tensor:
        """self[key], for any key that numpy takes."""
        return ops.index(self, key)

    def __add__(self, y: Any) -> Tensor:
        return apply(ops.add, (self, y))

    def __radd__(self, x: Any) -> Tensor:
        return apply(ops.add, (x, self))

    def __sub__(self, y: Any) -> Tensor:
        return apply(ops.subtract, (self, y))

    def __rsub__(self, x: Any) -> Tensor:
        return apply(ops.subtract, (x, self))

    def __mul__(self, y: Any) -> Tensor:
        return apply(ops.multiply, (self, y))

    def __rmul__(self, x: Any) -> Tensor:
        return apply(ops.multiply, (x, self))

    def __truediv__(self, y: Any) -> Tensor:
        return apply(ops.divide, (self, y))

    def __rtruediv__(self, x: Any) -> Tensor:
        return apply(ops.divide, (x, self))

    def __pow__(self, y: Any) -> Tensor:
        return apply(ops.power, (self, y))

    def __rpow__(self, x: Any) -> Tensor:
        return apply(ops.power, (x, self))

    def __matmul__(self, y: Any) -> Tensor:
        return ops.matmul(self, y)

    def __rmatmul__(self, x: Any) -> Tensor:
        return ops.matmul(x, self)

    def __neg__(self) -> Tensor:
        return apply(ops.negative, (self,))

    # Comparisons are plain arrays of bools: they choose, they do not differentiate. Nodes are hashed by identity.
    __hash__ = object.__hash__

    def __eq__(self, y: Any) -> Any:
        return self.held == (y.held if isinstance(y, Tensor) else y)

    def __ne__(self, y: Any) -> Any:
        return self.held != (y.held if isinstance(y, Tensor) else y)

    def __lt__(self, y: Any) -> Any:
        return self.held < plain(y, "less", self)

    def __le__(self, y: Any) -> Any:
        return self.held <= plain(y, "less_equal", self)

    def __gt__(self, y: Any) -> Any:
        return self.held > plain(y, "greater", self)

    def __ge__(self, y: Any) -> Any:
        return self.held >= plain(y, "greater_equal", self)

    negative, exp, log, sqrt, abs = ops.negative, ops.exp, ops.log, ops.sqrt, ops.abs
    sin, cos, tanh, sigmoid, relu = ops.sin, ops.cos, ops.tanh, ops.sigmoid, ops.relu
    leaky_relu, softplus, clip = ops.leaky_relu, ops.softplus, ops.clip
    sum, mean, max, min, logsumexp = ops.sum, ops.mean, ops.max, ops.min, ops.logsumexp
    softmax, log_softmax, transpose, broadcast_to = ops.softmax, ops.log_softmax, ops.transpose, ops.broadcast_to
    __abs__ = ops.abs

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in a new shape, which may hold one -1: `t.reshape(2, -1)` or `t.reshape((2, -1))`."""
        return ops.reshape(self, shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """numpy's own functions on tensors: `np.tanh(t)` and `array * t` are tensors."""
        if method == "__call__" and not kwargs:
            if ufunc in COMPARISONS:
                return ufunc(*(plain(x, ufunc.__name__, self) for x in inputs))
            if ufunc in UFUNCS:
                return UFUNCS[ufunc](*inputs)
        raise TypeError(
            f"numpy's {ufunc.__name__}{'' if method == '__call__' else '.' + method} is not differentiable here; "
            f"use an op of vector, or .data for the plain array"
        )

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if function in FUNCTIONS:
            return FUNCTIONS[function](*args, **kwargs)
        raise TypeError(
            f"numpy's {function.__name__} is not differentiable here; use an op of vector, or .data for the plain array"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        label = f", label={self.label!r}" if self.label else ""
        body = np.array2string(self._data, separator=", ", prefix="Tensor(", threshold=100)
        return f"Tensor({body}, shape={self.shape}, dtype={self.dtype}{label})"

    def _repr_svg_(self) -> str | None:
        """Notebooks ask for a picture; there is one as soon as somebody has imported `viz`."""
        viz = sys.modules.get("viz")
        return viz.svg(self) if viz else None


apply = Tensor.apply
NOTHING: tuple[Any, ...] = ()


def plain(x: Any, where: str, like: Tensor) -> Any:
    return x.held if isinstance(x, Tensor) else array(x, where, like)


COMPARISONS = {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}
UFUNCS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): op for name, op in OPS.items() if isinstance(getattr(np, name, None), np.ufunc)},
    np.absolute: ops.abs,
    np.matmul: ops.matmul,
}
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): getattr(ops, name) for name in ("sum", "mean", "max", "min", "clip", "reshape", "transpose")},
    **{
        getattr(np, name): getattr(ops, name)
        for name in ("where", "concatenate", "stack", "take", "broadcast_to", "dot")
    },
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x: x.size,
}
