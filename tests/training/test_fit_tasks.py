"""`fit` on tasks other than classes, with weights, augmentation, callbacks, and data that is set aside."""

import numpy as np
import pytest
from recorded import DATA, same

import vector
from vector import nn, optim
from vector.data import augment
from vector.training import EarlyStopping, find_lr

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
FOLDED = (Y > 0).astype(float)
MODES = pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.compiler)])


def network(n_out=2, seed=0, dtype=np.float64):
    return nn.Sequential(nn.Dense(3, 8, "tanh", seed=seed, dtype=dtype), nn.Dense(8, n_out, seed=seed + 1, dtype=dtype))


def trained(model, targets, compile=False, **options):
    options = {"epochs": 3, "batch_size": 16, "seed": 1} | options
    update = optim.Adam(model.parameters(), 0.02)
    return model.fit(X, targets, update, compile=compile, **options)


@MODES
def test_regression(compile):
    model = network()
    history = trained(model, Y, compile, loss=vector.mse, validation=(X[:9], Y[:9]), epochs=20)
    assert [*history[0]] == ["epoch", "loss", "error", "test_loss", "test_error"]
    assert history[-1]["loss"] < history[0]["loss"] / 3
    loss, error = model.evaluate(X[:9], Y[:9], vector.mse)
    differences = model.predict(X[:9]) - Y[:9]
    assert loss == pytest.approx((differences**2).mean()) and error == pytest.approx(np.abs(differences).mean())


@MODES
def test_targets_of_other_shapes_and_kinds(compile):
    several = trained(network(), FOLDED, compile, loss=vector.binary_cross_entropy, epochs=30)
    assert several[-1]["accuracy"] > 0.8 > several[0]["accuracy"]
    soft = np.abs(Y) / np.abs(Y).sum(axis=1, keepdims=True)
    assert [*trained(network(), soft, compile)[0]] == ["epoch", "loss", "accuracy"]
    assert [*trained(network(), Y, compile, loss=lambda x, y: vector.mean((x - y) ** 2.0))[0]] == ["epoch", "loss"]
    model = network(6)
    wide = nn.Sequential(*model.layers, nn.Reshape(2, 3))
    places = RNG.integers(0, 3, (60, 2))
    history = trained(wide, places, compile)
    found = (wide.predict(X).argmax(-1) == places).mean()
    assert history[-1]["accuracy"] <= 1.0 and wide.evaluate(X, places)[1] == pytest.approx(found)


def test_metrics_of_ones_own():
    metrics = {"largest": lambda outputs, targets: np.abs(outputs - targets).max()}
    history = trained(network(), Y, loss=vector.mse, metrics=metrics, validation=0.25)
    assert [*history[0]] == ["epoch", "loss", "largest", "test_loss", "test_largest"]


@MODES
def test_weights_count(compile):
    """A weight of 0 leaves a sample out, one of 2 counts it twice."""
    labels = (X[:, 0] > 0).astype(int)
    weights = RNG.integers(0, 3, 60).astype(float)
    model, other = network(), network()
    step = other.train_step(optim.SGD(other.parameters(), 0.1), vector.cross_entropy)
    model.fit(X, labels, optim.SGD(model.parameters(), 0.1), batch_size=60, sample_weight=weights, compile=compile)
    rows = np.repeat(np.arange(60), weights.astype(int))
    step(X[rows], labels[rows])
    assert all(np.allclose(a.data, b.data) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    by_class, by_sample = network(), network()
    for made, given in (
        (by_class, {"class_weight": {0: 0.5, 1: 2.0}}),
        (by_sample, {"sample_weight": labels * 1.5 + 0.5}),
    ):
        made.fit(X, labels, optim.SGD(made.parameters(), 0.1), **given, compile=compile)
    assert all(same(a.data, b.data) for a, b in zip(by_class.parameters(), by_sample.parameters(), strict=True))


def test_a_part_is_set_aside():
    model, other = network(), network()
    one = trained(model, Y, loss=vector.mse, validation=0.25)
    update = optim.Adam(other.parameters(), 0.02)
    options = {"epochs": 3, "batch_size": 16, "seed": 1, "loss": vector.mse, "validation": (X[45:], Y[45:])}
    assert one == other.fit(X[:45], Y[:45], update, **options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"validation": 1.0}, "expected validation to leave some of 60 samples on both sides, got 1.0"),
        ({"sample_weight": np.ones(3)}, r"expected weights of shape \(60,\), got \(3,\)"),
        ({"class_weight": [1.0, 2.0]}, "expected a class_weight for each of the class numbers"),
        ({"augment": lambda x, rng: x[:, :2]}, r"augment: expected a batch of shape \(16, 3\), got \(16, 2\)"),
    ],
)
def test_messages(options, message):
    with pytest.raises(ValueError, match=message):
        trained(network(), Y, loss=vector.mse, **options)


# --- augmentation -----------------------------------------------------------------------------------------------------


