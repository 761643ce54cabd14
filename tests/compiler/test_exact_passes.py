"""Each pass by itself: the same results to the last bit, and something really gone."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import CALLS, after, made_of, record, unchanged
from recorded import copied, graph, same, steps
from strategies import part

import vector
from vector.autodiff import mode
from vector.compiler import passes
from vector.compiler.codegen import build
from vector.random import uniform as random

*ONE_BY_ONE, LAST = [
    stage.run for stage in passes.PIPELINE if stage.exact
]  # the last makes what others do not look into


@pytest.mark.parametrize("change", [*ONE_BY_ONE, LAST], ids=lambda f: f.__name__)
@part(2)
@given(lines=steps())
def test_each_pass_keeps_every_bit(change, lines):
    assert unchanged(*graph(lines), change) >= 0


@part(2)
@given(lines=steps(), order=st.permutations(ONE_BY_ONE), twice=st.lists(st.sampled_from(ONE_BY_ONE), max_size=3))
def test_passes_in_any_order_keep_every_bit(lines, order, twice):
    assert unchanged(*graph(lines), *order, *twice, LAST) >= 0


def test_the_last_pass():
    assert LAST is passes.parallelize is passes.PIPELINE[-1].run  # others look for np.matmul


# --- programs by hand, and what a pass takes out of them --------------------------------------------------------------


def update(p, x, y):
    p.data = p.data - x * y
    return None


def update_read_again(p, x, y):
    old = vector.Tensor(p.data) * 1.5
    p.data = p.data - x * y
    return old, p


def rewritten(p, x, y):
    first = vector.Tensor(x) * p
    p.data += 1.0
    return first, vector.Tensor(x) * p


def argument_that_may_be_written(p, x, y):
    first = x * 2.0
    p.data += 1.0
    return first, x * 2.0


def draw(rng):
    def f(x, y):
        random(rng, (3,))
        return vector.Tensor(x) * random(rng, (3,))

    return f


def constants(x, y):
    known = mode.store.constant(np.arange(3.0))
    return vector.Tensor(x) * np.exp(np.sin(known * 0.5))


def constants_taken(x, y):
    return x * mode.store.constant(np.arange(3.0))[[2, 0, 1]]


def constants_written_into_a_part(x, y):
    whole = x * 2.0
    whole[1:] = mode.store.constant(np.arange(2.0))
    return whole


def first_is_read_again(p, q, x, y):
    change = x * y
    new = p.data - change
    old = p.data * 1.5
    p.data, q.data = new, q.data - change
    return old


def first_is_used_again(p, q, x, y):
    change = x * y
    new = p.data - change
    p.data, q.data = new, q.data - change
    return new * 2.0


def update_by_where(p, q, x, y):
    p.data[...] = np.where(q.data > 0.0, q.data * 2.0, q.data * 3.0)


def update_and_a_part(p, q, x, y):
    new = q.data * 2.0
    p.data[...] = new
    return new[:2]


def update_and_a_part_is_read(p, q, x, y):
    new = q.data * 2.0
    p.data[...] = new
    return new[:2] * 3.0


def update_and_the_same_again(p, q, x, y):
    np.copyto(p.data, q.data * 2.0)
    again = q.data * 2.0
    p.data += 1.0
    return again


def one_of_two_is_changed(x, y):
    first, second = x * y, x * y
    second += 1.0
    return first, second


def changed_constants(x, y):
    known = mode.store.constant(np.arange(3.0)) * 2.0
    known += x
    zeros = np.zeros_like(x)
    zeros += y
    return known, zeros


def update_by_where_by_position(p, q, x, y):
    new = q.data * 2.0
    np.copyto(p.data, new, "same_kind", q.data > 0.0)


def changed_after_a_copy(x, y):
    first = x + y
    second = first * 1.0
    first += 1.0
    return first, second


def changed_unread(x, y):
    unread = x * y
    unread += 1.0
    return x + y


def changed_argument(x, y):
    x += 1.0
    return y * 2.0


def times_ones(shape):
    return lambda x, y: (x + y) * mode.store.constant(np.ones(shape))


HAND_MADE = {  # the pass, or some in order, the step, the tensors it has, and how many calls go
    "unread": (passes.eliminate_dead_code, lambda x, y: [vector.tanh(x * y), x + y][1:], [], 2),
    "unread, a change of an argument": (passes.eliminate_dead_code, changed_argument, [], 0),
    "unread, an update": (passes.eliminate_dead_code, update, [np.ones(3)], 0),
    "unread, a chain": (
        passes.eliminate_dead_code,
        lambda x, y: [vector.tanh(vector.tanh(vector.tanh(x))), y * 1.5][1:],
        [],
        3,
    ),
    "unread, a draw": (passes.eliminate_dead_code, draw(np.random.default_rng(0)), [], 0),
    "constants": (passes.fold_constants, constants, [], 3),
    "constants, some of them": (passes.fold_constants, constants_taken, [], 1),
    "constants that go into a part": (passes.fold_constants, constants_written_into_a_part, [], 0),
    "constants, none": (passes.fold_constants, lambda x, y: x * 2.0, [], 0),
    "products with 1": (passes.fold_constants, lambda x, y: (x + y) * 1.0 / 1.0 * 1, [], 3),
    "1 times": (passes.fold_constants, lambda x, y: 1.0 * (x + y), [], 1),
    "quotients of 1": (passes.fold_constants, lambda x, y: 1.0 / (x + y + 1.0), [], 0),
    "sums of one are not exact": (
        passes.fold_constants,
        lambda x, y: vector.sum(vector.reshape(x * y, (3, 1)), axis=1),
        [],
        0,
    ),
    "copies": (passes.fold_constants, lambda x, y: (x * y).copy() * 2.0, [], 1),
    "copies of what changes": (
        passes.fold_constants,
        lambda p, x, y: [p.data.copy(), update(p, x, y)][0],
        [np.ones(3)],
        0,
    ),
    "twice the same": (passes.eliminate_common_subexpressions, lambda x, y: np.exp(x * y) + np.exp(x * y), [], 2),
    "twice the same, one at a place of its own": (
        (passes.fold_constants, passes.pad_in_place, passes.eliminate_common_subexpressions),
        lambda x, y: [x * y, np.concatenate((x * y, np.zeros_like(x)))],
        [],
        2,
    ),
    "sums, twice the same": (
        passes.eliminate_common_subexpressions,
        lambda x, y: [np.add.reduce(x), np.add.reduce(x)],
        [],
        1,
    ),
    "other axes": (
        passes.eliminate_common_subexpressions,
        lambda x, y: vector.sum(x, axis=0) + vector.sum(x, axis=0, keepdims=True),
        [],
        0,
    ),
    "minus zero": (
        passes.eliminate_common_subexpressions,
        lambda x, y: 1.0 / np.copysign(1.0, x * 0.0) + 1.0 / np.copysign(1.0, x * -0.0),
        [],
        0,
    ),
    "written in between": (passes.eliminate_common_subexpressions, rewritten, [np.ones(3)], 0),
    "an argument, perhaps written in between": (
        passes.eliminate_common_subexpressions,
        argument_that_may_be_written,
        [np.ones(3)],
        0,
    ),
    "draws": (passes.eliminate_common_subexpressions, lambda x, y: draw(rngs[0])(x, y) + draw(rngs[0])(x, y), [], 0),
    "unread, though changed": (passes.eliminate_dead_code, changed_unread, [], 2),
    "constants that are changed": (passes.fold_constants, changed_constants, [], 0),
    "a square": ((passes.fold_constants, passes.lower_powers), lambda x, y: vector.Tensor(x) ** 2, [], 0),
    "a cube": ((passes.fold_constants, passes.lower_powers), lambda x, y: vector.Tensor(x) ** 3.0, [], -1),
    "a root": ((passes.fold_constants, passes.lower_powers), lambda x, y: vector.Tensor(x + 2.0) ** 0.5, [], 0),
    "several powers": (passes.lower_powers, lambda x, y: vector.Tensor(x) ** y, [], 0),
    "a power of another dtype": (
        (passes.fold_constants, passes.lower_powers),
        lambda x, y: vector.Tensor(x.astype(np.float32)) ** vector.Tensor(3.0, requires_grad=False),
        [],
        0,
    ),
    "a square, and the slope of a cube": (
        (passes.fold_constants, passes.lower_powers, passes.eliminate_common_subexpressions),
        lambda x, y: [(t := vector.Tensor(x)) ** 2, vector.Tensor(vector.grad(vector.sum(t**3), t))],
        [],
        5,
    ),
    "a shape": (passes.fold_constants, lambda x, y: np.ones_like(x) * y, [], 1),
    "products with ones": (passes.fold_constants, times_ones(3), [], 1),
    "products with some ones": (
        passes.fold_constants,
        lambda x, y: (x + y) * mode.store.constant(np.array([1.0, 2.0, 1.0])),
        [],
        0,
    ),
    "constants times 2": (passes.fold_constants, lambda x, y: x + 2.0 * mode.store.constant(np.arange(3.0)), [], 1),
    "products with more ones": (passes.fold_constants, times_ones((2, 3)), [], 0),
    "products with a parameter of ones": (passes.fold_constants, lambda p, x, y: (x + y) * p.data, [np.ones(3)], 0),
    "products with 1 in another layout": (
        passes.fold_constants,
        lambda x, y: np.multiply(x.reshape((3, 1)) * y, 1.0, order="F") * 2.0,
        [],
        0,
    ),
    "products with 2": (passes.fold_constants, lambda x, y: (x + y) * 2.0, [], 0),
    "an argument times 1": (passes.fold_constants, lambda x, y: x * 1.0, [], 0),
    "products with 1 of what is changed": (passes.fold_constants, changed_after_a_copy, [], 0),
    "products of constants with 1": (
        passes.fold_constants,
        lambda x, y: x * (mode.store.constant(np.arange(3.0)) * 1.0),
        [],
        1,
    ),
    "an update times 1": (
        (passes.fold_constants, passes.update_in_place),
        lambda p, x, y: setattr(p, "data", (p.data - x * y) * 1.0),
        [np.ones(3)],
        2,
    ),
    "sums of one": (passes.lower_to_gemm, lambda x, y: np.add.reduce((x + y).reshape((3, 1)), axis=1), [], 1),
    "sums of one, and more": (
        passes.lower_to_gemm,
        lambda x, y: np.add.reduce((x * y).reshape((3, 1)), axis=1, initial=2.0),
        [],
        0,
    ),
    "how many of one": (passes.lower_to_gemm, lambda x, y: np.add.reduce((x > y).reshape((3, 1)), axis=1), [], 0),
    "copies in another layout": (passes.fold_constants, lambda x, y: (x.reshape((3, 1)) * y).T.copy() * 2.0, [], 0),
    "copies of another kind": (passes.fold_constants, lambda x, y: (x * y).astype(np.float32), [], 0),
    "copies of where": (passes.fold_constants, lambda x, y: np.where(x > y, x * 2.0, y * 2.0), [], 0),
    "a sum and a largest": (
        passes.eliminate_common_subexpressions,
        lambda x, y: [np.add.reduce(x), np.maximum.reduce(x)],
        [],
        0,
    ),
    "joined twice": (
        passes.eliminate_common_subexpressions,
        lambda x, y: [np.concatenate((x, y)), np.concatenate((x, y))],
        [],
        1,
    ),
    "joined the other way": (
        passes.eliminate_common_subexpressions,
        lambda x, y: [np.concatenate((x, y)), np.concatenate((y, x))],
        [],
        0,
    ),
    "equal parts": (passes.eliminate_common_subexpressions, lambda x, y: [x[1:] * 2.0, x[1:] * 2.0], [], 1),
    "other parts": (passes.eliminate_common_subexpressions, lambda x, y: [x[1:] * 2.0, x[:-1] * 2.0], [], 0),
    "other numbers": (passes.eliminate_common_subexpressions, lambda x, y: [x * 2.0, x * 3.0], [], 0),
    "other arrays": (passes.eliminate_common_subexpressions, lambda x, y: [x * 2.0, y * 2.0], [], 0),
    "twice the same, one changed": (passes.eliminate_common_subexpressions, one_of_two_is_changed, [], 0),
    "an update": (passes.update_in_place, update, [np.ones(3)], 1),
    "an update of what is read again": (passes.update_in_place, update_read_again, [np.ones(3)], 0),
    "an update after one of what is read again": (passes.update_in_place, first_is_read_again, [np.ones(3)] * 2, 1),
    "an update after one that is used again": (passes.update_in_place, first_is_used_again, [np.ones(3)] * 2, 1),
    "an update by where": (passes.update_in_place, update_by_where, [np.ones(3), np.arange(3.0) - 1.0], 0),
    "an update by where, by position": (
        passes.update_in_place,
        update_by_where_by_position,
        [np.ones(3), np.arange(3.0) - 1.0],
        0,
    ),
    "an update of which a part is returned": (passes.update_in_place, update_and_a_part, [np.ones(3)] * 2, 0),
    "an update of which a part is read": (passes.update_in_place, update_and_a_part_is_read, [np.ones(3)] * 2, 0),
    "an update and the same again": (
        (passes.update_in_place, passes.eliminate_common_subexpressions),
        update_and_the_same_again,
        [np.ones(3)] * 2,
        1,
    ),
    "an update by a product with itself": (
        passes.update_in_place,
        lambda p, x, y: setattr(p, "data", p.data @ p.data),
        [np.arange(9.0).reshape(3, 3) / 9.0],
        0,
    ),
    "an update from elsewhere": (
        passes.update_in_place,
        lambda p, q, x, y: p.data.__setitem__(..., q.data * 2.0),
        [np.ones(3)] * 2,
        1,
    ),
    "an argument as it is": (passes.update_in_place, lambda p, x, y: p.data.__setitem__(..., x), [np.ones(3)], 0),
    "an update that is no copy": (
        passes.update_in_place,
        lambda p, x, y: np.multiply(x + y, 2.0, out=p.data) * 1.0,
        [np.ones(3)],
        0,
    ),
    "an update by what is made anew": (
        passes.update_in_place,
        lambda p, x, y: p.data.__setitem__(..., (x * y)[[2, 0, 1]]),
        [np.ones(3)],
        0,
    ),
    "one number for all": (
        passes.update_in_place,
        lambda p, x, y: p.data.__setitem__(..., np.add.reduce(x * y)),
        [np.ones(3)],
        0,
    ),
    "an update from the other end": (
        passes.update_in_place,
        lambda p, x, y: p.data.__setitem__(Ellipsis, p.data[::-1] * x),
        [np.arange(3.0)],
        0,
    ),
}
rngs = [np.random.default_rng(1)]


@pytest.mark.parametrize("name", HAND_MADE)
def test_what_a_pass_takes_out(name):
    changes, f, tensors, gone = HAND_MADE[name]
    changes = changes if isinstance(changes, tuple) else (changes,)
    step, _ = made_of(f, *tensors)()
    recorded = record(step, *copied(CALLS[0]))
    program = after(recorded, *changes)
    assert len(recorded) - len(program) == gone, str(program)
    if "draw" not in name:
        assert unchanged(made_of(f, *tensors), CALLS, *changes) == gone


def test_an_argument_may_be_the_parameters_own_array():
    """Then the update must not come before what else reads the argument."""

    def f(p, x, y):
        new = p.data - y
        seen = x * 2.0
        p.data[...] = new
        return seen

    for chosen in ([], [passes.update_in_place], ONE_BY_ONE):
        p = vector.Tensor(np.arange(3.0), "p")
        program = record(lambda x, y, p=p: f(p, x, y), np.ones(3), np.ones(3))
        replay = build(after(program, *chosen), "step")[1]
        was = p.data.copy()
        (seen,) = replay(p.data, np.ones(3))
        assert same(seen, was * 2.0) and same(p.data, was - 1.0)


def test_arguments_that_only_look_alike_are_not_the_same():
    class Odd:
        def __repr__(self):
            return "odd"

    one, other = Odd(), Odd()
    versions = Counter()
    assert passes.exact.key(one, versions) == passes.exact.key(one, versions) != passes.exact.key(other, versions)


def test_powers_by_numbers_are_products_and_calls_of_numpy():
    @vector.compile
    def step(x, n):
        t = vector.Tensor(x)
        return t**4, t**0.5, t**n

    for n in (2.0, 3.0, 0.5, 2.5):
        found = step(np.arange(1.0, 4.0), np.array(n))
        for a, b in zip(found, step.step(np.arange(1.0, 4.0), np.array(n)), strict=True):
            assert same(a.data, b.data)
    text = str(step.program)
    assert [text.count(f) for f in ("np.multiply(", "np.power(", "powers(")] == [3, 1, 1]
