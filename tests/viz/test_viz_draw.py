"""The pictures as DOT text: the same bytes for the same graph, every label intact, no size that breaks them.

The files in golden/ were looked at as pictures. `python tests/viz/test_viz_draw.py` writes them anew.
"""

import html
import math
import re
from collections.abc import Callable
from pathlib import Path

import graphviz
import numpy as np
import pytest
from viz_samples import scalar_nodes

import scalar
import vector
import viz
from scalar import Value
from vector import Tensor
from viz.maths.notation import Term, number, write

GOLDEN = Path(__file__).parent / "golden"


def tanh() -> Value:
    a, b, c = Value(2, label="a"), Value(-3, label="b"), Value(10, label="c")
    result = (a * b + c).tanh()
    result.label = "L"
    result.backward()
    return result


def network() -> Value:
    """A 2-3-1 network on one example, with its squared error."""
    x = [Value(0.5, label="x1", requires_grad=False), Value(-1.2, label="x2", requires_grad=False)]
    w = [[0.69, 0.52], [-0.16, -0.48], [0.02, -0.19]]
    hidden = []
    for j in range(3):
        weights = [Value(w[j][i], label=f"w{j + 1}{i + 1}") for i in range(2)]
        h = (weights[0] * x[0] + weights[1] * x[1] + Value(0.1 * j, label=f"b{j + 1}")).tanh()
        h.label = f"h{j + 1}"
        hidden.append(h)
    v = [Value(number, label=f"v{j + 1}") for j, number in enumerate([0.57, -0.39, -0.05])]
    y = v[0] * hidden[0] + v[1] * hidden[1] + v[2] * hidden[2] + Value(0.2, label="b")
    y.label = "y"
    loss = (y - 1) ** 2
    loss.label = "loss"
    loss.backward()
    return loss


def notation() -> Value:
    """Ops that are not written name(x), an input used twice, arguments, many inputs, no gradient, labels to escape."""
    x, y = Value(-1.5, label="x"), Value(2, label='say "<b>&\\N"')
    terms = [-x / (x - y), scalar.leaky_relu(x, 0.1), x * (-y), x**-2, y**0.5, x * x, Value(3) * y]
    result = scalar.sum([*terms, scalar.relu(x) * 2e-7, scalar.clip(x, -1, 1)])
    result.backward()
    return result


def tensors() -> Tensor:
    """Two dense layers and a loss on a batch of two, in float32."""
    sizes = [(2, 4), (4, 3), (3,), (3, 2)]
    arrays = [np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape) for shape in sizes]
    images, w1, b1, w2 = (
        Tensor(array, label) for array, label in zip(arrays, ["images", "W1", "b1", "W2"], strict=True)
    )
    images.requires_grad = False
    hidden = vector.relu(images @ w1 + b1)
    hidden.label = "hidden"
    loss = vector.cross_entropy(hidden @ w2, np.array([0, 1]))
    loss.label = "loss"
    loss.backward()
    return loss


