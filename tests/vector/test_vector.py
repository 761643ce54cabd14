"""`vector` by itself: dtypes, views, indexing, broadcasting, numpy's own functions."""

import threading

import numpy as np
import pytest
from judging import SAMPLES, inside
from viz_samples import MATRICES

import vector
from vector import Tensor, autodiff

X = np.array([[0.3, -1.2, 0.7], [1.5, 0.1, -0.4]])


def test_dtypes():
    single, double = np.ones(3, np.float32), np.ones(3)
    assert Tensor(single).dtype == np.float32
    assert Tensor(double).dtype == np.float64
    for whole in (3, [1, 2], np.arange(3), np.uint8(3)):
        assert Tensor(whole).dtype == np.float64
    assert (Tensor(single) * 2.0).dtype == (2 / Tensor(single)).dtype == (Tensor(single) ** 2).dtype == np.float32
    assert (Tensor(single) * double).dtype == np.float64
    assert Tensor(single).astype(np.float64).dtype == np.float64


def test_each_gradient_has_its_nodes_dtype():
    x, y = Tensor(np.ones(3, np.float32)), Tensor(np.ones(3))
    z = x.astype(np.float64) * y + x
    vector.sum(z).backward()
    assert (x.grad.dtype, y.grad.dtype, z.grad.dtype) == (np.float32, np.float64, np.float64)
    for op in vector.ops.OPS.values():
        if len(op.rules) == 1 and not op.defaults and not op.over:
            start = np.float32([[1.5, 0.5], [0.5, 1.5]]) if op.name in MATRICES else inside(op.name, 0.5)
            x = Tensor(np.full((2, 2), start, np.float32))
            out = op(x)
            out.backward(np.ones(out.shape, np.float32))
            assert x.grad.dtype == np.float32, op


def test_plain_numbers_take_the_dtype_of_the_array_beside_them():
    single, whole = np.ones(3, np.float32), np.ones(3, int)
    for out in (vector.multiply(single, 0.5), vector.multiply(0.5, single), vector.where(single > 0, 0.5, single)):
        assert out.dtype == np.float32 and out.tolist() == [0.5] * 3
    for out in (vector.multiply(whole, 0.5), vector.where(single > 0, 0.5, whole), vector.add([0.5] * 3, whole) - 1.0):
        assert out.dtype == np.float64 and out.tolist() == [0.5] * 3
    assert vector.multiply(single, np.ones(3)).dtype == np.float64


def test_derivatives_of_float32_compute_in_float32():
    """And are not only rounded to it in the end."""
    x = np.array([[1.5, 0.5], [0.5, 1.5]], np.float32)
    for op in vector.ops.OPS.values():
        if op.rules and not set(op.defaults) - SAMPLES.keys() - {"axis", "keepdims", "axes"}:
            params = {name: SAMPLES.get(name, [value])[0] for name, value in op.defaults.items()}
            xs = [x] * len(op.rules)
            with np.errstate(invalid="ignore"):  # not all are in the domain of each
                out = np.asarray(op.value(xs, params))
                slopes = op.gradients(np.ones_like(out), out, xs, params, [True] * len(xs))
            assert [slope.dtype for slope in slopes] == [np.float32] * len(xs), op


def test_an_array_is_taken_over_without_copying():
    data = np.ones(3)
    assert Tensor(data).data is data
    assert np.shares_memory(Tensor(data).data, data)
    assert Tensor(Tensor(data)).data is data


def test_attributes():
    x = Tensor(X, "x")
    assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((2, 3), 2, 6, 2, np.float64)
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
    assert np.array_equal(np.asarray(x.detach()), X)
    assert float(Tensor(2.0)) == Tensor([[2.0]]).item() == 2.0
    assert bool(Tensor(2.0) > 1) is True
    with pytest.raises(TypeError):
        len(Tensor(1.0))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x > 0)


