"""The player: forward and backward pass of a graph as one page, to step through and to play with.

The page is a single file and needs no network. Its inputs can be dragged: it computes by the engine's own op page,
translated by `viz.player.translate`, and shows the sentences of `viz.steps`.
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from viz import files
from viz.maths.formula import formula
from viz.maths.steps import definition, gradient_name, names, tail
from viz.nodes import Copy, Node, backward_steps, copied, in_order, is_constant
from viz.picture.dot import element
from viz.picture.draw import draw
from viz.player.translate import RUNTIME, translate
from viz.theme import THEMES

__all__ = ["play"]

HERE = Path(__file__).parent
CARD = "1.3"  # inches: any number has room


def play(root: Node, path: str | os.PathLike[str], *, max_nodes: int = 300) -> Path:
    """Write the page that plays the graph of `root`, a number, to `path` (``.html``), and return `path`.

    Frames run forward from the inputs to `root` and backward again; the node that fires and its edges are lit, the
    chain rule stands beside them with its numbers. Labelled constants and all other leaves have sliders. The graph
    stays as it is.

    Raises:
        TypeError: `root` is not a node of an engine, or its graph has tensors (`viz.zoom` gives a part in numbers).
        ValueError: `path` has another suffix, `root` is a constant, or there are more than `max_nodes` nodes.
        RuntimeError: No Graphviz is found, or it failed on this graph.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"play: expected a path that ends in .html, got {str(path)!r}")
    return files.write(path, page(root, max_nodes))


def page(root: Node, max_nodes: int) -> str:
    """The page as text."""
    backward = backward_steps(root)
    nodes = in_order([root])
    if any(np.ndim(node.data) or isinstance(node.data, np.ndarray) for node in nodes):
        raise TypeError("play: expected a graph of numbers, got tensors; viz.zoom gives the numbers behind an element")
    if len(nodes) > max_nodes:
        raise ValueError(
            f"play: expected at most max_nodes={max_nodes} nodes, got {len(nodes)}; play a part, or raise it"
        )
    if is_constant(root):
        raise ValueError("play: expected a result that some input has a gradient of, got a constant")
    graph = draw(_named(nodes, root), max_nodes=max_nodes)
    graph.node_attr["width"] = CARD
    text, title = _formula(root), "Backpropagation"
    fields = {
        "title": html.escape(f"{text.splitlines()[-1][:80]} · {title}" if text else title),
        "formula": html.escape(text),
        "style": f"{_colours()}\n{_read('player.css')}",
        "svg": element(graph.source),
        "script": f"{script(root, nodes, backward)}\n{_read('player.js')}",
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda field: fields[field[1]], _read("player.html"))


def _named(nodes: list[Any], root: Node) -> Copy:
    """`root` of a copy of the graph that is labelled with the names in the maths: L, v7, w[2]."""
    called = names(nodes, root)
    copies: dict[int, Copy] = {}
    for node in nodes:
        copy = copies[id(node)] = copied(node)
        copy.inputs = [copies[id(x)] for x in node.inputs]
        name, made = called[id(node)].code.text, definition(node, called).code.text if node.op else ""
        copy.label = "" if name == made or (not node.label and is_constant(node) and not node.op) else name
    copies[id(root)].grad = 1.0  # each card has a line for its gradient
    return copies[id(root)]


def script(root: Node, nodes: list[Any], backward: Any) -> str:
    """The script that the page computes with: the runtime, the translated ops and the graph."""
    data = json.dumps(_graph(root, nodes, backward)).replace("<", "\\u003c")  # no label ends the script
    ops = {node.op.name: node.op for node in nodes if node.op is not None}
    compensated = json.dumps(sys.version_info >= (3, 12))  # how Python sums floats
    return "\n".join(
        [f"const COMPENSATED = {compensated};", RUNTIME, translate(ops.values()), f"const GRAPH = {data};"]
    )


def _graph(root: Node, nodes: list[Any], backward: Any) -> dict[str, Any]:
    index = {id(node): i for i, node in enumerate(nodes)}
    called = names(nodes, root)
    top = called[id(root)]
    return {
        "root": index[id(root)],
        "steps": [index[id(step.node)] for step in backward(root)],
        "nodes": [
            {
                "name": called[id(node)].code.text,
                "tightness": called[id(node)].code.tightness,
                "made": definition(node, called).code.text if node.op else "",
                "d": gradient_name(top, called[id(node)]).code.text,
                "tail": tail(node, called),
                "op": node.op.name if node.op else None,
                "inputs": [index[id(x)] for x in node.inputs],
                "params": getattr(node, "params", None) or {},
                "given": _given(node),
                "data": node.data,
                "constant": is_constant(node),
                "fixed": node.op is None and is_constant(node) and not node.label,
                "leaf": node.op is None and (bool(node.label) or not is_constant(node)),
            }
            for node in nodes
        ],
    }


def _given(node: Any) -> list[str]:
    """The settings of a node's op as text; a condition without its name."""
    params = getattr(node, "params", None) or {}
    return [str(value) if key == "condition" else f"{key}={value!r}" for key, value in params.items()]


def _formula(root: Node) -> str:
    try:
        return formula(root).text
    except ValueError:  # too long to read
        return ""


def _colours() -> str:
    """The colours of the pictures as variables of the page, light and dark."""
    texts = []
    for name, page, focus in (("light", "#f1f5f9", "#6d28d9"), ("dark", "#0b1120", "#c4b5fd")):
        theme = THEMES[name]
        colours = {"page": page, "focus": focus, "paper": theme.paper, "ink": theme.ink, "edge": theme.edge}
        colours |= {"still": theme.still.fill, "border": theme.still.border, "quiet": theme.still.ink}
        colours |= {"line": "#e2e8f0" if name == "light" else "#263247"}
        for sense, tint in (("up", theme.up), ("down", theme.down)):
            colours |= {sense: tint.fill, f"{sense}-border": tint.border, f"{sense}-ink": tint.ink}
        texts.append(" ".join(f"--{key}: {value};" for key, value in colours.items()))
    light, dark = texts
    return (
        f":root {{ color-scheme: light dark; {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8").rstrip()
