"""The picture of a computation: a card for every node with its value and gradient, an edge for every use.

Nodes of either engine are drawn. The graph is read only, and never by recursion.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from viz.maths.notation import number
from viz.nodes import Node, apply_rules, gradient, has_rules, in_order, is_constant, norm, variables
from viz.picture.cards import Caption, aside, captions, card
from viz.picture.collapse import Layers, Patterns, fold
from viz.picture.collapse import collapse as collapsed
from viz.picture.dot import CELL, Picture, element, sentence, tidy
from viz.theme import THEMES, Theme

__all__ = ["deepest", "draw", "overview"]

FONT = "DejaVu Sans,Verdana,Helvetica,Arial,sans-serif"  # the widest first: what a page has instead, fits too

LARGE = 2000  # ranks that edges span, taken together; beyond, a rougher layout keeps Graphviz to seconds
HUGE = 5000  # beyond, even that takes minutes: nodes are placed here, and Graphviz only draws
ROUGH = {"splines": "line", "nslimit": "0.1", "nslimit1": "0.1", "mclimit": "0.01"}

CARDS = 60  # of a graph in a notebook's cell
LABEL = {"fontname": FONT, "fontsize": "9"}

Places = Mapping[int, tuple[float, float]]  # in points, by the id of a node


def draw(
    root: Node | Sequence[Node],
    *,
    rankdir: str = "LR",
    gradients: bool = True,
    local_derivatives: bool = False,
    depth: int | None = None,
    collapse: Any = (),
    theme: str = "light",
    max_nodes: int = 500,
) -> Picture:
    """Draw the graph that ends in `root`, to look at, to save or to `viz.render`.

    A card shows the expression, the value and the gradient of a node. Blue: more of it raises the result; orange: more
    of it lowers the result; a shade paler for each power of ten below the strongest. What is not finite is red and
    marked. Constants have small grey print and no frame. Small tensors show their numbers, others shape, dtype and
    Euclidean norm; where their gradient has both signs the tint is grey. The same graph gives the same bytes.

    Args:
        root: The node to start from, or a list of nodes.
        rankdir: The direction of the forward pass: ``"LR"``, ``"TB"``, ``"RL"`` or ``"BT"``.
        gradients: Whether to show gradients; as long as all are zero, before a backward pass, they are left out.
        local_derivatives: Whether to write on each edge, after ``∂``, the derivative of its end by its start:
            the factor of the backward pass (between numbers; that of a tensor is too large to write).
        depth: Draw only the nodes within so many steps of a root; a dotted ``…`` stands for the rest.
        collapse: A model, or a list of its layers: each layer becomes one card. Or labels, or patterns like ``"h*"``:
            each match becomes one card, with all nodes that only it uses. A mapping ``{"hidden layer": "h*"}`` draws
            all matches as one card with that title.
        theme: ``"light"`` or ``"dark"``.
        max_nodes: The most nodes to draw.

    Raises:
        TypeError: `root` is neither a node nor a list of nodes.
        ValueError: An argument has a value not named here, or there are more than `max_nodes` nodes to draw.
    """
    _check_options(theme, rankdir, depth)
    roots = _checked_roots(root)
    names = variables()
    if collapse:
        roots = _collapsed(roots, collapse, names)
    nodes = in_order(roots, _within(roots, depth, max_nodes))
    ranks = _ranks(nodes)
    span = _span(nodes, ranks)
    places = _places(nodes, ranks, rankdir) if span > HUGE else {}
    graph = _canvas(rankdir, span, local_derivatives, THEMES[theme])
    _add_cards(graph, nodes, captions(nodes, names), roots, places, gradients, THEMES[theme])
    _add_edges(graph, nodes, places, local_derivatives, THEMES[theme])
    graph.smaller = lambda note: overview(root, note, theme)
    return graph


def overview(root: Node | Sequence[Node], note: str = "", theme: str = "light") -> str:
    """Return a picture of the graph of `root` that a notebook's cell can hold, as an ``<svg>`` element; so notebooks
    show nodes. `note` is a line to write below it.

    It is the whole graph where that has at most 60 nodes; else its layers are folded to their neurons, or to one card
    each, and what is still too large is cut off some steps from `root`.
    """
    roots = _checked_roots(root)
    ways: list[dict[str, Any]] = [{}, {"collapse": Layers(neurons=CARDS)}, {"collapse": Layers()}]
    for options in [*ways, {"depth": deepest(roots, CARDS)}, {"depth": 0}]:
        try:
            graph = draw(roots, theme=theme, max_nodes=CARDS, **options)
            graph.graph_attr.update({"label": note, **LABEL, "fontcolor": THEMES[theme].still.ink} if note else {})
            picture = tidy(element(graph.source))
        except ValueError:  # too many nodes, no layers, or one that feeds itself
            continue
        except RuntimeError as reason:
            return sentence(str(reason))
        if len(picture) <= CELL:
            return picture
    return sentence(f"draw: {len(roots):,} nodes are too many for a cell; viz.render writes them to a file")


def _check_options(theme: str, rankdir: str, depth: int | None) -> None:
    if theme not in THEMES:
        raise ValueError(f"draw: expected theme 'light' or 'dark', got {theme!r}")
    if rankdir not in ("LR", "TB", "RL", "BT"):
        raise ValueError(f"draw: expected rankdir 'LR', 'TB', 'RL' or 'BT', got {rankdir!r}")
    if depth is not None and depth < 0:
        raise ValueError(f"draw: expected a depth of 0 or more steps, or None for all, got {depth}")


def _checked_roots(root: Node | Sequence[Node]) -> list[Node]:
    roots: list[Node] = list(root) if isinstance(root, (list, tuple)) else [root]  # type: ignore[list-item]
    for node in roots:
        if not all(hasattr(node, name) for name in ("data", "op", "inputs", "label")):
            raise TypeError(f"draw: expected a node or a list of nodes, got {type(node).__name__}")
    return roots


def _collapsed(roots: Sequence[Node], collapse: Any, names: Mapping[int, str]) -> list[Node]:
    """The roots of the graph with its layers, or what matches labels, collapsed."""
    order = in_order(roots)
    if isinstance(collapse, Layers):
        return fold(roots, order, collapse, names)
    given = [collapse] if isinstance(collapse, str) or hasattr(collapse, "named") else collapse
    if not isinstance(given, Mapping) and all(hasattr(each, "named") for each in given):
        return fold(roots, order, Layers(given), names)
    patterns: Patterns = given
    return collapsed(roots, order, patterns, names)


def _canvas(rankdir: str, span: int, labels: bool, theme: Theme) -> Picture:
    """An empty graph with the settings that all cards and edges share."""
    text = {"fontname": FONT, "fontcolor": theme.ink, "fontsize": "11"}
    quiet = {"fontname": FONT, "fontcolor": theme.still.ink, "fontsize": "9"}
    box = {"shape": "box", "style": "rounded,filled", "margin": "0.14,0.07", "width": "0.3", "height": "0.3"}
    fine = {"ordering": "in"}  # operands from the top down as in the formula
    layout = ROUGH | {"layout": "nop"} if span > HUGE else ROUGH if span > LARGE else fine
    space = {"pad": "0.2", "nodesep": "0.18", "ranksep": "0.6" if labels else "0.4"} | layout
    return Picture(
        graph_attr={"rankdir": rankdir, "bgcolor": theme.paper} | space,
        node_attr=text | box,
        edge_attr=quiet | {"color": theme.edge, "arrowsize": "0.6"},
    )


def _add_cards(
    graph: Picture,
    nodes: Sequence[Node],
    captions: Sequence[Caption],
    roots: Sequence[Node],
    places: Places,
    gradients: bool,
    theme: Theme,
) -> None:
    """Draw a card for each node, n0, n1, ... in this order; those of the roots have a thick border."""
    strongest = _strongest(nodes) if gradients else None
    ends = {id(node) for node in roots}
    for i, (node, caption) in enumerate(zip(nodes, captions, strict=True)):
        drawn = aside(node, caption, theme) if is_constant(node) else card(node, caption, theme, strongest)
        if id(node) in ends:
            drawn["penwidth"] = "2"
        if places:
            drawn["pos"] = "{},{}".format(*places[id(node)])
        graph.node(f"n{i}", **drawn)


def _strongest(nodes: Sequence[Node]) -> float | None:
    """The norm of the strongest finite gradient; None where all are zero: no backward pass has reached these nodes."""
    found = (gradient(node) for node in nodes if not is_constant(node))
    norms = [norm(grad) for grad in found if grad is not None]
    return max(filter(math.isfinite, norms), default=0.0) if any(norms) else None


def _add_edges(graph: Picture, nodes: Sequence[Node], places: Places, local_derivatives: bool, theme: Theme) -> None:
    """Draw an edge for each use; a dotted one stands for inputs that are not drawn."""
    names = {id(node): f"n{i}" for i, node in enumerate(nodes)}
    straight = _spine(nodes)
    for node in nodes:
        name = names[id(node)]
        slopes = _slopes(node) if local_derivatives else [None] * len(node.inputs)
        for i, (source, slope) in enumerate(zip(node.inputs, slopes, strict=True)):
            if id(source) in names:
                more = {"style": "dashed"} if is_constant(source) else {}
                more |= {"weight": "20"} if straight.get(id(node)) == i else {}
                graph.edge(names[id(source)], name, slope, **more)
        if any(id(source) not in names for source in node.inputs):
            more = {"pos": "{},{}".format(*np.subtract(places[id(node)], 60))} if places else {}
            graph.node(f"{name}_cut", "…", shape="plaintext", style="", fontcolor=theme.still.ink, **more)
            graph.edge(f"{name}_cut", name, style="dotted")


def _spine(nodes: Sequence[Node]) -> dict[int, int]:
    """Which input of each node on the longest path lies on that path too; the path is drawn as a straight line."""
    depth: dict[int, int] = {}
    for node in nodes:
        depth[id(node)] = 1 + max([depth.get(id(x), 0) for x in node.inputs], default=0)
    spine: dict[int, int] = {}
    node = max(nodes, key=lambda node: depth[id(node)])
    while node.inputs:
        place = max(range(len(node.inputs)), key=lambda i: depth.get(id(node.inputs[i]), 0))
        spine[id(node)] = place
        node = node.inputs[place]
        if id(node) not in depth:
            break
    return spine


def deepest(roots: Sequence[Node], most: int) -> int:
    """How many steps from the roots there are at most `most` nodes."""
    ring = {id(node): node for node in roots}
    found, steps = set(ring), 0
    while ring:
        ring = {id(x): x for node in ring.values() for x in node.inputs if id(x) not in found}
        found |= ring.keys()
        if len(found) > most:
            break
        steps += 1
    return steps


def _within(roots: Sequence[Node], depth: int | None, max_nodes: int) -> set[int]:
    """The ids of all nodes at most `depth` steps from a root."""
    ring = {id(node): node for node in roots}
    found, steps = dict(ring), 0
    while ring and steps != depth and len(found) <= max_nodes:
        ring = {id(x): x for node in ring.values() for x in node.inputs if id(x) not in found}
        found |= ring
        steps += 1
    if len(found) > max_nodes:
        part = f"draw the part near the root with depth={steps - 1}" if steps else "draw fewer roots"
        raise ValueError(f"draw: the graph has more than max_nodes={max_nodes} nodes; {part}, or raise max_nodes")
    return set(found)


def _ranks(nodes: Sequence[Node]) -> dict[int, int]:
    """How many steps from the beginning each node is drawn; a leaf one step before the first of its users."""
    inner = [node for node in nodes if node.inputs]
    ranks: dict[int, int] = {}
    for node in inner:
        ranks[id(node)] = 1 + max([ranks.get(id(x), 0) for x in node.inputs], default=0)
    for node in inner:
        for x in node.inputs:
            if not x.inputs:
                ranks[id(x)] = min(ranks.get(id(x), ranks[id(node)]), ranks[id(node)] - 1)
    return ranks


def _span(nodes: Sequence[Node], ranks: Mapping[int, int]) -> int:
    """How many ranks the edges between `nodes` span, taken together: what Graphviz's work grows with."""
    edges = ((node, x) for node in nodes for x in node.inputs if id(x) in ranks)
    return sum(ranks[id(node)] - ranks[id(x)] for node, x in edges)


