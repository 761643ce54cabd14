"""What threads share: which products, in which parts, and what of a program follows in each part."""

import operator
from itertools import pairwise

import numpy as np
import pytest
from orders import ORDERS, again, in_all_orders, product
from programs import after

import vector
from vector import Tensor
from vector.compiler import codegen
from vector.compiler.alias import first_element
from vector.compiler.alias import part as part_of_flat
from vector.compiler.ir import Call, Program, Var
from vector.compiler.passes import parallel
from vector.runtime import matmul
from vector.runtime import threads as workers

pytestmark = pytest.mark.usefixtures("only_replays")


@pytest.mark.parametrize(
    "shape, threads, tiles",
    [
        ((14, 56, 128, 128), 2, [(0, 6), (6, 14)]),  # it takes a while to wake the others: they get less
        ((48, 8, 784, 128), 3, [(0, 15), (15, 30), (30, 48)]),
        ((4, 900, 100, 100), 2, [(0, 2), (2, 4)]),
        ((3, 8, 10, 10), 2, [(0, 1), (1, 3)]),  # nothing would be left to the others, but they get one
        ((3, 900, 100, 100), 9, [(0, 1), (1, 2), (2, 3)]),
        ((2, 900, 100, 100), 2, [(0, 1), (1, 2)]),
    ],
)
def test_who_gets_which_tiles(shape, threads, tiles):
    call = product(*shape)
    made = parallel.boundaries(call, threads, 5, call.out.size + 7)
    each = shape[1] * shape[3]
    assert [(s.start, s.stop) for s, _ in made] == tiles
    ends = [0, *(5 + each * stop for _, stop in tiles[:-1]), call.out.size + 7]  # before and after the tiles, too
    assert [(s.start, s.stop) for _, s in made] == [*pairwise(ends)]


def by_the_first(x, y):
    """Its memory is free once the first element is read, but each thread reads it."""
    r, g = np.exp(x[:, :, :2] + 0.0), np.matmul(x, y)
    first = g * r[0:1, 0, 0]
    return Tensor(first * (g + 1.0) / (g - 2.0))


def by_the_first_row(x, y):
    """The same, with a row."""
    r, g = np.exp(x[:, :, :2] + 0.0), np.matmul(x, y)
    first = g * r[0, 0]
    return Tensor(first * (g + 1.0) / (g - 2.0))


def other_rows(x, y):
    """The second of three rows begins in the part of one thread and ends in that of the other."""
    return Tensor(np.matmul(x, y).reshape(3, 8) * np.exp(y).reshape(-1)[:8])


def argument_written_after(x, y):
    z = np.matmul(x, y)
    x *= 2.0
    return Tensor(z * 3.0)


def other_argument_written_after(x, y):
    z = np.matmul(x, y)
    y += 1.0
    return Tensor(z * 3.0)


def of_one_matrix(x, y):
    return Tensor(np.matmul(x[:1], y)), Tensor(np.matmul(x, y))


def of_integers(x, y):
    """A plain number among the followers."""
    return Tensor((np.matmul((x * 9.0).astype(int), (y * 9.0).astype(int)) * 3 - 1) * 0.5)


def padded(x, y):
    """The product is a part of another array, of which no elements are in a row for `Search`."""
    z = np.matmul(x, y)
    return Tensor(np.concatenate((z, np.zeros_like(x)[:, :, :2]), axis=0) * 2.0)


CASES = {f.__name__: f for f in (by_the_first, argument_written_after, other_argument_written_after, of_one_matrix)}
CASES |= {f.__name__: f for f in (of_integers, padded, by_the_first_row, other_rows)}


@pytest.mark.parametrize("name", CASES)
def test_cases(name, eager, monkeypatch):
    rng = np.random.default_rng(0)
    calls = [[rng.normal(size=(4, 3, 5)), rng.normal(size=(5, 2))] for _ in range(3)]
    made = in_all_orders(lambda: (CASES[name], []), calls, monkeypatch)
    assert str(made).count("2 parts") == 1 and "1 parts" not in str(made)


