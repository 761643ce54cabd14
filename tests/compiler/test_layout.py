"""Passes that change how arrays lie: what is padded stays where it is, shapes and numbers are as numpy wants them."""

import re

import numpy as np
import pytest
from programs import CALLS, after, made_of, record, seed_step, unchanged
from recorded import copied

import vector
from vector.autodiff import mode
from vector.compiler import passes
from vector.compiler.ir import Var


def padded_before_it_changed(x, y):
    known = mode.store.constant(np.zeros(3))
    part = np.exp(x)
    joined = np.concatenate([part, known])
    part *= 2.0
    return joined + np.concatenate([part, part])


def padded_and_changed(x, y):
    whole = np.concatenate((x * 2.0, np.zeros_like(x)))
    whole += 1.0
    return whole


def joined_into_a_part(p, x, y):
    np.concatenate((x * 2.0, mode.store.constant(np.zeros(3))), out=p.data[1:])


PAD = (passes.fold_constants, passes.pad_in_place)
PADDED = {  # the pass, or some in order, the step, the tensors it has, and how many calls go
    "padding": (PAD, lambda x, y: np.concatenate((np.zeros_like(x), x * 2.0, np.ones_like(y))), [], 3),
    "padding on the right": (
        PAD,
        lambda x, y: np.concatenate(((x * 2.0).reshape((1, 3)), np.zeros((1, 3))), axis=-1),
        [],
        0,
    ),
    "padding on the right, copied": (
        PAD,
        lambda x, y: [np.concatenate((z, np.zeros_like(z)), axis=-1) for z in [x.reshape((1, 3)) * 2.0]],
        [],
        1,
    ),
    "padding on the right, the axis by position": (
        PAD,
        lambda x, y: [np.concatenate((z, np.zeros_like(z)), 1) for z in [x.reshape((1, 3)) * 2.0]],
        [],
        1,
    ),
    "padding with a list": (PAD, lambda x, y: np.concatenate((x * 2.0, [0.0, 1.0])), [], 0),
    "padding, twice the same": (
        PAD,
        lambda x, y: [np.concatenate((np.zeros_like(x), z, z)) for z in [x * y]],
        [],
        1,
    ),
    "padding of what is made anew": (PAD, lambda x, y: np.concatenate(((x * y)[[2, 0, 1]], np.zeros_like(x))), [], 1),
    "padding that goes into a part": (PAD, joined_into_a_part, [np.ones(7)], 0),
    "padding that is changed": (PAD, padded_and_changed, [], 1),
    "padding that is changed before": (passes.pad_in_place, padded_before_it_changed, [], 0),
    "padding in a row": (PAD, lambda x, y: np.concatenate([x * y, np.zeros_like(x)], axis=None), [], 1),
    "joining": (PAD, lambda x, y: np.concatenate((x, y)), [], 0),
    "padding after joining": (
        PAD,
        lambda x, y: [np.concatenate((x, y)), np.concatenate((x * y, np.zeros_like(x)))],
        [],
        2,
    ),
}


@pytest.mark.parametrize("name", PADDED)
def test_what_a_pass_takes_out(name):
    changes, f, tensors, gone = PADDED[name]
    changes = changes if isinstance(changes, tuple) else (changes,)
    step, _ = made_of(f, *tensors)()
    recorded = record(step, *copied(CALLS[0]))
    program = after(recorded, *changes)
    assert len(recorded) - len(program) == gone, str(program)
    if "draw" not in name:
        assert unchanged(made_of(f, *tensors), CALLS, *changes) == gone


def test_zeros_stay_where_they_are():
    """The weight gradient of one image: of the padded operands only what changes is copied."""
    step, batch, _ = seed_step(1, exact=True)
    copies = [call for call in step.program.calls if call.function is np.copyto]
    assert [(call.out.size, call.writes) for call in copies] == [(784, True)]  # the gradient is computed at its place
    assert not any(call.function is np.concatenate for call in step.program.calls)
    assert re.search(r"out=padded_part(_\d+)?\)", str(step.program))
    (before,) = step.latest.run(*batch)
    assert np.isfinite(before)
    changed = made_of(lambda x, y: [np.concatenate((x, np.zeros_like(x))), np.concatenate((y, y))])
    assert unchanged(changed, CALLS, passes.fold_constants, passes.pad_in_place) == 1


