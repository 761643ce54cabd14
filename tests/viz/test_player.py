"""The player's page: its numbers and sentences are Python's, op by op, and nothing in it is of the outside."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viz_samples import DATA, NO_COUNTERPART, params, scalar_nodes, vector_nodes

import scalar
import vector
import viz
from scalar import Value
from viz.maths.notation import decimal, number
from viz.maths.symbolic import constant
from viz.nodes import backward_steps, in_order
from viz.player.page import page, script
from viz.player.translate import RUNTIME, translate

AWKWARD = [0.0, -0.0, 1.0, -1.0, 2.0, 1e-9, -3.7, 40.0, 1000.0, -1000.0, 1e300, math.inf, -math.inf, math.nan]
COLUMNS = [DATA, [1.5, -2.0, 0.1, 0.1], [-0.6, 3.0, 2.5, -1e3], [1e16, 1.0, -1e16, 1.0], [2.0, 2.0, 2.0, 2.0]]


@pytest.fixture
def evaluate(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Runs a script and tells what its `answer` is: by node where there is one, else in the browser."""
    if not shutil.which("node"):
        browser = request.getfixturevalue("browser")
        return lambda script: json.loads(browser.execute_script(f"{script}\nreturn JSON.stringify(answer);"))

    def by_node(script: str) -> Any:
        script += "\nconsole.log(JSON.stringify(answer));"
        done = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return by_node


def pages(evaluate: Callable[[str], Any], cases: list[tuple[scalar.Value, dict[int, float]]], show: str) -> list:
    """What `show`, an expression of the page's result `r`, is for each root, with leaves changed as `given` says."""
    parts = [
        f"answer.push((() => {{ {script(root, in_order([root]), backward_steps(root))[0]}\n"
        f"const r = run(GRAPH, {json.dumps(given)}); return {show}; }})());"
        for root, given in cases
    ]
    return evaluate("\n".join(["const answer = [];", *parts]))


def told(root: scalar.Value) -> list[list[str]]:
    """Python's steps, as the page tells them."""
    return [[frame.sentence, *(part.text for part in frame.contributions)] for frame in viz.steps(root)]


TOLD = 'r.frames.filter((f) => f.phase === "backward").map((f) => [f.sentence, ...f.lines])'


