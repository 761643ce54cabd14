"""Products that BLAS's own threads compute at one time: the same bits by any number of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import record
from recorded import always, same

import vector
from vector import nn
from vector.compiler.ir import Call, Program, Var
from vector.compiler.passes import multiply_at_once
from vector.runtime import blas, matmul, threads
from vector.runtime.blas import Moving, ProductsAtOnce, ProductUpdate

pytestmark = pytest.mark.skipif(blas.routine("gemm_batch", np.dtype("f")) is None, reason="numpy has another BLAS")
SIZES = (130, 100, 160)  # n, k and m, of more multiply-adds than a million


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)
    monkeypatch.setattr(threads.Autotuner, "advice", always)


def laid(rng, n, m, dtype, way):
    """A matrix by rows, by columns, or a part of a larger one."""
    if way == "columns":
        return rng.normal(size=(m, n)).astype(dtype).T
    return (
        rng.normal(size=(n, m + 7)).astype(dtype)[:, 3 : m + 3] if way == "part" else rng.random((n, m)).astype(dtype)
    )


WAYS = st.sampled_from(["rows", "columns", "part"])


@given(
    st.sampled_from(["float32", "float64"]),
    st.lists(WAYS, min_size=4, max_size=4),
    st.sampled_from([None, 1.0, -1.0]),
    st.integers(1, 3),
    st.booleans(),
)
def test_products_are_those_of_numpy_however_the_matrices_lie(dtype, ways, sign, count, moving):
    rng, (n, k, m) = np.random.default_rng(0), SIZES
    products = []
    for _ in range(count):
        out = laid(rng, n, m, dtype, "part" if ways[2] == "columns" else ways[2])
        products.append((laid(rng, n, k, dtype, ways[0]), laid(rng, k, m, dtype, ways[1]), out))
    expected = [
        x.astype(float) @ y.astype(float) * (sign or 1.0) + (0.0 if sign is None else out) for x, y, out in products
    ]
    before = [out.copy() for _, _, out in products]
    given_ = [x for x, _, _ in products] if moving else []
    told = [(Moving(i, lambda x: x) if moving else x, y, out) for i, (x, y, out) in enumerate(products)]
    results = []
    with threads.use_threads(2):
        for helpers in (0, 1, 2):
            for (_, _, out), old in zip(products, before, strict=True):
                out[...] = old
            ProductsAtOnce(sign, told)(helpers, *given_)
            results.append([out.copy() for _, _, out in products])
    assert all(same(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
    bound = 4 * k * np.finfo(dtype).eps
    for got, right, (x, y, _) in zip(results[0], expected, products, strict=True):
        assert np.all(np.abs(got - right) <= bound * (np.abs(x).astype(float) @ np.abs(y) + np.abs(right)))


def test_each_call_reads_the_argument_that_it_is_given():
    """Also one that lies in the memory of a result, which is read as it was."""
    rng, (n, k, _) = np.random.default_rng(0), SIZES
    y, w = rng.random((k, k)).astype("f"), rng.random((2 * n, k)).astype("f")
    halves = [Moving(0, lambda x: x[:n]), Moving(0, lambda x: x[n:])]
    add = ProductsAtOnce(1.0, [(halves[0], y, w[:n]), (halves[1], y, w[n:])])
    for x in (rng.random(w.shape).astype("f"), rng.random(w.shape).astype("f"), w, w.view()):
        expected = w + x @ y
        add(1, x)
        np.testing.assert_allclose(w, expected, 1e-4)


def test_an_argument_with_gaps_between_its_rows_may_lie_there_too():
    rng, (n, k, _) = np.random.default_rng(0), SIZES
    y, w = rng.random((k, k)).astype("f"), rng.random((n, k + 30)).astype("f")
    add = ProductsAtOnce(1.0, [(Moving(0, lambda x: x), y, w[:, 20 : k + 20])])
    for x in (rng.random(w.shape).astype("f")[:, :k], w[:, 10 : k + 10]):
        expected = w[:, 20 : k + 20] + x @ y
        add(1, x)
        np.testing.assert_allclose(w[:, 20 : k + 20], expected, 1e-4)


def test_rows_with_gaps_are_an_error():
    x = np.zeros((200, 200), "f")
    with pytest.raises(ValueError, match="multiply: expected rows or columns without gaps, got strides"):
        ProductsAtOnce(None, [(x[::2, ::2], x[:100], x[:100])])(0)


def test_blas_has_one_thread_again_whatever_happens(monkeypatch):
    """And while another Python thread has the team, nobody is waited for."""
    x = np.ones((200, 200), "f")
    multiply, said = ProductsAtOnce(None, [(x, x, np.empty_like(x))] * 2), []
    multiply(0)
    multiply.set_threads = said.append
    multiply(1)
    assert said == [2, 1]
    with threads.turn:
        multiply(1)
    assert said == [2, 1]

    def interrupted(*_):
        raise KeyboardInterrupt

    multiply.function = interrupted
    with pytest.raises(KeyboardInterrupt):
        multiply(3)
    assert said == [2, 1, 4, 1] and not threads.turn.locked()


# --- stacks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def all_shared(two_cores):
    matmul.batch_for.cache_clear()
    yield
    matmul.batch_for.cache_clear()


def tiles(dtype="float32", stacked=False, t=3):
    rng = np.random.default_rng(0)
    return rng.random((t, 70, 200)).astype(dtype), rng.random((t, 200, 150) if stacked else (200, 150)).astype(dtype)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_stack_is_shared_with_the_bits_of_numpy(dtype, stacked, all_shared, monkeypatch):
    monkeypatch.setattr(matmul, "SHARED", 1_000_000)
    x, y = tiles(dtype, stacked)
    x[0, 0, 0] = np.nan
    said = []
    monkeypatch.setattr(
        ProductsAtOnce,
        "__call__",
        lambda self, *args, call=ProductsAtOnce.__call__: said.append(args[0]) or call(self, *args),
    )
    for number in (1, 2, 3, 2):
        out = np.full((3, 70, 150), np.nan, dtype)
        with threads.use_threads(number):
            assert matmul.shared_matmul(x, y, out) is out
        assert same(out, np.matmul(x, y))
    assert said == [1, 2, 1]


def test_numbers_that_are_too_large_are_treated_as_the_caller_wants(all_shared, monkeypatch):
    monkeypatch.setattr(matmul, "SHARED", 1_000_000)
    x, y = tiles()
    x[1] = 1e38
    with threads.use_threads(2):
        for large in (x, np.roll(x, 1, axis=0)):  # in the caller's part or in another
            with np.errstate(over="raise"), pytest.raises(FloatingPointError):
                matmul.shared_matmul(large, y, np.empty((3, 70, 150), "f"))
            with np.errstate(over="ignore"):
                assert same(matmul.shared_matmul(large, y, np.empty((3, 70, 150), "f")), np.matmul(large, y))


def test_a_signals_handler_may_compute_such_products_in_between(all_shared, monkeypatch):
    monkeypatch.setattr(matmul, "SHARED", 1_000_000)
    x, y = tiles()
    outs = [np.empty((3, 70, 150), "f") for _ in range(2)]
    honest, calls = ProductsAtOnce.point_to, []

    def interrupted(self, arrays):
        held = honest(self, arrays)
        calls.append(arrays)
        if len(calls) == 1:
            matmul.shared_matmul(x + 1, y, outs[1])
        return held

    monkeypatch.setattr(ProductsAtOnce, "point_to", interrupted)
    with threads.use_threads(2):
        matmul.shared_matmul(x, y, outs[0])
    assert same(outs[0], np.matmul(x, y)) and same(outs[1], np.matmul(x + 1, y)) and len(calls) == 1


def test_which_stacks_blas_shares(two_cores):
    def able(x, y, **more):
        out = np.empty((*x.shape[:2], y.shape[-1]), x.dtype)
        return matmul.shared_by_blas(x, y, out)

    x, y = tiles(t=8)
    assert able(x, y) and able(x, np.stack([y] * 8)) and able(x.mT.copy().mT, y)
    assert not able(x[:1], y) and not able(x[:3], y) and not able(x, y[None])  # one; together too small; two kinds
    assert not able(x[:, ::7], y) and not able(x, y.astype(float)) and not able(x[:, :, ::2], y[::2])
    assert not able(x.astype(np.float16), y.astype(np.float16))


def test_a_recorded_step_shares_stacks_as_they_are(all_shared):
    x, y = tiles(t=8)
    w = vector.Tensor(y)
    step = vector.compile(lambda x: vector.Tensor(np.matmul(x, w.data) * 2.0))
    results = []
    for number in (1, 2):
        with threads.use_threads(number):
            results += [step(x).data, step(x).data]
    assert all(same(results[0], other) for other in results[1:])
    assert "shared_matmul(x, array, out=t)" in str(step.program)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_by_any_number_of_threads_gives_the_same_bits(dtype, exact, all_shared):
    rng = np.random.default_rng(0)
    x, labels = rng.random((256, 300)).astype(dtype), rng.integers(0, 10, 256)
    results = []
    for number, recorded in itertools.product((1, 2, 3), (True, False)[: 1 + exact]):
        layers = [nn.Dense(a, b, "relu", seed=a, dtype=dtype) for a, b in ((300, 128), (128, 1000), (1000, 10))]
        model = nn.Sequential(*layers)
        step = model.train_step(vector.optim.SGD(model.parameters(), 0.1), vector.cross_entropy)
        step = vector.compile(step, exact=exact) if recorded else step
        with threads.use_threads(number):
            losses = [step(x, labels)[0].item() for _ in range(5)]
        results.append([np.array(losses), *(p.data for p in model.parameters())])
        if recorded:
            text = str(step.program)
            assert text.count("shared_matmul(" if exact else "(helpers") >= 4, text
    assert all(same(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


# --- the pass ---------------------------------------------------------------------------------------------------------

N, K, M = 32, 784, 128
W, V = (np.random.default_rng(i).random(shape).astype("f") for i, shape in enumerate([(K, M), (300, 300)]))
X = np.random.default_rng(5).random((N, K)).astype("f")
HALVES = [((n, 300), (300, 300)) for n in (144, 156)]
WIDE = [((100, 300), (300, n)) for n in (144, 156)]
STEPS = {  # a step of w, v and x, and the shapes of the factors of each part
    "by a large weight": (lambda w, v, x: np.matmul(x, w), [((32, 392), (392, 128))] * 2),
    "by a result": (lambda w, v, x: np.matmul(v, v * 2), HALVES),
    "a wide result": (lambda w, v, x: np.matmul(v[:100], v * 2), WIDE),
    "transposed": (lambda w, v, x: np.matmul(x.T, x[:, :200]), [((392, 32), (32, 200))] * 2),
    "a stack": (lambda w, v, x: np.matmul(v.reshape(2, 150, 300), v * 2), HALVES),
    "a small one": (lambda w, v, x: np.matmul(x[:20], w), []),
    "two stacks": (lambda w, v, x: np.matmul(v.reshape(3, 100, 300), v.reshape(3, 300, 100)), []),
    "rows with gaps": (lambda w, v, x: np.matmul(v[:, ::2], v[::2] * 2), []),
    "a weight that is not large": (lambda w, v, x: np.matmul(v * 2, v), HALVES),
    "parts of a stack": (lambda w, v, x: np.matmul(v.reshape(2, 150, 300)[:, :100], v * 2), []),
    "a stack of other rows": (lambda w, v, x: np.matmul(v.reshape(2, 150, 300)[:, ::3], v * 2), WIDE),
}


@pytest.mark.parametrize("name", STEPS)
def test_what_is_cut(name, two_cores):
    f, shapes = STEPS[name]
    w, v = vector.Tensor(W.copy()), vector.Tensor(V.copy())
    program = multiply_at_once(record(lambda x: f(w.data, v.data, x), X))
    parts = [call for call in program.calls if call.parts]
    assert [tuple(x.shape for x in call.args) for part in parts for call in part.statements] == shapes
    results = []
    for number in (1, 2):
        step = vector.compile(lambda x: vector.Tensor(f(w.data, v.data, x)), exact=False)
        with threads.use_threads(number):
            results += [step(X).data, step(X).data]
    assert all(same(results[1], x) for x in results[2:])
    np.testing.assert_allclose(results[1], results[0], 1e-4)


def test_an_argument_may_lie_backwards(two_cores):
    v = vector.Tensor(V.copy())
    step = vector.compile(lambda x: vector.Tensor(np.matmul(x[::-1], v.data * 2)), exact=False)
    for x in (V[::-1], V[::-1] + 1, V):
        for _ in range(2):
            np.testing.assert_allclose(step(x).data, x[::-1] @ (V * 2), 1e-4)


def variable(kind, *shape):
    return Var(kind, np.zeros(shape, "f"))


def test_which_products_stay_as_they_are(two_cores):
    """Those into arrays that were there, of what lies otherwise at each replay, and into an argument."""
    x, y = variable("input", 200, 200), variable("state", 200, 200)
    out, there, given_ = (variable(kind, 200, 200) for kind in ("result", "state", "input"))
    made = Call(np.copy, (x,), {}, variable("result", 200, 200), into=False)
    add = ProductUpdate(1.0, False)
    programs = {
        "cut": [Call(np.matmul, (x, y), {}, out)],
        "written over": [Call(np.matmul, (x, y), {}, there, writes=True)],
        "loose": [made, Call(np.matmul, (made.out, y), {}, out)],
        "loose, too": [made, Call(np.matmul, (x, made.out), {}, out)],
        "an argument": [Call(add, (given_, x, y), {}, given_, writes=True)],
        "of itself": [Call(add, (there, there, y), {}, there, writes=True)],
        "of others than arrays": [Call(np.matmul, (1.0, y), {}, out)],
    }
    cut = {}
    for name, calls in programs.items():
        program = multiply_at_once(Program(calls, (x, given_), ()))
        cut[name] = any(call.parts for call in program.calls)
    assert cut == {name: name == "cut" for name in programs}


def test_updates_are_cut_by_rows_of_the_weight(two_cores):
    w = vector.Tensor(W.copy(), requires_grad=True)

    @vector.compile(exact=False)
    def step(x, g):
        w.data -= np.matmul(x.T, g * 2)
        return vector.sum(w)

    g = np.random.default_rng(7).random((N, M)).astype("f")
    for x in (X, X, X + 1):
        expected = w.data - x.T @ (g * 2)
        step(x, g)
        np.testing.assert_allclose(w.data, expected, 1e-4, 1e-4)
    (update,) = [call for call in step.program.calls if call.parts]
    assert all(isinstance(call.function, ProductUpdate) for call in update.statements)
    assert [call.out.shape for call in update.statements] == [(392, 128)] * 2
    assert "subtract_products(helpers, x)" in str(step.program)
    assert "# array_part -= x.T[0:392] @ t; array_part_2 -= x.T[392:784] @ t" in str(step.program)


@pytest.mark.parametrize("cores", [1, 3, 16])
def test_as_many_parts_as_are_worth_a_thread(cores, monkeypatch):
    monkeypatch.setattr(matmul, "machine_cores", lambda: cores)
    sizes = [8, 32, 64, 128, 1000]
    parts = [matmul.parts_at_once(np.zeros((n, 784), "f"), np.zeros((784, 128), "f")) for n in sizes]
    assert parts == [min(cores, max(1, n * 784 * 128 // matmul.PART)) for n in sizes]
    assert all(n * 784 * 128 / count > 100**3 for n, count in zip(sizes, parts, strict=True) if count > 1)
    monkeypatch.setattr(matmul, "routine", lambda name, dtype: None)
    assert matmul.parts_at_once(np.zeros((1000, 784), "f"), np.zeros((784, 128), "f")) == 1


def test_no_part_is_as_small_as_blas_cannot(monkeypatch):
    """Whatever the shapes and the number of processors: OpenBLAS would end the process."""
    rng, smallest = np.random.default_rng(0), []
    for cores, _ in itertools.product((2, 3, 7, 64), range(100)):
        monkeypatch.setattr(matmul, "machine_cores", lambda: cores)  # noqa: B023
        n, k, m = (int(x) for x in np.exp(rng.uniform(0, 8, 3)))
        if not 3e6 < n * k * m < 1e8 or max(n * k, k * m, n * m) > 2e6:
            continue
        w, x = vector.Tensor(np.zeros((k, m), "f")), np.zeros((n, k), "f")
        program = multiply_at_once(record(lambda x: np.matmul(x, w.data * 2), x))  # noqa: B023
        for call in (c for c in program.calls if c.parts):
            smallest += [c.out.size * c.args[-2].shape[1] for c in call.statements]
    assert len(smallest) > 100 and min(smallest) > 100**3
