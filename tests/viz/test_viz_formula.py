"""Formulas of graphs, and derivatives as sums over paths."""

import pytest
from viz_samples import scalar_nodes

import scalar
import vector
import viz
from scalar import Value


def test_a_formula_names_what_has_a_label_or_is_used_twice() -> None:
    a, b = Value(2.0, "a"), Value(-3.0, "b")
    d = a * b
    d.label = "d"
    twice = d.exp()
    assert viz.formula(twice * twice + 0.1 / d).text == ("d = a * b\nv3 = exp(d)\nL = v3 * v3 + 0.1 / d")


def test_a_formula_of_a_dag_does_not_explode() -> None:
    node = Value(1.0, "x")
    for _ in range(200):
        node = node + node
    assert len(viz.formula(node).text) < 10_000
    for _ in range(6000):
        node = -node
    with pytest.raises(ValueError, match="label some inner nodes"):
        viz.formula(node)


def test_a_derivative_is_a_sum_over_paths() -> None:
    a, b, c = Value(2.0, "a"), Value(-3.0, "b"), Value(6.5, "c")
    out = (a * b + c).tanh()
    assert (
        str(viz.derivative(out, a)).splitlines()[0] == "dL/da = dL/d(a * b + c) * d(a * b + c)/d(a * b) * d(a * b)/da"
    )
    x = Value(3.0, "x")
    out = x * x + x
    assert viz.derivative(out, x).text == (
        "dL/dx = dL/d(x * x) * d(x * x)/dx\n"
        "      + dL/d(x * x) * d(x * x)/dx\n"
        "      + dL/dx\n"
        "      = 1 * x\n"
        "      + 1 * x\n"
        "      + 1\n"
        "      = 1.0 * 3.0\n"
        "      + 1.0 * 3.0\n"
        "      + 1.0\n"
        "      = 7.0"
    )


@pytest.mark.parametrize("name", sorted(scalar.ops.OPS))
def test_a_derivative_comes_to_the_gradient(name: str) -> None:
    node = scalar_nodes()[name]
    out = node * node.exp()
    for leaf in node.inputs:
        result = float(viz.derivative(out, leaf).text.rpartition("= ")[2])
        assert result == pytest.approx(scalar.grad(out, leaf), rel=1e-5)


def test_too_many_paths_and_no_path_are_refused() -> None:
    x = Value(1.0, "x")
    node = x
    for _ in range(7):
        node = node + node
    with pytest.raises(ValueError, match="expected at most 64 paths to 'x', got 128"):
        viz.derivative(node, x)
    with pytest.raises(ValueError, match="it does not depend on 'y'"):
        viz.derivative(node, Value(1.0, "y"))
    with pytest.raises(TypeError, match=r"expected numbers, got tensors"):
        viz.derivative(vector.sum(vector.Tensor([1.0])), vector.Tensor([1.0]))


def test_a_formula_shows_itself_in_a_notebook() -> None:
    formula = viz.formula(Value(2.0, "a") * Value(3.0, "b"))
    assert formula._repr_latex_() == f"$$\n{formula.latex}\n$$"
    assert formula.latex == r"L = a \cdot b"
