"""Sequential.fit records its step, and nothing in the results shows it."""

import gc
import re
import sys

import numpy as np
import pytest
from recorded import DATA, OPTIMIZERS, blas, model_of, same, train

import vector
from vector import nn, optim
from vector.compiler import CompiledStep
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
    "labels as whole numbers": lambda fit: fit(DATA.train_images[:3], np.ones(3)),
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


def test_a_progress_bar_shows_the_running_loss_and_accuracy(capsys):
    history = train(True, progress=True)[2]
    shown = capsys.readouterr().err
    assert "epoch 1/2" in shown and "epoch 2/2" in shown
    assert history == train(True)[2] and capsys.readouterr().err == ""


def test_a_constant_schedule_is_no_schedule():
    (_, update, history), (_, _, expected) = train(True, schedule=optim.constant(0.1)), train(True)
    assert history == expected and update.lr == 0.1


def test_initializers():
    """he_normal has mean 0 and variance 2 / n_in, within 5 standard errors of those of so many numbers."""
    weights = nn.Dense(300, 200, seed=0, init=nn.he_normal).weight.data
    assert weights.shape == (300, 200)
    variance, n = 2 / 300, weights.size
    assert abs(weights.mean()) < 5 * np.sqrt(variance / n)
    assert abs(weights.var() / variance - 1.0) < 5 * np.sqrt(2 / n)
    layer = nn.Dense(3, 2, seed=0, init=nn.zeros)
    assert np.array_equal(layer(np.ones((4, 3))).data, np.zeros((4, 2)))


def test_layers_name_what_they_cannot_take():
    with pytest.raises(ValueError, match=r"Flatten: expected a batch of samples, got shape \(\)"):
        nn.Flatten()(vector.Tensor(1.0))
    for rate in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="Dropout: expected a rate from 0 to below 1, got"):
            nn.Dropout(rate)


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
        (3, r"expected validation=\(images, labels\), got int"),
        ((DATA.test_images,), r"expected validation=\(images, labels\), got 1"),
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
