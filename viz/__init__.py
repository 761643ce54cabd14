"""Pictures of a computation: what went in, what came out, and what the backward pass brought to each step.

>>> import viz
>>> from scalar import Value
>>> a, b, c = Value(2, label="a"), Value(-3, label="b"), Value(10, label="c")
>>> result = (a * b + c).tanh()
>>> result.backward()
>>> picture = viz.render(result, "tanh.png")  # doctest: +SKIP
>>> viz.svg(viz.draw(result, theme="dark", local_derivatives=True))[:4]
'<svg'

Nodes of either engine are drawn. In a notebook they show themselves once `viz` is imported.
"""

from viz.formulas import Formula, derivative, formula
from viz.frames import Frame, steps
from viz.graph import Node, draw
from viz.player import play
from viz.rendering import render, svg

__all__ = ["Formula", "Frame", "Node", "derivative", "draw", "formula", "play", "render", "steps", "svg"]
