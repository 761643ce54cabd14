"""The checks of the lessons: each says whether an answer is right and, if not, what is wrong and how to mend it.

    checks.slope(slope)

A check returns a `Verdict`, which a notebook shows as a note below the cell. The common mistakes are known by the
numbers that they lead to.
"""

import html
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from scalar import Value, grad, mse, nn, optim

NOTE = '<div style="border-left: 4px solid {0}; background: {0}1a; padding: 0.5em 1em; max-width: 50em">{1}</div>'
GREEN, ORANGE = "#15803d", "#d97706"
Hints = Mapping[float, str]  # what is wrong with a wrong number


class Verdict:
    """What a check found: lines that say what is wrong, or none and a sentence about what is right."""

    def __init__(self, wrong: Iterable[str], right: str) -> None:
        self.wrong = list(wrong)
        self.right = not self.wrong
        self.lines = [f"✓ {right}"] if self.right else [f"✗ {line}" for line in self.wrong]

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        lines = [re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(line, quote=False)) for line in self.lines]
        return NOTE.format(GREEN if self.right else ORANGE, "<br>".join(lines))


class Mistake(Exception):
    """A wrong answer; its message says what is wrong with it."""


def is_open(x: Any) -> bool:
    """Whether an answer has not been given yet."""
    return x is None or x is ...


def number(name: str, x: Any) -> float:
    """An answer as a float. Raises Mistake for what is no number."""
    if is_open(x):
        raise Mistake(f"`{name}` is still open: write your answer in place of the `...`")
    try:
        return float(x.data if isinstance(x, Value) else x)
    except (TypeError, ValueError):
        raise Mistake(f"`{name}` is to be a number; it is a {type(x).__name__}") from None


def same(x: float, y: float) -> bool:
    """Whether two numbers agree to about three digits; whole numbers, which are counted, to the last."""
    whole = float(x).is_integer() and float(y).is_integer()
    return x == y if whole else math.isclose(x, y, rel_tol=1e-3, abs_tol=1e-9)


def expect(name: str, x: Any, right: float, hints: Hints, otherwise: str) -> None:
    """Raise Mistake, with the hint for this wrong number, unless x is right."""
    got = number(name, x)
    if not same(got, right):
        known = {-right: "the size is right, the sign is not"} | dict(hints)
        reason = next((hint for wrong, hint in known.items() if same(got, wrong)), otherwise)
        raise Mistake(f"`{name}` = {got:.6g}: {reason}.")


def call(f: Callable[..., Any], *args: Any) -> Any:
    """What a function of the reader's returns. Raises Mistake where it raises an error, or returns nothing."""
    name = getattr(f, "__name__", getattr(f, "name", "the function"))
    try:
        with np.errstate(all="ignore"):
            result = f(*args)
    except Exception as error:
        if "ellipsis" in str(error):
            raise Mistake(f"`{name}` is still open: write code in place of each `...`") from None
        raise Mistake(f"`{name}` stopped with {type(error).__name__}: {error}") from None
    if is_open(result):
        raise Mistake(f"`{name}` returned {result!r}: write code in place of each `...`, and return the result")
    return result


def verdict(right: str, *tests: Callable[[], object]) -> Verdict:
    """The verdict of several tests, each a function that raises Mistake."""
    wrong = []
    for test in tests:
        try:
            test()
        except Mistake as mistake:
            wrong.append(str(mistake))
    return Verdict(wrong, right)


# --- 1: backprop by hand --------------------------------------------------------------------------------------------


def slope(slope: Any) -> Verdict:
    """The slope of L = (a*b + c) * d along c, at 3, -2, 8, -4, measured by a step of 0.001."""
    hints = {
        -0.004: "that is how far `L` moved; divide it by `h`, how far `c` moved",
        4000.0: "`h` stands below the line: divide the difference by `h`",
    }
    right = "Right. For each unit that c grows, L falls by 4."
    return verdict(right, lambda: expect("slope", slope, -4.0, hints, "take (L after - L before) / h"))


