"""Layers and optimizers of `scalar`: one parameter, one step; a frozen one stays."""

import numpy as np
import pytest

import scalar
from scalar import Value

OPTIMIZERS = {
    "SGD": lambda parameters: scalar.optim.SGD(parameters, 0.1),
    "momentum": lambda parameters: scalar.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda parameters: scalar.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda parameters: scalar.optim.Adam(parameters, 0.1, weight_decay=0.1),
    "AdamW": lambda parameters: scalar.optim.AdamW(parameters, 0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_listed_twice_is_moved_once(name):
    once, twice = Value(0.5), Value(0.5)
    optimizers = OPTIMIZERS[name]([once]), OPTIMIZERS[name]([twice, twice])
    for _ in range(3):
        for x, optimizer in zip((once, twice), optimizers, strict=True):
            optimizer.zero_grad()
            (x * x * 3.0).backward()
            optimizer.step()
        assert once.data == twice.data
    first, second = (optimizer.state_dict() for optimizer in optimizers)
    assert first.keys() == second.keys()
    for key in first:
        assert np.array_equal(first[key], second[key]), key


def test_a_layer_used_twice_is_moved_once():
    """f(x) = w (w x + b) + b at b = 0 and x = 1: df/dw = 2 w, df/db = w + 1."""
    layer = scalar.nn.Dense(1, 1, seed=0)
    w = layer.weight[0][0].data
    model = scalar.nn.Sequential(layer, layer)
    optimizer = scalar.optim.SGD(model.parameters(), 0.1)
    model([1.0])[0].backward()
    optimizer.step()
    moved = w - layer.weight[0][0].data
    assert f"{moved:.5f}" == "0.09489" and moved == pytest.approx(0.1 * 2.0 * w)
    assert layer.bias[0].data == pytest.approx(-0.1 * (w + 1.0))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_frozen_parameter_stays(name):
    """And what is remembered of it, too: it goes on from there as soon as it is free again."""
    frozen, free = Value(0.5), Value(0.5)
    optimizer = OPTIMIZERS[name]([frozen, free])

    def step():
        optimizer.zero_grad()
        (frozen * frozen + free * free).backward()
        optimizer.step()

    step()
    memory = {key: list(xs) for key, xs in optimizer.memory().items() if key != "powers"}
    before = frozen.data, free.data
    frozen.requires_grad = False
    frozen.grad = 7.0
    step()
    frozen.grad = 7.0
    optimizer.step()
    assert frozen.data == before[0] and free.data != before[1]
    assert all(optimizer.memory()[key][0] == memory[key][0] for key in memory)
    assert all(optimizer.memory()[key][1] != memory[key][1] for key in memory)
    frozen.requires_grad = True
    step()
    assert frozen.data != before[0]
