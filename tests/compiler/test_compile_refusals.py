"""What cannot be recorded is refused with the line of the user's code, and no replay gives a stale result."""

import collections
import random as python_random
import re
import signal
import sys
import threading

import numpy as np
import pytest
from recorded import classifier, moons, same, step_of, trainer

import vector
from vector import nn
from vector.errors import RecordingError
from vector.op import primitive

X = np.array([0.5, -1.0, 2.0])
generator, count, scale, options = np.random.default_rng(0), 0, 2.0, [1.0, 2.0]
table, w = np.arange(3.0), vector.Tensor(np.ones(3), "w")


def branch(x):
    return x * 2.0 if vector.sum(w * x) > 1.0 else x


def repeat(x):
    y = w * x
    while vector.sum(y) < 10.0:
        y = y * 2.0
    return y


def boolean(x):
    return w * x if bool(vector.sum(w * x)) else w


def number(x):
    return w * float(vector.sum(w * x))


def item(x):
    return w * vector.sum(w * x).item()


def whole_number(x):
    return w * int(vector.sum(w * x).data)


def index_by_value(x):
    return table[np.argmax(x)] * w


def plain_array(x):
    return w * np.asarray(vector.tanh(w * x))


def mask(x):
    return w[x > 0.0]


def unknown_shape(x):
    return w * np.unique(x).sum()


def several_arrays(x):
    return w * np.nonzero(x)[0]


def written(x):
    table[...] = x
    np.add(table, w.data, out=table)
    return w * x


def made_inside_and_written(x):
    v = vector.Tensor(np.zeros(3))
    v.data += x
    return v * w


def reduceat(x):
    return w * np.add.accumulate(x)


def two_results(x):
    return w * np.divmod(x, 2.0)[0]


def method(x):
    return w * x.tobytes()


def draws(x):
    return w * x * np.random.random(3)


def draws_by_generator(x):
    return w * x * generator.random(3)


def draws_with_python(x):
    return w * x * python_random.random()


def other_shape(x):
    w.data = np.concatenate([x, x])
    return w * 2.0


def other_dtype(x):
    w.data = (x * 2.0).astype(np.float32)
    return w * 2.0


def assigned_by_index_array(x):
    w.data[np.array([0, 2])] = 1.0
    return w * x


REFUSED = {
    branch: ("if vector.sum(w * x) > 1.0", "branch on a value"),
    repeat: ("while vector.sum(y) < 10.0", "branch on a value"),
    boolean: ("if bool(vector.sum(w * x))", "branch on a value"),
    number: ("float(vector.sum(w * x))", "turn a value into a number"),
    item: (".item()", "turn a value into a number"),
    whole_number: ("int(vector.sum", "turn a value into a number"),
    index_by_value: ("table[np.argmax(x)]", "plain array"),
    plain_array: ("np.asarray(", "plain array"),
    mask: ("w[x > 0.0]", "as many elements as a mask has"),
    unknown_shape: ("np.unique(x)", "no array of a fixed shape"),
    several_arrays: ("np.nonzero(x)", "no array of a fixed shape"),
    written: ("", "plain"),
    made_inside_and_written: ("v.data += x", "write into a plain numpy array"),
    reduceat: ("np.add.accumulate(x)", "call np.add.accumulate"),
    two_results: ("np.divmod(x, 2.0)", "call np.divmod"),
    method: ("x.tobytes()", "use .tobytes of an array"),
    draws: ("", "draw random numbers"),
    draws_by_generator: ("", "draw random numbers"),
    draws_with_python: ("", "draw random numbers"),
    other_shape: ("w.data = np.concatenate([x, x])", "turn a tensor from float64 (3,)"),
    other_dtype: ("w.data = (x * 2.0)", "turn a tensor from float64 (3,)"),
    assigned_by_index_array: ("w.data[np.array([0, 2])] = 1.0", "assign at an index that is an array"),
}


@pytest.mark.parametrize("step", REFUSED, ids=lambda f: f.__name__)
def test_refused_with_the_users_line(step):
    line, what = REFUSED[step]
    recorded = vector.compile(step)
    with pytest.raises(RecordingError) as caught:
        recorded(X.copy())
    message = str(caught.value)
    assert message.startswith("test_compile_refusals.py:"), message
    number, text = message.split(":", 2)[1], message.split("`")[1]
    with open(__file__) as file:
        assert file.read().splitlines()[int(number) - 1].strip() == text
    assert line in text and what in message, message
    assert recorded.traces == 0
    assert same((w * X).data, X)  # the tensors are as usable as before
    assert same(vector.compile(lambda x: w * x)(X).data, X)


