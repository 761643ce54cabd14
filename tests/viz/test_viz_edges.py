"""Pictures at the edges: layout, gradients that vanish or explode, sizes that a PNG or a notebook cannot hold."""

import itertools
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from viz_samples import scalar_nodes

import scalar
import viz
from scalar import Value
from vector import Tensor
from viz.nodes import in_order
from viz.picture.dot import CELL, element
from viz.theme import THEMES


def places(root: Value, **options: object) -> dict[str, tuple[float, float]]:
    """Where each card stands, by the first line on it: the middle of its frame, y downwards."""
    found = {}
    for group in re.findall(r'<g id="\w+" class="node">.*?</g>', viz.svg(viz.draw(root, **options)), re.DOTALL):
        text = re.findall(r"<text[^>]*>([^<]*)<", group)[0]
        frame = re.findall(r' d="M(\S+?),(\S+?)h(\S+?)a(\S+?),.*?v([\d.]+)a', group)[0]
        left, y, wide, radius, down = map(float, frame)
        x, width, height = left - radius, wide + 2 * radius, down + 2 * radius
        found[text.strip()] = (x + width / 2, y + height / 2)
    return found


def test_a_chain_is_straight() -> None:
    node = x = Value(0.5, "x")
    for i in range(6):
        node = (node * Value(0.1 * i, f"w{i}")).tanh()
        node.label = f"h{i}"
    at = places(node)
    assert len({round(at[name][1], 1) for name in ("x", *(f"h{i}" for i in range(6)))}) == 1
    assert all(at[f"w{i}"][1] > at["x"][1] for i in range(6))  # the second operand below the first
    assert x.label == "x"


def test_operands_stand_in_the_order_of_the_formula() -> None:
    a, b, c, d, e = (Value(float(i + 1), "abcde"[i]) for i in range(5))
    at = places((a * b + c) * (d - e))
    assert [name for name in sorted(at, key=lambda name: at[name][1]) if name in "cde"] == ["c", "d", "e"]
    at = places((a * b + c) * (d - e), rankdir="TB")
    assert [name for name in sorted(at, key=lambda name: at[name][0]) if name in "cde"] == ["c", "d", "e"]


def crossing() -> Value:
    x, y = Value(0.5, "x"), Value(2.0, "y")
    return x * y + (y * x) * (x - y) / (y + x)


@pytest.mark.parametrize("root", [crossing(), scalar_nodes()["dot"], crossing() * crossing()])
def test_local_derivatives_do_not_touch(root: Value) -> None:
    picture = viz.svg(viz.draw(root, local_derivatives=True))
    labels = re.findall(r'<text text-anchor="middle" x="(\S+)" y="(\S+)" font-size="9"[^>]*>([^<]*∂[^<]*)<', picture)
    boxes = [(float(x), float(y), 6.0 * len(text.strip()), 10.0) for x, y, text in labels]
    assert len(boxes) == sum(len(node.inputs) for node in in_order([root]))
    for (x1, y1, w1, h), (x2, y2, w2, _) in itertools.combinations(boxes, 2):
        assert abs(x1 - x2) >= (w1 + w2) / 2 or abs(y1 - y2) >= h


@pytest.mark.parametrize("seed", range(4))
def test_any_graph_is_laid_out(seed: int) -> None:
    """Graphviz's own ordering of operands has failed on some graphs with many edges between the same nodes."""
    rng = random.Random(seed)
    nodes: list[Value] = [Value(1.0, f"x{i}") for i in range(4)]
    for _ in range(30):
        nodes.append(scalar.sum(rng.choices(nodes, k=rng.randint(1, 5))))
    picture = viz.svg(viz.draw(nodes[-3:], local_derivatives=True))
    assert picture.count('class="node"') == len(in_order(nodes[-3:]))


def test_before_a_backward_pass_there_are_no_gradients() -> None:
    x = Value(2.0, "x")
    out = x * x
    assert "grad" not in viz.draw(out).source
    (x * 0.0 + out).backward()
    assert viz.draw(out).source.count("grad +") == 2
    assert viz.draw([x, Value(1.0, "unused")]).source.count("grad 0") == 1  # here it says something


def depth(fill: str) -> int:
    """How far a colour of the light theme is from no colour."""
    still = THEMES["light"].still.fill
    return sum(abs(int(fill[i : i + 2], 16) - int(still[i : i + 2], 16)) for i in (1, 3, 5))


def test_a_gradient_pales_by_orders_of_magnitude() -> None:
    leaves = [Value(1.0, f"x{i}") for i in range(8)]
    for i, leaf in enumerate(leaves):
        leaf.grad = 10.0**-i
    fills = re.findall(r'fillcolor="(.*?)"', viz.draw(leaves).source)
    depths = [depth(fill) for fill in fills]
    assert depths[:6] == sorted(set(depths[:6]), reverse=True)  # each of five powers of ten has a shade of its own
    assert depths[5] == depths[6] == depths[7] > 0
    assert min(a - b for a, b in itertools.pairwise(depths[:6])) > 10


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_not_finite_is_an_alarm(odd: float, theme: str) -> None:
    alarm = f'fillcolor="{THEMES[theme].alarm.fill}"'
    value, slope, fine, constant = (
        Value(odd, "a"),
        Value(1.0, "b"),
        Value(1.0, "c"),
        Value(odd, "d", requires_grad=False),
    )
    slope.grad, fine.grad = odd, 1.0
    lines = viz.draw([value, slope, fine, constant], theme=theme).source.splitlines()
    a, b, c, d = (next(line for line in lines if f"\tn{i} [" in line) for i in range(4))
    assert alarm in a and ">⚠ " in a
    assert alarm in b and ">⚠ grad " in b
    assert alarm not in c and "⚠" not in c
    assert "⚠" in d and THEMES[theme].alarm.ink in d
    array, large = Tensor([1.0, odd], "x"), Tensor(np.full(50, odd), "y")
    assert viz.draw([array, large], theme=theme).source.count(alarm) == 2
    assert "⚠ 50 of 50 not finite" in viz.draw(large).source


def long() -> Value:
    node = Value(0.5, "x")
    for i in range(150):
        node = node * Value(1.0, f"weight{i}")
    return node


def test_a_png_that_is_shrunk_says_so(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"larger than a PNG can be, and shrunk to \d\d%; \.svg and \.pdf have no limit"
    ):
        assert viz.render(long(), tmp_path / "long.png").exists()
    viz.render(long(), tmp_path / "long.svg")


def test_a_picture_has_no_tooltips_that_say_nothing(tmp_path: Path) -> None:
    out = Value(2.0, "x").tanh()
    drawn = viz.draw(out)
    texts = [viz.svg(drawn), viz.render(drawn, tmp_path / "g.svg").read_text(), str(drawn._repr_mimebundle_())]
    assert not [text for text in texts if "<title>" in text or "n0" in text]
    assert "<title>n0</title>" in element(drawn.source)  # by which the player finds the cards


def test_no_cell_gets_more_than_it_can_hold() -> None:
    cell = viz.draw(long())._repr_mimebundle_()["image/svg+xml"]
    assert len(cell) < CELL and ">…<" in cell and "too much for a cell: viz.render writes it to a file" in cell
    small = viz.draw(crossing())._repr_mimebundle_()["image/svg+xml"]
    assert small.count('class="node"') == 9 and len(small) < CELL / 10