@pytest.mark.parametrize("data", COLUMNS, ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_page_tells_every_op_as_python_does_to_the_last_digit(data: list[float], evaluate) -> None:
    nodes = scalar_nodes(data)
    nodes["where, else"] = scalar.where(False, Value(data[0], "a"), Value(data[1], "b"))
    found = pages(evaluate, [(node, {}) for node in nodes.values()], TOLD)
    assert dict(zip(nodes, found, strict=True)) == {name: told(node) for name, node in nodes.items()}


def test_the_page_tells_an_element_of_every_tensor_op_as_python_does(evaluate) -> None:
    nodes = {}
    for name, tensor in vector_nodes().items():
        if name not in NO_COUNTERPART:
            element = viz.zoom(tensor, (0,) * tensor.ndim)
            nodes[name] = element if element.op else element * 1.0  # an op that only moves elements leaves a leaf
    found = pages(evaluate, [(node, {}) for node in nodes.values()], TOLD)
    assert dict(zip(nodes, found, strict=True)) == {name: told(node) for name, node in nodes.items()}
    assert nodes.keys() | NO_COUNTERPART == vector.ops.OPS.keys()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_page_has_pythons_numbers_at_the_awkward_points(evaluate) -> None:
    """Each op at each pair of awkward numbers: value and slopes as Python has them; only a zero's sign may differ."""
    cases, expected = [], []
    for op in scalar.ops.OPS.values():
        size = 2 if op.over else len(op.rules)
        for x in AWKWARD:
            for y in AWKWARD if size > 1 else [0.0]:
                inputs = [Value(x, "a"), Value(y, "b")][:size]
                node = Value.apply(op, inputs, params(op) or None)
                cases.append([x, y][:size])
                expected.append((op.name, [node.data, *scalar.grad(node, inputs)]))
    names = [name for name, _ in expected]
    ops = translate(scalar.ops.OPS.values())
    settings = {name: list(params(op).values()) for name, op in scalar.ops.OPS.items()}
    program = f"""
        const COMPENSATED = false;
        {RUNTIME}
        {ops}
        const settings = {json.dumps(settings)};
        const cases = {json.dumps(list(zip(names, cases, strict=True)))};
        const answer = cases.map(([name, xs]) => {{
          const op = OPS[name], given = settings[name];
          const out = op.forward(numbers, ...columns(op, xs), ...given);
          return [out, ...contributions(numbers, op, 1, out, xs, given)].map(decimal);
        }});"""

    def plain(text: str) -> str:
        return "0.0" if text == "-0.0" else text

    found = [(name, [plain(text) for text in texts]) for name, texts in zip(names, evaluate(program), strict=True)]
    wanted = [(name, [plain(decimal(x)) for x in xs]) for name, xs in expected]
    wrong = [(w, xs, f[1]) for w, xs, f in zip(wanted, cases, found, strict=True) if w != f]
    assert not wrong


def network(leaves: list[float]) -> tuple[Value, list[Value]]:
    """Two hidden neurons, one with a corner, and a loss."""
    w = [Value(x, f"w{i}") for i, x in enumerate(leaves)]
    hidden = [(w[0] * 0.5 + w[1]).tanh(), (w[2] * -1.2 + w[3]).relu()]
    return ((hidden[0] * w[4] + hidden[1] * w[5]) ** 2 + scalar.log(w[4] * w[4] + 1)).sigmoid(), w


def test_a_changed_leaf_gives_the_numbers_of_a_new_graph(evaluate) -> None:
    before, after = [0.3, -0.2, 0.8, -1.5, 0.7, 1.1], [1.3, 0.4, -2.8, 0.5, -0.7, 2.0]
    root, leaves = network(before)
    index = {id(node): i for i, node in enumerate(in_order([root]))}
    given = {index[id(leaf)]: x for leaf, x in zip(leaves, after, strict=True)}
    changed, _ = network(after)
    page = pages(evaluate, [(root, given), (root, {})], TOLD)
    assert page == [told(changed), told(root)]
    assert page[0] != page[1]


def test_the_forward_pass_is_told_with_numbers(evaluate) -> None:
    a, b = Value(2.0, "a"), Value(-3.0, "b")
    out = scalar.clip((a * b) ** 2 - 4, -1, 1)
    lines = pages(evaluate, [(out, {})], 'r.frames.filter((f) => f.phase === "forward").map((f) => f.lines[0])')[0]
    assert lines == [
        "a * b = 2.0 * -3.0 = -6.0",
        "(a * b)**2 = (-6.0)**2 = 36.0",
        "(a * b)**2 - 4 = 36.0 - 4 = 32.0",
        "L = clip(32.0, low=-1.0, high=1.0) = 1.0",
    ]


def test_numbers_are_written_as_python_writes_them(evaluate) -> None:
    rng = np.random.default_rng(0)
    xs = [*AWKWARD[:-3], 0.1, 123456.0, 1234567.0, 999999.5, 2.0625, 2.0635, 1e-4, 1e-5, 123456.5, 1e15, 1e16, 5e-324]
    xs += [1.7976931348623157e308, 100000.5, 0.00012345, 12345.0, 2.5e-5, 1e22, 999.95, 99995.0, 0.5, 1 / 3]
    xs += list(rng.normal(size=200) * 10.0 ** rng.integers(-20, 20, 200)) + list(rng.integers(-(10**7), 10**7, 50) / 16)
    xs = [float(x) for x in xs]
    program = f"""
        const COMPENSATED = false, OPS = {{}};
        {RUNTIME}
        const xs = {json.dumps(xs)};
        const texts = (x) => [repr(x), decimal(x), short(x), short(x, true), constant(x).text];
        const answer = xs.map(texts);"""
    wanted = [[repr(x), decimal(x), number(x), number(x, signed=True), constant(x).code.text] for x in xs]
    assert evaluate(program) == wanted


@pytest.mark.parametrize(
    "xs", [[0.1] * 10, [1e16, 1.0, -1e16], [1e308, 1e308, -1e308], [math.inf, 1.0], [-math.inf, math.inf]]
)
def test_sums_are_pythons_of_before_and_after_its_correction(xs: list[float], evaluate) -> None:
    program = f"const OPS = {{}};\n{RUNTIME.replace('COMPENSATED', 'corrected')}\n"
    program = f"let corrected = false;\n{program}"
    program += "const answer = [false, true].map((each) => { corrected = each; "
    program += f"return repr(sum({json.dumps(xs)}, 0)); }});"
    plain = 0.0
    for x in xs:
        plain += x
    exact = math.fsum(xs) if xs[0] < 1e300 and math.isfinite(sum(xs)) else plain
    assert evaluate(program) == [repr(plain), repr(exact)]


class Reader(HTMLParser):
    """Collects the page's tags, addresses and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.data: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "action")]

    def handle_data(self, data: str) -> None:
        self.data.setdefault(self.tags[-1] if self.tags else "", []).append(data)


def test_the_page_is_one_file_that_asks_nothing_of_the_network(tmp_path: Path) -> None:
    a = Value(2.0, "a")
    path = viz.play(a.tanh(), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == [path]
    text = path.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.links == ["data:,"]
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "{{" not in re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL)


@pytest.mark.parametrize(
    "label", ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--", "{{svg}}", "&amp;"]
)
def test_no_label_leaves_its_place(label: str) -> None:
    a, b = Value(2.0, label), Value(3.0, "b")
    text = page(a * b, 10)
    plain = page(Value(2.0, "a") * b, 10)
    for each in (reader := Reader(), usual := Reader()):
        each.feed(text if each is reader else plain)
    assert reader.tags == usual.tags
    assert text.count("<script") == text.count("</script") == 1


def test_play_leaves_the_graph_as_it_is(tmp_path: Path) -> None:
    a = Value(2.0, "a")
    out = a * a
    viz.play(out, tmp_path / "page.html")
    assert (a.grad, out.grad, out.label) == (0.0, 0.0, "")


def test_what_cannot_be_played_is_named(tmp_path: Path) -> None:
    x = Value(2.0)
    for root, path, kind, message in [
        (x * x, "page.svg", ValueError, "play: expected a path that ends in .html"),
        (x * x * x, "page.html", ValueError, "play: expected at most max_nodes=2 nodes, got 3"),
        (Value(1.0, requires_grad=False), "page.html", ValueError, "got a constant"),
        (vector.Tensor([2.0]).tanh(), "page.html", TypeError, "viz.zoom"),
        (3.0, "page.html", TypeError, "expected a node of scalar or vector, got float"),
    ]:
        with pytest.raises(kind, match=re.escape(message)):
            viz.play(root, tmp_path / path, max_nodes=2)
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_the_player_in_its_cell(tmp_path: Path) -> None:
    a = Value(2.0, 'a"<b>')
    shown = viz.play(a.tanh())
    frame = shown._repr_html_()
    reader = Reader()
    reader.feed(frame)
    assert reader.tags == ["iframe"] and len(frame) < 30_000
    path = shown.save(tmp_path / "page.html")
    assert path.read_text(encoding="utf-8") == shown.html
    with pytest.raises(ValueError, match=r"expected a path that ends in \.html"):
        shown.save(tmp_path / "page.txt")


def test_a_tensor_without_axes_is_played_as_the_number_that_it_is() -> None:
    x, w = vector.Tensor(2.0, "x"), vector.Tensor(-0.5, "w")
    y, v = Value(2.0, "x"), Value(-0.5, "w")
    assert page(vector.tanh(x * w), 10) == page((y * v).tanh(), 10)
