"""What every op means at the awkward points: one table, in both engines, plain and nested, first and second order."""

import math
from math import inf, nan

import numpy as np
import pytest
from judging import same

import scalar
import vector

STEPS = [
    *(("sign", 0.0, 0.0), ("sign", -3.0, -1.0), ("sign", nan, nan)),
    *(("floor", 2.0, 2.0), ("floor", -0.5, -1.0), ("floor", inf, inf), ("ceil", -0.5, 0.0), ("ceil", 1.5, 2.0)),
    *(("round", 0.5, 0.0), ("round", 1.5, 2.0), ("round", 2.5, 2.0), ("round", -0.5, 0.0), ("round", nan, nan)),
]
# (expression, inputs, value, slopes): the expression's names are the inputs in order and the ops of an engine
TABLE = [
    ("relu(x)", [0.0], 0.0, [0.0]),
    ("relu(x)", [-0.0], 0.0, [0.0]),
    ("relu(x)", [nan], nan, [0.0]),
    ("leaky_relu(x, 0.3)", [0.0], 0.0, [0.3]),
    ("leaky_relu(x)", [0.0], 0.0, [0.01]),
    ("leaky_relu(x)", [nan], nan, [0.01]),
    ("leaky_relu(x, 0.0)", [inf], inf, [1.0]),
    ("abs(x)", [0.0], 0.0, [0.0]),
    ("abs(x)", [nan], nan, [0.0]),
    ("maximum(x, y)", [2.0, 2.0], 2.0, [0.5, 0.5]),
    ("minimum(x, y)", [2.0, 2.0], 2.0, [0.5, 0.5]),
    ("maximum(x, y)", [0.0, -0.0], 0.0, [0.5, 0.5]),
    ("maximum(x, x)", [2.0], 2.0, [1.0]),
    ("minimum(x, x)", [2.0], 2.0, [1.0]),
    ("maximum(x, y)", [inf, inf], inf, [0.5, 0.5]),
    ("maximum(x, y)", [nan, 1.0], nan, [0.0, 0.0]),
    ("maximum(x, y)", [1.0, nan], nan, [0.0, 0.0]),
    ("minimum(x, y)", [nan, 1.0], nan, [0.0, 0.0]),
    ("max([x, y, z])", [3.0, 3.0, 1.0], 3.0, [0.5, 0.5, 0.0]),
    ("max([x, y, z])", [3.0, 3.0, 3.0], 3.0, [1 / 3, 1 / 3, 1 / 3]),
    ("min([x, y, z])", [1.0, 3.0, 1.0], 1.0, [0.5, 0.0, 0.5]),
    ("max([x, y, z])", [1.0, nan, 2.0], nan, [nan, nan, nan]),
    ("min([x, y, z])", [1.0, nan, 2.0], nan, [nan, nan, nan]),
    ("clip(x, 0.0, 1.0)", [0.0], 0.0, [0.0]),
    ("clip(x, 0.0, 1.0)", [1.0], 1.0, [0.0]),
    ("clip(x, 0.0, 1.0)", [0.5], 0.5, [1.0]),
    ("clip(x, 0.0, 1.0)", [nan], nan, [0.0]),
    ("sqrt(x)", [0.0], 0.0, [inf]),
    ("sqrt(x)", [-1.0], nan, [nan]),
    ("log(x)", [0.0], -inf, [inf]),
    ("log(x)", [-1.0], nan, [-1.0]),
    ("x / y", [1.0, 0.0], inf, [inf, -inf]),
    ("x / y", [0.0, 0.0], nan, [inf, nan]),
    ("x / y", [-1.0, 0.0], -inf, [inf, inf]),
    ("x / y", [1.0, inf], 0.0, [0.0, 0.0]),
    ("x ** y", [0.0, 0.0], 1.0, [0.0, 0.0]),
    ("x ** y", [inf, 0.0], 1.0, [0.0, inf]),
    ("x ** y", [0.0, -1.0], inf, [-inf, -inf]),
    ("x ** y", [0.0, 2.0], 0.0, [0.0, 0.0]),
    ("x ** y", [0.0, 1.0], 0.0, [1.0, 0.0]),
    ("x ** y", [-2.0, 3.0], -8.0, [12.0, nan]),
    ("x ** y", [-2.0, 0.5], nan, [nan, nan]),
    ("x ** 2", [-3.0], 9.0, [-6.0]),
    ("x ** 3", [-2.0], -8.0, [12.0]),
    ("x ** 4", [-0.5], 0.0625, [-0.5]),
    ("x ** 3", [-0.0], -0.0, [0.0]),
    ("x ** 4", [1e100], inf, [4e300]),
    ("x ** 3", [nan], nan, [nan]),
    ("x ** y", [3.0, 3.0], 27.0, [27.0, 27.0 * math.log(3.0)]),
    ("2 ** x", [3.0], 8.0, [8.0 * math.log(2.0)]),
    ("square(x)", [-3.0], 9.0, [-6.0]),
    ("reciprocal(x)", [0.0], inf, [-inf]),
    ("reciprocal(x)", [-0.0], -inf, [-inf]),
    ("reciprocal(x)", [inf], 0.0, [0.0]),
    ("cbrt(x)", [-8.0], -2.0, [1 / 12]),
    ("cbrt(x)", [0.0], 0.0, [inf]),
    ("exp2(x)", [3.0], 8.0, [8.0 * math.log(2.0)]),
    ("exp2(x)", [2000.0], inf, [inf]),
    ("expm1(x)", [1e-20], 1e-20, [1.0]),
    ("expm1(x)", [-1000.0], -1.0, [0.0]),
    ("log1p(x)", [1e-20], 1e-20, [1.0]),
    ("log1p(x)", [-1.0], -inf, [inf]),
    ("log1p(x)", [-2.0], nan, [-1.0]),
    ("log2(x)", [8.0], 3.0, [1 / 8 / math.log(2.0)]),
    ("log2(x)", [0.0], -inf, [inf]),
    ("log10(x)", [0.0], -inf, [inf]),
    ("log10(x)", [-1.0], nan, [-1 / math.log(10.0)]),
    ("mod(x, y)", [7.0, 3.0], 1.0, [1.0, -2.0]),
    ("mod(x, y)", [-7.0, 3.0], 2.0, [1.0, 3.0]),
    ("mod(x, y)", [7.0, -3.0], -2.0, [1.0, 3.0]),
    ("mod(x, y)", [6.0, 3.0], 0.0, [1.0, -2.0]),
    ("mod(x, y)", [1.0, 0.0], nan, [1.0, nan]),
    ("mod(x, y)", [1.0, inf], 1.0, [1.0, 0.0]),
    ("tan(x)", [0.0], 0.0, [1.0]),
    ("tan(x)", [inf], nan, [nan]),
    ("arcsin(x)", [1.0], math.pi / 2, [inf]),
    ("arcsin(x)", [-1.0], -math.pi / 2, [inf]),
    ("arcsin(x)", [2.0], nan, [nan]),
    ("arccos(x)", [1.0], 0.0, [-inf]),
    ("arccos(x)", [-1.0], math.pi, [-inf]),
    ("arccos(x)", [2.0], nan, [nan]),
    ("arctan(x)", [inf], math.pi / 2, [0.0]),
    ("arctan(x)", [1e200], math.pi / 2, [0.0]),
    ("arctan2(x, y)", [0.0, 0.0], 0.0, [0.0, 0.0]),
    ("arctan2(x, y)", [0.0, -0.0], math.pi, [0.0, 0.0]),
    ("arctan2(x, y)", [0.0, -1.0], math.pi, [-1.0, 0.0]),
    ("arctan2(x, y)", [-0.0, -1.0], -math.pi, [-1.0, 0.0]),
    ("arctan2(x, y)", [0.0, 1e-200], 0.0, [1e200, 0.0]),
    ("arctan2(x, y)", [inf, 1.0], math.pi / 2, [0.0, nan]),
    ("hypot(x, y)", [0.0, 0.0], 0.0, [0.0, 0.0]),
    ("hypot(x, y)", [-1e-300, 0.0], 1e-300, [-1.0, 0.0]),
    ("hypot(x, y)", [3e300, 4e300], 5e300, [3e300 / 5e300, 4e300 / 5e300]),
    ("hypot(x, y)", [inf, 1.0], inf, [nan, 0.0]),
    ("hypot(x, y)", [inf, nan], inf, [nan, nan]),
    ("sinh(x)", [-1000.0], -inf, [inf]),
    ("cosh(x)", [0.0], 1.0, [0.0]),
    ("cosh(x)", [1000.0], inf, [inf]),
    ("arcsinh(x)", [0.0], 0.0, [1.0]),
    ("arcsinh(x)", [-inf], -inf, [0.0]),
    ("arcsinh(x)", [1e200], np.arcsinh(1e200), [1e-200]),
    ("arccosh(x)", [1.0], 0.0, [inf]),
    ("arccosh(x)", [0.5], nan, [nan]),
    ("arccosh(x)", [inf], inf, [0.0]),
    ("arctanh(x)", [1.0], inf, [inf]),
    ("arctanh(x)", [-1.0], -inf, [inf]),
    ("arctanh(x)", [2.0], nan, [-1 / 3]),
    ("logaddexp(x, y)", [0.0, 0.0], math.log(2.0), [0.5, 0.5]),
    ("logaddexp(x, y)", [1e4, -1e4], 1e4, [1.0, 0.0]),
    ("logaddexp(x, y)", [-inf, 0.0], 0.0, [0.0, 1.0]),
    ("logaddexp(x, y)", [-inf, -inf], -inf, [nan, nan]),
    ("logaddexp(x, y)", [inf, inf], inf, [nan, nan]),
    *((f"{name}(x)", [x], y, [0.0]) for name, x, y in STEPS),
    ("round(x, 1)", [0.25], 0.2, [0.0]),
    ("erf(x)", [0.0], 0.0, [2.0 / math.sqrt(math.pi)]),
    ("erf(x)", [-inf], -1.0, [0.0]),
    ("erf(x)", [nan], nan, [nan]),
    ("erfc(x)", [inf], 0.0, [0.0]),
    ("erfc(x)", [-inf], 2.0, [0.0]),
    *((f"{name}(x)", [0.0], 0.0, [0.5]) for name in ("gelu", "gelu_tanh", "silu")),
    *((f"{name}(x)", [x], x, [1.0]) for name in ("gelu", "gelu_tanh", "silu") for x in (1e200, inf)),
    *((f"{name}(x)", [x], 0.0, [0.0]) for name in ("gelu", "gelu_tanh", "silu") for x in (-1e200, -inf)),
    ("elu(x)", [0.0], 0.0, [1.0]),
    ("elu(x, 0.5)", [0.0], 0.0, [0.5]),
    ("elu(x)", [-inf], -1.0, [0.0]),
    ("elu(x)", [1000.0], 1000.0, [1.0]),
    ("elu(x)", [nan], nan, [nan]),
    ("selu(x)", [0.0], 0.0, [1.0507009873554805]),
    ("selu(x)", [-1000.0], -1.0507009873554805 * 1.6732632423543772, [0.0]),
    ("hardtanh(x)", [1.0], 1.0, [0.0]),
    ("hardtanh(x)", [-1.0], -1.0, [0.0]),
    ("hardtanh(x)", [nan], nan, [0.0]),
    ("softsign(x)", [0.0], 0.0, [1.0]),
    ("softsign(x)", [-inf], -1.0, [0.0]),
    ("softsign(x)", [1e200], 1.0, [0.0]),
    ("exp(x)", [1000.0], inf, [inf]),
    ("exp(x)", [-1000.0], 0.0, [0.0]),
    ("sigmoid(x)", [1000.0], 1.0, [0.0]),
    ("sigmoid(x)", [-1000.0], 0.0, [0.0]),
    ("tanh(x)", [1000.0], 1.0, [0.0]),
    ("tanh(x)", [-1000.0], -1.0, [0.0]),
    ("softplus(x)", [1000.0], 1000.0, [1.0]),
    ("softplus(x)", [-1000.0], 0.0, [0.0]),
    ("softplus(x)", [inf], inf, [1.0]),
    ("softplus(x)", [-inf], 0.0, [0.0]),
    ("softplus(x)", [nan], nan, [nan]),
    ("softmax([x, y])[0]", [1e4, -1e4], 1.0, [0.0, 0.0]),
    ("log_softmax([x, y])[1]", [1e4, -1e4], -2e4, [-1.0, 1.0]),
    ("cross_entropy([x, y], 1)", [1e4, -1e4], 2e4, [1.0, -1.0]),
    ("cross_entropy([x, y], 0)", [1e4, -1e4], 0.0, [0.0, 0.0]),
    ("cross_entropy([x, y], [0.0, 1.0])", [1e4, -1e4], 2e4, [1.0, -1.0]),
    ("cross_entropy([x, y], 0)", [0.0, -inf], 0.0, [0.0, 0.0]),
    ("cross_entropy([x, y], [1.0, 0.0])", [0.0, -inf], 0.0, [0.0, 0.0]),
    ("categorical_cross_entropy([x, y], 1)", [1.0, 0.0], inf, [0.0, -inf]),
    ("categorical_cross_entropy([x, y], [1.0, 0.0])", [1.0, 0.0], 0.0, [-1.0, 0.0]),
    ("softmax([x, y])[0]", [-inf, -inf], nan, [nan, nan]),
    ("logsumexp([x, y])", [-inf, -inf], -inf, [nan, nan]),
    ("logsumexp([x, y])", [1e4, -inf], 1e4, [1.0, 0.0]),
    ("logsumexp([x])", [3.0], 3.0, [1.0]),
    ("prod([x, y, z])", [2.0, 3.0, 4.0], 24.0, [12.0, 8.0, 6.0]),
    ("prod([x, y, z])", [0.0, 3.0, 4.0], 0.0, [12.0, 0.0, 0.0]),
    ("prod([x, y])", [0.0, 0.0], 0.0, [0.0, 0.0]),
    ("var([x, y])", [1.0, 3.0], 1.0, [-1.0, 1.0]),
    ("var([x, y], ddof=1)", [1.0, 3.0], 2.0, [-2.0, 2.0]),
    ("var([x])", [3.0], 0.0, [0.0]),
    ("std([x, y])", [1.0, 3.0], 1.0, [-0.5, 0.5]),
    ("std([x, y])", [2.0, 2.0], 0.0, [0.0, 0.0]),
    ("std([x, y])", [inf, 1.0], nan, [nan, nan]),
    ("norm([x, y])", [3.0, -4.0], 5.0, [0.2 * 3.0, 0.2 * -4.0]),
    ("norm([x, y])", [0.0, 0.0], 0.0, [0.0, 0.0]),
    ("where(x > 0, sqrt(x), 0.0)", [0.0], 0.0, [nan]),
    ("where(x > 0, sqrt(where(x > 0, x, 1.0)), 0.0)", [0.0], 0.0, [0.0]),
    ("x + x", [3.0], 6.0, [2.0]),
    ("x * x", [3.0], 9.0, [6.0]),
    ("x * x * x", [2.0], 8.0, [12.0]),
    ("dot([x, y], [y, x])", [2.0, 3.0], 12.0, [6.0, 4.0]),
]
ROWS = (
    "softmax",
    "log_softmax",
    "cross_entropy",
    "categorical_cross_entropy",
    "max",
    "min",
    "logsumexp",
    "dot",
    "prod",
    "var",
    "std",
    "norm",
)


