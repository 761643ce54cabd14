"""Ops of one's own draw, step, play and print in LaTeX, from a module and from a notebook's cell."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from test_player import evaluate, pages, told

import scalar
import vector
import viz
from scalar import Value
from viz.nodes import backward_steps, in_order
from viz.player.page import page, script
from viz.player.translate import translate

__all__ = ["evaluate"]  # a fixture
ROOT = Path(viz.__file__).parents[1]
PAGE = """
import math
import numpy as np
import scalar
from numpy import cosh
from scalar import cos, op

FACTOR, POWER = 0.5, 3
x = "the parameters of rules hide this"

def slope(g, x):
    rest = x ** (POWER - 1)
    return g * POWER * rest

@op(slope)
def cube(x):
    "x cubed."
    return x ** POWER

@scalar.op(lambda g, x: g * cos(x) * FACTOR)
def half_sine(x):
    return FACTOR * np.sin(x)

@op(lambda g, x: g * np.sinh(x))
def named_cosh(x):
    return cosh(x)

@op(lambda g, x, y, scale: g * y * scale, lambda g, x, scale: g * scalar.square(x) / x * scale)
def scaled(x, y, scale: float = 2.0):
    return x * y * scale

@op(lambda g, x: g * math.sinh(x))
def plain_cosh(x):
    return math.cosh(x)

def unknown(x):
    return x

foreign = op(lambda g, x: g)(unknown)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "own_page.py").write_text(PAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_page", raising=False)
    before = dict(scalar.ops.OPS)
    yield importlib.import_module("own_page")
    scalar.ops.OPS.clear()
    scalar.ops.OPS.update(before)


def graphs(own: ModuleType) -> list[Value]:
    a, b = Value(1.5, "a"), Value(-0.5, "b")
    return [own.cube(a) * b, own.half_sine(a * b), own.named_cosh(a), own.scaled(a, b, 3.0).tanh()]


def test_its_rules_are_shown_as_formulas(own: ModuleType) -> None:
    cube, half_sine, _, scaled = graphs(own)
    assert "dL/da += dL/d(cube(a)) * 3 * a**2 = -0.5 * 3 * 1.5**2 = -3.375" in "\n".join(map(str, viz.steps(cube)))
    assert viz.steps(half_sine)[0].text.startswith("dL/d(a * b) += dL/dL * cos(a * b) * 0.5 = ")
    assert viz.formula(cube).latex == r"L = \operatorname{cube}(a) \cdot b"
    assert viz.formula(scaled).latex == r"L = \tanh(\operatorname{scaled}(a, b, \mathrm{scale}=3.0))"
    assert "half_sine(a × b)" in viz.draw(half_sine, local_derivatives=True).source
    assert str(viz.derivative(cube, cube.inputs[1])).splitlines()[:2] == ["dL/db = dL/db", "      = cube(a)"]


def test_a_rule_for_plain_numbers_alone_gives_the_number(own: ModuleType) -> None:
    """`math.sinh` takes no formula: the steps show the local derivative that it gives."""
    out = own.plain_cosh(Value(1.5, "a"))
    assert viz.steps(out)[0].text == "dL/da += dL/dL * 2.12928 = 1.0 * 2.12928 = 2.12928"
    assert viz.steps(out)[0].contributions[0].amount == scalar.grad(out, out.inputs[0])


def test_the_page_computes_it(own: ModuleType, evaluate: Callable[[str], Any]) -> None:
    roots = graphs(own)
    cases = [(root, {}) for root in roots]
    shown = pages(
        evaluate, cases, "[r.values, r.frames.filter((f) => f.sentence).map((f) => [f.sentence, ...f.lines])]"
    )
    for root, (values, sentences) in zip(roots, shown, strict=True):
        assert values == pytest.approx([node.data for node in in_order([root])], rel=1e-12)
        if root is not roots[2]:  # there numpy's sinh has no formula here, and its own name on the page
            assert sentences == told(root)
    moved = pages(evaluate, [(roots[0], {0: 2.0})], "[r.values.at(-1), r.gradients[0]]")
    assert moved == [[-4.0, -6.0]]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("plain_cosh", "plain_cosh: no JavaScript for line 32: math.sinh; np.sinh has one"),
        ("foreign", "unknown: the source of its @op is not at hand"),
    ],
)
def test_what_has_no_translation_is_played_in_numbers(
    name: str, why: str, own: ModuleType, evaluate: Callable[[str], Any]
) -> None:
    root = getattr(own, name)(Value(1.5, "a") * 2.0).tanh()
    text = page(root, 300)
    assert f"this page cannot compute the op {why}</p>" in text
    source, reason = script(root, in_order([root]), backward_steps(root))
    assert reason == why
    graph = json.loads(source.rpartition("const GRAPH = ")[2].rstrip(";"))
    assert not any(node["leaf"] for node in graph["nodes"])  # no sliders
    (shown,) = pages(evaluate, [(root, {})], "r")
    assert shown["values"] == [node.data for node in in_order([root])]
    assert [[f["sentence"], *f["lines"]] for f in shown["frames"] if "sentence" in f] == told(root)
    assert next(f["lines"] for f in shown["frames"] if f["phase"] == "forward") == ["a * 2 = 1.5 * 2 = 3.0"]