LOCAL = "that is the local derivative alone; multiply it by what arrives at the node, its own gradient"
OTHER = "for a product it is the other factor, times what arrives"
BY_HAND: dict[str, tuple[float, Hints]] = {
    "dL_de": (-4.0, {2.0: f"that is e itself; {OTHER}"}),
    "dL_dd": (2.0, {-4.0: f"that is d itself; {OTHER}", -8.0: "that is L, a value and no gradient"}),
    "dL_dp": (-4.0, {1.0: LOCAL, -6.0: "that is p, a value and no gradient", 2.0: "p grows by 1, e by 1, L by d"}),
    "dL_dc": (-4.0, {1.0: LOCAL, 8.0: "that is c, a value and no gradient", -32.0: "c is added, not multiplied"}),
    "dL_da": (8.0, {-2.0: LOCAL, -12.0: f"that is what b gets; {OTHER}", 3.0: "that is a, a value and no gradient"}),
    "dL_db": (-12.0, {3.0: LOCAL, 8.0: f"that is what a gets; {OTHER}", -2.0: "that is b, a value and no gradient"}),
}


def by_hand(**answers: Any) -> Verdict:
    """The gradients of L = e * d, e = p + c, p = a * b, at a = 3, b = -2, c = 8, d = -4."""
    otherwise = "multiply what arrives at the node by its local derivative"
    tests = [lambda n=n, r=r, h=h: expect(n, answers.get(n), r, h, otherwise) for n, (r, h) in BY_HAND.items()]
    return verdict("All six are right. You have done backpropagation by hand.", *tests)


def twice(dy_dx: Any) -> Verdict:
    """dy/dx of y = x * x + x at 3."""
    hints = {
        6.0: "the product is right, 3 + 3; but x is also added to it: the third arrow hands on 1 more",
        4.0: "x * x has two arrows from x, and each hands on the other factor, 3; count both",
        3.0: "that is one arrow of three; add what all of them hand on",
        1.0: "that is one arrow of three; add what all of them hand on",
        9.0: "that is x * x, or the three arrows multiplied; what they hand on is added",
        12.0: "that is y, a value and no gradient",
    }
    otherwise = "add up what the three arrows from x hand on"
    return verdict("Right. 3 + 3 + 1: paths add up.", lambda: expect("dy_dx", dy_dx, 7.0, hints, otherwise))


def my_backward(f: Callable[[Value], Any]) -> Verdict:
    """A backward pass over sums and products: `f(L)` returns a dict with the gradient of each node."""
    a, b, d, x = (Value(v, n) for v, n in zip((3.0, -2.0, -4.0, 3.0), "abdx", strict=True))
    product = "a product hands `g` times the other factor's `data` to each input"
    other = "each factor gets the other factor's number"
    arriving = "multiply the other factor by what arrives, `g`"
    total = "a sum hands on what arrives, `g`, to both its inputs"
    several = "x is used three times: add to its gradient with `+=`; `=` forgets what came before"
    questions: list[tuple[str, Value, Value, float, Hints, str]] = [  # each asks for one thing more than those before
        ("a in a * b", a * b, a, -2.0, {3.0: other}, product),
        ("b in a * b", a * b, b, 3.0, {-2.0: other}, product),
        ("a in a * b * d", a * b * d, a, 8.0, {-2.0: arriving}, product),
        ("b in a * b * d", a * b * d, b, -12.0, {3.0: arriving}, product),
        ("a in (a + b) * d", (a + b) * d, a, -4.0, {}, total),
        ("b in (a + b) * d", (a + b) * d, b, -4.0, {}, total),
        ("x in x * x + x", x * x + x, x, 7.0, {}, several),
    ]

    def test() -> None:
        for what, L, node, right, hints, otherwise in questions:
            found = call(f, L)
            if not isinstance(found, dict) or node not in found:
                raise Mistake("`my_backward` is to return a dict with the gradient of each node")
            expect(f"gradient of {what}", found[node], right, hints, otherwise)

    return verdict("Right. This is the heart of every autograd engine.", test)


# --- 2: write your own tanh -----------------------------------------------------------------------------------------


def spelled_out(f: Callable[[Value], Any]) -> Verdict:
    """tanh written with `exp`."""

    def test() -> None:
        x, t = Value(0.5), math.tanh(0.5)
        out = call(f, x)
        if not isinstance(out, Value):
            raise Mistake(
                f"`{f.__name__}` returns a {type(out).__name__}, so there is no graph: use scalar's `exp` on `x` itself"
            )
        hints = {
            1 / t: "numerator and denominator have changed places",
            math.tanh(0.25): "the exponent is to be `2 * x`, here it is `x`",
            math.tanh(1.0): "the exponent is twice what it should be",
        }
        expect(f"{f.__name__}(0.5)", out, t, hints, "write (e^2x - 1) / (e^2x + 1)")
        if not same(grad(out, x), 1 - t * t):
            raise Mistake(f"`{f.__name__}` has the right value and a wrong gradient: use `x` itself, not `x.data`")

    return verdict("Right. Five kinds of op make one tanh.", test)


