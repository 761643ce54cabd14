"""The graph: a `Value` is one number that remembers which op made it from which others."""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable, Sequence
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
        return (self.x, self.y)[: len(self.op.inputs)] if self.op.few else self.many

    @property
    def inputs_saved(self) -> tuple[float, ...]:
        """The inputs' numbers as the forward pass saw them, where a derivative reads any."""
        if self.op is None or not self.op.few:
            return self.x_saved
        return (self.x_saved, self.y_saved)[: len(self.op.inputs)]

    @staticmethod
    def apply(op: Op, inputs: Sequence[Any], params: Settings | None = None) -> Value:
        """The node of `op` on `inputs`, Values or plain numbers: how every graph grows, but for + - * /.

        Where no gradient is wanted (all inputs constant, or `no_grad`) the result is a constant leaf.
        """
        if not op.few:
            return record_many(op, tuple([Value.lift(x, op.name) for x in inputs]), params)
        x, y = inputs if len(inputs) == 2 else (inputs[0], NOTHING)
        if type(x) is not Value:
            x = Value.lift(x, op.name)
        if type(y) is not Value:
            y = Value.lift(y, op.name)
        numbers = (x.data, y.data)[: len(inputs)]
        try:
            data = op.forward(*numbers, **params) if params else op.forward(*numbers)
        except ZeroDivisionError:
            data = math.nan
        return record(op, x, y, data, params or None)

    @staticmethod
    def lift(x: Any, where: str = "Value") -> Value:
        """`x` itself if it is a Value, else the plain number as a constant."""
        if isinstance(x, Value):
            return x
        node = new(Value)
        node.data = x if type(x) is float else number(x, where)
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
        if type(y) is not Value:
            y = Value.lift(y, "add")
        return record(ops.add, self, y, self.data + y.data)

    def __sub__(self, y: Any) -> Value:
        if type(y) is not Value:
            y = Value.lift(y, "subtract")
        return record(ops.subtract, self, y, self.data - y.data)

    def __mul__(self, y: Any) -> Value:
        if type(y) is not Value:
            y = Value.lift(y, "multiply")
        return record(ops.multiply, self, y, self.data * y.data)

    def __truediv__(self, y: Any) -> Value:
        if type(y) is not Value:
            y = Value.lift(y, "divide")
        return record(ops.divide, self, y, self.data / y.data if y.data else math.nan)

    def __neg__(self) -> Value:
        return record(ops.negative, self, NOTHING, -self.data)

    def __pow__(self, y: Any) -> Value:
        return Value.apply(ops.power, (self, y))

    def __radd__(self, x: Any) -> Value:
        return Value.lift(x, "add") + self

    def __rsub__(self, x: Any) -> Value:
        return Value.lift(x, "subtract") - self

    def __rmul__(self, x: Any) -> Value:
        return Value.lift(x, "multiply") * self

    def __rtruediv__(self, x: Any) -> Value:
        return Value.lift(x, "divide") / self

    def __rpow__(self, x: Any) -> Value:
        return Value.lift(x, "power") ** self

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


def method(op: Op) -> Callable[..., Value]:
    """An op of one number as a method: `node.tanh()` is `tanh(node)`."""

    @functools.wraps(op.forward)
    def call(self: Value, *args: Any, **settings: Any) -> Value:
        return op(self, *args, **settings) if args or settings or op.defaults else Value.apply(op, (self,))

    return call


for op in OPS.values():
    if len(op.inputs) == 1 and not op.over:
        setattr(Value, op.name, method(op))


def record(op: Op, x: Value, y: Value, data: Any, params: Settings | None = None) -> Value:
    """The node of an op of one or two numbers. `data` is what Python made of them, NaN where it refused, or numpy."""
    if type(data) is not float:  # numpy's, which has warned if it had to
        data = float(data)
    elif data - data != 0.0:
        data = op.value([x.data, y.data][: len(op.inputs)], params)
    others = autodiff.blocks
    node = new(Value)
    node.data = node.saved = data
    node.grad = 0.0
    node.label = ""
    if (x.requires_grad or y.requires_grad) and not (others and not autodiff.mode.graph):
        node.op = op
        node.params = params
        node.requires_grad = True
        node.x = x
        node.y = y
        node.x_saved = x.data
        node.y_saved = y.data
    else:
        node.op = node.params = None
        node.requires_grad = False
    if others and autodiff.mode.observe is not None:
        autodiff.mode.observe(node, op, (x, y)[: len(op.inputs)])
    return node


def record_many(op: Op, nodes: tuple[Value, ...], params: Settings | None) -> Value:
    """The node of any other op."""
    xs = tuple([x.data for x in nodes])
    node = Value.lift(op.value(xs, params))
    mode = autodiff.mode
    if mode.graph and any(map(requires_grad, nodes)):  # stops at the first
        node.op, node.params, node.requires_grad, node.saved = op, params or None, True, node.data
        node.many, node.x_saved = nodes, xs if op.reads_inputs else ()
    if mode.observe is not None:
        mode.observe(node, op, nodes)
    return node


new = object.__new__
NOTHING = Value(0.0, requires_grad=False)  # the second input of an op of one
requires_grad = operator.attrgetter("requires_grad")


def plain(x: Any, where: str) -> float:
    return x.data if isinstance(x, Value) else number(x, where)
