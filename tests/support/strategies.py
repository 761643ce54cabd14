"""Random expressions and networks. What a test runs is the text that a failure prints: a few lines of Python."""

import itertools
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from judging import SAMPLES, elementwise

import scalar

NUMBERS = st.floats(-4.0, 4.0).map(lambda x: round(x, 3)) | st.sampled_from([0.0, 1.0, -1.0, 2.0, -2.0, 0.5])
ANY_NUMBERS = NUMBERS | st.floats()
SHAPES = [(), (3,), (1,), (2, 1), (1, 3), (2, 3)]  # all broadcast together

# Inside a deep expression most numbers would leave the domain of these, and one NaN hides all that follows.
GUARDED = {
    **{name: f"{name}(add(abs({{}}), 0.5))" for name in ("log", "log2", "log10", "sqrt", "cbrt", "reciprocal")},
    **{name: f"{name}(tanh({{}}))" for name in ("exp", "exp2", "expm1", "sinh", "cosh", "tan", "square")},
    **{name: f"{name}(sin(tanh({{}})))" for name in ("arcsin", "arccos", "arctanh")},
    **{name: f"{name}({{}}, add(abs({{}}), 0.5))" for name in ("divide", "mod", "arctan2", "hypot")},
    "arccosh": "arccosh(add(abs({}), 1.5))",
    "log1p": "log1p(abs({}))",
    "multiply": "multiply(tanh({}), {})",
    "power": "power(add(abs({}), 0.5), tanh({}))",
}
OPERATORS = [
    "{} + {}",
    "{} - {}",
    "{} * {}",
    "{} / {}",
    "-{}",
    "{} ** 2",
    "{} ** 3",
    "{} ** 4.0",
    "2.0 - {}",
    "1.5 / {}",
    "3.0 * {}",
    "{} ** -1.0",
]


