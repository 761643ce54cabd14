"""A run that goes on from a checkpoint ends with the same bits wherever it was stopped."""

import math
import os
import sys

import numpy as np
import pytest
from checkpoints import Faulty, calls, equal
from kill_and_resume import kill_and_resume, report
from recorded import OPTIMIZERS

import vector
from vector import nn, optim
from vector.checkpoint import CheckpointError, load, save

IMAGES = np.random.default_rng(7).integers(0, 256, (46, 3, 2), np.uint8)
LABELS = np.random.default_rng(8).integers(0, 3, 46)
EPOCHS, BATCHES = 3, 5  # of 10 images, the last of 6


class Stop(Exception):
    """What a test stops a run with."""


class Job:
    """A model and an optimizer for a short run, always made anew and alike."""

    def __init__(self, optimizer="adamw", compile=True, seed=0, bits=np.random.PCG64, dtype=np.float32):
        drop = nn.Dropout(0.4)
        drop.rng = np.random.Generator(bits(seed + 2))
        layers = nn.Dense(6, 5, "relu", seed=seed, dtype=dtype), nn.Dense(5, 3, seed=seed + 1, dtype=dtype)
        self.model = nn.Sequential(nn.Flatten(), layers[0], drop, layers[1])
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.options = {
            "epochs": EPOCHS, "batch_size": 10, "seed": 3, "compile": compile, "validation": (IMAGES[:9], LABELS[:9]),
            "schedule": optim.cosine(0.1, EPOCHS * BATCHES, warmup=4), "threads": 1,
        }  # fmt: skip

    def fit(self, images=IMAGES, labels=LABELS, **options):
        return self.model.fit(images, labels, self.optimizer, **{**self.options, **options})

    def state(self):
        rng = self.model.layers[2].rng.bit_generator.state
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "rng": rng}

    def stopped(self, at, path, **options):
        """Run until step number `at` is to begin."""
        follow = {**self.options, **options}["schedule"]

        def schedule(step):
            if step == at and schedule.under_way:
                raise Stop
            schedule.under_way = True
            return follow(step)

        schedule.under_way = True
        with pytest.raises(Stop):
            self.fit(checkpoint=path, **{**options, "schedule": schedule})
        return self


def finished(*args, **options):
    job = Job(*args)
    return job.fit(**options), job.state()


def same_end(found, expected):
    assert repr(found[0]) == repr(expected[0])
    assert equal(found[1], expected[1])


KINDS_AND_EVERY = [("sgd", 1), ("momentum", 1), ("adam", 1), ("adamw", 1), ("adamw", 4), ("adamw", None)]


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("optimizer, every", KINDS_AND_EVERY)
def test_a_run_stopped_anywhere_ends_with_the_same_bits(optimizer, compile, every, tmp_path):
    expected = finished(optimizer, compile)
    for at in range(1, EPOCHS * BATCHES):
        path = tmp_path / f"{at}.npz"
        Job(optimizer, compile).stopped(at, path, every=every)
        written = max(at - at % BATCHES, at - at % every if every else 0)
        assert path.exists() == bool(written)
        assert not written or load(path)["run"]["step"] == written
        job = Job(optimizer, compile, seed=50) if written else Job(optimizer, compile)  # all numbers are the file's
        same_end((job.fit(checkpoint=path, every=every), job.state()), expected)
        assert load(path)["run"]["step"] == EPOCHS * BATCHES
    assert len(os.listdir(tmp_path)) == EPOCHS * BATCHES - 1


