"""Steps that use numpy in ways of their own: a replay gives the same bits as the step, or recording refuses.

Each is a function that makes the step anew, so that one can run as Python and one recorded.
"""

import random

import numpy as np
import pytest

import vector
from vector import Tensor, autodiff
from vector.errors import RecordingError


def w():
    return Tensor(np.arange(12.0).reshape(3, 4) + 1, "w")


def views(name):
    """Looks at memory where numpy makes a copy, and the other way round."""
    p, v = w(), Tensor(np.arange(12.0) + 1, "v")

    def slope_through_a_product_with_one(x):
        return Tensor(autodiff.grad(((v.reshape(3, 4) * 1.0).sum(axis=1) ** 2.0).sum(), v))

    def quotient_by_one(x):
        return ((p * 2.0)[:, :2] / 1.0).reshape(6)

    def largest_of_one(x):
        return vector.max((p * 2.0)[:, :2].reshape(3, 1, 2), axis=1).reshape(6)

    def two_copies(x):
        t = x.T
        return Tensor(t.astype(t.dtype) * 3.0), Tensor(t.copy().reshape(-1) * 2.0)

    def joined_columns(x):
        return vector.concatenate([(p * x).T, [[0.0, 0.0, 0.0]]]).T.reshape(-1) * 2.0

    def joined_in_float32(x):
        return Tensor(np.concatenate([x * 2.0, np.zeros_like(x)], dtype=np.float32) * 1.5)

    def joined_integers(x):
        i = (x > 0).astype(np.int64)
        j = i + i
        return Tensor(np.concatenate([j, np.zeros_like(x)]) * 2.0), Tensor(x[j[:, 0]] * 1.0)

    def flipped(x):
        a = np.flip(x * 2.0, 0)
        c = (x + 1.0) * 3.0
        return Tensor(a * 1.5), Tensor(c * 1.0)

    def written_through_a_flip(x):
        np.flip(p.data, 0)[...] = x
        return (p * 1.5).sum()

    def diagonal(x):
        return Tensor(np.diagonal(x * 2.0) * 1.5)

    def functions_of_linalg(x):
        return Tensor(np.linalg.diagonal(x) * 2.0), Tensor(np.linalg.matrix_transpose(x) * 2.0)

    def rows_by_numpy_integers(x):
        for i in np.arange(3):
            row = p.data[i]
            row -= x[i]
        return (p * 1.5).sum()

    return locals()[name]


def numbers(name):
    """Single numbers, sizes, arguments by name."""
    p = w()

    def number_in_place(x):
        s = np.add.reduce(x, axis=None)
        t = s
        t += 1.0
        return Tensor(s * 1.0), Tensor(t * 1.0)

    def element_in_place(x):
        s = x[0, 0]
        t = s
        t *= 2
        u = np.mean(x)
        u += 1.0
        return Tensor(s * 1.0), Tensor(t * 1.0), Tensor(u * 1.0)

    def size_of_an_axis(x):
        p.data -= x / np.size(x, 0)
        return (p * 1.5).sum()

    def arguments_by_name(x):
        return Tensor(np.transpose(a=x) * np.size(a=x) * np.size(a=x, axis=1))

    def power_in_float64(x):
        return Tensor(np.float_power(np.abs(x).astype(np.float32), 0.1) * 1.0)

    def stacks_in_lists(x):
        return Tensor(np.matmul(x, [np.eye(4).tolist()] * 2) * 1.0), Tensor(np.matmul([x, x + 1.0], x.T) * 1.0)

    def numbers_for_a_condition(x):
        return Tensor(np.where(np.round(x), x, -1.0) * 1.0)

    def bounds_of_a_method(x):
        return Tensor(x.clip(0.25) * 1.0), Tensor(x.clip(max=0.25) * 1.0), Tensor(x.clip(-0.5, 0.5) * 1.0)

    def copied_and_asked(x):
        y = np.zeros_like(x)
        assert np.copyto(y, x) is None
        return Tensor(y * 1.0)

    def power_of_two(x):
        return Tensor(np.ldexp(x, 3) * 1.0)

    return locals()[name]


