"""Now and then a recorded step runs as Python once more, and what it does is compared with its recording."""

import itertools
import re
import sys
import threading
import warnings

import numpy as np
import pytest
from recorded import OPTIMIZERS, classifier, moons, same, step_of, trainer

import vector
from vector import nn, optim
from vector.compiler import CompiledStep, StaleRecording
from vector.errors import RecordingError
from vector.random import uniform

X = np.array([0.5, -1.0, 2.0])


def counting(step, **options):
    """A recorded step, and a list that grows by each run as Python."""
    runs = []
    note = runs.append

    def noted(*args):
        note(1)
        return step(*args)

    return vector.compile(noted, **options), runs


@pytest.mark.parametrize(
    ("verify", "expected"), [(0, [1, 2, 4, 8, 16, 32]), (5, [1, 2, 4, 5, 8, 10, 15, 16, 20, 25, 30, 32, 35, 40])]
)
def test_which_calls_run_as_python(verify, expected):
    step, runs = counting(lambda x: vector.Tensor(x) * 2.0, verify=verify)
    found = []
    for i in range(1, 41):
        before = len(runs)
        assert same(step(X * i).data, X * i * 2.0)
        found += [i] * (len(runs) - before)
    assert found == expected
    assert (step.traces, step.verified) == (1, len(expected) - 1)


def test_every_call():
    step, runs = counting(lambda x: vector.Tensor(x) * 2.0, verify=1)
    for _ in range(20):
        step(X)
    assert (len(runs), step.traces, step.verified) == (20, 1, 19)


def test_at_the_next_call():
    step, runs = counting(lambda x: vector.Tensor(x) * 2.0)
    for _ in range(9):
        step(X)
    assert len(runs) == 4
    step.verify_next()
    step(X), step(X)
    assert len(runs) == 5