def part(n: int) -> settings:
    """For a test that is slow or one of many: a part of the examples that the profile asks for."""
    return settings(max_examples=max(5, settings.default.max_examples // n))


class Lines:
    """A program of a few lines, shown as they are."""

    def __init__(self, head: str, lines: list[str]) -> None:
        self.head, self.lines = head, lines

    def run(self, names: dict[str, Any]) -> dict[str, Any]:
        """All that the lines define, with `names` for what they do not."""
        space = dict(names)
        exec("\n".join(self.lines), space)
        return {name: x for name, x in space.items() if name not in names and name != "__builtins__"}

    def __repr__(self) -> str:
        return "\n".join(["", self.head, *self.lines, ""])


def calls(name: str) -> list[str]:
    """An op as text with holes for its inputs, with every combination of arguments to try."""
    op = scalar.ops.OPS[name]
    holes = ", ".join(["{}"] * len(op.rules))
    if name == "where":
        return ["where(x0 > 0.5, {}, {})"]
    kwargs = itertools.product(*([f", {key}={value!r}" for value in SAMPLES[key]] for key in op.defaults))
    return [f"{name}({holes}{''.join(given)})" for given in kwargs]


@st.composite
def expressions(draw: Any) -> Lines:
    """Every elementwise op on single numbers, unguarded; nodes are used again and again."""
    texts = [text for name in elementwise() for text in calls(name)] + OPERATORS
    names = [f"x{i}" for i in range(draw(st.integers(1, 4)))]
    lines = [
        f"{name} = node({shown(draw(ANY_NUMBERS if draw(st.integers(0, 9)) == 0 else NUMBERS))})" for name in names
    ]
    for i in range(draw(st.integers(1, 12))):
        text = draw(st.sampled_from(texts))
        lines.append(f"v{i} = " + text.format(*(draw(st.sampled_from(names)) for _ in range(text.count("{}")))))
        names.append(f"v{i}")
    out = " + ".join(names[-draw(st.integers(1, 3)) :])
    lines += [f"out = {out}", f"slopes = grad(out, [{', '.join(names)}])"]
    return Lines(EXPRESSION_HEAD, lines)


EXPRESSION_HEAD = """from vector import *; node = Tensor    # and: from scalar import *; node = Value
inf, nan = 1e999, 1e999 - 1e999"""


@st.composite
def array_expressions(draw: Any) -> Lines:
    """Elementwise ops on broadcast arrays, sums and matrix products, ending in one number."""
    texts = [text for name in elementwise() for text in ([GUARDED[name]] if name in GUARDED else calls(name))]
    shapes: dict[str, tuple[int, ...]] = {}
    lines = []
    for i in range(draw(st.integers(1, 4))):
        shape = shapes[f"x{i}"] = draw(st.sampled_from(SHAPES))
        size = int(np.prod(shape))
        numbers = np.array(draw(st.lists(NUMBERS, min_size=size, max_size=size))).reshape(shape)
        lines.append(f"x{i} = node({numbers.tolist()})")
    for i in range(draw(st.integers(1, 7))):
        name, kind = f"v{i}", draw(st.integers(0, 3))
        some = [x for x, shape in shapes.items() if shape]
        grids = [x for x, shape in shapes.items() if len(shape) == 2]
        if kind == 0 and some:
            x = draw(st.sampled_from(some))
            axis = draw(st.sampled_from([None, *range(len(shapes[x]))]))
            if axis is not None and draw(st.booleans()):
                text = f"{draw(st.sampled_from(['softmax', 'log_softmax']))}({x}, axis={axis})"
                shapes[name] = shapes[x]
            else:
                text = f"{draw(st.sampled_from(['sum', 'mean', 'max', 'min', 'logsumexp']))}({x}, axis={axis})"
                left = () if axis is None else tuple(np.delete(shapes[x], axis).tolist())
                if left not in SHAPES:  # a (2,) would not broadcast against a (3,)
                    continue
                shapes[name] = left
        elif kind == 1 and (
            pairs := [p for p in itertools.product(grids, grids) if shapes[p[0]][1] == shapes[p[1]][0]]
        ):
            x, y = draw(st.sampled_from(pairs))
            if (shapes[x][0], shapes[y][1]) not in SHAPES:
                continue
            text, shapes[name] = f"matmul({x}, {y})", (shapes[x][0], shapes[y][1])
        else:
            text = draw(st.sampled_from(texts))
            inputs = [draw(st.sampled_from(list(shapes))) for _ in range(text.count("{}"))]
            inputs_and_condition = [*inputs, "x0"] if "x0" in text else inputs
            shapes[name] = np.broadcast_shapes(*(shapes[x] for x in inputs_and_condition))
            text = text.format(*inputs)
        lines.append(f"{name} = {text}")
    last = list(shapes)[-draw(st.integers(1, 3)) :]
    lines += [
        f"out = sum({last[0]})",
        *(f"out = add(out, sum({x}))" for x in last[1:]),
        f"slopes = grad(out, [{', '.join(shapes)}], create_graph=True, gradient=node(1.0))",  # see bounds.py
    ]
    return Lines("from vector import *; node = Tensor    # and, in tests/: from spelt import *", lines)


ACTIVATIONS: list[str | None] = [None, "abs", "cos", "elu", "erf", "exp", "gelu", "gelu_tanh", "hardtanh", "leaky_relu"]
ACTIVATIONS += ["log", "log_softmax", "negative", "relu", "selu", "sigmoid", "silu", "sin", "softmax", "softplus"]
ACTIVATIONS += ["softsign", "sqrt", "tanh"]
POSITIVE = ("log", "sqrt")  # activations for positive numbers only


@st.composite
def networks(draw: Any, activations: list[str | None] = ACTIVATIONS) -> Lines:
    """A small network with all its weights, a batch, and a loss."""
    loss = draw(st.sampled_from(["cross_entropy", "categorical_cross_entropy", "mse"]))
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    chosen = [draw(st.sampled_from(activations)) for _ in widths[1:]]
    if loss == "categorical_cross_entropy":
        chosen[-1] = "softmax"
    n, k = draw(st.integers(1, 5)), widths[-1]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sign = np.abs if any(name in POSITIVE for name in chosen) else np.asarray

    def array(*shape: int) -> list[Any]:
        return sign(rng.normal(size=shape)).round(4).tolist()

    layers = [f"nn.Dense({i}, {o}, {name!r})" for i, o, name in zip(widths, widths[1:], chosen, strict=False)]
    state = {}
    for layer, (i, o) in enumerate(itertools.pairwise(widths)):
        state |= {f"{layer}.weight": array(i, o), f"{layer}.bias": array(o)}
    if loss == "mse":
        labels: Any = rng.normal(size=(n, k)).round(4).tolist()
    elif draw(st.booleans()):
        labels = rng.integers(0, k, n).tolist()
    else:
        labels = rng.dirichlet(np.ones(k), n).round(4).tolist()
    lines = [
        f"model = nn.Sequential({', '.join(layers)})",
        f"model.load_state_dict({state})",
        f"x = node({array(n, widths[0])})",
        f"loss = {loss}(predict(model, x), {labels})",
    ]
    return Lines(NETWORK_HEAD, lines)


NETWORK_HEAD = """from vector import *; node = Tensor; predict = lambda model, x: model(x)
# and: from scalar import *; node = lambda rows: [[Value(x) for x in row] for row in rows]
#      predict = lambda model, x: [model(row) for row in x]"""


def shown(x: float) -> str:
    return repr(x) if x == x else "nan"
