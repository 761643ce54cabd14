"""The player: forward and backward pass of a graph as one page, to step through and to play with.

The page is a single file and needs no network. Its inputs can be dragged: it computes by the engine's own op page,
translated by `viz.player.translate`, and shows the sentences of `viz.steps`.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import numpy as np

from viz import files
from viz.maths.formula import formula
from viz.maths.steps import definition, gradient_name, names, tail
from viz.nodes import Copy, Node, backward_steps, copied, in_order, is_constant
from viz.picture.dot import element
from viz.picture.draw import draw
from viz.player.recorded import recorded
from viz.player.translate import RUNTIME, translate
from viz.theme import THEMES
from viz.zoom import zoom

__all__ = ["PLAYER", "Player", "fill", "play", "read"]


def read(path: Path) -> str:
    """A part of the page."""
    return path.read_text(encoding="utf-8").rstrip()


HERE = Path(__file__).parent
PARTS = ("player", "address", "picture", "history", "inputs", "view", "paper")
PLAYER = "\n".join(read(HERE / f"{name}.js") for name in PARTS)
FRAME = """<iframe srcdoc='<script>
new Response(new Blob([Uint8Array.from(atob("{}"), (c) => c.charCodeAt(0))]).stream()
  .pipeThrough(new DecompressionStream("gzip"))).text().then((page) => {{
  document.open(); document.write(page); document.close();
}});
</script>' sandbox="allow-scripts allow-modals" title="Player" loading="lazy"
 style="width: 100%; height: 46rem; border: 0"></iframe>"""
WHY = "Numbers as they were computed, without sliders: this page cannot compute the op "
CARD = "1.3"  # inches: any number has room


@overload
def play(root: Node, path: None = None, *, max_nodes: int = 300) -> Player: ...
@overload
def play(root: Node, path: str | os.PathLike[str], *, max_nodes: int = 300) -> Path: ...
def play(root: Node, path: str | os.PathLike[str] | None = None, *, max_nodes: int = 300) -> Player | Path:
    """Play the graph of `root`, a number: in a notebook's cell, or in a page at `path` (``.html``), which is returned.

    Frames run forward from the inputs to `root` and backward again; the node that fires and its edges are lit, the
    chain rule stands beside them with its numbers. Labelled constants and all other leaves have sliders. The graph
    stays as it is. Tensors without axes count as numbers.

    Raises:
        TypeError: `root` is not a node of an engine, or its graph has tensors with axes (`viz.zoom` gives a part in
            numbers).
        ValueError: `path` has another suffix, `root` is a constant, or there are more than `max_nodes` nodes.
        RuntimeError: No Graphviz is found, or it failed on this graph.
    """
    if path is None:
        return Player(page(root, max_nodes))
    path = _checked(path)
    return files.write(path, page(root, max_nodes))


class Player:
    """The player of a graph: a notebook shows it in the cell, `save` makes a file of it; `html` is the page as text."""

    def __init__(self, text: str) -> None:
        self.html = text

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to `path`, return `path`. Raises ValueError if it does not end in ``.html``."""
        return files.write(_checked(path), self.html)

    def _repr_html_(self) -> str:
        packed = gzip.compress(self.html.encode(), mtime=0)  # a fifth: notebooks stay small
        return FRAME.format(base64.b64encode(packed).decode())


def _checked(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"play: expected a path that ends in .html, got {str(path)!r}")
    return path


def page(root: Node, max_nodes: int) -> str:
    """The page as text."""
    backward_steps(root)  # refuses what is no node
    nodes = in_order([root])
    if isinstance(root.data, np.ndarray) and not any(np.ndim(node.data) for node in nodes):
        root = zoom(root)
        nodes = in_order([root])
    backward = backward_steps(root)
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
    computing, why = script(root, nodes, backward)
    why = f'\n  <p class="why">{html.escape(WHY + why)}</p>' if why else ""
    return fill(
        {
            "title": html.escape(f"{text.splitlines()[-1][:80]} · {title}" if text else title),
            "heading": "Backpropagation, one node at a time",
            "header": f'  <pre id="formula" tabindex="0" aria-label="Formula">{html.escape(text)}</pre>{why}',
            "style": "",
            "svg": element(graph.source),
            "tools": "",
            "charts": "",
            "help": "",
            "panels": "",
            "script": f"{computing}\n{PLAYER}\n{read(HERE / 'start.js')}",
        }
    )