def test_grad_can_be_set():
    x = Tensor(X)
    x.grad = 0
    assert np.array_equal(x.grad, np.zeros_like(X))
    x.grad = np.ones_like(X)
    vector.sum(x).backward()
    assert np.array_equal(x.grad, np.full_like(X, 2.0))
    x.grad = None
    assert np.array_equal(x.grad, np.zeros_like(X))


UFUNCS = ["negative", "exp", "sqrt", "abs", "absolute", "sin", "cos", "tanh", "log"]


@pytest.mark.parametrize("name", UFUNCS)
def test_numpys_functions_of_one_tensor(name):
    x = Tensor(np.abs(X))
    out = getattr(np, name)(x)
    assert type(out) is Tensor
    assert np.array_equal(out.data, getattr(np, name)(np.abs(X)))
    out.backward(np.ones_like(X))
    expected = Tensor(np.abs(X))
    getattr(vector, "abs" if name == "absolute" else name)(expected).backward(np.ones_like(X))
    assert np.array_equal(x.grad, expected.grad)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"])
def test_numpys_functions_of_two(name):
    f, a, b = getattr(np, name), np.abs(X), np.abs(X[::-1]) + 0.5
    for x, y in [(Tensor(a), Tensor(b)), (Tensor(a), b), (a, Tensor(b))]:
        out = f(x, y)
        assert type(out) is Tensor and np.array_equal(out.data, f(a, b))


def test_arrays_on_the_left():
    x = Tensor(X)
    for out, expected in [
        (X + x, X + X),
        (X - x, X - X),
        (X * x, X * X),
        (X / x, X / X),
        (X @ x.T, X @ X.T),
        (np.abs(X) ** x, np.abs(X) ** X),
        (np.float64(2.0) * x, 2.0 * X),
        (np.float32(2.0) - x, 2.0 - X),
    ]:
        assert type(out) is Tensor and np.array_equal(out.data, expected)
    for one, other in [(X > x, False), (X >= x, True), (np.less(x, X + 1), True), (x == X, True), (x != X, False)]:
        assert type(one) is np.ndarray and (one == other).all()


def test_numpys_functions_over_axes_and_shapes():
    x = Tensor(X)
    for out, expected in [
        (np.sum(x), np.sum(X)),
        (np.sum(x, axis=1), np.sum(X, axis=1)),
        (np.mean(x, axis=0, keepdims=True), np.mean(X, axis=0, keepdims=True)),
        (np.max(x, axis=1), np.max(X, axis=1)),
        (np.min(x), np.min(X)),
        (np.clip(x, -1.0, 1.0), np.clip(X, -1.0, 1.0)),
        (np.reshape(x, (3, 2)), np.reshape(X, (3, 2))),
        (np.transpose(x), X.T),
        (np.where(X > 0, x, 0.0), np.where(X > 0, X, 0.0)),
        (np.concatenate([x, x], axis=1), np.concatenate([X, X], axis=1)),
        (np.stack([x, x], axis=-1), np.stack([X, X], axis=-1)),
        (np.take(x, [1, 0, 1], axis=1), np.take(X, [1, 0, 1], axis=1)),
        (np.broadcast_to(x, (4, 2, 3)), np.broadcast_to(X, (4, 2, 3))),
        (np.dot(x[0], x[1]), np.dot(X[0], X[1])),
        (np.matmul(x, X.T), X @ X.T),
        (x.reshape(3, -1), X.reshape(3, -1)),
        (x.reshape((6,)), X.reshape(6)),
        (vector.take(x, [1, 0, 1]), X[[1, 0, 1]]),
        (vector.stack([x, x]), np.stack([X, X])),
        (vector.concatenate([x, x]), np.concatenate([X, X])),
        (vector.stack([x, x], axis=1), np.stack([X, X], axis=1)),
        (vector.concatenate([x, X]), np.concatenate([X, X])),
        (vector.stack([X, x]), np.stack([X, X])),
        (vector.stack([x, X], axis=-2), np.stack([X, X], axis=-2)),
        (vector.stack([x[:0], x[:0]]), np.stack([X[:0], X[:0]])),
    ]:
        assert type(out) is Tensor and out.shape == np.shape(expected) and np.allclose(out.data, expected, rtol=1e-15)


