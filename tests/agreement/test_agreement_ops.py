"""Op by op, from the op tables: both engines give the same bits, and the same warnings."""

import itertools
import math

import numpy as np
import pytest
from bounds import close
from engines import both
from hypothesis import given
from hypothesis import strategies as st
from judging import (
    GRADIENTS,
    ROWS,
    SEQUENCES,
    SPECIALS,
    VECTOR_ONLY_OPS,
    ZERO_SIGN_FREE,
    agree,
    by_array,
    by_number,
    elementwise,
    grid,
    heard,
    params_of,
    same,
    sequence_ops,
    twins,
)
from strategies import part

import scalar
import vector

OPS = [(name, params) for name in elementwise() for params in params_of(scalar.ops.OPS[name])]
SEQUENCE_OPS = [*sequence_ops(), *ROWS]
MIDDLING = {s * x for s in (1.0, -1.0) for x in (0.3, 3.0, 37.0, 709.78, 745.2, 1e-8, 1.0 + 2**-52, 1e16, 1e-310)}
ordinary = st.floats(-50, 50) | st.floats(-1e3, 1e3) | st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize("name", sorted(twins()))
def test_every_op_has_a_twin(name):
    for engine in (scalar, vector):
        assert callable(getattr(engine, name, None)), f"{engine.__name__} has no {name}"
    if name in elementwise():
        mine, other = scalar.ops.OPS[name], vector.ops.OPS[name]
        assert (len(mine.rules), mine.defaults) == (len(other.rules), other.defaults)
    if name in sequence_ops():
        mine, other = scalar.ops.OPS[name], vector.ops.OPS.get(name)
        assert not mine.defaults or mine.defaults.items() <= other.defaults.items()


def test_the_list_of_vector_only_ops_is_true():
    assert set(vector.ops.OPS) >= VECTOR_ONLY_OPS
    assert not VECTOR_ONLY_OPS & set(scalar.ops.OPS)


@pytest.mark.parametrize("name, params", OPS)
def test_special_numbers(name, params):
    agree(name, grid(len(scalar.ops.OPS[name].rules)), params)


@pytest.mark.parametrize("name, params", OPS)
@part(3)
@given(data=st.data())
def test_any_numbers(name, params, data):
    inputs = len(scalar.ops.OPS[name].rules)
    rows = data.draw(st.lists(st.tuples(*[ordinary] * (inputs + 1)), min_size=1, max_size=20))
    agree(name, list(np.array(rows).T), params)


@pytest.mark.parametrize("name, params", OPS)
def test_every_length_and_step(name, params):
    """numpy computes 4, 8 or 16 numbers at once, and the rest one by one: the bits must not depend on where a number
    stands. (Arrays walked backwards are left out, see `test_backwards`.)"""
    inputs = len(scalar.ops.OPS[name].rules)
    rng = np.random.default_rng(7)
    for length, step in itertools.product([*range(18), 31, 64, 65], (1, 2, 3, 7)):
        columns = [(rng.normal(size=length * step) * 10.0 ** rng.integers(-2, 3))[::step] for _ in range(inputs + 1)]
        if length:
            agree(name, columns, params)


@pytest.mark.parametrize("name, params", OPS)
def test_broadcast_rows_columns_and_single_numbers(name, params):
    """What a number gives must not depend on which of the inputs is an array, a row, a column or a single number."""
    op = vector.ops.OPS[name]
    pool = np.array([0.3, -1.0, 2.0, 0.5, -2.0, 0.0, -0.0, 3.0, -np.inf, np.inf, -0.7, np.nan])
    shapes = [(), (1,), (4,), (3, 1), (1, 1), (3, 4)]
    rng = np.random.default_rng(3)
    for chosen in itertools.product(shapes, repeat=len(op.rules)):
        xs = [rng.choice(pool, shape) for shape in chosen]
        with np.errstate(all="ignore"):
            out = np.asarray(op.value(xs, params))
            g = np.ones(out.shape)
            slopes = [np.broadcast_to(s, out.shape) for s in op.gradients(g, out, xs, params, [True] * len(xs))]
            spread = [np.broadcast_to(x, out.shape).ravel().tolist() for x in xs]
            slow = np.array([by_number(name, row, 1.0, params) for row in zip(*spread, strict=True)]).T
        for fast, expected in zip([out, *slopes], slow, strict=True):
            assert same(fast.ravel(), expected, signed_zeros=name not in ZERO_SIGN_FREE).all(), (xs, fast, expected)


