"""The graph on arrays: a `Tensor` is one numpy array that remembers which op made it from which others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from . import autodiff, ops, pickling
from .autodiff import mode
from .epoch import invalidate
from .op import Op, Settings, array, methods, node_in
from .protocol import COMPARISONS, FUNCTIONS, UFUNCS, only
from .storage import Saved


class Tensor:
    """One array in a graph.

    data           the array, float32 or float64 (Python numbers and integers become float64)
    grad           d output / d self, an array of the same shape, 0 until a backward pass reaches it
    op, inputs     how it was made: an `Op` and the Tensors it took, in order; None and () for a leaf
    params         the op's plain arguments, such as an axis or a key; None without any
    label          a name for pictures and programs
    requires_grad  False for constants (numbers and arrays in an expression, results under `no_grad`)
    line           what made it, if that was inside `detect_anomaly`
    memory, saved  who else may write to the array, and what is kept of what the derivatives will read: see storage.py

    An array of float32 or float64 is taken over without copying. Raises TypeError, naming the type, for data that is
    not of real numbers.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_grad",
        "_requires_grad",
        "inputs",
        "label",
        "line",
        "memory",
        "op",
        "params",
        "saved",
    )

    def __init__(self, data: Any, label: str = "", requires_grad: bool = True) -> None:
        if isinstance(data, (list, tuple)) and node_in(data) is not None:
            raise TypeError(
                "Tensor: expected numbers, got tensors in a list; join them by vector.stack, or give their .data"
            )
        given = data.peek() if isinstance(data, Tensor) else data
        made = array(given, "Tensor")
        self._data = mode.store.lift(made)
        self.memory: list[Any] | None = data.memory if isinstance(data, Tensor) else None if made is given else []
        self._grad: Any = None
        self.op: Op | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.params: Settings | None = None
        self.label = label
        self._requires_grad = requires_grad
        self.saved: Sequence[Saved] = NOTHING

    @staticmethod
    def apply(op: Op, inputs: Sequence[Any], params: Settings | None = None) -> Tensor:
        """The node of `op` on `inputs`, Tensors, arrays or numbers. This is the only place where the graph grows.

        Where no gradient is wanted (all inputs constant, or `no_grad`) the result is a constant leaf.
        """
        store = mode.store
        like = inputs[0] if isinstance(inputs[0], Tensor) else node_in(inputs)
        nodes = tuple([x if isinstance(x, Tensor) else Tensor.lift(x, op.name, like) for x in inputs])
        node = Tensor.constant(store.value(op, nodes, params))
        node.memory = store.memory(node._data, nodes)
        needed = tuple([x._requires_grad for x in nodes])
        if True in needed and mode.graph:
            node.op, node.inputs, node.params, node._requires_grad = op, nodes, store.keep(params), True
            if places := op.saves(needed):
                node.saved = store.save(places, (*nodes, node), inputs)
        if autodiff.observer is not None:
            autodiff.observer(node, op, nodes)
        return node

    @classmethod
    def constant(cls, data: Any) -> Self:
        """A constant leaf around an array as it is."""
        node = cls.__new__(cls)
        node._data, node._grad, node.label, node.memory, node.saved = data, None, "", None, NOTHING
        node.op, node.inputs, node.params, node._requires_grad = None, (), None, False
        return node

    @staticmethod
    def lift(x: Any, where: str = "Tensor", like: Any = None) -> Tensor:
        """`x` itself if it is a Tensor, tensors in a list as their stack, else the array or number (in the dtype of
        `like`) as a constant."""
        data = array(x, where, like)
        if isinstance(data, Tensor):
            return data
        store = mode.store
        outside = hasattr(x, "dtype") and not isinstance(x, np.generic)
        node = Tensor.constant(store.lift(data) if outside else store.constant(data))
        node.memory = None if data is x else []
        return node

    def stacked(self, xs: Any, where: str) -> Tensor:
        """Tensors and numbers in lists, this one among them, as one tensor."""
        parts = [array(x, where, self) for x in xs]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(f"{where}: expected rows of one length, got different ones")
        return ops.stack(parts)

    def peek(self) -> Any:
        """The array, for who does not write to it."""
        return mode.store.read(self)

    @property
    def requires_grad(self) -> bool:
        """Whether the tensor takes part in gradients. A parameter with False is frozen: optimizers leave it alone."""
        return mode.store.wants_gradient(self)

    @requires_grad.setter
    def requires_grad(self, new: bool) -> None:
        self._requires_grad = new
        invalidate()

    @property
    def data(self) -> Any:
        """The array. Assign to it, or change it in place, between a backward pass and the next forward pass: after a
        change in between, `backward` raises RuntimeError where a derivative would read what was changed."""
        return mode.store.expose(self)

    @data.setter
    def data(self, new: Any) -> None:
        mode.store.write(self, new)

    @property
    def grad(self) -> Any:
        """The gradient, an array like `data`; zeros before a backward pass. Assign an array or a number to set it."""
        return mode.store.gradient(self)

    @grad.setter
    def grad(self, new: Any) -> None:
        if hasattr(new, "dtype"):
            if new.shape != self.shape:
                raise ValueError(f"Tensor.grad: expected shape {self.shape}, got {new.shape}")
            if new.dtype != self.dtype:
                new = array(new, "Tensor.grad").astype(self.dtype)
        mode.store.set_gradient(self, new)

    def accumulate(self, g: Any) -> None:
        """Add `g`, an array that nobody else holds, to the gradient."""
        mode.store.accumulate(self, g)

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
        return float(self.peek().reshape(()))

    def detach(self) -> Tensor:
        """The same array as a constant, cut from the graph."""
        return Tensor(self, self.label, requires_grad=False)

    def astype(self, dtype: Any) -> Tensor:
        """The same numbers as float32 or float64. Raises TypeError for another dtype."""
        return ops.cast_(self, dtype)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        """The only element, a plain number that has left the graph, as by `item`.

        Python does not say who asks: numpy, too, calls it where an array of floats takes a tensor without axes for one
        of its elements, in `a[0, 1] = t`, `a.fill(t)`, `a.sum(initial=t)` and `np.fromiter(ts, float)`.
        """
        return self.item()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.peek())

    def __getitem__(self, key: Any) -> Tensor:
        """self[key], for any key that numpy takes."""
        return ops.index_(self, key)

    def __setitem__(self, key: Any, new: Any) -> NoReturn:
        raise TypeError(
            "a tensor does not take assignment to its elements, of which the graph would not know; choose by "
            "vector.where, or assign to elements of .data between a backward pass and the next forward pass"
        )

    def __contains__(self, y: Any) -> bool:
        return bool(np.any(self == y))

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

    def __mod__(self, y: Any) -> Tensor:
        return apply(ops.mod, (self, y))

    def __rmod__(self, x: Any) -> Tensor:
        return apply(ops.mod, (x, self))

    def __round__(self, decimals: int = 0) -> Tensor:
        return ops.round(self, decimals)

    def __matmul__(self, y: Any) -> Tensor:
        return ops.matmul(self, y)

    def __rmatmul__(self, x: Any) -> Tensor:
        return ops.matmul(x, self)

    def __neg__(self) -> Tensor:
        return apply(ops.negative, (self,))

    def __pos__(self) -> Tensor:
        return self

    # Comparisons are plain arrays of bools: they choose, they do not differentiate. Nodes are hashed by identity.
    __hash__ = object.__hash__

    def __eq__(self, y: Any) -> Any:
        return self.peek() == (y.peek() if isinstance(y, Tensor) else y)

    def __ne__(self, y: Any) -> Any:
        return self.peek() != (y.peek() if isinstance(y, Tensor) else y)

    def __lt__(self, y: Any) -> Any:
        return self.peek() < plain(y, "less", self)

    def __le__(self, y: Any) -> Any:
        return self.peek() <= plain(y, "less_equal", self)

    def __gt__(self, y: Any) -> Any:
        return self.peek() > plain(y, "greater", self)

    def __ge__(self, y: Any) -> Any:
        return self.peek() >= plain(y, "greater_equal", self)

    __abs__ = ops.abs

    if TYPE_CHECKING:  # the methods that come from the table of ops, below

        def __getattr__(self, name: str) -> Any: ...

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in a new shape, which may hold one -1: `t.reshape(2, -1)` or `t.reshape((2, -1))`."""
        return ops.reshape(self, given(shape))

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order, `t.transpose(0, 2, 1)` or `t.transpose((0, 2, 1))`, or without any, reversed."""
        return ops.transpose(self, None if axes in ((), (None,)) else given(axes))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """numpy's own functions on tensors: `np.tanh(t)` and `array * t` are tensors."""
        if method == "__call__" and (ufunc in COMPARISONS or ufunc in UFUNCS):
            only(ufunc.__name__, **kwargs)
            if ufunc in COMPARISONS:
                return ufunc(*(plain(x, ufunc.__name__, self) for x in inputs))
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
        """A copy as a plain array, where that cuts no gradient: of a constant, or inside `no_grad`. Raises TypeError
        else."""
        mode.store.refuse("hand a value to code that wants a plain array", "use numpy's functions and vector's ops")
        if self._requires_grad and mode.graph:
            raise TypeError(
                "a tensor that requires a gradient was asked for its plain array, which would cut it from the graph; "
                "use an op of vector, or .data or detach() to cut it"
            )
        if copy is False:
            raise ValueError("a tensor gives numpy a copy; its own array is .data")
        return np.array(self.peek(), dtype=dtype)

    def __reduce__(self) -> Any:
        return pickling.reduce(self)

    def __repr__(self) -> str:
        label = f", label={self.label!r}" if self.label else ""
        body = mode.store.text(self._data)
        return f"Tensor({body}, shape={self.shape}, dtype={self.dtype}{label})"

    def _repr_svg_(self) -> str | None:
        """Notebooks ask for a picture; there is one as soon as somebody has imported `viz`."""
        viz = sys.modules.get("viz")
        return viz.overview(self) if viz else None


apply = Tensor.apply
NOTHING: tuple[Any, ...] = ()
for name, f in methods().items():
    if not hasattr(Tensor, name):
        setattr(Tensor, name, f)


def given(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers that came one by one, or as one list or tuple."""
    return tuple(numbers[0]) if len(numbers) == 1 and isinstance(numbers[0], (list, tuple)) else numbers


def plain(x: Any, where: str, like: Tensor) -> Any:
    return x.peek() if isinstance(x, Tensor) else array(x, where, like)
