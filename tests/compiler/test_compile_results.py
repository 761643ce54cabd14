"""What a recorded step takes, returns and leaves, and where it stands among other code."""

import numpy as np
import pytest
from recorded import classifier, compare, leaves, moons, same, step_of, trainer

import vector
from vector import nn


def test_what_a_step_may_return():
    def make():
        p = vector.Tensor(np.arange(3.0), "p")

        def step(x):
            p.grad = None
            y = p * x
            z = vector.sum(y)
            z.backward()
            return {"y": y, "both": (z, [y, z]), "grad": p.grad, "none": None, "number": 2.5, "name": "step", "p": p}

        return step, [p]

    (eager, _), (step, _) = make(), make()
    step = vector.compile(step)
    for i in range(3):
        x = np.full(3, i + 1.0)
        expected, got = eager(x), step(x)
        assert expected.keys() == got.keys()
        assert [got[k] for k in ("none", "number", "name")] == [None, 2.5, "step"]
        assert type(got["both"]) is tuple and type(got["both"][1]) is list
        for key in ("y", "both", "grad", "p"):
            assert all(same(a, b) for a, b in zip(leaves(expected[key]), leaves(got[key]), strict=True)), key
        assert not got["y"].requires_grad
    nothing = vector.compile(lambda x: None)
    assert nothing(np.ones(2)) is None
    assert nothing(np.ones(2)) is None


def test_results_are_the_callers_own():
    w = vector.Tensor(np.ones(3), "w")

    @vector.compile
    def step(x):
        return x * w, w

    first, _ = step(np.ones(3))
    kept = first.data.copy()
    second, weights = step(np.full(3, 2.0))
    weights.data[:] = 100.0
    second.data[:] = 50.0
    third, _ = step(np.full(3, 3.0))
    assert same(first.data, kept) and same(third.data, np.full(3, 3.0)) and same(w.data, np.ones(3))


def test_tensors_as_arguments():
    def make():
        w = vector.Tensor(np.arange(6.0).reshape(3, 2), "w")

        def step(x, y):
            loss = vector.mean((x @ w - y) ** 2)
            w.grad = None
            loss.backward()
            w.data -= 0.1 * w.grad
            return loss, x.grad

        return step, [w]

    (eager, a), (step, b) = make(), make()
    step = vector.compile(step)
    for i in range(4):
        rng = np.random.default_rng(i)
        numbers, target = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
        (loss, slope), (value, result) = eager(vector.Tensor(numbers), target), step(vector.Tensor(numbers), target)
        assert same(loss.data, value.data) and same(slope, result.data) and same(a[0].data, b[0].data)
    assert step.traces == 1
    step(vector.Tensor(numbers, requires_grad=True), vector.Tensor(target))
    assert step.traces == 2


def test_whether_an_argument_wants_a_gradient_is_part_of_the_recording():
    w = vector.Tensor(2.0, "w")

    @vector.compile
    def step(x):
        y = x * w
        return y if y.requires_grad and x.requires_grad else -y

    x = np.ones(1)
    assert step(vector.Tensor(x)).item() == 2.0
    assert step(vector.Tensor(x, requires_grad=False)).item() == -2.0
    assert step(vector.Tensor(x)).item() == 2.0


def test_under_no_grad_another_program():
    """Whether there is a graph is seen by the step, and by whoever calls it."""
    step = vector.compile(lambda x: x * (1.0 if (x * 2.0).op else 3.0))
    x = vector.Tensor(2.0)
    assert step(x).item() == 2.0
    with vector.no_grad():
        assert step(x).item() == 6.0
    assert step(x).item() == 2.0 and step.traces == 2