def states(name):
    """Parameters that change within a step."""
    p, q, previous = Tensor(np.ones((4, 2))), w(), Tensor(np.zeros((4, 2)), requires_grad=False)
    lr, half = Tensor(0.1, requires_grad=False), Tensor(q.data[:2])
    own = np.ones((3, 4))
    first, second = w(), w()
    first.grad = second.grad = own

    def update_of_the_step_before(x):
        loss = ((x @ p) ** 2.0).sum()
        p.grad = None
        loss.backward()
        old = lr.data * previous.data
        previous.data = p.grad * 0.5
        p.data -= old
        return loss

    def swapped(x):
        p.data, previous.data = previous.data * 2.0 + 1.0, p.data * 3.0
        return (x @ p).sum()

    def changed_through_another_tensor(x):
        y = (q * q * x).sum()
        half.data[...] = 0.5
        q.grad = None
        y.backward()
        return Tensor(q.grad * 1.0)

    def gradients_on_one_array(x):
        loss = (first * x).sum() + (second * 2.0).sum()
        loss.backward()
        return loss, Tensor(np.array(own)), Tensor(first.grad * 1.0), Tensor(second.grad * 1.0)

    return locals()[name]


SAME = [
    (make, code.co_name)
    for make in (views, numbers, states)
    for code in make.__code__.co_consts
    if hasattr(code, "co_name")
]


def outcome(step, n=4):
    """What the step gives n times, and the error that it ends with."""
    rng, results = np.random.default_rng(3), []
    for _ in range(n):
        try:
            result = step(rng.normal(size=(3, 4)))
        except RuntimeError as error:
            return [*results, (type(error), str(error))]
        results.append([x.data.copy() for x in (result if isinstance(result, tuple) else (result,))])
    return results


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("make", "name"), SAME, ids=[name for _, name in SAME])
def test_the_same_bits(make, name, exact):
    expected, got = outcome(make(name)), outcome(vector.compile(make(name), exact=exact))
    assert len(got) == len(expected)
    for xs, ys in zip(expected, got, strict=True):
        for x, y in zip(xs, ys, strict=True):
            if isinstance(x, np.ndarray) and not exact:
                np.testing.assert_allclose(y, x, rtol=1e-12)
            elif isinstance(x, np.ndarray):
                np.testing.assert_array_equal(y, x)
            else:
                assert x == y


def refused(name):
    """What a replay could not do."""
    p, anchored = w(), w()
    anchor = anchored.detach()
    generators = {"own": np.random.default_rng(1), "old": np.random.RandomState(1), "of_python": random.Random(1)}
    own, old, of_python = generators.values()

    def clip_into(x):
        np.clip(p.data * x, -1.0, 1.0, p.data)

    def cumsum_into(x):
        np.cumsum(x, 0, None, p.data)

    def nan_to_num_in_place(x):
        np.nan_to_num(p.data, copy=False)

    def another_array_where_two_look_at_one(x):
        loss = ((anchored - anchor) ** 2.0).sum()
        anchored.data = anchored.data * 0.5
        return loss

    def draws_in_a_helper(x):
        return x * (lambda: own.random())()

    def draws_of_the_old_kind(x):
        return x * old.rand()

    def draws_of_python(x):
        return x * of_python.random()

    return locals()[name]


