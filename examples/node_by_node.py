"""Two programs written over any engine of single numbers, one node for each operation, and a compact engine to compare.

`network` is an MLP 2-16-16-1 by hand; `gpt` one training step of a character GPT: embeddings, RMS norm, four heads of
attention, softmax, a relu MLP, cross-entropy, Adam. They ask of a node for + - * / ** with nodes and numbers, `relu`,
`exp`, `log`, `data`, `grad` and `backward`, no more. `Compact` is such an engine in forty lines, as people write it to
understand backpropagation: derivatives are computed with the values, and the order is found by recursion.
"""

import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

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

TOKENS = [26, *map("abcdefghijklmnopqrstuvwxyz".index, "mathilda"), 26]  # 26: the beginning, and the end
VOCABULARY, WIDTH, HEADS = 27, 16, 4


def softmax(xs: Sequence[Any]) -> list[Any]:
    largest = max(float(x.data) for x in xs)
    exponentials = [(x - largest).exp() for x in xs]
    total = sum(exponentials)
    return [e / total for e in exponentials]


def rms_norm(x: Sequence[Any]) -> list[Any]:
    scale = (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def attention(p: dict[str, Any], x: Sequence[Any], past: list[tuple[Any, Any]]) -> list[Any]:
    """Four heads look at the keys and values of the `past`, to which those of this place are added."""
    q = linear(p["query"], x)
    past.append((linear(p["key"], x), linear(p["value"], x)))
    size, out = WIDTH // HEADS, []
    for start in range(0, WIDTH, size):
        mine = range(start, start + size)
        shares = softmax([sum(q[j] * key[j] for j in mine) / size**0.5 for key, _ in past])
        out += [sum(s * value[j] for s, (_, value) in zip(shares, past, strict=True)) for j in mine]
    return linear(p["out"], out)


class Gpt:
    """One layer of a transformer, and Adam."""

    def __init__(self, node: Node) -> None:
        n, v, rng = WIDTH, VOCABULARY, random.Random(0)
        shapes = {"tokens": (v, n), "places": (len(TOKENS), n), "query": (n, n), "key": (n, n), "value": (n, n)}
        shapes |= {"out": (n, n), "up": (4 * n, n), "down": (n, 4 * n), "logits": (v, n)}
        self.matrices = {name: matrix(node, rng, *shape, 0.08) for name, shape in shapes.items()}
        self.parameters = [p for rows in self.matrices.values() for row in rows for p in row]
        self.means, self.squares = [0.0] * len(self.parameters), [0.0] * len(self.parameters)
        self.steps = 0

    def loss(self) -> Any:
        """The mean of -log of the probability of each next token."""
        p, past, found = self.matrices, [], []
        for place, (token, following) in enumerate(itertools.pairwise(TOKENS)):
            x = rms_norm([a + b for a, b in zip(p["tokens"][token], p["places"][place], strict=True)])
            x = [a + b for a, b in zip(x, attention(p, rms_norm(x), past), strict=True)]
            hidden = [h.relu() for h in linear(p["up"], rms_norm(x))]
            x = [a + b for a, b in zip(x, linear(p["down"], hidden), strict=True)]
            found.append(-softmax(linear(p["logits"], x))[following].log())
        return sum(found) / len(found)

    def update(self) -> None:
        self.steps += 1
        for i, p in enumerate(self.parameters):
            if p.grad is None:  # in PyTorch that of a token that did not occur; it is 0 elsewhere
                continue
            g = float(p.grad)
            m = self.means[i] = 0.9 * self.means[i] + 0.1 * g
            v = self.squares[i] = 0.99 * self.squares[i] + 0.01 * g * g
            p.data -= 0.01 * m / (1.0 - 0.9**self.steps) / (math.sqrt(v / (1.0 - 0.99**self.steps)) + 1e-8)
            p.grad *= 0.0


def gpt(node: Node) -> Step:
    """A training step: forward, backward, Adam."""
    model = Gpt(node)

    def step() -> float:
        loss = model.loss()
        loss.backward()
        model.update()
        return float(loss.data)

    return step
