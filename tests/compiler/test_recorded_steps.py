"""What people write in a step gives what the step gives, or a refusal that names the way out."""

import os

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from recorded import same

import vector
from vector import RecordingError, Tensor


def batches(n=4):
    return [np.arange(6.0).reshape(2, 3) + k for k in range(n)]


def agree(make, args=None, **options):
    """Run the step of `make()`, with its tensors, as it is and recorded: results, tensors, arguments must be alike."""
    (eager, tensors), (step, twins) = make(), make()
    step = vector.compile(step, **options)
    for k, x in enumerate(args or batches()):
        mine, other = x.copy(), x.copy()
        expected, got = eager(mine), step(other)
        assert same(expected.data, got.data), f"call {k}: {expected} and {got}"
        assert all(same(p.data, q.data) for p, q in zip(tensors, twins, strict=True)), f"call {k}"
        assert same(mine, other)
    return step


def weights(shape, order="C"):
    return Tensor(np.array(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), order=order), "w")


def descend(w, loss):
    w.grad = None
    loss.backward()
    w.data -= 0.01 * w.grad
    return loss


@pytest.mark.parametrize(
    "join",
    [
        lambda x, h: np.where(h > 2, h, 0.1 * h),
        lambda x, h: np.where(x > 2, h, x),
        lambda x, h: np.concatenate([x, h]),
        lambda x, h: np.concatenate((x, h * h), axis=1),
        lambda x, h: np.stack([x, h]),
        lambda x, h: vector.mean([x, h, 2.0 * h]),
        lambda x, h: vector.maximum(x, [h[0], h[1]]),
        lambda x, h: h * [h[0], x[0]],
        lambda x, h: np.dot(x, h[0]),
        lambda x, h: np.dot(x, vector.transpose(h)),
        lambda x, h: np.dot(h, x[0]),
        lambda x, h: np.dot(2.0, h),
    ],
)
def test_arrays_and_tensors_together_keep_the_gradient(join):
    """numpy asks the first argument of all: an array of the recording once answered, and cut the tensors off."""

    def make():
        w = weights((3,))
        return lambda x: descend(w, vector.sum(join(x, w * x) * 1.5)), [w]

    agree(make)
    w = weights((3,))
    vector.sum(join(batches()[1], w * batches()[1])).backward()
    assert np.all(w.grad != 0.0)


def test_warnings_are_silent_where_the_step_silences_them():
    def make():
        w = weights((3,))

        def step(x):
            with np.errstate(divide="ignore", invalid="ignore"):
                out = vector.sum(vector.where(w > 1.0, w * x / (w - 1.0), 0.0) + vector.log(w * 0.0))
            return out * 1.0

        return step, [w]

    agree(make)


@pytest.mark.parametrize("optimizer", [vector.optim.SGD, vector.optim.Adam])
def test_a_parameter_that_lies_in_fortrans_order(optimizer):
    def make():
        w, v = weights((2, 3), "F"), Tensor(np.arange(3.0), "v")
        update = optimizer([w, v], 0.01)

        def step(x):
            loss = vector.sum(w * x + v) ** 2.0
            update.zero_grad()
            loss.backward()
            update.step()
            return loss

        return step, [w, v]

    agree(make)


def test_a_single_number_is_bound_anew_and_then_written_to():
    def make():
        s = Tensor(1.0, "s")

        def step(x):
            loss = vector.sum(s * x)
            s.grad = None
            loss.backward()
            s.data = s.data * 0.5
            np.add(s.data, 0.1 * s.grad, out=s.data)
            s.data -= 0.25
            return loss

        return step, [s]

    agree(make)


def test_accumulate_zero_and_go_backward_again():
    """The gradient that the last backward pass leaves is where the first of the next run goes on."""

    def make():
        w = weights((3,))

        def step(x):
            vector.sum(w * x).backward()
            first = w.grad.copy()
            w.grad = None
            loss = vector.sum(w * w * x)
            loss.backward()
            w.data -= 0.01 * (w.grad + first)
            return loss

        return step, [w]

    agree(make)


def test_a_recorded_argument_is_an_array():
    def make():
        w = weights((3,))
        return lambda x: vector.sum(w * x if isinstance(x, np.ndarray) else w), [w]

    agree(make)


METHODS = ["sum", "mean", "max", "min", "argmax", "argmin", "ravel", "flatten", "std", "var", "cumsum", "prod"]


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_an_array(name):
    def make():
        w = weights((1,))
        return lambda x: vector.sum(w * getattr(x, name)() + getattr(w.data, name)()), [w]

    agree(make)


def test_clip_and_squeeze_as_methods():
    def make():
        w = weights((3,))
        return lambda x: vector.sum(w * x.clip(1.0, 3.0) + x[:1].squeeze(0)), [w]

    agree(make)


def test_an_argument_is_written_to():
    def make():
        w = weights((3,))

        def step(x):
            x[0] = 0.0
            x[1, 2] += 4.0
            return vector.sum(w * x)

        return step, [w]

    agree(make)


