"""Optimizers of `vector` by themselves: which parameters they move, and where their numbers lie."""

import numpy as np
import pytest
from recorded import OPTIMIZERS, same, tensors_of

import vector
from vector import Tensor, nn, optim

SINGLE = [name for name in OPTIMIZERS if name != "grouped"]


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


@pytest.mark.parametrize("optimizer", SINGLE)
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
@pytest.mark.parametrize("optimizer", SINGLE)
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
    assert all(np.isfinite(x).all() for x in others)
    assert optimizer == "lion" or not any(map(same, others, free[3]))  # whose steps are signs


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


def square(p):
    """The gradient of the sum of squares."""
    p.grad = 2.0 * p.data


def test_groups_keep_their_proportions():
    a, b = Tensor([1.0, 2.0]), Tensor([3.0])
    update = optim.Grouped(optim.SGD([a], 0.1), optim.SGD([b], 0.4, momentum=0.5))
    update.lr = 0.05
    assert [x.lr for x in update.optimizers] == pytest.approx([0.05, 0.2]) and update.lr == 0.05
    for p in update.parameters:
        square(p)
    update.step()
    assert np.allclose(a.data, [0.9, 1.8]) and np.allclose(b.data, [1.8])
    update.zero_grad()
    assert not a.grad.any() and not b.grad.any()
    other = optim.Grouped(optim.SGD([Tensor([1.0, 2.0])], 0.2), optim.SGD([Tensor([3.0])], 0.8, momentum=0.5))
    other.load_state_dict(update.state_dict())
    assert other.lr == 0.05 and np.allclose(other.optimizers[1].velocity[0].data, [6.0])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: optim.Grouped(p), "Grouped: expected optimizers, each an argument of its own, got Tensor"),
        (lambda p: optim.Grouped(), "Grouped: expected optimizers of parameters that differ, at least one"),
        (lambda p: optim.Grouped(optim.SGD([p], 1), optim.SGD([p], 1)), "Grouped: expected optimizers of parameters"),
        (lambda p: optim.RMSprop([p], decay=1.0), "RMSprop: decay: expected a number from 0 to below 1"),
        (lambda p: optim.Lion([p], betas=0.9), "Lion: expected two betas, got 0.9"),
        (lambda p: optim.clip_norm([p], -1.0), "clip_norm: limit: expected a number from 0"),
        (lambda p: optim.Average([p], 1.5), "Average: decay: expected a number from 0 to below 1"),
    ],
)
def test_messages_of_optimizers(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(Tensor([1.0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_clipped(dtype):
    a, b, frozen = Tensor(np.array([3.0], dtype)), Tensor(np.array([4.0], dtype)), Tensor(np.array([9.0], dtype))
    for p in (a, b, frozen):
        p.grad = p.data.copy()
    frozen.requires_grad = False
    assert float(optim.clip_norm([a, b, frozen], 10.0)) == 5.0 and a.grad[0] == 3.0
    optim.clip_norm([a, b, frozen], 1.0)
    assert np.allclose([a.grad[0], b.grad[0]], [0.6, 0.8], rtol=1e-6) and frozen.grad[0] == 9.0
    optim.clip_value([a, b, frozen], 0.7)
    assert np.allclose([a.grad[0], b.grad[0]], [0.6, 0.7], rtol=1e-6) and a.grad.dtype == b.grad.dtype == dtype


@pytest.mark.compiler
def test_clipping_in_a_recorded_step():
    def run(wrap):
        model = nn.Dense(3, 2, seed=0)
        update = optim.SGD(model.parameters(), 0.5)

        def step(x):
            loss = vector.sum(model(x) ** 2.0)
            update.zero_grad()
            loss.backward()
            norm = optim.clip_norm(model.parameters(), 0.3)
            optim.clip_value(model.parameters(), 0.2)
            update.step()
            return loss, norm

        step, rng = wrap(step), np.random.default_rng(0)
        results = [step(rng.normal(size=(4, 3))) for _ in range(5)]
        return [*(x.item() for row in results for x in row), *(p.data for p in model.parameters())]

    assert all(same(np.asarray(a), np.asarray(b)) for a, b in zip(run(vector.compile), run(lambda f: f), strict=True))


def test_an_average_of_parameters():
    p = Tensor([0.0])
    average = optim.Average([p], 0.5)
    for x in (1.0, 2.0, 4.0):
        p.data[...] = x
        average.update()
    # decays 2/11, 3/12, 4/13
    a = 9 / 11
    a = 3 / 12 * a + 9 / 12 * 2
    a = 4 / 13 * a + 9 / 13 * 4
    with average:
        assert np.allclose(p.data, a)
    assert p.data[0] == 4.0
    other = optim.Average([Tensor([7.0])], 0.5)
    other.load_state_dict(average.state_dict())
    assert other.steps == 3 and np.array_equal(other.arrays[0], average.arrays[0])
    with pytest.raises(ValueError, match="expected averages of shapes"):
        other.load_state_dict({"steps": 1, "0": np.zeros(2)})


def test_schedules():
    line = optim.linear(1.0, 10, warmup=2, final=0.2)
    assert [line(i) for i in (0, 1, 2, 6, 10, 99)] == pytest.approx([0.5, 1.0, 1.0, 0.6, 0.2, 0.2])
    assert [optim.exponential(1.0, 0.5, every=2)(i) for i in (0, 2, 3)] == pytest.approx([1.0, 0.5, 0.5**1.5])
    cycle = optim.one_cycle(1.0, 100)
    assert [cycle(i) for i in (0, 29, 99)] == pytest.approx([0.04, 1.0, 0.04 * 1e-4])
    assert max(map(cycle, range(100))) == 1.0


def test_a_plateau():
    update = optim.SGD([Tensor(1.0)], 1.0)
    watch = optim.Plateau(update, factor=0.5, patience=1)
    for loss in (3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        watch({"loss": loss})
    assert update.lr == 0.125