@pytest.mark.parametrize("where", ["evaluate", "on_epoch"])
def test_a_run_stopped_between_the_last_batch_and_the_end_of_an_epoch(where, tmp_path, monkeypatch):
    """The last batch is shorter than the others, and its step is written before the epoch is."""
    path = tmp_path / "a.npz"
    expected = finished()

    def stop(*_, **__):
        raise Stop

    for epoch in (1, 2, 3):
        job = Job(seed=epoch) if epoch > 1 else Job()
        options = {"on_epoch": stop} if where == "on_epoch" else {}
        with monkeypatch.context() as patch:
            if where == "evaluate":
                patch.setattr(job.model, "evaluate", stop)
            with pytest.raises(Stop):
                job.fit(checkpoint=path, every=1, epochs=epoch, **options)
        assert load(path)["run"]["step"] == epoch * BATCHES
        assert len(load(path)["run"]["history"]) == epoch - 1
        job = Job(seed=9)
        found = job.fit(checkpoint=path, epochs=epoch), job.state()
    same_end(found, expected)


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_any_random_generator(bits, tmp_path):
    expected = finished("sgd", True, 0, bits)
    Job("sgd", True, 0, bits).stopped(7, tmp_path / "a.npz", every=1)
    job = Job("sgd", True, 9, bits)
    same_end((job.fit(checkpoint=tmp_path / "a.npz"), job.state()), expected)
    with pytest.raises(CheckpointError, match="expected a checkpoint of this run"):
        Job("sgd").fit(checkpoint=tmp_path / "a.npz")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stopped_again_and_again(dtype, tmp_path):
    """Recorded and not by turns, which gives the same bits; the same job after a stop, and a new one."""
    expected = finished("adam", True, 0, np.random.PCG64, dtype)
    job = Job("adam", True, 0, np.random.PCG64, dtype)
    for at in range(1, EPOCHS * BATCHES):
        job.stopped(at, tmp_path / "a.npz", every=1, compile=at % 2 == 0)
        if at % 3:
            job = Job("adam", True, at, np.random.PCG64, dtype)
    same_end((job.fit(checkpoint=tmp_path / "a.npz"), job.state()), expected)


def test_without_schedule_the_learning_rate_is_the_optimizers(tmp_path):
    def on_epoch(job):
        def halve(row):
            job.optimizer.lr /= 2

        return halve

    job = Job()
    expected = job.fit(schedule=None, on_epoch=on_epoch(job)), job.state()
    for epochs in (1, 2, 3):
        job = Job()
        history = job.fit(schedule=None, on_epoch=on_epoch(job), epochs=epochs, checkpoint=tmp_path / "a.npz")
    same_end((history, job.state()), expected)


