"""Reverse-mode automatic differentiation over a graph of nodes.

    grads <- backward <- backward_steps <- topological_order

Nothing here recurses, so depth has no limit, and nothing here makes a node: it reads `.data .op .inputs .params`.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import is_
from typing import Any, NamedTuple

from .op import ieee


class Mode(threading.local):
    """What ops do besides computing, thread by thread: write down a graph, and look for anomalies."""

    graph = True
    check: Callable[..., None] | None = None


mode = Mode()
observer: Callable[..., None] | None = None  # called with each new node, while any thread looks for anomalies


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside, ops compute values and write down no graph: `with no_grad(): ...`, or `@no_grad()` on a function."""
    before, mode.graph = mode.graph, False
    try:
        yield
    finally:
        mode.graph = before


def topological_order(output: Any) -> list[Any]:
    """Every node that `output` depends on, each once, inputs before the nodes that use them; `output` comes last."""
    order: list[Any] = []
    seen, stack = set(), [output]
    while stack:
        node = stack.pop()
        if node is None:  # a mark: everything below the next node is in `order`
            order.append(stack.pop())
        elif node not in seen:
            seen.add(node)
            stack += (node, None)
            stack += node.inputs
    return order


class Step(NamedTuple):
    """One node's turn in the backward pass: its whole gradient, and what it hands on to each input (None: nothing)."""

    node: Any
    gradient: Any
    contributions: Sequence[Any]


def backward_steps(output: Any, gradient: Any = 1.0, create_graph: bool = False) -> Iterator[Step]:
    """The backward pass from `output`, a step for each node that takes part, from the output to the leaves.

    A node's turn comes when all contributions to its gradient are in. Gradients are floats, or with `create_graph`
    nodes, to be differentiated in turn. No node is changed: `backward` and `grad` collect what this generator yields.
    Raises RuntimeError where a derivative would read a number that was changed since the forward pass.
    """
    gradients, check = {output: gradient}, mode.check
    for node in reversed(topological_order(output)):
        if not node.requires_grad:
            continue
        g, contributions = gradients.pop(node), ()
        if node.op:
            out, xs = node.data, [x.data for x in node.inputs]
            needed = [x.requires_grad for x in node.inputs]
            if out is not node.was or (node.seen is not None and not all(map(is_, xs, node.seen))):
                check_unchanged(node, needed)
            if create_graph:
                out, xs = node, node.inputs
            contributions = node.op.gradients(g, out, xs, node.params or {}, needed)
            if check is not None:
                check(node, g, contributions, gradients)
            for x, need, c in zip(node.inputs, needed, contributions, strict=True):
                if need:
                    before = gradients.get(x)
                    gradients[x] = c if before is None else plus(before, c)
        yield Step(node, g, contributions)


def check_unchanged(node: Any, needed: Sequence[bool]) -> None:
    """Raises RuntimeError where a derivative that is needed reads a number that the forward pass saw otherwise."""
    nodes = (*node.inputs, node)
    for i in node.op.saves(needed):
        now, then = nodes[i].data, node.was if nodes[i] is node else node.seen[i]
        if not (now == then and math.copysign(1.0, now) == math.copysign(1.0, then)) and (now == now or then == then):
            what = f"input {i}" if nodes[i] is not node else "the result"
            label = f", {nodes[i].label!r}," if nodes[i].label else ""
            raise RuntimeError(
                f"backward: {node.op.name}: {what}{label} was changed after the forward pass, and the derivative reads "
                f"it; call backward() before changing data, or run the forward pass again"
            )


def plus(a: Any, b: Any) -> Any:
    total = a + b
    if type(total) is float and total - total != 0.0:
        total = ieee(operator.add, (a, b), {})
    return total


def backward(output: Any, gradient: float) -> None:
    """Give every node on the way its `.grad`, d output / d node: leaves add it to what they have, inner nodes start
    anew at each call. Raises RuntimeError, half-way, where a number that a derivative reads was changed since the
    forward pass.
    """
    for node, g, _ in backward_steps(output, gradient):
        node.grad = g if node.op else plus(node.grad, g)


def grad(output: Any, inputs: Any, create_graph: bool = False, gradient: Any = None) -> Any:
    """d output / d input for a list of inputs (or for one), as floats, times `gradient`; `.grad` stays as it is.

    With `create_graph` the result is nodes: differentiate them again for second derivatives. An input that `output`
    does not depend on has gradient 0. Raises TypeError for what is no node.
    """
    if not hasattr(output, "requires_grad"):
        raise TypeError(f"grad: expected a node to differentiate, got {type(output).__name__}")
    several = isinstance(inputs, (list, tuple))
    wanted = list(inputs) if several else [inputs]
    for x in wanted:
        if not hasattr(x, "requires_grad"):
            raise TypeError(f"grad: expected nodes to differentiate by, got {type(x).__name__}")
    found = {x: 0.0 for x in wanted}
    for node, g, _ in backward_steps(output, 1.0 if gradient is None else gradient, create_graph):
        if node in found:
            found[node] = g
    results = [output.lift(found[x]) if create_graph else found[x] for x in wanted]
    return results if several else results[0]


def gradcheck(f: Callable[..., Any], inputs: Sequence[Any], rtol: float = 1e-4) -> bool:
    """Compare the gradient of `f(*inputs)` with central differences, (f(x + h) - f(x - h)) / 2h, for every input.

    `f` takes nodes and returns one. The step h = eps^(1/3) max(1, |x|) balances truncation, O(h^2), against rounding,
    O(eps |f| / h). Returns True. Raises ValueError naming the input and both numbers where they differ by more than
    `rtol` times the larger of them plus what rounding can do to the difference; TypeError for inputs that are no nodes.
    """
    for x in inputs:
        if not hasattr(x, "requires_grad"):
            raise TypeError(f"gradcheck: expected nodes to differentiate by, got {type(x).__name__}")
    output = f(*inputs)
    slopes = grad(output, list(inputs))
    for i, (x, slope) in enumerate(zip(inputs, slopes, strict=True)):
        before = x.data
        h = 6e-6 * max(1.0, abs(before))
        try:
            x.data = before + h
            above = f(*inputs).data
            x.data = before - h
            below = f(*inputs).data
        finally:
            x.data = before
        difference = (above - below) / (2.0 * h)
        allowed = rtol * max(abs(slope), abs(difference)) + 1e-9 * (1.0 + abs(above) + abs(below))
        if not abs(slope - difference) <= allowed:
            raise ValueError(
                f"gradcheck: input {i} = {before!r}: the backward pass gives {slope!r}, "
                f"central differences give {difference!r}"
            )
    return True
