"""Operators, and Python's and numpy's own functions, on tensors: each keeps the graph, or cuts it in the open."""

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import scalar
import vector
from vector import Tensor
from vector.op import Op

ARRAY = np.zeros((2, 3))


@pytest.mark.parametrize("engine", [scalar.Value, Tensor])
def test_unary_plus(engine):
    x = engine(3.0)
    y = +x * +x + (+x)
    y.backward()
    assert (y.item(), float(x.grad)) == (12.0, 7.0)


def test_numpys_unary_plus():
    x = Tensor([3.0, 4.0])
    vector.sum(np.positive(x) * x).backward()
    assert x.grad.tolist() == [6.0, 8.0]


def test_a_number_in_a_text():
    assert f"{Tensor(1.25):.1f} {Tensor([[2.0]]):g}" == "1.2 2"
    assert f"{Tensor(1.0)}" == str(Tensor(1.0)) == "Tensor(1., shape=(), dtype=float64)"
    with pytest.raises(ValueError, match=r"item: expected one element, got shape \(2,\)"):
        f"{Tensor([1.0, 2.0]):.1f}"


def test_what_is_added_in_place_is_another_tensor():
    x = before = Tensor([1.0, 2.0])
    x += 1.0
    x *= x
    vector.sum(x).backward()
    assert before.data.tolist() == [1.0, 2.0] and before.grad.tolist() == [4.0, 6.0]


def test_pythons_sum_and_max():
    x, y = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    vector.sum(sum([x, y, x])).backward()
    assert x.grad.tolist() == [2.0, 2.0] and y.grad.tolist() == [1.0, 1.0]
    largest = max(y)
    largest.backward()
    assert y.grad.tolist() == [1.0, 2.0]


def assigned(t):
    ARRAY[0, 1] = t
    return ARRAY[0, 1]


def filled(t):
    ARRAY.fill(t)
    return ARRAY[0, 0]


EXPLICIT = [float, math.sqrt, np.float64, assigned, filled, lambda t: np.fromiter([t], float)[0]]
EXPLICIT += [lambda t: np.zeros(2).sum(initial=t)]


@pytest.mark.parametrize("ask", EXPLICIT)
def test_a_tensor_without_axes_becomes_a_float_where_one_is_asked_for(ask):
    """numpy asks like anybody else, by `float(t)`: these leave the graph."""
    expected = ask(4.0)
    got = ask(Tensor(4.0))
    assert got == expected and not isinstance(got, Tensor)


def assigned_row(t):
    ARRAY[0] = t


REFUSED = [
    assigned_row,
    lambda t: ARRAY.__setitem__(..., t[0]),
    lambda t: ARRAY.__setitem__(([0, 1], 1), t[0]),
    lambda t: np.array([t[0], 2.0]),
    lambda t: np.r_[t, 1.0],
    lambda t: np.c_[t, t],
    lambda t: np.int64(t),
    lambda t: np.full(3, t[0]),
    lambda t: np.arange(t[0]),
    lambda t: np.ones(3).dot(t),
    lambda t: np.random.default_rng(0).normal(t),
    lambda t: np.arange(3.0)[t],
]


@pytest.mark.parametrize("ask", REFUSED)
def test_where_numpy_wants_an_array_the_graph_is_not_cut(ask):
    with pytest.raises(TypeError, match="would cut it from the graph"):
        ask(Tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("ask", [lambda t, a: np.add(a, t, out=a), lambda t, a: a.__iadd__(t)])
def test_an_array_takes_no_tensor_in_place(ask):
    with pytest.raises(TypeError, match="expected no out= with tensors"):
        ask(Tensor([1.0, 2.0]), np.ones(2))


def test_gradients_that_meet_in_one_node_are_not_one_array():
    """An addition hands on what it gets: what is added in one place must not be seen in another."""
    a = Tensor(np.ones(3))
    b = a + 1.0
    c = b[0] + 1.5
    d = a + b
    e = d + c
    vector.sum(e).backward()
    assert_array_equal(a.grad, [5.0, 2.0, 2.0])
    assert_array_equal(b.grad, [4.0, 1.0, 1.0])
    a.grad[...] = 7.0
    b.grad[...] = 8.0
    assert_array_equal(d.grad, np.ones(3))
    assert_array_equal(e.grad, np.ones(3))


def test_a_gradient_within_the_function_that_is_differentiated():
    """d/dx of x * d(x y^2)/dy at y = 2 is that of 4 x^2."""
    x, y = Tensor(3.0), Tensor(2.0)
    inner = vector.grad(x * y * y, [y], create_graph=True)[0]
    (x * inner).backward()
    assert x.grad == 8.0 * 3.0


def test_data_changed_between_the_passes():
    """What a derivative reads may not change; what none reads may."""
    x = Tensor([2.0])
    y = x * 3.0
    x.data[...] = 5.0
    y.backward()
    assert x.grad.tolist() == [3.0]
    for f in (lambda x: x * x, vector.exp, lambda x: x / 2.0 + x**3.0, vector.log):
        x = Tensor([2.0])
        y = f(x)
        (y if f is vector.exp else x).data[...] = 3.0
        with pytest.raises(RuntimeError, match="was changed after the forward pass, and the derivative reads it"):
            y.backward()
        y = f(x)
        y.backward()  # a new forward pass


def test_a_gradient_that_is_assigned_is_that_array():
    x, g = Tensor([1.0, 2.0]), np.array([3.0, 4.0])
    x.grad = g
    assert x.grad is g
    x.grad = 0.5
    assert x.grad.tolist() == [0.5, 0.5]
    x.grad = None
    assert x.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("place", [0, 1, "out"])
def test_an_op_over_a_sequence_of_ones_own_is_watched(place):
    """Its rule reads all inputs and the result: a change of either between the passes is found."""

    def product(*xs):
        return math.prod(xs)

    own = Op(product, [lambda g, out, xs: [g * out / x for x in xs]])
    xs = [Tensor([2.0], "a"), Tensor([3.0], "b"), Tensor([5.0], "c")]
    own(*xs).backward()
    assert [x.grad.item() for x in xs] == [15.0, 10.0, 6.0]
    y = own(*xs)
    (y if place == "out" else xs[place]).data[...] = 7.0
    with pytest.raises(RuntimeError, match="the result" if place == "out" else f"input {place}, '{'ab'[place]}',"):
        y.backward()


def test_plain_numbers_take_the_dtype_of_numpys():
    assert vector.multiply(np.float32(2.0), 3.0).dtype == vector.power(2.0, np.float32(3.0)).dtype == np.float32
    assert vector.multiply(2.0, 3.0).dtype == np.float64
