"""Random small networks of the layers of `vector.nn`, as text that either engine builds."""

import math
from typing import Any, NamedTuple

import numpy as np
import twins
from engines import flat
from hypothesis import strategies as st

import scalar
import vector

ACTIVATIONS = [None, "tanh", "relu", "sigmoid", "softplus", "gelu"]


class Network(NamedTuple):
    """A network and what it is tried on."""

    text: str  # an expression with E, the engine, and nn, its layers
    shape: tuple[int, ...]  # of the batch
    count: int = 0  # of the things that the batch holds the numbers of, if it does not hold real numbers
    seed: int = 0

    def build(self, engine: Any) -> Any:
        return eval(self.text, {"E": engine, "nn": twins if engine is scalar else vector.nn})

    def batch(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        return rng.integers(0, self.count, self.shape) if self.count else rng.normal(size=self.shape)

    def state(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Other numbers in the place of those that a model starts with, so that no bias is 0 and no scale 1."""
        rng = np.random.default_rng([self.seed, 1])
        moved = {name: x + 0.3 * rng.normal(size=x.shape) for name, x in state.items()}
        return {name: np.abs(x) + 0.1 if name.endswith("variance") else x for name, x in moved.items()}


def values(nest):
    return [values(x) for x in nest] if isinstance(nest, list) else scalar.Value(nest)


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


class Stack:
    """Layers as they are drawn, and the shape of a sample behind them."""

    def __init__(self, draw: Any, *shape: int) -> None:
        self.draw, self.shape, self.layers = draw, shape, list[str]()

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def add(self, text: str, *shape: int) -> None:
        self.layers.append(f"nn.{text}")
        self.shape = shape or self.shape

    def network(self, n: int, shape: tuple[int, ...], count: int = 0) -> Network:
        text = f"nn.Sequential({', '.join(self.layers)})"
        return Network(text, (n, *shape), count, self.draw(st.integers(0, 2**32)))

    def seed(self) -> str:
        return f"seed={len(self.layers)}"

    def convolution(self, filters: int, keep: bool = False) -> None:
        """One that fits, and with `keep` leaves lengths as they are."""
        *lengths, channels = self.shape
        name = f"Conv{len(lengths)}D"
        groups = self.one_of(1, 1, channels if filters % channels == 0 else 1)
        dilation, padding = self.one_of(1, 1, 2), self.one_of(0, 1, "same")
        sizes = [self.one_of(1, 2, 3) for _ in lengths]
        reach = [dilation * (k - 1) for k in sizes]
        if keep or padding == "same" or any(r >= n + 2 * padding for r, n in zip(reach, lengths, strict=True)):
            padding, stride = "same", 1
        else:
            stride = self.one_of(1, 2)
            lengths = [(n + 2 * padding - r - 1) // stride + 1 for r, n in zip(reach, lengths, strict=True)]
        size = tuple(sizes) if len(sizes) > 1 else sizes[0]
        more = [f"{self.one_of(*ACTIVATIONS)!r}, {stride}, {padding!r}, {dilation}, {groups}"]
        more.append(f"bias={self.one_of(True, False)}, {self.seed()}")
        self.add(f"{name}({channels}, {filters}, {size}, {', '.join(more)})", *lengths, filters)

    def pooling(self) -> None:
        *lengths, channels = self.shape
        if min(lengths) < 2:
            return
        stride, padding = self.one_of(1, 2), self.one_of(0, 0, 1)
        after = [(n + 2 * padding - 2) // stride + 1 for n in lengths]
        self.add(f"{self.one_of('MaxPool', 'AvgPool')}(2, {stride}, {padding})", *after, channels)

    def norm(self, *names: str) -> None:
        features = self.shape[-1]
        name = self.one_of(*names)
        groups = self.one_of(*(k for k in (1, 2, 3) if features % k == 0))
        self.add(f"GroupNorm({groups}, {features}, 0.1)" if name == "GroupNorm" else f"{name}({features}, eps=0.1)")

    def dense(self, width: int, activation: str | None = None) -> None:
        self.add(f"Dense({self.shape[-1]}, {width}, {activation!r}, {self.seed()})", *self.shape[:-1], width)

    def residual(self, start: int) -> None:
        """What was added from `start` on as one layer that adds it to what it gets."""
        self.layers[start:] = [f"nn.Residual({', '.join(self.layers[start:])})"]

    def ending(self) -> None:
        if len(self.shape) > 1:
            if self.one_of(True, False):
                self.add("GlobalAveragePool()", self.shape[-1])
            else:
                self.add("Flatten()", math.prod(self.shape))
        if self.one_of(True, False, False):
            self.add(f"Dropout(0.3, {self.seed()})")
        self.dense(2)


@st.composite
def convnets(draw: Any) -> Network:
    """Convolutions with norms, activations and pooling between, then a Dense layer."""
    lengths = draw(st.sampled_from([(4, 4), (3, 4), (5,)]))
    stack = Stack(draw, *lengths, draw(st.integers(1, 2)))
    shape, n = stack.shape, draw(st.integers(2, 3))
    for filters in draw(st.sampled_from([[2], [3], [2, 2]])):
        stack.convolution(filters)
        if stack.one_of(True, True, False):
            stack.norm("BatchNorm", "BatchNorm", "GroupNorm")
        stack.add(f"Lambda(E.{stack.one_of('relu', 'tanh')})")
        if len(lengths) == 2 and max(stack.shape[:2]) <= 2 and stack.one_of(True, False):
            mode, factor = stack.one_of("nearest", "bilinear"), stack.one_of(2, (1, 2))
            a, b = (factor, factor) if factor == 2 else factor
            h, w, channels = stack.shape
            stack.add(f"Upsample({factor}, {mode!r})", a * h, b * w, channels)
        elif stack.one_of(True, False):
            stack.pooling()
    stack.ending()
    return stack.network(n, shape)


@st.composite
def residual_nets(draw: Any) -> Network:
    """Blocks that add a norm and a layer to what they get, of rows of numbers or of images."""
    width = draw(st.integers(2, 4))
    stack = Stack(draw, *draw(st.sampled_from([(width,), (2, 2, 2), (3, 2)])))
    shape, n = stack.shape, draw(st.integers(2, 3))
    for _ in range(draw(st.integers(1, 3))):
        start, features = len(stack.layers), stack.shape[-1]
        stack.norm("LayerNorm", "RMSNorm", "GroupNorm", "BatchNorm")
        if len(shape) > 1 and stack.one_of(True, False):
            stack.convolution(features, keep=True)
        else:
            stack.dense(features, stack.one_of(*ACTIVATIONS))
        stack.residual(start)
    if stack.one_of(True, False):
        stack.add(f"Reshape({math.prod(shape) // shape[-1]}, -1)", math.prod(shape) // shape[-1], shape[-1])
    stack.ending()
    return stack.network(n, shape)


def sequences(stack: Stack, width: int) -> tuple[tuple[int, ...], int]:
    """The shape of a sample, and how many things there are: real numbers, or whole ones with an embedding in front."""
    steps = stack.one_of(3, 2, 1)
    stack.shape = (steps, width)
    if stack.one_of(True, False):
        return stack.shape, 0
    stack.add(f"Embedding(4, {width}, {stack.seed()})")
    return (steps,), 4


@st.composite
def recurrent_nets(draw: Any) -> Network:
    """One or two recurrent layers, perhaps a norm between."""
    stack = Stack(draw)
    shape, count = sequences(stack, draw(st.integers(2, 3)))
    for last in draw(st.sampled_from([[True], [False], [False, True]])):
        steps, width = stack.shape
        hidden = draw(st.integers(1, 3))
        name = stack.one_of("GRU", "GRU", "LSTM", "SimpleRNN")
        stack.add(f"{name}({width}, {hidden}, last={last}, {stack.seed()})", *((hidden,) if last else (steps, hidden)))
        if stack.one_of(True, False, False):
            stack.norm("LayerNorm", "RMSNorm", "BatchNorm")
    stack.ending()
    return stack.network(draw(st.integers(2, 3)), shape, count)


@st.composite
def attention_nets(draw: Any) -> Network:
    """Blocks of a transformer: attention, then two Dense layers, each behind a norm and added to what comes in."""
    stack, width = Stack(draw), draw(st.sampled_from([2, 4]))
    shape, count = sequences(stack, width)
    for _ in range(draw(st.integers(1, 2)) if width == 2 else 1):
        start = len(stack.layers)
        stack.norm("LayerNorm", "LayerNorm", "RMSNorm")
        heads = stack.one_of(1, 2, width)
        flags = f"causal={stack.one_of(True, False)}, bias={stack.one_of(True, False)}"
        stack.add(f"MultiHeadAttention({width}, {heads}, {flags}, {stack.seed()})")
        stack.residual(start)
        if stack.one_of(True, False):
            start = len(stack.layers)
            stack.norm("LayerNorm", "RMSNorm")
            stack.dense(width + 1, stack.one_of("gelu", "tanh", "relu"))
            stack.dense(width)
            stack.residual(start)
    stack.ending()
    return stack.network(draw(st.integers(1, 2)), shape, count)


KINDS = {
    "convnets": convnets,
    "residual nets": residual_nets,
    "recurrent nets": recurrent_nets,
    "attention nets": attention_nets,
}
