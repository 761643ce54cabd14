"""The judges on trial: a wrong derivative must not get past the agreement tests or gradcheck.

Every derivative of both op pages is broken in turn: as a whole (scaled by 1.001, negated, dropped), and in each place
of its text (an operator, a sign, a name, a number, a comparison, a branch). A mutant is
convicted if an agreement check or gradcheck fails on it. No mutant may survive, but for those listed with the reason
why they are no mistakes.
"""

import ast
import copy
import functools
import inspect
import itertools
import math

import numpy as np
import pytest
from array_samples import of_arrays
from bounds import close
from engines import both
from judging import INF, ROWS, SEQUENCES, agree, elementwise, params_of, sequence_ops

import scalar
import vector
from scalar.op import Op as scalar_Op
from vector.op import Op

ENGINES = {"scalar": scalar, "vector": vector}
OP = {"scalar": scalar_Op, "vector": Op}
PAGES = {
    "scalar": [scalar.ops],
    "vector": [getattr(vector.ops, theme) for theme in ("elementwise", "shapes", "axes", "products", "linalg")],
}
PAGES["vector"].append(vector.ops.convolution)
NODES = {"scalar": scalar.Value, "vector": vector.Tensor}
POINTS = [0.0, -0.0, 0.3, 0.5, 1.0, 2.0, 3.0, -0.7, -1.0, -2.0, INF, -INF, np.nan]
SMOOTH = {1: [[0.3], [1.7], [0.6]], 2: [[0.3, 1.7], [1.9, 0.4], [2.2, 2.6]]}  # away from corners, inside most domains
INSIDE = {
    "arccosh": [[1.3], [1.7], [2.6]],
    **{name: [[0.3], [-0.7], [0.6]] for name in ("arcsin", "arccos", "arctanh")},
}
FLAT = ("sign", "floor", "ceil", "round")  # whose derivative is 0, which no factor changes
X = np.array([[0.3, -1.2, 0.7], [1.5, 0.1, -0.4]])
Y = np.array([[1.1, 0.2], [-0.6, 0.9], [0.5, -1.3]])
Z = np.arange(24.0).reshape(2, 3, 4) / 7.0 - 1.0


def reductions(name):
    """An op over axes: over all, one and two of them, dropped and kept."""
    for axis, keepdims in itertools.product([None, 0, -1, (0, 1)], [False, True]):
        yield lambda x, a=axis, k=keepdims: getattr(vector, name)(x, axis=a, keepdims=k), [X]


# What gradcheck is given for the ops of vector that are not elementwise: functions of tensors, and their inputs.
CASES = {
    "broadcast_to": [
        (lambda x: vector.broadcast_to(x, (4, 2, 3)), [X]),
        (lambda x: vector.broadcast_to(x, (2, 3)), [X[:1]]),
    ],
    "cast": [(lambda x: (x * x).astype(np.float64), [X])],
    "concatenate": [
        (lambda x, y: vector.concatenate([x, y, x], axis=0), [X, 2.0 * X[:1]]),
        (lambda x, y: vector.stack([x, y], axis=1), [X, Y.T]),
    ],
    "cross_entropy": [(lambda x: vector.cross_entropy(x, [2, 0]), [X]), (lambda x: vector.cross_entropy(x, 1), [X[0]])],
    "index": [
        (lambda x: x[:, [0, 0, 2]], [X]),
        (lambda x: x[1], [X]),
        (lambda x: x[::-1, 1:], [X]),
        (lambda x: x[x > 0], [X]),
    ],
    "log_softmax": [(lambda x, a=a: vector.log_softmax(x, axis=a), [X]) for a in (0, 1)],
    "matmul": [
        (lambda x, y: x @ y, [X, Y]),
        (lambda x, y: x @ y, [Z, np.arange(8.0).reshape(4, 2)]),
        (lambda x, y: x @ y, [X[0], Y]),
        (lambda x, y: x @ y, [X, Y[:, 0]]),
        (lambda x, y: x @ y, [X[:, :1], Y[:1]]),
        (vector.dot, [X[0], Y[:, 1]]),
    ],
    "reshape": [(lambda x: vector.reshape(x, (3, -1)), [X]), (lambda x: vector.reshape(x, (2, 3)), [X[:, None]])],
    "scatter": [(lambda x: vector.ops.scatter_(x, key=[0, 0, 2], shape=(4,)), [X[0]])],
    "softmax": [(lambda x, a=a: vector.softmax(x, axis=a), [X]) for a in (0, 1)],
    "transpose": [(lambda x: x.T, [X]), (lambda x: vector.transpose(x, (1, 2, 0)), [Z]), (lambda x: x.mT, [Z])],
    **{name: list(reductions(name)) for name in sequence_ops() if name in vector.ops.OPS},
}
for sample in of_arrays():
    if sample.smooth and all(x.size > 1 for x in sample.inputs) and len(CASES.setdefault(sample.op, [])) < 6:
        CASES[sample.op].append((sample.f, sample.inputs))
