"""Gradients of parts of an array, written to their places: the same bits, and only where the parts lie apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import after, made_of, record, run, unchanged

import vector
from vector.compiler import passes
from vector.ops.shapes import scattered

CALLS = [[np.arange(12.0).reshape(4, 3) - 5.0 + k, np.where(np.eye(4, 3) > k, -0.0, 0.0)] for k in range(3)]


def rows(*keys):
    """The sum of rows of x and of y by turns, each where a key says, in an array (6, 3)."""

    def step(x, y):
        parts = [scattered((x, y)[i % 2][:1].reshape(3) * 1.0, key, (6, 3)) for i, key in enumerate(keys)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    return step


def shared(x, y):
    """A part that is in two sums."""
    left, right, other = scattered(x * 1.0, np.s_[:, :3], (4, 6)), scattered(y * 1.0, np.s_[:, 3:], (4, 6)), x * 2.0
    return left + right, scattered(other, np.s_[:, 3:], (4, 6)) + left


def returned(x, y):
    left = scattered(x * 1.0, np.s_[:, :3], (4, 6))
    return left + scattered(y * 1.0, np.s_[:, 3:], (4, 6)), left


def as_a_tree(x, y):
    parts = [scattered(z[k : k + 1] * 1.0, np.s_[k : k + 1], (4, 3)) for k, z in enumerate((x, y, x, y))]
    return (parts[0] + parts[1]) + (parts[2] + parts[3])


def with_a_plain_term(x, y):
    return scattered(x[0] * 1.0, 0, (4, 3)) + x


STEPS = {  # the step, how many sums go, and how many calls write zeros
    "all rows": (rows(*range(6)), 5, 0),
    "some rows": (rows(4, 1), 1, 1),
    "one row twice": (rows(1, 4, 1), 0, 0),
    "slices": (rows(np.s_[:2], np.s_[4:], np.s_[2:4]), 2, 0),
    "slices that overlap": (rows(np.s_[:3], np.s_[2:]), 0, 0),
    "a list of rows": (rows([1], 3), 0, 0),
    "a mask": (rows(np.arange(6) > 3, 0), 0, 0),
    "a part of two sums": (shared, 2, 0),
    "a part that is returned": (returned, 1, 0),
    "a tree": (as_a_tree, 3, 0),
    "a term that is no part": (with_a_plain_term, 0, 0),
}


@pytest.mark.parametrize("name", STEPS)
def test_parts_are_written_to_their_places(name):
    f, sums, zeros = STEPS[name]
    recorded = record(made_of(f)()[0], *CALLS[0])
    program = after(recorded, passes.place_parts)
    assert added(recorded) - added(program) == sums
    assert sum(call.function is np.copyto for call in program.calls) == zeros
    unchanged(made_of(f), CALLS, passes.place_parts, passes.box_scalars)


def columns(*parts):
    """The sum of parts, each in columns of its own."""
    shapes = [part.shape for part in parts]
    ends = np.cumsum([0, *(shape[1] for shape in shapes)])
    whole = shapes[0][0], int(ends[-1]) + 1
    placed = [scattered(p, np.s_[:, a : a + p.shape[1]], whole) for p, a in zip(parts, map(int, ends), strict=False)]
    total = placed[0]
    for part in placed[1:]:
        total = total + part
    return total


COMPUTED = {  # the step, and how many parts are still copied
    "element by element": (lambda x, y: columns(x * y, np.exp(x)), 0),
    "a product": (lambda x, y: columns(x.T @ y, x[:3] * y[:3]), 0),
    "a product the other way round": (lambda x, y: columns((x.T @ y).T, (x @ y.T)[:3]), 1),
    "turned": (lambda x, y: columns(np.transpose(x * y), np.swapaxes(x - y, 0, 1)), 0),
    "turned in three axes": (
        lambda x, y: columns(np.transpose((x * y).reshape(2, 2, 3) * 2.0, (-1, 0, 1)).reshape(3, 4), (x - y).T),
        0,
    ),
    "in another shape": (lambda x, y: columns((x[:3] @ y.T).reshape(3, 4), (x[0] * y[0]).reshape(3, 1)), 0),
    "in a shape that has no view there": (lambda x, y: columns((x * y).reshape(2, 6), (x - y)[:2]), 2),
    "read by another": (lambda x, y: [(columns(p, x - y), p * 2.0) for p in [x * y]], 1),
    "returned": (lambda x, y: [(columns(p, x - y), p) for p in [x * y]], 1),
    "in two places": (lambda x, y: [columns(p, p) for p in [x * y]], 2),
    "anew": (lambda x, y: columns((x * y)[[1, 0]], (x - y)[:2]), 2),
    "changed": (lambda x, y: [(p.__imul__(2.0), columns(p, x - y)) for p in [x * y]], 1),
    "a sum": (lambda x, y: columns(np.add.reduce(x, axis=1, keepdims=True), x - y), 1),
    "an argument": (lambda x, y: columns(x, y * 1.0), 1),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_parts_are_computed_in_their_places(name):
    f, left = COMPUTED[name]
    program = after(record(made_of(f)()[0], *CALLS[0]), passes.place_parts, passes.compute_in_place)
    assert sum(map(passes.scatter.is_placed, program.calls)) == left, str(program)
    as_before(made_of(f), CALLS)


@pytest.mark.parametrize("name", STEPS)
def test_what_is_computed_in_place_is_as_before(name):
    as_before(made_of(STEPS[name][0]), CALLS)


def as_before(make, calls):
    """Raises AssertionError where parts that are computed in place have other numbers, whatever sign a zero has."""
    changes = passes.place_parts, passes.compute_in_place, passes.unify_shapes, passes.box_scalars
    for a, b in zip(run(make, calls)[0], run(make, calls, *changes)[0], strict=True):
        assert np.allclose(a, b, rtol=1e-14, atol=1e-14)


def added(program):
    """How many calls add two arrays."""
    return sum(call.function is np.add and len(call.reads) == 2 for call in program.calls)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 3), st.integers(0, 1)), min_size=2, max_size=5))
def test_gradients_of_random_parts(cuts):
    """Of a tensor that is cut into parts, apart or not."""

    def make():
        x = vector.Tensor(np.linspace(-1.0, 1.0, 40).reshape(8, 5), requires_grad=True)

        def step(weights):
            total = 0.0
            for k, (start, size, axis) in enumerate(cuts):
                part = x[start : start + size] if axis == 0 else x[:, start % 5]
                total = total + vector.sum(vector.sin(part) * weights[k])
            return vector.grad(total, x)

        return step, [x]

    calls = [[np.arange(5.0) - k] for k in range(3)]
    unchanged(make, calls, passes.place_parts)
    as_before(make, calls)
