"""Random small networks of all layers through both engines: convolutions, norms, recurrent layers and attention.

Of each network are compared: the numbers it starts with; every output and, of a loss, the gradient by every parameter
and input, and the Hessian times a vector, in training and in evaluation, within the bounds of `bounds.py`; the
statistics that BatchNorm keeps; every gradient and every parameter on three steps of an optimizer; and, to the bit, the
steps recorded with the steps as Python runs them.
"""

from collections import Counter

import numpy as np
import pytest
from bounds import errors, slopes
from engines import compare, flat, undecided
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from judging import same
from layer_networks import KINDS, Network

import scalar
import vector

TRIED: Counter[str] = Counter()
OPTIMIZERS = {
    "momentum": lambda engine, p: engine.optim.SGD(p, 0.02, momentum=0.9),
    "adam": lambda engine, p: engine.optim.Adam(p, 0.02),
}


def values(nest):
    return [values(x) for x in nest] if isinstance(nest, list) else scalar.Value(nest)


def numbers(nest) -> list[float]:
    return [x.data for x in flat(nest)]


class Pair:
    """A network in both engines with the same numbers, and its batch."""

    def __init__(self, network: Network) -> None:
        self.slow, self.fast = network.build(scalar), network.build(vector)
        started, state = self.slow.state_dict(), self.fast.state_dict()
        assert started.keys() == state.keys()
        assert all(np.array_equal(started[name], state[name]) for name in state), "numbers to start with"
        self.fast.load_state_dict(network.state(state))
        self.slow.load_state_dict(self.fast.state_dict())
        self.fast.load_state_dict(self.slow.state_dict())
        self.x = network.batch()
        self.targets = np.random.default_rng([network.seed, 2]).normal(size=(len(self.x), 2))
        whole = bool(network.count)
        self.slow_x = self.x.tolist() if whole else values(self.x.tolist())
        self.fast_x = self.x if whole else vector.Tensor(self.x)
        self.slow_inputs = [*self.slow.parameters(), *([] if whole else flat(self.slow_x))]
        self.fast_inputs = [*self.fast.parameters(), *([] if whole else [self.fast_x])]

    def train(self, training: bool) -> None:
        for model in (self.slow, self.fast):
            model.train(training)

    def losses(self):
        """Outputs and loss of each engine, with the same random numbers in both."""
        slow, fast = self.slow(self.slow_x), self.fast(self.fast_x)
        return flat(slow), scalar.mse(slow, self.targets.tolist()), fast, vector.mse(fast, self.targets)

    def compare_buffers(self) -> None:
        """No node stands for a statistic that is kept, so its bound is a plain one: they are means of a few numbers."""
        slow, fast = self.slow.state_dict(), self.fast.state_dict()
        for name in fast:
            if name.endswith(("mean", "variance")):
                assert np.allclose(slow[name], fast[name], rtol=1e-11, atol=1e-13), f"buffer {name}"


def compare_derivatives(pair: Pair) -> None:
    """Outputs, gradients and the Hessian times a vector."""
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
    assume(not undecided(e_slow) and not undecided(e_fast))
    compare("output", slow_out, [fast_out], e_slow, e_fast)
    compare("gradient", slow_slopes, fast_slopes, e_slow, e_fast)
    compare("Hessian-vector product", slow_hvp, fast_hvp, e_slow, e_fast)


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
    """All numbers of three steps, and of two predictions after them."""
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
    for i in range(3):
        seen += [*step(x, y + i), *model.state_dict().values()]
    predict = record(model.eval())
    seen += [predict(x), predict(x)]
    return [np.array(a.data if isinstance(a, vector.Tensor) else a) for a in seen]


def compare_recorded(network: Network, pair: Pair, name: str) -> None:
    def fresh():
        model = network.build(vector)
        model.load_state_dict(pair.fast.state_dict())
        return model

    expected = run(fresh(), pair.x, pair.targets, name, lambda f: f)
    for options in ({}, {"verify": 1}):
        found = run(fresh(), pair.x, pair.targets, name, lambda f, o=options: vector.compile(f, **o))
        assert all(same(a, b).all() for a, b in zip(found, expected, strict=True)), "recorded"


def agree(network: Network, optimizer: str = "adam") -> None:
    """Raises AssertionError where the engines differ."""
    pair = Pair(network)
    modes = "BatchNorm" in network.text or "Dropout" in network.text
    for training in (False, True) if modes else (True,):
        pair.train(training)
        compare_derivatives(pair)
        pair.compare_buffers()
    compare_steps(pair, optimizer)
    compare_recorded(network, pair, optimizer)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=min(10, settings.default.max_examples // 5))
@given(data=st.data())
def test_networks_of_layers(kind, data):
    network = data.draw(KINDS[kind]())
    agree(network, data.draw(st.sampled_from(sorted(OPTIMIZERS))))
    TRIED[kind] += 1