def test_augmentations():
    images, rng = DATA.train_images[:50].astype(float), np.random.default_rng(0)
    mirrored = augment.mirror()(images, rng)
    kept = np.array([np.array_equal(a, b) for a, b in zip(images, mirrored, strict=True)])
    assert 10 < kept.sum() < 40 and np.array_equal(mirrored[~kept], images[~kept][:, :, ::-1])
    shifted = augment.shift(2)(images, rng)
    for before, after in zip(images, shifted, strict=True):
        wide = np.pad(before, 2)
        assert any(np.array_equal(wide[i : i + 28, j : j + 28], after) for i in range(5) for j in range(5))
    ones = np.ones((40, 9, 9, 2))
    holes = (augment.cutout(3)(ones, rng) == 0).sum(axis=(1, 2, 3))
    assert holes.max() == 18 and holes.min() >= 8 and np.all(ones == 1.0)
    assert augment.shift(1)(ones, rng).shape == ones.shape


def test_an_augmented_epoch_can_be_taken_up_in_its_middle():
    def of(seed):
        batches = vector.datasets.Batches(
            DATA.train_images, DATA.train_labels, 100, seed=seed, augment=[augment.shift(2)]
        )
        return [x for _ in range(2) for x, _ in batches]

    assert all(map(np.array_equal, of(1), of(1))) and not np.array_equal(of(1)[0], of(2)[0])


# --- callbacks --------------------------------------------------------------------------------------------------------


def test_stopping_early_keeps_the_best_weights():
    model = network()
    stop = EarlyStopping(model, patience=2, watch="loss")
    states = []

    def on_epoch(row):
        states.append(model.state_dict())
        row["loss"] = [3.0, 1.0, 2.0, 1.5, 0.0][len(states) - 1]
        return stop(row)

    history = trained(model, Y, loss=vector.mse, epochs=9, on_epoch=on_epoch)
    assert len(history) == 4
    assert all(np.array_equal(model.state_dict()[name], x) for name, x in states[1].items())


def test_a_stopped_run_is_taken_up_with_its_callbacks(tmp_path):
    """Stopped after any epoch and gone on with, it ends as one that never stopped."""

    def run(epochs, path=None):
        model = network()
        update = optim.SGD(model.parameters(), 0.3, momentum=0.9)
        stop, average = EarlyStopping(model, patience=2, watch="loss"), optim.Average(model.parameters(), 0.9)
        options = {"batch_size": 16, "loss": vector.mse, "on_epoch": stop, "on_step": average, "checkpoint": path}
        for n in epochs:
            history = model.fit(X, Y, update, epochs=n, **options)
        return [*history], model.state_dict(), average.arrays, stop.best

    whole = run([30])
    assert len(whole[0]) < 30
    for n in (1, len(whole[0]) - 1):
        run([n], tmp_path / f"{n}")
        again = run([30], tmp_path / f"{n}")
        assert again[0] == whole[0] and again[3] == whole[3]
        assert all(np.array_equal(again[1][name], x) for name, x in whole[1].items())
        assert all(map(np.array_equal, again[2], whole[2]))
        assert run([30], tmp_path / f"{n}")[0] == whole[0]  # it stays stopped


def test_each_step_is_told():
    rows = []
    trained(network(), Y, loss=vector.mse, on_step=rows.append)
    assert [row["step"] for row in rows] == list(range(1, 13)) and all(np.isfinite(row["loss"]) for row in rows)


# --- other helpers ----------------------------------------------------------------------------------------------------


def test_data_on_disk(tmp_path):
    """A memory map is read batch by batch."""
    stored = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, X.shape)
    stored[...] = X
    stored.flush()
    mapped, model, other = np.load(tmp_path / "x.npy", mmap_mode="r"), network(), network()
    batches = model.batches(mapped, Y, 16)
    assert np.shares_memory(batches.images, mapped)
    for made, x in ((model, mapped), (other, X)):
        made.fit(x, Y, optim.SGD(made.parameters(), 0.1), loss=vector.mse, epochs=2)
    assert all(same(a.data, b.data) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_finding_a_learning_rate():
    model = nn.Sequential(nn.Dropout(0.1, seed=3), *network().layers)
    update = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    before = model.state_dict(), update.state_dict(), model[0].rng.bit_generator.state
    rates, losses = find_lr(model, X, Y, update, vector.mse, high=1e4)
    assert len(rates) == len(losses) < 100 and losses.min() < losses[0]
    after = model.state_dict(), update.state_dict(), model[0].rng.bit_generator.state
    assert all(np.array_equal(before[0][k], after[0][k]) for k in before[0])
    assert before[1]["lr"] == after[1]["lr"] and np.array_equal(before[1]["velocity"], after[1]["velocity"])
    assert before[2] == after[2]


def test_a_stack_is_indexed_and_frozen():
    model = network()
    assert len(model) == 2 and model[0] is model.layers[0] and model[-1] is model.layers[1]
    model[0].freeze()
    kept = model[0].weight.data.copy()
    trained(model, Y, loss=vector.mse)
    assert np.array_equal(model[0].weight.data, kept)
    assert model[0].freeze(False).weight.requires_grad