GRAPHS: dict[str, Callable[[], graphviz.Digraph]] = {
    "tanh": lambda: viz.draw(tanh()),
    "tanh_dark": lambda: viz.draw(tanh(), theme="dark", local_derivatives=True, rankdir="TB"),
    "network": lambda: viz.draw(network()),
    "network_cut": lambda: viz.draw(network(), depth=4),
    "notation": lambda: viz.draw(notation(), local_derivatives=True),
    "collapsed": lambda: viz.draw(network(), collapse=["h*"]),
    "collapsed_layer": lambda: viz.draw(network(), collapse={"hidden layer": "h*"}),
    "tensors": lambda: viz.draw(tensors(), local_derivatives=True),
    "no_gradients": lambda: viz.draw(tanh(), gradients=False),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_picture_is_as_it_was_when_looked_at(name: str) -> None:
    assert GRAPHS[name]().source == (GOLDEN / f"{name}.dot").read_text(encoding="utf-8")


def test_every_golden_file_is_tested() -> None:
    assert {path.stem for path in GOLDEN.glob("*.dot")} >= set(GRAPHS)


def cards(root: object, **options: object) -> list[str]:
    """The text of every card, lines separated by `|`, in drawing order."""
    labels = re.findall(r"^\t\w+ \[label=<(.*?)>(?: \w+=.*)?\]$", viz.draw(root, **options).source, re.MULTILINE)
    return [re.sub(r"<[^>]+>", "", label.replace("<BR/>", "|").replace("&#160;", " ")) for label in labels]


def test_a_card_says_how_a_node_was_made_its_value_and_its_gradient() -> None:
    assert cards(tanh()) == [
        "a|2|grad −0.004023",
        "b|−3|grad +0.002682",
        "a × b|−6|grad +0.001341",
        "c|10|grad +0.001341",
        "a × b + c|4|grad +0.001341",
        "L = tanh(a × b + c)|0.9993|grad +1",
    ]
    assert cards(tanh(), gradients=False)[0] == "a|2"


def test_a_constant_stands_aside_without_gradient() -> None:
    source = viz.draw(Value(3, label="x") * 2).source
    constant = next(line for line in source.splitlines() if line.startswith("\tn1 ["))
    assert "shape=plaintext" in constant
    assert "grad" not in constant
    assert "fillcolor" not in constant


def reds_and_blues(slope: float, theme: str) -> tuple[int, int]:
    """How red and how blue the card of a leaf is, beside another whose gradient is 1."""
    leaf, other = Value(1.0, label="leaf"), Value(1.0)
    (leaf * slope + other).backward()
    source = viz.draw([leaf, other], theme=theme).source
    colour = re.search(r'n0 .* fillcolor="#(\w\w)\w\w(\w\w)"', source)
    assert colour
    return int(colour[1], 16), int(colour[2], 16)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colour_tells_sign_and_strength(theme: str) -> None:
    leaning = [blue - red for red, blue in (reds_and_blues(slope, theme) for slope in (-1, -0.1, 0, 0.1, 1))]
    assert leaning == sorted(set(leaning))


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), float("-inf"), 5e-324, 1.7e308, -0.0])
def test_no_gradient_is_too_odd_to_draw(slope: float) -> None:
    x, y = Value(1.0, label="x"), Value(1.0, label="y")
    x.grad, y.grad = slope, 1.0
    mark = "" if math.isfinite(slope) else "⚠ "
    assert cards([x, y])[0] == f"x|1|{mark}grad {number(slope, signed=True)}"


def test_a_gradient_that_the_engine_does_not_have_any_more_is_left_out() -> None:
    class Trained(Tensor):
        @property
        def grad(self) -> np.ndarray:
            raise RuntimeError("used up")

    x, y, z = Trained([1.0], "x"), Tensor([1.0], "y"), Tensor([1.0], "z")
    z.grad = 2.0
    assert cards([x, y, z]) == ["x|1|(1,) float64", "y|1|(1,) float64|grad 0", "z|1|(1,) float64|grad +2"]


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert viz.draw(network()).source == viz.draw(network()).source


def test_an_input_used_twice_has_two_edges() -> None:
    x = Value(3.0, label="x")
    assert viz.draw(x * x).source.count("n0 -> n1") == 2


def test_both_engines_draw_the_same_expression_alike() -> None:
    x, y = Tensor(-1.5, label="x"), Tensor(2.0, label="y")
    u, v = Value(-1.5, label="x"), Value(2.0, label="y")
    drawn = []
    for result in ((x * y - x**2).tanh() / y, (u * v - u**2).tanh() / v):
        result.backward()
        drawn.append(viz.draw(result, local_derivatives=True).source)
    assert re.sub(r"<FONT[^>]*>float64</FONT><BR/>|<BR/><FONT[^>]*>float64</FONT>", "", drawn[0]) == drawn[1]