@pytest.mark.parametrize("options", [{"verify": -1}, {"recordings": 0}])
def test_wrong_options(options):
    with pytest.raises(ValueError, match="expected verify from 0 and recordings from 1"):
        vector.compile(lambda x: x, **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_bits_are_those_of_replays(optimizer):
    """Steps that replay, steps that verify, and steps as Python go on from one another."""
    results = []
    for wrap in (lambda f: f, lambda f: vector.compile(f, verify=3), lambda f: vector.compile(f, verify=1)):
        rng, (step, state) = np.random.default_rng(0), trainer(optimizer, dropout=0.3)()
        step, found = wrap(step), []
        for i in range(30):
            found.append(step(*moons(rng, 3 + i % 2)).data)
        results.append([*found, *(t.data.copy() for t in state)])
    for other in results[1:]:
        assert all(same(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("verify", [0, 1, 3])
def test_gradients_add_up_across_a_verification(verify):
    """As long as nobody resets them, whether a step replays or not."""
    results = []
    for wrap in (lambda f: f, lambda f: vector.compile(f, verify=verify)):
        model, update = classifier("momentum")

        def step(x, y, model=model):
            loss = vector.cross_entropy(model(x), y)
            loss.backward()
            return loss

        step, rng, found = wrap(step), np.random.default_rng(0), []
        for i in range(20):
            found.append(step(*moons(rng, 4)).data)
            found += [p.grad.copy() for p in model.parameters()]
            if i % 5 == 4:
                update.step()
                update.zero_grad()
            if i == 11:
                model.parameters()[0].grad = 2.0
        results.append(found)
    assert all(same(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("verify", [1, 3])
def test_gradients_that_are_left_across_a_verification(verify):
    model, update = classifier()
    step = vector.compile(step_of(model, update), verify=verify)
    for _ in range(8):
        step(*moons(np.random.default_rng(0), 4))
        with pytest.raises(RuntimeError, match="used up inside a recorded step"):
            _ = model.layers[0].weight.grad


# --- differences ------------------------------------------------------------------------------------------------------


class Hidden:
    """Values that no guard sees."""

    def __init__(self, *values):
        self.read = iter(values).__next__

    def __call__(self):
        return self.read()


def differing(step):
    """The error of the second call, where it differs from the first."""
    recorded = vector.compile(step)
    recorded(X)
    with pytest.raises(StaleRecording) as caught:
        recorded(X)
    return recorded, caught.value


W = vector.Tensor(np.ones(3), "w")
TABLES = np.arange(3.0), np.arange(3.0) + 1.0
GRADIENTS = vector.Tensor(np.ones(3), "p"), vector.Tensor(np.ones(3), "q")


def number(read):
    return lambda x: W * x * read()


def function(read):
    return lambda x: getattr(vector, read())(W * x)


def branch(read):
    return lambda x: W * x if read() else W * x * 2.0


def more_calls(read):
    return lambda x: vector.tanh(W * x) if read() else W * x


def axis(read):
    return lambda x: vector.sum((W * x).reshape(1, 3), axis=read())


def fresh_array(read):
    return lambda x: W * x * vector.Tensor(np.full(3, read()))


def table(read):
    return lambda x: W * x * vector.Tensor(TABLES[read()])


def gradient(read):
    return lambda x: W * x * vector.Tensor(GRADIENTS[read()].grad)


def place(read):
    return lambda x: (W * x)[read()]


def returned(read):
    return lambda x: (W * x, read())


def structure(read):
    return lambda x: (W * x,) if read() else [W * x]


def nan(read):
    return lambda x: W * x * vector.Tensor(np.array([read(), 1.0, 2.0]))


DIFFERENT = {
    number: ((2.0, 3.0), "multiply has 3.0, where the recording has 2.0"),
    function: (("tanh", "exp"), "it calls np.exp, where the recording calls np.tanh"),
    branch: ((True, False), "it now also calls np.multiply"),
    more_calls: ((True, False), "it no longer calls np.tanh"),
    axis: ((0, 1), "np.add.reduce has 1, where the recording has 0"),
    fresh_array: ((2.0, 3.0), "has [3., 3., 3.], where the recording has [2., 2., 2.]"),
    table: ((0, 1), "has [1., 2., 3.], where the recording has [0., 1., 2.]"),
    gradient: ((0, 1), "has the gradient of q, where the recording has the gradient of p"),
    place: ((0, 1), "where the recording has"),
    returned: ((1.0, 2.0), "it returns 2.0, where the recording returns 1.0"),
    structure: ((True, False), "it returns"),
    nan: ((0.0, -0.0), "has [-0.,  1.,  2.], where the recording has [0., 1., 2.]"),
}


@pytest.mark.parametrize("make", DIFFERENT, ids=lambda f: f.__name__)
def test_the_first_difference_is_named(make):
    values, words = DIFFERENT[make]
    recorded, error = differing(make(Hidden(*values, values[1], values[1])))
    message = str(error)
    assert words in message, message
    assert "the step just taken is right" in message and "anew" in message
    assert (error.replayed, error.confirmed, error.asked) == (0, False, False)
    expected = make(Hidden(values[1]))(X)
    got = error.result
    while isinstance(got, (tuple, list)):
        got, expected = got[0], expected[0]
    assert same(got.data, expected.data)
    assert recorded.replays == {} and recorded.traces == 1
    recorded(X), recorded(X)  # anew
    assert recorded.traces == 2


def test_the_line_is_named():
    read = Hidden(2.0, 3.0)

    def step(x):
        y = W * x
        return y * read()

    _, error = differing(step)
    assert re.match(r"test_verify\.py:\d+: `return y \* read\(\)`: a recorded step does something else", str(error))


@pytest.mark.parametrize("value", [np.nan, -0.0, np.inf])
def test_equal_numbers_are_equal(value):
    made = vector.compile(lambda x: W * x * vector.Tensor(np.array([value, 1.0, value])) * float(str(value)), verify=1)
    for _ in range(4):
        made(X)
    assert (made.traces, made.verified) == (1, 3)


def test_steps_since_the_last_check_are_counted():
    read = itertools.chain([1.0] * 4, itertools.repeat(2.0)).__next__
    step = vector.compile(lambda x: W * x * read())
    for _ in range(15):
        step(X)
    with pytest.raises(StaleRecording, match="but 7 replayed since the last check may not be") as caught:
        step(X)
    assert caught.value.confirmed and caught.value.replayed == 7


def test_an_array_is_read_where_it_lies_also_after_a_verification():
    mask = np.ones(3)
    step = vector.compile(lambda x: W * x * vector.Tensor(mask), verify=3)
    for i in range(10):
        mask[i % 3] += 1.0
        assert same(step(X).data, X * mask)
    assert step.traces == 1


def test_numbers_that_numpy_alone_computes_are_found_later():
    plain = np.ones(3)
    step = vector.compile(lambda x: W * x * (plain * 2.0))
    step(X), step(X), step(X)
    plain[0] = 7.0
    with pytest.raises(StaleRecording, match=r"has \[14.,  2.,  2.\], where the recording has \[2., 2., 2.\]"):
        step(X)
    assert same(step(X).data, X * plain * 2.0)


def test_another_generator():
    rngs = Hidden(*(np.random.default_rng(0) for _ in range(2)))
    _, error = differing(lambda x: W * uniform(rngs(), x.shape))
    assert "it calls random, where the recording calls random" in str(error)


def test_a_refusal_when_verifying_forgets_the_recording():
    read = Hidden(False, True, False)

    def step(x):
        return W * float(vector.sum(W * x)) if read() else W * x

    recorded = vector.compile(step)
    recorded(X)
    with pytest.raises(RecordingError, match="turn a value into a number"):
        recorded(X)
    assert recorded.replays == {}
    assert same(recorded(X).data, X)


def test_an_error_when_verifying_leaves_the_recording():
    step = vector.compile(lambda x, y: vector.cross_entropy(W.reshape(1, 3) * x, y), verify=1)
    step(X[None], np.array([1]))
    with pytest.raises(ValueError, match="class numbers"):
        step(X[None], np.array([7]))
    assert step(X[None], np.array([1])).item() > 0.0
    assert (step.traces, step.verified) == (1, 1)


def test_large_constants_are_compared_by_a_checksum():
    big = vector.Tensor(np.ones(300_000), "big")

    def step(x):
        big.grad = 0.5
        return vector.Tensor(big.grad[:3] * x)

    recorded = vector.compile(step, verify=1)
    for _ in range(3):
        recorded(X)
    assert recorded.verified == 2


# --- fit --------------------------------------------------------------------------------------------------------------


def fit(loss, compile, epochs=3, on_epoch=None):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(3, 4, "tanh", seed=0), nn.Dense(4, 2, seed=1))
    update = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    x, y = rng.normal(size=(70, 3)), rng.integers(0, 2, 70)
    history = model.fit(x, y, update, epochs, batch_size=10, loss=loss, on_epoch=on_epoch, compile=compile)
    return history, model.state_dict()


def test_fit_follows_what_no_guard_sees():
    def run(compile):
        box = np.ones(1)
        reads = box.item  # a method of numpy's: nothing that a guard could see changes

        def change(row):
            box[0] = row["epoch"] + 1.0

        return fit(lambda out, y: vector.cross_entropy(out, y) * reads(), compile, on_epoch=change)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (history, state), (expected, other) = run(True), run(False)
    assert history == expected and all(same(state[k], other[k]) for k in state)


def test_fit_goes_on_without_recording_where_every_step_differs():
    def run(compile):
        read = itertools.count(1).__next__
        return fit(lambda out, y: vector.cross_entropy(out, y) * (1.0 / read()), compile)

    expected, other = run(False)
    with pytest.warns(RuntimeWarning, match=r"fit: goes on without recording.*where the recording has") as caught:
        history, state = run(True)
    assert len(caught) == 1
    assert history == expected and all(same(state[k], other[k]) for k in state)


def test_fit_says_that_steps_may_be_wrong():
    def run():
        read = itertools.chain([1.0] * 3, itertools.repeat(2.0)).__next__
        return fit(lambda out, y: vector.cross_entropy(out, y) * read(), True)

    with pytest.warns(RuntimeWarning, match=r"fit: recorded its step anew.*may not be") as caught:
        run()
    assert len(caught) == 1


def test_progress_leaves_no_threads(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # for a bar
    before = threading.active_count()
    model = nn.Sequential(nn.Dense(3, 2, seed=0))
    x, y = np.ones((20, 3)), np.zeros(20, np.int64)
    model.fit(x, y, optim.SGD(model.parameters(), 0.1), epochs=3, batch_size=5, progress=True)
    assert threading.active_count() == before
    capsys.readouterr()


def test_recordings_can_be_trusted_by_switch(monkeypatch):
    """What measures the cost of verifying sets it aside."""
    monkeypatch.setattr(CompiledStep, "verifying", False)
    step, runs = counting(lambda x: vector.Tensor(x) * 2.0, verify=1)
    for _ in range(10):
        step(X)
    assert len(runs) == 1