@pytest.mark.parametrize("name", ["exp", "log"])
def test_backwards(name):
    """A known limit: over an array walked backwards, numpy takes exp and log from the C library on some processors,
    and these differ from its own in the last bit now and then."""
    xs = np.random.default_rng(1).uniform(0.1, 700.0, 4096)
    forwards, backwards = vector.ops.OPS[name].value([xs], {}), vector.ops.OPS[name].value([xs[::-1]], {})[::-1]
    assert np.abs(forwards.view(np.int64) - backwards.view(np.int64)).max() <= 1


@pytest.mark.parametrize("name, params", OPS)
def test_the_same_warnings(name, params):
    """numpy says "scalar multiply" for a lone number where it says "multiply" for an array; `heard` drops that word."""
    inputs = len(scalar.ops.OPS[name].rules)
    gradients = itertools.cycle(GRADIENTS[:4]) if inputs > 1 else itertools.repeat(1.0)
    specials = SPECIALS if inputs == 1 else [x for x in SPECIALS if x not in MIDDLING]
    for xs, g in zip(itertools.product(specials, repeat=inputs), gradients, strict=False):
        _, slow = heard(by_number, name, xs, g, params)
        for shape in ((1,), ()):
            _, fast = heard(by_array, name, [np.full(shape, x) for x in xs], np.full(shape, g), params)
            assert fast == slow, (xs, g, shape)


@pytest.mark.parametrize("name, params", OPS)
def test_float32_stays_float32(name, params):
    xs = [vector.Tensor(np.full((2, 3), x, np.float32)) for x in (0.5, 1.5)[: len(scalar.ops.OPS[name].rules)]]
    with np.errstate(invalid="ignore"):  # not all are in the domain of each
        out = vector.ops.OPS[name](*xs, **params)
        vector.sum(out).backward()
    assert out.dtype == np.float32
    assert [x.grad.dtype for x in xs] == [np.float32] * len(xs)


# --- over sequences: sums may be taken in another order --------------------------------------------------------------


@pytest.mark.parametrize("name", SEQUENCE_OPS)
@given(data=st.data())
def test_sequences(name, data):
    n = data.draw(st.integers(1, 6))
    numbers = st.floats(-50, 50) | st.sampled_from([0.0, 1.0, -1.0, 1e-3, 20.0])
    sequences = data.draw(
        st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=(k := SEQUENCES.get(name, 1)), max_size=k)
    )
    slow, fast, bound = both(name, sequences)
    if name in ("max", "min"):
        assert same(slow, fast).all()
    assert close(slow, fast, bound)


@pytest.mark.parametrize("name", SEQUENCE_OPS)
@given(data=st.data())
def test_sequences_of_special_numbers(name, data):
    """Where a number is infinite or NaN in one engine, so it is in the other."""
    n = data.draw(st.integers(1, 4))
    numbers = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1e4, -1e4, math.inf, -math.inf, math.nan, 1e-310])
    sequences = data.draw(
        st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=(k := SEQUENCES.get(name, 1)), max_size=k)
    )
    slow, fast, bound = both(name, sequences)
    finite = np.isfinite(slow)
    assert same(slow[~finite], fast[~finite]).all(), (slow, fast)
    assert close(slow[finite], fast[finite], np.where(np.isfinite(bound), bound, np.inf)[finite])


@pytest.mark.parametrize("name", SEQUENCE_OPS)
def test_sequences_warn_alike(name):
    """One array's sum is a "reduce" or a "matmul" to numpy, and many numbers' is an "add": what is compared is what
    was encountered, not where."""
    pool = [0.0, 1.0, 709.0, 710.0, 1e4, -1e4, 1e308, -1e308, math.inf, -math.inf, math.nan]
    for xs in itertools.product(pool, repeat=2):

        def run(engine, node, xs=xs):
            out = getattr(engine, name)(*[node(xs)] * SEQUENCES.get(name, 1))
            (out[0] if name in ROWS else out).backward()

        _, fast = heard(run, vector, vector.Tensor)
        _, slow = heard(run, scalar, lambda xs: [scalar.Value(x) for x in xs])
        assert {text.split(" encountered")[0] for _, text in fast} == {
            text.split(" encountered")[0] for _, text in slow
        }, xs