def rule_of(op: Any, x: float, value: float, slope: float, hints: Hints, otherwise: str) -> None:
    """Raise Mistake unless an op of one number has this value and slope at x, and a slope that can be derived again."""
    name = getattr(op, "name", getattr(op, "__name__", "the op"))
    if not hasattr(op, "rules"):
        raise Mistake(f"`{name}` is a plain function: put `@op(...)` above it")
    expect(
        f"{name}({x})", call(op, x), value, {}, f"the value is wrong: {name} returns the number itself, not its slope"
    )

    def slopes(g: float) -> Any:
        node = Value(x)
        return call(lambda: grad(op(node), node, gradient=g))

    once, many = number("derivative", slopes(1.0)), number("derivative", slopes(10.0))
    if same(once, many):
        raise Mistake("The rule leaves out `g`, what arrives from above: multiply by it")
    expect(f"derivative of {name} at {x}", once, slope, hints, otherwise)
    node = Value(x)
    try:
        grad(op(node), node, create_graph=True)
    except TypeError:
        raise Mistake(
            "The rule works on numbers only, and is asked for nodes, too: use functions from scalar, not math or numpy"
        ) from None


def my_tanh(op: Any) -> Verdict:
    """An op with the value tanh x and the rule g * (1 - out * out)."""
    x = 0.5
    t = math.tanh(x)
    hints = {
        1 - x * x: "the rule is in terms of `out`, the value tanh x, and not of `x`",
        1 - t: "square `out`: 1 - out * out",
        t * t - 1: "the two terms have changed places: 1 - out * out",
        t: "that is the value once more; the slope is 1 - out * out",
        1 + t * t: "a minus, not a plus: 1 - out * out",
        t * t: "that is how much is missing from 1: 1 - out * out",
    }
    return verdict("Right. One value, one rule, and the engine knows a new op.", lambda: rule_of(
        op, x, t, 1 - t * t, hints, "the slope of tanh is 1 - out * out"))  # fmt: skip


def swish(op: Any) -> Verdict:
    """An op with the value x sigmoid(x) and the slope s + x s (1 - s)."""
    x = 1.5
    s = 1 / (1 + math.exp(-x))
    hints = {
        s: "that is the first half of the product rule; x moves sigmoid(x), too",
        x * s * (1 - s): "that is the second half of the product rule; the first is sigmoid(x)",
        s * (1 - s): "that is the slope of sigmoid; swish is a product, x times sigmoid(x)",
        s + s * (1 - s): "in the second half of the product rule the factor x is missing",
    }
    return verdict("Right. This op stands in many of today's large models.", lambda: rule_of(
        op, x, x * s, s + x * s * (1 - s), hints, "the product rule gives s + x * s * (1 - s), for s = sigmoid(x)",
    ))  # fmt: skip


# --- 3: the zero_grad bug -------------------------------------------------------------------------------------------


def second_gradient(answer: Any) -> Verdict:
    """x.grad after two backward passes of x * x, at 1.0 and at 0.8, without zero_grad."""
    hints = {
        1.6: "that is the new gradient alone; nobody has set `x.grad` back, so it is added to the first one",
        2.0: "that is the first gradient alone; the second backward pass adds to it",
        4.0: "x has moved to 0.8 in between, so the second gradient is 2 * 0.8",
        0.8: "that is x, not its gradient",
    }
    return verdict(
        "Right. 2.0 + 1.6: the second step is more than twice as long as it should be.",
        lambda: expect("second_gradient", answer, 3.6, hints, "add the gradients 2 * x of both passes"),
    )


class Watched(optim.SGD):
    """SGD that writes down its calls, each with the gradient that it finds."""

    def __init__(self, parameters: list[Value]) -> None:
        super().__init__(parameters, lr=0.25)
        self.calls: list[tuple[str, float]] = []

    def zero_grad(self) -> None:
        self.calls.append(("zero_grad", self.parameters[0].grad))
        super().zero_grad()

    def step(self) -> None:
        self.calls.append(("step", self.parameters[0].grad))
        super().step()