TIES = np.array([[0.3, 0.3, -0.2], [0.1, 0.3, -0.2]])


def check_elementwise(engine, name):
    op = engine.ops.OPS[name]
    n = len(op.rules)
    grid = np.array(list(itertools.product(*[POINTS] * n, [1.0, -2.5]))).T
    for params in params_of(op):
        agree(name, list(grid), params)
        for point in INSIDE.get(name, SMOOTH[n]):
            nodes = [(engine.Value if engine is scalar else engine.Tensor)(x) for x in point]
            engine.gradcheck(lambda *xs, p=params: op(*xs, **p), nodes)


def check_sequences(engine, name):
    for numbers in ([0.3, -1.2, 0.7], [0.5, 0.5, -1.0], [2.0], [0.0, 0.0]):
        sequences = [numbers, [1.5, 0.2, -0.4][: len(numbers)]][: SEQUENCES.get(name, 1)]
        if engine is scalar and name not in ROWS and numbers[0] not in (0.0, 0.5):
            inputs, n = [scalar.Value(x) for xs in sequences for x in xs], len(numbers)

            def f(*xs, n=n):
                return 1.7 * getattr(scalar, name)(*(xs[i : i + n] for i in range(0, len(xs), n)))

            scalar.gradcheck(f, inputs)
        assert close(*both(name, sequences))


def check_cases(name):
    assert name in CASES, f"{name}: add a case for gradcheck to CASES"
    for f, inputs in CASES[name]:
        vector.gradcheck(f, [vector.Tensor(x.copy()) for x in inputs])
    if name in ("max", "min"):  # at a tie there is no derivative to difference, but each of k shares alike
        for axis in (None, 0, 1):
            x = vector.Tensor(TIES)
            out = getattr(vector, name)(x, axis=axis, keepdims=True)
            vector.sum(out).backward()
            tied = out.data == TIES
            assert np.array_equal(x.grad, tied / tied.sum(axis=axis, keepdims=True))


def judge(engine, name):
    """Raises where an op's derivatives are wrong."""
    with np.errstate(all="ignore"):
        if name in elementwise():
            check_elementwise(engine, name)
        if name in (*sequence_ops(), *ROWS):
            check_sequences(engine, name)
        if engine is vector and name not in elementwise():
            check_cases(name)


def convicted(engine, name):
    try:
        judge(engine, name)
    except Exception:
        return True
    return False


ALL = [(engine, name) for engine, module in ENGINES.items() for name in module.ops.OPS]


@pytest.mark.parametrize("engine, name", ALL)
def test_the_innocent_go_free(engine, name):
    judge(ENGINES[engine], name)


# --- broken as a whole ------------------------------------------------------------------------------------------------


def breaks(change):
    """A way to break a rule, whose names stay: what it gives is changed."""

    def breaking(rule):
        return functools.wraps(rule)(lambda *args, **kwargs: change(rule(*args, **kwargs)))

    return breaking


BREAKING = {
    "shifted": breaks(lambda slopes: over(slopes, lambda s: s + 0.001)),
    "scaled": breaks(lambda slopes: over(slopes, lambda s: s * 1.001)),
    "negated": breaks(lambda slopes: over(slopes, lambda s: -s)),
    "dropped": breaks(lambda slopes: over(slopes, lambda s: s * 0.0)),
    "last term dropped": breaks(
        lambda slopes: [*slopes[:-1], slopes[-1] * 0.0] if isinstance(slopes, list) else slopes * 0.0
    ),
}


def over(slopes, change):
    return [change(s) for s in slopes] if isinstance(slopes, list) else change(slopes)