def test_a_small_tensor_shows_its_numbers_a_large_one_shape_dtype_and_norms() -> None:
    x = Tensor(np.array([3.0, 4.0], dtype=np.float32), label="x")
    (x * np.array([1.0, -1.0], dtype=np.float32)).sum().backward()
    gap = "\N{NO-BREAK SPACE}" * 2
    assert cards(x) == [f"x|3{gap}4|(2,) float32|grad +1{gap}−1"]
    y = Tensor(np.arange(4.0).reshape(2, 2), label="y")
    y.grad = 1.0
    assert cards(y) == [f"y|0{gap}1|2{gap}3|(2, 2) float64|grad +1{gap}+1|+1{gap}+1"]
    z = Tensor(np.full(100, 0.5, np.float32), label="z")
    (z * np.linspace(-1, 1, 100, dtype=np.float32)).sum().backward()
    assert cards(z) == ["z|(100,)|float32|norm 5|grad norm 5.832"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_tensor_is_tinted_by_the_signs_in_its_gradient(theme: str) -> None:
    fills = []
    for slopes in ([1.0, 1.0], [1.0, 0.0], [-1.0, -1.0], [1.0, -1.0], [0.0, 0.0]):
        x = Tensor([1.0, 1.0])
        (x * np.array(slopes)).sum().backward()
        fills += re.findall(r'n0 .*fillcolor="(.*?)"', viz.draw(x, theme=theme).source)
    up, mostly_up, down, mixed, none = fills
    assert up == mostly_up
    assert len({up, down, mixed, none}) == 4


@pytest.mark.parametrize("data", [np.zeros((0, 3)), np.array([[np.nan, 1.0]]), np.full(2, 1e300), np.float32(2)])
def test_no_tensor_is_too_odd_to_draw(data: np.ndarray) -> None:
    assert len(cards(Tensor(data))) == 1


def test_several_roots_share_what_they_share() -> None:
    x = Value(3.0, label="x")
    assert cards([x.tanh(), x.exp(), x.tanh()], gradients=False) == [
        "x|3",
        "tanh(x)|0.9951",
        "exp(x)|20.09",
        "tanh(x)|0.9951",
    ]


def test_local_derivatives_stand_on_the_edges_that_carry_gradient() -> None:
    x, y = Value(2.0, label="x"), Value(-3.0, label="y")
    edges = re.findall(r"\t(n\d -> n\d) \[(.*)\]", viz.draw(x * y + 1, local_derivatives=True).source)
    assert edges == [
        ("n0 -> n2", 'label=" ∂ −3" weight=20'),
        ("n1 -> n2", 'label=" ∂ 2"'),
        ("n2 -> n4", 'label=" ∂ 1" weight=20'),
        ("n3 -> n4", "style=dashed"),
    ]


@pytest.mark.parametrize("name", sorted(scalar.ops.OPS))
def test_every_op_can_be_drawn_with_its_local_derivatives(name: str) -> None:
    node = scalar_nodes()[name]
    source = viz.draw(node, local_derivatives=True).source
    assert source.count("∂ ") == len(node.inputs)
    assert write(name, [Term(x.label) for x in node.inputs], node.params).text[:3] in source


LABELS = {
    'say "hi"': None,
    "back\\slash": None,
    "\\N \\G \\n": None,
    "end\\": None,
    "<script>": None,
    "a & b &lt; c": None,
    "<": None,
    "élan 日本 𝜎": None,
    "two\nlines\t": "two lines",
    "\0\x1b\ud800": "���",
    "x" * 99: "x" * 23 + "…",
    "  ": "",
}


@pytest.mark.parametrize("label", LABELS)
def test_a_label_is_shown_as_it_stands(label: str) -> None:
    shown = label if LABELS[label] is None else LABELS[label]
    picture = viz.svg(Value(2.5, label=label))
    texts = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]
    assert texts == [shown] * bool(shown) + ["2.5"]


def chain(nodes: int) -> Value:
    node = Value(1.0, label="x")
    for _ in range(nodes - 1):
        node = node.tanh()
    return node


def test_depth_draws_the_part_near_the_root() -> None:
    end = chain(10)
    source = viz.draw(end, depth=2).source
    assert source.count("fillcolor=") == 3
    assert "n0_cut -> n0 [style=dotted]" in source
    assert "_cut" not in viz.draw(end, depth=9).source
    assert cards(end, depth=0) == [f"tanh(…)|{number(end.data)}"]