KEYS = {
    "a row": 1,
    "a row from the end": -1,
    "an element": (1, 2),
    "a slice": slice(0, 1),
    "columns backwards": (slice(None), slice(None, None, -1)),
    "every second": (Ellipsis, slice(None, None, 2)),
    "a new axis": (None, 0),
    "rows by number, one twice": [1, 0, 1],
    "elements by number, one twice": ([0, 0, 1], [2, 2, 0]),
    "a mask": X > 0,
    "all": Ellipsis,
    "none": slice(0, 0),
}


@pytest.mark.parametrize("name", KEYS)
def test_indexing(name):
    key = KEYS[name]
    x = Tensor(X)
    out = x[key]
    assert np.array_equal(out.data, X[key])
    weights = np.arange(1.0, out.size + 1.0).reshape(out.shape)
    out.backward(weights)
    expected = np.zeros_like(X)
    np.add.at(expected, key, weights)
    assert np.array_equal(x.grad, expected)
    assert x.grad.flags.c_contiguous and x.grad.flags.writeable


def test_views_differentiate_to_where_they_look():
    x = Tensor(np.arange(6.0))
    vector.sum(x.reshape(2, 3).T[1] * np.array([10.0, 20.0])).backward()
    assert x.grad.tolist() == [0.0, 10.0, 0.0, 0.0, 20.0, 0.0]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("step", [1, -1, 2])
def test_any_memory_layout(order, step):
    """What an array holds counts, not how it lies in memory."""
    data = np.asarray(np.random.default_rng(0).normal(size=(6, 4, 3)), order=order)[::step]
    weights = np.random.default_rng(1).normal(size=(3, 2))
    results = []
    for array in (data, data.copy(order="C")):
        x = Tensor(array)
        out = vector.logsumexp(vector.tanh(x @ weights), axis=1)
        vector.sum(out * out).backward()
        results.append((out.data, x.grad))
    for a, b in zip(*results, strict=True):
        assert np.allclose(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), ()])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "logsumexp"])
def test_reductions_have_numpys_shapes(name, axis, keepdims):
    x = Tensor(X)
    out = getattr(vector, name)(x, axis=axis, keepdims=keepdims)
    assert out.shape == np.sum(X, axis=axis, keepdims=keepdims).shape
    assert getattr(vector, name)(x, axis).shape == np.sum(X, axis).shape and getattr(vector, name)(x).shape == ()
    vector.sum(out).backward()
    assert x.grad.shape == X.shape
    if name in ("sum", "logsumexp", "max", "min") and axis is None:
        assert x.grad.sum() == pytest.approx(6.0 if name == "sum" else 1.0)


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3), (3, 4)),
        ((3,), (3, 4)),
        ((2, 3), (3,)),
        ((3,), (3,)),
        ((5, 2, 3), (3, 4)),
        ((5, 2, 3), (3,)),
        ((3,), (5, 3, 2)),
        ((5, 1, 2, 3), (7, 3, 1)),
        ((0,), (0, 3)),
        ((2, 0), (0,)),
        ((0,), (0,)),
    ],
)
def test_matmul_as_numpy_has_it(shapes):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape) for shape in shapes)
    x, y = Tensor(a), Tensor(b)
    out = x @ y
    assert out.shape == (a @ b).shape and np.allclose(out.data, a @ b, rtol=1e-14, atol=1e-15)
    vector.gradcheck(lambda x, y: x @ y, [x, y])


def test_no_grad_and_detach():
    x = Tensor(X)
    with vector.no_grad():
        out = x * 2.0
    assert (out.op, out.inputs, out.requires_grad) == (None, (), False)
    product = x * x.detach()
    vector.sum(product).backward()
    assert np.array_equal(x.grad, X)
    found = []
    with vector.no_grad():
        thread = threading.Thread(target=lambda: found.append((x * 2.0).op))
        thread.start()
        thread.join()
    assert found == [vector.ops.multiply]


