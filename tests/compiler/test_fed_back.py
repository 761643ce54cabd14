"""Results that go back into the step they come from, and arguments that share memory: each replay reads what is there
now and leaves results alone that it gave away."""

import numpy as np
import pytest

import vector
from vector import Tensor


def affine(x):
    return (Tensor(x) + 1.0) * 2.0


@pytest.mark.parametrize("feed", [lambda out: out, lambda out: out.data])
def test_a_result_as_the_next_argument(feed):
    step = vector.compile(affine)
    for start in (10.0, 100.0):  # the second one does not go on from the first
        x, expected = np.array([start]), start
        for _ in range(5):
            x, expected = feed(step(x)), (expected + 1.0) * 2.0
            assert np.asarray(x).tolist() == [expected]


def test_a_buffer_that_is_shifted_through_the_step():
    step = vector.compile(lambda buffer, new: vector.concatenate([Tensor(buffer)[2:], new]))
    buffer = np.zeros(4)
    for i in range(8):
        buffer = step(buffer, np.full(2, i + 1.0)).data
        assert buffer.tolist() == [i, i, i + 1, i + 1]


def test_two_results_of_one_array():
    """The second is a part of the first: who writes into one changes not the other, nor what is computed later."""

    def f(buffer, new):
        longer = vector.concatenate([Tensor(buffer)[1:], new])
        return longer, longer[:1], longer

    step, buffer = vector.compile(f), np.array([0.0, 1.0, 2.0])
    for i in range(5):
        expected = [*buffer[1:].tolist(), 10.0 + i]
        longer, first, again = step(buffer, np.array([10.0 + i]))
        first.data[...] = 99.0
        again.data[...] = 98.0
        assert longer.data.tolist() == expected
        buffer = longer.data


def test_results_stay_as_they_were():
    step = vector.compile(lambda x: vector.sum(Tensor(x)))
    results = [step(np.array([i, i], float)) for i in range(5)]
    assert [r.item() for r in results] == [0.0, 2.0, 4.0, 6.0, 8.0]


@pytest.mark.parametrize("f", [lambda x: Tensor(x), lambda x: Tensor(x).reshape(2, 1), lambda x: Tensor(x)[::-1]])
def test_an_argument_that_comes_back_is_a_copy(f):
    step = vector.compile(f)
    for _ in range(4):
        x = np.array([1.0, 2.0])
        out = step(x)
        assert not np.shares_memory(out.data, x)


def test_a_parameter_that_comes_back_is_as_it_was_after_that_step():
    p = Tensor([1.0, 2.0])

    def f(x):
        p.data -= 0.5 * x
        return p, p.reshape(2, 1)

    step = vector.compile(f)
    results = [step(np.ones(2)) for _ in range(4)]
    for i, (whole, column) in enumerate(results):
        expected = np.array([1.0, 2.0]) - 0.5 * (i + 1)
        assert np.array_equal(whole.data, expected) and np.array_equal(column.data.ravel(), expected)


def test_one_array_for_two_arguments_and_then_two():
    step = vector.compile(lambda a, b: Tensor(a) * 2.0 + b)
    x = np.array([1.0, 2.0])
    calls = [(x, x), (x, x + 1.0), (x + 1.0, x), (x, x), (x, x[::-1]), (x[:1], x[1:]), (x[1:], x[1:])]
    for a, b in calls * 2:
        assert np.array_equal(step(a, b).data, a * 2.0 + b)


def test_columns_of_one_array_at_other_places():
    step, base = vector.compile(lambda a: Tensor(a) + 1.0), np.arange(20.0).reshape(4, 5)
    for i in range(4):
        assert np.array_equal(step(base[:, i : i + 2]).data, base[:, i : i + 2] + 1.0)
    assert step.traces == 1


def test_every_way_to_call():
    step, a, b = vector.compile(lambda a, b: Tensor(a) / b), np.array([6.0]), np.array([3.0])
    for _ in range(3):
        assert [out.item() for out in (step(a, b), step(a, b=b), step(b=b, a=a), step(a=a, b=b))] == [2.0] * 4


def test_a_recorded_step_within_one():
    inner = vector.compile(lambda x: Tensor(x) + 1.0)
    outer = vector.compile(lambda x: inner(x) * 3.0)
    for i in range(4):
        assert outer(np.array([float(i)])).item() == 3.0 * (i + 1)
        assert inner(np.array([float(i)])).item() == i + 1