def tensors(name):
    """vector's op for sequences written as lists of single tensors."""
    f = getattr(vector, name)

    def call(*args, **more):
        stacked = [vector.stack(a) if isinstance(a, list) and isinstance(a[0], vector.Tensor) else a for a in args]
        return f(*stacked, **more)

    return call


ENGINES = {
    "scalar": (scalar, scalar.Value, vars(scalar)),
    "vector": (vector, vector.Tensor, {**vars(vector), **{name: tensors(name) for name in ROWS}}),
}


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]


def evaluate(engine, expression, numbers):
    _, node, names = engine
    nodes = [node(x) for x in numbers]
    return nodes, eval(expression, dict(names), dict(zip("xyz", nodes, strict=False)))


@pytest.mark.parametrize("expression, numbers, value, slopes", TABLE)
@pytest.mark.parametrize("use", ["plain", "nested", "create_graph", "grad"])
def test_table(engine, use, expression, numbers, value, slopes):
    """Plain: the expression itself. Nested: its inputs are results of another op, and so is what it goes into."""
    module = engine[0]
    with np.errstate(all="ignore"):
        if use == "nested":
            nodes, _ = evaluate(engine, "0", numbers)
            names = dict(zip("xyz", (1.0 * x for x in nodes), strict=False))
            out = 1.0 * eval(expression, dict(engine[2]), names)
        else:
            nodes, out = evaluate(engine, expression, numbers)
        if use == "create_graph":
            found = [slope.data for slope in module.grad(out, nodes, create_graph=True)]
        elif use == "grad":
            found = module.grad(out, nodes)
        else:
            out.backward()
            found = [x.grad for x in nodes]
    assert same(out.data, value, signed_zeros=False).all(), out.data
    assert same(np.ravel(found), slopes, signed_zeros=False).all(), found


