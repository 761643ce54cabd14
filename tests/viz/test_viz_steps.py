"""Steps, formulas and derivatives in words: the engine's own steps and rules, op by op, against golden text.

The file golden/ops.txt was read through. `python tests/viz/test_viz_steps.py` writes it and the pictures anew.
"""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser
from viz_samples import scalar_nodes, vector_nodes

import scalar
import vector
import viz
from scalar import Value
from viz.maths.notation import Term
from viz.maths.symbolic import Name, Symbolic

GOLDEN = Path(__file__).parent / "golden"


def expression() -> tuple[Value, Value, Value, Value]:
    a, b, c = Value(2.0, "a"), Value(-3.0, "b"), Value(6.5, "c")
    return (a * b + c).tanh(), a, b, c


def written() -> str:
    """Every op of both engines: its formula, and the chain rule of its step."""
    parts = []
    for title, nodes in (("scalar", scalar_nodes()), ("vector", vector_nodes())):
        for name, node in sorted(nodes.items()):
            root = node if title == "scalar" else vector.sum(node)
            frame = next(frame for frame in viz.steps(root) if frame.node is node)
            formula = viz.formula(node)
            parts.append("\n".join([f"{title}.{name}", formula.text, formula.latex, frame.text, frame.latex]))
    return "\n\n".join(parts) + "\n"


def pictures() -> dict[str, str]:
    scalars, tensors = ([node for _, node in sorted(nodes.items())] for nodes in (scalar_nodes(), vector_nodes()))
    for node in scalars:
        node.backward()
    for node in tensors:
        vector.sum(node).backward()
    return {
        "ops_scalar": viz.draw(scalars, local_derivatives=True).source,
        "ops_vector": viz.draw(tensors, local_derivatives=True).source,
    }