def test_what_nobody_needs_is_not_computed(monkeypatch):
    called = []
    op = vector.ops.multiply
    first, second = op.rules
    monkeypatch.setattr(op, "rules", (first, lambda g, x: called.append(g) or second(g, x)))
    vector.sum(Tensor(X) * X).backward()
    assert not called
    vector.sum(X * Tensor(X)).backward()
    assert called


def test_backward_with_a_gradient():
    x = Tensor(X)
    (x * x).backward(X)
    assert np.allclose(x.grad, 2 * X * X, rtol=1e-15)


def test_second_derivatives_of_arrays():
    x = Tensor(X)
    (slope,) = vector.grad(vector.sum(x * x * x), [x], create_graph=True)
    assert np.allclose(slope.data, 3 * X * X, rtol=1e-15)
    assert np.allclose(vector.grad(vector.sum(slope), x), 6 * X, rtol=1e-15)


def test_a_leaky_slope_warns_of_nothing_that_it_does_not_scale():
    for slope in (np.inf, 1e308):
        assert vector.leaky_relu(Tensor([0.5, 2.0]), slope).data.tolist() == [0.5, 2.0]


def test_repr():
    assert repr(Tensor([1.0, 2.0], "a")) == "Tensor([1., 2.], shape=(2,), dtype=float64, label='a')"


def test_squares_roots_and_reciprocals_are_exact():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 2.0, 20_000) * 10.0 ** rng.integers(-99, 99, 20_000)
    for exponent, expected in [(2.0, x * x), (0.5, np.sqrt(x)), (-1.0, 1.0 / x)]:
        assert np.array_equal(vector.power(Tensor(x), np.full(x.shape, exponent)).data, expected)


def test_powers_of_float32_and_float64():
    x, y = np.array([0.1, 0.3, 1.7, 0.9], np.float32), np.array([2.0, 0.5, -1.0, 0.7])
    found = vector.power(Tensor(x), y).data
    assert found.dtype == np.float64 and np.array_equal(found, vector.power(Tensor(x.astype(np.float64)), y).data)


def test_powers_of_many_exponents():
    """However exponents lie in memory, 2 is a square, 1/2 a root and -1 a division, as for one exponent alone."""
    x = np.array([-0.0, -np.inf, 3.0, 0.1])
    for exponent in (2.0, 0.5, -1.0, 0.7):
        with np.errstate(all="ignore"):
            alone = [float(np.power(v, exponent)) for v in x.tolist()]
            for y in (np.full(4, exponent), np.full((4, 4), exponent)[:, 1], np.broadcast_to(exponent, 4), exponent):
                found = vector.power(Tensor(x), y).data
                assert np.array_equal(found, alone, equal_nan=True)
                assert np.array_equal(np.signbit(found[:1]), np.signbit(alone[:1]))


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint32", "uint64"])
def test_labels_of_every_whole_dtype(dtype):
    logits = vector.Tensor(np.arange(12.0).reshape(4, 3) ** 2)
    labels = np.array([0, 2, 1, 2], dtype)
    assert vector.cross_entropy(logits, labels).item() == vector.cross_entropy(logits, [0, 2, 1, 2]).item()


@pytest.mark.parametrize("wrong", [-1, -3, -4, -6, -100, 3, 1000])
def test_every_number_that_is_no_class_is_refused(wrong):
    with pytest.raises(ValueError, match=f"expected class numbers from 0 to 2, got {wrong}"):
        vector.cross_entropy(vector.Tensor(np.zeros((2, 3))), np.array([0, wrong]))


def test_many_classes_need_no_table():
    """A table of all class numbers would take 20 GB."""
    logits = vector.Tensor(np.zeros((2, 50_000), np.float32))
    loss = vector.cross_entropy(logits, [0, 49_999])
    loss.backward()
    assert np.isclose(loss.item(), np.log(50_000)) and logits.grad[1, -1] < -0.49