# What follows a product g of four matrices of 3 by 2, as text, and how many calls each thread does in parts. There are
# weights p, q and r of the same shape and w, which the product reads, and numbers s and t.
AFTER = {
    "p.data -= g": 2,
    "p.data -= g * s.data": 3,
    "p.data -= g; q.data *= 0.5; r.data += q.data": 4,
    "q.data *= 0.5; p.data -= g": 3,
    "p.data -= g; w.data += 1.0; p.data *= 0.5": 2,  # which the product reads
    "h = g * s.data; s.data += 1.0; p.data -= h": 2,  # which a thread may not have read
    "h = g * s.data; p.data -= h; s.data *= 0.5; q.data += s.data": 3,
    "h = g * p.data[0:1, 0, 0]; p.data -= h": 2,
    "h = g * p.data[0:1, 0, 0]; p.data -= g; q.data += h": 2,
    "p.data -= g; q.data *= p.data[0:1, 0, 0]": 2,
    "p.data -= g; q.data *= g[0:1, 0, 0]": 2,
    "q.data *= g[0:1, 0, 0]; p.data -= g": 1,
    "p.data -= g; p.data[0] = 0.0; q.data *= 0.5": 2,
    "q.data *= p.data; p.data[0] = 0.0; q.data += g": 2,  # read in parts, and written in another way
    "p.data -= g; h = np.add.reduce(p.data, axis=None); q.data *= h": 2,
    "h = np.add.reduce(q.data, axis=None); p.data -= g; r.data *= h": 3,
    "p.data -= g; q.data -= p.data[::-1]": 2,
    "p.data[::-1] -= g": 1,
    "p.data -= g; o.data *= 0.5; q.data *= 0.5": 2,  # o lies where a part of p and q lies
    "o.data *= 0.5; p.data -= g": 2,
    "h = np.add.reduce(o.data, axis=None); p.data -= g * h": 3,
    "p.data -= g; h = np.add.reduce(o.data, axis=None); q.data += h": 2,
    "np.subtract(p.data, g, out=p.data, where=p.data > 0.0)": 2,
    "h = x2 * 2.0; p.data -= h; q.data -= g": 2,  # both at once: g is the second half of an array
    "p.data -= g * 0.5 + v.data": 4,  # a row for all rows
    "h = np.maximum(g + v.data[None], 0.0); p.data -= h * (g > v.data)": 6,
    "p.data -= g * v.data[:1]": 3,
    "p.data -= g * v.data[None, None, :1]": 3,  # a number: `align` took its axes away
    "np.copyto(q.data, v.data[None, :1]); p.data -= g": 2,  # not there
    "p.data -= g * np.add.reduce(x2, axis=None, keepdims=True)": 3,
    "h = np.exp(v.data[None, :1]); p.data -= g; h += 1.0; q.data *= h": 3,
    "v.data += 1.0; p.data -= g + v.data": 3,
    "h = g + v.data; v.data += 1.0; p.data -= h": 2,  # which a thread may not have read
    "h = np.exp(v.data); p.data -= g + h": 3,
    "p.data -= g + v.data[None, None]": 1,
    "np.copyto(p.data, g); q.data += g": 3,
    "p.data -= np.exp(g)": 1,  # rounded as it likes
    "p.data -= x2; p.data -= g": 2,  # x2 may lie in the memory of p
    "p.data -= g; x2 *= 2.0": 2,
    "k = np.matmul(x * 2.0, w.data); p.data -= g; q.data -= k": 1,  # that of k, which comes first now
    "return g * x2 * 2.0": 1,  # x2 may lie in the memory of w
    "p.data -= g; return np.matmul(x, w.data), p.data * 2.0": 2,
}


