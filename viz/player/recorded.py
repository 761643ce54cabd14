"""Both passes of a graph as they were computed, frame by frame: what a page plays that cannot compute itself."""

from __future__ import annotations

from typing import Any

from viz.maths.notation import code, decimal, numeral, stated
from viz.maths.steps import names, steps
from viz.maths.symbolic import constant
from viz.nodes import is_constant

__all__ = ["recorded"]


def recorded(root: Any, nodes: list[Any]) -> dict[str, Any]:
    """Return what `run` in runtime.js returns: values, gradients and frames."""
    index = {id(node): i for i, node in enumerate(nodes)}
    called = names(nodes, root)
    frames: list[dict[str, Any]] = [{"phase": "start", "node": None, "lines": [], "touched": []}]
    for i, node in enumerate(nodes):
        if node.op is not None:
            filled = [constant(x.data).code if _is_fixed(x) else numeral(x.data) for x in node.inputs]
            made = code(node.op.name, filled, stated(getattr(node, "params", None))).text
            line = f"{called[id(node)].code.text} = {made} = {decimal(node.data)}"
            touched = [index[id(x)] for x in node.inputs]
            frames.append(
                {"phase": "forward", "node": i, "lines": [line], "touched": touched, "values": {i: node.data}}
            )
    gradients = [0.0] * len(nodes)
    for step in steps(root):
        i, given = index[id(step.node)], step.contributions
        gradients[i] = step.gradient
        frames.append(
            {
                "phase": "backward",
                "node": i,
                "sentence": step.sentence,
                "lines": [each.text for each in given],
                "amounts": [each.amount for each in given],
                "touched": [index[id(each.node)] for each in given],
                "gradient": step.gradient,
                "totals": {index[id(each.node)]: each.total for each in given},
            }
        )
    return {"values": [node.data for node in nodes], "gradients": gradients, "frames": frames}


def _is_fixed(node: Any) -> bool:
    """Whether a node is a plain number, which has no name."""
    return node.op is None and is_constant(node) and not node.label
