"""Random programs with zero-stride, turned and reduced arrays, and gradients of gradients: recorded, they give the same
bits as the Python step."""

import random

import numpy as np
import pytest
from recorded import same

import vector
from vector import Tensor

UNARY = ["tanh", "exp", "sin", "sigmoid", "softplus", "relu", "abs", "negative"]
SHAPE = (3, 4, 5)
AXES = [0, 1, 2, -1, (0, 2), (1, 2), None]


def moves(h, w, x, name, axis):
    """What a program may do next with h."""
    last = -1 if axis is None or isinstance(axis, tuple) else axis
    return [
        lambda: vector.broadcast_to(vector.sum(h, axis=axis, keepdims=True), SHAPE),
        lambda: vector.broadcast_to(vector.mean(h, axis=axis, keepdims=True), SHAPE) * h,
        lambda: getattr(vector, name)(h * 0.1),
        lambda: (h @ vector.transpose(h, (0, 2, 1))) @ h * 0.01,
        lambda: vector.softmax(h, axis=last),
        lambda: vector.transpose(vector.broadcast_to(vector.transpose(h, (1, -1, 0)), (4, 5, 3)), (2, 0, 1)),
        lambda: h + vector.broadcast_to(h[0], SHAPE),
        lambda: vector.logsumexp(h, axis=axis, keepdims=True) * h,
        lambda: vector.max(h, axis=axis, keepdims=True) + h,
        lambda: vector.log_softmax(h),
        lambda: vector.reshape(vector.broadcast_to(vector.sum(h), SHAPE), SHAPE) * w,
        lambda: h[::-1],
        lambda: vector.where(x > 0, h, vector.broadcast_to(vector.sum(h, axis=0), SHAPE)),
        lambda: h * h,
    ]


def program(seed, dtype):
    """A step that differentiates up to three times and moves its parameter; and the parameter."""
    rng = random.Random(seed)
    plan = [(rng.randrange(14), rng.choice(UNARY), rng.choice(AXES)) for _ in range(rng.randint(2, 6))]
    order = rng.choice([1, 2, 3])
    w = Tensor(np.random.default_rng(seed).normal(size=SHAPE).astype(dtype), "w")

    def step(x):
        h = w * x
        for k, name, axis in plan:
            h = moves(h, w, x, name, axis)[k]()
        y = vector.sum(vector.tanh(h))
        outputs = [y]
        for _ in range(order - 1):
            g = vector.grad(y, w, create_graph=True)
            y = vector.sum(g * g * 0.1) + vector.sum(g)
            outputs += [g, y]
        w.grad = None
        y.backward()
        w.data = w.data - 0.01 * w.grad
        return [out * 1.0 for out in outputs]

    return step, w


def check(seed, dtype):
    (eager, mine), (step, twin) = program(seed, dtype), program(seed, dtype)
    step = vector.compile(step, verify=4)
    for k in range(3):
        x = np.random.default_rng(k).normal(size=SHAPE).astype(dtype)
        with np.errstate(all="ignore"):
            expected, got = eager(x.copy()), step(x.copy())
        assert all(same(a.data, b.data) for a, b in zip(expected, got, strict=True)), (seed, k)
        assert same(mine.data, twin.data), (seed, k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(30))
def test_the_same_bits(seed, dtype):
    check(seed, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_of_many(dtype):
    for seed in range(30, 2000):
        check(seed, dtype)
