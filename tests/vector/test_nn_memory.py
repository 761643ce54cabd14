"""Where the arrays of parameters, and of what optimizers keep, lie in memory."""

import itertools

import numpy as np
import pytest

import vector
from vector import Tensor, nn, optim
from vector.runtime.memory import ALIGNMENT

X = np.array([[0.3, -1.2, 0.7], [1.5, 0.1, -0.4]])


def lie_together(tensors):
    ends = [(t.data.ctypes.data, t.data.nbytes) for t in tensors]
    return all(start + size == after for (start, size), (after, _) in itertools.pairwise(ends))


def test_a_models_parameters_lie_one_after_the_other_where_nobody_else_has_seen_them():
    layers = [nn.Dense(8, 16, "tanh", seed=0), nn.Dense(16, 8, seed=1)]
    before = [p._data.copy() for layer in layers for p in layer.parameters()]
    model = nn.Sequential(*layers)
    assert lie_together(model.parameters()) and all(p.data.ctypes.data % ALIGNMENT == 0 for p in model.parameters())
    assert all(np.array_equal(x, p.data) for x, p in zip(before, model.parameters(), strict=True))
    arrays = [p.data for p in model.parameters()]
    nn.Sequential(*layers)
    assert all(x is p.data for x, p in zip(arrays, model.parameters(), strict=True))

    seen = nn.Dense(8, 16, seed=0)
    weight = seen.weight.data
    nn.Sequential(seen)
    assert seen.weight.data is weight and seen.bias.data.ctypes.data != weight.ctypes.data + weight.nbytes


@pytest.mark.parametrize("look", [Tensor.detach, Tensor, lambda w: w.T, lambda w: w[0]])
def test_what_looked_at_a_parameter_before_the_model_was_made_still_does(look):
    layer = nn.Dense(3, 2, seed=0)
    seen = look(layer.weight)
    nn.Sequential(layer)
    layer.weight.data += 1.0
    assert np.array_equal(seen.data, look(layer.weight).data)


def test_a_model_made_between_forward_and_backward_changes_no_gradient():
    layer, x = nn.Dense(3, 2, "tanh", seed=0), Tensor(X)
    loss = vector.sum(layer(x))
    nn.Sequential(layer)
    loss.backward()
    again = vector.sum(layer(x))
    assert np.array_equal(layer.weight.grad, vector.grad(again, layer.weight))


def test_an_optimizers_arrays_lie_one_after_the_other():
    model = nn.Sequential(nn.Dense(8, 16, "tanh", seed=0), nn.Dense(16, 8, seed=1))
    adam = optim.Adam(model.parameters())
    assert lie_together(adam.sums) and lie_together(adam.squares)
    assert lie_together(optim.SGD(model.parameters(), 0.1, momentum=0.9).velocity)
