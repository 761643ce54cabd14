"""A layer of one's own is the same class in both engines: names, states, modes and mistakes."""

import functools

import numpy as np
import pytest
from mistakes import ENGINES, alike

X = [0.3, -1.2, 0.7]


def net(E, N, A):
    """A model with a layer in every place where there can be one."""
    nn = E.nn

    class Scale(nn.Layer):
        def __init__(self):
            self.gain = N(2.0)
            self.register_buffer("mean", [0.5, 0.25])

        def __call__(self, x):
            return x

    class Net(nn.Layer):
        def __init__(self):
            self.first = nn.Dense(3, 2, "tanh", seed=0)
            self.blocks = [Scale(), (nn.Dense(2, 2, seed=1), E.tanh)]
            self.heads = {"a": nn.Dense(2, 2, seed=2), 1: self.first}
            self.inner = nn.Sequential(Scale(), nn.Sequential(nn.Dense(2, 1, seed=3)))

        def __call__(self, x):
            return self.inner(self.heads["a"](self.blocks[1][0](self.blocks[0](self.first(x)))))

    return nn.Sequential(Net())


def both():
    return [net(*ENGINES[name]) for name in ("scalar", "vector")]


def test_the_same_state_under_the_same_names():
    slow, fast = both()
    state, other = slow.state_dict(), fast.state_dict()
    assert sorted(state) == sorted(other) and "0.blocks.1.0.weight" in state and "0.inner.1.0.bias" in state
    assert [*slow.named()] == [*fast.named()] == [name for name in other if not name.endswith("mean")]
    assert all(np.array_equal(state[name], other[name]) for name in state)


def test_a_state_of_either_loads_into_the_other():
    (slow, fast), (slow_twin, fast_twin) = both(), both()
    rng = np.random.default_rng(0)
    new = {name: rng.normal(size=x.shape) for name, x in fast.state_dict().items()}
    for model in (slow, fast):
        model.load_state_dict(new)
    slow_twin.load_state_dict(fast.state_dict())
    fast_twin.load_state_dict(slow.state_dict())
    for model in (slow_twin, fast_twin):
        assert all(np.array_equal(x, new[name]) for name, x in model.state_dict().items())
    assert slow_twin(X)[0].data == pytest.approx(fast_twin(np.array([X])).data.item(), rel=1e-14)


def test_a_mode_reaches_every_layer():
    for model in both():
        parts = [model, model.layers[0], model.layers[0].blocks[1][0], model.layers[0].inner.layers[1].layers[0]]
        assert all(part.training for part in parts)
        assert model.eval() is model and not any(part.training for part in parts)
        assert model.train() is model and all(part.training for part in parts)
        assert model.train(False) is model and not any(part.training for part in parts)


def test_the_same_picture():
    slow, fast = map(repr, both())
    assert slow == fast and "├─ first: Dense(3, 2, tanh)     8  weight (3, 2), bias (2,)" in slow


def holder(N):
    class Scale:
        def __init__(self):
            self.w = N(1.0)

        def __call__(self, x):
            return x

    return Scale()


HIDING = {
    "an object": holder,
    "a function": lambda N: (lambda w: lambda x: w)(N(1.0)),
    "a list in a function": lambda N: (lambda w: lambda x: w)([{"a": N(1.0)}]),
    "a partial function": lambda N: functools.partial(max, N(1.0)),
    "a method": lambda N: holder(N).__call__,
}


@pytest.mark.parametrize("what", HIDING)
def test_hidden_parameters(what):
    def in_layer(E, N, A):
        layer = E.nn.Layer()
        layer.parts = [E.nn.Dense(2, 2), HIDING[what](N)]
        layer.parameters()

    def in_sequential(E, N, A):
        E.nn.Sequential(E.nn.Dense(2, 2), HIDING[what](N)).parameters()

    for mistake, where in ((in_layer, "Layer"), (in_sequential, "Sequential")):
        alike(mistake, TypeError, "Layer: expected layers that show their parameters, got", f"in {where}, which hides")


def with_layer(change):
    return lambda E, N, A: change(E.nn.Layer(), N)


def load_buffer(layer, N):
    layer.register_buffer("mean", [1.0])
    layer.load_state_dict({"mean": [1.0, 2.0]})


def two_of_one_name(layer, N):
    layer.table = {1: N(1.0), "1": N(2.0)}
    layer.state_dict()


def in_the_class(layer, N):
    type("Sub", (type(layer),), {"w": N(1.0)})().parameters()


def made_by_an_op(layer, N):
    layer.w = N(1.0) * 0.1
    layer.parameters()


MISTAKES = {
    "in the class": (
        in_the_class,
        TypeError,
        "Layer: expected parameters in attributes of the object, got some in the",
    ),
    "made by an op": (made_by_an_op, TypeError, "Layer: expected parameters that no op made, got a result of multiply"),
    "a buffer's name": (
        lambda layer, N: layer.register_buffer("train", 1.0),
        ValueError,
        "register_buffer: expected a new name, got 'train'",
    ),
    "no name for a buffer": (lambda layer, N: layer.register_buffer("a.b", 1.0), ValueError, "a new name, got 'a.b'"),
    "two of one name": (two_of_one_name, ValueError, "Layer: expected names that differ, got table.1 twice"),
    "a buffer of bools": (
        lambda layer, N: layer.register_buffer("m", [True]),
        TypeError,
        "register_buffer: m: expected",
    ),
    "a buffer's shape": (load_buffer, ValueError, "load_state_dict: mean: expected shape (1,), got (2,)"),
    "no call": (lambda layer, N: layer(1.0), TypeError, "'Layer' object is not callable"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    change, *expected = MISTAKES[name]
    alike(with_layer(change), *expected)
