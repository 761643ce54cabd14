"""Optimizers of `vector` by themselves: which parameters they move, and where their numbers lie."""

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


@pytest.mark.parametrize("recorded", [False, pytest.param(True, marks=pytest.mark.compiler)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_frozen_parameter_does_not_move(optimizer, recorded):
    """Its momentum and its running means neither; the others move as if it were a constant."""

    def run(freeze):
        model = nn.Sequential(nn.Dense(2, 3, "tanh", seed=0), nn.Dense(3, 2, seed=1))
        update = OPTIMIZERS[optimizer](model.parameters())
        kept = [t for name, ts in update.memory().items() if name != "powers" for t in ts]
        frozen = [*model.parameters()[:2], *(t for t in kept if t.label.startswith("0."))]

        def step(x):
            loss = vector.mean((model(x) - 1.0) ** 2.0)
            update.zero_grad()
            loss.backward()
            update.step()
            return loss

        step = vector.compile(step) if recorded else step
        step(np.ones((1, 2)))
        freeze(model)
        if recorded:
            step.clear()
        before = [t.data.copy() for t in frozen]
        losses = [step(np.full((1, 2), 1.0 + i)).item() for i in range(3)]
        return before, [t.data for t in frozen], losses, [p.data for p in model.parameters()[2:]]

    def freeze(model):
        for p in model.parameters()[:2]:
            p.requires_grad = False

    before, after, losses, others = run(freeze)
    assert len(before) == 2 * (1 + len(update_names(optimizer))) and all(map(same, before, after))
    free = run(lambda model: None)
    assert not any(map(same, free[0], free[1])) and free[2][1:] != losses[1:]
    assert all(np.isfinite(x).all() for x in others) and not any(map(same, others, free[3]))


def update_names(optimizer):
    """What the optimizer keeps for each parameter."""
    return [name for name in OPTIMIZERS[optimizer]([Tensor(1.0)]).memory() if name != "powers"]


@pytest.mark.compiler
def test_a_frozen_parameter_is_guarded():
    """A recorded step does not go on with a parameter that was frozen since, nor with one that no longer is."""
    layer = nn.Dense(2, 1, seed=0)
    update = optim.SGD(layer.parameters(), 0.1, momentum=0.9, weight_decay=0.1)

    @vector.compile
    def step(x):
        loss = vector.mean(layer(x))
        update.zero_grad()
        loss.backward()
        update.step()
        return loss

    for requires_grad in (True, False):
        layer.bias.requires_grad = requires_grad
        step.clear()
        step(np.ones((1, 2)))
        layer.bias.requires_grad = not requires_grad
        with pytest.raises(vector.RecordingError, match="requires_grad changed"):
            step(np.ones((1, 2)))