def test_a_step_is_of_the_mode_that_it_was_recorded_in():
    """Training or evaluation: there is no replay in the other one, and none to be made anew back in the first."""
    drop = nn.Sequential(nn.Dropout(0.5, seed=0))
    step = vector.compile(lambda x: drop(x) * 1.0)
    x = np.ones(100)
    for same_mode, other_mode in ((drop.train, drop.eval), (drop.eval, drop.train)):
        step.clear()
        same_mode()
        step(x)
        other_mode()
        with pytest.raises(vector.RecordingError, match="training"):
            step(x)
        same_mode()
        assert step(x).data.all() == (same_mode == drop.eval)
    assert step.traces == 2


def test_keyword_and_default_arguments():
    @vector.compile
    def step(x, y, scale=2.0, *, shift=0.0):
        return (x - y) * scale + shift

    a, b = np.array([3.0]), np.array([1.0])
    assert step(a, b).item() == step(a, b).item() == 4.0
    assert step(a, y=b).item() == step(x=a, y=b).item() == step(y=b, x=a).item() == 4.0
    assert step(x=b, y=a).item() == step(b, a, 2.0).item() == -4.0
    assert step(a, b, scale=2.0).item() == 4.0
    assert step(a, b, scale=3.0).item() == 6.0
    with pytest.raises(TypeError, match="missing"):
        step(a)
    with pytest.raises(TypeError, match="unexpected"):
        step(a, b, wrong=1)


def test_the_same_array_passed_twice_and_the_parameters_own_array():
    def make():
        p = vector.Tensor(np.arange(4.0) + 1.0, "p")

        def step(x, y):
            before = x * y + 1.0
            loss = vector.sum(p * before)
            p.grad = None
            loss.backward()
            p.data = p.data - 0.1 * p.grad
            return loss, before, x * y + 1.0

        return step, p

    (eager, p), (step, q) = make(), make()
    step = vector.compile(step)
    for i in range(4):
        x = np.arange(4.0) + i
        for args in ((x, x), (p.data, x), (x, p.data), (p.data, p.data)):
            mine = [q.data if a is p.data else a for a in args]
            expected, got = eager(*args), step(*mine)
            assert all(same(a, b) for a, b in zip(leaves(expected), leaves(got), strict=True))
            assert same(p.data, q.data)


def test_writing_into_an_argument():
    def make():
        def step(x, y):
            a = vector.Tensor(x * 2.0) + y
            x += 1.0
            return a, vector.Tensor(x * 2.0) + y

        return step, []

    compare(make, [(np.arange(3.0), np.ones(3))] * 3)
    (eager, _), (step, _) = make(), make()
    step = vector.compile(step)
    step(np.arange(3.0), np.ones(3))
    x, z = np.arange(3.0), np.arange(3.0)
    for _ in range(3):
        for a, b in zip(eager(x, x), step(z, z), strict=True):
            assert same(a.data, b.data)
        assert same(x, z)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        step(x, z)


def test_arrays_from_outside_are_read_where_they_lie():
    mask, views = np.ones(3), np.arange(3.0)
    window, still = views[::-1], np.broadcast_to(views, (2, 3))
    results = []
    for wrap in (lambda f: f, vector.compile):
        mask[:], views[:] = 1.0, np.arange(3.0)
        w = vector.Tensor(np.ones(3), "w")
        step = wrap(lambda x, w=w: vector.sum((w * mask + window) * x * still))
        got = []
        for i in range(4):
            got.append(step(np.full(3, i + 1.0)).data)
            mask[i % 3] = i
            views[:] += 1.0
        results.append(got)
    assert all(same(a, b) for a, b in zip(*results, strict=True))


def test_two_looks_at_one_array_from_outside():
    """A parameter, and a view of its memory that the step reads after the update."""

    def make():
        p = vector.Tensor(np.arange(4.0), "p")
        look = p.data[::-1]

        def step(x):
            now = vector.Tensor(look)
            before = now * 2.0 + x
            new = p.data - x
            between = now * 3.0 + x
            p.data[...] = new
            return before, between, now * 2.0 + x

        return step, [p]

    compare(make, [(np.full(4, i + 1.0),) for i in range(3)])