def test_an_array_used_after_the_step():
    kept = []
    keep = kept.append

    def step(x):
        y = w * x
        keep(y)
        return y

    vector.compile(step)(X)
    for use in (lambda t: t * 2.0, lambda t: t.data + 1.0, lambda t: np.tanh(t), lambda t: t.data[0]):
        with pytest.raises(RecordingError, match=r"test_compile_refusals.*return it|after the step"):
            use(kept[0])


def test_rebinding_a_parameters_array_afterwards():
    model, update = classifier("momentum")
    step = vector.compile(step_of(model, update))
    batch = moons(np.random.default_rng(0), 4)
    step(*batch)
    step(*batch)
    weight = model.layers[0].weight
    before = model.state_dict()
    weight.data = weight.data.copy()
    with pytest.raises(RecordingError, match=r"test_compile_refusals.py:\d+: `step\(.*0.weight.*another array.*clear"):
        step(*batch)
    assert all(same(before[k], x) for k, x in model.state_dict().items())
    step.clear()
    step(*batch)
    assert not same(before["0.weight"], weight.data)


def test_rebinding_momentum_is_seen_too():
    model, update = classifier("momentum")
    step = vector.compile(step_of(model, update))
    batch = moons(np.random.default_rng(0), 4)
    step(*batch)
    update.velocity[0].data = np.zeros_like(update.velocity[0].data)
    with pytest.raises(RecordingError, match="velocity"):
        step(*batch)


def test_two_threads_at_once():
    inside, leave, errors = threading.Event(), threading.Event(), []

    def step(x):
        inside.set()
        assert leave.wait(120.0)
        return w * x

    recorded = vector.compile(step)
    first = threading.Thread(target=recorded, args=(X,))
    first.start()
    assert inside.wait(120.0)
    with pytest.raises(RecordingError, match=r"test_compile_refusals.py:\d+: `recorded\(X\).*two threads at once"):
        recorded(X)  # while the other thread records
    assert same((w * X).data, X)  # this thread is not recording
    leave.set()
    first.join()
    assert same(recorded(X).data, X) and not errors


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that interrupts")
def test_an_interrupt_at_whatever_moment_leaves_the_step_free(no_collector):  # whose callbacks would lose it
    if sys.gettrace():
        pytest.skip("what measures coverage would be interrupted as well, and waits for itself")

    class Interrupt(Exception):
        pass

    def interrupt(*_):
        raise Interrupt

    step, interrupted = vector.compile(lambda x: w * x), 0
    step(X)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for i in range(400):
            try:  # and no RecordingError, that two threads run it at once
                signal.setitimer(signal.ITIMER_REAL, 2e-4 + i * 1e-7)
                for _ in range(200):  # an exception may be lost, where Python ignores those of a callback
                    step(X)
            except Interrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert same(step(X).data, X) and interrupted


def test_after_a_last_batch_of_another_size_replays_make_no_detour(monkeypatch):
    step, detours = vector.compile(lambda x: w * x), []
    check = step.check
    monkeypatch.setattr(step, "check", lambda *args: detours.append(1) or check(*args))
    for x in (X, X, X[None], X, X, X):
        assert same(step(x).data, x)
    assert (step.traces, step.verified, len(detours)) == (2, 2, 3)  # to verify, back from the last batch, to verify


def test_two_threads_one_after_the_other():
    step, results = vector.compile(lambda x: w * x), []
    for i in range(4):
        thread = threading.Thread(target=lambda i=i: results.append(step(X * i).data))
        thread.start()
        thread.join()
    assert step.traces == 1
    assert all(same(r, X * i) for i, r in enumerate(results))