@pytest.mark.parametrize("text", AFTER)
def test_what_follows_a_product(text, eager, monkeypatch):
    lines = [f"    {line}" for line in ["g = np.matmul(x, w.data)", *text.split("; "), "return None"]]
    rng = np.random.default_rng(0)

    def make():
        both = rng.normal(size=(8, 3, 2))
        names = {name: Tensor(x, name) for name, x in [("p", both[:4]), ("q", both[4:]), ("o", both[2:6])]}
        names |= {
            name: Tensor(np.full(shape, 0.5), name)
            for name, shape in [("r", (4, 3, 2)), ("w", (5, 2)), ("s", ()), ("v", 2)]
        }
        names["np"] = np
        exec("\n".join(["def step(x, x2):", *lines]), names)
        return names["step"], [names[name] for name in "pqrwsv"]

    calls = [[rng.normal(size=(4, 3, 5)), rng.normal(size=(4, 3, 2))] for _ in range(4)]
    made = in_all_orders(again(make, rng), calls, monkeypatch)
    first = next(call for call in made.calls if call.parts)
    assert [len(part) for part in first.parts] == [AFTER[text]] * 2, str(made)


def test_what_nothing_follows_stays_where_it_is(eager):
    q, w = Tensor(np.ones((4, 3, 2)), "q"), Tensor(np.ones((5, 2)), "w")
    step = vector.compile(lambda x: Tensor(np.exp(np.matmul(x, w.data) * np.add.reduce(q.data, axis=None) / 2.0)))
    step(np.ones((4, 3, 5)))
    made = [call.function for call in step.program.statements()]
    assert made.index(np.add.reduce) < made.index(np.matmul)  # for a follower

    @vector.compile
    def step(x):
        g, h = np.matmul(x, w.data), np.add.reduce(q.data, axis=None)
        return Tensor(np.exp(g) * h)

    step(np.ones((4, 3, 5)))
    made = [call.function for call in step.program.statements()]
    assert made.index(np.add.reduce) > made.index(np.matmul)


def test_unless_shared():
    x = np.zeros((4, 6)).T[1:5]
    assert parallel.unless_shared(x) is parallel.unless_shared(x, np.ones(3), np.ones(4)) is x
    copy = parallel.unless_shared(x, np.ones(3), x.base[:1])
    assert not np.may_share_memory(copy, x) and copy.shape == x.shape and copy.strides[0] < copy.strides[1]


def test_what_a_product_makes_of_a_joined_array(eager):
    """Elements 10 to 34 of an array: others may be made before it, or after it, until a follower reads them."""
    whole = Var("result", np.zeros(60))
    call = product(4, 3, 5, 2)

    def elements(start, end):
        return Var("view", whole.array[start:end], base=whole, view=(part_of_flat, (start, end, (end - start,)), {}))

    call = Call(call.function, call.args, {}, elements(10, 34))
    search = parallel.Search(call, first_element(call.out))
    seen = [(0, 10), (0, 11), (9, 10), (10, 11), (20, 21), (33, 34), (34, 60), (33, 60), (0, 60)]
    assert [search.is_made(elements(*x)) for x in seen] == [False, True, False, True, True, True, False, True, True]
    other = Var("view", whole.array[34:], base=whole, view=(operator.getitem, (slice(34, None),), {}))
    assert search.is_made(other)  # who knows
    assert search.goes_in_parts(Call(np.add, (whole, 1.0), {}, Var("result", np.zeros(60))))
    assert all(search.is_made(elements(*x)) for x in seen)


@pytest.mark.parametrize(
    "start, x, out, row",
    [
        (0, (2,), (12, 2), True),
        (10, (2,), (3, 10, 2), True),
        (10, (1, 2), (30, 2), True),
        (9, (2,), (30, 2), False),  # where the first tile begins is the middle of a row
        (0, (4,), (6, 4), False),  # and where it ends, perhaps
        (0, (1, 1, 2), (4, 3, 2), False),
        (0, (12, 1), (12, 2), False),
        (0, (1, 1), (24, 1), False),  # that is a number
    ],
)
def test_what_is_a_row_for_all_rows(start, x, out, row):
    search = parallel.Search(product(4, 3, 5, 2), start)
    x, out = (Var("result", np.zeros(shape)) for shape in (x, out))
    assert search.is_row(x, out) == row


