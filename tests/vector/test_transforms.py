"""Jacobians, Hessians, their products, gradients by sample, and runs that are not kept."""

import tracemalloc

import numpy as np
import pytest

import vector
from vector import nn

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4))
X, V, W = RNG.normal(size=4), RNG.normal(size=3), RNG.normal(size=4)


def bent(x):
    return vector.tanh(vector.matmul(A, x))


def cost(x):
    return vector.sum(bent(x) ** 2 * x[:3])


JACOBIAN = (1.0 - np.tanh(A @ X) ** 2)[:, None] * A


def close(a, b):
    return np.allclose(a, b, rtol=1e-13, atol=1e-13)


def test_products_with_a_jacobian():
    assert close(vector.jacobian(bent, X), JACOBIAN)
    value, product = vector.vjp(bent, X, V)
    assert close(value, np.tanh(A @ X)) and close(product, V @ JACOBIAN)
    value, product = vector.jvp(bent, X, W)
    assert close(value, np.tanh(A @ X)) and close(product, JACOBIAN @ W)


def test_a_hessian_is_the_jacobian_of_the_gradient():
    hessian = vector.hessian(cost, X)
    assert close(hessian, hessian.T)
    assert close(hessian, vector.jacobian(lambda x: vector.grad(cost(x), x, create_graph=True), X))
    value, product = vector.hvp(cost, X, W)
    assert close(value, cost(X)) and close(product, hessian @ W)


