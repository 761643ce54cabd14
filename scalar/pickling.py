"""Values that are pickled or deep-copied: a graph as a flat list, so that its depth has no limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .autodiff import topological_order
from .op import Op

if TYPE_CHECKING:
    from .value import Value


def reduce(value: Value) -> tuple[Any, ...]:
    """How to make the value again, as `__reduce__` has it. Leaves stay shared between values saved together."""
    kind = type(value)
    if value.op is None:
        return leaf, (kind, value.data, value.grad, value.label, value.requires_grad)
    order = topological_order(value)
    place = {node: i for i, node in enumerate(order)}
    steps: list[Any] = []
    for node in order:
        if node.op is None:
            steps.append(node)
        else:
            inputs = tuple(place[x] for x in node.inputs)
            plain = (node.data, node.grad, node.label, node.requires_grad)
            steps.append((node.op, inputs, node.params, node.inputs_saved, node.saved, plain))
    return graph, (kind, steps)


def leaf(kind: Any, data: float, grad: float, label: str, requires_grad: bool) -> Value:
    """A leaf with these attributes."""
    made: Value = kind(data, label, requires_grad)
    made.grad = grad
    return made


def graph(kind: Any, steps: list[Any]) -> Value:
    """The last of the nodes that `reduce` listed."""
    nodes: list[Value] = []
    for step in steps:
        nodes.append(step if isinstance(step, kind) else node_of(kind, nodes, *step))
    return nodes[-1]


def node_of(kind: Any, nodes: list[Value], op: Op, places: Any, params: Any, xs: Any, out: float, plain: Any) -> Value:
    """The node of an op, with the numbers that its forward pass saw."""
    made = leaf(kind, *plain)
    made.keep(op, tuple([nodes[i] for i in places]), params, xs, out)
    return made
