"""Tensors that are pickled or deep-copied: a graph as a flat list, so that its depth has no limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .autodiff import mode, topological_order
from .op import Op

if TYPE_CHECKING:
    from .tensor import Tensor


def reduce(tensor: Tensor) -> tuple[Any, ...]:
    """How to make the tensor again, as `__reduce__` has it. Leaves stay shared between tensors that are saved together.

    Raises RuntimeError where an array that a derivative reads was changed since the forward pass.
    """
    kind = type(tensor)
    if tensor.op is None:
        grad = tensor._grad if isinstance(tensor._grad, np.ndarray) else None
        return leaf, (kind, tensor._data, grad, tensor.label, tensor.requires_grad)
    order = topological_order(tensor)
    place = {node: i for i, node in enumerate(order)}
    steps: list[Any] = []
    for node in order:
        if node.op is None:
            steps.append(node)
            continue
        for i, then, more in node.saved:
            x = node.inputs[i] if i < len(node.inputs) else node
            if not mode.store.unchanged(x, then, more):
                raise RuntimeError(f"pickle: {node.op.name}: an array was changed after the forward pass; run it again")
        inputs = tuple(place[x] for x in node.inputs)
        steps.append((node.op, inputs, node.params, node._data, node._grad, node.label))
    return graph, (kind, steps)


def leaf(kind: Any, data: np.ndarray, grad: Any, label: str, requires_grad: bool) -> Tensor:
    """A leaf with these attributes."""
    made = kind(data, label, requires_grad)
    made._grad = grad
    return made


def graph(kind: Any, steps: list[Any]) -> Tensor:
    """The last of the nodes that `reduce` listed."""
    nodes: list[Any] = []
    for step in steps:
        nodes.append(step if isinstance(step, kind) else node_of(kind, nodes, *step))
    return nodes[-1]


def node_of(kind: Any, nodes: list[Any], op: Op, places: Any, params: Any, data: Any, grad: Any, label: str) -> Tensor:
    """The node of an op, with its value as it was."""
    made, inputs = kind.constant(data), tuple(nodes[i] for i in places)
    made.op, made.inputs, made.params, made.label, made._grad = op, inputs, params, label, grad
    made._requires_grad = True
    made.saved = mode.store.save(op.saves(tuple(x._requires_grad for x in inputs)), (*inputs, made), inputs)
    return made