def fill(fields: Mapping[str, str]) -> str:
    """The player's page with these fields; to `style` the colours and the player's own are added."""
    fields = {**fields, "style": "\n".join(filter(None, [_colours(), read(HERE / "player.css"), fields["style"]]))}
    return re.sub(r"\{\{(\w+)\}\}", lambda field: fields[field[1]], read(HERE / "player.html"))


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


def script(root: Node, nodes: list[Any], backward: Any) -> tuple[str, str]:
    """The script that the page computes with: the runtime, the translated ops and the graph.

    Where an op has no translation, the graph brings both passes as they were computed, and no sliders; the reason is
    returned, too.
    """
    graph, why = _graph(root, nodes, backward), ""
    tested = in_order([x for node in nodes if (test := _condition(node)) is not None for x in (test.x, test.y)])
    ops = {node.op.name: node.op for node in (*nodes, *tested) if node.op is not None}
    try:
        table = translate(ops.values())
    except ValueError as reason:
        table, why = "const OPS = {};", str(reason).removeprefix("translate: ")
        graph["recorded"] = recorded(root, nodes)
        for node in graph["nodes"]:
            node["leaf"] = False
    data = json.dumps(graph).replace("<", "\\u003c")  # no label ends the script
    compensated = json.dumps(sys.version_info >= (3, 12))  # how Python sums floats
    return "\n".join([f"const COMPENSATED = {compensated};", RUNTIME, table, f"const GRAPH = {data};"]), why


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
                "params": _settings(node),
                "given": _given(node),
                "condition": _comparison(node, index),
                "data": node.data,
                "constant": is_constant(node),
                "fixed": node.op is None and is_constant(node) and not node.label,
                "leaf": node.op is None and (bool(node.label) or not is_constant(node)),
            }
            for node in nodes
        ],
    }


def _settings(node: Any) -> dict[str, Any]:
    params = getattr(node, "params", None) or {}
    return {key: bool(value) if key == "condition" else value for key, value in params.items()}


def _condition(node: Any) -> Any:
    """The comparison that a `where` was typed with; None for a bool, which tells nothing."""
    condition = (getattr(node, "params", None) or {}).get("condition")
    return condition if hasattr(condition, "sign") else None


def _comparison(node: Any, index: Mapping[int, int]) -> dict[str, Any] | None:
    """A condition that the page can try again: its operands are nodes by number, plain numbers, or ops on operands."""

    def operand(x: Any) -> Any:
        if id(x) in index:
            return index[id(x)]
        if x.op is None:
            return {"value": x.data}
        settings = [_settings(x)[key] for key in x.op.defaults]
        return {"op": x.op.name, "inputs": [operand(each) for each in x.inputs], "settings": settings}

    test = _condition(node)
    return None if test is None else {"sign": test.sign, "x": operand(test.x), "y": operand(test.y)}


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
        right = ("#bbe7c8", "#1f8a4c", "#14532d") if name == "light" else ("#14532d", "#4ade80", "#bbf7d0")
        colours |= dict(zip(("right", "right-border", "right-ink"), right, strict=True))
        for sense, tint in (("up", theme.up), ("down", theme.down), ("alarm", theme.alarm)):
            colours |= {sense: tint.fill, f"{sense}-border": tint.border, f"{sense}-ink": tint.ink}
        texts.append(" ".join(f"--{key}: {value};" for key, value in colours.items()))
    light, dark = texts
    return "\n".join(
        [
            f":root {{ color-scheme: light dark; {light} }}",
            f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
            f":root[data-theme=light] {{ color-scheme: light; {light} }}",
            f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}",
            f"@media print {{ :root, :root[data-theme] {{ color-scheme: light; {light} }} }}",
        ]
    )
