"""Awkward samples of every op: shapes without axes and without elements, axes of length 1, axes in every spelling,
indices of every kind, one tensor given twice. Each comes with the same thing in numpy alone.

A sample's function takes tensors or plain arrays; so the same one serves for values, slopes and recordings.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from array_samples import of_arrays
from sampling import Sample, Shape, numbers

import vector
from vector.op import OPS

SHAPES: list[Shape] = [(), (1,), (3,), (1, 1), (2, 3), (2, 1, 3), (0,), (2, 0, 3)]
PAIRS: list[tuple[Shape, Shape]] = [
    *(((), ()), ((), (3,)), ((3,), ()), ((2, 3), (3,)), ((2, 1), (1, 3)), ((1,), (2, 3)), ((1, 1, 1), (3,))),
    *(((2, 3), (2, 3)), ((0,), (1,)), ((2, 0), (1, 1)), ((0, 3), ())),
]
FEW: list[tuple[Shape, Shape]] = [((), (3,)), ((2, 1), (1, 3)), ((2, 3), (2, 3)), ((0, 3), ())]
SIGMOID = lambda x: 1.0 / (1.0 + np.exp(-x))  # noqa: E731
LOGSUMEXP = lambda x, axis=None, keepdims=False: np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))  # noqa: E731
ERF = lambda x: np.vectorize(math.erf, [np.float64])(x)  # noqa: E731
KAPPA = 0.044715
UNARY: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("negative", "abs", "exp", "sin", "cos", "tanh", "square", "expm1", "exp2")},
    **{name: getattr(np, name) for name in ("sinh", "cosh", "arctan", "arcsinh", "sign", "floor", "ceil", "round")},
    "elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)),
    "erf": ERF,
    "erfc": lambda x: 1.0 - ERF(x),
    "gelu": lambda x: x * (1.0 + ERF(x / np.sqrt(2.0))) / 2.0,
    "gelu_tanh": lambda x: x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + KAPPA * x**3))) / 2.0,
    "hardtanh": lambda x: np.clip(x, -1.0, 1.0),
    "leaky_relu": lambda x, slope=0.01: np.where(x > 0, x, slope * x),
    "relu": lambda x: np.maximum(x, 0.0),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "sigmoid": SIGMOID,
    "silu": lambda x: x * SIGMOID(x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
}
SOME: list[Shape] = [(), (2, 3), (0,)]  # for ops whose rules do nothing that others do not
PLAIN = {"negative", "abs", "exp", "sin", "cos", "tanh", "leaky_relu", "relu", "sigmoid", "softplus"}
# The inputs of ops that not all numbers are in the domain of: where they begin, and a factor.
DOMAINS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("log", "sqrt", "log2", "log10", "log1p", "cbrt", "reciprocal"), (0.2, 1.0)),
    **dict.fromkeys(("arcsin", "arccos", "arctanh", "tan"), (-1.5, 0.5)),
    "arccosh": (1.1, 1.0),
}
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "arctan2", "hypot", "logaddexp", "mod")
REDUCED: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("sum", "max", "min")},
    "mean": lambda x, axis, keepdims: np.mean(x, axis if x.ndim else None, keepdims=keepdims),
    "logsumexp": LOGSUMEXP,
}
AXES: dict[Shape, list[Any]] = {
    (): [None, 0, -1, ()],
    (1,): [None, 0, (-1,)],
    (3,): [None, 0, -1, (0,), ()],
    (2, 3): [None, 0, 1, -1, -2, (0, 1), (-1, 0), (-2, -1), (1,), ()],
    (2, 1, 3): [None, 1, -2, (0, -1), (2, 0), (-3, 1), (1,)],
    (0, 3): [1, (-1,), ()],
    (2, 0): [()],
}
ALONG: dict[str, Callable[..., Any]] = {
    "softmax": lambda x, axis=-1: np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True),
    "log_softmax": lambda x, axis=-1: x - LOGSUMEXP(x, axis, True),
}


def elementwise() -> Iterator[Sample]:
    for name, plain in {**UNARY, **{name: getattr(np, name) for name in DOMAINS}}.items():
        low, factor = DOMAINS.get(name, (-1.5, 1.0))
        for shape in SHAPES if name in PLAIN else SOME:
            yield Sample(name, str(shape), OPS[name], plain, [x * factor for x in numbers(shape, low=low)])
    for name, pairs in [*((name, PAIRS) for name in BINARY[:6]), *((name, FEW) for name in BINARY[6:])]:
        for a, b in pairs:
            x, y = numbers(a, b)
            y = y + np.sign(y) if name == "mod" else y  # away from 0, where it jumps at every step
            yield Sample(name, f"{a} {b}", OPS[name], getattr(np, name), [x, y])
    for a, b in PAIRS:
        yield Sample("power", f"{a} {b}", OPS["power"], np.power, [numbers(a, low=0.2)[0], *numbers(b)])
    for name in (*BINARY, "power"):
        plain = getattr(np, name)
        twice = lambda x, f=OPS[name]: f(x, x)  # noqa: E731
        yield Sample(name, "of itself", twice, lambda x, f=plain: f(x, x), numbers((2, 3), low=0.2))
    for n in (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0):
        yield Sample(
            "power", f"to the {n}", lambda x, n=n: vector.power(x, n), lambda x, n=n: x**n, numbers((2, 3), low=0.2)
        )
    several = np.array([[2.0, 3.0, 0.5], [4.0, -1.0, 1.7]])
    yield Sample(
        "power", "to several", lambda x: vector.power(x, several), lambda x: x**several, numbers((2, 3), low=0.2)
    )
    yield Sample("round", "decimals", lambda x: vector.round(x, 1), lambda x: np.round(x, 1), numbers((2, 3)))
    yield Sample("elu", "alpha", lambda x: vector.elu(x, 0.25), lambda x: UNARY["elu"](x, 0.25), numbers((2, 3)))
    yield Sample(
        "leaky_relu",
        "slope",
        lambda x: vector.leaky_relu(x, -0.5),
        lambda x: UNARY["leaky_relu"](x, -0.5),
        numbers((2, 3)),
    )
    for shape in SHAPES:
        bounded = lambda x: vector.clip(x, -0.5, 0.75)  # noqa: E731
        yield Sample("clip", str(shape), bounded, lambda x: np.clip(x, -0.5, 0.75), numbers(shape))
    for name, condition in {
        "all": np.array(True),
        "row": np.array([True, False, True]),
        "column": np.array([[True], [False]]),
        "more": np.ones((2, 2, 3), bool),
    }.items():
        for a, b in [((2, 3), (2, 3)), ((), (3,)), ((2, 1), ()), ((1,), (1, 1))]:
            choose = lambda x, y, c=condition: vector.where(c, x, y)  # noqa: E731
            yield Sample("where", f"{name} {a} {b}", choose, lambda x, y, c=condition: np.where(c, x, y), numbers(a, b))
    nobody = np.zeros((0, 3), bool)
    yield Sample(
        "where",
        "nobody",
        lambda x, y: vector.where(nobody, x, y),
        lambda x, y: np.where(nobody, x, y),
        numbers((3,), ()),
    )
    for dtype, shape in itertools.product((np.float32, np.float64), SHAPES):
        yield Sample(
            "cast",
            f"{dtype.__name__} {shape}",
            lambda x, d=dtype: OPS["cast"](x, d),
            lambda x, d=dtype: x.astype(d),
            numbers(shape),
            smooth=False,
        )


def over_axes() -> Iterator[Sample]:
    for name, plain in REDUCED.items():
        for shape, axes in AXES.items():
            for axis, keepdims in itertools.product(axes, (False, True)):
                about = {"axis": axis, "keepdims": keepdims}
                yield Sample(
                    name,
                    f"{shape} {about}",
                    lambda x, k=about, f=OPS[name]: f(x, **k),
                    lambda x, k=about, f=plain: f(x, **k),
                    numbers(shape),
                )
    for shape, axis in [((0,), None), ((0,), 0), ((2, 0), 0), ((2, 0), -1), ((2, 0), (0, 1)), ((0, 3), -2)]:
        yield Sample(
            "sum",
            f"nothing {shape} {axis}",
            lambda x, a=axis: vector.sum(x, a),
            lambda x, a=axis: np.sum(x, a),
            numbers(shape),
        )
    for name, plain in ALONG.items():
        for shape, axis in [
            ((3,), 0),
            ((1,), -1),
            ((2, 3), 0),
            ((2, 3), -1),
            ((2, 3), 1),
            ((2, 1, 3), -2),
            ((2, 1, 3), -3),
            ((0, 3), 1),
        ]:
            yield Sample(
                name,
                f"{shape} {axis}",
                lambda x, a=axis, f=OPS[name]: f(x, axis=a),
                lambda x, a=axis, f=plain: f(x, axis=a),
                numbers(shape),
            )


RESHAPED: dict[Shape, list[Any]] = {
    (): [(), (1,), (1, 1), -1],
    (1,): [(), (1, 1, 1), (-1,)],
    (2, 3): [(3, 2), (6,), -1, (1, 6, 1), (2, -1), (-1, 1), (2, 3)],
    (0, 3): [(3, 0), (0,), -1, (-1, 3), (2, 0, 5)],
}
TURNED: dict[Shape, list[Any]] = {
    (): [None, ()],
    (3,): [None, (0,), (-1,)],
    (2, 3): [None, (1, 0), (-1, -2), (0, 1), (0, -1)],
    (2, 1, 3): [None, (2, 0, 1), (-1, 0, -2), (1, -1, 0), (0, 1, 2)],
    (0, 3): [None, (-1, 0)],
}
REPEATED = [
    ((), (2, 3)),
    ((), ()),
    ((1,), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (2, 3)),
    ((2, 1, 3), (4, 2, 2, 3)),
    ((1, 3), (0, 3)),
    ((1,), (0,)),
]


def of_shapes() -> Iterator[Sample]:
    for shape, new in ((shape, new) for shape, several in RESHAPED.items() for new in several):
        yield Sample(
            "reshape",
            f"{shape} {new}",
            lambda x, n=new: vector.reshape(x, n),
            lambda x, n=new: np.reshape(x, n),
            numbers(shape),
        )
    for shape, axes in ((shape, axes) for shape, several in TURNED.items() for axes in several):
        yield Sample(
            "transpose",
            f"{shape} {axes}",
            lambda x, a=axes: vector.transpose(x, a),
            lambda x, a=axes: np.transpose(x, a),
            numbers(shape),
        )
    for shape, new in REPEATED:
        yield Sample(
            "broadcast_to",
            f"{shape} {new}",
            lambda x, n=new: vector.broadcast_to(x, n),
            lambda x, n=new: np.broadcast_to(x, n),
            numbers(shape),
        )
    for axis, shapes in [
        *(
            (0, [(2, 3), (1, 3)]),
            (-1, [(2, 3), (2, 0), (2, 1)]),
            (1, [(2, 3), (2, 1)]),
            (-2, [(1, 3), (0, 3)]),
            (0, [(3,)]),
        ),
        *((None, [(2, 3), (), (0, 2), (1,)]), (0, [(0,), (0,)]), (2, [(2, 1, 3), (2, 1, 0), (2, 1, 1)])),
    ]:
        yield Sample(
            "concatenate",
            f"{axis} {shapes}",
            lambda *xs, a=axis: vector.concatenate(xs, a),
            lambda *xs, a=axis: np.concatenate(xs, a),
            numbers(*shapes),
        )
    yield Sample(
        "concatenate",
        "itself",
        lambda x: vector.concatenate([x, x, x], -1),
        lambda x: np.concatenate([x, x, x], -1),
        numbers((2, 3)),
    )
    for axis, shapes in [
        (0, [(), ()]),
        (-1, [(), ()]),
        (0, [(3,), (3,)]),
        (-1, [(3,), (3,)]),
        (-2, [(2, 3)] * 3),
        (1, [(0, 3)] * 2),
        (0, [(1,)]),
    ]:
        yield Sample(
            "stack",
            f"{axis} {shapes}",
            lambda *xs, a=axis: vector.stack(xs, a),
            lambda *xs, a=axis: np.stack(xs, a),
            numbers(*shapes),
        )


S, E, N = slice, Ellipsis, None
MASK = np.arange(12).reshape(3, 4) % 5 < 2
KEYS: dict[Shape, list[Any]] = {
    (): [(), E, N, (N, E), True, False, np.True_],
    (3, 4, 2): [
        *(0, -1, np.int64(2), np.array(1), (2, -1), (0, 1, 1), (), E, N, (N, 0, N), (E, 1), (0, E), (0, E, -1)),
        (1, N, E, 0),
        *(S(1, N), S(N, N, 2), S(N, N, -1), S(-1, 0, -2), S(2, 2), (S(N), S(1, 3), 0), (E, S(N, N, -1)), (S(5, 9), 0)),
        *([0, 2], [0, 0, 2, 0], [0, -3, 0], [[0, 1], [1, 0]], [], np.array([2, 2], np.uint8), np.zeros((0, 2), int)),
        *(([0, 0], [1, 1]), ([0, -3], [1, -3], [1, 1]), ([[0], [0]], [0, 3]), (S(N), [0, 0, 3]), (S(N), S(N), [1, -1])),
        *((S(N), (0, 0)), ((0, 0), (1, 1))),
        *(([0, 0], S(N), [1, 0]), (0, S(N), [1, 1]), ([0, 0], N, 1), (N, [2, 2], E, 0)),
        (E, [0, 0]),
        (1, [0, 0, 0], S(N, N, -1)),
        *(MASK, MASK[:, 0], (MASK[:, 0], [1, 1]), (S(N), MASK[0]), (S(N), MASK[0], [0, 0]), ~(MASK | True), True),
        np.False_,
        *((E, np.array([False, True])), (MASK[:, 1], N, S(0, 2), 1), np.ones((3, 4, 2), bool)),
    ],
    (0, 3): [S(N), (S(N), 1), (S(N), [0, 0]), [], N, np.zeros((0, 3), bool), (E, S(N, N, -1))],
    (1, 3): [(0, [0, 0]), (-1, S(N)), ([0, 0, 0],), ([0, -1], [1, 1])],
}  # fmt: skip


def shown(key: Any) -> str:
    return repr(key).replace("\n", "").replace("  ", "").replace("None, None, None", ":")


def masks(key: Any) -> bool:
    """Whether a key takes as many elements as a mask says."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(np.asarray(k).dtype == bool for k in parts if not isinstance(k, (slice, type(E), type(N), bool)))


