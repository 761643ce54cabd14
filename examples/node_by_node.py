"""Two programs written over any engine of single numbers, one node for each operation, and a compact engine to compare.

`network` is an MLP 2-16-16-1 by hand; `gpt` one training step, with Adam, of the character GPT in names_gpt, on arrays
of nodes. They ask of a node for + - * / ** with nodes and numbers, `relu`, `exp`, `log`, `sqrt`, `data`, `grad` and
`backward`, no more. `Compact` is such an engine in forty lines, as people write it to understand backpropagation:
derivatives are computed with the values, and the order is found by recursion.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from names_gpt.model import Gpt, Sizes, first_weights, numbers

Node = Callable[[float], Any]  # a number to a leaf of some engine
Step = Callable[[], float]  # trains, or differentiates, once: the loss


class Compact:
    """A number, its gradient, what it was made of, and its derivatives by these."""

    __slots__ = ("data", "grad", "inputs", "slopes")

    def __init__(self, data: float, inputs: tuple["Compact", ...] = (), slopes: tuple[float, ...] = ()) -> None:
        self.data, self.grad, self.inputs, self.slopes = data, 0.0, inputs, slopes

    def __add__(self, y: Any) -> "Compact":
        y = y if isinstance(y, Compact) else Compact(y)
        return Compact(self.data + y.data, (self, y), (1.0, 1.0))

    def __mul__(self, y: Any) -> "Compact":
        y = y if isinstance(y, Compact) else Compact(y)
        return Compact(self.data * y.data, (self, y), (y.data, self.data))

    def __pow__(self, k: float) -> "Compact":
        return Compact(self.data**k, (self,), (k * self.data ** (k - 1),))

    __radd__, __rmul__ = __add__, __mul__
    __neg__ = lambda x: x * -1.0  # noqa: E731
    __sub__, __rsub__ = (lambda x, y: x + -y), (lambda x, y: -x + y)
    __truediv__, __rtruediv__ = (lambda x, y: x * y**-1), (lambda x, y: x**-1 * y)

    def exp(self) -> "Compact":
        return Compact(e := math.exp(self.data), (self,), (e,))

    def log(self) -> "Compact":
        return Compact(math.log(self.data), (self,), (1.0 / self.data,))

    def sqrt(self) -> "Compact":
        return self**0.5

    def relu(self) -> "Compact":
        return Compact(max(0.0, self.data), (self,), (float(self.data > 0.0),))

    def backward(self) -> None:
        order, seen = [], set()

        def visit(node: "Compact") -> None:
            if node not in seen:
                seen.add(node)
                for x in node.inputs:
                    visit(x)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            for x, slope in zip(node.inputs, node.slopes, strict=True):
                x.grad += slope * node.grad


def matrix(node: Node, rng: random.Random, rows: int, columns: int, size: float) -> list[list[Any]]:
    return [[node(rng.gauss(0.0, size)) for _ in range(columns)] for _ in range(rows)]


def linear(w: Sequence[Sequence[Any]], x: Sequence[Any]) -> list[Any]:
    return [sum(wi * xi for wi, xi in zip(row, x, strict=True)) for row in w]


# --- (a) a network by hand --------------------------------------------------------------------------------------------


def network(node: Node) -> Step:
    """Forward and backward of 2-16-16-1 over 20 points. The gradients add up from step to step: nobody reads them."""
    rng = random.Random(0)
    points = [[rng.uniform(-1.0, 1.0) for _ in range(2)] for _ in range(20)]
    weights = [matrix(node, rng, n, m, 0.5) for m, n in ((2, 16), (16, 16), (16, 1))]
    biases = [[node(0.0) for _ in w] for w in weights]

    def step() -> float:
        loss: Any = 0.0
        for x in points:
            for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
                x = [s + bi for s, bi in zip(linear(w, x), b, strict=True)]
                x = [s.relu() for s in x] if i < 2 else x
            loss = loss + (x[0] - 1.0) ** 2
        loss.backward()
        return float(loss.data)

    return step


# --- (b) a character GPT ----------------------------------------------------------------------------------------------

SIZES = Sizes(letters=27)
NAME = np.array([0, *map(" abcdefghijklmnopqrstuvwxyz".index, "mathilda"), 0])  # 0: the beginning, and the end
LETTERS, TARGETS = NAME[None, :-1], np.eye(SIZES.letters)[None, NAME[1:]] / (len(NAME) - 1)


class Trained:
    """The GPT of names_gpt/model.py on the nodes of some engine, and Adam."""

    def __init__(self, node: Node) -> None:
        self.model = Gpt(SIZES, numbers(node), first_weights(SIZES))
        self.parameters = self.model.parameters
        self.means, self.squares = [0.0] * len(self.parameters), [0.0] * len(self.parameters)
        self.steps = 0

    def loss(self) -> Any:
        """The mean of -log of the probability of each next letter."""
        with np.errstate(invalid="ignore"):  # numpy takes what PyTorch leaves behind for its own
            return self.model.loss(LETTERS, TARGETS)

    def update(self) -> None:
        self.steps += 1
        for i, p in enumerate(self.parameters):
            if p.grad is None:  # in PyTorch that of a letter that did not occur; it is 0 elsewhere
                continue
            g = float(p.grad)
            m = self.means[i] = 0.9 * self.means[i] + 0.1 * g
            v = self.squares[i] = 0.99 * self.squares[i] + 0.01 * g * g
            p.data -= 0.01 * m / (1.0 - 0.9**self.steps) / (math.sqrt(v / (1.0 - 0.99**self.steps)) + 1e-8)
            p.grad *= 0.0


def gpt(node: Node) -> Step:
    """A training step: forward, backward, Adam."""
    trained = Trained(node)

    def step() -> float:
        loss = trained.loss()
        loss.backward()
        trained.update()
        return float(loss.data)

    return step