def test_a_finished_run_is_not_run_again_and_a_longer_one_goes_on(tmp_path):
    path, schedule = tmp_path / "a.npz", optim.constant(0.05)
    expected = finished(schedule=schedule, epochs=2)
    Job().fit(schedule=schedule, epochs=2, checkpoint=path)
    rows, job = [], Job(seed=4)
    same_end((job.fit(schedule=schedule, epochs=2, checkpoint=path, on_epoch=rows.append), job.state()), expected)
    assert not rows
    job = Job(seed=5)
    history = job.fit(schedule=schedule, epochs=4, checkpoint=path, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [3, 4]
    same_end((history, job.state()), finished(schedule=schedule, epochs=4))


def test_a_run_without_checkpoint_writes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("folder", ["none", "file"])
def test_a_folder_that_takes_no_files_is_named_before_the_first_step(folder, tmp_path):
    (tmp_path / "file").touch()
    job = Job()
    before = job.state()
    with pytest.raises(OSError, match="expected a folder that is there and takes files") as caught:
        job.fit(checkpoint=tmp_path / folder / "a.npz")
    assert caught.value.filename == str(tmp_path / folder / "a.npz")
    assert equal(job.state(), before)


def test_how_often_it_is_written(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(vector.training.run, "save", lambda path, state: written.append(state["run"]["step"]))
    Job().fit(checkpoint=tmp_path / "a.npz", every=4)
    assert written == [4, 5, 8, 10, 12, 15]
    written.clear()
    Job().fit(checkpoint=tmp_path / "a.npz")
    assert written == [5, 10, 15]


OTHERS = {
    "batch_size": ({"batch_size": 11}, "batch_size 10, where this run has 11"),
    "seed": ({"seed": 4}, "seed 3, where this run has 4"),
    "samples": ({"images": IMAGES[:45], "labels": LABELS[:45]}, "samples 46, where this run has 45"),
    "images": ({"images": IMAGES[::-1]}, "data uint8 .* crc32"),
    "labels": ({"labels": LABELS[::-1]}, "data uint8 .* crc32"),
    "schedule": ({"schedule": optim.cosine(0.1, 16, warmup=4)}, "learning rate of the last step"),
    "no schedule": ({"schedule": None}, "learning rate of the last step .*, where this run has None"),
    "epochs": ({"epochs": 1}, "7 steps, where 1 epochs have 5"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_other_settings_changes_nothing(name, tmp_path):
    options, words = OTHERS[name]
    untouched(tmp_path / "a.npz", Job(seed=7), words, **options)


def untouched(path, job, words, **options):
    """`fit` refuses the checkpoint of step 7 and leaves the file, the model and the optimizer as they were."""
    if not path.exists():
        Job().stopped(7, path, every=1)
    content, before = path.read_bytes(), job.state()
    with pytest.raises(CheckpointError, match=f"{path}: expected .*{words}.*: (give|use|read)"):
        job.fit(checkpoint=path, **options)
    assert equal(job.state(), before)
    assert path.read_bytes() == content


def other_jobs():
    narrow, fewer, plain = Job(), Job(), Job()
    narrow.model = nn.Sequential(nn.Flatten(), nn.Dense(6, 4), nn.Dropout(0.4), nn.Dense(4, 3))
    fewer.model = nn.Sequential(nn.Flatten(), nn.Dense(6, 3), nn.Dropout(0.4))
    plain.model.layers[2].rng = None
    plain.state = lambda: {"model": plain.model.state_dict(), "optimizer": plain.optimizer.state_dict()}
    for job in (narrow, fewer):
        job.optimizer = optim.AdamW(job.model.parameters())
        job.state = lambda job=job: {"model": job.model.state_dict(), "optimizer": job.optimizer.state_dict()}
    return {
        "another kind of optimizer": (Job("adam"), "load_state_dict: expected the "),
        "another setting of the optimizer": (Job("sgd"), "load_state_dict: expected the "),
        "another dtype": (Job(dtype=np.float64), "dtypes"),
        "another width": (narrow, "dtypes|expected shape"),
        "fewer layers": (fewer, "dtypes|names"),
        "no random generator": (plain, "generators"),
    }


@pytest.mark.parametrize("name", other_jobs())
def test_a_checkpoint_of_another_model_or_optimizer_changes_nothing(name, tmp_path):
    untouched(tmp_path / "a.npz", *other_jobs()[name])


def spoiled():
    def at(*keys, value):
        def change(state):
            for key in keys[:-1]:
                state = state[key]
            state[keys[-1]] = value

        return change

    return {
        "part missing": lambda s: s.pop("run"),
        "part more": at("more", value=1),
        "run of nothing": at("run", value={}),
        "run of text": at("run", value="run"),
        "no steps": at("run", "step", value="seven"),
        "half a step": at("run", "step", value=7.5),
        "not a number of steps": at("run", "step", value=math.nan),
        "steps below 0": at("run", "step", value=-1),
        "steps of another epoch": at("run", "step", value=4),
        "a history of numbers": at("run", "history", value=[1]),
        "a history that skips": at("run", "history", value=[{"epoch": 2}]),
        "a history of text": at("run", "history", value="ab"),
        "a loss of text": at("run", "loss", value="low"),
        "right of a list": at("run", "right", value=[]),
        "a model of numbers": at("model", value=3),
        "a parameter of text": at("model", "1.bias", value="x"),
        "a parameter of another shape": at("model", "1.bias", value=np.zeros((3, 1), np.float32)),
        "an optimizer of numbers": at("optimizer", value=3),
        "optimizer settings of arrays": at("optimizer", "settings", value=np.zeros(3)),
        "powers of another shape": at("optimizer", "powers", value=np.zeros(3)),
        "another kind of generator": at("generators", "0", "bit_generator", value="MT19937"),
        "a generator's state of text": at("generators", "0", "state", value="x"),
        "a generator's state below 0": at("generators", "0", "state", "state", value=-1),
        "a generator's state of too many bits": at("generators", "0", "state", "inc", value=2**300),
        "settings of numbers": at("settings", value=3),
    }


@pytest.mark.parametrize("name", spoiled())
def test_a_sealed_checkpoint_of_nonsense_changes_nothing(name, tmp_path):
    path = tmp_path / "a.npz"
    Job().stopped(7, path, every=1)
    state = load(path)
    state["settings"]["learning rate of the last step"] = None
    spoiled()[name](state)
    save(path, state)
    untouched(path, Job(seed=7), "a checkpoint of this run, got another: ", schedule=None)


def test_a_damaged_checkpoint_changes_nothing(tmp_path):
    path = tmp_path / "a.npz"
    Job().stopped(7, path, every=1)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    untouched(path, Job(seed=7), "cut short")
    path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    untouched(path, Job(seed=7), "damaged")
    Job().model.save(path)
    untouched(path, Job(seed=7), "a file with .*0.bias.* in place of .*optimizer")


@pytest.mark.parametrize("options", [{"every": 0}, {"every": -3}, {"every": 5, "checkpoint": None}])
def test_every_needs_a_number_and_a_path(options, tmp_path):
    with pytest.raises(ValueError, match="fit: expected every of 1 step or more, with a checkpoint path, got"):
        Job().fit(**{"checkpoint": tmp_path / "a.npz", **options})


def test_what_is_not_finite_is_not_written(tmp_path):
    """The last good checkpoint stays, and says where the run can be taken up."""
    path = tmp_path / "a.npz"

    def spoil(at, what):
        job = Job(compile=False)

        def schedule(step):
            if step == at:
                what(job)
            return 0.05

        with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="the loss is "):
            job.fit(schedule=schedule, checkpoint=path, every=1, validation=None)
        assert load(path)["run"]["step"] == at
        path.unlink()

    def parameters(job):
        job.model.parameters()[0].data[0, 0] = np.nan

    def bias(job):
        job.model.parameters()[-1].data[:] = np.inf

    for at in (3, 5, 8):
        spoil(at, parameters)
        spoil(at, bias)


def test_a_loss_that_is_not_finite_is_not_written(tmp_path):
    """Though the parameters are: adding infinity changes no gradient."""
    job, calls = Job(compile=False), []

    def loss(logits, labels):
        calls.append(labels)
        return vector.cross_entropy(logits, labels) + (np.inf if len(calls) == 4 else 0.0)

    with pytest.raises(FloatingPointError, match="the loss is inf at epoch 1, batch 4"):
        job.fit(loss=loss, epochs=1, checkpoint=tmp_path / "a.npz", every=1, validation=None)
    assert load(tmp_path / "a.npz")["run"]["step"] == 3


@pytest.mark.parametrize("compile", [True, False])
def test_ctrl_c_leaves_a_model_that_works_and_a_run_that_goes_on(compile, tmp_path):
    expected = finished("adamw", compile)
    job = Job("adamw", compile)
    follow = job.options["schedule"]

    def schedule(step):
        if step == 8:
            raise KeyboardInterrupt
        return follow(step)

    with pytest.raises(KeyboardInterrupt):
        job.fit(schedule=schedule, checkpoint=tmp_path / "a.npz", every=3)
    assert np.isfinite(job.model.evaluate(IMAGES, LABELS)).all()
    assert load(tmp_path / "a.npz")["run"]["step"] == 6
    same_end((job.fit(checkpoint=tmp_path / "a.npz"), job.state()), expected)


@pytest.mark.parametrize("at", range(len(calls(True)) - 1))
def test_ctrl_c_while_writing(at, tmp_path, monkeypatch):
    expected, path = finished(), tmp_path / "a.npz"
    Job().stopped(3, path, every=1)

    def interrupt():
        raise KeyboardInterrupt

    job = Job()
    with monkeypatch.context() as patch:
        Faulty(patch, at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            job.fit(checkpoint=path, every=1)
    assert os.listdir(tmp_path) == ["a.npz"]
    assert load(path)["run"]["step"] == (4 if at > calls(True).index("replace") else 3)
    same_end((job.fit(checkpoint=path, every=1), job.state()), expected)


def test_an_interrupted_resume_changes_nothing(tmp_path, monkeypatch):
    path, job = tmp_path / "a.npz", Job(seed=6)
    Job().stopped(7, path, every=1)
    before, load_state = job.state(), job.optimizer.load_state_dict
    calls = []

    def interrupted(state):
        calls.append(state)
        if len(calls) == 1:
            raise KeyboardInterrupt
        load_state(state)

    monkeypatch.setattr(job.optimizer, "load_state_dict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job.fit(checkpoint=path)
    assert len(calls) == 2
    assert equal(job.state(), before)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_at_random_moments(capsys):
    """$KILLS of them, 10 unless told."""
    outcomes = kill_and_resume(int(os.environ.get("KILLS", "10")))
    with capsys.disabled():
        print(f"\n{report(outcomes)}")
    assert all(outcome.same and not outcome.unreadable for outcome in outcomes)


def test_parameters_that_are_not_finite_are_not_kept(tmp_path):
    """The loss of a last step is finite, and what the step made of the parameters is not."""
    x, y = np.full((4, 2), 1e3, np.float32), np.zeros(4, np.int64)
    model = nn.Sequential(nn.Dense(2, 3, seed=0, dtype=np.float32))
    with np.errstate(all="ignore"):
        history = model.fit(x, y, optim.SGD(model.parameters(), 1e38), checkpoint=tmp_path / "run.npz")
    assert math.isfinite(history[0]["loss"])
    assert not all(np.isfinite(p.data).all() for p in model.parameters())
    assert list(tmp_path.iterdir()) == []