def test_frames_as_they_were_computed_are_those_of_the_page(own: ModuleType, evaluate: Callable[[str], Any]) -> None:
    from viz.player.recorded import recorded

    a, b = Value(1.5, "a"), Value(-0.5, "b")
    root = scalar.where(True, a * b, b) * scalar.sum([a, b, 2.0]) - scalar.clip(a, -1, 1)
    (shown,) = pages(evaluate, [(root, {})], "r")
    assert shown == json.loads(json.dumps(recorded(root, in_order([root]))))


def test_an_op_of_arrays_is_shown_too() -> None:
    before = dict(vector.ops.OPS)
    try:

        @vector.op(lambda g, x: 3 * g * x**2)
        def cube_all(x: Any) -> Any:
            return x**3

        out = vector.sum(cube_all(vector.Tensor([1.0, 2.0], "x")))
        out.backward()
        assert viz.formula(out).text == "L = sum(cube_all(x))"
        assert "dL/dx += 3 * dL/d(cube_all(x)) * x**2" in viz.steps(out)[1].text
        assert np.array_equal(out.inputs[0].inputs[0].grad, [3.0, 12.0])
        assert "cube_all(x)" in viz.draw(out).source
    finally:
        vector.ops.OPS.clear()
        vector.ops.OPS.update(before)


def test_built_in_names_are_not_replaced(own: ModuleType) -> None:
    for engine in (scalar, vector):
        with pytest.raises(ValueError, match="op: expected a new name, got tanh, which is an op already"):

            @engine.op(lambda g: g)
            def tanh(x: Any) -> Any:
                return x

    with pytest.raises(ValueError, match="got cube, which is an op already"):
        scalar.op(lambda g: g)(own.cube.forward)


CELLS = [
    "from scalar import Value, op\nimport numpy as np, viz\nx = Value(0.5)",
    "@op(lambda g, x: 3 * g * x)\ndef mine(x):\n    return x ** 2",
    "@op(lambda g, x: 2 * g * x)\ndef mine(x):\n    return x ** 2",  # mended and run again
    "out = mine(x) * np.float64(3.0)\nout.backward()",
    "print(viz.formula(out).latex)\nprint(viz.steps(out)[1].text)\nprint(x.grad, len(viz.play(out).html) > 10000)",
    "print('cannot compute' in viz.play(out).html, '>x<' in viz.overview(out))",
]
SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in {cells!r}:
    shell.run_cell(cell, store_history=True).raise_error()
"""


def test_an_op_in_a_cell_of_a_notebook(tmp_path: Path) -> None:
    pytest.importorskip("IPython", reason="no IPython to run cells with")
    command = [sys.executable, "-c", SHELL.format(cells=CELLS)]
    done = subprocess.run(command, cwd=ROOT, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        r"L = \operatorname{mine}(v_{0}) \cdot 3",
        "dL/dv0 += 2 * dL/d(mine(v0)) * v0 = 2 * 3.0 * 0.5 = 3.0",
        "3.0 True",
        "False True",
    ], done.stderr[-2000:]


def test_ops_of_other_pages_are_translated_once(own: ModuleType) -> None:
    text = translate([own.half_sine, own.scaled, scalar.cos])
    assert text.count('"cos": {') == text.count('"square": {') == text.count('"power": {') + 1 == 1
