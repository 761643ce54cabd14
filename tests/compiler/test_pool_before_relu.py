"""The maxima of windows before relu instead of after it: where nothing else reads relu, and the same numbers."""

import itertools

import numpy as np
import pytest
from programs import after, made_of, record, run

import vector
from vector.compiler import passes

X = np.array([0.0, -0.0, 1.0, 1.0, -1.0, 2.0, np.inf, -np.inf])
CALLS = [[np.random.default_rng(k).choice(X, (2, 6, 4, 3)) for _ in "xy"] for k in range(4)]


def pooled(size=2, stride=None, between=lambda r, p: p):
    """Derivatives by x of the maxima of relu(x), each times an element of y, and what else there is."""

    def step(x, y):
        node = vector.Tensor(x * 1.0, requires_grad=True)
        r = vector.relu(node)
        p = vector.max_pool(r, size, stride)
        out = between(r, p)
        gradient = y[:, : out.shape[1], : out.shape[2]] * 1.0
        return out, vector.grad(out, node, gradient=gradient)

    return step


def twice(x, y):
    """No derivatives, and two layers."""
    return vector.max_pool(vector.relu(vector.max_pool(vector.relu(x * y), 2)), (3, 2))


def changed(x, y):
    scaled = x * 1.0
    top = vector.max_pool(vector.relu(scaled), 2)
    scaled *= y
    return top, scaled


def by_both(x, y):
    r = vector.relu(x * y)
    return vector.max_pool(r, 2), vector.max_pool(r, (3, 2))


STEPS = {  # the step, and how many of its relus come later
    "with derivatives": (pooled(), 1),
    "windows that overlap": (pooled(3, 2), 1),
    "as many windows as elements": (pooled((1, 1)), 0),
    "scaled": (pooled(between=lambda r, p: p * 2.0), 1),
    "read by others": (pooled(between=lambda r, p: p + r[:, ::2, ::2]), 0),
    "returned": (lambda x, y: [(r, vector.max_pool(r, 2)) for r in [vector.relu(x * y)]], 0),
    "two layers": (twice, 2),
    "pooled twice": (by_both, 0),
    "of what changes": (changed, 0),
    "of an argument": (lambda x, y: vector.max_pool(np.maximum(x, 0.0), 2), 0),
    "not at zero": (lambda x, y: vector.max_pool(np.maximum(x * y, 1.0), 2), 0),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_maxima_come_first_where_they_alone_read_relu(name):
    step, count = STEPS[name]
    with np.errstate(all="ignore"):
        program = after(record(made_of(step)()[0], *CALLS[0]), passes.pool_before_relu)
        functions = [call.function for call in program.calls]
        follows = itertools.pairwise(functions)
        assert sum(f is passes.pooling.LARGEST and g is np.maximum for f, g in follows) == count, str(program)
        expected, got = (run(made_of(step), CALLS, *change)[0] for change in ((), (passes.pool_before_relu,)))
    for a, b in zip(expected, got, strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def test_a_recorded_convnet_has_relu_behind_the_maxima():
    layers = vector.nn.Conv2D(1, 4, 3, seed=0), vector.nn.Lambda(vector.relu), vector.nn.MaxPool(2), vector.nn.Flatten()
    model = vector.nn.Sequential(*layers, vector.nn.Dense(36, 3, seed=1))
    images, labels = np.random.default_rng(0).standard_normal((2, 8, 8, 1)), np.array([0, 2])

    def gradients(x, y):
        return vector.grad(vector.cross_entropy(model(x), y), model.parameters())

    step = vector.compile(gradients, exact=False)
    for x in images, -images, 2.0 * images:
        for a, b in zip(step(x, labels), gradients(x, labels), strict=True):
            assert np.allclose(a, b, rtol=1e-12, atol=1e-14)
    text = str(step.program)
    assert text.index("largest") < text.index("np.maximum") and text.count("np.greater") == 1
