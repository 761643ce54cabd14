"""Batches: every image once an epoch, in an order that the seed and the epoch give."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector.data.augment import mirror
from vector.datasets import Batches


def numbered(n, dtype=np.uint8):
    """n images of 2 x 2, each filled with its own number, which is also its label."""
    numbers = np.arange(n, dtype=dtype)
    return np.broadcast_to(numbers[:, None, None], (n, 2, 2)).copy(), numbers.astype(np.uint8)


@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 2**32),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_an_epoch_has_every_image_once_with_its_own_label(n, batch_size, seed, shuffle, drop_last):
    if drop_last and batch_size > n:
        batch_size = n
    batches = Batches(*numbered(n), batch_size, seed, shuffle=shuffle, scale=None, drop_last=drop_last)
    epoch = list(batches)
    assert len(epoch) == len(batches) == (n // batch_size if drop_last else -(-n // batch_size))
    assert all(len(labels) == batch_size for _, labels in epoch[: n // batch_size])
    for images, labels in epoch:
        assert images.dtype == np.float32 and labels.dtype == np.int64
        np.testing.assert_array_equal(images, np.broadcast_to(labels[:, None, None], images.shape))
    seen = np.concatenate([labels for _, labels in epoch])
    order = np.random.default_rng([seed, 0]).permutation(n) if shuffle else np.arange(n)
    np.testing.assert_array_equal(seen, order[: len(seen)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_are_scaled_in_the_asked_dtype(dtype):
    images, labels = numbered(256)
    ((scaled, _),) = Batches(images, labels, 256, shuffle=False, dtype=dtype)
    assert scaled.dtype == dtype
    np.testing.assert_array_equal(scaled[:, 0, 0], np.arange(256, dtype=dtype) * dtype(1 / 255))
    assert scaled.min() == 0 and scaled.max() == 1


def test_float_images_pass_unscaled_with_scale_none():
    images, labels = numbered(5, np.float64)
    ((batch, _),) = Batches(images / 7, labels, 5, shuffle=False, scale=None, dtype=np.float64)
    np.testing.assert_array_equal(batch, images / 7)


def test_batches_are_fresh_arrays():
    images, labels = numbered(8)
    kept = list(Batches(images, labels, 4, scale=None))
    for batch, numbers in kept:  # no later batch has overwritten an earlier one
        np.testing.assert_array_equal(batch[:, 0, 0], numbers)
        batch += 1
        numbers += 1
    np.testing.assert_array_equal(images, numbered(8)[0])
    np.testing.assert_array_equal(labels, numbered(8)[1])


@pytest.mark.parametrize(
    "options",
    [{}, {"drop_last": True}, {"shuffle": False, "scale": None}, {"weights": np.arange(30.0)}, {"augment": mirror()}],
)
@pytest.mark.parametrize("size", [1, 4, 7, 30, 40])
def test_batches_gathered_at_once_are_those_gathered_one_by_one(size, options, monkeypatch):
    images, labels = numbered(30)
    size = min(size, 30) if "drop_last" in options else size
    once = list(Batches(images, labels, size, seed=1, **options))
    monkeypatch.setattr("vector.data.batches.TOGETHER", 1)
    alone = list(Batches(images, labels, size, seed=1, **options))
    assert len(once) == len(alone)
    for batch, other in zip(once, alone, strict=True):
        assert len(batch) == len(other) == 2 + ("weights" in options)
        for x, y in zip(batch, other, strict=True):
            assert (x.shape, x.strides, x.dtype, x.tobytes()) == (y.shape, y.strides, y.dtype, y.tobytes())


def test_epochs_differ_and_a_run_can_be_resumed():
    batches = Batches(*numbered(30), 4, seed=3)
    epochs = [[labels.tolist() for _, labels in batches] for _ in range(3)]
    assert batches.epoch == 3
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    again = Batches(*numbered(30), 4, seed=3)
    again.epoch = 1
    assert [labels.tolist() for _, labels in islice(again, 5, None)] == epochs[1][5:]
    assert [labels.tolist() for _, labels in again] == epochs[2]
    assert [labels.tolist() for _, labels in Batches(*numbered(30), 4, seed=4)] != epochs[0]


def test_an_epoch_left_early_is_over():
    batches = Batches(*numbered(30), 4)
    next(iter(batches))
    assert batches.epoch == 1


def test_the_data_set_is_never_copied():
    images, labels = np.zeros((10_000, 28, 28), np.uint8), np.zeros(10_000, np.uint8)
    tracemalloc.start()
    try:
        batches = Batches(images, labels, 32)
        for _ in islice(batches, 20):
            pass
        assert tracemalloc.get_traced_memory()[1] < images.nbytes / 10
    finally:
        tracemalloc.stop()
    assert batches.images is images or np.shares_memory(batches.images, images)


@pytest.mark.parametrize(
    ("images", "labels", "options", "error", "message"),
    [
        ((3, 2, 2), (4,), {}, ValueError, r"as many labels as images.*\(3, 2, 2\).*\(4,\)"),
        ((0, 2, 2), (0,), {}, ValueError, r"at least one image, got shape \(0, 2, 2\)"),
        ((3, 2, 2), (3,), {"batch_size": 0}, ValueError, "batch_size of 1 or more, got 0"),
        ((3, 2, 2), (3,), {"batch_size": 4, "drop_last": True}, ValueError, "one whole batch, got 3 images"),
    ],
)
def test_batches_refuse_what_cannot_work(images, labels, options, error, message):
    with pytest.raises(error, match=f"Batches: expected .*{message}"):
        Batches(np.zeros(images, np.uint8), np.zeros(labels, int), **{"batch_size": 2, **options})


@pytest.mark.parametrize(
    ("seed", "got"),
    [
        (np.ones(3), r"an array of shape \(3,\)"),  # weights, say
        ([1, 2, 3], r"an array of shape \(3,\)"),
        (1.0, r"1\.0"),
        (-1, "-1"),
        (True, "True"),  # meant for shuffle
        (None, "None"),
        ("a", "'a'"),
    ],
)
def test_what_is_no_seed_is_not_taken_for_one(seed, got):
    with pytest.raises(ValueError, match=f"Batches: expected a whole seed of 0 or more after batch_size, got {got}"):
        Batches(np.zeros((3, 2, 2), np.uint8), np.zeros(3, int), 2, seed)


@pytest.mark.parametrize("labels", [np.array([True, False]), np.array(["a", "b"])])
def test_labels_must_be_numbers(labels):
    with pytest.raises(TypeError, match=f"labels of whole or real numbers, got {labels.dtype}"):
        Batches(np.zeros((2, 2, 2), np.uint8), labels, 1)
