"""Which calls one recording serves: arrays and floats are inputs, other values make a recording each."""

import collections
import contextlib
import copy
import gc
import operator
import weakref

import numpy as np
import pytest
from recorded import same

import vector
from vector import Tensor
from vector.compiler import CompiledStep, step
from vector.errors import RecordingError

X = np.array([0.5, -1.0, 2.0])
W = Tensor(np.ones(3), "w")


# --- floats -----------------------------------------------------------------------------------------------------------


def descend(dtype):
    """A step with its learning rate as an argument."""
    w = Tensor(np.linspace(-1.0, 1.0, 3).astype(dtype), "w")

    def train(x, lr, decay=0.01):
        loss = vector.sum((w * x) ** 2.0)
        w.grad = None
        loss.backward()
        w.data -= lr * (w.grad + decay * w.data)
        return loss

    return train, w


@pytest.mark.parametrize("verify", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [float, np.float64, np.float32, np.array])
def test_a_float_is_an_input(kind, dtype, verify):
    (eager, w), (train, v) = descend(dtype), descend(dtype)
    train = vector.compile(train, verify=verify)
    for i in range(6):
        x, lr = (X * i).astype(dtype), kind(0.1 / (1 + i))
        try:
            expected = eager(x, lr)
        except TypeError as error:  # an array of float64 on one of float32, in place
            with pytest.raises(type(error)):
                train(x, lr)
            return
        assert same(expected.data, train(x, lr).data) and same(w.data, v.data)
    assert train.traces == 1


USES = [
    lambda x, k: W * x * k,
    lambda x, k: k * x,
    lambda x, k: (x + k) * W,
    lambda x, k: W * x * (1.0 - k) / (k + 2),
    lambda x, k: W * x * (2 * k - 1) * (k / 3.0) * (3.0 / k),
    lambda x, k: W * x * -k * abs(k) * +k,
    lambda x, k: W**k,
    lambda x, k: k**W,
    lambda x, k: abs(x) ** k,
    lambda x, k: vector.where(W > k, W, k),
    lambda x, k: np.where(x > k, x, k) * W,
    lambda x, k: np.maximum(x, k) * W,
    lambda x, k: vector.clip(W * x, -1.0, 1.0) * k,
    lambda x, k: Tensor(k) * Tensor(x),
    lambda x, k: vector.stack([W * x, W * k]),
    lambda x, k: vector.maximum(W * x, k),
    lambda x, k: W * x * (k if isinstance(k, float) else 7.0),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("i", range(len(USES)))
def test_what_is_done_with_a_float(i, dtype):
    use = USES[i]
    grad = Tensor(X.astype(dtype), "g")

    def make():
        def train(x, k):
            out = use(x, k) * grad
            grad.grad = None
            vector.sum(out).backward()
            k *= 2.0
            k += 1
            return out, Tensor(grad.grad) * k

        return train

    eager, recorded = make(), vector.compile(make(), verify=3)
    for k in (0.3, 0.3, 1.7, -0.4, 2.0):
        with np.errstate(all="ignore"):
            expected, got = eager(X.astype(dtype), k), recorded(X.astype(dtype), k)
        for a, b in zip(expected, got, strict=True):
            assert same(a.data, b.data), k
    assert recorded.traces == 1


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda x, k: W * x if k else x, "branch on a float argument; use vector.where, or pass a bool"),
        (lambda x, k: W * x if k > 0.5 else x, "branch on a value; use vector.where"),
        (lambda x, k: W * float(k), "turn a float argument, which may change, into a plain number"),
        (lambda x, k: W * len(f"{k:.2f}"), "turn a float argument"),
        (lambda x, k: W * round(k), "turn a float argument"),
        (lambda x, k: W * [k, 1.0, 2.0], "hand a value to code that wants a plain array"),
        (lambda x, k: vector.leaky_relu(W, k), "turn a float argument"),
        (lambda x, k: W * k**3, "compute pow of a float argument and a number; compute it outside"),
        (lambda x, k: W * (k % 2.0), "compute mod of a float argument"),
        (lambda x, k: W * (2.0 // k), "compute rfloordiv of a float argument"),
        (lambda x, k: W * [1.0, 2.0][int(k)], "turn a float argument"),
    ],
)
def test_what_a_float_cannot_do(use, words):
    with pytest.raises(RecordingError, match=words):
        vector.compile(use)(X, 0.7)