def train_step(f: Callable[..., Any]) -> Verdict:
    """One step of training: `f(model, optimizer, points, targets)` returns the loss."""

    def test() -> None:
        model = nn.Sequential(nn.Dense(1, 1, seed=0))
        weight, old, new = model.parameters()[0], 8.0, 2.0
        weight.data, weight.grad = 1.0, old
        optimizer = Watched(model.parameters())
        loss = call(f, model, optimizer, [[1.0]], [[0.0]])
        names = [name for name, _ in optimizer.calls]
        found = dict(optimizer.calls)
        if not names and weight.grad == old:
            raise Mistake("Nothing has happened: put the three calls in place of the `...`")
        if "step" not in names:
            raise Mistake("The weight has its gradient and does not move: `optimizer.step()` is missing")
        if "zero_grad" not in names or found["step"] == old + new:
            late = " Here it comes too late: after `step()`" if "zero_grad" in names else ""
            raise Mistake(
                "An old gradient of 8 was still there when `step()` used it: call `optimizer.zero_grad()` before "
                f"`loss.backward()`.{late}"
            )
        if found["zero_grad"] == old + new:
            raise Mistake("`zero_grad()` throws away what `backward()` has just computed: call it before `backward()`")
        if found["step"] != new:
            raise Mistake("`step()` found no gradient: call `loss.backward()` before it")
        if len(names) > 2:
            raise Mistake(f"Each call is to come once; these came: {', '.join(names)}")
        if not isinstance(loss, Value):
            raise Mistake(f"`train_step` is to return the loss, a Value; it returned a {type(loss).__name__}")

    return verdict("Right. Each step sees its own gradient and nothing else.", test)


def half_batches(f: Callable[..., Any]) -> Verdict:
    """`f(model, halves)` leaves the gradient of the mean loss over both halves in the model's parameters."""
    halves = [([[1.0], [2.0]], [[0.0], [0.0]]), ([[3.0], [4.0]], [[5.0], [0.0]])]
    model = nn.Sequential(nn.Dense(1, 1, seed=0))
    p = model.parameters()[0]

    def gradient(points: Any, targets: Any) -> float:
        loss = mse([model(x) for x in points], targets)
        return grad(loss, p)

    first, second = (gradient(*half) for half in halves)

    def test() -> None:
        p.grad = 0.0
        try:
            call(f, model, halves)
        except Mistake as mistake:
            if "returned None" not in str(mistake):
                raise
        hints = {
            first + second: "the sum of two means is twice the mean: divide each half's loss by 2",
            second / 2: "only the last half is in it: set the gradients to zero once, before both halves",
            second: "only the last half is in it: set the gradients to zero once, before both, and halve each loss",
            0.0: "nothing has arrived: call `backward()` for each half (and write code in place of the `...`)",
        }
        expect("gradient of the weight", p.grad, (first + second) / 2, hints, "it should be the mean of both halves'")

    return verdict("Right. That is how a batch is trained on that does not fit into memory.", test)


# --- 4: dead relus and vanishing gradients --------------------------------------------------------------------------


def most(answer: Any) -> Verdict:
    """The most that six sigmoids, one after the other, can hand on."""
    hints = {
        1.5: "factors along a path are multiplied, not added: 1/4 to the power of 6",
        0.25: "that is one sigmoid; there are six of them",
        0.5**6: "the steepest slope is s * (1 - s) at s = 0.5, which is 0.25",
        0.25**5: "that is five sigmoids; there are six",
        0.25**7: "that is seven sigmoids; there are six",
        1.0: "the slope of sigmoid is s * (1 - s), never more than 0.25",
    }
    right = "Right. A gradient of 1 comes down to 0.00024 at best."
    return verdict(right, lambda: expect("most", answer, 0.25**6, hints, "multiply the largest slope by itself"))


