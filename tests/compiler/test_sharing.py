"""Programs cut for several threads: the same bits in whatever order the threads do their parts."""

import gc
import operator
import signal
import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import OPTIMIZERS, always, compare, same, tensors_of
from strategies import part

import vector
from vector import Tensor, nn
from vector.compiler import ir as program
from vector.compiler.passes import fuse_updates as joining
from vector.compiler.passes import parallel as sharing
from vector.runtime import matmul
from vector.runtime import threads as workers


@pytest.fixture
def eager(monkeypatch):
    """Products of any size are worth sharing, and shared where there are threads."""
    monkeypatch.setattr(workers.Experience, "advice", always)
    monkeypatch.setattr(matmul, "SHARED", 1)
    monkeypatch.setattr(matmul, "WAKE", 0)
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)


def one_after_the_other(backwards):
    """In place of `share`: no threads, and the caller's part after the others, or before. What must not be done at one
    time gives other results in one of the two orders."""

    def share(part, count, helpers, *args):
        for i in sorted(range(count), reverse=backwards):
            part(i, *args)

    return share


ORDERS = {
    "caller first": one_after_the_other(True),
    "helpers first": one_after_the_other(False),
    "at once": workers.share,
}


def in_all_orders(make, calls, monkeypatch, **options):
    """Compare the recorded step with the Python step, in each order. Returns the last one's program."""
    step = None
    for share in ORDERS.values():
        monkeypatch.setattr(program, "share", share)
        with workers.use_threads(2), np.errstate(all="ignore"):
            step = compare(make, calls, **options)
    return step.program


FUNCTIONS = (np.add, np.subtract, np.multiply, np.maximum)
WHAT = (
    "product",
    "product of parts",
    "new",
    "in place",
    "by a number",
    "by one of",
    "by a row",
    "number",
    "turned",
    "part",
)
WHAT += ("copied", "compared", "there")


