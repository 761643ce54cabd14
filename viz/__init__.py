"""Pictures of a computation: its values, its gradients, and its backward pass step by step.

>>> import viz
>>> from scalar import Value
>>> a, b, c = Value(2, label="a"), Value(-3, label="b"), Value(10, label="c")
>>> result = (a * b + c).tanh()
>>> result.backward()
>>> picture = viz.render(result, "tanh.png")  # doctest: +SKIP
>>> viz.svg(viz.draw(result, theme="dark", local_derivatives=True))[:4]
'<svg'

Nodes of either engine are drawn. In a notebook they show themselves once `viz` is imported.

draw, render, svg      the graph as a picture
overview               what a notebook shows of it: of a large network its layers
steps                  the backward pass one node at a time, in words and maths
formula, derivative    the formula of a graph, and the chain rule as a sum over paths
play                   forward and backward pass in a cell or as a page, with inputs to drag
zoom                   the numbers behind one element of a tensor

On the command line: python -m viz "tanh(a*b + c)" a=2 b=-3 c=10
"""

from viz.maths.formula import Formula, derivative, formula
from viz.maths.steps import Frame, steps
from viz.nodes import Node
from viz.picture.draw import draw, overview
from viz.picture.render import render, svg
from viz.player.page import Player, play
from viz.zoom import zoom

__all__ = [
    "Formula",
    "Frame",
    "Node",
    "Player",
    "derivative",
    "draw",
    "formula",
    "overview",
    "play",
    "render",
    "steps",
    "svg",
    "zoom",
]
