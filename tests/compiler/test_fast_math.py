"""Passes that round in another order: within a bound, and something really cheaper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import after, made_of, record, run, seed_step, unchanged
from recorded import copied, same, step_of
from strategies import part

import vector
from vector.autodiff import mode
from vector.compiler import passes


@pytest.mark.parametrize("seed", range(20))
def test_a_hoisted_scale_stays_within_the_bound(seed):
    """A step of 6-h-4 with relu from the same weights. Each element of an update is a sum of products of which each
    factor is rounded a few times more or less: as many eps times the sum of their absolute values is allowed."""
    rng = np.random.default_rng(seed)
    n, h = rng.integers(1, 9, 2)
    x, y = rng.normal(size=(n, 6)), rng.integers(0, 4, n)
    ends = []
    for exact in (True, False):
        model = vector.nn.Sequential(vector.nn.Dense(6, h, "relu", seed=seed), vector.nn.Dense(h, 4, seed=seed + 1))
        start = model.state_dict()
        step = vector.compile(step_of(model, vector.optim.SGD(model.parameters(), 0.3)), exact=exact)
        step(x, y)
        model.load_state_dict(start)
        step(x, y)
        ends.append(model.state_dict())
    w1, b1, w2, b2 = start.values()
    hidden = np.maximum(x @ w1 + b1, 0.0)
    z = hidden @ w2 + b2
    e = np.exp(z - z.max(1, keepdims=True))
    slope = np.abs(e / e.sum(1, keepdims=True) - np.eye(4)[y]) / n
    back = slope @ np.abs(w2).T * (hidden > 0)
    bounds = [np.abs(x).T @ back, back.sum(0), hidden.T @ slope, slope.sum(0)]
    for a, b, bound, old in zip(ends[0].values(), ends[1].values(), bounds, start.values(), strict=True):
        allowed = (n + 4 + 8) * 2.0**-52 * 0.3 * bound + 2.0**-52 * np.abs(old)
        assert (np.abs(a - b) <= allowed).all(), (np.abs(a - b) / allowed).max()
    assert not same(ends[0]["1.bias"], start["1.bias"])


def names(made):
    """What a program calls, and the shape of each result: `multiply 4x3`."""
    functions = [getattr(f, "__self__", f) if f.__name__ == "reduce" else f for f in (c.function for c in made.calls)]
    shapes = ["x".join(map(str, call.out.shape)) for call in made.calls]
    return [f"{f.__name__} {shape}".strip() for f, shape in zip(functions, shapes, strict=True)]


def written_between(p, x, y):
    product = x[:, :1] @ p.data
    p.data[...] = p.data + 1.0
    return product * 2.0


def written_before(p, x, y):
    p.data[...] = p.data + 1.0
    return (x[:, :1] @ p.data) * 2.0


def written_between_two(p, x, y):
    first = (x[:, :1] @ p.data) * 2.0
    p.data += 1.0
    return first, (x[:, :1] @ p.data) * 2.0


def by_a_number_that_changes(p, x, y):
    first, second = x[:, :1] @ y[:1], x[:, 1:2] @ y[1:2]
    first = first * p.data
    p.data += 1.0
    return first, second * p.data


def by_a_computed_number(x, y):
    rate = np.exp2(x[0, 0])
    return (x[:, :1] @ y[:1]) * rate


def by_a_number_computed_later(x, y):
    product = x[:, :1] @ y[:1]
    return product * np.exp2(x[0, 0])


def by_two_numbers(p, q, x, y):
    return ((x[:, :1] @ y[:1]) * p.data) * q.data


def scaled_in_place(x, y):
    product = x[:, :1] @ y[:1]
    product *= 2.0
    return product


def summed_and_scaled_in_place(x, y):
    p = np.tanh(x)
    total = 2.0 * np.add.reduce(p, axis=0)
    np.multiply(2.0, p, out=p)
    return total, p


def changed_after(x, y):
    first = x * y
    twice = first.reshape((12,)) * 2.0
    first += 1.0
    return [first, twice]


def changed_before(x, y):
    first = x * y
    first += 1.0
    return [first.reshape((12,)) * 2.0, first]


SCALE, SUMS, LARGEST = (passes.hoist_scale,), (passes.lower_to_gemm,), (passes.maximum_by_columns,)

REORDERED = {  # the passes, the step of two 4x3 matrices, the tensors it has, and what is called in the end
    "a product": (SCALE, lambda x, y: (x.T[:, :1] @ y[:1]) * 2.0, [], "multiply 3x1, matmul 3x3"),
    "a product, from the left": (SCALE, lambda x, y: 2.0 * (x.T[:, :1] @ y[:1]), [], "multiply 3x1, matmul 3x3"),
    "a product with a small right side": (SCALE, lambda x, y: (x @ y[:3, :2]) * 2.0, [], "multiply 3x2, matmul 4x2"),
    "a product as large as its operand": (SCALE, lambda x, y: (x @ y[:3]) * 2.0, [], "multiply 3x3, matmul 4x3"),
    "a product of operands of its size": (
        SCALE,
        lambda x, y: (x[:2, :2] @ y[:2, :2]) * 2.0,
        [],
        "multiply 2x2, matmul 2x2",
    ),
    "a product smaller than its operands": (SCALE, lambda x, y: (x.T @ y) * 2.0, [], "matmul 3x3, multiply 3x3"),
    "a product that is read twice": (
        SCALE,
        lambda x, y: [p * 2.0 + p for p in [x[:, :1] @ y[:1]]],
        [],
        "matmul 4x3, multiply 4x3, add 4x3",
    ),
    "a product that is returned": (
        SCALE,
        lambda x, y: [(p * 2.0, p) for p in [x[:, :1] @ y[:1]]],
        [],
        "matmul 4x3, multiply 4x3",
    ),
    "a product of what is written in between": (
        SCALE,
        written_between,
        [np.ones((1, 3))],
        "multiply 1x3, matmul 4x3, add 1x3, copyto 1x3",
    ),
    "a product of what was written before": (
        SCALE,
        written_before,
        [np.ones((1, 3))],
        "add 1x3, copyto 1x3, multiply 1x3, matmul 4x3",
    ),
    "two products of what is written in between": (
        SCALE,
        written_between_two,
        [np.ones((1, 3))],
        "multiply 1x3, matmul 4x3, add 1x3, multiply 1x3, matmul 4x3",
    ),
    "a product by a number that changes": (
        SCALE,
        by_a_number_that_changes,
        [4.0],
        "matmul 4x3, matmul 4x3, multiply 4x3, add, multiply 4x3",
    ),
    "a product by a computed number": (SCALE, by_a_computed_number, [], "getitem, exp2, multiply 1x3, matmul 4x3"),
    "a product by a number computed later": (
        SCALE,
        by_a_number_computed_later,
        [],
        "matmul 4x3, getitem, exp2, multiply 4x3",
    ),
    "a product by two numbers": (SCALE, by_two_numbers, [2.0, 4.0], "multiply, multiply 1x3, matmul 4x3"),
    "a product scaled in place": (SCALE, scaled_in_place, [], "matmul 4x3, multiply 4x3"),
    "a product to a single number": (SCALE, lambda x, y: (x[0] @ y[0]) * 2.0, [], "matmul, multiply"),
    "a product of single numbers": (
        SCALE,
        lambda x, y: (x[0] @ y[0]) * (x[1] @ y[1]) * 2.0,
        [],
        "matmul, matmul, multiply, multiply",
    ),
    "a single number times a list": (SCALE, lambda x, y: (x[0] @ y[0]) * [2.0, 4.0], [], "matmul, multiply 2"),
    "a product times an array": (SCALE, lambda x, y: (x[:, :1] @ y[:1]) * y, [], "matmul 4x3, multiply 4x3"),
    "an argument": (SCALE, lambda x, y: x * 2.0, [], "multiply 4x3"),
    "another look": (SCALE, lambda x, y: np.tanh(x).reshape((12,)) * 2.0, [], "tanh 4x3, multiply 4x3"),
    "another look at another look": (
        SCALE,
        lambda x, y: np.tanh(x).reshape((12,)).reshape((3, 4)) * 2.0,
        [],
        "tanh 4x3, multiply 4x3",
    ),
    "another look at a product": (
        SCALE,
        lambda x, y: (x[:, :1] @ y[:1]).reshape((12,)) * 2.0,
        [],
        "multiply 1x3, matmul 4x3",
    ),
    "another look at an argument": (SCALE, lambda x, y: x.reshape((12,)) * 2.0, [], "multiply 12"),
    "a look at a part": (SCALE, lambda x, y: np.tanh(x)[1:] * 2.0, [], "tanh 4x3, multiply 3x3"),
    "a look at what was changed before": (SCALE, changed_before, [], "multiply 4x3, add 4x3, multiply 12"),
    "a look at what is changed after": (SCALE, changed_after, [], "multiply 4x3, multiply 12, add 4x3"),
    "a sum": (SCALE, lambda x, y: np.add.reduce(x * y, axis=0) * 2.0, [], "multiply 4x3, add 3, multiply 3"),
    "a sum beside what it sums": (
        SCALE,
        lambda x, y: [(2.0 * p, 2.0 * np.add.reduce(p, axis=0)) for p in [np.tanh(x)]],
        [],
        "tanh 4x3, multiply 4x3, add 3",
    ),
    "a sum beside what it sums, written twice": (
        (passes.eliminate_common_subexpressions, *SCALE),
        lambda x, y: [2.0 * np.tanh(x), 2.0 * np.add.reduce(np.tanh(x), axis=0)],
        [],
        "tanh 4x3, multiply 4x3, add 3",
    ),
    "a sum beside what it sums times an array": (
        SCALE,
        lambda x, y: [(x[0] @ y[0] * p, 2.0 * np.add.reduce(p, axis=0)) for p in [np.tanh(x)]],
        [],
        "tanh 4x3, matmul, multiply 4x3, add 3, multiply 3",
    ),
    "a sum times an array beside what it sums": (
        SCALE,
        lambda x, y: [(2.0 * p, x[0] @ y[0] * np.add.reduce(p, axis=0)) for p in [np.tanh(x)]],
        [],
        "tanh 4x3, multiply 4x3, matmul, add 3, multiply 3",
    ),
    "a sum beside what it sums, in place": (
        SCALE,
        summed_and_scaled_in_place,
        [],
        "tanh 4x3, add 3, multiply 3, multiply 4x3",
    ),
    "a sum beside what it sums otherwise": (
        SCALE,
        lambda x, y: [(4.0 * p, 2.0 * np.add.reduce(p, axis=0)) for p in [np.tanh(x)]],
        [],
        "tanh 4x3, multiply 4x3, add 3, multiply 3",
    ),
    "a sum beside what is added": (
        SCALE,
        lambda x, y: [(2.0 + p, 2.0 * np.add.reduce(p, axis=0)) for p in [np.tanh(x)]],
        [],
        "tanh 4x3, add 4x3, add 3, multiply 3",
    ),
    "a product of a product": (
        SCALE,
        lambda x, y: ((x[:, :2] @ y[:2, :1]) @ y[:1]) * 2.0,
        [],
        "multiply 2x1, matmul 4x1, matmul 4x3",
    ),
    "a product of what is not linear": (
        SCALE,
        lambda x, y: [(p @ y[:1]) * 2.0 for p in [np.tanh(x[:, :1] @ y[:1, :1])]],
        [],
        "matmul 4x1, tanh 4x1, multiply 1x3, matmul 4x3",
    ),
    "a sum of some": (
        SCALE,
        lambda x, y: [(2.0 * p, 2.0 * np.add.reduce(p, axis=0, where=y > 0)) for p in [np.tanh(x)]],
        [],
        "tanh 4x3, multiply 4x3, greater 4x3, add 3, multiply 3",
    ),
    "padding": (
        (passes.fold_constants, *SCALE),
        lambda x, y: np.concatenate((np.tanh(x), np.zeros_like(x))) * 2.0,
        [],
        "tanh 4x3, multiply 4x3, concatenate 8x3",
    ),
    "padding with ones": (
        (passes.fold_constants, *SCALE),
        lambda x, y: np.concatenate((np.tanh(x), np.ones_like(x))) * 2.0,
        [],
        "tanh 4x3, concatenate 8x3, multiply 8x3",
    ),
    "padding with some ones": (
        SCALE,
        lambda x, y: np.concatenate((np.tanh(x), mode.store.constant(np.eye(3)))) * 2.0,
        [],
        "tanh 4x3, concatenate 7x3, multiply 7x3",
    ),
    "joining": (
        SCALE,
        lambda x, y: np.concatenate((np.tanh(x), y)) * 2.0,
        [],
        "tanh 4x3, concatenate 8x3, multiply 8x3",
    ),
    "joining with what is 0": (
        SCALE,
        lambda x, y: np.concatenate((np.tanh(x), x - x)) * 2.0,
        [],
        "tanh 4x3, subtract 4x3, concatenate 8x3, multiply 8x3",
    ),
    "a product scaled into a parameter": (
        SCALE,
        lambda p, x, y: np.multiply(x[:, :1] @ y[:1], 2.0, out=p.data) + 1.0,
        [np.ones((4, 3))],
        "matmul 4x3, multiply 4x3, add 4x3",
    ),
    "a product that goes elsewhere": (
        SCALE,
        lambda p, x, y: np.matmul(x[:, :1], y[:1], out=p.data) * 2.0,
        [np.ones((4, 3))],
        "matmul 4x3, multiply 4x3",
    ),
    "a product and a number": (SCALE, lambda x, y: (x[:, :1] @ y[:1]) + 2.0, [], "matmul 4x3, add 4x3"),
    "rows times columns": (SCALE, lambda x, y: (x[:, :1] * y[:1]) * 2.0, [], "multiply 1x3, multiply 4x3"),
    "rows times columns in a dtype of their own": (
        SCALE,
        lambda x, y: np.multiply(x[:, :1], y[:1], dtype=np.float64) * 2.0,
        [],
        "multiply 4x3, multiply 4x3",
    ),
    "a square": (SCALE, lambda x, y: [(p * p) * 2.0 for p in [np.tanh(x)]], [], "tanh 4x3, multiply 4x3, multiply 4x3"),
    "a masked product": (
        SCALE,
        lambda x, y: ((x[:, :1] @ y[:1]) * y) * 2.0,
        [],
        "multiply 1x3, matmul 4x3, multiply 4x3",
    ),
    "a masked product, the mask first": (
        SCALE,
        lambda x, y: (np.tanh(y) * (x[:, :1] @ y[:1])) * 2.0,
        [],
        "tanh 4x3, multiply 1x3, matmul 4x3, multiply 4x3",
    ),
    "a square of a product": (
        SCALE,
        lambda x, y: [(p * p) * 2.0 for p in [x[:, :1] @ y[:1]]],
        [],
        "matmul 4x3, multiply 4x3, multiply 4x3",
    ),
    "what is not linear of a product": (
        SCALE,
        lambda x, y: np.tanh(x[:, :1] @ y[:1]) * 2.0,
        [],
        "matmul 4x3, tanh 4x3, multiply 4x3",
    ),
    "a single element times numbers": (
        SCALE,
        lambda x, y: np.tanh(x[:1, :1]) * 4.0 * 2.0,
        [],
        "tanh 1x1, multiply 1x1, multiply 1x1",
    ),
    "factors": (SCALE, lambda x, y: (x * y) * 2.0, [], "multiply 4x3, multiply 4x3"),
    "sums": (
        SUMS,
        lambda x, y: [np.add.reduce(x, axis=a) for a in (0, 1, -1, (0,), (1,))],
        [],
        "dot 3, dot 4, dot 4, dot 3, dot 4",
    ),
    "sums that keep their axes": (
        SUMS,
        lambda x, y: [np.add.reduce(x, axis=a, keepdims=True) for a in (0, 1, None)],
        [],
        "dot 3, dot 4x1, add 1x1",
    ),
    "sums of all": (
        SUMS,
        lambda x, y: [np.add.reduce(z, axis=None) for z in (x, x * y, (x * y).T, x[:1, :1])],
        [],
        "multiply 4x3, multiply 4x3, add, dot, add, add",
    ),
    "sums of two and of one": (
        SUMS,
        lambda x, y: [np.add.reduce(x[:1, :k] * y[:1, :k], axis=None) for k in (2, 1)],
        [],
        "multiply 1x2, dot, dot 1x1",
    ),
    "sums and more": (SUMS, lambda x, y: np.add.reduce(x, axis=0, initial=2.0), [], "add 3"),
    "sums of one axis": (
        SUMS,
        lambda x, y: [np.add.reduce(x[0], axis=0), np.add.reduce(x[0], axis=None), np.add.reduce(y, axis=0)],
        [],
        "dot, dot, dot 3",
    ),
    "sums of three axes": (SUMS, lambda x, y: np.add.reduce(x.reshape((2, 2, 3)), axis=1), [], "add 2x3"),
    "sums of rows of three axes": (
        SUMS,
        lambda x, y: [np.add.reduce((x * y).reshape((2, 2, 3)), axis=-1, keepdims=keep) for keep in (True, False)],
        [],
        "multiply 4x3, dot 4x1, multiply 4x3, dot 4",
    ),
    "sums of rows that lie apart": (SUMS, lambda x, y: np.add.reduce(x.reshape((2, 2, 3)).mT, axis=2), [], "add 2x3"),
    "sums over two axes": (SUMS, lambda x, y: np.add.reduce(x, axis=(0, 1)), [], "add"),
    "sums of some": (SUMS, lambda x, y: np.add.reduce(x, axis=0, where=y > 0), [], "greater 4x3, add 3"),
    "how many": (SUMS, lambda x, y: np.add.reduce(x > 0, axis=0), [], "greater 4x3, add 3"),
    "largest": (SUMS, lambda x, y: np.maximum.reduce(x, axis=0), [], "maximum 3"),
    "the largest of many short rows": (
        LARGEST,
        lambda p, x, y: [np.maximum.reduce(p.data * 2.0, axis=a, keepdims=k) for a, k in ((-1, True), (1, False))],
        [np.arange(192.0).reshape(64, 3)],
        "multiply 64x3, copyto 3x64, maximum 64, multiply 64x3, copyto 3x64, maximum 64",
    ),
    "the largest of many short rows of three axes": (
        LARGEST,
        lambda p, x, y: np.maximum.reduce(p.data * 2.0, axis=-1, keepdims=True),
        [np.arange(192.0).reshape(2, 32, 3)],
        "multiply 2x32x3, copyto 3x64, maximum 64",
    ),
    "the largest of few rows, of long ones, and of none of its own": (
        LARGEST,
        lambda p, q, x, y: [
            np.maximum.reduce(x * y, axis=1),
            np.maximum.reduce(q.data * 2.0, axis=1),
            np.maximum.reduce(p.data, axis=1),
            np.maximum.reduce(p.data * 2.0, axis=1, initial=0.0),
        ],
        [np.ones((64, 3)), np.ones((64, 33))],
        "multiply 4x3, maximum 4, multiply 64x33, maximum 64, maximum 64, multiply 64x3, maximum 64",
    ),
    "small products": (SUMS, lambda x, y: [x.T @ y, x[:, :1] * y[:1]], [], "dot 3x3, dot 4x3"),
    "products in a dtype of their own": (
        (*SCALE, *SUMS),
        lambda x, y: [f(x[:, :1], y[:1], dtype=np.float64) * 2.0 for f in (np.matmul, np.multiply)],
        [],
        "matmul 4x3, multiply 4x3, multiply 4x3, multiply 4x3",
    ),
    "sums that go into every second place": (
        SUMS,
        lambda p, x, y: np.add.reduce(x, axis=0, out=p.data[::2]) * 1.0,
        [np.ones(6)],
        "add 3, multiply 3",
    ),
    "products of three axes": (SUMS, lambda x, y: x.reshape((2, 2, 3)) @ y[:3], [], "matmul 2x2x3"),
    "products with a vector": (SUMS, lambda x, y: x @ y[0], [], "matmul 4"),
    "factors are no products": (
        SUMS,
        lambda x, y: [x * y, x[:, :1] * y, x * y[:1]],
        [],
        "multiply 4x3, multiply 4x3, multiply 4x3",
    ),
    "the largest product by np.dot": (
        SUMS,
        lambda p, q, x, y: [p.data @ q.data[:, :32], p.data @ q.data],
        [np.ones((64, 2)), np.ones((2, 33))],
        "dot 64x32, matmul 64x33",
    ),
}


@pytest.mark.parametrize("name", REORDERED)
def test_what_a_pass_that_reorders_makes(name):
    """Of powers of two, which no sum or product here rounds: whatever the order, the results have the same bits."""
    changes, f, tensors, expected = REORDERED[name]
    rng = np.random.default_rng(0)
    calls = [[2.0 ** rng.integers(0, 4, (4, 3)) for _ in "xy"] for _ in range(3)]
    step, _ = made_of(f, *tensors)()
    made = after(record(step, *copied(calls[0])), *changes)
    assert ", ".join(names(made)) == expected
    unchanged(made_of(f, *tensors), calls, *changes)


WHAT = ("scale", "scale", "scale", "product", "product", "sum", "times", "plus", "turned", "part", "padded", "joined")
WHAT += ("number", "updated", "in place", "column")


def interpreted(lines):
    """A maker of a step on 4 by 4 arrays of whole numbers, and some batches: a line is what to do and with which of the
    arrays and numbers that there are. Nothing is rounded: scales are powers of two, other numbers stay small."""

    def make():
        own = [vector.Tensor(np.arange(16.0).reshape(4, 4) % 3 + i, f"p{i}") for i in range(2)]
        rates = [vector.Tensor(x, f"s{x}") for x in (2.0, 0.5)]

        def step(x, y):
            arrays, numbers = [x, y, *(p.data for p in own)], [4.0, *(r.data for r in rates)]
            for what, i, j, k in lines:
                a, b, s = arrays[-1 - i % len(arrays)], arrays[j % len(arrays)], numbers[k % len(numbers)]
                if what == "scale":
                    arrays.append(a * s if k % 2 else s * a)
                elif what == "product":
                    arrays.append(np.matmul(a, b))
                elif what == "sum":
                    arrays.append(np.add.reduce(a, axis=0, keepdims=True) * np.ones((4, 1)))
                elif what == "times":
                    arrays.append(a * b)
                elif what == "plus":
                    arrays.append(a + b)
                elif what == "turned":
                    arrays.append(a.T)
                elif what == "part":
                    arrays.append(np.concatenate([(a[1:] * s), b[:1]]))
                elif what == "padded":
                    arrays.append(np.concatenate([a, np.zeros_like(a)])[2:6])
                elif what == "joined":
                    arrays.append(np.concatenate([a[:2], b[2:]]))
                elif what == "number":
                    numbers.append(s * 2.0)
                elif what == "updated":
                    (rates[k % 2] if k % 3 else own[k % 2]).data[...] *= 2.0
                elif what == "in place":
                    np.multiply(a, s, out=a)
                else:
                    arrays.append(np.matmul(a[:, :1], b[:1]) * s)
                if i % 5 == 0:  # another reader
                    arrays.append(arrays[-1] + 1.0)
            return arrays[-3:]

        return step, [*own, *rates]

    rng = np.random.default_rng(0)
    return make, [[rng.integers(0, 2, (4, 4)).astype(float) for _ in "xy"] for _ in range(3)]


@pytest.mark.parametrize(
    "changes",
    [SCALE, (passes.eliminate_common_subexpressions, *SCALE), (*SCALE, *SUMS)],
    ids=["alone", "after", "before"],
)
@part(2)
@given(lines=st.lists(st.tuples(st.sampled_from(WHAT), *[st.integers(0, 11)] * 3), min_size=2, max_size=9))
def test_scales_in_any_program(changes, lines):
    with np.errstate(all="ignore"):
        unchanged(*interpreted(lines), *changes)


def matrices(x, y):
    """Sums over both axes and over all, means, the largest of each row, products: what the passes look for."""
    x, y = vector.Tensor(x), vector.Tensor(y)
    sums = [vector.sum(x * y, axis=axis, keepdims=keep) for axis in (0, 1, None) for keep in (False, True)]
    plain = [np.add.reduce((x * y).data, *axis) for axis in [(), (0,), (1,), (None,)]]  # as numpy lets one write it
    return [*sums, *plain, vector.mean(x * y), vector.max(x * y, axis=-1), (x * y).mT @ y, (x * y)[:, :1] @ y[:1]]


@part(2)
@given(n=st.integers(1, 40), k=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_products_instead_of_sums_stay_within_the_bound(n, k, seed):
    """Every result is a sum of at most n k products; in another order it moves by at most n k + 2 roundings of the sum
    of their absolute values."""
    rng = np.random.default_rng(seed)
    calls = [[rng.normal(size=(n, k)) for _ in "xy"] for _ in range(3)]
    expected, _, _ = run(made_of(matrices), calls)
    sizes, _, _ = run(made_of(matrices), [[np.abs(x) for x in args] for args in calls])
    got, _, _ = run(made_of(matrices), calls, passes.lower_to_gemm)
    for a, b, size in zip(expected, got, sizes, strict=True):
        assert a.shape == b.shape and (np.abs(a - b) <= (n * k + 2) * 2.0**-52 * size).all()


def test_what_becomes_a_product():
    step, _ = made_of(matrices)()
    recorded = record(step, np.ones((20, 3)), np.ones((20, 3)))
    assert not any(call.function is np.dot for call in recorded.calls)
    program = after(recorded, passes.lower_to_gemm)
    assert sum(call.function is np.dot for call in program.calls) == 12  # ten sums and two products


def changed_between(x, y):
    total = np.add.reduce(x, axis=0)
    total[0:1] = 5.0
    return total / 3.0


AS_EAGER = {  # what passes that round in another order must leave as it is
    "a square of a matrix": lambda x, y: 0.5 * (vector.Tensor(x) @ vector.Tensor(x)),
    "the same matrix twice": lambda x, y: 0.5 * ((lambda w: w @ w)(vector.Tensor(x) * 2.0)),
    "the mean of an argument": lambda x, y: vector.mean(vector.Tensor(x)),
    "the sum of a row": lambda x, y: vector.sum(vector.Tensor(x)[:1] * 2.0),
    "a sum that is changed": lambda x, y: vector.Tensor(changed_between(x, y)),
    "two numbers, two dtypes": lambda x, y: vector.Tensor(x.astype(np.float32)) * 0.5 * 0.25,
    "two dtypes": lambda x, y: vector.Tensor(0.1) * (vector.Tensor(x.astype(np.float32)) @ y.astype(np.float32)),
}


@pytest.mark.parametrize("name", AS_EAGER)
def test_recorded_with_another_rounding(name):
    rng = np.random.default_rng(0)
    f = AS_EAGER[name]
    step = vector.compile(f, exact=False)
    for _ in range(3):
        x, y = rng.normal(size=(2, 3, 3))
        eager, recorded = f(x, y).data, step(x, y).data
        assert eager.dtype == recorded.dtype and np.allclose(eager, recorded, rtol=1e-5 if "dtypes" in name else 1e-13)
    assert step.traces == 1


def test_the_learning_rate_goes_to_the_smallest_gradient():
    step, _, _ = seed_step(32, exact=False)
    rate = [call for call in step.program.calls if any(v.label == "lr" for v in call.reads)]
    assert [call.out.size for call in rate] == [1]
    plain, _, _ = seed_step(32, exact=True)
    rate = [call for call in plain.program.calls if any(v.label == "lr" for v in call.reads)]
    assert [call.out.size for call in rate] == [101_770]
