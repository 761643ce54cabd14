"""Reverse-mode automatic differentiation over a graph of nodes.

    grad <- backward_steps <- topological_order, op.contributions
    backward <- hand_on <- inner_nodes, op.contributions                    the same numbers, faster

Nothing here recurses, so depth has no limit, and nothing here makes a node.
"""

from __future__ import annotations

import functools
import inspect
import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from typing import Any, NamedTuple

from .op import check_unchanged, contributions, ieee


class Mode(threading.local):
    """What ops do besides computing, thread by thread: write down a graph, and look for anomalies."""

    graph = True
    observe: Callable[..., None] | None = None  # called with each new node
    check: Callable[..., None] | None = None  # called with each node's turn in a backward pass


mode = Mode()
LOCK = threading.Lock()
blocks = 0  # of other modes that are being run, in all threads: while there is none, nobody need ask for the mode


@contextmanager
def other_mode(**settings: Any) -> Iterator[None]:
    """Inside, the mode of this thread has these settings."""
    global blocks
    before = {name: getattr(mode, name) for name in settings}
    with LOCK:
        blocks += 1
    try:
        vars(mode).update(settings)
        yield
    finally:
        vars(mode).update(before)
        with LOCK:
            blocks -= 1


class no_grad(ContextDecorator):
    """Inside, ops compute values and write down no graph: `with no_grad(): ...`, or `@no_grad()` on a function, also on
    one that yields: there its own lines are inside, and those of who asks for the next value are not."""

    def __init__(self) -> None:
        self.inside: list[Any] = []

    def __enter__(self) -> None:
        self.inside.append(other_mode(graph=False))
        self.inside[-1].__enter__()

    def __exit__(self, *error: object) -> None:
        self.inside.pop().__exit__(None, None, None)

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


def backward_steps(output: Any, gradient: Any = 1.0, create_graph: bool = False) -> Iterator[Step]:
    """The backward pass from `output`, a step for each node that takes part, from the output to the leaves.

    A node's turn comes when all contributions to its gradient are in. Gradients are floats, or with `create_graph`
    nodes, to be differentiated in turn. No node is changed: `grad` collects what this generator yields, and `backward`
    gives the same numbers.
    Raises RuntimeError where a derivative would read a number that was changed since the forward pass.
    """
    gradients, check = {output: gradient} if output.requires_grad else {}, mode.check
    for node in reversed(topological_order(output)):
        if node not in gradients:  # a constant, or only used by what was frozen after the forward pass
            continue
        g = gradients.pop(node)
        shares = contributions(node, g, create_graph) if node.op else []
        if check is not None and shares:
            check(node, g, shares, gradients)
        for x, c in zip(node.inputs, shares, strict=True):
            if x.requires_grad:
                gradients[x] = plus(gradients[x], c) if x in gradients else c
        yield Step(node, g, shares)


def plus(a: Any, b: Any) -> Any:
    total = a + b
    if type(total) is float and total - total != 0.0:
        total = ieee(operator.add, (a, b), {})
    return total


def backward(output: Any, gradient: float) -> None:
    """Give every node on the way its `.grad`, d output / d node: leaves add it to what they have, inner nodes start
    anew at each call. Raises RuntimeError for a constant, and where a number that a derivative reads was changed since
    the forward pass; leaves keep what they have then.

    These are the numbers of `backward_steps`, summed up on the nodes: by `hand_on` as long as all are finite.
    """
    if not output.requires_grad:
        raise RuntimeError(
            "backward: expected the result of ops on nodes that require a gradient, got a constant: all that it was "
            "made of is constant, or it was made inside no_grad()"
        )
    if mode.check is not None or output.op is None or not hand_on(output, gradient):
        for node, g in [(step.node, step.gradient) for step in backward_steps(output, gradient)]:
            node.grad = g if node.op else plus(node.grad or 0.0, g)


def hand_on(output: Any, gradient: float) -> bool:
    """Let each node, from the output on, add to the gradients of its inputs. Where a number is not finite, IEEE 754 and
    numpy's warnings ask for more care: then the leaves are left as they were, and the answer is False."""
    zero = float("-0.0")  # another object in each pass, so that it marks what is reached; -0.0 + g is g, whatever g
    order, leaves, before = inner_nodes(output, zero)
    output.grad, finite = gradient, False
    try:
        for node in reversed(order):
            g = node.grad
            if type(g) is not float:  # an op of one's own may compute with numpy's numbers
                g = node.grad = float(g)
            if g - g != 0.0:
                return False
            op = node.op
            rules = op.pair
            if rules is None:
                for x, c in zip(node.inputs, contributions(node, g), strict=True):
                    if x.requires_grad:
                        x.grad += c
                continue
            x = node.x
            y = node.y
            if op.linear:
                if x.requires_grad:
                    x.grad += rules[0](g)
                if y.requires_grad:
                    y.grad += rules[1](g)
                continue
            if x.data is not node.x_saved or y.data is not node.y_saved or node.data is not node.saved:
                check_unchanged(node)
            if x.requires_grad:
                x.grad += rules[0](g, node)
            if y.requires_grad:
                y.grad += rules[1](g, node)
        for x, had in zip(leaves, before, strict=True):
            x.grad = total = float((had or 0.0) + x.grad)
            if total - total != 0.0:
                return False
        finite = True
    except ZeroDivisionError:
        pass
    finally:
        if not finite:
            for x, had in zip(leaves, before, strict=True):
                x.grad = had
    return finite


def inner_nodes(output: Any, mark: float) -> tuple[list[Any], list[Any], list[float]]:
    """The nodes with an op whose gradient is needed, inputs first; the leaves, and the gradients that these had. Each
    is given `mark` for its gradient."""
    order: list[Any] = []
    leaves: list[Any] = []
    before: list[float] = []
    stack = [output]
    while stack:
        node = stack.pop()
        if node is None:  # everything below the next node is in `order`
            order.append(stack.pop())
        elif node.grad is mark:  # reached before
            continue
        elif node.op is None:
            leaves.append(node)
            before.append(node.grad)
            node.grad = mark
        else:
            node.grad = mark
            stack.append(node)
            stack.append(None)
            if node.op.few:
                x, y = node.x, node.y
                if x.requires_grad and x.grad is not mark:
                    stack.append(x)
                if y.requires_grad and y.grad is not mark:
                    stack.append(y)
            else:
                stack += [x for x in node.many if x.requires_grad and x.grad is not mark]
    return order, leaves, before


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
    if not isinstance(inputs, Sequence):
        raise TypeError(f"gradcheck: expected a list of the inputs of f, got {type(inputs).__name__}")
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
