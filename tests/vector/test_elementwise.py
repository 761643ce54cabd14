"""How exact elementwise ops are, against functions that are known to be, and what powers are made of."""

import math

import numpy as np
import pytest

import scalar
import vector
from vector import Tensor


def ulps(found, expected):
    """How many units in the last place of the expected numbers the found ones are away."""
    return np.max(np.abs(found - expected) / np.spacing(np.abs(expected)))


def by_math(f, x):
    return np.array([f(number) for number in x.tolist()])


def test_the_error_function_is_exact_to_two_units():
    for x in (np.linspace(-0.52, 0.52, 4001), np.linspace(0.4, 7.0, 4001), 10.0 ** np.linspace(-300, 2, 500)):
        assert ulps(vector.erf(x), by_math(math.erf, x)) <= 2.5  # half a unit is the reference's own
        assert np.array_equal(vector.erf(-x), -vector.erf(x))


@pytest.mark.parametrize("low, high, error", [(-6.0, 1.0, 1e-15), (1.0, 6.0, 1e-14), (6.0, 26.5, 2e-12)])
def test_the_rest_of_the_error_function_is_exact_where_it_is_small(low, high, error):
    x = np.linspace(low, high, 4001)
    np.testing.assert_allclose(vector.erfc(x), by_math(math.erfc, x), rtol=error)


def test_gelu_is_exact_where_it_is_small():
    x = np.linspace(-12.0, 0.0, 2001)
    expected = by_math(lambda t: 0.5 * t * math.erfc(-t / math.sqrt(2.0)), x)
    np.testing.assert_allclose(vector.gelu(x), expected, rtol=3e-14)


def test_gelu_of_the_hyperbolic_tangent_is_near_gelu():
    x = np.linspace(-6.0, 6.0, 601)
    assert np.max(np.abs(vector.gelu_tanh(x) - vector.gelu(x))) < 5e-4
    inner = np.sqrt(2.0 / np.pi) * (x + 0.044715 * x * x * x)
    np.testing.assert_allclose(vector.gelu_tanh(x), 0.5 * x * (1.0 + np.tanh(inner)), rtol=1e-13, atol=1e-15)


def test_softplus_is_as_exact_as_numpys():
    x = np.concatenate([np.linspace(-50.0, 50.0, 4001), 10.0 ** np.linspace(-20, 300, 300), [-745.0, -700.0]])
    assert ulps(vector.softplus(x), np.logaddexp(x, 0.0)) <= 2.0


def test_selu_keeps_mean_and_variance():
    """Of normal numbers, by the trapezoidal rule."""
    x = np.linspace(-12.0, 12.0, 100_001)
    weights = np.exp(-x * x / 2.0) / math.sqrt(2.0 * math.pi) * (x[1] - x[0])
    y = vector.selu(x)
    assert abs(np.sum(y * weights)) < 1e-8 and abs(np.sum(y * y * weights) - 1.0) < 1e-7


def test_powers_by_small_whole_numbers_are_products():
    x = np.random.default_rng(0).normal(size=1000) * 10.0
    for n, product in {2: x * x, 3: x * x * x, 4: x * x * x * x}.items():
        for exponent in (n, float(n), np.full(x.shape, float(n)), np.float32(n), Tensor(float(n))):
            assert np.array_equal(vector.power(Tensor(x), exponent).data, product)
        assert [scalar.power(number, n) for number in x[:50].tolist()] == product[:50].tolist()
        t = Tensor(x)
        vector.sum(t**n).backward()
        assert np.array_equal(t.grad, 1.0 * n * (vector.power(x, n - 1.0)))


def test_powers_of_exponents_of_all_kinds():
    """Each is what it is for that exponent alone, whatever stands beside it."""
    x = np.array([-2.0, -0.0, 0.0, 0.7, 3.0, np.inf, -np.inf, np.nan])
    exponents = np.array([2.0, 3.0, 4.0, 0.5, -1.0, 1.0, 0.0, 5.0, 2.5, -3.0, np.inf, np.nan])
    with np.errstate(all="ignore"):
        together = vector.power(x[:, None], exponents)
        for n, column in zip(exponents.tolist(), together.T, strict=True):
            alone = vector.power(x, n)
            assert np.array_equal(alone, column, equal_nan=True)
            assert np.array_equal(np.signbit(alone), np.signbit(column))


def test_powers_of_two_dtypes_have_the_larger():
    x = np.array([0.1, 0.3, 1.7], np.float32)
    for n in (2.0, 3.0, 4.0, 0.7):
        found = vector.power(Tensor(x), Tensor(n, requires_grad=False))
        assert found.dtype == np.float64
        assert np.array_equal(found.data, vector.power(x.astype(np.float64), n))
        assert vector.power(Tensor(x), n).dtype == np.float32


def test_numpys_own_names():
    t = Tensor([0.25, -1.5, 2.5])
    for f, op in {
        np.rint: "round",
        np.round: "round",
        np.fabs: "abs",
        np.remainder: "mod",
        np.arccosh: "arccosh",
    }.items():
        args = (t, 2.0) if op == "mod" else (t + 2.5,)
        assert f(*args).op is vector.ops.OPS[op]
    assert np.round(t, 1).data.tolist() == [0.2, -1.5, 2.5] and np.round(t, decimals=-1).data.tolist() == [
        0.0,
        -0.0,
        0.0,
    ]
    with pytest.raises(TypeError, match="expected no out="):
        np.round(t, out=np.ones(3))