def interpreted(lines):
    """A maker of a step on 6 by 6 arrays, all of which a thread may do in parts, and some batches: a line is what to do
    and with which of the arrays that there are."""

    def make():
        rng = np.random.default_rng(0)
        own = [Tensor(rng.normal(size=(6, 6)), f"p{i}") for i in range(3)]

        def step(x, y):
            arrays, numbers = [x, y, *(p.data for p in own)], [np.add.reduce(y, axis=None)]
            for what, i, j, k in lines:
                a, b, number = arrays[i % len(arrays)], arrays[j % len(arrays)], numbers[k % len(numbers)]
                f = FUNCTIONS[k % len(FUNCTIONS)]
                if what == "product":
                    arrays.append(np.matmul(a.reshape(3, 2, 6), b).reshape(6, 6) / 6.0)
                elif what == "product of parts":
                    arrays.append(np.matmul(a.reshape(6, 2, 3), b.reshape(6, 3, 2)[:, :, :]).reshape(-1)[:24] * number)
                    arrays[-1] = np.concatenate([arrays[-1], arrays[-1][:12]]).reshape(6, 6)
                elif what == "new":
                    arrays.append(f(a, b))
                elif what == "in place":
                    f(a, b, out=a)
                elif what == "by a number":
                    arrays.append(f(a, number) * 0.5)
                elif what == "by one of":
                    one = b[k % 6 : k % 6 + 1, j % 6]
                    arrays.append(f(a, one[:, None] if i % 2 else one))
                elif what == "by a row":
                    arrays.append(f(a, b[k % 6]))
                elif what == "number":
                    numbers.append(a[i % 6, j % 6])
                elif what == "turned":
                    arrays.append(a.T)
                elif what == "part":
                    a[i % 5 :] += 0.5
                elif what == "copied":
                    np.copyto(a, b)
                elif what == "compared":
                    arrays.append(a * (a > b))
                else:
                    f(a, b, out=arrays[k % len(arrays)])
            return arrays[-2:]

        return step, own

    rng = np.random.default_rng(1)
    return make, [[rng.normal(size=(6, 6)), rng.normal(size=(6, 6))] for _ in range(3)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cores", [2, 3])
@part(2)
@given(lines=st.lists(st.tuples(st.sampled_from(WHAT), *[st.integers(0, 11)] * 3), min_size=2, max_size=12))
def test_programs(order, cores, lines):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(matmul, "machine_cores", lambda: cores)
        monkeypatch.setattr(matmul, "SHARED", 1)
        monkeypatch.setattr(workers.Experience, "advice", always)
        monkeypatch.setattr(matmul, "WAKE", 0)
        monkeypatch.setattr(program, "share", ORDERS[order])
        with workers.use_threads(cores), np.errstate(all="ignore"):
            compare(*interpreted(lines))


def training(optimizer, dtype=np.float32, sizes=(40, 40, 20, 10), n=40):
    """A maker of a step that trains a network of three layers, and some batches."""

    def make():
        layers = [nn.Dense(a, b, "relu", seed=a, dtype=dtype) for a, b in pairwise(sizes)]
        model = nn.Sequential(*layers)
        update = OPTIMIZERS[optimizer](model.parameters())
        return model.train_step(update, vector.cross_entropy), [*model.parameters(), *tensors_of(update)]

    rng = np.random.default_rng(0)
    return make, [[rng.random((n, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], n)] for _ in range(6)]


@pytest.mark.parametrize("cores", [2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_networks(optimizer, dtype, cores, eager, monkeypatch):
    monkeypatch.setattr(matmul, "machine_cores", lambda: cores)
    made = in_all_orders(*training(optimizer, dtype), monkeypatch)
    assert len({id(call.region) for call in made.calls if call.region}) >= 6  # as many products, and their followers
    followers = [call for call in made.calls if call.region and call.function is not np.matmul]
    assert any(call.writes and call.out.root.kind == "state" for call in followers)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_in_two_terms(optimizer, eager, monkeypatch):
    """Rounded otherwise, but the same by any number of threads in any order."""
    results = []
    for share in (*ORDERS.values(), workers.share):
        monkeypatch.setattr(program, "share", share)
        with workers.use_threads(1 if len(results) == 3 else 2):
            make, calls = training(optimizer, sizes=(80, 16, 16, 4), n=16)
            step, state = make()
            step = vector.compile(step, exact=False)
            results.append([step(*args)[0].item() for args in calls] + [np.array(p.data) for p in state])
    assert all(same(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
    terms = [call for call in step.program.calls if isinstance(call.region, sharing.Terms)]
    assert [call.args[1].shape for call in terms] == [(32, 16), (48, 16)], str(step.program)


def test_how_a_step_is_cut(monkeypatch):
    """Of a gradient's 14 tiles, with 128 images, the worker computes six, and updates as many rows of the weight."""
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)
    monkeypatch.setattr(matmul, "small_products_at_once", lambda: True)
    make, calls = training("sgd", sizes=(784, 128, 10), n=128)
    step, _ = make()
    step = vector.compile(step, exact=False)
    step(*calls[0])
    own, first, second = str(step.program).split("\n\n")
    assert [text.count("np.matmul") for text in (own, first, second)] == [1, 1, 1]
    smaller, larger = (call for call in step.program.calls if isinstance(call.region, sharing.Terms))
    assert (smaller.args[1].shape, larger.args[1].shape) == ((352, 128), (432, 128))
    assert own.count("2 parts") == 2 and own.count("helpers = experience.helpers()") == 1
    assert first.count("[i]") == 3 and second.count("[i]") == 5
    about = [line.split("# ")[1] for line in second.splitlines()[1:]]
    assert about == ["6x56x128 float32 or 8x56x128 float32", "43008 float32 or 58762 float32"]


def moved_by_a_product(p, x, y):
    """p -= x @ y, which threads share, and the half of p that it returns."""
    p.data -= np.matmul(x.reshape(6, 2, 6), y).reshape(12, 6)
    return p * 0.5


OWN = {"the array": lambda a: a, "upside down": lambda a: a[::-1], "another": lambda a: np.ones_like(a)}


@pytest.mark.parametrize("order", ORDERS)
def test_an_argument_in_the_memory_of_a_weight(order, eager, monkeypatch):
    """The product reads it as it was, though other threads write to the weight by then."""
    monkeypatch.setattr(program, "share", ORDERS[order])
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(6, 6)), Tensor(rng.normal(size=(12, 6)), "p")
    step = vector.compile(lambda x, y: moved_by_a_product(p, x, y))
    with workers.use_threads(2):
        for name in ["another", *OWN, *OWN]:
            x = OWN[name](p.data)
            expected = p.data - np.matmul(x.reshape(6, 2, 6), y).reshape(12, 6)
            step(x, y)
            assert np.array_equal(p.data, expected), name
    assert "apart = unless_shared(x_2, p)" in str(step.program)
    assert step.traces == 2  # its strides are others upside down


def test_an_argument_that_nothing_is_written_beside_is_not_looked_at(eager):
    step = vector.compile(lambda x, y: Tensor(np.matmul(x.reshape(6, 2, 6), y) * 0.5))
    step(np.ones((12, 6)), np.ones((6, 6)))
    assert "share(part" in str(step.program) and "unless_shared" not in str(step.program)


@pytest.mark.parametrize("threads", range(1, 7))
@pytest.mark.parametrize("cores", [2, 3, 4, 5])
def test_fewer_threads_than_parts(threads, cores, eager, monkeypatch):
    """Each part is done by one thread, by no more threads than there may be."""
    monkeypatch.setattr(matmul, "machine_cores", lambda: cores)
    given = []
    monkeypatch.setattr(workers.Worker, "give", lambda self, task: given.append(self) or task[0](*task[1:]))
    p = Tensor(np.ones((12, 6)), "p")
    step = vector.compile(lambda x, y: moved_by_a_product(p, x, y))
    x, y = np.random.default_rng(0).normal(size=(12, 6)), np.eye(6) * 0.5
    with workers.use_threads(threads):
        step(x, y)
        del given[:]
        step(x, y)
    assert np.array_equal(p.data, 1.0 - 0.5 * x - 0.5 * x)
    assert len({*given}) == len(given) == min(threads, cores) - 1


def test_the_first_of_a_step_asks_for_advice(eager, monkeypatch):
    """So that all of a step is done by the same threads."""
    asked = []
    monkeypatch.setattr(workers.Experience, "advice", lambda self: asked.append(self) or always(self))
    make, calls = training("sgd")
    step = vector.compile(make()[0])
    with workers.use_threads(2):
        for args in calls:
            step(*args)
    assert asked == [step.latest.run.__globals__["experience"]] * (len(calls) - 1)
    before = len(asked)
    step(*calls[0])  # one thread: nobody is asked
    assert len(asked) == before


def test_what_advice_says_is_done(eager, monkeypatch):
    given, advice = [], iter([False, True, True, False])
    monkeypatch.setattr(workers.Experience, "advice", lambda self: next(advice))
    monkeypatch.setattr(workers.Worker, "give", lambda self, task: given.append(self))
    make, calls = training("sgd")
    step = vector.compile(make()[0])
    step(*calls[0])
    seen = []
    with workers.use_threads(2):
        for args in calls[:4]:
            step(*args)
            seen.append(len(given))
    regions = str(step.program).count("share(part")
    assert seen == [0, regions, 2 * regions, 2 * regions]


def test_a_step_while_the_team_has_something_to_do_is_done_alone(eager):
    make, calls = training("sgd")
    step, state = make()
    step = vector.compile(step)
    other, expected = make()
    with workers.use_threads(2):
        for args in calls:
            with workers.turn:
                step(*args)
            other(*args)
    assert all(np.array_equal(a.data, b.data) for a, b in zip(state, expected, strict=True))


def test_an_error_in_a_part_is_raised(eager):
    """Whoever comes to it, and the team is free afterwards."""
    p = Tensor(np.ones((12, 6)), "p")
    step = vector.compile(lambda x, y: moved_by_a_product(p, x, y))
    y = np.eye(6)
    step(np.ones((12, 6)), y)
    for row in (0, 11):
        x = np.ones((12, 6))
        x[row] = 1e308
        for threads in (1, 2):
            p.data[...] = -1e308
            with workers.use_threads(threads), np.errstate(over="raise"), pytest.raises(FloatingPointError):
                step(x, y)
            assert not workers.turn.locked()
            p.data[...] = 1.0
            with workers.use_threads(threads):
                step(np.ones((12, 6)), y)
            assert np.array_equal(p.data, np.zeros((12, 6)))


def test_a_program_is_let_go_with_its_step(eager):
    """Nothing in it holds itself, which only the collector of circles would find."""
    make, calls = training("sgd")
    step = vector.compile(make()[0])
    with workers.use_threads(2):
        step(*calls[0])
        step(*calls[1])
    parts = [x for name, x in step.latest.run.__globals__.items() if name.startswith("part") and callable(x)]
    seen = [*map(weakref.ref, [step.latest, *parts])]
    del parts
    gc.disable()
    try:
        del step
        assert len(seen) > 2 and not any(look() for look in seen)
    finally:
        gc.enable()


def product(*shape):
    """A call that multiplies (t, n, k) by (k, m), of zeros."""
    t, n, k, m = shape
    x, y, out = (program.Var("state", np.zeros(shape, np.float32)) for shape in [(t, n, k), (k, m), (t, n, m)])
    return program.Call(np.matmul, (x, y), {}, out)


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
    made = sharing.Tiles(call, threads, 5, call.out.size + 7)
    each = shape[1] * shape[3]
    assert [(s.start, s.stop) for s in made.tiles] == tiles
    ends = [0, *(5 + each * stop for _, stop in tiles[:-1]), call.out.size + 7]  # before and after the tiles, too
    assert [(s.start, s.stop) for s in made.elements] == [*pairwise(ends)]


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
    first = next(i for i, call in enumerate(made.calls) if call.region)
    region = [call for call in made.calls if call.region is made.calls[first].region]
    assert region == made.calls[first : first + len(region)]
    assert len(region) == AFTER[text], str(made)


def test_what_nothing_follows_stays_where_it_is(eager):
    q, w = Tensor(np.ones((4, 3, 2)), "q"), Tensor(np.ones((5, 2)), "w")
    step = vector.compile(lambda x: Tensor(np.exp(np.matmul(x, w.data) * np.add.reduce(q.data, axis=None) / 2.0)))
    step(np.ones((4, 3, 5)))
    made = [call.function for call in step.program.calls]
    assert made.index(np.add.reduce) < made.index(np.matmul)  # for a follower

    @vector.compile
    def step(x):
        g, h = np.matmul(x, w.data), np.add.reduce(q.data, axis=None)
        return Tensor(np.exp(g) * h)

    step(np.ones((4, 3, 5)))
    made = [call.function for call in step.program.calls]
    assert made.index(np.add.reduce) > made.index(np.matmul)


def again(make, rng):
    """A maker that begins with the same random numbers each time."""
    state = rng.bit_generator.state

    def made():
        rng.bit_generator.state = state
        return make()

    return made


def test_unless_shared():
    x = np.zeros((4, 6)).T[1:5]
    assert sharing.unless_shared(x) is sharing.unless_shared(x, np.ones(3), np.ones(4)) is x
    copy = sharing.unless_shared(x, np.ones(3), x.base[:1])
    assert not np.may_share_memory(copy, x) and copy.shape == x.shape and copy.strides[0] < copy.strides[1]


def test_what_a_product_makes_of_a_joined_array(eager):
    """Elements 10 to 34 of an array: others may be made before it, or after it, until a follower reads them."""
    whole = program.Var("result", np.zeros(60))
    call = product(4, 3, 5, 2)

    def elements(start, end):
        return program.Var(
            "view", whole.array[start:end], base=whole, view=(joining.part, (start, end, (end - start,)), {})
        )

    call.out = elements(10, 34)
    search = sharing.Search(call, sharing.first_element(call.out))
    seen = [(0, 10), (0, 11), (9, 10), (10, 11), (20, 21), (33, 34), (34, 60), (33, 60), (0, 60)]
    assert [search.is_made(elements(*x)) for x in seen] == [False, True, False, True, True, True, False, True, True]
    other = program.Var("view", whole.array[34:], base=whole, view=(operator.getitem, (slice(34, None),), {}))
    assert search.is_made(other)  # who knows
    assert search.goes_in_parts(program.Call(np.add, (whole, 1.0), {}, program.Var("result", np.zeros(60))))
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
    search = sharing.Search(product(4, 3, 5, 2), start)
    x, out = (program.Var("result", np.zeros(shape)) for shape in (x, out))
    assert search.is_row(x, out) == row


def test_an_argument_in_the_memory_of_another_that_is_written(eager, monkeypatch):
    for share in ORDERS.values():
        monkeypatch.setattr(program, "share", share)
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


def multiplied(x, y, f=lambda v: v):
    """A program of one product of x, an argument, and another look at y, a state."""
    state = program.Var("state", y)
    look = state if f(y) is y else program.Var("view", f(y), base=state, view=(f, (), {}))
    out = program.Var("result", np.matmul(x, f(y)))
    return program.Program([program.Call(np.matmul, (program.Var("input", x), look), {}, out)], [], out)


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
    sharing.in_two_terms(made)
    assert [call.function for call in made.calls] == ([np.matmul, np.matmul, np.add] if halved else [np.matmul])


@pytest.mark.parametrize("worth, calls", [(70_000, 1), (40_000, 3), (20_000, 1)])
def test_two_terms_are_for_two_threads(worth, calls, eager, monkeypatch):
    """Of 65,536 multiply-adds, by how many of them a thread is worth its while."""
    monkeypatch.setattr(matmul, "machine_cores", lambda: 4)
    monkeypatch.setattr(matmul, "SHARED", worth)
    made = multiplied(np.ones((32, 64), np.float32), np.ones((64, 32), np.float32))
    sharing.in_two_terms(made)
    assert len(made) == calls


def test_an_argument_is_not_computed_in_two_terms(eager):
    made = multiplied(np.ones((32, 64)), np.ones((64, 32)))
    made.calls[0].args[1].kind = "input"
    sharing.in_two_terms(made)
    assert len(made) == 1


def test_two_terms_of_few_rows(eager):
    """Fewer than 32 are not worth it."""
    w = Tensor(np.ones((24, 8), np.float32), "w")
    step = vector.compile(lambda x: Tensor(x) @ w, exact=False)
    step(np.ones((2, 24), np.float32))
    assert "shared" not in str(step.program)


def test_large_products_that_come_in_between_are_cut_too(monkeypatch):
    """What updates a weight begins with its gradient, before which the gradients of the layers below are computed."""
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)
    make, calls = training("adam", sizes=(300, 256, 256, 10), n=256)
    step = vector.compile(make()[0])
    step(*calls[0])
    large = [call for call in step.program.calls if sharing.may_be_shared(call)]
    assert len(large) == 5 and all(call.region for call in large)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer")
def test_an_interrupt_lets_go_of_the_team(eager):
    """Whenever it comes."""

    class Stop(Exception):
        pass

    def stop(*args):
        raise Stop

    make, calls = training("sgd")
    step = vector.compile(make()[0])
    step(*calls[0])
    before, stopped = signal.signal(signal.SIGALRM, stop), 0
    try:
        with workers.use_threads(2):
            for i in range(2000):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-6 + 1e-6 * (i % 500))
                    step(*calls[0])
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Stop:
                    stopped += 1
                assert not workers.turn.locked()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stopped > 100
