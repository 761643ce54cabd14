"""A stack of layers that trains itself."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..autodiff import no_grad
from ..data.batches import Batches
from ..losses import cross_entropy
from ..nn.base import Layer, has_tensors, in_mode, state_of
from ..optim import Optimizer, Schedule
from ..runtime.memory import side_by_side
from ..runtime.threads import use_threads
from ..tensor import Tensor
from .checkpoint import read, save
from .run import Run, hits


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
        loss: Callable[[Any, Any], Any] = cross_entropy,
        schedule: Schedule | None = None,
        seed: int = 0,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        on_epoch: Callable[[dict[str, float]], None] | None = None,
        progress: bool = False,
        threads: int | None = None,
        compile: bool = True,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int | None = None,
    ) -> list[dict[str, float]]:
        """Train on images (n, ...) and labels, in batches shuffled by `seed`; uint8 images are scaled to 0..1.
        Another call goes on with other orders. All layers are switched to training, and back afterwards.

        schedule    the learning rate by step number, from 0; without one the optimizer keeps its own
        validation  images and labels to evaluate on after each epoch
        on_epoch    called with each epoch's row of the history as soon as it is there; what it adds to the row, plain
                    values, is kept in the history and the checkpoint
        progress    show a bar with the running loss and accuracy; where stderr is no terminal, print a line an epoch
        threads     that share large matrix products while training, with the same results; None: one a core
        compile     record the step at the first batch and replay it, with the same results to the last bit
        checkpoint  file to write after each epoch and, if it is there already, to go on from (remove it to begin
                    anew): model, optimizer, layers' random generators, position and history become those of the
                    file, and the run ends with the same bits as one that never stopped, given the same loss and
                    layers. Not written while loss or parameters are not finite, so that the last good one stays
        every       steps after which to write the checkpoint within an epoch, too

        Returns the history, a dict an epoch: epoch, loss and accuracy as they were while training, and with
        `validation` test_loss and test_accuracy. Raises ValueError for images and labels that do not fit, and
        CheckpointError, a ValueError that leaves all as it was, for a damaged checkpoint or one of another run; OSError
        when it cannot be written; FloatingPointError, naming epoch and batch, as soon as the loss is not finite: the
        parameters are then what that step made of them. TypeError for no optimizer.
        """
        batches = self.batches(images, labels, batch_size, seed)
        if validation is not None:
            got = len(validation) if isinstance(validation, Sequence) else type(validation).__name__
            if got != 2:
                raise ValueError(f"fit: expected validation=(images, labels), got {got}")
            self.batches(*validation, batch_size, shuffle=False)
        run = Run(self, optimizer, batches, epochs, schedule, checkpoint, every)
        step: Any = self.train_step(optimizer, loss)
        if compile:
            from .recorded import RecordedStep  # the compiler is loaded by who records

            step = RecordedStep(step)
        with use_threads(threads), in_mode(self, training=True):
            while len(run.history) < epochs:
                row = run.epoch(step, progress)
                if validation is not None:
                    row["test_loss"], row["test_accuracy"] = self.evaluate(*validation, loss=loss)
                run.end_epoch(row, progress)
                if on_epoch:
                    on_epoch(row)
                    self.train()
                if compile:
                    step.next_epoch(on_epoch is not None)
                run.save()
        return run.history

    def train_step(self, optimizer: Optimizer, loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """One step as a function of a batch, which returns the loss and the outputs."""

        def step(x: Any, y: Any) -> Any:
            logits = self(x)
            value = loss(logits, y)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            return value, logits

        return step

    def batches(
        self, images: np.ndarray, labels: np.ndarray, size: int, seed: int = 0, shuffle: bool = True
    ) -> Batches:
        parameters = self.parameters()
        if not parameters:
            raise ValueError("Sequential: expected a layer with parameters, whose dtype batches take, got none")
        scale = 1 / 255 if np.asarray(images).dtype == np.uint8 else None
        return Batches(images, labels, size, seed=seed, shuffle=shuffle, dtype=parameters[0].dtype, scale=scale)

    def evaluate(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        loss: Callable[[Any, Any], Any] = cross_entropy,
        batch_size: int = 1000,
    ) -> tuple[float, float]:
        """The mean loss, and the accuracy: the part of samples whose largest output is at their label.
        All layers are switched to evaluation, and back afterwards."""
        total, right = 0.0, 0
        with no_grad(), in_mode(self, training=False):
            for x, y in self.batches(images, labels, batch_size, shuffle=False):
                logits = self(x)
                total += loss(logits, y).item() * len(y)
                right += hits(logits.data, y)
        return total / len(labels), right / len(labels)

    def predict(self, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
        """The outputs (n, k) for images (n, ...), in the order given. All layers are switched to evaluation,
        and back afterwards."""
        with no_grad(), in_mode(self, training=False):
            batches = self.batches(images, np.zeros(len(images), np.int64), batch_size, shuffle=False)
            return np.concatenate([self(x).data for x, _ in batches])


def move_side_by_side(parameters: Sequence[Tensor]) -> None:
    """Move the parameters whose arrays nobody else has, one after the other in memory."""
    shared = Counter(id(p.memory) for p in parameters)
    own = [p for p in parameters if p.memory == [] and shared[id(p.memory)] == 1]
    for p, moved in zip(own, side_by_side(p.data for p in own), strict=True):
        p.data = moved