# --- plain values -----------------------------------------------------------------------------------------------------


def test_plain_values_make_a_recording_each():
    def pick(x, n, square=False, name="tanh", more=None):
        y = getattr(vector, name)(W * x)[:n]
        y = y * y if square else y
        return y if more is None else y * more

    recorded = vector.compile(pick)
    calls = [(1,), (2,), (True,), (2, True), (2, True, "exp"), (2, False, "tanh", 3), (1,), (2, True)]
    for args in calls * 2:
        assert same(recorded(X, *args).data, pick(X, *args).data)
    assert recorded.traces == 6
    assert same(recorded(X, 2, name="exp").data, pick(X, 2, name="exp").data)


def test_a_counter_should_be_an_array():
    recorded = vector.compile(lambda x, i: W * x * i)
    for i in range(8):
        recorded(X, i)
    for i in (8, 9):
        with pytest.raises(RecordingError, match=rf"take {i} for its argument 'i', which had 8 other values.*array"):
            recorded(X, i)
    assert same(recorded(X, 3).data, X * 3)
    assert recorded.traces == 8
    recorded.clear()
    assert same(recorded(X, 8).data, X * 8)


def test_objects_are_told_apart_and_guarded():
    class Config:
        k = 2.0

    recorded, configs = vector.compile(lambda x, config: W * x * config.k), [Config(), Config()]
    configs[1].k = 3.0
    for config in (*configs, *configs):
        assert same(recorded(X, config).data, X * config.k)
    assert recorded.traces == 2
    configs[0].k = 5.0
    with pytest.raises(RecordingError, match=r"follow 'config\.k'"):
        recorded(X, configs[0])
    assert same(recorded(X, configs[1]).data, X * 3.0)


def test_an_iterator_as_an_argument():
    with pytest.raises(RecordingError, match="take what comes next from 'numbers'"):
        vector.compile(lambda x, numbers: W * x * next(numbers))(X, iter([1.0, 2.0]))


# --- structures -------------------------------------------------------------------------------------------------------

Pair = collections.namedtuple("Pair", "a b")


def total(x):
    """The sum of what is in tuples, lists and dicts."""
    if isinstance(x, dict):
        return sum(len(key) * total(part) for key, part in x.items())
    return sum(total(part) for part in x) if isinstance(x, (tuple, list)) else x


def test_structures():
    recorded = vector.compile(lambda x, *more, **named: W * x * total(more) * total(named))
    calls = [
        (((X, 2.0), [X, [X]]), {"k": {"a": X, "bc": 3}}),
        (((X, 4.0), [X * 2.0, [X]]), {"k": {"a": X * 3.0, "bc": 3}}),
        (((X, 2.0), [X, [X]]), {"k": {"a": X, "bc": 4}}),
        (((X, 2.0), [X, X]), {"k": {"a": X, "bc": 3}}),
        (([X, 2.0], [X, X]), {"k": {"a": X, "bc": 3}}),
        ((Pair(X, 2.0),), {"k": {"abc": X}}),
    ]
    for args, named in calls * 2:
        assert same(recorded(X, *args, **named).data, (W * X * total(args) * total(named)).data)
    assert recorded.traces == 6  # in the second all arrays are different ones


def test_a_named_tuple_is_one_inside():
    recorded = vector.compile(lambda pair: W * pair.a * pair.b)
    for i in range(3):
        assert same(recorded(Pair(X, float(i))).data, X * i)


# --- one object or two ------------------------------------------------------------------------------------------------


