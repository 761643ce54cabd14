"""The transforms of both engines on the same functions, to rounding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import scalar
import vector

NAMES = ("tanh", "exp", "sin", "softplus", "sigmoid")


@st.composite
def functions(draw):
    """A function of n numbers that gives m of them, for both engines, and where to differentiate it."""
    n, m = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    weights = draw(st.lists(st.floats(-2, 2), min_size=n * m, max_size=n * m))
    names = [draw(st.sampled_from(NAMES)) for _ in range(m)]
    x, v = ([draw(st.floats(-2, 2)) for _ in range(k)] for k in (n, max(n, m)))

    def rows(engine, xs, total):
        w = iter(weights)
        return [getattr(engine, name)(total([x * next(w) for x in xs]) + 0.5) for name in names]

    def on_values(*xs):
        return rows(scalar, xs, scalar.sum)

    def on_tensor(x):
        return vector.stack(rows(vector, [x[i] for i in range(n)], lambda xs: vector.sum(vector.stack(xs))))

    return on_values, on_tensor, x, v[:n], v[:m]


@given(functions())
def test_jacobians(case):
    f, g, x, v, u = case
    ones, many = scalar.jacobian(f, x), vector.jacobian(g, np.array(x))
    scale = 1.0 + np.abs(many).max()
    assert np.allclose(ones, many, rtol=0, atol=1e-12 * scale)
    for left, right in zip(scalar.jvp(f, x, v), vector.jvp(g, np.array(x), np.array(v)), strict=True):
        assert np.allclose(left, right, rtol=0, atol=1e-11 * scale)
    for left, right in zip(scalar.vjp(f, x, u), vector.vjp(g, np.array(x), np.array(u)), strict=True):
        assert np.allclose(left, right, rtol=0, atol=1e-11 * scale)


@given(functions())
def test_hessians(case):
    f, g, x, v, _ = case
    ones = scalar.hessian(lambda *xs: scalar.sum(f(*xs)), x)
    many = vector.hessian(lambda x: vector.sum(g(x)), np.array(x))
    scale = 1.0 + np.abs(many).max()
    assert np.allclose(ones, many, rtol=0, atol=1e-11 * scale)
    product = scalar.hvp(lambda *xs: scalar.sum(f(*xs)), x, v)[1]
    assert np.allclose(product, vector.hvp(lambda x: vector.sum(g(x)), np.array(x), np.array(v))[1], atol=1e-10 * scale)
    assert np.allclose(product, many @ v, rtol=0, atol=1e-10 * scale)


def test_single_numbers():
    cube, slope = scalar.value_and_grad(lambda x: x**3)(2.0)
    assert (cube, slope) == (8.0, 12.0)
    assert scalar.hessian(lambda x: x**3, 2.0) == 12.0 == scalar.hvp(lambda x: x**3, 2.0, 1.0)[1]
    assert scalar.jacobian(scalar.exp, 0.0) == 1.0 == vector.jacobian(vector.exp, 0.0)


def test_the_mode_of_the_caller_stays():
    with scalar.no_grad():
        assert scalar.jacobian(lambda x: x * x, 3.0) == 6.0
        assert not (scalar.Value(1.0) * 2.0).requires_grad
