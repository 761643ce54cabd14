"""Where the arrays of parameters, and of what optimizers keep, lie in memory."""

import itertools
import platform
import subprocess
import sys

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


def test_an_array_that_somebody_has_stays_where_it_is():
    """Asked for by `data`, also of a view, or handed in: training goes on in it."""
    given = np.ones((3, 2))
    for have in (lambda w: w.data, lambda w: w.detach().data[0], lambda w: setattr(w, "data", given) or given):
        layer = nn.Dense(3, 2, seed=0)
        held = have(layer.weight)
        model = nn.Sequential(layer)
        update = optim.SGD(model.parameters(), 0.1)
        vector.sum(model(X)).backward()
        update.step()
        assert np.shares_memory(held, layer.weight.data)


def test_tensors_of_one_array_stay_tied():
    first, second = nn.Dense(3, 3, seed=0), nn.Dense(3, 3, seed=1)
    second.weight = Tensor(first.weight)
    model = nn.Sequential(first, second, first)
    assert [*model.state_dict()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    first.weight.data += 1.0
    assert first.weight.data is second.weight.data


def test_a_layer_of_two_models_and_in_two_places_is_one():
    layer = nn.Dense(3, 3, seed=0)
    one, two = nn.Sequential(layer, nn.Dense(3, 2, seed=1)), nn.Sequential(layer, layer)
    layer.weight.data += 1.0
    assert one.layers[0].weight.data is two.layers[1].weight.data
    assert np.array_equal(one.layers[0](X).data, two.layers[1](X).data)


def test_a_view_from_before_the_model_keeps_the_old_array():
    """As it does whenever `data` is set."""
    layer = nn.Dense(3, 2, seed=0)
    views = [layer.weight.detach(), layer.weight.T, layer.weight[0]]
    nn.Sequential(layer)
    numbers = layer.weight.data.copy()
    layer.weight.data += 1.0
    for view, old in zip(views, (numbers, numbers.T, numbers[0]), strict=True):
        assert np.array_equal(view.data, old)


def test_parameters_of_ones_own_are_moved_where_the_engine_made_the_array():
    class Scale(nn.Layer):
        def __init__(self, data):
            self.weight = Tensor(data)

        def __call__(self, x):
            return x * self.weight

    own, given = Scale([*range(8)]), Scale(array := np.ones(8))
    model = nn.Sequential(nn.Dense(8, 8, seed=0), own, nn.Dense(8, 8, seed=1), given)
    assert lie_together(model.parameters()[:5]) and given.weight.data is array
    assert own.weight.data.tolist() == [*range(8)]


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


FREED = """
import resource, {0}
import numpy as np
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    [np.ones(100_000) for _ in range(4)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the system's memory is not glibc's")
def test_freed_blocks_are_kept():
    """Four times 800 KB are 784 pages, which the system gives once, and not anew each time."""
    asked = [int(subprocess.check_output([sys.executable, "-c", FREED.format(x)], text=True)) for x in ("vector", "os")]
    assert asked[0] < 5_000 < asked[1]
