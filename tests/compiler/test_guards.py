"""The values that a recorded step captures are guarded: where one changed, a replay refuses by its name."""

import functools
import itertools
import re
import types

import numpy as np
import pytest

import vector
from vector import nn, optim
from vector.compiler.guards import GuardSet
from vector.compiler.step import NEVER
from vector.epoch import epoch
from vector.errors import RecordingError

X, Y = np.random.default_rng(0).normal(size=(8, 3)), np.array([0, 1] * 4)
FACTOR = 1.0
DEEP = {"k": [1.0]}


def scaled(loss):
    return loss * FACTOR


class Holder:
    """Anything with attributes."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def times(self, loss):
        return loss * self.k

    @property
    def twice(self):
        return 2.0 * self.j

    @staticmethod
    def by_factor(loss):
        return loss * FACTOR


HOLDER = Holder()


class Trainer:
    """A class of the user's, whose method is the step."""

    def __init__(self):
        self.model, self.optimizer, _ = made()
        self.k, self.epoch = 1.0, 0

    def step(self, x, y):
        return trained(self.model, self.optimizer, vector.cross_entropy(self.model(x), y) * self.k)

    __call__ = step


class Scale(nn.Layer):
    """A layer of the user's."""

    def __init__(self):
        self.w, self.k, self.seen = vector.Tensor(np.eye(3), "w"), 1.0, 0

    def __call__(self, x):
        return (x @ self.w) * self.k


