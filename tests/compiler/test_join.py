"""What is joined to one flat array is computed there."""

import numpy as np
import pytest
from programs import CALLS, TWO, after, made_of, moved, record, unchanged
from recorded import copied

from vector.compiler import passes


def two(x, y):
    return np.concatenate([x * y, x + y])


def of_other_shapes(x, y):
    return np.concatenate([(x.reshape(3, 1) * y).reshape(-1), (x @ y).reshape(1), np.exp(x)])


def an_argument(x, y):
    return np.concatenate([x, x * y])


def one_twice(x, y):
    z = x * y
    return np.concatenate([z, z])


def read_elsewhere(x, y):
    z = x * y
    return np.concatenate([z, x + y]), z * 2.0, z


def changed_afterwards(x, y):
    z = x * y
    joined = np.concatenate([z, x + y])
    z += 1.0
    return joined * 2.0, z


def joined_is_changed(x, y):
    joined = np.concatenate([x * y, x + y])
    joined += 1.0
    return joined


def of_a_joined_one(x, y):
    return np.concatenate([np.concatenate([x * y, x]), x + y])


def turned(x, y):
    return np.concatenate([(x * y)[::-1], x + y])


def of_two_dtypes(x, y):
    return np.concatenate([(x * y).astype(np.float32), x + y])


def by_rows(x, y):
    return np.concatenate([np.outer(x, y), np.outer(y, x)], axis=0)


def moved_by_parts(p, q, x, y):
    joined = np.negative(np.concatenate([x * y, x + y]))
    moved((p, joined[:3] * 0.5), (q, joined[3:] * 0.5))


JOINED = {  # the step, the tensors that it has, and how many calls go
    two: ([], 1),
    of_other_shapes: ([], 1),
    an_argument: ([], 0),
    one_twice: ([], 0),
    read_elsewhere: ([], 1),
    changed_afterwards: ([], 0),
    joined_is_changed: ([], 0),
    of_a_joined_one: ([], 1),
    turned: ([], 0),
    of_two_dtypes: ([], 0),
    by_rows: ([], 0),
    moved_by_parts: (TWO, 1),
}


@pytest.mark.parametrize("f", JOINED)
def test_what_the_pass_takes_out(f):
    tensors, gone = JOINED[f]
    step, _ = made_of(f, *tensors)()
    recorded = record(step, *copied(CALLS[0]))
    program = after(recorded, passes.join_in_place)
    assert len(recorded) - len(program) == gone, str(program)
    assert unchanged(made_of(f, *tensors), CALLS, passes.join_in_place) == gone


def test_what_is_added_up_is_moved_by_one_call():
    step, _ = made_of(moved_by_parts, *TWO)()
    program = after(record(step, *copied(CALLS[0])), passes.fuse_updates, passes.join_in_place)
    names = [call.function for call in program.calls]
    assert names == [np.multiply, np.add, np.negative, np.multiply, np.subtract]
