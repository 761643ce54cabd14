"""The losses of both engines on the same batches: value and gradient, to rounding; and recorded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scalar
import vector
from vector.storage import same

REDUCTIONS = ("mean", "sum", "none")


def predictions_of(targets_of):
    """Cases of a loss: predictions (n, k), and what `targets_of(draw, n, k)` gives."""

    @st.composite
    def cases(draw):
        n, k = draw(st.integers(1, 4)), draw(st.integers(2, 4))
        rows = draw(st.lists(st.floats(-5, 5), min_size=n * k, max_size=n * k))
        return np.reshape(rows, (n, k)), targets_of(draw, n, k), draw(st.sampled_from(REDUCTIONS))

    return cases()


def classes(draw, n, k):
    return np.array(draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))


def some(draw, n, k):
    """Class numbers of which not all are 0."""
    return np.array([1, *classes(draw, n, k)[1:]])


def probabilities(draw, n, k):
    x = np.reshape(draw(st.lists(st.floats(0, 1), min_size=n * k, max_size=n * k)), (n, k)) + 1e-3
    x[:, 0] *= draw(st.sampled_from([0, 1]))
    return x / x.sum(axis=1, keepdims=True)


def numbers(draw, n, k):
    return np.reshape(draw(st.lists(st.floats(-5, 5), min_size=n * k, max_size=n * k)), (n, k))


def zeros_and_ones(draw, n, k):
    return np.reshape(draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n * k, max_size=n * k)), (n, k))


WEIGHTS = (0.5, 2.0, 1.0, 0.25)


def weighted(engine, x, y, smoothing=0.0, **more):
    k = len(x[0]) if engine is scalar else x.shape[-1]
    return engine.cross_entropy(x, y, weight=WEIGHTS[:k], label_smoothing=smoothing, **more)


def about(engine, x, y):
    """Rows from which `x` is not far, as lists or as an array."""
    return y.tolist() if engine is scalar else y


LOSSES = {
    "cross_entropy": (classes, lambda E, x, y, r: E.cross_entropy(x, y, reduction=r)),
    "cross_entropy, probabilities": (probabilities, lambda E, x, y, r: E.cross_entropy(x, y, reduction=r)),
    "cross_entropy, weight": (classes, lambda E, x, y, r: weighted(E, x, y, reduction=r)),
    "cross_entropy, all": (some, lambda E, x, y, r: weighted(E, x, y, 0.1, ignore=0, reduction=r)),
    "cross_entropy, smoothing": (classes, lambda E, x, y, r: E.cross_entropy(x, y, label_smoothing=0.2, reduction=r)),
    "mse": (numbers, lambda E, x, y, r: E.mse(x, about(E, x, y), reduction=r)),
    "l1": (numbers, lambda E, x, y, r: E.l1(x, about(E, x, y), reduction=r)),
    "huber": (numbers, lambda E, x, y, r: E.huber(x, about(E, x, y), 0.7, reduction=r)),
    "binary_cross_entropy": (zeros_and_ones, lambda E, x, y, r: E.binary_cross_entropy(x, about(E, x, y), reduction=r)),
    "binary_cross_entropy, positive": (
        zeros_and_ones,
        lambda E, x, y, r: E.binary_cross_entropy(x, about(E, x, y), positive=3.0, reduction=r),
    ),
    "kl_divergence": (probabilities, lambda E, x, y, r: E.kl_divergence(x, y, reduction=r)),
    "focal": (classes, lambda E, x, y, r: E.focal(x, y, reduction=r)),
    "triplet": (numbers, lambda E, x, y, r: E.triplet(x, about(E, x, y), about(E, x, y[::-1] + 0.5), reduction=r)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    targets_of, loss = LOSSES[name]

    @given(predictions_of(targets_of))
    def agree(case):
        x, y, reduction = case
        values = [[scalar.Value(v) for v in row] for row in x.tolist()]
        tensor = vector.Tensor(x)
        one, other = loss(scalar, values, y, reduction), loss(vector, tensor, y, reduction)
        ones = np.array([scalar.Value.lift(v).data for v in one] if isinstance(one, list) else one.data)
        scale = 1.0 + np.abs(ones).max()
        assert np.allclose(ones, other.data.reshape(ones.shape), rtol=0, atol=1e-12 * scale)
        total = scalar.sum(one) if isinstance(one, list) else one
        slopes = scalar.grad(total, [v for row in values for v in row])
        found = vector.grad(vector.sum(other), tensor)
        near = 1e-7 if name == "triplet" else 1e-11  # a root of nearly 0 divides
        assert np.allclose(np.reshape(slopes, x.shape), found, rtol=near, atol=near * scale)

    agree()


@pytest.mark.compiler
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_recorded_losses(name, reduction):
    rng = np.random.default_rng(0)
    targets_of, loss = LOSSES[name]
    weight = vector.Tensor(rng.normal(size=(3, 4)))

    def step(x, y):
        out = loss(vector, vector.matmul(x, weight), y, reduction)
        return out, vector.grad(vector.sum(out), weight)

    if targets_of in (classes, some):
        targets = [rng.integers(0, 4, 5) for _ in range(3)]
    else:
        targets = [np.abs(rng.normal(size=(5, 4))) % 1.0 for _ in range(3)]
    recorded = vector.compile(step)
    for y in targets:
        x = rng.normal(size=(5, 3))
        (value, slope), (expected, wanted) = recorded(x, y), step(x, y)
        assert same(value.data, expected.data) and same(slope.data, wanted)


def test_samples_set_aside():
    x = np.arange(12.0).reshape(2, 2, 3) ** 0.5
    y = np.array([[0, -1], [2, 1]])
    loss = vector.cross_entropy(vector.Tensor(x), y, ignore=-1)
    kept = vector.cross_entropy(vector.Tensor(x.reshape(4, 3)[[0, 2, 3]]), y.ravel()[[0, 2, 3]])
    assert np.isclose(loss.item(), kept.item(), rtol=1e-14)
    each = vector.cross_entropy(x, y, ignore=-1, reduction="none")
    assert each.shape == (2, 2) and each[0, 1] == 0.0
    with pytest.raises(TypeError, match="expected integer class numbers with ignore, got float64"):
        vector.cross_entropy(x, y * 1.0, ignore=-1)


@pytest.mark.parametrize("engine", [scalar, vector])
def test_messages_of_losses(engine):
    x, y = [[0.0, 1.0]], [1]
    for wrong, message in (
        (lambda: engine.cross_entropy(x, y, weight=[1.0]), r"expected a weight of shape \(2,\), got \(1,\)"),
        (lambda: engine.cross_entropy(x, y, label_smoothing=2.0), "expected label_smoothing from 0 to 1, got 2.0"),
        (lambda: engine.mse(x, x, reduction="all"), "mse: expected the reduction mean, sum or none, got 'all'"),
        (lambda: engine.huber(x, x, delta=0.0), "huber: expected a delta above 0, got 0.0"),
        (lambda: engine.l1(x, [0.0]), r"l1: expected targets of shape \(1, 2\) like the predictions, got \(1,\)"),
        (lambda: engine.binary_cross_entropy(x, [[0.0]]), "binary_cross_entropy: expected targets of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