def test_a_tensor_given_twice_or_two():
    """Its gradient is the sum of both uses."""

    def slopes(a, b):
        loss = vector.sum(a * b * a)
        loss.backward()
        return loss, Tensor(a.grad) * 1.0, Tensor(b.grad) * 1.0

    for order in (0, 1):
        recorded = vector.compile(slopes)
        for i in range(6):
            t, u = Tensor([2.0, 3.0]), Tensor([5.0 + i, 7.0])
            t2, u2 = Tensor(t.data.copy()), Tensor(u.data.copy())
            args, twins = ((t, t), (t2, t2)) if i % 2 == order else ((t, u), (t2, u2))
            for a, b in zip(slopes(*args), recorded(*twins), strict=True):
                assert same(a.data, b.data)
        assert recorded.traces == 2


def test_an_array_given_twice_or_two_that_overlap():
    def write(x, y):
        x += 1.0
        return Tensor(y * 2.0) + x, Tensor(x if x is y else -x) * 1.0

    base = np.arange(6.0)
    views = [lambda b: (b[:3], b[3:]), lambda b: (b[:3], b[:3]), lambda b: (b[:3], b[2:5]), lambda b: (b, b)]
    recorded = vector.compile(write)
    for i in range(12):
        mine, other = base.copy(), base.copy()
        if i % 4 == 3:
            mine = mine[:3] = mine[:3]
        x, y = views[i % 4](mine)
        p, q = (x, x) if x is y else views[i % 4](other)
        if x is y:
            p = q = other[:3]
            x = y = mine[:3]
        for a, b in zip(write(x, y), recorded(p, q), strict=True):
            assert same(a.data, b.data)
        assert same(mine, other[: len(mine)])


def test_a_tensor_that_the_step_finds_outside_as_an_argument_at_a_replay():
    p = Tensor(np.ones(3), "p")
    recorded = vector.compile(lambda a: vector.sum(a * p))
    recorded(Tensor(X))
    with pytest.raises(RecordingError, match="find its argument p outside, too"):
        recorded(p)


def test_a_leaf_and_a_result_as_an_argument():
    recorded = vector.compile(lambda a: Tensor(vector.grad(vector.sum(a * a), a)))
    recorded(Tensor(X))
    with pytest.raises(RecordingError, match="differentiate what an argument was made of"):
        recorded(Tensor(X) * 2.0)


# --- methods ----------------------------------------------------------------------------------------------------------


class Trainer:
    """A class of the user's."""

    def __init__(self, k=2.0):
        self.w, self.k, self.seen = Tensor(np.ones(3), "w"), k, []

    @vector.compile
    def step(self, x, lr=0.1):
        """One step."""
        loss = vector.sum((self.w * x) ** 2.0) * self.k
        self.w.grad = None
        loss.backward()
        self.w.data -= lr * self.w.grad
        return loss

    @vector.compile(verify=1)
    def value(self, x):
        return self.w * x * self.k


def test_a_method_is_recorded_for_each_instance():
    trainers = Trainer(), Trainer(3.0)
    for i in range(4):
        for trainer in trainers:
            expected = np.sum((trainer.w.data * X) ** 2.0) * trainer.k
            assert trainer.step(X, lr=0.1 / (i + 1)).item() == expected
            trainer.seen.append(i)  # what the step does not name may change
    assert [t.step.traces for t in trainers] == [1, 1]
    assert trainers[0].value(X).data.tolist() == (trainers[0].w.data * X * 2.0).tolist()
    trainers[0].k = 5.0
    with pytest.raises(RecordingError, match=r"follow 'self\.k'"):
        trainers[0].step(X, lr=0.1)
    trainers[1].step(X, lr=0.1)
    assert isinstance(Trainer.step, CompiledStep) and Trainer.step.__doc__ == "One step."
    assert trainers[0].step is trainers[0].step is not trainers[1].step


def test_a_method_called_by_its_class():
    trainer = Trainer()
    assert Trainer.value(trainer, X).data.tolist() == Trainer.value(trainer, X).data.tolist() == (X * 2.0).tolist()


def test_recordings_go_with_their_instance(no_collector):
    trainer = Trainer()
    trainer.step(X), trainer.step(X), trainer.step(X)
    gone, recorded = weakref.ref(trainer), weakref.ref(trainer.step)
    del trainer
    assert gone() is None and recorded() is None
    assert Trainer.__dict__["step"].bound == {}
    assert gc.collect() == 0


