"""What a notebook shows of a network: its layers or their neurons, never more than a cell can hold."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from test_viz_draw import cards

import scalar
import vector
import viz
from scalar import Value, nn
from viz.nodes import in_order
from viz.picture.dot import CELL
from viz.picture.draw import deepest


class MLP(nn.Layer):
    """Three layers by name."""

    def __init__(self) -> None:
        self.hidden = nn.Dense(3, 4, "tanh", seed=0)
        self.more = nn.Dense(4, 4, "tanh", seed=1)
        self.out = nn.Dense(4, 1, seed=2)

    def __call__(self, xs: list[float]) -> list[Value]:
        return self.out(self.more(self.hidden(xs)))


def squared(model: MLP) -> Value:
    """The loss on three samples."""
    samples = ([2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0])
    loss = scalar.sum([(model(xs)[0] - y) ** 2 for xs, y in zip(samples, (1.0, -1.0, 1.0), strict=True)])
    loss.backward()
    return loss


def titles(picture: str) -> list[str]:
    """What is in bold print."""
    return re.findall(r'font-weight="bold"[^>]*>([^<]*)<', picture)


def test_a_network_is_folded_to_its_neurons() -> None:
    picture = squared(MLP())._repr_svg_()
    assert picture is not None and len(picture) < CELL
    neurons = [f"{layer}[{i}]" for layer, n in (("hidden", 4), ("more", 4), ("out", 1)) for i in range(n)]
    assert [title for title in titles(picture) if "[" in title] == neurons
    assert "9 inputs" in picture


def test_a_network_with_many_neurons_is_folded_to_its_layers() -> None:
    model = nn.Sequential(nn.Dense(50, 70, "relu", seed=0), nn.Dense(70, 3, seed=1))
    loss = scalar.cross_entropy([model(np.linspace(0, 1, 50).tolist())], [1])
    picture = viz.overview(loss)
    assert titles(picture) == ["layer 0", "layer 1"] and len(picture) < CELL


def test_a_small_graph_is_shown_as_it_is() -> None:
    out = Value(2.0, "x").tanh()
    assert viz.overview(out) == viz.svg(out) == out._repr_svg_()


@pytest.mark.parametrize("wide", [False, True])
def test_what_has_no_layers_is_cut(wide: bool) -> None:
    xs = [Value(1.0, f"x{i}") for i in range(400)]
    out = scalar.sum(xs)
    if not wide:
        out = xs[0]
        for x in xs:
            out = out * x
    picture = viz.overview(out)
    assert ">…<" in picture and picture.count('class="node"') <= 120 and len(picture) < CELL
    assert deepest([out], 60) == (0 if wide else 29)


def test_a_recurrent_layer_that_feeds_another_in_turn_is_cut_and_no_error() -> None:
    first, second = MLP(), MLP()
    xs = [1.0, 2.0, 3.0]
    for _ in range(3):
        xs = [*first(second(xs) * 3), 1.0, 2.0]
    assert "<svg" in viz.overview(scalar.sum(xs))


ENGINES: dict[str, Callable[[], tuple[object, object]]] = {
    "scalar": lambda: (model := MLP(), squared(model)),
    "vector": lambda: (
        model := vector.nn.Sequential(vector.nn.Dense(3, 4, "tanh", seed=0), vector.nn.Dense(4, 2, seed=1)),
        vector.cross_entropy(model(np.ones((5, 3))), np.zeros(5, int)),
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_collapse_takes_a_model(engine: str) -> None:
    model, loss = ENGINES[engine]()
    layers = ["hidden", "more", "out"] if engine == "scalar" else ["layer 0", "layer 1"]
    folded = [card.partition(" = ")[0] for card in cards(loss, collapse=model)]
    assert [name for name in folded if name in layers] == layers
    assert not any("weight" in card for card in folded)
    assert "weight" in viz.draw(loss).source


def test_collapse_takes_some_layers_and_leaves_the_others_open() -> None:
    model = MLP()
    source = viz.draw(squared(model), collapse=[model.hidden, model.more]).source
    assert "<B>hidden</B>" in source and "<B>more</B>" in source and "<B>out.weight[2,0]</B>" in source
    with pytest.raises(ValueError, match="draw: expected layers whose parameters are in the graph, found none"):
        viz.draw(Value(1.0).tanh(), collapse=model)


def test_a_folded_layer_has_the_values_and_gradients_of_its_outputs() -> None:
    model = MLP()
    loss = squared(model)
    outs = [node for node in in_order([loss]) if node.op and node.op.name == "subtract"]
    card = next(card for card in cards(loss, collapse=model) if card.startswith("out = "))
    gap = "\N{NO-BREAK SPACE}" * 2
    assert card.split("|")[1] == gap.join(viz.maths.notation.number(x.inputs[0].data) for x in outs)
    assert card.split("|")[3] == "grad " + gap.join(
        viz.maths.notation.number(x.inputs[0].grad, signed=True) for x in outs
    )


def test_a_drawing_too_large_for_a_cell_is_shown_by_its_layers() -> None:
    model = nn.Sequential(nn.Dense(20, 20, "relu", seed=0), nn.Dense(20, 2, seed=1))
    loss = scalar.cross_entropy([model(np.linspace(0, 1, 20).tolist())], [1])
    drawn = viz.draw(loss, max_nodes=1000, theme="dark")
    assert len(viz.svg(drawn)) > CELL
    cell = drawn._repr_mimebundle_()["image/svg+xml"]
    assert len(cell) < CELL and "viz.render writes it" in cell and "layer 1" in cell and "#0f172a" in cell
    many = viz.draw([Value(1.0) for _ in range(500)])._repr_mimebundle_()["image/svg+xml"]
    assert "500 nodes are too many for a cell" in many
