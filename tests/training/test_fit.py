"""Sequential.fit records its step, and nothing in the results shows it."""

import functools
import gc
import re
import sys
from typing import ClassVar

import numpy as np
import pytest
from recorded import DATA, OPTIMIZERS, blas, model_of, same, train

import vector
from vector import nn, optim
from vector.compiler import CompiledStep
from vector.nn.base import search
from vector.random import find_generators
from vector.runtime import threads as workers
from vector.training import recorded
from vector.training.run import progress_bar


def same_training(**options):
    (a, _, history), (b, _, expected) = train(True, **options), train(False, **options)
    assert history == expected
    assert all(same(p.data, q.data) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert all(np.isfinite(list(row.values())).all() for row in history)
    return history


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_recorded_or_not(optimizer):
    history = same_training(optimizer=optimizer)
    assert [row["epoch"] for row in history] == [1, 2]
    assert history[0].keys() == {"epoch", "loss", "accuracy"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_with_dropout_a_schedule_and_validation(dtype):
    rows = []
    history = same_training(
        dtype=dtype,
        dropout=0.3,
        optimizer="momentum",
        schedule=optim.cosine(0.05, steps=18, warmup=4),
        validation=(DATA.test_images, DATA.test_labels),
        on_epoch=rows.append,
    )
    assert history[0].keys() == {"epoch", "loss", "accuracy", "test_loss", "test_accuracy"}
    assert rows == history * 2
    assert history[1]["loss"] < history[0]["loss"] and history[1]["accuracy"] > 0.3


def test_any_loss():
    def loss(logits, labels):
        return vector.cross_entropy(logits, labels) + 0.01 * vector.mean(logits * logits)

    assert same_training(loss=loss) != same_training()


def test_batches_of_one_and_of_all():
    same_training(batch_size=800, epochs=3)
    same_training(batch_size=5000)
    model, _, _ = train(True, batch_size=1, epochs=1)
    other, _, _ = train(False, batch_size=1, epochs=1)
    assert all(same(p.data, q.data) for p, q in zip(model.parameters(), other.parameters(), strict=True))


def test_the_step_runs_as_python_to_record_and_to_verify():
    sizes = []
    note = sizes.append  # what a step captures must not change, as the list would

    def loss(logits, labels):
        note(len(labels))
        return vector.cross_entropy(logits, labels)

    train(True, loss=loss, epochs=4)  # steps 1, 2, 4, 8, 16, 32 of the large ones, and the first of each epoch
    assert sizes == [96, 96, 96, 96, 32, 96, 96, 32, 96, 32, 96, 96, 32]
    sizes.clear()
    train(False, loss=loss, epochs=1)
    assert sizes == [96] * 8 + [32]


def test_a_schedule_is_followed():
    rates = []

    def schedule(step):
        rates.append(step)
        return 0.1 / (1 + step)

    _, update, _ = train(True, schedule=schedule)
    assert rates == list(range(18))
    assert update.lr == 0.1 / 18
    assert train(True, schedule=lambda step: 0.0)[2][0]["loss"] == pytest.approx(
        train(True, schedule=lambda step: 0.0)[2][1]["loss"], rel=1e-6
    )


def test_fit_again_goes_on():
    model, update, _ = train(True, optimizer="adam", epochs=1)
    other, other_update, _ = train(False, optimizer="adam", epochs=1)
    for m, u, compile in ((model, update, True), (other, other_update, False)):
        m.fit(DATA.train_images, DATA.train_labels, u, epochs=1, batch_size=64, compile=compile)
    assert all(same(p.data, q.data) for p, q in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_threads_are_put_back(threads):
    before, during = blas(), []
    assert before
    train(True, threads=threads, epochs=1, on_epoch=lambda row: during.append([n for _, n in blas()]))
    assert during == [[1] * len(before)]  # several share a product without BLAS's own
    assert blas() == before

    def broken(logits, labels):
        raise KeyError("broken")

    with pytest.raises(KeyError):
        train(True, threads=threads, loss=broken)
    assert blas() == before


WRONG = {
    "as many labels as images": lambda fit: fit(DATA.train_images, DATA.train_labels[:-1]),
    "at least one image": lambda fit: fit(DATA.train_images[:0], DATA.train_labels[:0]),
    "batch_size of 1 or more": lambda fit: fit(DATA.train_images, DATA.train_labels, batch_size=0),
    "expected 784 features, got 100": lambda fit: fit(np.zeros((5, 10, 10)), np.zeros(5, int)),
    "class numbers from 0 to 9, got 10": lambda fit: fit(DATA.train_images[:3], np.array([1, 10, 2])),
    "expected integer class numbers, got float32": lambda fit: fit(DATA.train_images[:3], np.ones(3)),
}


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("words", WRONG)
def test_wrong_input_is_named(words, compile):
    model = model_of()
    before = model.state_dict()

    def fit(images, labels, **options):
        model.fit(images, labels, optim.SGD(model.parameters(), 0.1), compile=compile, **options)

    with pytest.raises((ValueError, TypeError), match=words):
        WRONG[words](fit)
    assert all(same(x, before[name]) for name, x in model.state_dict().items())


def test_a_wrong_label_in_a_later_batch_is_named():
    labels = DATA.train_labels.copy()
    labels[:] = np.where(np.arange(800) == 777, 12, labels)
    with pytest.raises(ValueError, match="class numbers from 0 to 9, got 12"):
        model = model_of()
        model.fit(DATA.train_images, labels, optim.SGD(model.parameters(), 0.1))


def test_a_progress_bar_shows_the_running_loss_and_accuracy(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    history = train(True, progress=True)[2]
    shown = capsys.readouterr().err
    assert "epoch 1/2" in shown and "epoch 2/2" in shown and "\r" in shown
    assert history == train(True)[2] and capsys.readouterr().err == ""


def test_a_log_file_gets_a_line_an_epoch(capsys):
    history = train(True, progress=True, validation=(DATA.test_images, DATA.test_labels))[2]
    assert capsys.readouterr().err.splitlines() == [
        f"epoch {i}/2  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
        f"test loss {row['test_loss']:.4f}  test accuracy {row['test_accuracy']:.4f}"
        for i, row in enumerate(history, 1)
    ]


def test_progress_without_any_output(monkeypatch):
    """As of a program without a console on Windows."""
    monkeypatch.setattr(sys, "stderr", None)
    train(True, progress=True)


def test_a_constant_schedule_is_no_schedule():
    (_, update, history), (_, _, expected) = train(True, schedule=optim.constant(0.1)), train(True)
    assert history == expected and update.lr == 0.1


def test_a_bar_that_is_interrupted_while_it_is_made_says_nothing(monkeypatch):
    import tqdm

    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)

    def interrupted(self, *args, **kwargs):
        self.disable = False
        raise KeyboardInterrupt

    monkeypatch.setattr(tqdm.tqdm, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        progress_bar(10, 0, "epoch 1/1", True)
    gc.collect()
    assert not said


@pytest.mark.parametrize("epochs", [-1, 2.5, "3", None])
def test_no_number_of_epochs(epochs):
    with pytest.raises(ValueError, match=re.escape(f"expected a whole number of epochs, from 0, got {epochs!r}")):
        train(True, epochs=epochs)


def test_no_optimizer_and_one_of_another_model():
    model, other = model_of(), model_of()
    for wrong, kind, words in [
        (None, TypeError, "fit: expected an optimizer, as of vector.optim, got NoneType"),
        (0.1, TypeError, "fit: expected an optimizer, as of vector.optim, got float"),
        (
            vector.optim.SGD(other.parameters(), 0.1),
            ValueError,
            "fit: expected an optimizer of this model's parameters",
        ),
    ]:
        with pytest.raises(kind, match=words):
            model.fit(DATA.train_images, DATA.train_labels, wrong)


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        (3, r"expected validation=\(images, labels\) or a part from 0 to 1, got int"),
        ((DATA.test_images,), r"expected validation=\(images, labels\) or a part from 0 to 1, got 1"),
        ((DATA.test_images, DATA.test_labels[:5]), "expected as many labels as images"),
    ],
)
def test_validation_is_looked_at_first(validation, words):
    with pytest.raises(ValueError, match=words):
        train(True, validation=validation, loss=None)


def test_a_step_is_recorded_unless_told_otherwise(monkeypatch):
    made = []
    monkeypatch.setattr(recorded, "CompiledStep", lambda step: made.append(step) or CompiledStep(step))
    for options in ({}, {"compile": False}):
        model = model_of()
        model.fit(DATA.train_images[:96], DATA.train_labels[:96], optim.SGD(model.parameters(), 0.1), **options)
        assert len(made) == 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_so_many_threads_share(threads):
    seen = []
    train(True, epochs=1, threads=threads, on_epoch=lambda row: seen.append(workers.threads))
    assert seen == [threads]
    assert workers.threads == 1


class Watched(nn.Layer):
    """Says in which mode it is called, and raises when it is told to."""

    said: ClassVar = []
    say = said.append  # what a step captures must not change, as the list would

    def __init__(self, error=None):
        self.error, self.inner = error, nn.Dropout(0.5)

    def __call__(self, x):
        self.say((self.training, self.inner.training))
        if self.error:
            raise self.error
        return x


def modes_of(model):
    return [layer.training for layer in search(model).layers]


def test_fit_trains_and_evaluate_and_predict_do_not():
    """And each layer is in its own mode afterwards."""
    said = Watched.said
    said.clear()
    model = nn.Sequential(nn.Dense(4, 2, seed=0), Watched())
    model.layers[1].inner.eval()
    before = modes_of(model)
    x, y = np.ones((6, 4)), np.array([0, 1] * 3)
    model.predict(x)
    model.evaluate(x, y)
    assert said == [(False, False)] * 2 and modes_of(model) == before == [True, True, True, False]
    for compile in (True, False):
        said.clear()
        update = optim.SGD(model.parameters(), 0.1)
        model.fit(x, y, update, epochs=2, compile=compile, validation=(x, y), on_epoch=lambda row: model.eval())
        training = [mode for mode in said if mode != (False, False)]
        assert training == [(True, True)] * 2 and len(said) == len(training) + 2
        assert modes_of(model) == before


def test_modes_are_put_back_after_an_error():
    Watched.said.clear()
    model = nn.Sequential(nn.Dense(4, 2, seed=0), Watched(KeyError("broken")))
    model.layers[1].eval()
    before = modes_of(model)
    x, y = np.ones((6, 4)), np.array([0, 1] * 3)
    update = optim.SGD(model.parameters(), 0.1)
    for run in (lambda: model.predict(x), lambda: model.evaluate(x, y), lambda: model.fit(x, y, update)):
        with pytest.raises(KeyError, match="broken"):
            run()
        assert modes_of(model) == before
    assert Watched.said == [(False, False), (False, False), (True, True)]


def test_evaluation_between_recorded_steps_costs_no_recording():
    model = model_of(dropout=0.5)
    update = optim.SGD(model.parameters(), 0.1)
    step = vector.compile(model.train_step(update, vector.cross_entropy))
    x, y = DATA.train_images[:32] / np.float32(255), DATA.train_labels[:32]
    for _ in range(3):
        step(x, y)
        model.evaluate(x, y)
        model.predict(x)
    assert step.traces == 1


def test_predictions_drop_nothing():
    model = model_of(dropout=0.9)
    x = DATA.test_images[:20]
    assert same(model.predict(x), model.predict(x))
    assert model.evaluate(x, DATA.test_labels[:20]) == model.evaluate(x, DATA.test_labels[:20])


def test_generators_are_found_everywhere():
    """A run that goes on draws what it would have drawn: from layers in layers, dicts and lists."""
    model = nn.Sequential(Everywhere())
    assert len(find_generators([model])) == 4


class Slotted:
    """Noise whose generator is in a slot; another one is empty."""

    __slots__ = ("empty", "rng")

    def __init__(self, rng):
        self.rng = rng

    def __call__(self, x):
        return x + vector.random.uniform(self.rng, x.shape)


def noise_of(rng):
    return lambda x: x + vector.random.uniform(rng, x.shape)


def noise(x, rng):
    return x + vector.random.uniform(rng, x.shape)


HOLDERS = {
    "a slot": Slotted,
    "a closure": noise_of,
    "a partial": lambda rng: functools.partial(noise, rng=rng),
    "a default": lambda rng: lambda x, rng=rng: noise(x, rng),
    "a method": lambda rng: Slotted(rng).__call__,
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_generator_goes_on_wherever_it_is_held(holder, tmp_path):
    """A run that stopped and goes on ends with the same bits, in a recorded step too."""

    def run(epochs, path):
        model = nn.Sequential(nn.Dense(4, 3, seed=0), HOLDERS[holder](np.random.default_rng(5)))
        assert len(find_generators([model])) == 1
        options = {"epochs": epochs, "batch_size": 4, "checkpoint": tmp_path / path}
        model.fit(np.eye(4).repeat(3, 0), np.arange(12) % 3, optim.SGD(model.parameters(), 0.1), **options)
        return model.parameters()[0].data

    run(1, "parts.npz")
    assert same(run(3, "parts.npz"), run(3, "whole.npz"))


def test_a_method_of_a_generator_is_found_by_what_it_is_of():
    rng = np.random.default_rng(0)
    assert find_generators([{"draw": [rng.normal, "text", 1, None]}]) == [rng]


class Everywhere(nn.Layer):
    """A layer with dropout in all places, and a running mean as a buffer."""

    def __init__(self):
        self.hidden = nn.Dense(4, 3, "tanh", seed=0)
        self.drops = {"a": [nn.Dropout(0.5, seed=1)], "b": (nn.Sequential(nn.Dropout(0.25, seed=2)),)}
        self.drop, self.draw = nn.Dropout(0.1, seed=3), np.random.default_rng(4)
        self.register_buffer("mean", np.zeros(3))
        self.out = nn.Dense(3, 2, seed=5)

    def __call__(self, x):
        x = self.hidden(x)
        if self.training:
            self.mean.data[...] = 0.9 * self.mean.data + 0.1 * np.mean(x.data, axis=0)
        x = self.drops["a"][0](x - self.mean)
        kept = vector.random.uniform(self.draw, x.shape) if self.training else 0.5
        return self.out(self.drop(self.drops["b"][0](x)) * kept)


@pytest.mark.parametrize("compile", [True, False])
def test_a_nested_model_with_buffers_goes_on_with_the_same_bits(compile, tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(50, 4)), rng.integers(0, 2, 50)

    def run(epochs, path):
        model = nn.Sequential(Everywhere())
        update = optim.Adam(model.parameters(), 0.05)
        history = model.fit(
            images, labels, update, epochs, 8, validation=(images, labels), compile=compile, checkpoint=path
        )
        return history, {**model.state_dict(), **update.state_dict()}

    expected, state = run(4, tmp_path / "whole.npz")
    run(2, tmp_path / "half.npz")
    found, again = run(4, tmp_path / "half.npz")
    assert found == expected and state.keys() == again.keys()
    assert all(same(x, again[name]) for name, x in state.items() if isinstance(x, np.ndarray))
    assert state["0.mean"].all() and state["lr"] == again["lr"]


def test_a_buffer_that_is_not_finite_does_not_keep_a_checkpoint_from_being_written(tmp_path):
    """A mask of -inf is no sign of a run that went wrong."""
    model = nn.Sequential(nn.Dense(4, 2, seed=0))
    model.register_buffer("mask", [-np.inf, 0.0])
    update = optim.SGD(model.parameters(), 0.1)
    model.fit(np.ones((4, 4)), np.zeros(4, int), update, checkpoint=tmp_path / "a.npz")
    assert (tmp_path / "a.npz").exists()
