"""Arrays that lie one after the other are updated by one call."""

import numpy as np
import pytest
from programs import CALLS, THREE, TWO, after, by_both, made_of, moved, record, scaled, seed_step, unchanged
from recorded import OPTIMIZERS, beside_each_other, copied

import vector
from vector.compiler import passes
from vector.compiler.passes.fuse_updates import HELD
from vector.op import primitive
from vector.runtime.blas import ProductUpdate, routine
from vector.runtime.memory import side_by_side


def second_by_the_first(p, q, x, y):
    change = x * y
    moved((p, change))
    moved((q, p.data * change))


def argument_in_between(p, q, x, y):
    change = x * y
    moved((p, change))
    moved((q, x + y))


def read_in_between(p, q, x, y):
    change, other = x * y, x + y
    moved((p, change))
    old = p.data * 1.5
    moved((q, other))
    return old


def turned(p, q, r, x, y):
    moved((p, x * y), (q, x - y), (r, (x + y)[::-1]))


def turned_and_changed(p, q, r, x, y):
    first, second, third = x * y, x - y, x + y
    moved((p, first), (q, second), (r, third[::-1]))
    third += 1.0
    return third


def by_a_chain(p, q, r, s, x, y):
    change = (x + y) * 0.5
    moved((p, change), (q, change * 0.5))
    scaled((r, 0.5), (s, 0.5))


def by_what_is_copied_elsewhere(p, q, r, s, x, y):
    first, second = (x + y) * 0.5, (x - y) * 0.5
    moved((p, x * y), (q, first[::-1]))
    r.data += first
    s.data += second


def by_what_a_row_makes(p, q, r, s, x, y):
    first, second, third = (x + y) * 0.5, (x - y) * 0.5, x * y
    moved((p, first), (q, second))
    r.data += second
    s.data += third


def by_what_is_changed_first(p, q, x, y):
    change, other = x * y, x + y
    change += 1.0
    moved((p, change), (q, other))


def by_what_is_changed_afterwards(p, q, x, y):
    change, other = x * y, x + y
    moved((p, change))
    change += 1.0
    moved((q, other))
    return change


def each_is_changed_afterwards(p, q, x, y):
    for state, change in [(p, x * y), (q, x + y)]:
        np.negative(change, out=state.data)
        state.data[1:] = 0.0


def by_columns_that_are_summed(p, q, r, x, y):
    columns = r.data.T * 2.0
    moved((p, columns), (q, p.data * 0.5))
    return np.add.reduce(columns, axis=None)


def by_two_dtypes(p, q, x, y):
    single, double = (x * y).astype(np.float32), x + y
    moved((p, single), (q, double))
    return single


def where_some_are_above(p, q, x, y):
    changes, mask = (x * y, x + y), x > y
    for state, change in zip((p, q), changes, strict=True):
        np.subtract(state.data, change, out=state.data, where=mask)


@primitive
def flipped(x):
    return x[::-1].copy()


def by_columns(p, q, r, s, x, y):
    moved((p, x * y), (q, x + y))
    scaled((r, 0.5), (s, 0.5))


def parts_by_one_number(p, q, r, x, y):
    for state in (p, q):
        np.multiply(r.data, 2.0, out=state.data[1:])


def sums_into(of_p):
    """Sums written into p, or another look at it, and into q."""

    def f(p, q, x, y):
        parts = x * y, x + y, x - y, x * 2.0
        np.add(*parts[:2], out=of_p(p.data))
        np.add(*parts[2:], out=q.data)

    return f


def sums(p, q, v, w, x, y):
    for state, speed, g in [(p, v, x * y), (q, w, x + y)]:
        scaled((speed, 0.5))
        moved((speed, g), (state, speed.data * 0.1))


def by_what_is_returned(p, q, x, y):
    change, other = x * y, x + y
    moved((p, change), (q, other))
    return other, other[1:]


def by_rows_that_are_returned(p, q, x, y):
    change, other = (x * y) * 0.5, (x + y) * 0.5
    moved((p, change), (q, other))
    return change, other[1:]


def by_parts_of_one(starts):
    """Of a flat result, parts of three elements that begin there."""

    def f(p, q, x, y):
        flat = np.concatenate([x, y, x]) * 0.5
        moved(*[(state, flat[start : start + 3] * 2.0) for state, start in zip((p, q), starts, strict=True)])

    return f


