"""Optimizers of `vector` by themselves: which parameters they move, and where their numbers lie."""

import itertools

import numpy as np
import pytest
from recorded import OPTIMIZERS, same, tensors_of

import vector
from vector import Tensor, nn, optim


def steps_of(optimizer, parameters, n=3):
    """Where n steps take two tensors w and b, listed as `parameters(w, b)`, and what the optimizer then holds."""
    w, b = Tensor(np.array([[0.5, -1.0]]), "w"), Tensor(np.array([0.25, 0.0]), "b")
    update = OPTIMIZERS[optimizer](parameters(w, b))
    for i in range(n):
        update.zero_grad()
        loss = vector.mean((np.full((4, 1), 1.0 + i) @ w + b) ** 2.0)
        loss.backward()
        update.step()
    return [w.data, b.data, *(t.data for t in tensors_of(update))]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_parameter_listed_twice_is_stepped_once(optimizer):
    once = steps_of(optimizer, lambda w, b: [w, b])
    twice = steps_of(optimizer, lambda w, b: [w, b, w, w, b])
    assert all(same(x, y) for x, y in zip(once, twice, strict=True))


def test_a_layer_used_twice_is_stepped_once():
    """L = w (w x + b) + b at b = 0 and x = 1: dL/dw = 2 w, dL/db = w + 1."""
    layer = nn.Dense(1, 1, seed=0)
    w = layer.weight.item()
    model = nn.Sequential(layer, layer)
    update = optim.SGD(model.parameters(), 0.1)
    vector.sum(model(np.ones((1, 1)))).backward()
    update.step()
    assert [p.item() for p in update.parameters] == pytest.approx([w - 0.1 * 2.0 * w, -0.1 * (w + 1.0)], rel=1e-15)


def test_a_layer_used_twice_has_one_name():
    layer, last = nn.Dense(2, 2, seed=0), nn.Dense(2, 1, seed=1)
    model = nn.Sequential(layer, layer, last)
    assert [p.label for p in model.parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [*model.state_dict()] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_parameters_of_equal_numbers_are_two():
    x, y = Tensor(1.0), Tensor(1.0)
    assert len(optim.SGD([x, y, x], 0.1).parameters) == 2


def lie_together(tensors):
    ends = [(t.data.ctypes.data, t.data.nbytes) for t in tensors]
    return all(start + size == after for (start, size), (after, _) in itertools.pairwise(ends))


def test_an_optimizers_arrays_lie_one_after_the_other():
    model = nn.Sequential(nn.Dense(8, 16, "tanh", seed=0), nn.Dense(16, 8, seed=1))
    adam = optim.Adam(model.parameters())
    assert lie_together(adam.sums) and lie_together(adam.squares)
    assert lie_together(optim.SGD(model.parameters(), 0.1, momentum=0.9).velocity)