def test_an_argument_in_the_memory_of_another_that_is_written(eager, monkeypatch):
    for share in ORDERS.values():
        monkeypatch.setattr(codegen, "parallel_for", share)
        step = vector.compile(lambda x, y, z: other_argument_written(x, y, z))
        for look in (np.copy, np.asarray):
            z = np.random.default_rng(0).normal(size=(4, 3, 5))
            x, y = look(z), np.ones((5, 2))
            expected = np.matmul(x, y) * 3.0
            with workers.use_threads(2):
                assert np.array_equal(step(x, y, z).data, expected)
        assert "unless_shared" in str(step.program)


def other_argument_written(x, y, z):
    product = np.matmul(x, y)
    z *= 2.0
    return Tensor(product * 3.0)


def multiplied(x, y, f=lambda v: v, kind="state"):
    """A program of one product of x, an argument, and a view of y, a state or an argument."""
    given, base = Var("input", x), Var(kind, y)
    view = base if f(y) is y else Var("view", f(y), base=base, view=(f, (), {}))
    out = Var("result", np.matmul(x, f(y)))
    return Program([Call(np.matmul, (given, view), {}, out)], [given] + [base] * (kind == "input"), out)


TERMS = {  # the shapes of both factors, how the second is looked at, how many cores, and whether each reads half of it
    "a large weight": ((4, 8, 64), (64, 32), None, 2, True),
    "no stack": ((32, 64), (64, 32), None, 2, True),
    "twice as large as the result": ((32, 64), (64, 33), None, 2, True),
    "less": ((33, 64), (64, 33), None, 2, False),
    "smaller than the other factor": ((32, 64), (64, 31), None, 2, False),
    "of more cores": ((32, 64), (64, 32), None, 3, False),
    "turned": ((32, 64), (32, 64), np.transpose, 2, False),
    "in part": ((32, 64), (65, 32), lambda y: y[1:], 2, False),
    "a stack": ((64, 1, 8), (64, 8, 64), None, 2, False),
}


@pytest.mark.parametrize("x, y, look, cores, halved", TERMS.values(), ids=TERMS)
def test_what_is_computed_in_two_terms(x, y, look, cores, halved, eager, monkeypatch):
    monkeypatch.setattr(matmul, "machine_cores", lambda: cores)
    made = multiplied(np.ones(x), np.ones(y), *[look] * bool(look))
    made = after(made, parallel.split_k)
    assert [call.function for call in made.statements()] == ([np.matmul, np.matmul, np.add] if halved else [np.matmul])


@pytest.mark.parametrize("worth, calls", [(70_000, 1), (40_000, 3), (20_000, 1)])
def test_two_terms_are_for_two_threads(worth, calls, eager, monkeypatch):
    """Of 65,536 multiply-adds, by how many of them a thread is worth its while."""
    monkeypatch.setattr(matmul, "machine_cores", lambda: 4)
    monkeypatch.setattr(matmul, "SHARED", worth)
    made = multiplied(np.ones((32, 64), np.float32), np.ones((64, 32), np.float32))
    made = after(made, parallel.split_k)
    assert len([*made.statements()]) == calls


def test_an_argument_is_not_computed_in_two_terms(eager):
    assert len(after(multiplied(np.ones((32, 64)), np.ones((64, 32)), kind="input"), parallel.split_k)) == 1


def test_two_terms_of_few_rows(eager):
    """Fewer than 32 are not worth it."""
    w = Tensor(np.ones((24, 8), np.float32), "w")
    step = vector.compile(lambda x: Tensor(x) @ w, exact=False)
    step(np.ones((2, 24), np.float32))
    assert "shared" not in str(step.program)