REFUSED = {
    "clip_into": "call clip so that it returns its argument",
    "cumsum_into": "call cumsum so that it returns its argument",
    "nan_to_num_in_place": "call nan_to_num so that it returns its argument",
    "another_array_where_two_look_at_one": "give w another array, while a second tensor views the one it has",
    "draws_in_a_helper": "draw random numbers by itself",
    "draws_of_the_old_kind": "draw random numbers by itself",
    "draws_of_python": "draw random numbers by itself",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    with pytest.raises(RecordingError, match=REFUSED[name]):
        vector.compile(refused(name))(np.ones((3, 4)))


class Noisy:
    """A step that is an object with a generator."""

    def __init__(self):
        self.rng = np.random.default_rng(1)

    def __call__(self, x):
        return x * self.rng.random()


def test_a_generator_of_the_step_itself_and_of_an_argument():
    for step, args in [(Noisy(), ()), (lambda x, rng: x * rng.random(), (np.random.default_rng(0),))]:
        with pytest.raises(RecordingError, match="draw random numbers by itself"):
            vector.compile(step)(np.ones(3), *args)


def test_a_generator_without_a_state_is_no_reason_to_refuse():
    rng = random.SystemRandom()
    step = vector.compile(lambda x: x * (1.0 if rng else 2.0))
    np.testing.assert_array_equal(step(np.ones(3)), np.ones(3))


def test_labels_that_are_filled_anew():
    def run(of):
        p, labels = w(), np.array([0, 1, 2])

        def step(x):
            loss = vector.cross_entropy(p * x, labels)
            p.grad = None
            loss.backward()
            return loss, Tensor(p.grad * 1.0)

        step, found = of(step), []
        for i in range(4):
            labels[...] = np.random.default_rng(i).integers(0, 4, 3)
            loss, slope = step(np.full((3, 4), i / 4))
            found.append((loss.item(), slope.data.tolist()))
        return found

    assert run(vector.compile) == run(lambda step: step)


def test_labels_that_the_step_writes_over():
    def run(of):
        p = w()

        def step(x, y):
            loss = vector.cross_entropy(p * x, y)
            y[...] = 0.25
            p.grad = None
            loss.backward()
            return Tensor(p.grad * 1.0)

        step = of(step)
        return [step(np.full((3, 4), i / 4), np.eye(4)[:3].copy()).data.tolist() for i in range(3)]

    assert run(vector.compile) == run(lambda step: step)


def test_a_tensor_for_two_arguments():
    step = vector.compile(lambda a, b: Tensor(autodiff.grad((a * b).sum(), a)))
    for _ in range(3):
        x = w()
        np.testing.assert_array_equal(step(x, x).data, 2 * x.data)


def test_the_gradient_of_an_argument_is_seen_inside_alone():
    def step(a):
        loss = (a * a).sum()
        loss.backward()
        return loss

    recorded = vector.compile(step)
    for _ in range(3):
        x = w()
        recorded(x)
        with pytest.raises(RuntimeError, match=r"w\.grad is a gradient that was used up inside a recorded step"):
            _ = x.grad


def test_tensors_that_are_arguments_and_more():
    p = w()

    def rebound(a):
        a.data = a.data * 2.0
        return a.sum()

    for step, x, words in [
        (lambda a: (a * p).sum(), p, "find its argument w outside, too"),
        (lambda a: Tensor(autodiff.grad((a * a).sum(), a)), p * 2.0, "differentiate what an argument was made of"),
        (rebound, w(), "give its argument w another array"),
    ]:
        with pytest.raises(RecordingError, match=words):
            vector.compile(step)(x)


def test_zeros_of_both_signs_are_two_numbers():
    step = vector.compile(lambda x, z: Tensor(np.copysign(x, z)))
    for z in (0.0, 0.0, -0.0, 0.0):
        np.testing.assert_array_equal(np.signbit(step(np.ones(2), z).data), np.signbit(z))
    assert step.traces == 1


@pytest.mark.parametrize("f", [np.mean, np.median, np.linalg.norm, lambda x: x[1, 2] * 1.0])
def test_a_result_of_one_number_is_an_array(f):
    step = vector.compile(lambda x: Tensor(f(x)))
    for _ in range(3):
        out = step(np.ones((3, 4)))
        assert type(out.data) is np.ndarray
        out.data[...] = 9.0


def test_an_array_without_axes_is_not_gone_through():
    with pytest.raises(TypeError, match="len"):
        vector.compile(lambda x: [Tensor(y) for y in x])(np.array(1.0))