def trained(model, optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def made(optimizer=lambda p: optim.SGD(p, 0.1, momentum=0.9), layers=None, of=lambda loss: loss):
    """A model, its optimizer, and a step whose loss goes through `of`."""
    model = nn.Sequential(*(layers or [nn.Dense(3, 4, "tanh", seed=0), nn.Dense(4, 2, seed=1)]))
    update = optimizer(model.parameters())

    def step(x, y):
        return trained(model, update, of(vector.cross_entropy(model(x), y)))

    return model, update, step


def set_global(name, value, monkeypatch):
    monkeypatch.setitem(globals(), name, value)


def of_optimizer(name, value, optimizer=lambda p: optim.SGD(p, 0.1, momentum=0.9)):
    _, update, step = made(optimizer)
    return step, lambda _: setattr(update, name, value)


def of_model(change, *layers):
    model, _, step = made(layers=layers)
    return step, lambda _: change(model)


def of_holder(name, value, of, holder):
    return made(of=lambda loss: of(holder, loss))[2], lambda _: setattr(holder, name, value)


def of_trainer(name, value, step):
    trainer = Trainer()
    return step(trainer), lambda _: setattr(trainer, name, value)


def of_parts():
    parts = {"a": [1.0]}
    return made(of=lambda loss: loss * parts["a"][0])[2], lambda _: parts["a"].__setitem__(0, 3.0)


def of_default():
    def of(loss, k=[1.0]):  # noqa: B006
        return loss * k[0]

    return made(of=of)[2], lambda _: of.__defaults__[0].__setitem__(0, 3.0)


def of_keyword():
    def of(loss, *, k=[1.0]):  # noqa: B006
        return loss * k[0]

    return made(of=of)[2], lambda _: of.__kwdefaults__["k"].__setitem__(0, 3.0)


def of_partial():
    k = [1.0]
    return functools.partial(lambda k, x, y: vector.mean(x * k[0]), k), lambda _: k.__setitem__(0, 3.0)


def of_object_in_dict():
    parts = {"a": Holder(k=1.0)}
    return made(of=lambda loss: loss * parts["a"].k)[2], lambda _: setattr(parts["a"], "k", 3.0)


def of_longer_list():
    parts = [1.0]
    return made(of=lambda loss: loss * sum(parts))[2], lambda _: parts.append(1.0)


def adam(parameters):
    return optim.Adam(parameters, 0.1)


CHANGED = {
    "update.momentum": lambda: of_optimizer("momentum", 0.5),
    "update.weight_decay": lambda: of_optimizer("weight_decay", 0.5),
    "update.nesterov": lambda: of_optimizer("nesterov", True),
    "update.betas[0]": lambda: of_optimizer("betas", (0.5, 0.9), adam),
    "update.eps": lambda: of_optimizer("eps", 0.5, adam),
    "model.layers[1].rate": lambda: of_model(
        lambda model: setattr(model.layers[1], "rate", 0.0), nn.Dense(3, 4, seed=0), nn.Dropout(0.5), nn.Dense(4, 2)
    ),
    "model.layers[0].weight": lambda: of_model(
        lambda model: setattr(model.layers[0], "weight", vector.Tensor(np.ones((3, 4))))
    ),
    "model.layers[0].bias": lambda: of_model(lambda model: delattr(model.layers[0], "bias")),
    "model.layers[0].activation": lambda: of_model(lambda model: setattr(model.layers[0], "activation", vector.relu)),
    "model.layers": lambda: of_model(lambda model: setattr(model, "layers", (nn.Dense(3, 2, seed=5),))),
    "model.layers[0].k": lambda: of_model(lambda model: setattr(model.layers[0], "k", 3.0), Scale(), nn.Dense(3, 2)),
    "self.k": lambda: of_trainer("k", 3.0, lambda trainer: trainer.step),
    "self.k ": lambda: of_trainer("k", 3.0, lambda trainer: trainer),
    "holder.k ": lambda: of_holder("k", 3.0, lambda holder, loss: loss * holder.k, types.SimpleNamespace(k=1.0)),
    "holder.k": lambda: of_holder("k", 3.0, lambda holder, loss: holder.times(loss), Holder(k=1.0)),
    "holder.j": lambda: of_holder("j", 3.0, lambda holder, loss: loss * holder.twice, Holder(j=1.0)),
    "parts['a'][0]": of_parts,
    "parts['a'].k": of_object_in_dict,
    "parts": of_longer_list,
    "the defaults of of[0][0]": of_default,
    "the defaults of of['k'][0]": of_keyword,
    "the arguments of self[0][0]": of_partial,
    "FACTOR": lambda: (made(of=scaled)[2], functools.partial(set_global, "FACTOR", 3.0)),
    "FACTOR ": lambda: (
        made(of=lambda loss: (lambda y: y * FACTOR)(loss))[2],
        functools.partial(set_global, "FACTOR", 3.0),
    ),
    "FACTOR  ": lambda: (
        made(of=functools.partial(lambda k, loss: loss * k * FACTOR, 2.0))[2],
        functools.partial(set_global, "FACTOR", 3.0),
    ),
    "FACTOR   ": lambda: (made(of=vector.compile(scaled))[2], functools.partial(set_global, "FACTOR", 3.0)),
    "FACTOR    ": lambda: (made(of=Holder.by_factor)[2], functools.partial(set_global, "FACTOR", 3.0)),
    "FACTOR     ": lambda: (made(of=Holder().by_factor)[2], functools.partial(set_global, "FACTOR", 3.0)),
    "FACTOR      ": lambda: (
        made(of=lambda loss: HOLDER.by_factor(loss))[2],
        functools.partial(set_global, "FACTOR", 3.0),
    ),
    "scaled": lambda: (made(of=lambda loss: scaled(loss))[2], functools.partial(set_global, "scaled", lambda x: 3 * x)),
    "DEEP['k'][0]": lambda: (
        made(of=lambda loss: loss * DEEP["k"][0])[2],
        functools.partial(set_global, "DEEP", {"k": [3.0]}),
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_changed_is_named(name, monkeypatch):
    step, change = CHANGED[name]()
    recorded = vector.compile(step)
    for _ in range(3):
        recorded(X, Y)
    assert (recorded.traces, recorded.verified) == (1, 1)
    change(monkeypatch)
    for _ in range(2):  # it does not forget that it refused
        with pytest.raises(RecordingError, match=re.escape(f"cannot follow {name.strip()!r}, which changed after")):
            recorded(X, Y)
    if "bias" not in name:
        recorded.clear()
        recorded(X, Y)
        assert recorded.traces == 2


@pytest.mark.parametrize("make", [lambda t: t.step, lambda t: t])
def test_what_the_text_does_not_name_may_change(make):
    trainer = Trainer()
    recorded = vector.compile(make(trainer))
    for trainer.epoch in range(4):
        recorded(X, Y)
    assert recorded.traces == 1


def test_captured_arrays_cost_nothing():
    """They are compared by identity: a step that names a large one only for its length replays as any other."""
    images = np.broadcast_to(np.float64(1.0), (10**9,))  # to copy or compare 8 GB would be noticed

    def step(x):
        return vector.mean(x) / len(images)

    recorded = vector.compile(step)
    assert {recorded(X).item() for _ in range(5)} == {step(X).item()}


def test_an_attribute_that_was_put_back():
    _, update, step = made()
    recorded = vector.compile(step)
    recorded(X, Y)
    update.momentum = 0.5
    with pytest.raises(RecordingError, match=r"follow 'update\.momentum'"):
        recorded(X, Y)
    update.momentum = 0.9
    recorded(X, Y)
    assert recorded.traces == 1


def counted(monkeypatch, name):
    """The calls of a method of guard sets from now on."""
    calls, method = [], getattr(GuardSet, name)
    monkeypatch.setattr(GuardSet, name, lambda self: calls.append(name) or method(self))
    return calls


def test_other_layers_and_optimizers_may_change(monkeypatch):
    """The guards are evaluated, and then the replay is as quick as before."""
    _, _, step = made()
    other, another, _ = made()
    recorded = vector.compile(step)
    recorded(X, Y)
    recorded(X, Y)
    recorded(X, Y)
    another.momentum = 0.0
    other.layers[0].activation = None
    walks = counted(monkeypatch, "changed")
    recorded.current.due = NEVER
    for _ in range(3):
        recorded(X, Y)
    assert (recorded.traces, walks, recorded.current.guards.epoch) == (1, [], epoch.now)


def test_the_learning_rate_is_state(monkeypatch):
    """It is followed, and setting it is no reason to evaluate all guards."""
    _, update, step = made()
    _, other, eager = made()
    recorded = vector.compile(step)
    assert recorded(X, Y).item() == eager(X, Y).item()
    walks, before = counted(monkeypatch, "changed"), epoch.now
    recorded.current.due = NEVER
    for rate in (0.1, 0.05, 0.0):
        update.lr = other.lr = rate
        assert recorded(X, Y).item() == eager(X, Y).item()
    assert (recorded.traces, walks, epoch.now) == (1, [], before)


def test_what_comes_next():
    counter = itertools.count(1)
    recorded = vector.compile(made(of=lambda loss: loss * float(next(counter)))[2])
    with pytest.raises(RecordingError, match="take what comes next from 'counter'"):
        recorded(X, Y)


def test_a_model_may_hold_what_its_step_does_not_take_from():
    model, update, _ = made()
    model.log = iter([1.0])
    recorded = vector.compile(lambda x, y: trained(model, update, vector.cross_entropy(model(x), y)))
    assert recorded(X, Y).item() > recorded(X, Y).item()


def test_a_step_that_counts():
    """A replay would not count."""
    counts = Holder(n=0)

    def step(x):
        counts.n += 1
        return vector.mean(x)

    recorded = vector.compile(step)
    for i in range(2):
        with pytest.raises(RecordingError, match=r"change 'counts\.n' by itself.*the step just taken is right"):
            recorded(X)
        assert (counts.n, recorded.traces) == (i + 1, 0)


def test_a_step_that_makes_something_once():
    cache = Holder(k=None)

    def step(x):
        if cache.k is None:
            cache.k = 2.0
        return vector.mean(x) * cache.k

    recorded = vector.compile(step)
    with pytest.raises(RecordingError, match=r"change 'cache\.k' by itself.*if the step does it once, call it again"):
        recorded(X)
    assert {recorded(X).item() for _ in range(3)} == {2.0 * vector.mean(X)}


def test_lists_that_hold_themselves():
    loop = [1.0]
    loop.append(loop)
    recorded = vector.compile(lambda x: vector.mean(x) * loop[0])
    assert recorded(X).item() == recorded(X).item() == vector.mean(X)
    loop[0] = 2.0
    with pytest.raises(RecordingError, match=r"follow 'loop\[0\]'"):
        recorded(X)


@pytest.mark.parametrize("what", ["nothing", "momentum", "rate", "loss"])
def test_fit_follows_what_changes_between_epochs(what):
    def fit(compile):
        model = nn.Sequential(nn.Dense(3, 16, "tanh", seed=0), nn.Dropout(0.5, seed=3), nn.Dense(16, 2, seed=1))
        update, more = optim.SGD(model.parameters(), 0.1, momentum=0.9), {"k": 0.0}

        def change(row):
            if row["epoch"] == 1:
                if what == "momentum":
                    update.momentum = 0.5
                elif what == "rate":
                    model.layers[1].rate = 0.0
                elif what == "loss":
                    more["k"] = 1.0

        def loss(logits, labels):
            return vector.cross_entropy(logits, labels) + more["k"]

        x, y = np.tile(X, (8, 1)), np.tile(Y, 8)
        return model.fit(x, y, update, epochs=3, batch_size=10, loss=loss, on_epoch=change, compile=compile)

    assert fit(True) == fit(False)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_parameter_that_the_step_leaves_alone_may_not_be_frozen_or_unfrozen(frozen):
    """The optimizer asks for its `requires_grad`, and nobody for its array: unfrozen, it decays."""
    model, other = nn.Dense(2, 2, seed=0), vector.Tensor(np.ones(2), "other", requires_grad=not frozen)
    update = optim.AdamW([*model.parameters(), other], 0.1, weight_decay=0.5)

    @vector.compile
    def step(x):
        loss = vector.mean(model(x) ** 2)
        update.zero_grad()
        loss.backward()
        update.step()
        return loss

    x = np.ones((3, 2))
    step(x), step(x)
    before = other.data.copy()
    other.requires_grad = frozen
    with pytest.raises(RecordingError, match="cannot follow other, whose requires_grad changed"):
        step(x)
    assert np.array_equal(other.data, before)
    step.clear()
    step(x), step(x)
    assert np.array_equal(other.data, before) != frozen
    other.data = np.zeros(2)  # frozen, its array is nothing to the step
    if frozen:
        with pytest.raises(RecordingError, match="cannot follow other to another array"):
            step(x)
    else:
        step(x)


def test_what_a_step_decides_by_requires_grad():
    p = vector.Tensor(np.ones(2), "p")
    step = vector.compile(lambda x: vector.Tensor(x) * (2.0 if p.requires_grad else 3.0))
    assert [step(np.ones(1)).item() for _ in range(2)] == [2.0, 2.0]
    p.requires_grad = False
    with pytest.raises(RecordingError, match="cannot follow p, whose requires_grad changed"):
        step(np.ones(1))


def test_equal_values_in_other_objects_are_the_same():
    """Also where two captured values have one name, as two functions of one name have."""
    parts = {"a": [2.0, "text"], "b": (1, 2.5)}

    def make(k):
        def scaled(x):
            return x * k[0]

        return scaled

    functions = [make([2.0]), make([3.0])]
    step = vector.compile(lambda x: functions[1](functions[0](vector.Tensor(x))) * parts["a"][0])
    x = np.ones(2)
    assert step(x).data.tolist() == [12.0, 12.0]
    for _ in range(3):
        parts["a"] = [2.0, "text"]
        parts["b"] = (1, 2.5)
        assert step(x).data.tolist() == [12.0, 12.0]
    assert step.traces == 1
    functions[1].__closure__[0].cell_contents[0] = 5.0
    with pytest.raises(RecordingError, match="cannot follow"):
        step(x)