def test_a_tensor_is_printed(capsys):
    w = weights((3,))

    def step(x):
        out = vector.sum(w * x)
        print(out, repr(out.data))
        return out

    vector.compile(step)(np.ones((1, 3)))
    assert capsys.readouterr().out == "Tensor(6., shape=(), dtype=float64) <recorded array(6.)>\n"


def test_a_plain_table_at_recorded_places():
    table, w = np.arange(12.0).reshape(4, 3), weights((3,))
    with pytest.raises(RecordingError, match=r"vector.Tensor\(table\)\[x\] in place of table\[x\]"):
        vector.compile(lambda y: vector.sum(w * table[y]))(np.array([0, 2]))

    def make():
        w = weights((3,))
        return lambda y: descend(w, vector.sum(w * Tensor(table)[y])), [w]

    agree(make, [np.array([0, 2, k]) for k in range(4)])


@pytest.mark.parametrize("size", [1, 5000])
def test_a_plain_array_that_the_step_fills_anew(size):
    """A replay would find only what was filled in last."""
    w, at = weights((5,)), np.zeros(size, int)

    def step(x):
        total = 0.0
        for k in range(3):
            at[0] = k
            total = total + vector.sum(w[at])
        return total

    with pytest.raises(RecordingError, match="cannot change a plain array that it reads as well; change a copy"):
        vector.compile(step)(np.ones(3))


def test_keys_that_are_filled_anew_between_runs():
    at = np.zeros(2, int)

    def make():
        w = weights((5,))
        return lambda x: descend(w, vector.sum(w[at] * w[at])), [w]

    (eager, tensors), (step, twins) = make(), make()
    step = vector.compile(step)
    for k in range(5):
        at[:] = k, (k + 2) % 5
        assert same(eager(at).data, step(at).data)
        assert same(tensors[0].data, twins[0].data)


def test_a_view_that_is_not_made_by_numpys_own_namespace():
    def make():
        w = weights((2, 2))
        return lambda x: vector.sum(sliding_window_view(x, (2, 2)).reshape(-1, 2, 2) * w), [w]

    agree(make)


def test_objects_are_refused():
    """They cannot lie in memory that is planned as bytes."""
    cube = np.frompyfunc(lambda x: x * x * x, 1, 1)
    with pytest.raises(RecordingError, match="whose result holds objects; compute with numbers"):
        vector.compile(lambda x: vector.sum(Tensor(cube(x).astype(float))))(np.ones(3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_runs_a_step_that_another_thread_was_in():
    w = weights((3,))
    step = vector.compile(lambda x: vector.sum(w * x))
    step(np.ones(3))
    with step.lock:  # as a replay in another thread would hold it
        child = os.fork()
        if not child:
            try:
                right = step(np.ones(3)).item() == 6.0
            except RecordingError:
                right = False
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


def stepping(seed=0):
    """A step of two arrays that returns a loss and, in a dict, a row and a plain number; and its parameters."""
    model = vector.nn.Sequential(vector.nn.Dense(4, 3, "tanh", seed=seed), vector.nn.Dense(3, 2, seed=seed + 1))
    optimizer = vector.optim.Adam(model.parameters(), 0.1)

    @vector.compile
    def step(x, y):
        outputs = model(x)
        loss = vector.mse(outputs, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, {"outputs": outputs, "number": 3}

    return step, model.parameters()


@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_steps_over_arrays_are_the_steps_one_by_one(steps):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(steps, 5, 4)), rng.normal(size=(steps, 5, 2))
    (one, own), (other, theirs) = stepping(), stepping()
    expected = [one(*batch) for batch in zip(x, y, strict=True)]
    loss, more = other.over(x, y)
    assert same(loss.data, np.array([e[0].item() for e in expected])) and more["number"] == 3
    assert same(more["outputs"].data, np.stack([e[1]["outputs"].data for e in expected]))
    assert all(same(p.data, q.data) for p, q in zip(own, theirs, strict=True))
    assert (other.traces, other.verified) == (one.traces, one.verified)
    with pytest.raises(RecordingError, match="differentiate what it returned"):
        loss.backward()


def test_steps_over_arrays_of_numbers_and_of_one_memory():
    p = vector.Tensor(np.zeros(3), requires_grad=True)

    @vector.compile
    def step(x, y):
        p.data += x * y
        return vector.sum(p)

    both = np.arange(8.0)
    assert step.over(both, both).data.tolist() == [3.0 * t for t in np.cumsum(both**2)]


def test_steps_over_arrays_see_what_changed_between_them():
    box = {"rate": 1.0}
    p = vector.Tensor(np.zeros(3), requires_grad=True)

    @vector.compile
    def step(x):
        p.data += box["rate"] * x
        return vector.sum(p)

    x = np.ones((20, 3))
    step.over(x)
    box["rate"] = 2.0
    with pytest.raises(RecordingError, match=r"cannot follow .box"):
        step.over(x)
    with pytest.raises(ValueError, match="a row for each of at least one step"):
        step.over(x, x[1:])
    for wrong in ((), (x[:0],), (1.0,)):
        with pytest.raises(ValueError, match="a row for each of at least one step"):
            step.over(*wrong)