def test_predictions_of_three_axes_are_rows():
    x, y = np.arange(24.0).reshape(2, 3, 4) % 5, np.array([[0, 1, 2], [3, 0, 1]])
    rows = vector.cross_entropy(x.reshape(6, 4), y.ravel())
    assert np.array_equal(vector.cross_entropy(x, y), rows)
    assert np.array_equal(
        vector.cross_entropy(x, np.eye(4)[y]), vector.cross_entropy(x.reshape(6, 4), np.eye(4)[y.ravel()])
    )


def test_a_backward_pass_from_a_node_differentiates_by_it():
    x, g = Tensor(X), Tensor(np.full(X.shape, 2.0))
    slopes = {step.node: step.gradient for step in vector.backward_steps(x * x, g, create_graph=True)}
    assert np.array_equal(slopes[x].data, 4.0 * X)
    assert np.array_equal(vector.grad(vector.sum(slopes[x]), g), 2.0 * X)


def test_broadcast_against_nothing():
    x = Tensor(np.ones((1, 3)))
    vector.sum(x * np.ones((0, 3))).backward()
    assert x.grad.tolist() == [[0.0] * 3]


def test_the_usual_mode_is_one_look_for_three():
    mode = autodiff.Mode()
    for name, value in [("graph", False), ("store", object()), ("check", print)]:
        assert mode.usual
        before = getattr(mode, name)
        setattr(mode, name, value)
        assert not mode.usual and getattr(mode, name) is value
        setattr(mode, name, before)
    assert mode.usual


def test_a_gradient_that_fits_goes_on_as_it_is():
    """Neither summed nor copied, unless somebody else has it."""
    g, x, taken = np.ones((2, 3)), Tensor(np.zeros((2, 3))), {}
    assert autodiff.unbroadcast(g, x, x, 0) is g
    assert autodiff.own(g, taken) is g
    assert autodiff.own(g, taken) is not g
    assert autodiff.own(g[:1], taken).base is None
    small = autodiff.unbroadcast(g, Tensor(np.zeros((1, 1, 3), np.float32)[0]), x, 0)
    assert (small.shape, small.dtype, small.tolist()) == ((1, 3), np.float32, [[2.0] * 3])


# --- products in pieces -----------------------------------------------------------------------------------------------

C, F = np.ascontiguousarray, np.asfortranarray
# (n, k, m); how x and y lie; into how many pieces n rows are cut where BLAS multiplies small ones at once, and else.
TILES = [
    ((100, 100, 100), C, C, 1, 1),  # small
    ((104, 100, 100), C, C, 2, 1),
    ((101, 100, 100), C, C, 1, 1),  # a prime
    ((105, 100, 100), C, C, 3, 1),
    ((3168, 101, 100), C, C, 32, 3),
    ((3201, 100, 100), C, C, 3, 3),  # large: one for each of three threads
    ((3200, 100, 100), C, C, 4, 4),
    ((16, 1024, 1024), C, C, 4, 4),  # no cache holds y
    ((11, 1024, 1024), C, C, 1, 1),  # a piece would have fewer than four rows
    ((16, 256, 512), C, C, 4, 1),  # y fills the cache, a piece has four rows
    ((12, 256, 512), C, C, 2, 1),
    ((10, 256, 512), C, C, 2, 1),
    ((8, 256, 512), C, C, 2, 1),
    ((7, 256, 512), C, C, 1, 1),
    ((16, 256, 513), C, C, 1, 1),
    ((104, 100, 100), C, F, 1, 1),
    ((104, 128, 100), F, C, 2, 1),
    ((104, 129, 100), F, C, 1, 1),
    ((104, 129, 100), C, C, 2, 1),
]