LARGE = np.random.default_rng(0).normal(size=(40, 30))
JOIN = passes.fuse_updates
JOINING = {
    "two": (JOIN, by_both(lambda g: g), TWO, 1),
    "three": (JOIN, lambda p, q, r, x, y: moved((p, x * y), (q, x + y), (r, x - y)), THREE, 2),
    "other shapes": (JOIN, lambda p, q, x, y: moved((p, x * y), (q, np.add.reduce(x + y))), [np.ones(3), 2.0], 1),
    "by one number": (JOIN, lambda p, q, x, y: scaled((p, 0.5), (q, 0.5)), TWO, 1),
    "by one without axes": (JOIN, lambda p, q, r, x, y: scaled((p, r.data), (q, r.data)), [*TWO, 0.5], 1),
    "by a number and an array": (JOIN, lambda p, q, x, y: moved((p, 0.5), (q, x * y)), TWO, 0),
    "by a number and one without axes": (JOIN, lambda p, q, r, x, y: scaled((p, 0.5), (q, r.data)), [*TWO, 2.0], 0),
    "by two without axes": (JOIN, lambda p, q, r, x, y: scaled((p, r.data), (q, r.data * 2.0)), [*TWO, 2.0], 0),
    "by what is copied elsewhere": (JOIN, by_what_is_copied_elsewhere, [*TWO, *TWO], 1),
    "by what a row makes for others": (JOIN, by_what_a_row_makes, [*TWO, *TWO], 2),
    "by what is changed first": (JOIN, by_what_is_changed_first, TWO, 1),
    "by the first of them": (JOIN, lambda r, p, x, y: scaled((r, r.data), (p, r.data)), [2.0, np.ones(3)], 0),
    "by what is changed afterwards": (JOIN, by_what_is_changed_afterwards, TWO, 0),
    "each is changed afterwards": (JOIN, each_is_changed_afterwards, TWO, 0),
    "by columns that are summed": (JOIN, by_columns_that_are_summed, [*[np.ones((30, 40))] * 2, LARGE], 0),
    "by two dtypes": (JOIN, by_two_dtypes, TWO, 0),
    "where some are above": (JOIN, where_some_are_above, TWO, 0),
    "by other numbers": (JOIN, lambda p, q, x, y: scaled((p, 0.5), (q, 0.25)), TWO, 0),
    "by 0 and -0": (JOIN, lambda p, q, x, y: moved((p, 0.0), (q, -0.0)), TWO, 0),
    "by rows": (JOIN, by_both(lambda g: g * 0.5), TWO, 2),
    "by a chain, and others": (JOIN, by_a_chain, [*TWO, *TWO], 1),
    "by rows that are returned": (JOIN, by_rows_that_are_returned, TWO, 2),
    "by rows of rows": (JOIN, by_both(lambda g: g / (np.sqrt(np.absolute(g)) + 1.0)), TWO, 5),
    "by what rounds differently": (JOIN, by_both(np.exp), TWO, 1),
    "by sums, which are moved, too": (JOIN, sums, [*TWO, *TWO], 4),
    "by what is returned": (JOIN, by_what_is_returned, TWO, 1),
    "by the same": (JOIN, lambda p, q, x, y: next(moved((p, g), (q, g)) for g in [x * y]), TWO, 0),
    "by parts in a row": (JOIN, by_parts_of_one((1, 4)), [np.zeros(3), np.ones(3)], 2),
    "by parts that overlap": (JOIN, by_parts_of_one((1, 3)), [np.zeros(3), np.ones(3)], 1),
    "by parts in another order": (JOIN, by_parts_of_one((3, 0)), [np.zeros(3), np.ones(3)], 1),
    "by arguments": (JOIN, lambda p, q, x, y: moved((p, x), (q, y)), TWO, 0),
    "by a row for all rows": (JOIN, by_both(lambda g: g), [np.ones(3), np.ones((2, 3))], 0),
    "by what cannot compute into a place": (JOIN, by_both(flipped), TWO, 0),
    "by a turned one": (JOIN, turned, THREE, 1),
    "by a turned one that is changed": (JOIN, turned_and_changed, THREE, 0),
    "the second by the first": (JOIN, second_by_the_first, TWO, 0),
    "an argument in between, perhaps the first": (JOIN, argument_in_between, TWO, 0),
    "the first read in between": (JOIN, read_in_between, TWO, 0),
    "laid out by columns": (JOIN, by_columns, [*TWO, *[np.arange(6.0).reshape(2, 3).T] * 2], 1),
    "a part, by one number": (JOIN, parts_by_one_number, [*TWO, 0.5], 0),
    "written anew": (JOIN, sums_into(lambda p: p), TWO, 1),
    "written anew the other way": (JOIN, sums_into(lambda p: p[::-1]), TWO, 0),
    "in other ways": (JOIN, lambda p, q, x, y: [scaled((p, x * y)), moved((q, x + y))][0], TWO, 0),
    "with a gap": (JOIN, lambda p, q, r, x, y: moved((p, x * y), (r, x + y)), THREE, 0),
}


