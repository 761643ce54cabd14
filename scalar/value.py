"""The graph: a `Value` is one number that remembers which op made it from which others."""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import autodiff, ops, pickling
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

    A node is a thing, two nodes are two, whatever their numbers: among Values `==` asks whether they are the same one,
    as `in`, `index` and `remove` of a list do, and sets and dicts. (As ever, NaN is not equal to itself.) With a plain
    number it compares numbers, `x == 2.0`, and so do `<`, `<=`, `>` and `>=` with either; for the numbers of two nodes
    write `x.data == y.data`.

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
        """The node of `op` on `inputs`, Values or plain numbers: how every graph grows, but for operators and methods,
        which have a shorter way.

        Where no gradient is wanted (all inputs constant, or `no_grad`) the result is a constant leaf.
        """
        if op.few and not params:
            x, y = inputs if len(inputs) == 2 else (*inputs, NOTHING)
            x, y = lift(x, op.name), lift(y, op.name)
            return record(op, x, y, op.quick(*(x.data, y.data)[: len(inputs)]))
        nodes = tuple([x if type(x) is Value else lift(x, op.name) for x in inputs])
        return record_any(op, nodes, op.value([x.data for x in nodes], params), params)

    @staticmethod
    def lift(x: Any, where: str = "Value") -> Value:
        """`x` itself if it is a Value, else the plain number as a constant."""
        if type(x) is not float:
            if isinstance(x, Value):
                return x
            x = number(x, where)
        node = new(Value)
        node.data = x
        node.grad = 0.0
        node.label = ""
        node.op = node.params = None
        node.requires_grad = False
        return node

    def keep(
        self, op: Op, inputs: tuple[Value, ...], params: Settings | None, xs: tuple[float, ...], out: float
    ) -> None:
        """Be the node of an op whose forward pass saw the numbers `xs` and `out`."""
        self.op, self.params, self.saved = op, params, out
        if op.few:
            self.x, self.y = inputs if len(inputs) == 2 else (*inputs, NOTHING)
            self.x_saved, self.y_saved = xs if len(inputs) == 2 else (*xs, NOTHING.data)
        else:
            self.many, self.x_saved = inputs, xs if op.reads_inputs else ()

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
            y = lift(y, "add")
        return record(ops.add, self, y, self.data + y.data)

    def __sub__(self, y: Any) -> Value:
        if type(y) is not Value:
            y = lift(y, "subtract")
        return record(ops.subtract, self, y, self.data - y.data)

    def __mul__(self, y: Any) -> Value:
        if type(y) is not Value:
            y = lift(y, "multiply")
        return record(ops.multiply, self, y, self.data * y.data)

    def __truediv__(self, y: Any) -> Value:
        if type(y) is not Value:
            y = lift(y, "divide")
        return record(ops.divide, self, y, self.data / y.data if y.data else math.nan)

    def __neg__(self) -> Value:
        return record(ops.negative, self, NOTHING, -self.data)

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return record(ops.abs, self, NOTHING, abs(self.data))

    def __pow__(self, y: Any) -> Value:
        if type(y) is not Value:
            y = lift(y, "power")
        return record(ops.power, self, y, ops.power.quick(self.data, y.data))

    def __radd__(self, x: Any) -> Value:
        return lift(x, "add") + self

    def __rsub__(self, x: Any) -> Value:
        return lift(x, "subtract") - self

    def __rmul__(self, x: Any) -> Value:
        return lift(x, "multiply") * self

    def __rtruediv__(self, x: Any) -> Value:
        return lift(x, "divide") / self

    def __rpow__(self, x: Any) -> Value:
        return lift(x, "power") ** self

    def __mod__(self, y: Any) -> Value:
        return Value.apply(ops.mod, (self, y))

    def __rmod__(self, x: Any) -> Value:
        return Value.apply(ops.mod, (x, self))

    def __round__(self, decimals: int = 0) -> Value:
        return ops.round(self, decimals)

    # Comparisons are plain bools: they choose, they do not differentiate.
    __hash__ = object.__hash__

    def __eq__(self, y: object) -> bool:
        return self is y and self.data == self.data if isinstance(y, Value) else self.data == y

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

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Op:
            """Every op of one number is a method, see below."""

    def __reduce__(self) -> Any:
        return pickling.reduce(self)

    def __repr__(self) -> str:
        label = f", label={self.label!r}" if self.label else ""
        return f"Value(data={self.data!r}, grad={self.grad!r}{label})"

    def _repr_svg_(self) -> str | None:
        """Notebooks ask for a picture; there is one as soon as somebody has imported `viz`."""
        viz = sys.modules.get("viz")
        return viz.overview(self) if viz else None


def record(op: Op, x: Value, y: Value, data: Any) -> Value:
    """The node of an op of one or two numbers. `data` is what Python made of them, NaN where it refused, or numpy."""
    if type(data) is not float:  # numpy's, which has warned if it had to
        data = float(data)
    elif data - data != 0.0:
        data = op.value((x.data, y.data)[: len(op.inputs)])
    if autodiff.blocks or not (x.requires_grad or y.requires_grad):
        return record_any(op, (x, y)[: len(op.inputs)], data)
    node = new(Value)
    node.data = node.saved = data
    node.grad = 0.0
    node.label = ""
    node.op = op
    node.params = None
    node.requires_grad = True
    node.x = x
    node.y = y
    node.x_saved = x.data
    node.y_saved = y.data
    return node


def record_any(op: Op, inputs: tuple[Value, ...], data: float, params: Settings | None = None) -> Value:
    """The node of any op, in any mode."""
    node, mode = lift(data), autodiff.mode
    if mode.graph and any(map(requires_grad, inputs)):  # stops at the first
        node.requires_grad = True
        node.keep(op, inputs, params or None, tuple([x.data for x in inputs]), data)
    if mode.observe is not None:
        mode.observe(node, op, inputs)
    return node


def method(op: Op) -> Callable[..., Value]:
    """An op of one number as a method: `node.tanh()` is `tanh(node)`."""

    @functools.wraps(op.forward)
    def call(self: Value) -> Value:
        return record(op, self, NOTHING, op.quick(self.data))

    return call


new, lift = object.__new__, Value.lift
NOTHING = Value(0.0, requires_grad=False)  # the second input of an op of one
requires_grad = operator.attrgetter("requires_grad")


def plain(x: Any, where: str) -> float:
    return x.data if isinstance(x, Value) else number(x, where)


for op in OPS.values():
    if len(op.inputs) == 1 and not op.over:
        setattr(Value, op.name, op if op.defaults else method(op))
