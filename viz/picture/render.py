"""From a graph to a picture, as a file or as an element of a page."""

import os
from collections.abc import Sequence
from pathlib import Path

import graphviz

from viz import files
from viz.maths.document import document
from viz.nodes import Node
from viz.picture import dot
from viz.picture.draw import draw

__all__ = ["render", "svg"]

XML = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'


def render(graph: graphviz.Digraph | Node | Sequence[Node], path: str | os.PathLike[str]) -> Path:
    """Write the picture of `graph` (what `draw` returned, or what it takes) to `path`, and return `path`.

    The suffix names the format: ``.svg``, ``.png``, ``.pdf``, or ``.tex`` for the formula of a node and every step of
    its backward pass as a LaTeX document. The file appears whole or not at all.

    Raises:
        ValueError: `path` has another suffix, or a drawing or several nodes are to become maths.
        RuntimeError: No Graphviz is found, it failed on this graph, or it took longer than a minute.
    """
    path = Path(path)
    form = path.suffix.lower().removeprefix(".")
    if form == "tex":
        if isinstance(graph, (graphviz.Digraph, list, tuple)):
            raise ValueError(f"render: expected one node to write as maths, got {type(graph).__name__}")
        return files.write(path, document(graph))  # type: ignore[arg-type]
    if form not in dot.FORMATS:
        raise ValueError(f"render: expected a path that ends in .svg, .png, .pdf or .tex, got {str(path)!r}")
    if form == "svg":
        return files.write(path, XML + dot.tidy(dot.element(_source(graph))))
    return files.write(path, dot.image(_source(graph), form))


def svg(graph: graphviz.Digraph | Node | Sequence[Node]) -> str:
    """Return the picture of `graph` as an ``<svg>`` element, to put into a page.

    Where there is no picture (too many nodes, no Graphviz), the element holds the sentence that says why: a notebook
    that only wanted to show a node should not end in a traceback.
    """
    try:
        return dot.tidy(dot.element(_source(graph)))
    except (ValueError, RuntimeError) as reason:
        return dot.sentence(str(reason))


def _source(graph: graphviz.Digraph | Node | Sequence[Node]) -> str:
    return graph.source if isinstance(graph, graphviz.Digraph) else draw(graph).source
