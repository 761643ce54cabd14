"""The graph: a `Value` is one number that remembers which op made it from which others."""

from __future__ import annotations

import math
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

    The rest is the graph as the backward pass wants it: `x` and `y`, the inputs of an op of one or two numbers, or
    `many`, those of any other; and the numbers that the forward pass saw, theirs in `x_saved` and `y_saved`, its own in
    `saved`.

    Raises TypeError when `data` is not a real number.
    """

    op: Op | None
    params: Settings | None
    x: Value
    y: Value
    many: tuple[Value, ...]
    x_saved: Any
    y_saved: float
    saved: float
    line: str

    __slots__ = (
        "data",
        "grad",
        "label",
        "line",
        "many",
        "op",
        "params",
        "requires_grad",
        "saved",
        "x",
        "x_saved",
        "y",
        "y_saved",
    )
    __array_ufunc__ = None  # numpy's numbers leave `np.float64(2) * value` to __rmul__

    def __init__(self, data: float, label: str = "", requires_grad: bool = True) -> None:
        self.data = number(data, "Value")
        self.grad = 0.0
        self.label = label
        self.op = None
        self.params = None
        self.requires_grad = requires_grad

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The Values that the op took, in order."""
        if self.op is None:
            return ()
        return self.many if self.op.pair is None else (self.x, self.y)[: len(self.op.inputs)]

    @property
    def inputs_saved(self) -> tuple[float, ...]:
        """The inputs' numbers as the forward pass saw them, where a derivative reads any."""
        if self.op is None or self.op.pair is None:
            return self.x_saved
        return (self.x_saved, self.y_saved)[: len(self.op.inputs)]

    @staticmethod
    def apply(op: Op, inputs: Sequence[Any], params: Settings | None = None) -> Value:
        """The node of `op` on `inputs`, Values or plain numbers: how every graph grows, but for the short cut `pair`.

        Where no gradient is wanted (all inputs constant, or `no_grad`) the result is a constant leaf.
        """
        nodes = tuple([Value.lift(x, op.name) for x in inputs])
        xs = tuple([x.data for x in nodes])
        node = Value(op.value(xs, params), requires_grad=False)
        mode = autodiff.mode
        if mode.graph and any(map(requires_grad, nodes)):  # stops at the first
            node.op, node.params, node.requires_grad, node.saved = op, params or None, True, node.data
            if op.pair is None:
                node.many, node.x_saved = nodes, xs if op.reads_inputs else ()
            else:
                node.x, node.y = nodes if len(nodes) == 2 else (*nodes, NOTHING)
                node.x_saved, node.y_saved = node.x.data, node.y.data
        if mode.observe is not None:
            mode.observe(node, op, nodes)
        return node

    @staticmethod
    def lift(x: Any, where: str = "Value") -> Value:
        """`x` itself if it is a Value, else the plain number as a constant."""
        if isinstance(x, Value):
            return x
        node = new(Value)
        node.data = number(x, where)
        node.grad = 0.0
        node.label = ""
        node.op = node.params = None
        node.requires_grad = False
        return node

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
        return pair(ops.add, self, y)

    def __radd__(self, x: Any) -> Value:
        return pair(ops.add, x, self)

    def __sub__(self, y: Any) -> Value:
        return pair(ops.subtract, self, y)

    def __rsub__(self, x: Any) -> Value:
        return pair(ops.subtract, x, self)

    def __mul__(self, y: Any) -> Value:
        return pair(ops.multiply, self, y)

    def __rmul__(self, x: Any) -> Value:
        return pair(ops.multiply, x, self)

    def __truediv__(self, y: Any) -> Value:
        return pair(ops.divide, self, y)

    def __rtruediv__(self, x: Any) -> Value:
        return pair(ops.divide, x, self)

    def __pow__(self, y: Any) -> Value:
        return Value.apply(ops.power, (self, y))

    def __rpow__(self, x: Any) -> Value:
        return Value.apply(ops.power, (x, self))

    def __neg__(self) -> Value:
        return Value.apply(ops.negative, (self,))

    def __pos__(self) -> Value:
        return self

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


def pair(op: Op, x: Any, y: Any) -> Value:
    """What `Value.apply` makes of two numbers, if it is the usual: a finite number in a graph."""
    if type(x) is not Value:
        x = Value.lift(x, op.name)
    if type(y) is not Value:
        y = Value.lift(y, op.name)
    a = x.data
    b = y.data
    try:
        data = op.forward(a, b)
    except ZeroDivisionError:
        data = math.nan
    if type(data) is not float or data - data != 0.0 or autodiff.blocks or not (x.requires_grad or y.requires_grad):
        return Value.apply(op, (x, y))
    node = new(Value)
    node.data = node.saved = data
    node.grad = 0.0
    node.label = ""
    node.op = op
    node.params = None
    node.requires_grad = True
    node.x = x
    node.y = y
    node.x_saved = a
    node.y_saved = b
    return node


new = object.__new__
NOTHING = Value(0.0, requires_grad=False)  # the second input of an op of one
requires_grad = operator.attrgetter("requires_grad")


def plain(x: Any, where: str) -> float:
    return x.data if isinstance(x, Value) else number(x, where)
