"""Shuffled batches of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .augment import Augmentation, apply

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


TOGETHER = 2**17  # bytes of batches that are gathered at once: they stay in a cache until they are used


class Batches:
    """Iterate over a data set in shuffled batches, without copying it; each `iter()` begins the next epoch.

    A batch is `(images, labels)`, both fresh arrays: images times `scale` in the given dtype, whole labels as int64 and
    others in the dtype. `scale=None` keeps the images' values, for images that are scaled already. With `weights`, one
    for each image, a batch has them as a third array. `augment`, one of vector.data.augment or several in a list,
    changes the images of each batch. The last batch of an epoch may be shorter, unless `drop_last`. `len()` is the
    number of batches in an epoch. Arrays may be larger than memory, as np.memmap has them. Of small batches some are
    gathered at once, up to 128 KB, and are parts of one array.

    With `part=(i, n)`, a batch has only the i-th of n parts of its rows, whose sizes differ by at most 1. A third array
    says what the part's mean counts in that of the whole batch: its share of the rows, (); or with weights, in their
    place, each row's weight over the sum of those of the whole batch, (rows,). A part without rows gets one row that
    counts 0. All parts together are what there is without `part`, images changed by `augment` among them.

    `epoch`, which can be set, is the number of the next epoch to begin. An epoch's order follows from
    `(seed, epoch)` alone, so that a run that stopped at (epoch, batch) can go on as if it had not:

    >>> from vector.datasets import fashion_mnist_sample
    >>> data = fashion_mnist_sample()
    >>> batches = Batches(data.train_images, data.train_labels, batch_size=100, seed=1)
    >>> epochs = [[labels.tolist() for _, labels in batches] for epoch in range(3)]
    >>> batches.epoch = 2
    >>> from itertools import islice
    >>> [labels.tolist() for _, labels in islice(batches, 5, None)] == epochs[2][5:]
    True
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        seed: int = 0,
        *,
        shuffle: bool = True,
        dtype: DTypeLike = np.float32,
        scale: float | None = 1 / 255,
        drop_last: bool = False,
        weights: np.ndarray | None = None,
        augment: Augmentation | Sequence[Augmentation] | None = None,
        part: tuple[int, int] | None = None,
    ) -> None:
        self.images = np.ascontiguousarray(images)  # copies only what np.take would copy for every batch
        self.labels = np.asarray(labels)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.dtype, self.scale, self.drop_last = np.dtype(dtype), scale, drop_last
        self.weights = None if weights is None else np.asarray(weights, self.dtype)
        self.augment, self.part = augment, part
        self.epoch = 0
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            got = f"an array of shape {np.shape(seed)}" if np.ndim(seed) else repr(seed)
            raise ValueError(f"Batches: expected a whole seed of 0 or more after batch_size, got {got}")
        if self.images.shape[:1] != self.labels.shape[:1]:
            came = f"images of shape {self.images.shape} and labels of shape {self.labels.shape}"
            raise ValueError(f"Batches: expected as many labels as images, got {came}")
        if self.images.size == 0:
            raise ValueError(f"Batches: expected at least one image, got shape {self.images.shape}")
        if self.images.dtype.kind not in "biuf":
            raise TypeError(f"Batches: expected images of real numbers, got {self.images.dtype}")
        if self.labels.dtype.kind not in "iuf":
            raise TypeError(f"Batches: expected labels of whole or real numbers, got {self.labels.dtype}")
        if self.weights is not None and self.weights.shape != self.images.shape[:1]:
            raise ValueError(f"Batches: expected weights of shape ({len(self.images)},), got {self.weights.shape}")
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"Batches: expected a whole batch_size of 1 or more, got {batch_size!r}")
        if part is not None and not 0 <= part[0] < part[1]:
            raise ValueError(f"Batches: expected part=(i, n) with i from 0 to below n, got {part}")
        if len(self) == 0:
            came = f"{len(self.images)} images, batch_size {batch_size} and drop_last"
            raise ValueError(f"Batches: expected at least one whole batch, got {came}")

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def rows(self, i: int) -> int:
        """How many rows batch number i of an epoch has, in all parts together."""
        return min(self.batch_size, len(self.images) - i * self.batch_size)

    def own(self, rows: int) -> slice:
        """Which of so many rows are in the part."""
        i, n = self.part or (0, 1)
        return slice(rows * i // n, rows * (i + 1) // n)

    def has_rows(self, rows: int) -> bool:
        """Whether any of so many rows is in the part."""
        own = self.own(rows)
        return own.start < own.stop

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        n, epoch = len(self.images), self.epoch
        order = np.arange(n)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(n)
        self.epoch += 1
        return self._gather(order, epoch)

    def _gather(self, order: np.ndarray, epoch: int) -> Iterator[tuple[np.ndarray, ...]]:
        """The batches of an epoch; of small ones several are gathered at once, and each is a part of that."""
        size, number, several = self.batch_size, len(self), 1
        if self.augment is None and self.part is None:
            several = max(1, TOGETHER // (size * self.images[0].size * self.dtype.itemsize))
        buffer = np.empty((min(several * size, len(order)), *self.images.shape[1:]), self.images.dtype)
        for i in range(0, number, several):
            rows = order[i * size : min(i + several, number) * size]
            arrays = self._take(rows, buffer, epoch, i)
            if several == 1:
                yield arrays
            else:
                for start in range(0, len(rows), size):
                    yield tuple([x[start : start + size] for x in arrays])

    def _take(self, whole: np.ndarray, buffer: np.ndarray, epoch: int, i: int) -> tuple[np.ndarray, ...]:
        """The batch of these rows, which is number i of an epoch, or several batches one after the other."""
        exact = self.labels.dtype.kind in "iu"
        own = self.own(len(whole))
        taken = own if own.start < own.stop else slice(0, 1)
        rows = whole if self.augment is not None else whole[taken]
        images = np.take(self.images, rows, axis=0, out=buffer[: len(rows)], mode="clip")
        batch = images.astype(self.dtype)
        if self.scale is not None:  # in two steps, each of which numpy does at full speed
            np.multiply(batch, self.scale, out=batch, dtype=self.dtype)
        if self.augment is not None:
            batch = apply(self.augment, batch, np.random.default_rng([self.seed, epoch, i]))[taken]
        labels = self.labels[whole[taken]].astype(np.int64 if exact else self.dtype)
        return (batch, labels, *self._counts(whole, own, taken))

    def _counts(self, whole: np.ndarray, own: slice, taken: slice) -> tuple[np.ndarray, ...]:
        """What stands behind a batch's images and labels."""
        if self.part is None:
            return () if self.weights is None else (self.weights[whole],)
        if self.weights is None:
            return (np.asarray((own.stop - own.start) / len(whole), self.dtype),)
        weights = self.weights[whole]
        weights /= np.add.reduce(weights)
        return (weights[taken] if own == taken else np.zeros(1, self.dtype),)