def test_a_gradient_that_was_used_up():
    model, update = classifier()
    step = vector.compile(step_of(model, update))
    batch = moons(np.random.default_rng(0), 4)
    for _ in range(2):
        step(*batch)
        with pytest.raises(RuntimeError, match=r"0.weight.grad is a gradient that was used up inside a recorded step"):
            _ = model.layers[0].weight.grad
        with pytest.raises(RuntimeError, match="used up"):  # nor is it added to
            vector.cross_entropy(model(batch[0]), batch[1]).backward()
        with pytest.raises(RecordingError, match=r"used up.*|gradient of 0.weight"):
            vector.compile(lambda: [p.grad for p in model.parameters()])()
        update.zero_grad()
        assert not model.layers[0].weight.grad.any()
        vector.cross_entropy(model(batch[0]), batch[1]).backward()
        assert model.layers[0].weight.grad.any()


# --- ways to a stale result -------------------------------------------------------------------------------------------


def changed(step, name, change):
    """Record, replay, change something outside: a replay says so by its name, and clear() takes the change in."""
    recorded = vector.compile(step)
    before = recorded(X).data.copy()
    assert same(recorded(X).data, before)
    undo = change()
    try:
        with pytest.raises(RecordingError, match=rf"test_compile_refusals.py:\d+: `.*follow {re.escape(repr(name))}"):
            recorded(X)
        recorded.clear()
        assert same(recorded(X).data, step(X).data)
        assert not same(recorded(X).data, before)
    finally:
        if undo:
            undo()


def test_global_numbers_lists_and_arrays():
    def set_global(name, value):
        def change():
            was = globals()[name]
            globals()[name] = value
            return lambda: globals().update({name: was})

        return change

    changed(lambda x: w * x * scale, "scale", set_global("scale", 3.0))
    changed(lambda x: w * x * vector.Tensor(table), "table", set_global("table", np.ones(3)))
    changed(lambda x: w * x, "w", set_global("w", vector.Tensor(X)))
    changed(
        lambda x: w * x * options[1], "options", lambda: [options.append(3.0), options.__setitem__(1, 5.0)] and None
    )


def test_closures():
    factor, parts, settings, layer = 2.0, [1.0, 2.0], {"k": 2.0}, nn.Dense(3, 3, seed=0)

    def new_factor():
        nonlocal factor
        factor = 3.0

    def new_layer():
        nonlocal layer
        layer = nn.Dense(3, 3, seed=1)

    changed(lambda x: w * x * factor, "factor", new_factor)
    changed(lambda x: w * x * parts[0], "parts[0]", lambda: parts.__setitem__(0, 3.0))
    changed(lambda x: w * x * sum(settings.values()), "settings['k']", lambda: settings.update(k=3.0))
    changed(lambda x: layer(x), "layer", new_layer)


def test_a_counter_of_python():
    def step(x):
        global count
        count += 1
        return w * x if count % 2 else w * x * 2.0

    with pytest.raises(RecordingError, match="change 'count' by itself"):
        vector.compile(step)(X)


def test_loop_variables_named_like_attributes_are_nothing_to_the_step():
    """`step` is an attribute in the text of the training step, and a global counter of the program around it."""
    space = {"update": classifier()[1], "vector": vector, "w": w}
    exec("def train(x):\n    update.step\n    return w * x\n", space)
    recorded = vector.compile(space["train"])
    for step in range(3):
        space["step"] = step
        assert same(recorded(X).data, X)


def test_a_layer_that_draws_by_itself():
    class Noise:
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def __call__(self, x):
            return x + self.rng.normal(size=x.shape)

    model = nn.Sequential(nn.Dense(3, 3), Noise())
    with pytest.raises(RecordingError, match=r"draw random numbers by itself; use vector.random.uniform"):
        vector.compile(lambda x: model(x))(X)


LOSSES = {  # of which a step needs the value, or nothing
    "value": lambda outputs, labels: vector.cross_entropy(outputs, labels),
    "nothing": lambda outputs, labels: [outputs, vector.cross_entropy(outputs, labels)][0],
    "nothing, of probabilities": lambda outputs, labels: [outputs, vector.categorical_cross_entropy(outputs, labels)][
        0
    ],
}


@pytest.mark.parametrize("wrong", [[0, -1], [3, 0], [0.0, np.nan, 1.0]])
@pytest.mark.parametrize("loss", LOSSES)
def test_wrong_labels_at_a_replay_without_a_backward_pass(loss, wrong):
    """Where nothing is differentiated, nobody reads which class is the true one, but for its number."""
    wrong = np.array(wrong) if len(wrong) == 2 else np.array([wrong, [1.0, 0.0, 0.0]])
    outputs, right = np.array([[0.1, 0.7, 0.2]] * 2), np.zeros_like(wrong)
    step = vector.compile(LOSSES[loss])
    step(outputs, right)
    with pytest.raises(ValueError, match="expected"):
        step(outputs, wrong)
    assert step.traces == 1