@pytest.mark.parametrize("way", BREAKING)
@pytest.mark.parametrize("engine, name", ALL)
def test_whole_rules(engine, name, way, monkeypatch):
    op, breaking = ENGINES[engine].ops.OPS[name], BREAKING[way]
    if name in FLAT and way != "shifted":
        return
    for i, rule in enumerate(op.rules):
        with monkeypatch.context() as patch:
            patch.setattr(op, "rules", (*op.rules[:i], breaking(rule), *op.rules[i + 1 :]))
            assert convicted(ENGINES[engine], name), f"rule {i}"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "wrong",
    {
        "factor": lambda g, out, x, y: 1.001 * g * y,
        "sign": lambda g, out, x, y: -g * y,
        "dropped term": lambda g, out, x, y: g * (y - 1.0),
        "wrong input": lambda g, out, x, y: g * x,
        "wrong output": lambda g, out, x, y: g * out,
        "forgotten gradient": lambda g, out, x, y: y,
    }.items(),
    ids=lambda item: item[0],
)
def test_gradcheck_convicts(engine, wrong):
    module = ENGINES[engine]

    def product(x, y):
        return x * y

    right = lambda g, out, x, y: g * x  # noqa: E731
    node = module.Value if engine == "scalar" else module.Tensor
    inputs = [node(0.7), node(-1.3)]
    good = OP[engine](product, (lambda g, out, x, y: g * y, right))
    bad = OP[engine](product, (wrong[1], right))
    assert module.gradcheck(lambda x, y: 3.0 * good(x, y), inputs)
    with pytest.raises(ValueError, match="gradcheck: input 0"):
        module.gradcheck(lambda x, y: 3.0 * bad(x, y), inputs)
    assert [x.data for x in inputs] == [0.7, -1.3]


def claims(engine, slope, constant, claimed):
    """slope x + constant, with `claimed` for its derivative."""

    def line(x):
        return x * slope + constant

    return OP[engine](line, (lambda g, out, x: g * claimed,))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "slope, constant, claimed, rtol, passes",
    [
        (1.0, 0.0, 1.9, 0.5, True),  # within rtol of the larger of the two
        (1.0, 0.0, 2.1, 0.5, False),
        (1.0, 0.0, 0.55, 0.5, True),
        (1.0, 0.0, 0.45, 0.5, False),
        (-1.0, 0.0, -1.9, 0.5, True),
        (-1.0, 0.0, -0.55, 0.5, True),
        (-1.0, 0.0, -0.45, 0.5, False),
        (1.0, 0.0, 1.0 + 0.9e-4, None, True),
        (1.0, 0.0, 1.0 + 1.1e-4, None, False),
        (0.0, 0.0, 0.9e-9, 0.0, True),  # and what rounding may do
        (0.0, 0.0, 1e-9, 0.0, True),
        (0.0, 0.0, 1.1e-9, 0.0, False),
        (0.0, 3.0, 6.9e-9, 0.0, True),
        (0.0, 3.0, 7.1e-9, 0.0, False),
        (0.0, -3.0, -6.9e-9, 0.0, True),
        (0.0, -3.0, 7.1e-9, 0.0, False),
        (1.0, 0.0, math.nan, None, False),
    ],
)
def test_what_gradcheck_allows(engine, slope, constant, claimed, rtol, passes):
    module = ENGINES[engine]
    f, x = claims(engine, slope, constant, claimed), NODES[engine](0.25)
    more = {} if rtol is None else {"rtol": rtol}
    if passes:
        assert module.gradcheck(f, [x], **more) is True
    else:
        with pytest.raises(ValueError, match=r"gradcheck: input 0 = 0\.25: "):
            module.gradcheck(f, [x], **more)


