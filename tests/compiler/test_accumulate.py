"""W -= x @ g as one call of BLAS: only where it is the same, and the same numbers. The arrays hold small whole numbers,
of which sums are exact in any order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders import ORDERS
from programs import after, made_of, record, run
from recorded import same

import vector
from vector.compiler import codegen, passes
from vector.runtime import blas
from vector.runtime.threads import use_threads

N = 160  # rows and columns, so that a product takes more bytes than a small one
pytestmark = pytest.mark.skipif(
    blas.routine("gemm", np.dtype(float)) is None, reason="numpy multiplies with another library"
)


def whole(seed, *shape):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(float)


def take_away(w, x, y):
    w.data[...] = w.data - x.T @ y


def in_place(w, x, y):
    w.data -= x.T @ y


def add(w, x, y):
    w.data += x @ y


def stacked(w, x, y):
    w.data -= np.reshape(np.matmul(x.reshape((2, N // 2, N)), y), (N, N))


def by_columns(w, x, y):
    """The weight lies column by column: in the product's shape it would be a copy."""
    turned = np.transpose(w.data)
    turned -= np.reshape(np.matmul(x.reshape((2, N // 2, N)), y), (N, N))


def chain(x, y):
    return x @ y + y @ x + x.T @ y + y.T @ x


def accumulated(w, x, y):
    w.data[...] = w.data - (x.T @ y + y.T @ x)


def and_returned(w, x, y):
    product = x @ y
    w.data -= product
    return product


def of_itself(w, x, y):
    w.data -= w.data @ y


def of_a_sum_with_itself(x, y):
    total = x + y
    return total + total @ y


def of_what_changes_between(w, v, x, y):
    product = x @ v.data
    v.data += 1.0
    w.data -= product


def of_what_was_a_sum(x, y):
    first, other = x @ y, y @ x
    total = other + first  # in the memory of one of them
    return (total + x.T @ y) + first


def of_a_factor_added_to(x, y):
    first = x @ y
    second = first @ y
    third = first + x.T @ y
    return third + second


def from_it(w, x, y):
    w.data[...] = x @ y - w.data


def other_dtype(w, x, y):
    w.data -= x.astype(np.float32) @ y.astype(np.float32)


def small(w, x, y):
    w.data[:2, :2] -= x[:2] @ y[:, :2]


ONE, TWO = [whole(0, N, N)], [whole(0, N, N), whole(1, N, N)]
STEPS = {  # the step, the tensors it has, and how many products are added where they are computed
    "a weight less a product": (take_away, ONE, 1),
    "in place": (in_place, ONE, 1),
    "a weight and a product": (add, ONE, 1),
    "a product of a stack": (stacked, ONE, 1),
    "a product of a stack, for a weight by columns": (by_columns, ONE, 0),
    "a sum of products": (chain, [], 3),
    "a weight less a sum of products": (accumulated, ONE, 1),
    "a product that is returned": (and_returned, ONE, 0),
    "a product of the weight": (of_itself, ONE, 0),
    "a product of the sum": (of_a_sum_with_itself, [], 0),
    "a product of what changes before the update": (of_what_changes_between, TWO, 0),
    "a product read again": (of_what_was_a_sum, [], 1),
    "a factor that is read again": (of_a_factor_added_to, [], 1),
    "a product less a weight": (from_it, ONE, 0),
    "a product of another dtype": (other_dtype, ONE, 0),
    "a small product": (small, ONE, 0),
}
CALLS = [[whole(k, N, N), whole(k + 9, N, N)] for k in range(3)]
PASSES = (passes.eliminate_dead_code, passes.update_in_place, passes.accumulate_products)


def added(program):
    return sum(isinstance(call.function, blas.ProductUpdate) for call in program.statements())


FIRST = (take_away, in_place, add, stacked)  # of which the first argument is the first factor alone


@pytest.mark.parametrize(
    ("name", "given"), [(name, given) for name, (f, *_) in STEPS.items() for given in (False, True)[: 1 + (f in FIRST)]]
)
def test_products_are_added_where_that_is_the_same(name, given):
    """What it is multiplied with is computed by the step; the other factor, too, or it is an argument."""
    f, tensors, count = STEPS[name]
    make = made_of(lambda *args: f(*args[:-2], args[-2] if given else -args[-2], -args[-1]), *tensors)
    assert added(after(record(make()[0], *CALLS[0]), *PASSES)) == count
    got = run(make, CALLS, *PASSES, passes.fuse_updates, passes.unify_shapes, passes.parallelize)[0]
    for a, b in zip(run(make, CALLS)[0], got, strict=True):
        assert same(a, b)


def test_without_blas_of_numpys_the_program_is_as_before(monkeypatch):
    monkeypatch.setattr(blas, "routine", lambda name, dtype: None)
    recorded = after(record(made_of(lambda w, x, y: in_place(w, x, -y), *ONE)()[0], *CALLS[0]))
    assert [*map(repr, passes.accumulate_products(recorded).calls)] == [*map(repr, recorded.calls)]


@pytest.mark.parametrize("overlapping", [False, True], ids=["apart", "in one memory"])
def test_an_argument_may_lie_in_the_memory_of_the_weight(overlapping, workers_alone):
    w = vector.Tensor(whole(0, N, N), requires_grad=True)

    @vector.compile(exact=False)
    def step(x):
        w.data -= np.matmul(x, np.negative(x))
        return vector.sum(w)

    x = whole(1, N, N)
    step(x)
    assert added(step.program) == 1
    if overlapping:
        x = w.data.view()
    expected = w.data + x @ x
    step(x)
    assert same(w.data, expected)


@pytest.mark.parametrize("order", ORDERS)
def test_threads_update_a_weight_from_its_own_memory(order, eager, monkeypatch):
    """Each part reads the argument as it was, though other parts write to the weight by then."""
    monkeypatch.setattr(codegen, "parallel_for", ORDERS[order])
    w = vector.Tensor(whole(0, N, N), requires_grad=True)

    @vector.compile(exact=False)
    def step(x, y):
        w.data -= np.reshape(np.matmul(np.reshape(np.transpose(x), (4, N // 4, N)), np.negative(y)), (N, N))
        return vector.sum(w)

    with use_threads(2):
        step(whole(1, N, N), whole(2, N, N))
        assert added(step.program) == len(next(c for c in step.program.calls if c.parts).parts)
        for x in (whole(1, N, N), w.data.view(), w.data[::1]):
            expected = w.data + x.T @ whole(2, N, N)
            step(x, whole(2, N, N))
            assert same(w.data, expected)


@given(
    st.sampled_from(["float32", "float64"]),
    st.lists(st.integers(1, 7), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.sampled_from([1.0, -1.0]),
    st.booleans(),
    st.integers(0, 2),
)
def test_the_product_is_added_however_the_matrices_lie(dtype, sizes, ways, sign, fixed, stack):
    """Transposed, or parts of larger ones, and stacks."""
    n, k, m = sizes

    def matrix(rows, columns, turned, cut, seed):
        shape = (columns, rows) if turned else (rows, columns)
        array = whole(seed, shape[0], shape[1] + 3 * cut).astype(dtype)[:, : shape[1]]
        return array.T if turned else array

    x, y = matrix(n, k, ways[0], ways[1], 0), matrix(k, m, ways[2], ways[3], 1)
    w = matrix(n, m, False, ways[5], 2)
    if stack:
        x, w = np.stack([x] * stack), np.stack([w] * stack)
    assert blas.takes(x, y, w)
    expected = w + sign * (x @ y)
    update = blas.ProductUpdate(sign, fixed)
    assert update(w, x, y, out=w) is w
    assert same(w, expected)
    assert same(update(w, x, y, out=w), expected + sign * (x @ y))
    assert bool(update.places) == fixed
    assert same(update(w, x + 1, y, out=w), expected + sign * (x @ y + (x + 1) @ y))


def test_gaps_are_refused():
    update = blas.ProductUpdate(1.0, False)
    gaps = np.zeros((4, 8))[:, ::2]
    assert not blas.takes(gaps, gaps, gaps)
    with pytest.raises(ValueError, match="add_product: expected rows or columns without gaps, got strides"):
        update(gaps, gaps, gaps, out=gaps)
