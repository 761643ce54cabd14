"""The graph: a `Value` is one number that remembers which op made it from which others."""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import autodiff, ops
from .op import OPS, Op, Settings, number


class Value:
    """One number in a graph.

    data           the number, a float
    grad           d output / d self, 0 until a backward pass reaches it
    op, inputs     how it was made: an `Op` and the Values it took, in order; None and () for a leaf
    params         the op's plain arguments, such as a slope or a bound; None without any
    label          a name for pictures
    requires_grad  False for constants (plain numbers in an expression, results under `no_grad`)
    line           what made it, if that was inside `detect_anomaly`
    seen, was      the inputs' numbers, where a derivative reads them, and its own, as the forward pass saw them

    Raises TypeError when `data` is not a real number.
    """

    __slots__ = ("data", "grad", "inputs", "label", "line", "op", "params", "requires_grad", "seen", "was")
    __array_ufunc__ = None  # numpy's numbers leave `np.float64(2) * value` to __rmul__

    def __init__(self, data: float, label: str = "", requires_grad: bool = True) -> None:
        self.data = number(data, "Value")
        self.grad = 0.0
        self.op: Op | None = None
        self.inputs: tuple[Value, ...] = ()
        self.params: Settings | None = None
        self.label = label
        self.requires_grad = requires_grad
        self.seen: list[float] | None = None
        self.was = self.data

    @staticmethod
    def apply(op: Op, inputs: Sequence[Any], params: Settings | None = None) -> Value:
        """The node of `op` on `inputs`, Values or plain numbers. This is the only place where the graph grows.

        Where no gradient is wanted (all inputs constant, or `no_grad`) the result is a constant leaf.
        """
        nodes = tuple([x if isinstance(x, Value) else Value.lift(x, op.name) for x in inputs])
        node = Value.__new__(Value)
        xs = [x.data for x in nodes]
        node.data = node.was = op.value(xs, params)
        node.grad = 0.0
        node.label = ""
        if autodiff.mode.graph and any(map(requires_grad, nodes)):  # stops at the first
            node.op, node.inputs, node.params, node.requires_grad = op, nodes, params, True
            node.seen = xs if op.reads_inputs else None
        else:
            node.op, node.inputs, node.params, node.requires_grad, node.seen = None, (), None, False, None
        if autodiff.observer is not None:
            autodiff.observer(node, op, nodes)
        return node

    @staticmethod
    def lift(x: Any, where: str = "Value") -> Value:
        """`x` itself if it is a Value, else the plain number as a constant."""
        return x if isinstance(x, Value) else Value(number(x, where), requires_grad=False)

    def backward(self, gradient: float = 1.0) -> None:
        """Set `.grad` of every node this one depends on to d self / d node; leaves accumulate over calls."""
        autodiff.backward(self, number(gradient, "backward"))

    def item(self) -> float:
        """The number, as a float."""
        return self.data

    def detach(self) -> Value:
        """The same number as a constant, cut from the graph."""
        return Value(self.data, self.label, requires_grad=False)

    def __add__(self, y: Any) -> Value:
        return apply(ops.add, (self, y))

    def __radd__(self, x: Any) -> Value:
        return apply(ops.add, (x, self))

    def __sub__(self, y: Any) -> Value:
        return apply(ops.subtract, (self, y))

    def __rsub__(self, x: Any) -> Value:
        return apply(ops.subtract, (x, self))

    def __mul__(self, y: Any) -> Value:
        return apply(ops.multiply, (self, y))

    def __rmul__(self, x: Any) -> Value:
        return apply(ops.multiply, (x, self))

    def __truediv__(self, y: Any) -> Value:
        return apply(ops.divide, (self, y))

    def __rtruediv__(self, x: Any) -> Value:
        return apply(ops.divide, (x, self))

    def __pow__(self, y: Any) -> Value:
        return apply(ops.power, (self, y))

    def __rpow__(self, x: Any) -> Value:
        return apply(ops.power, (x, self))

    def __neg__(self) -> Value:
        return apply(ops.negative, (self,))

    # Comparisons are plain bools: they choose, they do not differentiate. Nodes are hashed by identity.
    __hash__ = object.__hash__

    def __eq__(self, y: object) -> bool:
        return self.data == y.data if isinstance(y, Value) else self.data == y

    def __ne__(self, y: object) -> bool:
        return not self == y

    def __lt__(self, y: Any) -> bool:
        return self.data < plain(y, "less")

    def __le__(self, y: Any) -> bool:
        return self.data <= plain(y, "less_equal")

    def __gt__(self, y: Any) -> bool:
        return self.data > plain(y, "greater")

    def __ge__(self, y: Any) -> bool:
        return self.data >= plain(y, "greater_equal")

    __abs__ = ops.abs
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Op:
            """Every op of one number is a method, see below."""

    def __repr__(self) -> str:
        label = f", label={self.label!r}" if self.label else ""
        return f"Value(data={self.data!r}, grad={self.grad!r}{label})"

    def _repr_svg_(self) -> str | None:
        """Notebooks ask for a picture; there is one as soon as somebody has imported `viz`."""
        viz = sys.modules.get("viz")
        return viz.svg(self) if viz else None


for op in OPS.values():
    if len(op.inputs) == 1 and not op.over:
        setattr(Value, op.name, op)

apply = Value.apply
requires_grad = operator.attrgetter("requires_grad")


def plain(x: Any, where: str) -> float:
    return x.data if isinstance(x, Value) else number(x, where)