def test_sizes_of_nothing_and_of_one():
    step = compare(lambda: (lambda x: (vector.sum(x * 2.0), vector.exp(x)), []), [(np.zeros((0, 3)),)] * 3, 1)
    assert step.memory >= 0
    compare(lambda: (lambda x: vector.exp(x) * x + 1.0, []), [(np.array(float(i)),) for i in range(4)], traces=1)
    with pytest.raises(ValueError, match="at least one sample"):
        vector.compile(trainer()()[0])(np.zeros((0, 3)), np.zeros(0, np.int64))


def test_tensors_made_inside():
    def make():
        def step(x):
            w = vector.Tensor(np.arange(3.0), "inside")
            v = vector.Tensor([1.0, 2.0, 3.0])
            loss = vector.sum(w * x) + vector.sum(vector.Tensor(x) * w * v)
            loss.backward()
            return loss, vector.Tensor(w.data - 0.1 * w.grad), vector.Tensor(v.grad)

        return step, []

    compare(make, [(np.arange(3.0) + i,) for i in range(4)], traces=1)


def test_the_old_array_stays_when_a_tensor_is_given_another():
    def make():
        a, b = vector.Tensor(np.arange(3.0), "a"), vector.Tensor(np.ones(3), "b")

        def step(x):
            old, look = a.data, vector.reshape(a, (3, 1))
            a.data = a.data + x
            moved = vector.Tensor(a.data - old)
            a.data, b.data = b.data, a.data
            b.data *= 2.0
            return moved, vector.Tensor(old), look * 2.0, look, vector.sum(a) + vector.sum(b)

        return step, [a, b]

    compare(make, [(np.full(3, i + 1.0),) for i in range(4)], traces=1)


def test_the_gradient_to_start_from_is_a_constant():
    """And no factor of 1, nor an array from outside, in the program."""
    w = vector.Tensor([0.5], "w")
    step = vector.compile(lambda x: vector.grad(vector.tanh(w), w) * x)
    step(np.ones(1))
    assert {v.label for call in step.program.calls for v in call.reads if v.root.kind == "state"} == {"w"}
    assert len(step.program) == 4, step.program


def test_second_derivatives_inside():
    def make():
        w = vector.Tensor(np.array([0.5, -1.0, 2.0]), "w")

        def step(x):
            loss = vector.sum(vector.tanh(w * x) ** 2)
            (slope,) = vector.grad(loss, [w], create_graph=True)
            penalty = vector.sum(slope * slope)
            w.grad = None
            (loss + 0.1 * penalty).backward()
            w.data -= 0.1 * w.grad
            return loss, penalty, slope

        return step, [w]

    compare(make, [(np.random.default_rng(i).normal(size=3),) for i in range(5)], traces=1)


def test_several_updates_in_one_step():
    rng = np.random.default_rng(0)

    def make():
        model, update = classifier("nesterov")
        inner = step_of(model, update)

        def step(x, y):
            return [inner(x, y) for _ in range(3)]

        return step, model.parameters()

    compare(make, [moons(rng, 4) for _ in range(4)], traces=1)


def test_an_error_while_recording_leaves_everything_usable():
    rng = np.random.default_rng(0)
    model, update = classifier("momentum")
    broken = True

    def step(x, y):
        loss = vector.cross_entropy(model(x), y)
        update.zero_grad()
        loss.backward()
        if broken:
            raise KeyError("half way")
        update.step()
        return loss

    recorded = vector.compile(step)
    batch = moons(rng, 4)
    with pytest.raises(KeyError, match="half way"):
        recorded(*batch)
    assert recorded.traces == 0
    broken = False
    other, other_update = classifier("momentum")
    eager = step_of(other, other_update)
    assert same(eager(*batch).data, step(*batch).data)  # as Python first, then recorded
    for _ in range(3):
        assert same(eager(*batch).data, recorded(*batch).data)
    assert all(same(p.data, q.data) for p, q in zip(other.parameters(), model.parameters(), strict=True))
    assert recorded.traces == 1
