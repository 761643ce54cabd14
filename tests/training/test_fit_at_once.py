"""`fit` takes many steps in one call where nothing of the user's runs in between. Nothing in the results shows it."""

import itertools

import numpy as np
import pytest
from checkpoints import equal
from recorded import OPTIMIZERS, same

import vector
from vector import nn, optim
from vector.checkpoint import load
from vector.compiler.step import Replay
from vector.data.augment import mirror
from vector.data.batches import Batches
from vector.errors import RecordingError
from vector.training import recorded, run
from vector.training.metrics import absolute_error, accuracy, binary_accuracy, total, totals

N, SIZE = 303, 2  # 151 batches of 2, and one of 1
BATCHES = 152
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (N, 4, 4), np.uint8)
Y = RNG.integers(0, 3, N)
FALL = optim.cosine(0.05, 2 * BATCHES, warmup=20)


class Job:
    """A model and an optimizer for a short run, always made alike; `labels` are those of each step run as Python."""

    def __init__(self, optimizer="adamw"):
        layers = nn.Dense(16, 5, "tanh", seed=0, dtype=np.float32), nn.Dense(5, 3, seed=1, dtype=np.float32)
        self.model = nn.Sequential(nn.Flatten(), layers[0], nn.Dropout(0.2, seed=2), layers[1])
        self.optimizer, self.python = OPTIMIZERS[optimizer](self.model.parameters()), []

    def fit(self, images=X, labels=Y, **options):
        note = self.python.append  # what a step captures must not change, as the list would

        def loss(outputs, y):
            note(len(y))
            return vector.cross_entropy(outputs, y)

        options = {"epochs": 2, "batch_size": SIZE, "seed": 3, "loss": loss, "threads": 1, **options}
        return self.model.fit(images, labels, self.optimizer, **options)

    def state(self):
        return self.model.state_dict(), self.optimizer.state_dict(), self.model.layers[2].rng.bit_generator.state


def nothing(row):
    """The user's: fit takes each step by itself."""


def counted(monkeypatch, owner, name):
    """How often a method is called."""
    calls, f = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **named: calls.append(1) or f(*args, **named))
    return calls


def by_hand(job):
    """The state after two epochs, in a loop that is not `fit`'s."""
    batches = Batches(X, Y, SIZE, seed=3)
    step = job.model.train_step(job.optimizer, vector.cross_entropy)
    for i, batch in enumerate(itertools.chain(batches, batches)):
        job.optimizer.lr = FALL(i)
        step(*batch)
    return job.state()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_many_steps_at_once_are_the_steps_one_by_one(optimizer, monkeypatch):
    looks = counted(monkeypatch, Replay, "takes")
    ways = {
        "at once": {"schedule": FALL},
        "on_step": {"schedule": FALL, "on_step": nothing},
        "schedule": {"schedule": lambda step: FALL(step)},
        "metric": {"schedule": FALL, "metrics": {"accuracy": lambda outputs, y: accuracy(outputs, y)}},
        "python": {"schedule": FALL, "compile": False},
    }
    found, looked, python = {}, {}, {}
    for way, options in ways.items():
        looks.clear()
        job = Job(optimizer)
        found[way] = repr(job.fit(**options)), job.state()
        looked[way], python[way] = len(looks), job.python
    found["by hand"] = found["python"][0], by_hand(Job(optimizer))
    history, state = found.pop("at once")
    for way, (other, end) in found.items():
        assert (history == other, equal(dict(enumerate(state)), dict(enumerate(end)))) == (True, True), way
    assert looked["at once"] < 40 and min(looked[way] for way in ("on_step", "schedule", "metric")) > 250
    assert python["at once"] == python["on_step"] and len(python["at once"]) < 20 and len(python["python"]) == 304


def test_a_loss_that_is_not_finite_in_the_midst_ends_there(monkeypatch):
    made, images = [], X.astype(np.float32) / 255
    monkeypatch.setattr(recorded, "CompiledStep", lambda f: made.append(vector.compile(f)) or made[-1])
    images[7] = np.nan
    found, order = [], np.random.default_rng([3, 0]).permutation(N).tolist()
    words = f"the loss is nan at epoch 1, batch {order.index(7) // SIZE + 1};"
    for options in ({}, {"on_step": nothing}, {"compile": False}):
        job = Job()
        with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=words) as caught:
            job.fit(images, schedule=FALL, **options)
        found.append((str(caught.value), *job.state()[:2], job.optimizer.lr))
    assert found[0][0] == found[1][0] == found[2][0]
    for other in found[1:]:  # the parameters are what that step made of them
        assert other[3] == found[0][3]
        assert all(same(x, other[1][name]) for name, x in found[0][1].items())
        assert all(same(x, other[2][name]) for name, x in found[0][2].items() if name != "settings")
    assert not any(step.lock.locked() for step in made) and made[0].current.count > 20


