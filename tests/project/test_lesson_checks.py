"""The checks of the lessons tell the usual mistakes apart, and say what is wrong."""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vector
from scalar import OPS, Value, exp, mse, op, sigmoid, topological_order

LESSONS = Path(__file__).parents[2] / "examples" / "lessons"
RIGHT = {"dL_de": -4, "dL_dd": 2, "dL_dp": -4, "dL_dc": -4, "dL_da": 8, "dL_db": -12}


@pytest.fixture(autouse=True)
def ops_of_their_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test declares is no op any more after it."""
    before = dict(OPS)
    yield
    for name in OPS.keys() - before.keys():
        del OPS[name]


@pytest.fixture(scope="module")
def checks() -> Iterator[Any]:
    sys.path.insert(0, str(LESSONS))
    import checks

    yield checks
    sys.path.remove(str(LESSONS))
    del sys.modules["checks"]


@pytest.mark.parametrize(
    ("check", "answer", "says"),
    [
        ("slope", -4.0000000000013, None),
        ("slope", Value(-4.0), None),
        ("slope", ..., "`slope` is still open"),
        ("slope", "-4", None),
        ("slope", "four", "is to be a number; it is a str"),
        ("slope", -0.004, "divide it by `h`"),
        ("slope", 4.0, "the sign is not"),
        ("slope", 17, "(L after - L before) / h"),
        ("twice", 7, None),
        ("twice", 6, "but x is also added"),
        ("twice", 4, "two arrows from x"),
        ("twice", 12, "a value and no gradient"),
        ("second_gradient", 3.6, None),
        ("second_gradient", 1.6, "nobody has set `x.grad` back"),
        ("second_gradient", 4.0, "x has moved to 0.8"),
        ("most", 0.25**6, None),
        ("most", 1.5, "multiplied, not added"),
        ("most", 0.5**6, "s * (1 - s) at s = 0.5"),
        ("most", 0, "multiply the largest slope"),
        ("parameters", 101_770, None),
        ("parameters", 101_632, "each neuron has a bias"),
        ("parameters", 922, "multiply, do not add"),
    ],
)
def test_a_number(checks: Any, check: str, answer: Any, says: str | None) -> None:
    verdict = getattr(checks, check)(answer)
    assert verdict.right == (says is None), verdict
    assert (says or "✓ Right") in repr(verdict)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "All six are right"),
        ({"dL_de": 2, "dL_dd": -4}, "`dL_de` = 2: that is e itself"),
        ({"dL_dc": 1}, "`dL_dc` = 1: that is the local derivative alone"),
        ({"dL_da": -12, "dL_db": 8}, "that is what b gets"),
        ({"dL_da": -8}, "the sign is not"),
        ({"dL_dp": ...}, "`dL_dp` is still open"),
        ({"dL_db": 5}, "multiply what arrives"),
    ],
)
def test_six_gradients(checks: Any, wrong: dict[str, Any], says: str) -> None:
    verdict = checks.by_hand(**RIGHT | wrong)
    assert len(verdict.wrong) == len(wrong) and says in repr(verdict)


def backward(of_sum: Callable[..., Any], of_product: Callable[..., Any], adds: bool = True) -> Callable[[Value], Any]:
    def my_backward(L: Value) -> dict[Value, float]:
        found = {node: 0.0 for node in topological_order(L)}
        found[L] = 1.0
        for node in reversed(topological_order(L)):
            if node.op:
                x, y = node.inputs
                shares = of_sum(found[node]) if node.op.name == "add" else of_product(found[node], x.data, y.data)
                for each, share in zip((x, y), shares, strict=True):
                    found[each] = (found[each] if adds else 0.0) + share
        return found

    return my_backward


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (backward(lambda g: (g, g), lambda g, x, y: (g * y, g * x)), "✓ Right"),
        (backward(lambda g: (..., ...), lambda g, x, y: (..., ...)), "still open"),
        (backward(lambda g: (1, 1), lambda g, x, y: (g * y, g * x)), "a sum hands on what arrives, `g`"),
        (backward(lambda g: (g, 0), lambda g, x, y: (g * y, g * x)), "to both its inputs"),
        (backward(lambda g: (g, g), lambda g, x, y: (y, x)), "multiply the other factor by what arrives"),
        (backward(lambda g: (g, g), lambda g, x, y: (g * x, g * y)), "the other factor's number"),
        (backward(lambda g: (g, g), lambda g, x, y: (g * y, g * x), adds=False), "add to its gradient with `+=`"),
        (lambda L: None, "return the result"),
        (lambda L: [1.0], "is to return a dict"),
        (lambda L: {}[L], "stopped with KeyError"),
    ],
)
def test_a_backward_pass(checks: Any, f: Callable[[Value], Any], says: str) -> None:
    assert says in repr(checks.my_backward(f))


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (lambda x: (exp(2 * x) - 1) / (exp(2 * x) + 1), "✓ Right"),
        (lambda x: (exp(2 * x) + 1) / (exp(2 * x) - 1), "changed places"),
        (lambda x: (exp(x) - 1) / (exp(x) + 1), "is to be `2 * x`"),
        (lambda x: math.tanh(x.data), "returns a float, so there is no graph"),
        (lambda x: np.exp(x), "stopped with TypeError"),
        (lambda x: ..., "write code in place of each `...`"),
        (lambda x: Value(math.tanh(x.data)), "a wrong gradient"),
    ],
)
def test_a_tanh_of_other_ops(checks: Any, f: Callable[[Value], Any], says: str) -> None:
    assert says in repr(checks.spelled_out(f))


def of_tanh(rule: Callable[..., Any]) -> Any:
    @op(rule)
    def my_tanh(x: Any) -> Any:
        return np.tanh(x)

    return my_tanh


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (lambda g, out: g * (1 - out * out), "✓ Right"),
        (lambda g, out: ..., "still open"),
        (lambda g, out: 1 - out * out, "leaves out `g`"),
        (lambda g, x: g * (1 - x * x), "in terms of `out`"),
        (lambda g, out: g * (1 - out), "square `out`"),
        (lambda g, out: g * (out * out - 1), "changed places"),
        (lambda g, out: g * out, "that is the value once more"),
        (lambda g, x: g * (1 - np.tanh(x) ** 2), "use functions from scalar"),
        (lambda g, x: g * (1 - math.tanh(x) ** 2), "use functions from scalar"),
        (lambda g: g, "the slope of tanh is"),
    ],
)
def test_the_rule_of_tanh(checks: Any, rule: Callable[..., Any], says: str) -> None:
    assert says in repr(checks.my_tanh(of_tanh(rule)))


def test_an_op_without_a_rule_or_with_another_value(checks: Any) -> None:
    assert "put `@op(...)` above it" in repr(checks.my_tanh(np.tanh))

    @op(lambda g, out: g * (1 - out * out))
    def wrong_value(x: Any) -> Any:
        return 1 - np.tanh(x) ** 2

    assert "the value is wrong" in repr(checks.my_tanh(wrong_value))


@pytest.mark.parametrize(
    ("slope", "says"),
    [
        (lambda x, s: s + x * s * (1 - s), "✓ Right"),
        (lambda x, s: s, "first half of the product rule"),
        (lambda x, s: x * s * (1 - s), "second half of the product rule"),
        (lambda x, s: s * (1 - s), "swish is a product"),
        (lambda x, s: s + s * (1 - s), "the factor x is missing"),
    ],
)
def test_the_rule_of_swish(checks: Any, slope: Callable[..., Any], says: str) -> None:
    @op(lambda g, x: g * slope(x, sigmoid(x)))
    def swish(x: Any) -> Any:
        return x * sigmoid(x)

    assert says in repr(checks.swish(swish))


def steps(*calls: str, returns: bool = True) -> Callable[..., Any]:
    def train_step(model: Any, optimizer: Any, points: Any, targets: Any) -> Any:
        loss = mse([model(x) for x in points], targets)
        for name in calls:
            getattr(loss if name == "backward" else optimizer, name)()
        return loss if returns else loss.data

    return train_step


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (steps("zero_grad", "backward", "step"), "✓ Right"),
        (steps(), "put the three calls"),
        (steps("backward", "step"), "call `optimizer.zero_grad()` before"),
        (steps("backward", "step", "zero_grad"), "Here it comes too late"),
        (steps("backward", "zero_grad", "step"), "throws away what `backward()`"),
        (steps("zero_grad", "step", "backward"), "found no gradient"),
        (steps("zero_grad", "backward"), "`optimizer.step()` is missing"),
        (steps("zero_grad", "backward", "step", "step"), "Each call is to come once"),
        (steps("zero_grad", "backward", "step", returns=False), "it returned a float"),
    ],
)
def test_a_step_of_training(checks: Any, f: Callable[..., Any], says: str) -> None:
    assert says in repr(checks.train_step(f))


def halves(factor: float, clears: str) -> Callable[..., None]:
    def accumulate(model: Any, halves: Any) -> None:
        for i, (points, targets) in enumerate(halves):
            for p in model.parameters() if clears == "each" or not i else ():
                p.grad = 0.0
            if factor:
                (mse([model(x) for x in points], targets) * factor).backward()

    return accumulate


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (halves(0.5, "once"), "✓ Right"),
        (halves(1.0, "once"), "divide each half's loss by 2"),
        (halves(0.5, "each"), "only the last half is in it"),
        (halves(1.0, "each"), "only the last half is in it"),
        (halves(0.0, "once"), "nothing has arrived"),
        (halves(0.25, "once"), "the mean of both halves'"),
        (lambda model: None, "stopped with TypeError"),
    ],
)
def test_two_halves(checks: Any, f: Callable[..., Any], says: str) -> None:
    assert says in repr(checks.half_batches(f))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([1], "✓ Right"),
        ((1,), "✓ Right"),
        ([1, 2, 3], "off for some point"),
        ([1, 2], "off for the first point"),
        ([0, 2, 3], "the ones that live"),
        ([0, 1], "Look at neuron 0: its outputs are [1.0, 2.0]"),
        ([], "Look at neuron 1: its outputs are [0.0, 0.0]"),
        (1, "is to be a list of neurons"),
        (..., "still open"),
    ],
)
def test_dead_neurons(checks: Any, answer: Any, says: str) -> None:
    outputs = [[1.0, 0.0, 0.0, 2.0], [2.0, 0.0, 3.0, 0.0]]
    assert says in repr(checks.dead(answer, [[Value(x) for x in row] for row in outputs]))


def test_an_activation(checks: Any) -> None:
    assert checks.revived("elu", [0.6, 0.004]).right
    assert "the network is a constant" in repr(checks.revived("relu", [0.444, 0.432]))
    assert "so slow that 100 steps" in repr(checks.revived("leaky_relu", [0.444, 0.432]))
    assert "still open" in repr(checks.revived(..., None))


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (lambda x, W1, b1, W2, b2: vector.relu(x @ W1 + b1) @ W2 + b2, "✓ Right"),
        (lambda x, W1, b1, W2, b2: (x @ W1 + b1) @ W2 + b2, "has no relu"),
        (lambda x, W1, b1, W2, b2: vector.relu(vector.relu(x @ W1 + b1) @ W2 + b2), "hidden layer alone"),
        (lambda x, W1, b1, W2, b2: (vector.relu(x @ W1) + b1) @ W2 + b2, "is to be added before `relu`"),
        (lambda x, W1, b1, W2, b2: vector.relu(x @ W1) @ W2 + b2, "the hidden layer has no bias"),
        (lambda x, W1, b1, W2, b2: vector.relu(x @ W1 + b1) @ W2, "the output layer has no bias"),
        (lambda x, W1, b1, W2, b2: vector.relu(x @ W1 + b1) @ W2 - b2, "compare the formula"),
        (lambda x, W1, b1, W2, b2: x @ W1 + b1, "The result has shape (1, 4)"),
        (lambda x, W1, b1, W2, b2: W1 @ x, "stopped with ValueError"),
        (lambda x, W1, b1, W2, b2: np.zeros((1, 10)), "returns a ndarray, so there is no graph"),
        (lambda x, W1, b1, W2, b2: ..., "in place of each `...`"),
    ],
)
def test_a_network_of_arrays(checks: Any, f: Callable[..., Any], says: str) -> None:
    rng = np.random.default_rng(0)
    shapes = (6, 4), (4,), (4, 10), (10,)
    layers = [vector.Tensor(rng.normal(size=shape)) for shape in shapes]
    image = vector.Tensor(rng.normal(size=(1, 6)), requires_grad=False)
    w1, b1, w2, b2 = (p.data for p in layers)
    logits = [Value(z) for z in (np.maximum(image.data @ w1 + b1, 0.0) @ w2 + b2)[0].tolist()]
    assert says in repr(checks.forward(f, image, layers, logits))


def test_a_verdict_is_a_note_in_a_notebook(checks: Any) -> None:
    verdict = checks.Verdict(["`a < b`: no <b>"], "")
    assert "<code>a &lt; b</code>: no &lt;b&gt;" in verdict._repr_html_() and "#d97706" in verdict._repr_html_()
    assert "#15803d" in checks.Verdict([], "Right.")._repr_html_()
