"""The backward pass in words: the engine's own steps and rules, op by op, against golden text.

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

GOLDEN = Path(__file__).parent / "golden"


def expression() -> Value:
    a, b, c = Value(2.0, "a"), Value(-3.0, "b"), Value(6.5, "c")
    return (a * b + c).tanh()


def all_ops() -> str:
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
    assert all_ops() == (GOLDEN / "ops.txt").read_text(encoding="utf-8")


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
        line = re.sub(r"\\begin\{cases\} (.*) & (.*) \\\\ (.*) & (.*) \\end\{cases\}", r"\1 \2 \3 \4", line)
        parse("$" + line.replace(r"\mathrel{+}=", "=") + "$")
    with pytest.raises(ValueError):
        parse(r"$\frac{a}{$")


def test_steps_are_those_of_backward() -> None:
    out = expression()
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
    out = expression()
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


def test_the_branch_that_was_taken_is_all_ops() -> None:
    for value, rule in ((2.0, "dL/dx += dL/dL = 1.0"), (-2.0, "dL/dx += 0.01 * dL/dL = 0.01 * 1.0 = 0.01")):
        assert viz.steps(scalar.leaky_relu(Value(value, "x")))[0].text == rule


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


def test_a_condition_that_is_false_is_all_ops() -> None:
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


def test_numbers_too_odd_for_maths_are_written_all_the_same() -> None:
    with np.errstate(all="ignore"):
        out = Value(math.inf, "x") * Value(0.0, "y") + Value(1e-310, "z")
        text = "\n".join(map(str, viz.steps(out)))
    assert "dL/dy += dL/d(x * y) * x = 1.0 * inf = inf" in text
    assert re.search(r"L = x \* y \+ z = nan", text)


if __name__ == "__main__":
    (GOLDEN / "ops.txt").write_text(all_ops(), encoding="utf-8", newline="\n")
    for name, source in pictures().items():
        (GOLDEN / f"{name}.dot").write_text(source, encoding="utf-8", newline="\n")