@pytest.mark.parametrize("at", [1, 2, 37, 150])
def test_ctrl_c_in_the_midst_leaves_a_run_that_goes_on(at, tmp_path, monkeypatch):
    """While it gathers what comes next, in the midst of many steps."""
    whole, made, path = Job(), [], tmp_path / "a.npz"
    expected = repr(whole.fit(schedule=FALL)), whole.state()
    monkeypatch.setattr(recorded, "CompiledStep", lambda f: made.append(vector.compile(f)) or made[-1])
    monkeypatch.setattr("vector.data.batches.TOGETHER", 1)
    job, takes, take = Job(), itertools.count(), Batches._take

    def interrupted(*args):
        if next(takes) == at:
            raise KeyboardInterrupt
        return take(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "_take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            job.fit(schedule=FALL, checkpoint=path, every=10)
    assert len(made) == 1 and not made[0].lock.locked()
    assert path.exists() == (at > 10) and (at < 10 or load(path)["run"]["step"] == at // 10 * 10)
    job = job if path.exists() else Job()
    assert repr(job.fit(schedule=FALL, checkpoint=path, every=10)) == expected[0]
    assert equal(dict(enumerate(job.state())), dict(enumerate(expected[1])))


@pytest.mark.parametrize("every", [7, 64, 100])
def test_checkpoints_in_the_midst_are_those_of_steps_one_by_one(every, tmp_path, monkeypatch):
    written, save = [], run.save
    monkeypatch.setattr(run, "save", lambda path, state: (save(path, state), written.append(path.read_bytes())))
    found = []
    for options in ({}, {"on_step": nothing}):
        written.clear()
        path = tmp_path / f"{len(found)}.npz"
        Job().fit(epochs=1, schedule=FALL, checkpoint=path, every=every, **options)
        found.append(list(written))
    assert found[0] == found[1] and len(found[0]) == len({*range(every, BATCHES + 1, every)}) + 1


# --- what the user's own functions change between two steps is seen at the next


class Slow(optim.SGD):
    """An optimizer of the user's, who is told of each new rate."""

    def told(self):
        """Called with each new rate."""

    lr = property(lambda self: 0.01, lambda self, new: self.told())


def change_after(box, at, result=None):
    """A function that changes what the step captures at its call number `at`, and how often it was called."""
    calls = []

    def change(*args):
        calls.append(1)
        if len(calls) == at:
            box["rate"] = 2.0
        return args[0] if result is None else result

    return change, calls


@pytest.mark.parametrize("where", ["schedule", "metric", "on_step", "augment", "optimizer"])
@pytest.mark.parametrize("at", [2, 3, 40, 150])
def test_what_a_function_of_the_users_changes_is_never_overlooked(where, at, monkeypatch):
    box, job = {"rate": 1.0}, Job("sgd")
    change, calls = change_after(box, at, {"schedule": 0.05, "metric": 0.0}.get(where))
    options = {
        "schedule": {"schedule": change},
        "metric": {"metrics": {"own": change}},
        "on_step": {"on_step": change},
        "augment": {"augment": change},
        "optimizer": {"schedule": FALL},
    }[where]
    if where == "optimizer":
        job.optimizer = Slow(job.model.parameters(), 0.01)
        monkeypatch.setattr(Slow, "told", change)

    def loss(outputs, y):
        return vector.cross_entropy(outputs, y) * box["rate"]

    with pytest.raises(RecordingError, match=r"cannot follow .box"):
        job.fit(loss=loss, epochs=1, **options)
    assert len(calls) == at


def test_functions_of_this_package_are_known():
    assert all(map(run.own, (FALL, mirror(), accuracy, absolute_error, optim.SGD, optim.constant(0.1))))
    others = (Slow, nothing, lambda step: 0.1, Job().model, Job().model.predict, print, np.abs, Slow.lr)
    assert not any(map(run.own, others))


# --- metrics of many batches


SHAPES = [
    ((4, 3), (4,)), ((1, 3), (1,)), ((4, 3), (4, 3)), ((4, 2, 3), (4, 2)), ((4, 1, 3), (4,)), ((4, 4, 3), (4,)),
    ((4, 2, 3), (4, 2, 3)), ((4,), (4,)), ((1,), (1,)), ((4, 1), (4, 1)), ((2, 4, 3), (4,)),
]  # fmt: skip


@pytest.mark.parametrize("outputs, targets", SHAPES)
def test_the_totals_of_many_batches_are_the_total_of_each(outputs, targets):
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=outputs).astype(np.float32) for _ in range(9)]
    for ys in ([rng.integers(0, 3, targets) for _ in xs], [rng.random(targets).astype(np.float32) for _ in xs]):
        for metric in (accuracy, binary_accuracy, absolute_error, lambda x, y: x.max() + len(x)):
            try:
                expected = [total(metric, x, y) for x, y in zip(xs, ys, strict=True)]
            except ValueError:  # shapes that do not go together
                continue
            assert [repr(x) for x in totals(metric, xs, ys)] == [repr(x) for x in expected]


@pytest.mark.parametrize("room", [1, 100, 2**16])
def test_outputs_that_wait_for_their_metrics_take_little_room(room, monkeypatch):
    monkeypatch.setattr(run, "ROOM", room)
    sizes = []
    monkeypatch.setattr(run, "totals", lambda f, xs, ys: sizes.append(sum(x.nbytes for x in xs)) or totals(f, xs, ys))
    assert Job().fit()[0].keys() == {"epoch", "loss", "accuracy"}
    assert room <= max(sizes) < room + 100 or (room > 10_000 and max(sizes) == 64 * SIZE * 3 * 4)