def test_depth_counts_the_shortest_way() -> None:
    x = Value(2.0, label="x")
    assert cards(x.exp().log() + x, depth=1, gradients=False) == ["log(…)|2", "x|2", "… + x|4"]


def test_a_collapsed_part_takes_with_it_what_only_it_uses() -> None:
    x, y = Value(2.0, label="x"), Value(3.0, label="y")
    inner = (x * y).exp() + y
    inner.label = "inner"
    assert cards(inner * y, collapse=["inner"], gradients=False) == [
        "y|3",
        f"inner = f(y)|{number(inner.data)}",
        f"inner × y|{number(inner.data * 3)}",
    ]
    assert cards(inner, collapse=["inner"], gradients=False) == [f"inner|{number(inner.data)}"]


def test_what_is_collapsed_into_one_card_has_all_its_edges() -> None:
    source = viz.draw(network(), collapse={"hidden layer": "h*"}).source
    layer = next(name for name, label in re.findall(r"\t(n\d+) \[label=<(.*)>", source) if "hidden layer</B>" in label)
    assert source.count(f"\t{layer} -> ") == 3
    assert f"-> {layer}\n" not in source


def test_a_part_that_feeds_itself_is_refused() -> None:
    x = Value(2.0, label="x")
    first = x.exp()
    between = first.tanh()
    last = between + first
    first.label, between.label, last.label = "h1", "between", "h2"
    with pytest.raises(ValueError, match=r"collapse what lies between as well: .*'between'"):
        viz.draw(last * between, collapse={"part": "h*"})
    with pytest.raises(ValueError, match=r"^draw: expected collapse to name labels, found no label like 'z\*'$"):
        viz.draw(last, collapse=["z*"])


def test_ten_thousand_nodes_are_drawn() -> None:
    assert viz.draw(chain(10_000), max_nodes=10_000).source.count(" -> ") == 9_999


def test_a_large_graph_is_laid_out_roughly() -> None:
    assert "splines=line" in viz.draw(chain(2002), max_nodes=2002).source
    assert "splines" not in viz.draw(chain(2001), max_nodes=2002).source


def test_few_nodes_with_edges_across_many_ranks_are_laid_out_roughly() -> None:
    """With smooth edges Graphviz takes more than ten minutes for these three hundred."""
    x = Value(1.0, label="x")
    node = x
    for _ in range(300):
        node = node + x
    assert "splines=line" in viz.draw(node).source
    assert viz.svg(node).count('class="edge"') == 600


def test_a_million_nodes_are_refused_with_advice_that_works() -> None:
    end = chain(1_000_000)
    with pytest.raises(ValueError) as error:
        viz.draw(end)
    assert str(error.value) == (
        "draw: the graph has more than max_nodes=500 nodes; "
        "draw the part near the root with depth=499, or raise max_nodes"
    )
    assert viz.draw(end, depth=499).source.count("fillcolor=") == 500
    with pytest.raises(ValueError, match="draw fewer roots, or raise max_nodes"):
        viz.draw([Value(0.0) for _ in range(501)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"theme": "sepia"}, "draw: expected theme 'light' or 'dark', got 'sepia'"),
        ({"rankdir": "up"}, "draw: expected rankdir 'LR', 'TB', 'RL' or 'BT', got 'up'"),
        ({"depth": -1}, "draw: expected a depth of 0 or more steps, or None for all, got -1"),
    ],
)
def test_an_option_that_does_not_exist_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        viz.draw(Value(1.0), **options)


@pytest.mark.parametrize("root", [3.0, None, "x", [Value(1.0), 3.0]])
def test_what_is_no_node_is_named(root: object) -> None:
    with pytest.raises(TypeError, match=r"^draw: expected a node or a list of nodes, got (float|NoneType|str)$"):
        viz.draw(root)


if __name__ == "__main__":
    for name, make in GRAPHS.items():
        (GOLDEN / f"{name}.dot").write_text(make().source, encoding="utf-8", newline="\n")