@pytest.mark.parametrize("name", JOINING)
def test_what_a_pass_takes_out(name):
    changes, f, tensors, gone = JOINING[name]
    changes = changes if isinstance(changes, tuple) else (changes,)
    step, _ = made_of(f, *tensors)()
    recorded = record(step, *copied(CALLS[0]))
    program = after(recorded, *changes)
    assert len(recorded) - len(program) == gone, str(program)
    if "draw" not in name:
        assert unchanged(made_of(f, *tensors), CALLS, *changes) == gone


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name not in ("grouped", "amsgrad")])
def test_a_models_parameters_are_updated_together(optimizer, exact):
    step, _, _ = seed_step(32, exact, OPTIMIZERS[optimizer])
    updates = [call.out for call in step.program.calls if call.writes and call.out.root.kind == "state"]
    products = any(isinstance(call.function, ProductUpdate) for call in step.program.statements())  # added by BLAS
    assert {out.size for out in updates} <= {1, 101_770} | ({1_418} if products else set())
    assert {"bias0_to_bias1" if products else "weight0_to_bias1"} <= {out.label for out in updates}
    assert products is (not exact and optimizer == "sgd" and routine("gemm", np.dtype("f")) is not None)


def test_updates_of_two_dtypes():
    """Each is updated with those of its own."""
    sizes = [(8, float), (8, float), (16, np.float32), (16, np.float32)]

    def make():
        tensors = [vector.Tensor(x) for x in side_by_side(np.ones(n, dtype) for n, dtype in sizes)]
        return lambda: scaled(*[(p, 0.5) for p in tensors]), tensors

    assert unchanged(make, [[]] * 3, JOIN) == 2
    made = after(record(make()[0]), JOIN)
    assert [call.out.label for call in made.calls] == ["", ""]


def test_without_labels_there_are_no_names():
    p, q = (vector.Tensor(x) for x in beside_each_other([np.ones(3), np.ones(3)]))
    made = record(lambda x: moved((p, x * 2.0), (q, x + 1.0)), np.ones(3))
    made = after(made, JOIN)
    assert [call.out.label for call in made.calls] == ["", "", ""]


def test_arguments_are_updated_one_by_one():
    """They may lie elsewhere at the next call."""
    made = record(lambda x, y: [np.multiply(x, 2.0, out=x), np.multiply(y, 2.0, out=y)], *np.ones((2, 3)))
    assert len(after(made, JOIN)) == 2


@pytest.mark.parametrize("size", [HELD // 16, HELD // 16 + 1])
def test_large_arrays_are_updated_one_by_one(size):
    """Of arrays that the cache does not hold, each call reads what it needs from memory again."""
    make = made_of(by_both(lambda g: g + np.zeros(size)), np.zeros(size), np.ones(size))
    assert (unchanged(make, [[np.ones(1), np.ones(1)]] * 2, JOIN) > 0) == (2 * size * 8 <= HELD)


def test_updates_by_ever_so_long_a_computation():
    """As a step with a loop in it has. The search for calls to join goes up from the update, but not all the way."""

    def step(p, q, x, y):
        for state, change in (p, x * y), (q, x + y):
            for _ in range(2000):
                change = change * 0.999
            state.data -= change

    assert unchanged(made_of(step, *TWO), CALLS, JOIN) > 10


def test_nothing_is_copied_for_a_row_that_is_not_joined():
    def step(p, q, x, y):
        changes = [np.exp(x * y).T * x, np.exp(x + y).T * y]
        scaled((p, 0.5), (q, 0.5))
        moved((p, changes[0]), (q, changes[1]))

    square = [np.ones((3, 3)), np.ones((3, 3))]
    assert unchanged(made_of(step, *square), [[x * i for x in square] for i in (1.0, 2.0)], JOIN) == 2


def test_a_joined_array_has_no_name_where_one_of_its_ends_has_none():
    flat = np.zeros(4)
    p, q = vector.Tensor(flat[:2]), vector.Tensor(flat[2:], "q")
    step = vector.compile(lambda: scaled((p, 0.5), (q, 0.5)))
    step()
    assert [call.out.label for call in step.program.calls] == [""]
