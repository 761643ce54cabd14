"""Depth without recursion, memory without the garbage collector, and gradients that belong to one node each."""

import gc
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from judging import heard

import scalar
import vector

ENGINES = {"scalar": (scalar, scalar.Value), "vector": (vector, vector.Tensor)}


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]


@contextmanager
def no_collection():
    """Inside, memory comes back by reference counts alone. Fails if there was anything for the collector to find."""
    gc.collect()
    gc.disable()
    try:
        yield
        found = gc.collect()
    finally:
        gc.enable()
    assert found == 0, f"the collector found {found} objects in cycles"


def chain(node, length):
    out = x = node(1.0)
    for _ in range(length):
        out = out + 1e-9 * x
    return x, out


@pytest.mark.parametrize("length", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_long_chain(engine, length):
    """Forward, backward, second backward, deletion. (Python keeps a few thousand emptied tuples and floats at hand.)"""
    _, node = engine
    assert length > 10 * sys.getrecursionlimit()
    with no_collection():
        before = sys.getallocatedblocks()
        x, out = chain(node, length // 2)  # two nodes a turn
        out.backward()
        assert float(x.grad) == pytest.approx(1.0 + 0.5e-9 * length)
        out.backward()
        assert float(x.grad) == pytest.approx(2.0 + 1e-9 * length)
        held = sys.getallocatedblocks() - before
        del x, out
        left = sys.getallocatedblocks() - before
    assert held > 3 * length  # there was something to give back
    assert left < 10_000, f"{left} blocks of {held} stayed"


def test_a_long_chain_of_gradients(engine):
    """create_graph goes as deep, and its graph dies as quietly."""
    module, node = engine
    with no_collection():
        x = node(0.5)
        out = x
        for _ in range(5000):
            out = module.sin(out)
        slope = module.grad(out, x, create_graph=True)
        slope.backward()
        assert np.isfinite(float(x.grad))
        del x, out, slope


def test_a_wide_node(engine):
    module, node = engine
    x = node(2.0)
    out = x
    for _ in range(20_000):
        out = out + x
    out.backward()
    assert float(x.grad) == 20_001.0
    assert len(module.topological_order(out)) == 20_001


def scalar_step(model, optimizer):
    loss = scalar.cross_entropy([model([0.1, 0.2, 0.3]), model([-1.0, 0.5, 2.0])], [0, 1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def vector_step(model, optimizer):
    loss = vector.cross_entropy(model(np.array([[0.1, 0.2, 0.3], [-1.0, 0.5, 2.0]])), [0, 1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "softmax", None])
@pytest.mark.parametrize("module, step", [(scalar, scalar_step), (vector, vector_step)])
def test_a_training_step_leaves_no_cycle(module, step, optimizer, activation):
    model = module.nn.Sequential(module.nn.Dense(3, 4, activation, seed=0), module.nn.Dense(4, 2, seed=1))
    update = getattr(module.optim, optimizer)(model.parameters(), 0.01)
    step(model, update)
    with no_collection():
        for _ in range(3):
            step(model, update)


def test_second_derivatives_leave_no_cycle(engine):
    module, node = engine
    with no_collection():
        x, y = node(0.3), node(0.7)
        slopes = module.grad(module.tanh(x * y) + module.exp(x), [x, y], create_graph=True)
        module.grad(slopes[0] * slopes[1], [x, y])
        del x, y, slopes


def test_errors_leave_no_cycle(engine):
    module, node = engine
    with no_collection():
        x = node(1.0)
        try:
            module.add(x, "a")
        except TypeError:
            pass
        del x


# --- whose gradient it is ---------------------------------------------------------------------------------------------


def test_leaves_accumulate_and_inner_nodes_start_anew(engine):
    _, node = engine
    x, y = node(2.0), node(3.0)
    inner = x * y
    out = inner * inner
    out.backward()
    assert [float(n.grad) for n in (x, y, inner, out)] == [36.0, 24.0, 12.0, 1.0]
    out.backward()
    assert [float(n.grad) for n in (x, y, inner, out)] == [72.0, 48.0, 12.0, 1.0]


def test_two_roots_that_share_nodes(engine):
    _, node = engine
    x = node(2.0)
    shared = x * x
    first, second = shared + 1.0, shared * 3.0
    first.backward()
    second.backward()
    assert float(x.grad) == 4.0 + 12.0
    assert float(shared.grad) == 3.0
    shared.backward()
    assert float(x.grad) == 20.0


def test_a_root_inside_another_graph(engine):
    _, node = engine
    x = node(2.0)
    inner = x * x
    out = inner * inner
    inner.backward()
    out.backward()
    assert float(x.grad) == 4.0 + 32.0


def test_a_sum_of_gradients_that_overflows_warns(engine):
    _, node = engine
    x = node(0.5)
    out = x * 1e308 + x * 1e308
    with pytest.warns(RuntimeWarning, match="overflow encountered in"):
        out.backward(1.0)
    assert float(x.grad) == np.inf


def test_gradients_that_are_nodes_warn_once_where_they_overflow(engine):
    module, node = engine
    x = node(0.5)
    slope, warnings = heard(lambda: module.grad(x * 1e308 + x * 1e308, x, create_graph=True))
    assert float(slope.data) == np.inf
    assert {text.split(" encountered")[0] for _, text in warnings} == {"overflow"}
    slope, warnings = heard(lambda: module.grad(module.sqrt(y := node(0.0)), y, create_graph=True))
    assert float(slope.data) == np.inf
    assert {text.split(" encountered")[0] for _, text in warnings} == {"divide by zero"}


def test_a_leaf_is_its_own_root(engine):
    _, node = engine
    x = node(2.0)
    x.backward()
    x.backward()
    assert float(x.grad) == 2.0


def test_grad_leaves_no_trace(engine):
    module, node = engine
    x = node(2.0)
    inner = x * x
    assert float(module.grad(inner * 3.0, x)) == 12.0
    assert module.grad(inner * 3.0, [x, inner]) == [12.0, 3.0]
    assert (float(x.grad), float(inner.grad)) == (0.0, 0.0)
    assert float(module.grad(inner, node(1.0))) == 0.0


SHARING = {
    "add": lambda x, y: vector.add(x, y),
    "subtract": lambda x, y: vector.subtract(x, y),
    "sum": lambda x, y: vector.sum(x) + vector.sum(y),
    "mean": lambda x, y: vector.mean(x + y),
    "reshape": lambda x, y: x.reshape(4) + y.reshape(4),
    "transpose": lambda x, y: x.T + y.T,
    "concatenate": lambda x, y: vector.concatenate([x, y]),
    "stack": lambda x, y: vector.stack([x, y]),
    "where": lambda x, y: vector.where(np.full((2, 2), True), x, y),
    "broadcast": lambda x, y: vector.broadcast_to(x, (3, 2, 2)) + y,
    "index": lambda x, y: x[...] + y[:, :],
    "itself": lambda x, y: x + x + y,
}


@pytest.mark.parametrize("name", SHARING)
def test_no_gradient_is_shared(name):
    """Changing one leaf's gradient in place changes neither another's nor an inner node's, nor what was passed in."""
    x, y = vector.Tensor(np.arange(4.0).reshape(2, 2)), vector.Tensor(np.ones((2, 2)))
    out = SHARING[name](x, y)
    given = np.full(out.shape, 2.0)
    out.backward(given)
    expected = y.grad.copy()
    assert x.grad.flags.writeable and y.grad.flags.writeable
    assert not np.shares_memory(x.grad, y.grad)
    assert not np.shares_memory(x.grad, x.data)
    x.grad += 100.0
    assert np.array_equal(y.grad, expected)
    assert np.array_equal(given, np.full(out.shape, 2.0))
    assert np.array_equal(out.grad, given)
    y.grad *= 0.0
    out.backward(given)
    assert np.array_equal(y.grad, expected)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_gradients_handed_out_by_grad_are_not_shared(shape, create_graph):
    x, y = vector.Tensor(np.ones(shape)), vector.Tensor(np.ones(shape))
    for out in (x + y, vector.sum(x + y)):
        if out.size == 1:
            slopes = vector.grad(out, [x, y, x], create_graph)
            first, *others = [s.data for s in slopes] if create_graph else slopes
            first += 1.0
            assert all(np.array_equal(other, np.ones(shape)) for other in others)
