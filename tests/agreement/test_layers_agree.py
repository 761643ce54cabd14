"""Random small networks of all layers through both engines: convolutions, norms, recurrent layers and attention.

Of each network are compared: the numbers it starts with; every output and, of a loss, the gradient by every parameter
and input, and the Hessian times a vector, in training and in evaluation, within the bounds of `bounds.py`; the
statistics that BatchNorm keeps; every gradient and every parameter on three steps of an optimizer; and, to the bit, the
steps recorded with the steps as Python runs them. `pytest -s` prints how many networks were compared; with
HYPOTHESIS_PROFILE=thorough they are 2,400.
"""

import inspect
import textwrap
from collections import Counter

import numpy as np
import pytest
from bounds import errors, slopes
from engines import compare, undecided
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from judging import same
from layer_networks import KINDS, Network, Pair

import scalar
import vector

TRIED: Counter[str] = Counter()
OPTIMIZERS = {
    "momentum": lambda engine, p: engine.optim.SGD(p, 0.02, momentum=0.9),
    "adam": lambda engine, p: engine.optim.Adam(p, 0.02),
}


def compare_derivatives(pair: Pair) -> bool:
    """Outputs, gradients and the Hessian times a vector. Returns False, without comparing, where rounding decides on
    which side of a corner something falls."""
    slow_out, slow_loss, fast_out, fast_loss = pair.losses()
    slow_slopes = slopes(scalar, slow_loss, pair.slow_inputs)
    fast_slopes = slopes(vector, fast_loss, pair.fast_inputs)
    v = np.random.default_rng(0).normal(size=len(pair.slow_inputs)).round(2)
    along = np.split(v, np.cumsum([x.size for x in pair.fast_inputs])[:-1])
    slow_hvp = slopes(scalar, scalar.dot(slow_slopes, v.tolist()), pair.slow_inputs)
    products = [
        vector.sum(s * d.reshape(x.shape)) for s, d, x in zip(fast_slopes, along, pair.fast_inputs, strict=True)
    ]
    fast_hvp = slopes(vector, sum(products[1:], products[0]), pair.fast_inputs)
    e_slow = errors([*slow_out, slow_loss, *slow_slopes, *slow_hvp])
    e_fast = errors([fast_out, fast_loss, *fast_slopes, *fast_hvp])
    if undecided(e_slow) or undecided(e_fast):
        return False
    compare("output", slow_out, [fast_out], e_slow, e_fast)
    compare("gradient", slow_slopes, fast_slopes, e_slow, e_fast)
    compare("Hessian-vector product", slow_hvp, fast_hvp, e_slow, e_fast)
    return True


def compare_steps(pair: Pair, name: str) -> None:
    """Three steps. Gradients differ by rounding, of which 1e-9 of the largest leaves plenty: the bounds were kept to
    the bit above, and to derive them once more at each step would double the time. Given the very same gradients, a
    step is elementwise, so that parameters agree to the last bit."""
    slow_parameters, fast_parameters = pair.slow.parameters(), pair.fast.parameters()
    slow_optimizer, fast_optimizer = (
        OPTIMIZERS[name](scalar, slow_parameters),
        OPTIMIZERS[name](vector, fast_parameters),
    )
    for _ in range(3):
        _, slow_loss, _, fast_loss = pair.losses()
        slow_optimizer.zero_grad()
        fast_optimizer.zero_grad()
        slow_loss.backward()
        fast_loss.backward()
        shared = np.concatenate([np.ravel(p.grad) for p in fast_parameters])
        own = np.array([p.grad for p in slow_parameters])
        assert np.allclose(own, shared, rtol=0, atol=1e-9 * np.abs(shared).max()), "gradient of a step"
        for p, g in zip(slow_parameters, shared.tolist(), strict=True):
            p.grad = g
        slow_optimizer.step()
        fast_optimizer.step()
        moved = np.concatenate([p.data.ravel() for p in fast_parameters])
        assert same([p.data for p in slow_parameters], moved, signed_zeros=False).all(), "step"
        pair.compare_buffers()