def test_numbers_become_arrays_once_for_each_dtype_and_sign():
    def f(x, y):
        several = [np.add.reduce(x, initial=2.0), (x > 1) * 3, np.multiply(y, 0.1, dtype=np.float64)]
        return [x * 0.0, x * -0.0, x * 0, y * 0.0, x * 2.0 + 2.0, *several]

    make = made_of(f)
    made = after(record(make()[0], np.ones(3), np.ones(3, np.float32)), passes.box_scalars)
    numbers = {v for call in made.calls for v in call.args if isinstance(v, Var) and v.kind == "constant"}
    assert sorted((str(v.dtype), float(v.array), bool(np.signbit(v.array))) for v in numbers) == [
        ("float32", 0.0, False),
        ("float64", 0.0, False),
        ("float64", -0.0, True),
        ("float64", 1.0, False),
        ("float64", 2.0, False),
    ]
    calls = [[np.array([1.0, -2.0, i]), np.array([1.0, -2.0, i], np.float32)] for i in range(3)]
    unchanged(make, calls, passes.box_scalars)


def test_shapes_and_numbers_change_calls_and_no_results():
    def f(p, x, y):
        return (vector.reshape(x * 2.0, (1, 3)) + vector.Tensor(y)) * p

    step, _ = made_of(f, np.ones(3))()
    made = record(step, *CALLS[0])
    assert any(type(x) in (int, float) for call in made.calls for x in call.args)
    made = after(made, passes.box_scalars)
    assert not any(type(x) in (int, float) for call in made.calls for x in call.args)
    made = after(made, passes.unify_shapes)
    assert all(v.shape == call.out.shape for call in made.calls for v in call.reads if v.size == 3 and v.base)
    unchanged(made_of(f, np.ones(3)), CALLS, passes.box_scalars, passes.unify_shapes)


def test_single_numbers_have_no_axes():
    def f(p, q, r, x, y):
        return [p.data * q.data, q.data**p.data, p.data * r.data]

    step, _ = made_of(f, np.ones((1, 1)), np.ones(3), np.ones(1))()
    made = after(record(step, *CALLS[0]), passes.unify_shapes)
    assert [[v.shape for v in call.reads] for call in made.calls] == [[(), (1, 3)], [(3,), (1, 1)], [(1, 1), (1, 1)]]


def test_numbers_to_compare_with_are_repeated_as_a_loop_over_vectors_wants_them():
    def f(x, y):
        few = np.maximum(x, 0.0), np.maximum(-0.0, x), np.minimum(x, np.nan), np.maximum(x[0, 0], 0.0)
        some = np.zeros((300, 5, 20)) * x[:1, :1, :1]
        return [*few, np.minimum(some, 1.0), np.maximum(x, y[:1]), np.maximum(x, some[0, 0, 0]), np.minimum(1.0, some)]

    x = np.array([1.0, -1.0, 0.0, -0.0, np.nan, np.inf]).reshape(1, 2, 3)
    calls = [[x, -x], [-x, x], [x * 2.0, x]]
    changes = passes.box_scalars, passes.repeat_bounds
    made = after(record(made_of(f)()[0], *calls[0]), *changes)
    compared = [call for call in made.calls if call.function in (np.maximum, np.minimum)]
    shapes = [sorted(v.shape for v in call.args if isinstance(v, Var) and v.kind == "constant") for call in compared]
    assert shapes == [[(1, 2, 3)]] * 3 + [[(3,)], [(5, 20)], [], [], [(5, 20)]]
    assert unchanged(made_of(f), calls, *changes) == 0


def test_short_rows_are_repeated_beside_many_of_their_like():
    def f(x, y):
        row, many = y[0, 0, 0], np.exp(x)
        some = [many + row, many * y[:1, :1, :1], row - many, x[0] + row]
        return [*some, y[0, 0] + many, many[..., :1] + y[0, 0, 0, :1], many[0, 0] + row]

    x, y = np.random.default_rng(0).standard_normal((2, 9, 30, 20, 3))
    calls = [[x, y], [y, x], [x + y, y]]
    made = after(record(made_of(f)()[0], *calls[0]), passes.repeat_rows)
    copies = [call.out.shape for call in made.calls if call.function is np.copyto]
    assert copies == [(30, 20, 3)] * 3
    assert unchanged(made_of(f), calls, passes.repeat_rows) == -3