def indexed() -> Iterator[Sample]:
    for shape, key in ((shape, key) for shape, keys in KEYS.items() for key in keys):
        yield Sample(
            "index",
            f"{shape} {shown(key)}",
            lambda x, k=key: OPS["index"](x, k),
            lambda x, k=key: x[k],
            numbers(shape),
            recordable=not masks(key),
        )
        part = numbers(shape)[0][key].shape
        yield Sample(
            "scatter",
            f"{shape} {shown(key)}",
            lambda x, k=key, s=shape: OPS["scatter"](x, k, s),
            lambda x, k=key, s=shape: scattered(x, k, s),
            numbers(part),
            recordable=not masks(key),
        )
    for shape, indices, axis in [
        *(
            ((3, 4), [2, 0, 2], 0),
            ((3, 4), (2, 0), 0),
            ((3, 4), ((0, 1), (1, 1)), 1),
            ((3, 4), [-1, 2], -2),
            ((3, 4), [[0, 0], [3, 1]], 1),
            ((3, 4), 1, -1),
            ((3,), [], 0),
        ),
        *(((3, 1, 2), [0, 0], 1), ((0, 3), [1, 1], -1), ((), [0, 0], 0), ((3, 4), np.array([1, 1], np.int32), 0)),
    ]:
        plain = lambda x, i=indices, a=axis: np.take(x, np.asarray(i, int), a)  # noqa: E731
        yield Sample(
            "take",
            f"{shape} {indices} {axis}",
            lambda x, i=indices, a=axis: vector.take(x, i, a),
            plain,
            numbers(shape),
        )