# Second derivatives, by create_graph: (expression, x, second derivative)
SECOND = [
    ("relu(x)", 0.0, 0.0),
    ("abs(x)", 0.0, 0.0),
    ("relu(x) * relu(x)", 2.0, 2.0),
    ("leaky_relu(x)", -1.0, 0.0),
    ("maximum(x, x) * x", 3.0, 2.0),
    ("clip(x, 0.0, 1.0) * x", 0.5, 2.0),
    ("x ** 2", 0.0, 2.0),
    ("x ** 3", 0.0, 0.0),
    ("x ** 4", -2.0, 48.0),
    ("x * x * x", 2.0, 12.0),
    ("square(x)", 0.0, 2.0),
    ("reciprocal(x)", 2.0, 0.25),
    ("cbrt(x)", -8.0, 1 / 144),
    ("floor(x) * x", 0.0, 0.0),
    ("arcsin(x)", 1.0, inf),
    ("arccos(x)", 1.0, -inf),
    ("arccosh(x)", 1.0, -inf),
    ("arctan(x)", 0.0, 0.0),
    ("hypot(x, x)", 0.0, 0.0),
    ("logaddexp(x, -x)", 0.0, 1.0),
    ("erf(x)", 0.0, 0.0),
    ("gelu(x)", inf, 0.0),
    ("gelu_tanh(x)", -inf, 0.0),
    ("silu(x)", 0.0, 0.5),
    ("silu(x)", -inf, 0.0),
    ("elu(x)", 1.0, 0.0),
    ("selu(x)", 0.0, 0.0),
    ("hardtanh(x) * x", 0.5, 2.0),
    ("softsign(x)", 0.0, 0.0),
    ("1.0 / x", 2.0, 0.25),
    ("1.0 / x", 0.0, inf),
    ("exp(x)", 0.0, 1.0),
    ("log(x)", 2.0, -0.25),
    ("sqrt(x)", 4.0, -1 / 32),
    ("tanh(x)", 1000.0, 0.0),
    ("tanh(x)", 0.0, 0.0),
    ("sigmoid(x)", -1000.0, 0.0),
    ("sigmoid(x)", 0.0, 0.0),
    ("softplus(x)", 0.0, 0.25),
    ("softplus(x)", 1000.0, 0.0),
    ("sin(x)", 0.0, 0.0),
    ("cos(x)", 0.0, -1.0),
    ("prod([x, x, x])", 2.0, 12.0),
    ("prod([x, x, x])", 0.0, 0.0),
    ("var([x, -x])", 1.0, 2.0),
    ("logsumexp([x, -x])", 0.0, 1.0),
    ("softmax([x, 0.0 * x])[0]", 0.0, 0.0),
    ("cross_entropy([x, -x], 0)", 0.0, 1.0),
    ("where(x > 0, x * x, x)", 1.0, 2.0),
]