def test_every_op_is_written_as_it_was_when_read() -> None:
    assert written() == (GOLDEN / "ops.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["ops_scalar", "ops_vector"])
def test_every_op_is_drawn_as_it_was_when_looked_at(name: str) -> None:
    assert pictures()[name] == (GOLDEN / f"{name}.dot").read_text(encoding="utf-8")


def test_every_op_is_among_the_samples() -> None:
    assert scalar_nodes().keys() == scalar.ops.OPS.keys()
    assert vector_nodes().keys() == vector.ops.OPS.keys()


@pytest.mark.parametrize("name", sorted(scalar.ops.OPS))
def test_the_numbers_put_into_the_chain_rule_give_its_result(name: str) -> None:
    """What stands between the last two equal signs, computed by Python, is what stands after them."""
    for part in viz.steps(scalar_nodes()[name])[0].contributions:
        *_, filled, result = part.text.split(" = ") if part.text.count("=") > 2 else ["", "1.0", "1.0"]
        value = eval(filled, {key: getattr(scalar, key) for key in scalar.ops.OPS})
        assert value == pytest.approx(float(result), rel=1e-5)


@pytest.mark.parametrize("name", sorted(scalar.ops.OPS))
def test_latex_is_well_formed(name: str) -> None:
    node = scalar_nodes()[name]
    parse = MathTextParser("agg").parse
    for line in [viz.formula(node).latex, *(part.latex for part in viz.steps(node)[0].contributions)]:
        parse("$" + line.replace(r"\mathrel{+}=", "=") + "$")
    with pytest.raises(ValueError):
        parse(r"$\frac{a}{$")


def test_steps_are_those_of_backward() -> None:
    out, *_ = expression()
    frames = viz.steps(out)
    taken = list(scalar.backward_steps(out))
    assert [(id(frame.node), frame.gradient) for frame in frames] == [(id(step.node), step.gradient) for step in taken]
    assert [[part.amount for part in frame.contributions] for frame in frames] == [
        list(step.contributions) for step in taken
    ]
    assert [x.grad for x in (out, *out.inputs)] == [0.0, 0.0]


def test_totals_grow_to_the_gradient() -> None:
    x = Value(3.0, "x")
    out = x * x + x
    totals = [part.total for frame in viz.steps(out) for part in frame.contributions if part.node is x]
    out.backward()
    assert totals == [1.0, 4.0, 7.0]
    assert x.grad == 7.0


def test_a_frame_reads_as_a_sentence_and_the_chain_rule() -> None:
    out, *_ = expression()
    assert str(viz.steps(out)[2]) == (
        "3. a * b = -6.0 has its whole gradient, dL/d(a * b) = 0.786448. It hands a share to a and b.\n"
        "     dL/da += dL/d(a * b) * b = 0.786448 * -3.0 = -2.35934\n"
        "     dL/db += dL/d(a * b) * a = 0.786448 * 2.0 = 1.5729"
    )
    assert viz.steps(out)[2].contributions[0].latex == (
        r"\frac{\partial L}{\partial a} \mathrel{+}= "
        r"\frac{\partial L}{\partial (a \cdot b)} \cdot b = 0.786448 \cdot -3.0 = -2.35934"
    )
    assert viz.steps(out)[2].contributions[0].slope == -3.0


def test_local_derivatives_are_the_slopes_of_each_op() -> None:
    for node in scalar_nodes().values():
        slopes = [part.slope for part in viz.steps(node)[0].contributions]
        assert slopes == pytest.approx(scalar.grad(node, list(node.inputs)))


def test_the_branch_that_was_taken_is_written() -> None:
    for value, rule in ((2.0, "dL/dx += dL/dL = 1.0"), (-2.0, "dL/dx += 0.01 * dL/dL = 0.01 * 1.0 = 0.01")):
        assert viz.steps(scalar.leaky_relu(Value(value, "x")))[0].text == rule


def test_numbers_write_down_what_is_done_to_them() -> None:
    x = Symbolic(3.0, Name(Term("x"), Term("x")))
    done = [2 + x, x + 2, 2 - x, x - 2, 2 * x, x * 1, 2 / x, x / 1, -x]
    assert [each.name.code.text for each in done] == "2 + x|x + 2|2 - x|x - 2|2 * x|x|2 / x|x|-x".split("|")
    assert [each.data for each in done] == [5.0, 5.0, -1.0, 1.0, 6.0, 3.0, 2 / 3, 3.0, -3.0]
    assert [x < 3, x <= 3, x > 3, x >= 3, x == 3, x != 3] == [False, True, False, True, True, False]
    v = Symbolic(np.arange(3.0), Name(Term("v"), Term("v")))
    assert str((v >= 1) & (v <= 2)) == "v >= 1 and v <= 2" and str((v > 1) | (v < 1)) == "v > 1 or v < 1"
    assert v.astype(np.float32).data.dtype == np.float32 and v.astype(np.float32).name == v.name
    picked = Symbolic.apply(vector.ops.OPS["index"], [v], {"key": np.array([2, 0])})
    assert picked.name.code.text == "index(v, key=…)" and picked.data.tolist() == [2.0, 0.0]


def test_an_op_of_thousands_of_inputs_is_stepped_through_at_once() -> None:
    """Each rule is asked once for all inputs; once for each of them would be 2,000 times as long."""
    counted: list[int] = []
    derive = viz.maths.steps.derive
    xs = [Value(float(i), f"x{i}") for i in range(2000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viz.maths.steps, "derive", lambda *args: counted.append(1) or derive(*args))
        frame = viz.steps(scalar.dot(xs, xs[::-1]))[0]
    assert len(frame.contributions) == 4000 and len(counted) == 3
    assert frame.contributions[5].text == "dL/dx5 += dL/dL * x1994 = 1.0 * 1994.0 = 1994.0"


def test_a_condition_that_is_false_is_written() -> None:
    out = scalar.where(False, Value(1.0, "a"), Value(2.0, "b"))
    assert viz.formula(out).text == "L = where(False, a, b)"
    assert viz.steps(out)[0].text == "dL/da += 0 = 0.0\ndL/db += dL/dL = 1.0"


def test_a_number_for_a_name_is_nobodys_label() -> None:
    nodes = [Value(1.0, "v1"), Value(2.0), Value(3.0), Value(4.0, "u7")]
    parts = viz.steps(scalar.sum(nodes))[0].contributions
    assert [part.text.split()[0] for part in parts] == ["dL/dv1", "dL/dn1", "dL/dn2", "dL/du7"]


def test_equal_labels_are_told_apart() -> None:
    out = Value(1.0, "w") * Value(2.0, "w")
    assert [part.text[:12] for part in viz.steps(out)[0].contributions] == ["dL/dw += dL/", "dL/dw[2] += "]


def test_what_is_no_node_has_no_steps() -> None:
    with pytest.raises(TypeError, match=r"^steps: expected a node of scalar or vector, got float$"):
        viz.steps(3.0)
    with pytest.raises(ValueError, match="expected an output of one element"):
        viz.steps(vector.Tensor([1.0, 2.0]) * 2)


def test_a_long_chain_is_stepped_through() -> None:
    end = Value(0.5, "x")
    for _ in range(3000):
        end = end.tanh()
    assert len(viz.steps(end)) == 3001


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
    out, a, _, _ = expression()
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


def test_numbers_too_odd_for_maths_are_written_all_the_same() -> None:
    with np.errstate(all="ignore"):
        out = Value(math.inf, "x") * Value(0.0, "y") + Value(1e-310, "z")
        text = "\n".join(map(str, viz.steps(out)))
    assert "dL/dy += dL/d(x * y) * x = 1.0 * inf = inf" in text
    assert re.search(r"L = x \* y \+ z = nan", text)


if __name__ == "__main__":
    (GOLDEN / "ops.txt").write_text(written(), encoding="utf-8", newline="\n")
    for name, source in pictures().items():
        (GOLDEN / f"{name}.dot").write_text(source, encoding="utf-8", newline="\n")


def test_a_formula_shows_itself_in_a_notebook() -> None:
    formula = viz.formula(Value(2.0, "a") * Value(3.0, "b"))
    assert formula._repr_latex_() == f"$$\n{formula.latex}\n$$"
    assert formula.latex == r"L = a \cdot b"
