"""Reverse-mode automatic differentiation over a graph of nodes.

    grads <- backward <- backward_steps <- topological_order

Nothing here recurses, so depth has no limit. Broadcasting is undone here (`unbroadcast`) and nowhere else.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ContextDecorator
from typing import Any, NamedTuple

import numpy as np

from . import ops
from .op import array
from .storage import EAGER


class Mode(threading.local):
    """What ops do besides computing, thread by thread: whether they build a graph, the door to arrays, and what looks
    for anomalies."""

    graph = True
    store: Any = EAGER
    check: Callable[..., None] | None = None
    usual = True  # all of these as they are above: one comparison instead of three

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        super().__setattr__("usual", self.graph and self.store is EAGER and self.check is None)


mode = Mode()
observer: Callable[..., None] | None = None  # called with each new node, while any thread looks for anomalies


class no_grad(ContextDecorator):
    """Inside, ops compute values and build no graph: `with no_grad(): ...`, or `@no_grad()` on a function, also on one
    that yields: there its own lines are inside, and those of who asks for the next value are not."""

    def __init__(self) -> None:
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(mode.graph)
        mode.graph = False

    def __exit__(self, *error: object) -> None:
        mode.graph = self.before.pop()

    def __call__(self, f: Any) -> Any:
        if not inspect.isgeneratorfunction(f):
            return super().__call__(f)

        @functools.wraps(f)
        def call(*args: Any, **kwargs: Any) -> Any:
            steps, answer = f(*args, **kwargs), None
            try:
                while True:
                    with no_grad():
                        value = steps.send(answer)
                    answer = yield value
            except StopIteration as end:
                return end.value
            finally:
                steps.close()

        return call


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


def backward_steps(output: Any, gradient: Any = None, create_graph: bool = False) -> Iterator[Step]:
    """The backward pass from `output`, a step for each node that takes part, from the output to the leaves.

    A node's turn comes when all contributions to its gradient are in. Gradients are arrays of the node's shape and
    dtype, or with `create_graph` nodes, to be differentiated in turn. No node is changed: `backward` and `grad`
    collect what this generator yields. Raises ValueError for an output of several elements without a `gradient`,
    RuntimeError where a derivative would read an array that was changed since the forward pass.
    """
    gradients, check, store = {output: seed(output, gradient)}, mode.check, mode.store
    for node in reversed(topological_order(output)):
        if not node._requires_grad:
            continue
        g, contributions = gradients.pop(node), []
        if node.op:
            for i, then, more in node.saved:
                x = node.inputs[i] if i < len(node.inputs) else node
                if more or then is not x._data:
                    check_unchanged(node, i, x, then, more)
            if create_graph:
                out, xs = node, node.inputs
            else:
                out, xs = store.read(node), [store.read(x) for x in node.inputs]
            needed = [x._requires_grad for x in node.inputs]
            contributions = node.op.gradients(g, out, xs, node.params or {}, needed)
            for i, x in enumerate(node.inputs):
                contributions[i] = unbroadcast(contributions[i], x, node, i) if needed[i] else None
            if check is not None:
                check(node, g, contributions, gradients)
            for x, c in zip(node.inputs, contributions, strict=True):
                if c is not None:
                    gradients[x] = gradients[x] + c if x in gradients else c
        yield Step(node, g, contributions)


def check_unchanged(node: Any, i: int, x: Any, then: Any, more: Any) -> None:
    """Raises RuntimeError where the array of x, which stands at place i of the inputs and the result of a node, is not
    as it was when it was saved."""
    if not mode.store.unchanged(x, then, more):
        what = f"input {i}" if x is not node else "the result"
        raise RuntimeError(
            f"backward: {node.op.name}: {what}{f', {x.label!r},' if x.label else ''} was changed after the forward "
            f"pass, and the derivative reads it; call backward() before changing data, or run the forward pass again"
        )


def seed(output: Any, gradient: Any) -> Any:
    """The gradient to start from: 1, or what the caller gave."""
    if gradient is None:
        if output.size != 1:
            raise ValueError(
                f"backward: expected an output of one element, got shape {output.shape}; "
                f"reduce it (sum, mean) or pass gradient= of that shape"
            )
        return mode.store.constant(np.ones(output.shape, output.dtype))
    if np.shape(gradient) != output.shape:
        raise ValueError(f"backward: expected a gradient of shape {output.shape}, got {np.shape(gradient)}")
    return gradient if hasattr(gradient, "op") else array(gradient, "backward", output).astype(output.dtype)


def unbroadcast(g: Any, x: Any, node: Any, i: int) -> Any:
    """g, the gradient of a node by its input x, number i, summed over the axes along which x was repeated, in x's
    dtype: the transpose of broadcasting. Raises ValueError for a shape that x does not broadcast to.
    """
    like = x._data
    if g.shape != like.shape:
        extra = g.ndim - like.ndim
        pairs = zip(g.shape[max(extra, 0) :], like.shape, strict=False)
        if extra < 0 or not all(n in (m, 1) for m, n in pairs):
            raise ValueError(
                f"backward: {node.op.name}: expected a gradient of shape {like.shape} for input {i}, or of a shape "
                f"that it broadcasts to, got {g.shape}"
            )
        repeated = tuple(k for k in range(g.ndim) if k < extra or (like.shape[k - extra] == 1 and g.shape[k] != 1))
        g = ops.sum(g, axis=repeated)
        if g.shape != like.shape:
            g = ops.reshape(g, like.shape)
    return g if g.dtype == like.dtype else g.astype(like.dtype)


def backward(output: Any, gradient: Any = None) -> None:
    """Give every node on the way its `.grad`, d output / d node, an array of its shape and dtype: leaves add it to
    what they have, inner nodes start anew at each call. Raises ValueError for an output of several elements without
    a `gradient` of its shape, RuntimeError for a constant, and, half-way, where an array that a derivative reads was
    changed since the forward pass.
    """
    if not output._requires_grad:
        raise RuntimeError(
            "backward: expected the result of ops on nodes that require a gradient, got a constant: all that it was "
            "made of is constant, or it was made inside no_grad()"
        )
    taken: dict[int, Any] = {}  # by id, and kept: another array may not get the id of one that is gone
    for node, g, _ in backward_steps(output, gradient):
        if node.op:
            node._grad = g
            taken[id(g)] = g
        else:
            node.accumulate(own(g, taken))


def own(g: Any, taken: dict[int, Any]) -> Any:
    """g, or a copy if it is a view or `taken` already: whoever gets it may change it in place."""
    if id(g) in taken or g.base is not None:
        return g.copy()
    taken[id(g)] = g
    return g


def grad(output: Any, inputs: Any, create_graph: bool = False, gradient: Any = None) -> Any:
    """d output / d input for a list of inputs (or for one), as arrays; `.grad` stays as it is. Of an output of several
    elements, the sum of their gradients times `gradient`, an array or a tensor of its shape.

    With `create_graph` the result is nodes: differentiate them again for second derivatives. An input that `output`
    does not depend on has gradient 0. Raises TypeError for what is no node, and ValueError for an output of
    several elements without a `gradient`.
    """
    if not hasattr(output, "requires_grad"):
        raise TypeError(f"grad: expected a node to differentiate, got {type(output).__name__}")
    several = isinstance(inputs, (list, tuple))
    wanted = list(inputs) if several else [inputs]
    for x in wanted:
        if not hasattr(x, "requires_grad"):
            raise TypeError(f"grad: expected nodes to differentiate by, got {type(x).__name__}")
    found = {x: np.zeros(x.shape, x.dtype) for x in wanted}
    for node, g, _ in backward_steps(output, gradient, create_graph):
        if node in found:
            found[node] = g
    taken: dict[int, Any] = {}  # by id, and kept: another array may not get the id of one that is gone
    results = [found[x] if hasattr(found[x], "op") else own(found[x], taken) for x in wanted]
    results = [output.lift(g, "grad") for g in results] if create_graph else results
    return results if several else results[0]