@pytest.mark.parametrize("bad", [4, -1, 100])
def test_labels_out_of_range_at_a_replay(bad):
    step, watched = trainer("momentum")()
    step = vector.compile(step)
    x, y = moons(np.random.default_rng(0), 4)
    step(x, y)
    before = [t.data.copy() for t in watched]
    wrong = y.copy()
    wrong[2] = bad
    with pytest.raises(ValueError, match=f"expected class numbers from 0 to 3, got {bad}"):
        step(x, wrong)
    assert all(same(a, t.data) for a, t in zip(before, watched, strict=True))
    eager, other = trainer("momentum")()
    eager(x, y)
    assert same(step(x, y).data, eager(x, y).data)
    assert all(same(a.data, b.data) for a, b in zip(watched, other, strict=True))


@pytest.mark.parametrize("loss", [vector.cross_entropy, vector.categorical_cross_entropy])
def test_nan_among_the_labels_at_a_replay(loss):
    layer = nn.Dense(3, 4, "softmax", seed=0)
    step = vector.compile(lambda x, y: loss(layer(x), y))
    x, y = np.ones((2, 3)), np.full((2, 4), 0.25)
    step(x, y)
    y[1, 2] = np.nan
    with pytest.raises(ValueError, match="got nan"):
        step(x, y)


def test_an_index_out_of_range_at_a_replay():
    step = vector.compile(lambda i: vector.take(w, i))
    assert same(step(np.array([0, 2])).data, np.ones(2))
    with pytest.raises(IndexError):
        step(np.array([0, 3]))
    assert same(step(np.array([1, -1])).data, np.ones(2))


def test_nothing_is_recorded_before_the_first_call():
    step = vector.compile(lambda x: w * x)
    for look in (lambda: step.program, lambda: step.source):
        with pytest.raises(RecordingError, match="nothing is recorded before the first call"):
            look()
    assert (step.traces, step.memory) == (0, 0)


def test_requires_grad_that_changed():
    own = vector.Tensor(np.ones(3), "own")
    step = vector.compile(lambda x: vector.sum(own * x))
    step(X)
    own.requires_grad = False
    with pytest.raises(RecordingError, match="follow own, whose requires_grad changed"):
        step(X)
    own.requires_grad = True
    assert step(X).item() == X.sum()


def test_two_functions_of_one_name_are_two():
    def made(factor):
        @primitive
        def scaled(x):
            return x * factor

        return scaled

    double, triple = made(2.0), made(3.0)
    step = vector.compile(lambda x: vector.Tensor(double(x) + triple(x)))
    assert step(X).data.tolist() == step(X).data.tolist() == (5.0 * X).tolist()


def test_a_name_that_holds_nothing_yet():
    def step(x):
        return later if x is None else vector.Tensor(x) * 2.0

    recorded = vector.compile(step)
    assert recorded(X).data.tolist() == recorded(X).data.tolist() == (2.0 * X).tolist()
    later = None
    assert later is None


def test_results_in_a_named_tuple():
    Pair = collections.namedtuple("Pair", "double triple")
    step = vector.compile(lambda x: Pair(vector.Tensor(x) * 2.0, vector.Tensor(x) * 3.0))
    for _ in range(2):
        assert step(X).triple.data.tolist() == (3.0 * X).tolist()


NUMBERS = {
    "float": float,
    "a text": lambda t: f"{t:.3f}",
    "numpy's float": np.float64,
    "an element": lambda t: np.zeros((2, 3)).__setitem__((0, 1), t),
    "fill": lambda t: np.zeros(3).fill(t),
    "fromiter": lambda t: np.fromiter([t], float),
    "initial": lambda t: np.zeros(2).sum(initial=t),
}


@pytest.mark.parametrize("ask", NUMBERS)
def test_no_number_comes_out_of_a_step(ask):
    """Where numpy and Python ask a tensor without axes for its number, too."""
    step = vector.compile(lambda x: NUMBERS[ask](vector.sum(vector.Tensor(x))))
    with pytest.raises(RecordingError, match=r"turn a value into a number|hand a value to code"):
        step(X)
