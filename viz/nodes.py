"""Nodes of either engine as viz reads them: the graph in order, gradients, and what an op computes.

viz imports no engine to draw. A node is anything with the attributes of `Node`; what viz asks of an op stands in the
last section of this page, and nowhere else.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = [
    "Copy",
    "Node",
    "apply_rules",
    "arity",
    "backward_steps",
    "copied",
    "evaluate",
    "gradient",
    "has_rules",
    "in_order",
    "is_constant",
    "norm",
    "variables",
]


class Node(Protocol):
    """What a picture needs to know of a node, be it one number or a tensor."""

    @property
    def data(self) -> Any: ...
    @property
    def grad(self) -> Any: ...
    @property
    def op(self) -> Any: ...
    @property
    def inputs(self) -> Sequence[Any]: ...
    @property
    def label(self) -> str: ...


@dataclass(eq=False)
class Copy:
    """A node that can get other inputs; the graph that was given stays as it is."""

    data: Any
    grad: Any
    op: Any
    inputs: Sequence[Any]
    label: str
    params: Any
    requires_grad: bool


def copied(node: Node, label: str = "") -> Copy:
    """A copy; `label` is for a node that has none."""
    params, inputs = getattr(node, "params", None), list(node.inputs)
    return Copy(node.data, gradient(node), node.op, inputs, node.label or label, params, not is_constant(node))


def variables() -> dict[int, str]:
    """Names for nodes without a label, by id: those of the variables that hold them in the notebook, the prompt or the
    program that runs. Names that begin with ``_``, as a notebook's last results have, do not count.
    """
    main = vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}
    held = [(name, x) for name, x in list(main.items()) if all(hasattr(type(x), part) for part in ("inputs", "label"))]
    return {id(x): name for name, x in reversed(held) if not name.startswith("_")}


def is_constant(node: Node) -> bool:
    """Whether no gradient is wanted here; a node without `requires_grad` wants one."""
    return not getattr(node, "requires_grad", True)


def gradient(node: Node) -> Any:
    """The gradient, or None where the engine has none to show (a recorded step may have used it up)."""
    try:
        return node.grad
    except RuntimeError:
        return None


def norm(array: Any) -> float:
    """The Euclidean norm of a number or an array, without overflow on the way."""
    sizes = np.abs(np.asarray(array, dtype=np.float64)).ravel()
    largest = float(sizes.max(initial=0.0))
    return largest * float(np.linalg.norm(sizes / largest)) if 0 < largest < math.inf else largest


def in_order(roots: Sequence[Node], kept: set[int] | None = None) -> list[Node]:
    """The kept nodes (or all), each after its inputs, first inputs first: the same order for the same graph."""
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(node, False) for node in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen and (kept is None or id(node) in kept):
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((source, False) for source in reversed(node.inputs))
    return order


def backward_steps(root: Node) -> Callable[[Any], Iterator[Any]]:
    """The generator of that name from the package of the engine that made `root`.

    So viz shows the very steps that `backward` takes. Raises TypeError if `root` is not a node of an engine.
    """
    for kind in type(root).__mro__:
        package = sys.modules.get(kind.__module__.partition(".")[0])
        if found := getattr(package, "backward_steps", None):
            return found
    raise TypeError(f"steps: expected a node of scalar or vector, got {type(root).__name__}")


# --- ops ------------------------------------------------------------------------------------------------------------


def arity(op: Any) -> int | None:
    """How many inputs an op takes; None for an op over a sequence, and for a function that is not an op."""
    return None if getattr(op, "over", False) else len(getattr(op, "rules", ())) or None


def evaluate(op: Any, xs: Sequence[Any], params: dict[str, Any] | None) -> Any:
    """The op's value at plain numbers, or at arrays and numbers, which then count as arrays, too."""
    arrays = any(hasattr(x, "dtype") for x in xs)
    return op.value([np.asarray(x) for x in xs] if arrays else xs, params or {})


def has_rules(op: Any) -> bool:
    """Whether an op has derivatives; a collapsed part of a graph has none."""
    return hasattr(op, "gradients")


def apply_rules(
    op: Any, g: Any, out: Any, xs: Sequence[Any], params: dict[str, Any] | None, needed: Sequence[bool]
) -> list[Any]:
    """What the op's derivatives make of an upstream gradient, for each input; None where it is not needed.

    `g`, `out` and `xs` are numbers, arrays or `Symbolic` alike, and so is the result.
    """
    return op.gradients(g, out, xs, params or {}, needed)
