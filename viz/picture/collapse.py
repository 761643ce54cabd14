"""Collapsing: named parts of a graph, each drawn as one card.

A part consists of the nodes whose labels match a pattern, and of all nodes that only these use; or it is a layer of a
network, with its parameters.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from viz.maths.letters import normal
from viz.nodes import Copy, Node, copied, gradient, is_constant

__all__ = ["Layers", "Part", "Patterns", "collapse", "fold"]

Patterns = Sequence[str] | Mapping[str, str]
PARAMETER = re.compile(r"(?:(?P<layer>.+)\.)?(?P<name>\w+)(?:\[(?:\d+,)*(?P<last>\d+)\])?")
ALONE = {"weight", "bias", "recurrent", "recurrent_bias"}  # parameters of a layer that is in no other
FEW = 6  # inputs of a layer that are drawn one by one


class Part(NamedTuple):
    """The op of a collapsed part, written f(x, y)."""

    name: str = "f"


def collapse(roots: Sequence[Node], order: Sequence[Node], patterns: Patterns, names: Mapping[int, str]) -> list[Node]:
    """Return the roots of the same graph with its parts collapsed; `order` lists all nodes, inputs before their users,
    and `names`, by id, are for nodes without a label.

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
    return _collapsed(roots, order, home, ends, names)


class Layers(NamedTuple):
    """What to fold: the layers of `models`, of an engine's `nn`, or without any all in the graph; or their neurons, if
    they are not more than so many."""

    models: Sequence[Any] = ()
    neurons: int = 0


def fold(roots: Sequence[Node], order: Sequence[Node], layers: Layers, names: Mapping[int, str]) -> list[Node]:
    """Return the roots of the same graph with its layers folded, each a card, or each of their neurons.

    A layer's nodes are those that take its parameters, which its labels tell ("hidden.weight[2,1]"), and the ops of one
    input that follow: the activation. Many inputs of the network become one card.

    Raises ValueError when there is nothing to fold, and when the result of a layer flows back into it.
    """
    named = {id(p) for model in layers.models for nest in model.named().values() for p in _flat(nest)}
    home: dict[int, str] = {}
    for node in order:
        if node.op is None:
            layer = _layer(node.label, layers.neurons > 0)
            if layer and (id(node) in named if layers.models else not is_constant(node)):
                home[id(node)] = layer
            continue
        above = {home[id(x)] for x in node.inputs if id(x) in home}
        owners = {home[id(x)] for x in node.inputs if id(x) in home and x.op is None}
        if len(owners) == 1 or (len(above) == 1 and len(node.inputs) == 1):
            home[id(node)] = (owners or above).pop()
    if not home:
        raise ValueError("draw: expected layers whose parameters are in the graph, found none to fold")
    if layers.neurons and len(set(home.values())) > layers.neurons:
        raise ValueError(f"draw: expected at most {layers.neurons} neurons to fold, found more")
    outside = {id(root) for root in roots}
    for node in order:
        outside |= {id(x) for x in node.inputs if home.get(id(x)) != home.get(id(node))}
    ends = {key: part for key, part in home.items() if key in outside}
    inputs = _inputs(order, home)
    return _collapsed(roots, order, home | inputs, ends | inputs, names)


def _inputs(order: Sequence[Node], home: Mapping[int, str]) -> dict[int, str]:
    """The constants that only folded parts use, where these are many: by what they are called together."""
    users: dict[int, set[str | None]] = {}
    for node in order:
        for x in node.inputs:
            users.setdefault(id(x), set()).add(home.get(id(node)))
    leaves = [x for x in order if x.op is None and is_constant(x) and None not in users.get(id(x), {None})]
    groups: dict[frozenset[str], list[Node]] = {}
    for leaf in leaves:
        layers = frozenset(str(part).partition("[")[0] for part in users[id(leaf)])
        groups.setdefault(layers, []).append(leaf)
    many = [group for group in groups.values() if len(group) > FEW]
    titles = [f"{len(group):,} inputs{' ' * (k > 0)}{k + 1 if k else ''}" for k, group in enumerate(many)]
    return {id(leaf): title for title, group in zip(titles, many, strict=True) for leaf in group}


def _layer(label: str, neurons: bool) -> str:
    """The layer that a parameter of this label belongs to: hidden for hidden.weight[2,1], and the neuron, hidden[1]."""
    found = PARAMETER.fullmatch(label)
    if not found or not (found["layer"] or (found["last"] and found["name"] in ALONE)):
        return ""
    layer = found["layer"] or "layer"
    layer = f"layer {layer}" if layer.isdecimal() else layer
    return f"{layer}[{found['last']}]" if neurons and found["last"] else layer


def _flat(nest: Any) -> list[Any]:
    """The parameters in lists in lists."""
    return [p for part in nest for p in _flat(part)] if isinstance(nest, (list, tuple)) else [nest]


def _collapsed(
    roots: Sequence[Node],
    order: Sequence[Node],
    home: Mapping[int, str],
    ends: Mapping[int, str],
    names: Mapping[int, str],
) -> list[Node]:
    """The roots of the graph in which the nodes of each part, by `home`, are one; its results are in `ends`."""
    members: dict[str, list[Node]] = {}
    for node in order:
        if id(node) in home:
            members.setdefault(home[id(node)], []).append(node)
    parts = {part: _part(part, nodes, ends) for part, nodes in members.items()}
    copies = {
        id(node): parts[home[id(node)]] if id(node) in home else copied(node, names.get(id(node), "")) for node in order
    }
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
        circle = ", ".join(repr(distinct[key].label) for key in error.args[1] if distinct[key].label)
        raise ValueError(f"draw: a collapsed part feeds itself; collapse what lies between as well: {circle}") from None
    return list({id(copies[id(root)]): copies[id(root)] for root in roots}.values())


def _ends(order: Sequence[Node], patterns: Patterns) -> dict[int, str]:
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
