"""A character GPT, written once: the same lines compute on single numbers and on whole arrays.

On `NUMBERS` an array holds a `scalar.Value` for each number, and numpy adds and multiplies these as it does any other
numbers: a node for each operation. On `TENSORS` an array is a `vector.Tensor`: a node for each line. What numpy leaves
to them stands in `Engine`; nothing else differs.

Learned embeddings of letters and of places; then layers of causal attention and of a relu MLP, each behind an RMS norm
and added to what was there; a norm, and a matrix to the logits. No biases, no dropout.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import scalar
import vector
from vector.runtime.memory import side_by_side

Weights = dict[str, Any]  # arrays, or arrays of nodes, by name
EPS = 1e-5  # added to the mean square in a norm: a row of zeros stays one


class Sizes(NamedTuple):
    """How large a GPT is; `context` is the number of places that it sees."""

    letters: int
    width: int = 16
    heads: int = 4
    layers: int = 1
    context: int = 16


class Engine(NamedTuple):
    """What numpy leaves to an engine: how leaves are made of arrays by name, and functions of an array, the softmaxes
    over its last axis. `package` has the optimizers and `no_grad`."""

    package: Any
    leaves: Callable[[Weights], Weights]
    relu: Callable[[Any], Any]
    softmax: Callable[[Any], Any]
    log_softmax: Callable[[Any], Any]


# --- single numbers ---------------------------------------------------------------------------------------------------

relu_of_nodes = np.frompyfunc(lambda x: x.relu(), 1, 1)


def shifted(x: np.ndarray) -> np.ndarray:
    """Nodes less the largest number in their row, so that e^x cannot overflow."""
    return x - data(x).max(axis=-1, keepdims=True)


def softmax_of_nodes(x: np.ndarray) -> np.ndarray:
    """e^x / (e^x1 + ... + e^xn)."""
    exponentials = np.exp(shifted(x))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def log_softmax_of_nodes(x: np.ndarray) -> np.ndarray:
    """x - log(e^x1 + ... + e^xn)."""
    x = shifted(x)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def numbers(node: Callable[[float], Any], package: Any = None) -> Engine:
    """Any engine of single numbers whose nodes know + - * /, `exp`, `log`, `sqrt`, `relu` and `data`."""

    def leaves(weights: Weights) -> Weights:
        return {name: np.frompyfunc(node, 1, 1)(x) for name, x in weights.items()}

    return Engine(package, leaves, relu_of_nodes, softmax_of_nodes, log_softmax_of_nodes)


# --- arrays -----------------------------------------------------------------------------------------------------------


def tensors(weights: Weights) -> Weights:
    """A tensor for each array. They lie side by side in memory, where a recorded step updates all of them at once."""
    arrays = side_by_side(weights.values())
    return {name: vector.Tensor(x, name) for name, x in zip(weights, arrays, strict=True)}


NUMBERS = numbers(scalar.Value, scalar)
TENSORS = Engine(vector, tensors, vector.relu, vector.softmax, vector.log_softmax)

# --- either -----------------------------------------------------------------------------------------------------------


def nodes(x: Any) -> list[Any]:
    """The nodes in an array: many Values, or one Tensor."""
    return x.ravel().tolist() if isinstance(x, np.ndarray) else [x]


def data(x: Any) -> np.ndarray:
    """The numbers of an array of nodes."""
    return np.array([node.data for node in nodes(x)]).reshape(x.shape)


def gradient(x: Any) -> np.ndarray:
    """The gradients of an array of nodes."""
    return np.array([node.grad for node in nodes(x)]).reshape(x.shape)


def first_weights(sizes: Sizes, seed: int = 0, dtype: Any = np.float64) -> Weights:
    """The arrays that training starts from, normal with a standard deviation of 0.08: the same for every engine."""
    rng, n = np.random.default_rng(seed), sizes.width
    shapes = {"letters": (sizes.letters, n), "places": (sizes.context, n)}
    for i in range(sizes.layers):
        shapes |= {f"{i}.{name}": (n, n) for name in ("query", "key", "value", "mix")}
        shapes |= {f"{i}.up": (n, 4 * n), f"{i}.down": (4 * n, n)}
    shapes["logits"] = (n, sizes.letters)
    return {name: rng.normal(0.0, 0.08, shape).astype(dtype) for name, shape in shapes.items()}


@functools.lru_cache(maxsize=64)
def later(places: int, dtype: Any) -> np.ndarray:
    """-infinity where a place would take from a later one, else 0."""
    return np.triu(np.full((places, places), -np.inf, dtype), 1)


def rms_norm(x: Any) -> Any:
    """Each row divided by the root of the mean of its squares."""
    return x / np.sqrt((x * x).sum(axis=-1, keepdims=True) / float(x.shape[-1]) + EPS)


class Gpt:
    """The model on one engine, with its `weights` by name. What runs through it are rows, one for each place of each of
    n documents: (n places, width)."""

    def __init__(self, sizes: Sizes, engine: Engine, weights: Weights) -> None:
        self.sizes, self.engine, self.weights = sizes, engine, engine.leaves(weights)
        self.mask = later(sizes.context, weights["letters"].dtype)
        self.parameters = [node for x in self.weights.values() for node in nodes(x)]

    def __call__(self, letters: np.ndarray, seen: list[Any] | None = None) -> Any:
        """Documents (n, places) to the logits of each next letter (n, places, letters). `seen` collects the shares of
        attention of each layer."""
        n, width = letters.shape[1], self.sizes.width
        places = self.weights["places"]
        x = self.weights["letters"][letters] + (places if n == self.sizes.context else places[:n])
        x = np.reshape(x, (-1, width))
        for i in range(self.sizes.layers):
            x = x + self.attention(i, rms_norm(x), n, seen)
            x = x + self.mlp(i, rms_norm(x))
        return np.reshape(rms_norm(x) @ self.weights["logits"], (*letters.shape, self.sizes.letters))

    def attention(self, i: int, x: Any, places: int, seen: list[Any] | None) -> Any:
        """Each place takes from itself and from those before it: of the value of each a share, and the larger a share
        the better key and query match, in each head by itself."""
        query, key, value = (self.heads(x @ self.weights[f"{i}.{name}"], places) for name in ("query", "key", "value"))
        scores = query @ np.swapaxes(key, -1, -2) / float(np.sqrt(query.shape[-1]))
        shares = self.engine.softmax(scores + self.mask[:places, :places])  # (n, heads, places, places)
        if seen is not None:
            seen.append(shares)
        taken = np.swapaxes(shares @ value, -2, -3)
        return np.reshape(taken, (-1, self.sizes.width)) @ self.weights[f"{i}.mix"]

    def heads(self, x: Any, places: int) -> Any:
        """Rows (n places, width) by document and head: (n, heads, places, width / heads)."""
        heads = self.sizes.heads
        return np.swapaxes(np.reshape(x, (-1, places, heads, self.sizes.width // heads)), -2, -3)

    def mlp(self, i: int, x: Any) -> Any:
        """Four times as wide, relu, and back."""
        return self.engine.relu(x @ self.weights[f"{i}.up"]) @ self.weights[f"{i}.down"]

    def loss(self, letters: np.ndarray, targets: np.ndarray) -> Any:
        """The sum of -log of the probability of each next letter, times what it counts in `targets`, (n, places,
        letters): 0 for all but the letter that follows, and for all that follows in a document's padding."""
        return -(self.engine.log_softmax(self(letters)) * targets).sum()

    def step(self, optimizer: Any, letters: np.ndarray, targets: np.ndarray) -> Any:
        """A step of training. Returns the loss."""
        loss = self.loss(letters, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def state(self) -> Weights:
        """The numbers of all weights, by name."""
        return {name: data(x) for name, x in self.weights.items()}

    def gradients(self) -> Weights:
        """The gradients of all weights, by name."""
        return {name: gradient(x) for name, x in self.weights.items()}