def dead(answer: Any, rows: list[list[Value]]) -> Verdict:
    """The neurons that are off for every point; `rows` holds each point's outputs."""

    def test() -> None:
        if is_open(answer):
            raise Mistake("`dead` is still open: write a condition in place of the `...`")
        try:
            found = set(answer)
        except TypeError:
            raise Mistake(f"`dead` is to be a list of neurons; it is a {type(answer).__name__}") from None
        columns = [[row[j].data for row in rows] for j in range(len(rows[0]))]
        right = {j for j, column in enumerate(columns) if not any(column)}
        alive = set(range(len(columns))) - right
        if found == right:
            return
        if found == {j for j, column in enumerate(columns) if not all(column)}:
            raise Mistake(f"{sorted(found)} are off for some point. Dead is what is off for every point: use `all`")
        if found == alive:
            raise Mistake(f"{sorted(found)} are the ones that live: their output is above 0 somewhere")
        if found == {j for j, column in enumerate(columns) if not column[0]}:
            raise Mistake(f"{sorted(found)} are off for the first point. Look at all points")
        wrong = sorted(found - right) or sorted(right - found)
        raise Mistake(f"You have {sorted(found)}. Look at neuron {wrong[0]}: its outputs are {columns[wrong[0]]}")

    return verdict("Right. No point sends a gradient through them, so nothing can change them.", test)


def revived(activation: Any, losses: Any) -> Verdict:
    """The losses of a training in which all neurons began below 0, with this activation."""

    def test() -> None:
        if is_open(activation):
            raise Mistake("`activation` is still open: write a name in place of the `...`")
        if losses[-1] < 0.1:
            return
        reasons = {
            "relu": "its slope below 0 is 0, so no gradient reaches the neurons, and the network is a constant",
            "leaky_relu": "its slope below 0 is 0.01: the neurons are alive, and so slow that 100 steps change nothing",
        }
        reason = reasons.get(activation, "its slope at -2 is too small; try another")
        raise Mistake(f"With `{activation}` the loss went from {losses[0]:.3f} to {losses[-1]:.3f}: {reason}")

    return verdict("Right. A slope below 0 that is not too small is enough to come back.", test)


# --- 5: from one neuron to 101,770 parameters -----------------------------------------------------------------------


def parameters(answer: Any) -> Verdict:
    """The number of parameters of 784-128-10."""
    hints = {
        101_632.0: "these are the weights; each neuron has a bias as well, 128 + 10 of them",
        100_480.0: "that is the hidden layer; the output layer has 129 * 10 more",
        100_352.0: "that is the hidden layer's weights alone",
        101_642.0: "the 128 biases of the hidden layer are missing",
        101_760.0: "the 10 biases of the output layer are missing",
        922.0: "every input of a layer is connected to every neuron: multiply, do not add",
    }
    otherwise = "each layer has inputs * neurons weights and one bias for each neuron"
    return verdict("Right. 101,770 numbers, each with a gradient.", lambda: expect(
        "parameters", answer, 101_770.0, hints, otherwise))  # fmt: skip


def forward(f: Callable[..., Any], x: Any, layers: Any, logits: list[Value]) -> Verdict:
    """The network on arrays: `f(x, W1, b1, W2, b2)`, against the numbers of `scalar`."""

    def test() -> None:
        out = call(f, x, *layers)
        if not hasattr(out, "op"):
            raise Mistake(f"`forward` returns a {type(out).__name__}, so there is no graph: compute with the tensors")
        if out.shape != (1, 10):
            raise Mistake(f"The result has shape {out.shape}, not (1, 10): (1, 784) @ (784, 128) has shape (1, 128)")
        right = np.array([[z.data for z in logits]])
        w1, b1, w2, b2, image = (each.data for each in (*layers, x))
        mistakes = {
            "the hidden layer has no relu": (image @ w1 + b1) @ w2 + b2,
            "relu belongs to the hidden layer alone, not to the output": np.maximum(right, 0.0),
            "the bias is to be added before `relu`": (np.maximum(image @ w1, 0.0) + b1) @ w2 + b2,
            "the hidden layer has no bias": np.maximum(image @ w1, 0.0) @ w2 + b2,
            "the output layer has no bias": right - b2,
        }
        if np.allclose(out.data, right, rtol=1e-9, atol=1e-9):
            return
        reason = next((why for why, wrong in mistakes.items() if np.allclose(out.data, wrong)), "compare the formula")
        raise Mistake(f"The first output is {out.data[0, 0]:.6f} and should be {right[0, 0]:.6f}: {reason}")

    return verdict("Right. Two lines of arrays compute what 103,000 nodes did.", test)