def test_of_few_inputs_the_columns_are_computed():
    passes = []
    real = vector.transforms.grad

    def counted(*args, **kwargs):
        passes.append(1)
        return real(*args, **kwargs)

    x = np.array([[0.5]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector.transforms, "grad", counted)
        found = vector.jacobian(lambda x: vector.exp(x * np.arange(24.0).reshape(4, 6)), x)
    assert found.shape == (4, 6, 1, 1) and len(passes) == 2
    k = np.arange(24.0).reshape(4, 6)
    assert close(found[..., 0, 0], k * np.exp(0.5 * k))


def test_several_inputs_give_lists():
    x, y = vector.Tensor([1.0, 2.0]), [3.0, 4.0]
    by_x, by_y = vector.jacobian(lambda x, y: x * y, [x, y])
    assert np.array_equal(by_x, np.diag([3.0, 4.0])) and np.array_equal(by_y, np.diag([1.0, 2.0]))
    (xx, xy), (yx, yy) = vector.hessian(lambda x, y: vector.sum(x * x * y), (x, y))
    assert np.array_equal(xx, np.diag([6.0, 8.0])) and np.array_equal(xy, np.diag([2.0, 4.0]))
    assert np.array_equal(yx, xy) and not yy.any()
    assert np.array_equal(vector.jvp(lambda x, y: x * y, [x, y], [np.ones(2), np.zeros(2)])[1], y)
    assert not x.grad.any()


def test_value_and_gradient():
    value, slope = vector.value_and_grad(lambda x, k: vector.sum(x * k))(X, k=3.0)
    assert close(value, 3.0 * X.sum()) and np.array_equal(slope, np.full(4, 3.0))
    _, (by_x, by_y) = vector.value_and_grad(lambda x, y: vector.sum(x * y), argnums=(0, 1))(X, W)
    assert np.array_equal(by_x, W) and np.array_equal(by_y, X)


def test_inside_no_grad():
    with vector.no_grad():
        assert close(vector.jacobian(bent, X), JACOBIAN)
        assert not vector.autodiff.mode.graph


def test_a_graph_goes_on_through_them():
    """The penalty |J^T v|^2, differentiated by what came before x."""
    w = vector.Tensor(1.5)
    penalty = vector.sum(vector.vjp(bent, w * X, V, create_graph=True)[1] ** 2)
    slope = vector.grad(penalty, w)

    def by_hand(w):
        return (((1.0 - np.tanh(A @ (w * X)) ** 2) * V) @ A) ** 2

    assert np.isclose(slope, (by_hand(1.5 + 1e-6).sum() - by_hand(1.5 - 1e-6).sum()) / 2e-6, rtol=1e-7)


def test_float32_stays():
    x = X.astype(np.float32)
    assert vector.hessian(lambda x: vector.sum(x**3), x).dtype == np.float32
    assert vector.jvp(vector.exp, x, x)[1].dtype == np.float32


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: vector.vjp(bent, X, W), r"vjp: expected v of shape \(3,\), got \(4,\)"),
        (lambda: vector.jvp(bent, X, V), r"jvp: expected v of shape \(4,\), got \(3,\)"),
        (lambda: vector.hessian(bent, X), r"hessian: expected a function that returns one element, got shape \(3,\)"),
        (lambda: vector.jacobian(lambda x: 1.0, X), "jacobian: expected a function that returns a tensor, got float"),
        (lambda: vector.per_sample_grads(bent, [], X, V), r"expected arrays of one length, got \[3, 4\]"),
    ],
)
def test_messages(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def network():
    return nn.Sequential(nn.Dense(4, 8, "tanh", seed=1), nn.Dropout(0.5, seed=2), nn.Dense(8, 2, seed=3))


BATCH = RNG.normal(size=(5, 4))


def test_gradients_by_sample():
    model = network()
    model.eval()
    found = vector.per_sample_grads(lambda x: vector.mean(model(x) ** 2), model.parameters(), BATCH)
    for i in range(5):
        slopes = vector.grad(vector.mean(model(BATCH[i : i + 1]) ** 2), model.parameters())
        assert all(np.array_equal(f[i], s) for f, s in zip(found, slopes, strict=True))


def test_running_again_gives_the_same_numbers():
    slopes = []
    for wrap in (lambda f: f, vector.remat):
        model = network()
        f = wrap(model)
        h = vector.Tensor(BATCH)
        loss = vector.mean(f(h * 2.0) ** 2) + vector.mean(f(BATCH))
        slopes.append([loss.item(), *vector.grad(loss, [h, *model.parameters()])])
        slopes[-1].append(f(BATCH).data)  # the generator stands where it would
    assert all(np.array_equal(a, b) for a, b in zip(*slopes, strict=True))


def test_second_derivatives_of_what_runs_again():
    model = network()
    model.eval()
    found = [
        vector.hvp(lambda x, f=f: vector.mean(f(x) ** 3), BATCH, np.ones((5, 4)))[1]
        for f in (model, vector.remat(model))
    ]
    assert close(*found)


def test_running_again_keeps_little():
    x = vector.Tensor(np.ones(10**5))

    def long(x):
        for _ in range(50):
            x = vector.sin(x)
        return x

    peaks = []
    for f in (long, vector.remat(long)):
        tracemalloc.start()
        y = f(x)
        peaks.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        y.backward(np.ones(10**5))
    assert peaks[1] * 20 < peaks[0]


def test_arrays_filled_anew_before_the_second_run():
    x, k = vector.Tensor([1.0, 2.0]), np.array([3.0, 4.0])
    y = vector.sum(vector.remat(lambda x, k: vector.sin(x) * k)(x, k))
    k[:] = 0.0
    assert close(vector.grad(y, x), np.cos([1.0, 2.0]) * [3.0, 4.0])


def test_a_run_of_constants_is_a_constant():
    constant = vector.Tensor(X, requires_grad=False)
    assert not vector.remat(vector.exp)(constant).requires_grad
    with vector.no_grad():
        assert not vector.remat(vector.exp)(vector.Tensor(X)).requires_grad


def test_a_segment_that_runs_again_leaves_generators_where_they_stood():
    drawn = []
    for wrap in (lambda f: f, vector.remat):
        rng = np.random.default_rng(0)
        segment = wrap(lambda x, rng=rng: x * vector.random.uniform(rng, x.shape))
        x = vector.Tensor(np.ones(3))
        out = vector.sum(segment(x))
        drawn.append(rng.random())
        out.backward()
        drawn[-1:] = [drawn[-1], rng.random(), *x.grad]
    assert drawn[:5] == drawn[5:]