def test_a_copy_has_recordings_of_its_own():
    trainer = Trainer()
    trainer.step(X)
    twin = copy.copy(trainer)
    twin.w = Tensor(np.zeros(3), "v")
    assert twin.step(X).item() == 0.0 and trainer.step(X).item() != 0.0


# --- how many ---------------------------------------------------------------------------------------------------------


def test_the_least_recently_used_is_forgotten():
    recorded = vector.compile(lambda x: vector.sum(x * W[0]), recordings=3)
    shapes = [np.ones(n) for n in range(1, 5)]
    for x in (*shapes[:3], shapes[0], shapes[3]):
        assert recorded(x).item() == x.sum()
    assert recorded.traces == 4 and len(recorded.replays) == 3
    recorded(shapes[0]), recorded(shapes[2])
    assert recorded.traces == 4
    recorded(shapes[1])
    assert recorded.traces == 5 and len(recorded.replays) == 3
    many = vector.compile(lambda x: vector.sum(x * W[0]))
    for n in range(70):
        many(np.ones(n + 1))
    assert len(many.replays) == 64


# --- around a recording -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verify", [False, True])
def test_a_refusal_that_the_step_swallows(verify):
    tried = iter([not verify, True, False]).__next__

    def step(x):
        y = W * x
        if tried():
            with contextlib.suppress(Exception):
                y = y * float(vector.sum(y))
        return y

    recorded = vector.compile(step)
    if verify:
        recorded(X)
    with pytest.raises(RecordingError, match=r"test_arguments\.py:\d+: `y = y \* float.*turn a value into a number"):
        recorded(X)
    assert recorded.replays == {}
    assert same((W * X).data, X)


def test_a_swallowed_refusal_before_another_error():
    def step(x):
        try:
            k = float(vector.sum(W * x))
        except RuntimeError:
            pass
        return k * x

    with pytest.raises(RecordingError, match="turn a value into a number") as caught:
        vector.compile(step)(X)
    assert isinstance(caught.value.__cause__, UnboundLocalError)


def test_what_is_returned_has_no_graph():
    w = Tensor(np.ones(3), "w")
    recorded = vector.compile(lambda x: (vector.sum(w * x), {"w": w}))
    for _ in range(3):
        loss, more = recorded(X)
        for t in (loss, more["w"]):
            with pytest.raises(RecordingError, match=r"differentiate what it returned.*call backward\(\) inside"):
                t.backward()
        assert isinstance(loss, Tensor) and repr(loss) == "Tensor(1.5, shape=(), dtype=float64)"
        vector.sum(loss * w).backward()  # a constant in an expression
        assert same(w.grad, np.full(3, 1.5))
        w.grad = None


@pytest.mark.parametrize("where", ["optimize", "Replay", "Signature"])
def test_an_interrupt_in_the_passes(where, monkeypatch):
    w = Tensor(np.ones(3), "w")

    def train(x):
        loss = vector.sum(w * x)
        w.grad = None
        loss.backward()
        w.data -= 0.1 * w.grad
        return loss

    def interrupted(*args):
        raise KeyboardInterrupt

    recorded = vector.compile(train)
    with monkeypatch.context() as broken:
        broken.setattr(step, where, interrupted)
        with pytest.raises(KeyboardInterrupt):
            recorded(X)
    assert recorded.traces == 0 and same(w.data, 1.0 - 0.1 * X)  # the step was taken
    with pytest.raises(RuntimeError, match="used up"):
        _ = w.grad
    for i in range(2, 5):
        recorded(X)
        assert np.allclose(w.data, 1.0 - 0.1 * i * X)
    train(X)
    assert recorded.traces == 1


def test_operators_of_floats_are_all_there():
    for name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "neg", "pos", "abs"):
        assert hasattr(operator, name) and f"__{name}__" in vars(step.TracedFloat)


def test_each_kind_of_number_has_a_recording():
    step = vector.compile(lambda x, k: vector.Tensor(x) * k)
    x = np.array([1.0, 3.0])
    for k in (0.1, np.float32(0.1), np.float64(0.1), 0.2, np.float32(0.2)):
        assert step(x, k).data.tolist() == (x * float(k)).tolist()
    assert step.traces == 3