def _places(nodes: Sequence[Node], ranks: Mapping[int, int], rankdir: str) -> Places:
    """Where to draw each node, in points: rank by rank, within a rank in the order of their inputs' places.

    A rough layout in no time, for graphs that Graphviz would take minutes for.
    """
    rows: dict[int, list[Node]] = {}
    for node in nodes:
        rows.setdefault(ranks.get(id(node), 0), []).append(node)
    across: dict[int, float] = {}
    for rank in sorted(rows):
        means = {}
        for k, node in enumerate(rows[rank]):
            known = [across[id(x)] for x in node.inputs if id(x) in across]
            means[id(node)] = sum(known) / len(known) if known else float(k)
        row = sorted(rows[rank], key=lambda node: means[id(node)])
        gap = 64.0 if rankdir in ("LR", "RL") else 200.0
        across |= {id(node): gap * (k - (len(row) - 1) / 2) for k, node in enumerate(row)}
    places = {}
    for node in nodes:
        along, aside = ranks.get(id(node), 0) * (220.0 if rankdir in ("LR", "RL") else 90.0), -across[id(node)]
        places[id(node)] = {"LR": (along, aside), "RL": (-along, aside), "TB": (-aside, -along), "BT": (-aside, along)}[
            rankdir
        ]
    return places


def _slopes(node: Node) -> list[str | None]:
    """For each input the local derivative, ``∂ −3``, by the op's own rule; None where no gradient flows."""
    wanted = [not (is_constant(node) or is_constant(source)) for source in node.inputs]
    if not has_rules(node.op) or not any(wanted) or any(np.ndim(each.data) for each in (node, *node.inputs)):
        return [None] * len(wanted)
    xs = [source.data for source in node.inputs]
    with np.errstate(all="ignore"):
        slopes = apply_rules(node.op, 1.0, node.data, xs, getattr(node, "params", None), wanted)
    return [f" ∂ {number(slope)}" if want else None for slope, want in zip(slopes, wanted, strict=True)]
