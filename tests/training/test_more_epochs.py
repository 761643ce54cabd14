"""A run that goes on: by another call of fit, or from a checkpoint."""

import numpy as np
import pytest
from recorded import DATA, model_of

from vector import optim
from vector.optim import cosine
from vector.training.checkpoint import CheckpointError, load, save


def fit(model, epochs, **options):
    seen = []
    update = optim.SGD(model.parameters(), 0.01)

    def loss(logits, labels):
        seen.append(np.array(getattr(labels, "value", labels)).tolist())
        return cross_entropy(logits, labels)

    from vector import cross_entropy

    model.fit(DATA.train_images, DATA.train_labels, update, epochs=epochs, batch_size=200, loss=loss, **options)
    return seen


def test_a_second_call_takes_the_batches_in_another_order():
    """Else whoever calls fit(epochs=1) in a loop would show the same order again and again."""
    one, other = model_of(), model_of()
    calls = [fit(one, 1, compile=False) for _ in range(3)]
    assert [y for seen in calls for y in seen] == fit(other, 3, compile=False)
    assert len({str(seen) for seen in calls}) == 3


def test_a_new_model_begins_anew():
    assert fit(model_of(), 1, compile=False) == fit(model_of(), 1, compile=False)


def test_the_order_is_that_of_the_run_that_stopped(tmp_path):
    """Also where the model was trained before, and another process goes on."""

    def run(path, stop_at=None):
        model = model_of()
        fit(model, 1, compile=False)
        update = optim.SGD(model.parameters(), 0.01)
        options = {"batch_size": 200, "checkpoint": path, "compile": False}

        def stop(row):
            if row["epoch"] == stop_at:
                raise KeyboardInterrupt

        try:
            model.fit(DATA.train_images, DATA.train_labels, update, epochs=3, on_epoch=stop, **options)
        except KeyboardInterrupt:
            model = model_of()  # of a new process, where nothing was trained yet
            update = optim.SGD(model.parameters(), 0.01)
            model.fit(DATA.train_images, DATA.train_labels, update, epochs=3, **options)
        return [p.data for p in model.parameters()]

    whole, parts = run(tmp_path / "whole.npz"), run(tmp_path / "parts.npz", stop_at=2)
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_more_epochs_under_a_schedule_that_ends_are_named(tmp_path):
    path = tmp_path / "run.npz"

    def run(epochs):
        model = model_of()
        update = optim.SGD(model.parameters(), 0.01)
        data = DATA.train_images, DATA.train_labels
        model.fit(*data, update, epochs=epochs, batch_size=200, schedule=cosine(0.1, epochs * 4), checkpoint=path)

    run(2)
    with pytest.raises(CheckpointError, match="a learning rate that falls over 2 epochs, here 3: give fit"):
        run(3)


def test_a_checkpoint_without_these_is_read(tmp_path):
    path = tmp_path / "run.npz"
    model = model_of()
    update = optim.SGD(model.parameters(), 0.01)
    model.fit(DATA.train_images, DATA.train_labels, update, batch_size=200, checkpoint=path)
    state = load(path)
    del state["run"]["start"], state["run"]["epochs"]
    save(path, state)
    history = model.fit(DATA.train_images, DATA.train_labels, update, epochs=2, batch_size=200, checkpoint=path)
    assert [row["epoch"] for row in history] == [1, 2]


def test_what_on_epoch_adds_to_a_row_comes_back_from_the_checkpoint(tmp_path):
    def run(epochs):
        model = model_of()
        options = {"batch_size": 200, "checkpoint": tmp_path / "run.npz", "on_epoch": note}
        update = optim.SGD(model.parameters(), 0.01)
        return model.fit(DATA.train_images, DATA.train_labels, update, epochs=epochs, **options)

    def note(row):
        row["notes"] = {"of epoch": row["epoch"]}

    run(1)
    assert [row["notes"] for row in run(2)] == [{"of epoch": 1}, {"of epoch": 2}]