def scattered(x: np.ndarray, key: Any, shape: Shape) -> np.ndarray:
    """Element by element: each place is found by indexing the places themselves."""
    out = np.zeros(shape)
    places = np.arange(out.size).reshape(shape)[key]
    for at, value in zip(np.ravel(places).tolist(), np.ravel(x).tolist(), strict=True):
        out.flat[at] += value
    return out


PRODUCTS: list[tuple[Shape, Shape]] = [
    *(((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((1, 3), (3, 1)), ((2, 1), (1, 3)), ((1,), (1,))),
    *(((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 2)), ((5, 1, 2, 3), (4, 3, 2)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2))),
    *(((2, 0), (0, 3)), ((0, 2), (2, 3)), ((2, 3), (3, 0)), ((0,), (0,)), ((0, 2, 3), (3, 1)), ((1, 1), (1, 1))),
]


def products() -> Iterator[Sample]:
    for a, b in PRODUCTS:
        yield Sample("matmul", f"{a} {b}", vector.matmul, np.matmul, numbers(a, b))
    yield Sample("matmul", "itself", lambda x: vector.matmul(x, x), lambda x: x @ x, numbers((3, 3)))
    yield Sample("matmul", "its transpose", lambda x: vector.matmul(x, x.T), lambda x: x @ x.T, numbers((2, 3)))
    for shape in [(3,), (1,), (0,)]:
        yield Sample("dot", str(shape), vector.dot, np.dot, numbers(shape, shape))
    yield Sample("dot", "itself", lambda x: vector.dot(x, x), lambda x: x @ x, numbers((3,)))
    for (n, k), y in [
        ((2, 3), [2, 0]),
        ((1, 3), [1]),
        ((3, 1), [0, 0, 0]),
        ((1, 1), [0]),
        ((4, 3), np.array([1, 1, 1, 0], np.uint8)),
    ]:
        plain = lambda x, y=y, n=n: np.mean(LOGSUMEXP(x, 1) - x[np.arange(n), y])  # noqa: E731
        yield Sample("cross_entropy", f"{n, k} {y}", lambda x, y=y: vector.cross_entropy(x, y), plain, numbers((n, k)))
    soft = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    plain = lambda x: np.mean(LOGSUMEXP(x, 1) - (x * soft).sum(1))  # noqa: E731
    yield Sample("cross_entropy", "probabilities", lambda x: vector.cross_entropy(x, soft), plain, numbers((2, 3)))


SAMPLES = [*elementwise(), *over_axes(), *of_shapes(), *indexed(), *products(), *of_arrays()]

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda x: np.array(x),
    "by columns": lambda x: np.array(x, order="F"),
    "with gaps": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else np.repeat(x, 3)[1:2].reshape(()),
    "backwards": lambda x: np.flip(np.flip(x).copy()),
    "of another order of bytes": lambda x: x.astype(x.dtype.newbyteorder()),
    "in the middle": lambda x: np.pad(x, 1)[(slice(1, -1),) * x.ndim] if x.ndim else x,
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape) if x.size and x.ndim else x,  # by steps of no bytes
    "one number": lambda x: np.broadcast_to(x.ravel()[0], x.shape) if x.size else x,
}
