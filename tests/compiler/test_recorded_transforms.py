"""Transforms in recorded steps: the bits of the eager ones, replay after replay."""

import numpy as np
import pytest

import vector
from vector import nn
from vector.storage import same

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4))
V, W = RNG.normal(size=3), RNG.normal(size=4)
pytestmark = pytest.mark.compiler


def bent(x):
    return vector.tanh(vector.matmul(A, x))


def cost(x):
    return vector.sum(bent(x) ** 2 * x[:3])


MODEL = nn.Sequential(nn.Dense(4, 5, "tanh", seed=1), nn.Dense(5, 2, "sigmoid", seed=2))


def loss(x):
    return vector.mean(MODEL(x) ** 2)


TRANSFORMS = {
    "value_and_grad": lambda x: vector.value_and_grad(cost)(x),
    "vjp": lambda x: vector.vjp(bent, x, V),
    "jvp": lambda x: vector.jvp(bent, x, W),
    "hvp": lambda x: vector.hvp(cost, x, W),
    "jacobian": lambda x: vector.jacobian(bent, x),
    "jacobian by columns": lambda x: vector.jacobian(lambda y: vector.exp(y * np.arange(5.0)), x[:1]),
    "hessian": lambda x: vector.hessian(cost, x),
    "per sample": lambda x: vector.per_sample_grads(loss, MODEL.parameters(), vector.reshape(x, (2, 2)) @ A[:2]),
    "remat": lambda x: vector.grad(vector.remat(loss)(x), MODEL.parameters()),
    "v as an argument": lambda x: vector.vjp(lambda y: y * y, x, x),
}


def arrays(result):
    if isinstance(result, (list, tuple)):
        return [array for part in result for array in arrays(part)]
    return [result if isinstance(result, np.ndarray) else result.data]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_replays(name):
    f = TRANSFORMS[name]
    step = vector.compile(f)
    for _ in range(3):
        x = RNG.normal(size=4)
        for found, expected in zip(arrays(step(x)), arrays(f(x)), strict=True):
            assert same(found, expected)
    assert step.traces == 1


def test_draws_cannot_be_repeated():
    drop = nn.Dropout(0.5, seed=0)
    step = vector.compile(lambda x: vector.grad(vector.sum(vector.remat(drop)(vector.Tensor(x))), MODEL.parameters()))
    with pytest.raises(vector.RecordingError, match="draw the same random numbers twice"):
        step(np.ones(4))
