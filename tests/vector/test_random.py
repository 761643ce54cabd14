"""vector.random: what is drawn, and that a recorded step draws it anew."""

import numpy as np
import pytest

import vector
from vector import Tensor, random

DRAWS = {
    "uniform": lambda rng, x: random.uniform(rng, x.shape, x.dtype),
    "uniform between": lambda rng, x: random.uniform(rng, x.shape, x.dtype, -2.0, 3.0),
    "normal": lambda rng, x: random.normal(rng, x.shape, x.dtype),
    "normal around": lambda rng, x: random.normal(rng, x.shape, x.dtype, 1.0, 0.5),
    "bernoulli": lambda rng, x: vector.where(random.bernoulli(rng, 0.3, x.shape), x, 0.0),
    "bernoulli by array": lambda rng, x: vector.where(random.bernoulli(rng, abs(x), x.shape), x, 0.0),
    "a permutation": lambda rng, x: x[random.permutation(rng, len(x))],
    "rows permuted": lambda rng, x: random.permutation(rng, x),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.compiler
def test_drawn_anew_at_each_replay(name, dtype):
    rng, other = np.random.default_rng(4), np.random.default_rng(4)
    recorded = vector.compile(lambda x: Tensor(DRAWS[name](rng, x)) * 1.0)
    seen = []
    for i in range(4):
        x = np.linspace(-0.9, 0.9, 40, dtype=dtype).reshape(8, 5) * dtype(1.0 - i / 8)
        expected = np.asarray(DRAWS[name](other, x))
        found = recorded(x)
        assert found.dtype == expected.dtype == dtype and np.array_equal(found.data, expected)
        seen.append(found.data.tobytes())
    assert len({*seen}) == 4 and recorded.traces == 1


def test_what_is_drawn():
    rng = np.random.default_rng(0)
    x = random.uniform(rng, 4000, low=-1.0, high=3.0)
    assert x.min() >= -1.0 and x.max() < 3.0 and abs(x.mean() - 1.0) < 0.1
    x = random.normal(rng, (40, 100), mean=2.0, std=3.0)
    assert x.shape == (40, 100) and abs(x.mean() - 2.0) < 0.2 and abs(x.std() - 3.0) < 0.2
    x = random.bernoulli(rng, np.array([0.0, 0.25, 1.0]), (4000, 3))
    assert x.dtype == bool and x[:, 0].sum() == 0 and abs(x[:, 1].mean() - 0.25) < 0.03 and x[:, 2].all()
    assert sorted(random.permutation(rng, 9).tolist()) == list(range(9))
    assert random.normal(rng, 3, np.float32).dtype == random.uniform(rng, (), np.float32, 0.0, 2.0).dtype == np.float32


def test_mistakes_are_named():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"bernoulli: expected a probability from 0 to 1, got 1\.5"):
        random.bernoulli(rng, 1.5, 3)
    with pytest.raises(TypeError, match=r"expected float32 or float64, got int64"):
        random.normal(rng, 3, int)
    with pytest.raises(TypeError, match="permutation: expected a number or an array, got a tensor"):
        random.permutation(rng, Tensor([1.0, 2.0]))