@pytest.mark.parametrize("expression, x, second", SECOND)
def test_second_derivatives(engine, expression, x, second):
    module = engine[0]
    with np.errstate(all="ignore"):
        (node,), out = evaluate(engine, expression, [x])
        found = module.grad(module.grad(out, node, create_graph=True), node)
    assert same(found, second, signed_zeros=False).all(), found


@pytest.mark.parametrize(
    "expression", ["sigmoid(x)", "tanh(x)", "softplus(x)", "gelu(x)", "gelu_tanh(x)", "silu(x)", "softsign(x)"]
)
@pytest.mark.parametrize("x", [1000.0, -1000.0])
def test_no_overflow_warning(engine, expression, x):
    """Warnings are errors here."""
    (_,), out = evaluate(engine, expression, [x])
    out.backward()


@pytest.mark.parametrize("expression", ["softmax([x, y])[0]", "log_softmax([x, y])[0]", "cross_entropy([x, y], 0)"])
@pytest.mark.parametrize("numbers", [[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4]])
def test_each_row_is_shifted_by_its_own_maximum(engine, expression, numbers):
    nodes, out = evaluate(engine, expression, numbers)
    out.backward()
    assert np.isfinite([float(out.data), *(float(x.grad) for x in nodes)]).all()


def test_rows_do_not_share_their_maximum():
    """One row's huge logits leave the other row's exact."""
    alone = vector.log_softmax(vector.Tensor([[0.1, 0.2]])).data
    beside = vector.log_softmax(vector.Tensor([[0.1, 0.2], [1e4, -1e4]])).data[:1]
    assert same(alone, beside).all()


def test_integers_become_floats(engine):
    _, node, _ = engine
    for x in (3, np.int64(3), np.uint8(3)):
        assert node(x).item() == 3.0
        assert isinstance(node(x).item(), float)
    out = node(2) ** 3 + 1 / node(4)
    assert out.item() == 8.25
    assert vector.Tensor([1, 2]).dtype == np.float64


@pytest.mark.parametrize(
    "shapes", [((2, 3), ()), ((2, 3), (3,)), ((2, 3), (2, 1)), ((2, 3), (1, 1)), ((1, 3), (2, 1)), ((3,), (1,))]
)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"])
def test_a_broadcast_operand_gets_its_own_shape_back(name, shapes):
    x, y = (vector.Tensor(np.full(shape, 2.0)) for shape in shapes)
    vector.sum(getattr(vector, name)(x, y)).backward()
    assert x.grad.shape == x.shape and y.grad.shape == y.shape
    one = [vector.Tensor(2.0), vector.Tensor(2.0)]
    getattr(vector, name)(*one).backward()
    size = np.prod(np.broadcast_shapes(*shapes))
    for t, single in zip((x, y), one, strict=True):
        assert np.allclose(t.grad, single.grad * size / t.size, rtol=1e-15)
