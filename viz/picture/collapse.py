"""Collapsing: named parts of a graph, each drawn as one card.

A part consists of the nodes whose labels match a pattern, and of all nodes that only these use.
"""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from viz.maths.letters import normal
from viz.nodes import Copy, Node, copied, gradient, is_constant

__all__ = ["Part", "collapse"]


class Part(NamedTuple):
    """The op of a collapsed part, written f(x, y)."""

    name: str = "f"


def collapse(roots: Sequence[Node], order: Sequence[Node], patterns: Sequence[str] | Mapping[str, str]) -> list[Node]:
    """Return the roots of the same graph with its parts collapsed; `order` lists all nodes, inputs before their users.

    With a sequence of patterns (``"h*"``) each match becomes a card of its own; with a mapping from titles to patterns
    all matches become one card with that title.

    Raises ValueError for a pattern without a match, and for a part whose result flows back into it.
    """
    ends = _ends(order, patterns)
    home: dict[int, str] = {}  # the part that each collapsed node belongs to, under the name of its first end
    users: dict[int, set[str | None]] = {id(root): {None} for root in roots}
    for node in reversed(order):
        homes = users.get(id(node), set())
        part = ends.get(id(node)) or (homes.copy().pop() if len(homes) == 1 else None)
        if part:
            home[id(node)] = part
        for source in node.inputs:
            users.setdefault(id(source), set()).add(part)

    members: dict[str, list[Node]] = {}
    for node in order:
        if id(node) in home:
            members.setdefault(home[id(node)], []).append(node)
    parts = {part: _part(part, nodes, ends) for part, nodes in members.items()}
    copies = {id(node): parts[home[id(node)]] if id(node) in home else copied(node) for node in order}
    distinct = {id(copy): copy for copy in copies.values()}
    for copy in distinct.values():
        sources = [copies[id(source)] for source in copy.inputs]
        if isinstance(copy.op, Part):  # each source once, and no node of the part itself
            sources = list({id(x): x for x in sources if x is not copy}.values())
            copy.op = copy.op if sources else None
        copy.inputs = sources
    try:
        graphlib.TopologicalSorter({key: [id(x) for x in copy.inputs] for key, copy in distinct.items()}).prepare()
    except graphlib.CycleError as error:
        names = ", ".join(repr(distinct[key].label) for key in error.args[1] if distinct[key].label)
        raise ValueError(f"draw: a collapsed part feeds itself; collapse what lies between as well: {names}") from None
    return list({id(copies[id(root)]): copies[id(root)] for root in roots}.values())


def _ends(order: Sequence[Node], patterns: Sequence[str] | Mapping[str, str]) -> dict[int, str]:
    """For each node that ends a part, the name of that part: a title, or one of its own."""
    ends: dict[int, str] = {}
    titled = patterns if isinstance(patterns, Mapping) else dict(zip(patterns, patterns, strict=True))
    for title, pattern in titled.items():
        matches = [node for node in order if node.label and fnmatchcase(normal(node.label), normal(pattern))]
        if not matches:
            raise ValueError(f"draw: expected collapse to name labels, found no label like {pattern!r}")
        for node in matches:
            ends.setdefault(id(node), title if isinstance(patterns, Mapping) else f"{id(node)}")
    return ends


def _part(title: str, nodes: Sequence[Node], ends: Mapping[int, str]) -> Copy:
    """The card of a part; its inputs are still those of all `nodes`."""
    last = [node for node in nodes if id(node) in ends]
    if len(nodes) == 1:
        return copied(nodes[0])
    card = copied(last[0])
    if title != str(id(last[0])):
        card.label = title
    if len(last) > 1:
        card.data = np.concatenate([np.ravel(x.data) for x in last])
        grads = [gradient(x) for x in last]
        card.grad = None if any(g is None for g in grads) else np.concatenate([np.ravel(g) for g in grads])
        card.requires_grad = not all(map(is_constant, last))
    card.op, card.params, card.inputs = Part(), None, [source for node in nodes for source in node.inputs]
    return card