@pytest.mark.parametrize("n, m", [(8, 600), (1000, 1000), (4000, 2000)])
def test_a_large_column_times_a_row(n, m):
    """The product is padded with zeros, and large ones are cut into tiles."""
    x, y = np.arange(1.0, n + 1).reshape(n, 1), np.arange(1.0, m + 1).reshape(1, m)
    assert np.array_equal(vector.matmul(x, y).data, np.multiply(x, y))


@pytest.mark.parametrize("sizes, x_lies, y_lies, tiles, others", TILES)
def test_row_tiles(sizes, x_lies, y_lies, tiles, others, monkeypatch):
    n, k, m = sizes
    rng = np.random.default_rng(0)
    x, y = x_lies(rng.normal(size=(n, k))), y_lies(rng.normal(size=(k, m)))
    monkeypatch.setattr(vector.runtime.matmul, "machine_cores", lambda: 3)
    monkeypatch.setattr(vector.runtime.matmul, "small_products_at_once", lambda: False)
    assert vector.runtime.matmul.row_tiles(x, y) == others
    monkeypatch.setattr(vector.runtime.matmul, "small_products_at_once", lambda: True)
    assert vector.runtime.matmul.row_tiles(x, y) == tiles
    if n * k * m < 10**7:
        pieces, tiled = [], vector.ops.products.tiled
        monkeypatch.setattr(vector.ops.products, "tiled", lambda x, y: pieces.append(x.shape) or tiled(x, y))
        out = vector.ops.OPS["matmul"].value([x, y], None)
        assert pieces == [(tiles, n // tiles, k)] * (tiles > 1)
        assert out.base is None and out.flags.c_contiguous
        assert np.allclose(out, x @ y, rtol=1e-11, atol=1e-11)


def test_no_piece_has_fewer_than_four_rows(monkeypatch):
    monkeypatch.setattr(vector.runtime.matmul, "small_products_at_once", lambda: True)
    x, y = np.ones((16, 512), np.float32), np.ones((512, 512), np.float32)
    assert [vector.runtime.matmul.row_tiles(x[:n], y[:, :510]) for n in (8, 11, 12, 16)] == [1, 1, 1, 1]


def test_columns_times_rows():
    x, y = np.random.default_rng(0).normal(size=(2, 3, 100))
    x, y = x[:, :, None], y[:, None, :]
    assert np.array_equal(vector.matmul(Tensor(x), y).data, x * y)


@pytest.mark.compiler
@pytest.mark.parametrize("n, m, padded", [(50, 99, False), (50, 100, True), (5000, 1, True), (1, 4999, False)])
def test_a_column_times_a_row(n, m, padded):
    """Large ones go through BLAS, with zeros beside them: nothing is rounded twice."""
    x, y = np.random.default_rng(0).normal(size=(2, 5000))
    x, y = x[:n].reshape(n, 1), y[:m].reshape(1, m)
    for a, b in ((x, y), (x[None], y[None])):
        step = vector.compile(lambda x, y: vector.matmul(x, y))
        for product in (vector.matmul(a, b), step(a, b), step(a, b)):
            assert np.array_equal(getattr(product, "data", product), a * b)
        assert ("matmul" in str(step.program), "multiply" in str(step.program)) == (padded, not padded)


def test_lists_on_the_left_of_a_product():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    out = [1.0, -1.0] @ x
    vector.sum(out).backward()
    assert np.array_equal(out.data, [-2.0, -2.0]) and np.array_equal(x.grad, [[1.0, 1.0], [-1.0, -1.0]])


def test_dot_is_a_row_times_a_column():
    x, y = Tensor([1.0, 2.0], "x"), Tensor([3.0, 4.0], "y")
    (product,) = vector.dot(x, y).inputs
    assert [(v.inputs[0].label, v.shape) for v in product.inputs] == [("x", (1, 2)), ("y", (2, 1))]


def test_dot_takes_vectors():
    with pytest.raises(TypeError, match=r"dot: expected a sequence, got shapes \(2, 2\) and \(2,\)"):
        vector.dot(np.ones((2, 2)), Tensor([1.0, 2.0]))
