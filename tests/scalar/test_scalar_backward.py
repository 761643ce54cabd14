"""`backward` is a loop of its own; it must give the numbers, warnings and errors of `backward_steps` on every graph."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from judging import SAMPLES, heard, same

import scalar
from scalar import Value

OPS = scalar.ops.OPS
NUMBERS = [0.5, -1.5, 2.0, 0.3, 1.0, 0.0, -0.0, 3.0, -2.0, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan]


@st.composite
def graphs(draw):
    """The nodes of a graph of any ops, over leaves of which some are constants; the last is a root."""
    special = draw(st.booleans())
    number = st.sampled_from(NUMBERS) if special else st.floats(0.1, 3.0)
    nodes = [Value(draw(number), f"x{i}", draw(st.integers(0, 4)) > 0) for i in range(draw(st.integers(1, 5)))]
    with np.errstate(all="ignore"):
        for _ in range(draw(st.integers(1, 12))):
            op = OPS[draw(st.sampled_from(sorted(OPS)))]
            size = len(op.inputs) * draw(st.integers(1, 4)) if op.over else len(op.inputs)
            inputs = [draw(st.sampled_from(nodes)) for _ in range(size)]
            settings = {name: draw(st.sampled_from(SAMPLES[name])) for name in op.defaults}
            nodes.append(Value.apply(op, inputs, settings))
    assume(nodes[-1].requires_grad)
    return nodes


def by_steps(root, gradient):
    return {id(step.node): step.gradient for step in scalar.backward_steps(root, gradient)}


@given(graphs(), st.sampled_from([1.0, -2.5, 0.0, -0.0, 1e308, math.inf, math.nan]))
def test_the_same_numbers_and_warnings(nodes, gradient):
    root = nodes[-1]
    expected, warned = heard(by_steps, root, gradient)
    _, warned_too = heard(root.backward, gradient)
    assert warned_too == warned
    order = scalar.topological_order(root)
    for node in order:
        if id(node) in expected:
            assert type(node.grad) is float
            assert same(node.grad, expected[id(node)], signed_zeros=node.op is not None).all(), node
        else:
            assert node.grad == 0.0
    before = {id(node): node.grad for node in order}
    with np.errstate(all="ignore"):
        root.backward(gradient)
    for node in order:
        total = before[id(node)] * (1.0 + (node.op is None))
        terms = 100.0 * abs(before[id(node)]) if math.isfinite(total) else 0.0
        if all(math.isfinite(other.grad) for other in order):
            assert node.grad == pytest.approx(total, rel=1e-12, abs=1e-12 * terms)


@given(graphs(), st.data())
def test_the_same_refusals(nodes, data):
    """Some numbers are changed: either way raises the same error, or none."""
    for _ in range(data.draw(st.integers(1, 3))):
        data.draw(st.sampled_from(nodes)).data = data.draw(st.sampled_from(NUMBERS))
    root = nodes[-1]

    def outcome(run):
        try:
            return run(root, 1.0)
        except RuntimeError as error:
            return str(error)

    with np.errstate(all="ignore"):
        expected = outcome(by_steps)
        found = outcome(Value.backward)
    if isinstance(expected, str):
        assert found == expected
    else:
        assert found is None
        for node in scalar.topological_order(root):
            if id(node) in expected:
                assert same(node.grad, expected[id(node)], signed_zeros=node.op is not None).all()


@given(graphs(), st.data())
def test_nodes_frozen_after_the_forward_pass(nodes, data):
    """Where no gradient is wanted any more, none goes through."""
    for node in data.draw(st.lists(st.sampled_from(nodes[:-1]), max_size=3)):
        node.requires_grad = False
    for node in nodes:
        node.grad = 0.0 if node.op else 7.0
    with np.errstate(all="ignore"):
        expected = by_steps(nodes[-1], 1.0)
        nodes[-1].backward()
    for node in nodes:
        if id(node) not in expected:
            assert node.grad == (0.0 if node.op else 7.0)
        elif node.op and math.isfinite(expected[id(node)]):
            assert node.grad == pytest.approx(expected[id(node)], rel=1e-9, abs=1e-300)


def test_a_wrong_loop_is_found(monkeypatch):
    """The tests above convict a backward pass that drops a contribution, or takes one twice."""
    x = Value(0.5)
    root = x * x + x
    expected = by_steps(root, 1.0)
    monkeypatch.setattr(scalar.autodiff, "inner_nodes", lambda output, mark: ([output], [], []))
    root.backward()
    assert x.grad != expected[id(x)]


def test_a_pass_that_is_interrupted_leaves_nothing_behind(monkeypatch):
    x = Value(0.5)
    inner = x * 2.0
    root = inner * inner
    with monkeypatch.context() as patch:
        patch.setattr(scalar.ops.multiply, "rules", (lambda g: g.no, lambda g: g))
        with pytest.raises(AttributeError):
            root.backward()
    x.grad = 0.0
    root.backward()
    assert (x.grad, inner.grad) == (4.0, 2.0)


@pytest.mark.parametrize("operate", [lambda x, y: x * y, lambda x, y: x + y, lambda x, y: x / y, lambda x, y: x.tanh()])
def test_a_node_takes_less_than_300_bytes(operate):
    """With its number, its gradient and all that it keeps for the backward pass."""
    x, y = Value(0.5), Value(1.5)
    operate(x, y).backward()
    tracemalloc.start()
    before, count = tracemalloc.get_traced_memory()[0], 10_000
    nodes = [operate(x, y) for _ in range(count)]
    for node in nodes:
        node.backward()
    each = (tracemalloc.get_traced_memory()[0] - before) / count - 8.0  # the list's place
    tracemalloc.stop()
    assert each < 250.0, each


def test_numbers_of_numpys_do_not_stay():
    """Data that a user sets to a number of another type: what ops make of it are floats."""
    x, y = Value(0.5), Value(2.0)
    x.data = np.float64(3.0)
    for out in (x * y, x + y, x - 1.0, y / x, x * 1e300, -x):
        assert type(out.data) is float
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert (x * 1e308 * 10.0).data == math.inf

    (x * y).backward()
    (y * x).backward()
    assert (x.grad, y.grad) == (4.0, 6.0) and type(x.grad) is type(y.grad) is float


def test_gradients_that_overflow_where_they_add_up():
    """Each contribution is finite."""
    for root in (lambda x: x + x, lambda x: scalar.sum([x, x]), lambda x: scalar.dot([x, x], [1.0, 1.0])):
        for overflows in (lambda x, f: f(x).backward(1e308), lambda x, f: (f(x * 1.0) * 1e308).backward()):
            x = Value(0.5)
            with pytest.warns(RuntimeWarning, match="overflow encountered in add"):
                overflows(x, root)
            assert x.grad == math.inf


def test_copies_of_leaves_and_of_graphs():
    import copy
    import pickle

    for duplicate in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        x = duplicate(Value(2.0, "a"))
        (x * x).tanh().backward()
        assert x.grad == pytest.approx(4.0 * (1.0 - math.tanh(4.0) ** 2)) and x.inputs == ()


def test_a_second_pass_adds_its_whole_sum():
    """Not each contribution by itself, which would round otherwise."""
    x, y = Value(0.1), Value(0.1)
    for leaf, passes in ((x, 1), (y, 3)):
        out = leaf * 0.3 + leaf * 0.7 + leaf.tanh()
        for _ in range(passes):
            out.backward()
    g = x.grad
    assert y.grad == g + g + g


def test_a_pass_that_fails_half_way_loses_no_earlier_gradient():
    x, y = Value(2.0, "x"), Value(3.0, "y")
    (x * y).backward()
    out = (x * y) * y
    y.data = 4.0
    with pytest.raises(RuntimeError, match="was changed after the forward pass"):
        out.backward()
    assert (x.grad, y.grad) == (3.0, 2.0)