def run(model, x, y, name: str, record) -> list[np.ndarray]:
    """All numbers of four steps, and of three predictions after them."""
    parameters = model.parameters()
    optimizer = OPTIMIZERS[name](vector, parameters)

    def step(x, y):
        out = model(x)
        loss = vector.mse(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return out, loss, *[p.grad for p in parameters]

    step, seen = record(step), []
    for i in range(4):
        seen += [*step(x, y + i), *model.state_dict().values()]
    predict = record(model.eval())
    seen += [predict(x), predict(x), predict(x)]
    return [np.array(a.data if isinstance(a, vector.Tensor) else a) for a in seen]


def compare_recorded(network: Network, pair: Pair, name: str) -> None:
    """Replayed, or for every other network verified at each call, which then finds nothing to say. Steps may diverge:
    infinities are compared as well."""
    runs = []
    for record in (lambda f: f, lambda f: vector.compile(f, verify=network.seed % 2)):
        model = network.build(vector)
        model.load_state_dict(pair.fast.state_dict())
        with np.errstate(all="ignore"):
            runs.append(run(model, pair.x, pair.targets, name, record))
    assert all(same(a, b).all() for a, b in zip(*runs, strict=True)), "recorded"


def agree(network: Network, optimizer: str = "adam") -> bool:
    """Raises AssertionError where the engines differ. Returns False where they may, at a corner."""
    pair = Pair(network)
    modes = "BatchNorm" in network.text or "Dropout" in network.text
    for training in (False, True) if modes else (True,):
        pair.train(training)
        if not compare_derivatives(pair):
            return False
        pair.compare_buffers()
    compare_steps(pair, optimizer)
    compare_recorded(network, pair, optimizer)
    return True


@pytest.fixture(scope="module", autouse=True)
def count():
    yield
    print(f"\ncompared: {TRIED.total()} networks, {dict(TRIED)}")


@pytest.mark.compiler
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=max(10, settings.default.max_examples // 500))
@given(data=st.data())
def test_networks_of_layers(kind, data):
    assume(agree(data.draw(KINDS[kind]()), data.draw(st.sampled_from(sorted(OPTIMIZERS)))))
    TRIED[kind] += 1


# --- wrong layers -----------------------------------------------------------------------------------------------------

NETWORKS = {
    "convnet": (
        "nn.Conv2D(2, 3, 2, seed=1), nn.BatchNorm(3), nn.Lambda(E.tanh), nn.MaxPool(2, 1), nn.Upsample(2, 'bilinear'), "
        "nn.AvgPool(2), nn.Flatten(), nn.Dropout(0.3, 3), nn.Dense(6, 2, seed=2)",
        (2, 3, 4, 2),
    ),
    "residual": (
        "nn.Residual(nn.GroupNorm(2, 4, 0.1), nn.Conv1D(4, 4, 2, padding='same', seed=1)), nn.RMSNorm(4, 0.1), "
        "nn.Flatten(), nn.Dense(8, 2, seed=2)",
        (2, 2, 4),
    ),
    "recurrent": (
        "nn.GRU(2, 3, seed=1), nn.LSTM(3, 2, seed=2), nn.SimpleRNN(2, 2, last=True, seed=3), nn.Dense(2, 2, seed=4)",
        (2, 3, 2),
    ),
    "attention": (
        "nn.Embedding(4, 4, seed=0), nn.Residual(nn.LayerNorm(4, 0.1), nn.MultiHeadAttention(4, 2, True, seed=1)), "
        "nn.GlobalAveragePool(), nn.Dense(4, 2, seed=2)",
        (2, 3),
    ),
}


def network(name: str) -> Network:
    layers, shape = NETWORKS[name]
    return Network(f"nn.Sequential({layers})", shape, 4 if "Embedding" in layers else 0)


@pytest.mark.compiler
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_each_kind(name):
    assert agree(network(name))


# What is wrong: the network that it must be found in, where, and what stands there in the place of what.
WRONG = {
    "a kernel turned round": ("convnet", "Conv2D.convolve", "self.weight,", "self.weight[::-1, ::-1],"),
    "variance by n - 1": (
        "convnet",
        "BatchNorm.__call__",
        "axes, self.eps))",
        "axes, self.eps) * ((n - 1) / n) ** 0.5)",
    ),
    "statistics by n": ("convnet", "BatchNorm.__call__", "float(n - 1)", "float(n)"),
    "statistics half as fast": ("convnet", "BatchNorm.__call__", "self.momentum *", "0.5 * self.momentum *"),
    "the batch's statistics in evaluation": ("convnet", "BatchNorm.__call__", "if not self.training", "if False"),
    "the mean in place of the largest": ("convnet", "MaxPool.__call__", "max_pool", "avg_pool"),
    "the nearest in place of a line": ("convnet", "Upsample.__call__", "self.mode", "'nearest'"),
    "dropout that scales nothing": ("convnet", "Dropout.__call__", "(1.0 - self.rate)", "1.0"),
    "dropout in evaluation": ("convnet", "Dropout.__call__", "not self.training or", ""),
    "a sequence's kernel turned round": ("residual", "Conv1D.convolve", "self.weight,", "self.weight[::-1],"),
    "groups across places": ("residual", "GroupNorm.__call__", "(1, 3)", "3"),
    "x f(x) in place of x + f(x)": ("residual", "Residual.__call__", "ops.add", "ops.multiply"),
    "eps outside the root": (
        "residual",
        "RMSNorm.__call__",
        "ops.sqrt(ops.mean(x * x, axis=-1, keepdims=True) + self.eps)",
        "(ops.sqrt(ops.mean(x * x, axis=-1, keepdims=True)) + self.eps)",
    ),
    "z and 1 - z exchanged": (
        "recurrent",
        "GRU.step",
        "candidate + z * (states[0] - candidate)",
        "states[0] + z * (candidate - states[0])",
    ),
    "r on the state": ("recurrent", "GRU.step", "+ r * self.gate(h, 2)", "+ self.gate(h, 2)"),
    "i and f exchanged": ("recurrent", "LSTM.step", "i, f, g, o =", "f, i, g, o ="),
    "the cell handed out": ("recurrent", "LSTM.step", "ops.tanh(cell), cell", "cell, cell"),
    "another activation": ("recurrent", "SimpleRNN.step", "ops.tanh", "ops.sigmoid"),
    "no root of d": ("attention", "MultiHeadAttention.__call__", "/ float(np.sqrt(d))", ""),
    "places that see later ones": ("attention", "MultiHeadAttention.__call__", "if self.causal", "if False"),
    "queries for keys": ("attention", "MultiHeadAttention.__call__", "q, k, v =", "k, q, v ="),
    "rows of another sample": ("attention", "Embedding.__call__", ", 0)", ", 0)[::-1]"),
    "the largest in place of the mean": ("attention", "GlobalAveragePool.__call__", "ops.mean", "ops.max"),
    "a norm over places": ("attention", "LayerNorm.__call__", "-1,", "-2,"),
}


def change(monkeypatch, where: str, old: str, new: str) -> None:
    """Put other text in the place of some in a layer's method."""
    name, _, method = where.partition(".")
    layer = getattr(vector.nn, name)
    source = textwrap.dedent(inspect.getsource(getattr(layer, method)))
    assert source.count(old) == 1, source
    names: dict = {}
    exec("from __future__ import annotations\n" + source.replace(old, new), vars(inspect.getmodule(layer)), names)
    monkeypatch.setattr(layer, method, names[method])


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_layer_is_convicted(what, monkeypatch):
    name, *wrong = WRONG[what]
    change(monkeypatch, *wrong)  # which must find its text
    with pytest.raises(AssertionError):
        agree(network(name))