@pytest.mark.parametrize("engine", ENGINES)
def test_where_gradcheck_looks(engine):
    module, seen = ENGINES[engine], []

    def f(x, y):
        seen.append((x.item(), y.item()))
        return x * y

    module.gradcheck(f, [NODES[engine](0.5), NODES[engine](-4.0)])
    h, k = 6e-6, 2.4e-5
    assert seen == [(0.5, -4.0), (0.5 + h, -4.0), (0.5 - h, -4.0), (0.5, -4.0 + k), (0.5, -4.0 - k)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_gradcheck_puts_its_inputs_back(engine, side):
    x = NODES[engine](2.0)

    def f(x):
        if (x.item() - 2.0) * side > 0.0:
            raise ZeroDivisionError
        return x * 1.0

    with pytest.raises(ZeroDivisionError):
        ENGINES[engine].gradcheck(f, [x])
    assert x.item() == 2.0


def test_gradcheck_takes_every_element_by_itself():
    """Wrong in one element, or with the right slopes in the wrong order: each output has a weight of its own."""

    def same(x):
        return x * 1.0

    factors = np.array([[1.0, 1.0], [2.0, 1.0]])
    x = vector.Tensor([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match=r"gradcheck: input 1\[1, 0\] = 3\.0: "):
        one = Op(same, (lambda g: g * factors,))
        vector.gradcheck(lambda y, x: y + one(x), [vector.Tensor(1.0), x])
    for turned in (lambda g: g[::-1], lambda g: g[:, ::-1]):
        with pytest.raises(ValueError, match=r"gradcheck: input 0\[0, 0\] = 1\.0: "):
            vector.gradcheck(Op(same, (turned,)), [x])


# --- broken in one place ----------------------------------------------------------------------------------------------


def rules_as_text(page):
    """Every rule written as a lambda on an op page: (op, its place in `rules` or None for `over`, its tree)."""
    for node in ast.parse(inspect.getsource(page)).body:
        if isinstance(node, ast.FunctionDef):
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "op":
                    op = page.op.__globals__["OPS"][node.name.rstrip("_")]
                    yield from ((op, i, rule) for i, rule in enumerate(call.args) if isinstance(rule, ast.Lambda))
                    yield from ((op, None, k.value) for k in call.keywords if isinstance(k.value, ast.Lambda))


OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
NEXT = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
NEXT |= {
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = ("g", "out", "x", "y", "xs", "ys")


def variants(node, names):
    """What may stand wrongly in a node's place."""
    if isinstance(node, ast.BinOp):
        yield from (node.left, node.right)
        if type(node.op) in OTHER | NEXT:
            yield ast.BinOp(node.left, (OTHER | NEXT)[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(NEXT[type(node.op)](), node.values)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Name) and node.id in names:
        yield from (ast.Name(other, ast.Load()) for other in names if other != node.id)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield ast.Constant(node.value * 1.001 or 0.001)
    elif isinstance(node, ast.Compare):
        for i, sign in enumerate(node.ops):
            yield ast.Compare(node.left, [*node.ops[:i], NEXT[type(sign)](), *node.ops[i + 1 :]], node.comparators)
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "where":
        yield ast.Call(node.func, [node.args[0], node.args[2], node.args[1]], [])


def mutants(rule, op):
    """Every text of a lambda with one place in it changed, so that it may read whatever the op has."""
    own = [a.arg for a in rule.args.args]
    names = [name for name in NAMES if name in ("g", "out") or name in getattr(op, "inputs", own)]
    rule = copy.deepcopy(rule)
    rule.args.args += [ast.arg(name) for name in names if name not in own]
    for i, node in enumerate(ast.walk(rule.body)):
        for variant in variants(node, names):
            tree = copy.deepcopy(rule)
            target = next(itertools.islice(ast.walk(tree.body), i, None))
            yield ast.fix_missing_locations(Replace(target, copy.deepcopy(variant)).visit(ast.Expression(tree)))


class Replace(ast.NodeTransformer):
    def __init__(self, target, new):
        self.target, self.new = target, new

    def generic_visit(self, node):
        return self.new if node is self.target else super().generic_visit(node)


# Mutants that are no mistakes, because what stands in the changed place has the same value wherever it counts:
# the larger of x and y is above y just where x is, and so on; what is not chosen does not count, a multiple of y over y
# is a whole number, and of `indicator`'s second argument only the dtype counts.
EQUIVALENT = {
    "relu": (
        "g * (1.0 if x > 0 else 0.0)",
        "g * (1.0 if out > 0 else 0.0)",
        "g * indicator(x > 0, g)",
        "g * indicator(out > 0, g)",
        "g * indicator(out > 0, out)",
        "g * indicator(out > 0, x)",
        "g * indicator(x > 0, out)",
        "g * indicator(x > 0, x)",
    ),
    "maximum": (
        "g if out > y else 0.5 * g if x >= y else 0.0",
        "g if x > y else 0.5 * g if x >= out else 0.0",
        "g if out > x else 0.5 * g if y >= x else 0.0",
        "g if y > x else 0.5 * g if y >= out else 0.0",
        "where(out > y, g, where(x == y, 0.5 * g, 0.0))",
        "where(x > y, g, where(x == out, 0.5 * g, 0.0))",
        "where(out > x, g, where(x == y, 0.5 * g, 0.0))",
        "where(y > x, g, where(out == y, 0.5 * g, 0.0))",
    ),
    "minimum": (
        "g if out < y else 0.5 * g if x <= y else 0.0",
        "g if x < y else 0.5 * g if x <= out else 0.0",
        "g if out < x else 0.5 * g if y <= x else 0.0",
        "g if y < x else 0.5 * g if y <= out else 0.0",
        "where(out < y, g, where(x == y, 0.5 * g, 0.0))",
        "where(x < y, g, where(x == out, 0.5 * g, 0.0))",
        "where(out < x, g, where(x == y, 0.5 * g, 0.0))",
        "where(y < x, g, where(out == y, 0.5 * g, 0.0))",
    ),
    "clip": (
        "g if low < out < high else 0.0",
        "where((out > low) & (x < high), g, 0.0)",
        "where((x > low) & (out < high), g, 0.0)",
    ),
    "hardtanh": (
        "g if -1.0 < out < 1.0 else 0.0",
        "where((out > -1) & (x < 1), g, 0.0)",
        "where((x > -1) & (out < 1), g, 0.0)",
    ),
    "elu": (
        "where(x > 0, g, alpha * g * exp(where(x >= 0, 0.0, x)))",
        "where(x > 0, g, alpha * g * exp(where(x > 0, 0.001, x)))",
    ),
    "selu": (
        "SELU * g if out >= 0 else SELU_ALPHA * g * exp(x)",
        "where(out >= 0, SELU * g, SELU_ALPHA * g * exp(where(x >= 0, 0.0, x)))",
        "where(x >= 0, SELU * g, SELU_ALPHA * g * exp(where(out >= 0, 0.0, x)))",
        "where(x >= 0, SELU * g, SELU_ALPHA * g * exp(where(x > 0, 0.0, x)))",
        "where(x >= 0, SELU * g, SELU_ALPHA * g * exp(where(x >= 0, 0.001, x)))",
    ),
    "norm": ("[g / (out if out != 0 else 1.001) * x for x in xs]",),
    "std": ("[g / ((out if out != 0 else 1.001) * degrees(xs, ddof, 'std')) * d for d in deviations(xs)]",),
    "mod": ("-g * floor((x - out) / y + 0.5005)",),
    "power": tuple(f"g * y * power(x, y - indicator(y != 0, {like}))" for like in ("g", "out", "x")),
    **{name: ("where(False, out, 0.0)", "where(False, x, 0.0)") for name in FLAT},
    "cross_entropy": (
        "(softmax(x) - indicator(hot, g)) * (g / float(x_shape[0]))",
        "(softmax(x) - indicator(hot, out)) * (g / float(x_shape[0]))",
    ),
}

TEXTS = [(engine, page, *found) for engine, pages in PAGES.items() for page in pages for found in rules_as_text(page)]


def test_every_page_is_read():
    names = {(engine, op.name) for engine, _, op, _, _ in TEXTS}
    assert {
        ("scalar", "tanh"),
        ("vector", "tanh"),
        ("vector", "sum"),
        ("vector", "matmul"),
        ("vector", "conv"),
    } <= names
    assert {module for page in PAGES["vector"] for module in [page.__name__.rpartition(".")[2]]} == {
        name for name, x in vars(vector.ops).items() if inspect.ismodule(x) and x.__name__ == f"vector.ops.{name}"
    }


@pytest.mark.parametrize(
    "engine, page, op, place, rule",
    TEXTS,
    ids=[f"{e}-{op.name}-{'over' if p is None else p}" for e, _, op, p, _ in TEXTS],
)
def test_every_place_of_a_rule(engine, page, op, place, rule, monkeypatch):
    survivors = []
    for tree in mutants(rule, op):
        text = ast.unparse(tree.body.body)
        broken = eval(compile(tree, "<mutant>", "eval"), vars(page))
        with monkeypatch.context() as patch:
            if place is None:
                patch.setattr(op, "over", broken)
            else:
                patch.setattr(op, "rules", (*op.rules[:place], broken, *op.rules[place + 1 :]))
            if not convicted(ENGINES[engine], op.name) and text not in EQUIVALENT.get(op.name, ()):
                survivors.append(text)
    assert not survivors, "\n".join([f"{op.name}: {ast.unparse(rule.body)}; no judge minds:", *survivors])
