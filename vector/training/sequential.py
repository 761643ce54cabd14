"""A stack of layers that trains itself."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import ops
from ..autodiff import no_grad
from ..data.augment import Augmentation
from ..data.batches import Batches
from ..distributed import ALONE, Alone
from ..losses import cross_entropy
from ..nn.base import Layer, has_tensors, in_mode, state_of
from ..optim import Optimizer, Schedule
from ..runtime.memory import side_by_side
from ..runtime.threads import use_threads
from ..tensor import Tensor
from .checkpoint import read, save
from .metrics import Metric, metrics_for, total
from .run import OnEpoch, OnStep, Run, Step


class Sequential(Layer):
    """Layers one after the other, with training, evaluation and prediction: `Sequential(first, second)`.

    Its layers are named by number, from 0; those without parameters and buffers are not counted. Parameters and buffers
    get their names as labels. Raises TypeError for what cannot be called.

    A parameter whose array nobody has asked for yet gets a new one, `p.data = new`, so that all lie side by side in
    memory, where a recorded step updates them at once. A `detach()` or a view of it that was made before keeps the old
    array. An array that `data` has given away, or that parameters share, stays where it is.
    """

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for layer in layers:
            if not callable(layer):
                got = type(layer).__name__
                raise TypeError(f"Sequential: expected layers, each an argument of its own, got {got}")
        self.layers = layers
        for name, x in state_of(self)[0].items():
            x.label = name
        move_side_by_side(self.parameters())

    def __call__(self, x: Any) -> Any:
        """A batch (n, ...) through all layers."""
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: int) -> Any:
        """Layer number i."""
        return self.layers[i]

    def _held(self) -> Iterator[tuple[str, Any]]:
        """The layers by number, in place of the attribute that holds them; no name for one without tensors."""
        number = itertools.count()
        for name, x in super()._held():
            if name == "layers":
                yield from ((str(next(number)) if has_tensors(layer) else "", layer) for layer in x)
            else:
                yield name, x

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state dict to an .npz file, whole or not at all, with a checksum. Raises OSError with the path."""
        save(path, self.state_dict())

    def load(self, path: str | os.PathLike[str]) -> None:
        """Read the state dict that `save` wrote, or `np.savez`, whose files have no checksum.

        Raises as `load_state_dict` does, CheckpointError, a ValueError, for another or a damaged file, OSError when it
        cannot be read; the model is then as it was.
        """
        self.load_state_dict(read(path, "a model saved as .npz", sealed=False))

    def fit(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        optimizer: Optimizer,
        epochs: int = 1,
        batch_size: int = 32,
        loss: Callable[..., Any] = cross_entropy,
        schedule: Schedule | None = None,
        seed: int = 0,
        validation: tuple[np.ndarray, np.ndarray] | float | None = None,
        on_epoch: OnEpoch | None = None,
        progress: bool = False,
        threads: int | None = None,
        compile: bool = True,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int | None = None,
        metrics: Mapping[str, Metric] | None = None,
        sample_weight: np.ndarray | None = None,
        class_weight: Any = None,
        augment: Augmentation | Sequence[Augmentation] | None = None,
        on_step: OnStep | None = None,
        ranks: Alone = ALONE,
    ) -> list[dict[str, float]]:
        """Train on images (n, ...) and labels (n, ...), whole or real numbers as the loss takes them, in batches
        shuffled by `seed`; uint8 images are scaled to 0..1. Another call goes on with other orders. All layers are
        switched to training, and back afterwards.

        schedule    the learning rate by step number, from 0; without one the optimizer keeps its own
        validation  images and labels to evaluate on after each epoch; or which part of those given, from 0 to 1, is set
                    aside for it: the last, so mix what is in order
        on_epoch    called with each epoch's row of the history as soon as it is there; what it adds to the row, plain
                    values, is kept in the history and the checkpoint; returns True to stop
        progress    show a bar with the running loss and metrics; where stderr is no terminal, print a line an epoch
        threads     that share large matrix products while training, with the same results; None: one a core
        compile     record the step at the first batch and replay it, with the same results to the last bit
        checkpoint  file to write after each epoch and, if it is there already, to go on from (remove it to begin
                    anew): model, optimizer, layers' random generators, position and history become those of the
                    file, and so does what `on_epoch` and `on_step` have in a `state_dict`; the run ends with the same
                    bits as one that never stopped, given the same loss and layers. Not written while loss or
                    parameters are not finite, so that the last good one stays
        every       steps after which to write the checkpoint within an epoch, too
        metrics     functions of outputs and labels, plain arrays, by name: see vector/training/metrics.py. None: what
                    fits the loss
        sample_weight, class_weight
                    what each sample counts, (n,), or each class, (k,): the loss of a batch is the weighted mean; the
                    loss must take `reduction="none"`
        augment     changes the images of each batch at random: see vector/data/augment.py
        on_step     called after each step with {"step": number, "loss": loss}
        ranks       processes that share each batch, as `vector.distributed.Ranks()`: all call `fit` with the same
                    arguments and get the same history and weights; the first prints and saves

        Returns the history, a dict an epoch: epoch, loss and metrics (accuracy, for classes) as they were while
        training, and with `validation` the same of it, as test_loss and so on. Raises ValueError for images and labels
        that do not fit, and CheckpointError, a ValueError that leaves all as it was, for a damaged checkpoint or one of
        another run; OSError when it cannot be written; FloatingPointError, naming epoch and batch, as soon as the loss
        is not finite: the parameters are then what that step made of them. TypeError for no optimizer.
        """
        weights = weights_of(np.asarray(labels), sample_weight, class_weight)
        (images, labels, weights), held_out = hold_out((images, labels, weights), validation)
        part = (ranks.rank, ranks.size) if ranks.size > 1 else None
        batches = self.batches(images, labels, batch_size, seed, weights=weights, augment=augment, part=part)
        if held_out is not None:
            self.batches(*held_out, batch_size, shuffle=False)  # raises for what does not fit
        metrics = metrics_for(loss, batches.labels) if metrics is None else metrics
        run = Run(self, optimizer, batches, epochs, schedule, checkpoint, every, metrics, on_epoch, on_step, ranks)
        function = self.train_step(optimizer, loss, ranks, weights is not None)
        step = recorded(function) if compile else Step(function)
        with use_threads(ranks.threads() if threads is None else threads), in_mode(self, training=True):
            run.train(step, partial(self._validate, held_out, loss, metrics, ranks), progress and ranks.first)
        return run.history

    def _validate(self, held_out: Any, loss: Any, metrics: Mapping[str, Metric], ranks: Alone) -> dict[str, float]:
        """The mean loss and metrics over what is held out, test_loss and so on; each rank evaluates its part."""
        if held_out is None:
            return {}
        names, n = [f"test_{name}" for name in ("loss", *metrics)], len(held_out[0])
        own = slice(n * ranks.rank // ranks.size, n * (ranks.rank + 1) // ranks.size)
        images, labels = held_out[0][own], held_out[1][own]
        means = self.evaluate(images, labels, loss, metrics=metrics) if len(labels) else (0.0,) * len(names)
        found = ranks.gather("the validation", [x * (len(labels) / n) for x in means])
        return {name: sum(x) for name, x in zip(names, zip(*found, strict=True), strict=True)}

    def train_step(
        self, optimizer: Optimizer, loss: Callable[..., Any], ranks: Alone = ALONE, weights: bool = False
    ) -> Callable[..., Any]:
        """One step as a function of a batch, with or without weights, which returns the loss and the outputs. With
        several ranks, the batch is this one's part, as `Batches` has it with or without weights; the loss is the whole
        batch's."""

        def step(x: Any, y: Any, weights: Any = None) -> Any:
            outputs = self(x)
            value = loss(outputs, y) if weights is None else weighted(loss(outputs, y, reduction="none"), weights)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            return value, outputs

        def part(x: Any, y: Any, counts: Any) -> Any:
            outputs = self(x)
            value = ops.sum(each(loss(outputs, y, reduction="none")) * counts) if weights else loss(outputs, y) * counts
            optimizer.zero_grad()
            value.backward()
            value = ranks.sum_gradients(optimizer.parameters, value)
            optimizer.step()
            return value, outputs

        return step if ranks.size == 1 else part

    def batches(
        self, images: np.ndarray, labels: np.ndarray, size: int, seed: int = 0, shuffle: bool = True, **more: Any
    ) -> Batches:
        parameters = self.parameters()
        if not parameters:
            raise ValueError("Sequential: expected a layer with parameters, whose dtype batches take, got none")
        scale = 1 / 255 if np.asarray(images).dtype == np.uint8 else None
        dtype = parameters[0].dtype
        return Batches(images, labels, size, seed=seed, shuffle=shuffle, dtype=dtype, scale=scale, **more)

    def evaluate(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        loss: Callable[..., Any] = cross_entropy,
        batch_size: int = 1000,
        metrics: Mapping[str, Metric] | None = None,
    ) -> tuple[float, ...]:
        """The mean loss, and the mean of each metric, of what fits the loss where none are given: of classes the
        accuracy, the part of samples whose largest output is at their label. All layers are switched to evaluation, and
        back afterwards."""
        metrics = metrics_for(loss, np.asarray(labels)) if metrics is None else metrics
        sums = [0.0] * (1 + len(metrics))
        with no_grad(), in_mode(self, training=False):
            for x, y in self.batches(images, labels, batch_size, shuffle=False):
                outputs = self(x)
                sums[0] += loss(outputs, y).item() * len(y)
                for i, metric in enumerate(metrics.values(), start=1):
                    sums[i] += total(metric, outputs.data, y)
        return tuple(x / len(labels) for x in sums)

    def predict(self, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
        """The outputs (n, k) for images (n, ...), in the order given. All layers are switched to evaluation,
        and back afterwards."""
        with no_grad(), in_mode(self, training=False):
            batches = self.batches(images, np.zeros(len(images), np.int64), batch_size, shuffle=False)
            return np.concatenate([self(x).data for x, _ in batches])


def weighted(losses: Any, weights: Any) -> Any:
    """The mean of the losses of samples (n, ...), each counting as its weight (n,) says."""
    return ops.sum(each(losses) * weights) / np.add.reduce(weights)


def each(losses: Any) -> Any:
    """The mean of each sample's losses (n, ...), (n,)."""
    return ops.mean(ops.reshape(losses, (losses.shape[0], -1)), axis=1)


def weights_of(labels: np.ndarray, samples: Any, classes: Any) -> np.ndarray | None:
    """What each sample counts: its own weight times that of its class. None where nothing is said."""
    if classes is None:
        return None if samples is None else np.asarray(samples)
    table = np.asarray([classes[k] for k in sorted(classes)] if isinstance(classes, Mapping) else classes, float)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or table.ndim != 1 or labels.max(initial=0) >= len(table):
        raise ValueError(
            f"fit: expected a class_weight for each of the class numbers (n,), got {table.shape} for labels of shape "
            f"{labels.shape} and {labels.dtype}"
        )
    return table[labels] if samples is None else table[labels] * np.asarray(samples)


def hold_out(data: tuple[Any, ...], validation: Any) -> tuple[tuple[Any, ...], tuple[Any, Any] | None]:
    """Images, labels and weights to train on, and images and labels to evaluate on."""
    if validation is None:
        return data, None
    if isinstance(validation, float):
        n = len(data[0])
        kept = n - round(validation * n)
        if not 0 < kept < n:
            raise ValueError(f"fit: expected validation to leave some of {n} samples on both sides, got {validation}")
        return tuple(x if x is None else x[:kept] for x in data), (data[0][kept:], data[1][kept:])
    got = len(validation) if isinstance(validation, Sequence) else type(validation).__name__
    if got != 2:
        raise ValueError(f"fit: expected validation=(images, labels) or a part from 0 to 1, got {got}")
    return data, validation


def recorded(function: Callable[..., Any]) -> Step:
    """A training step that is recorded: who records loads the compiler."""
    from .recorded import RecordedStep

    return RecordedStep(function)


def move_side_by_side(parameters: Sequence[Tensor]) -> None:
    """Move the parameters whose arrays nobody else has, one after the other in memory."""
    shared = Counter(id(p.memory) for p in parameters)
    own = [p for p in parameters if p.memory == [] and shared[id(p.memory)] == 1]
    for p, moved in zip(own, side_by_side(p.data for p in own), strict=True):
        p.data = moved
