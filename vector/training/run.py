"""A training run: its loop, where it stands, and the file from which it goes on."""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
import sys
import types
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.batches import Batches
from ..distributed import ALONE, Alone
from ..nn.base import state_of
from ..optim import Optimizer, Schedule
from ..random import find_generators
from .checkpoint import CheckpointError, load, save
from .metrics import Metric, totals

if TYPE_CHECKING:
    from .sequential import Sequential

OnEpoch = Callable[[dict[str, float]], Any]
OnStep = Callable[[dict[str, float]], Any]
NOT_FINITE = (
    "fit: the loss is {} at epoch {}, batch {}; try a smaller learning rate, look for NaN in the images, or fit inside "
    "`with vector.detect_anomaly():`, which names the op that it comes from"
)
OTHER = "give fit what it was made with (model, optimizer, data, batch_size, seed, schedule), or another path"
AT_ONCE = 64  # steps, after which a recorded step compares its captured values again
ROOM = 2**16  # bytes of outputs that wait for their metrics


class Step:
    """A training step, a function of a batch that returns the loss and the outputs, for many batches."""

    def __init__(self, step: Callable[..., Sequence[Any]]) -> None:
        self.step = step

    def each(self, batches: Iterable[tuple[Any, ...]], still: bool) -> Iterator[Sequence[np.ndarray]]:
        """Take a step for each batch, and yield the arrays of the loss and the outputs. Where all is `still`, nothing
        that could change the step runs in between, and the batches are of one size."""
        for batch in batches:
            yield [x.data for x in self.step(*batch)]

    def next_epoch(self, called_back: bool) -> None:
        """Between two epochs, with or without a call of `on_epoch`, anything may have changed."""


trained: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # epochs, by model


class Run:
    """Where a run of `Sequential.fit` stands. With a path that exists, it stands where that checkpoint was written.

    history  a row for each epoch that is over
    start    epochs that earlier calls of `fit` trained the model for: the order of the batches goes on from there
    step     steps taken, in all epochs
    loss     sum of the losses of the samples seen in the epoch under way
    sums     sums of the metrics over those of these samples that are this rank's, by name
    waiting  outputs and targets of batches that are not in these sums yet, until they fill the room there is
    still    whether nothing of the user's runs between two steps
    settled  the same over all ranks, when they last exchanged what is their own
    stopped  whether `on_epoch` said to stop
    due      the step after which to save, where no epoch ends
    """

    def __init__(
        self,
        model: Sequential,
        optimizer: Optimizer,
        batches: Batches,
        epochs: int,
        schedule: Schedule | None = None,
        path: str | os.PathLike[str] | None = None,
        every: int | None = None,
        metrics: Mapping[str, Metric] | None = None,
        on_epoch: OnEpoch | None = None,
        on_step: OnStep | None = None,
        ranks: Alone = ALONE,
    ) -> None:
        if every is not None and (path is None or every < 1):
            raise ValueError(f"fit: expected every of 1 step or more, with a checkpoint path, got {every} and {path}")
        if not isinstance(epochs, (int, np.integer)) or epochs < 0:
            raise ValueError(f"fit: expected a whole number of epochs, from 0, got {epochs!r}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"fit: expected an optimizer, as of vector.optim, got {type(optimizer).__name__}")
        if not {*map(id, model.parameters())} & {*map(id, optimizer.parameters)}:
            raise ValueError("fit: expected an optimizer of this model's parameters, got one of others: make it anew")
        self.model, self.optimizer, self.batches, self.epochs = model, optimizer, batches, epochs
        self.schedule, self.path, self.every, self.ranks = schedule, path, every, ranks
        self.history: list[dict[str, float]] = []
        self.start = trained.get(model, 0)
        self.metrics = dict(metrics or {})
        self.on_epoch, self.on_step = on_epoch, on_step
        self.callbacks: dict[str, Any] = {  # those whose state is saved
            name: x for name, x in (("on_epoch", on_epoch), ("on_step", on_step)) if hasattr(x, "state_dict")
        }
        self.step, self.loss, self.due, self.stopped = 0, 0.0, -1, False
        self.sums, self.settled = dict.fromkeys(self.metrics, 0.0), dict.fromkeys(self.metrics, 0.0)
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self.room = ROOM if all(map(own, self.metrics.values())) else 0
        others = [f for f in (schedule, batches.augment, on_step) if f is not None]
        self.still = ranks.size == 1 and self.room > 0 and all(map(own, (type(optimizer), *others)))
        self.generators = find_generators([model])
        self.elsewhere = {str(i): self.stands() for i in range(1, ranks.size)}  # where those of other ranks stand
        if path is not None or ranks.size > 1:
            self.data = fingerprint(batches)
            ranks.agree(
                "what fit is given", self.settings(0) | {"epochs": epochs, "every": every, "path": path is None}
            )
            ranks.agree("the weights and the optimizer's state", self.checksum())
            self.place(ranks.gather("the generators", self.stands())[0], {})
        if path is not None:
            self.resume(path)

    def train(self, step: Step, evaluate: Callable[[], dict[str, float]], progress: bool) -> None:
        """Take all epochs that are left, with what `evaluate` gives in the row of each; a recorded step is told between
        them that anything may have changed."""
        while len(self.history) < self.epochs and not self.stopped:
            row = self.epoch(step, progress) | evaluate()
            self.end_epoch(row, progress)
            if self.on_epoch:
                self.stopped = self.ranks.gather("whether to stop", self.on_epoch(row) is True)[0]
                self.model.train()
            step.next_epoch(self.on_epoch is not None)
            self.save()

    def epoch(self, step: Step, progress: bool) -> dict[str, float]:
        """Take the steps that the epoch has left. Returns its row, which is not yet in the history."""
        batches, number = self.batches, len(self.history)
        batches.epoch = self.start + number
        first, alone = number * len(batches), self.ranks.size == 1
        behind = self.step - first  # batches
        bar = progress_bar(len(batches), behind, f"epoch {number + 1}/{self.epochs}", progress and on_terminal())
        self.plan()
        left = self.prepared(itertools.islice(batches, behind, None))
        for batch in left:
            rows = batches.rows(self.step - first)
            counted = bool(self.metrics) and (alone or batches.has_rows(rows))
            together = itertools.chain([batch], itertools.islice(left, self.together(first) - 1))
            for loss, outputs in step.each(together, self.still):
                mean = loss.item()
                if not math.isfinite(mean):
                    raise FloatingPointError(NOT_FINITE.format(mean, number + 1, self.step - first + 1))
                self.step += 1
                self.loss += mean * rows
                if counted:
                    self.waiting.append((outputs, self.targets))
                    if len(self.waiting) * outputs.nbytes >= self.room:
                        self.count()
                if self.on_step is not None:
                    self.on_step({"step": self.step, "loss": mean})
                if self.step == self.due:
                    self.settle()
                    self.save()
                if bar is not None and bar.update():
                    self.count()
                    means = self.means(self.sums if alone else {}, self.step - first)  # those of all are not known yet
                    bar.set_postfix_str("  ".join(f"{name} {x:.4f}" for name, x in means), refresh=False)
            self.count()
        if bar is not None:
            bar.close()
        self.settle()
        return {"epoch": number + 1, **dict(self.means(self.settled, len(batches)))}

    def prepared(self, batches: Iterable[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
        """Each batch, when its step is about to be taken: at the learning rate for it."""
        for batch in batches:
            if self.schedule is not None:
                self.optimizer.lr = self.schedule(self.step)
            self.targets = batch[1]
            yield batch

    def together(self, first: int) -> int:
        """How many steps to take at once in the epoch that began with step `first`: batches of one size, until the
        checkpoint is due."""
        ends = first + len(self.batches.images) // self.batches.batch_size, self.due
        return min([AT_ONCE, *(end - self.step for end in ends if end > self.step)])

    def count(self) -> None:
        """Add the batches that wait, which are of one size, to the sums of the metrics."""
        if self.waiting:
            outputs, targets = zip(*self.waiting, strict=True)
            for name, metric in self.metrics.items():
                for x in totals(metric, outputs, targets):
                    self.sums[name] += x
            self.waiting.clear()

    def means(self, sums: Mapping[str, float], batches: int) -> Iterator[tuple[str, float]]:
        """The mean loss and metrics over so many batches of the epoch under way, by name."""
        seen = min(batches * self.batches.batch_size, len(self.batches.images))  # samples, by all ranks
        yield "loss", self.loss / seen
        yield from ((name, x / seen) for name, x in sums.items())

    # --- what ranks have of their own

    def settle(self) -> None:
        """Add up the metrics of all ranks, and take the mean of the layers' buffers, such as the running means of batch
        norm. Raises RuntimeError where the weights or the optimizer's state have not the same bits on all."""
        self.count()
        if self.ranks.size == 1:
            self.settled = dict(self.sums)
            return
        tensors, buffers = state_of(self.model)
        arrays = [x.data for x in tensors.values() if id(x) in buffers]
        what = f"the weights after {self.step:,} steps"
        sums, others = zip(*self.ranks.agree(what, self.checksum(), (self.sums, arrays)), strict=True)
        self.settled = {name: sum(x[name] for x in sums) for name in self.sums}
        self.sums = dict(self.settled if self.ranks.first else dict.fromkeys(self.sums, 0.0))
        for array, of_all in zip(arrays, zip(*others, strict=True), strict=True):
            array[...] = sum(of_all) / len(of_all)

    def stands(self) -> dict[str, Any]:
        """Where the layers' random generators stand."""
        return {str(i): rng.bit_generator.state for i, rng in enumerate(self.generators)}

    def place(self, first: Mapping[str, Any], others: Mapping[str, Any]) -> None:
        """Let the layers' generators go on from where those of the first rank stood, and of as many others. Where that
        were not as many, they draw other numbers on each rank: which, follows from where the first's stood."""
        rank = self.ranks.rank
        known = first if rank == 0 else others.get(str(rank)) if len(others) == self.ranks.size - 1 else None
        for i, rng in enumerate(self.generators):
            kind, state = type(rng.bit_generator), first[str(i)]
            apart = kind([zlib.crc32(repr(state).encode()), rank]).state if known is None else known[str(i)]
            rng.bit_generator.state = apart

    def checksum(self) -> str:
        """Of the weights, and of what the optimizer keeps."""
        memory = [x for tensors in self.optimizer.memory().values() for x in tensors]
        return crc(x.data for x in (*self.model.parameters(), *memory))

    def end_epoch(self, row: dict[str, float], progress: bool) -> None:
        """Take the epoch's row into the history and begin new sums. Print it where no bar can be drawn."""
        self.history.append(row)
        if progress and not on_terminal():
            columns = (f"{name.replace('_', ' ')} {x:.4f}" for name, x in row.items() if name != "epoch")
            print(f"epoch {row['epoch']}/{self.epochs}", *columns, sep="  ", file=sys.stderr, flush=True)
        trained[self.model] = self.start + len(self.history)
        self.loss, self.sums, self.settled = 0.0, dict.fromkeys(self.sums, 0.0), dict.fromkeys(self.sums, 0.0)

    def plan(self) -> None:
        """Say when to save next."""
        self.due = -1 if self.every is None else self.step - self.step % self.every + self.every

    # --- the checkpoint -----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint, if there is to be one and all parameters are finite: what could not be trained further
        does not take the place of what could.
        """
        self.plan()
        if self.path is None:
            return
        if all(np.isfinite(p.data).all() for p in self.model.parameters()):
            stands = self.ranks.gather("the generators", self.stands())
            self.elsewhere = {str(i): x for i, x in enumerate(stands) if i}
            path, state = self.path, self.state()
            self.ranks.once("the checkpoint", lambda: save(path, state))

    def state(self) -> dict[str, Any]:
        """All that the next step depends on and what it adds to, and the settings to know the run by."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": self.stands(),
            "ranks": self.elsewhere,
            "run": {"step": self.step, "loss": self.loss, "sums": self.settled, "history": self.history}
            | {"start": self.start, "epochs": self.epochs, "stopped": self.stopped},
            "callbacks": {name: x.state_dict() for name, x in self.callbacks.items()},
            "settings": self.settings(self.step),
        }

    def settings(self, step: int) -> dict[str, Any]:
        """What must be the same when a run goes on after `step` steps."""
        rate = float(self.schedule(step - 1)) if self.schedule is not None and step > 0 else None
        return {
            "batch_size": self.batches.batch_size,
            "seed": self.batches.seed,
            "samples": len(self.batches.images),
            "data": self.data,
            "dtypes": [p.dtype.name for p in self.model.parameters()],
            "learning rate of the last step": rate,
        }

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go to where the checkpoint was written, if it is there. Raises CheckpointError, and changes nothing, when it
        is unreadable or another run's.
        """
        state = self.ranks.once("the checkpoint", lambda: found(path))
        if state is None:
            return
        before = self.state()
        try:
            self.check(state)
            self.take(state)
        except BaseException as error:
            self.take(before)
            if not isinstance(error, Exception):
                raise
            came = f"{type(error).__name__}: {error}"[:1000]
            raise CheckpointError(
                f"{os.fspath(path)}: expected a checkpoint of this run, got another: {came}: {OTHER}"
            ) from error

    def check(self, state: dict[str, Any]) -> None:
        """Raises ValueError for the state of another run, and all sorts of errors for what is no state of a run."""
        own = self.state()
        if isinstance(state.get("run"), dict):  # older files have not all of it
            state["run"] = {"start": 0, "epochs": None, "stopped": False} | state["run"]
            right = state["run"].pop("right", None)
            if right is not None:
                state["run"]["sums"] = {"accuracy": float(right)}
        state.setdefault("callbacks", {})
        state.setdefault("ranks", {})
        for name in ("", "generators", "run", "settings", "callbacks"):
            part, wanted = (state[name], own[name]) if name else (state, own)
            if part.keys() != wanted.keys():
                raise ValueError(f"{name or 'a file'} with {sorted(part)} in place of {sorted(wanted)}")
        step, history = state["run"]["step"], state["run"]["history"]
        if [row["epoch"] for row in history] != list(range(1, len(history) + 1)):
            raise ValueError(f"a history that does not count its epochs from 1: {history}")
        batch = step - len(history) * len(self.batches)
        if type(step) is not int or not 0 <= batch <= len(self.batches):
            raise ValueError(f"{step} steps, where the epoch after {len(history)} others has {len(self.batches)}")
        if step > self.epochs * len(self.batches):
            raise ValueError(f"{step} steps, where {self.epochs} epochs have {self.epochs * len(self.batches)}")
        for name, wanted in self.settings(step).items():
            if state["settings"][name] != wanted and name.startswith("learning rate") and self.others(state):
                raise ValueError(f"a learning rate that falls over {state['run']['epochs']} epochs, here {self.epochs}")
            if state["settings"][name] != wanted:
                raise ValueError(f"{name} {state['settings'][name]}, where this run has {wanted}")

    def others(self, state: dict[str, Any]) -> bool:
        """Whether the state is of a run over another number of epochs."""
        return state["run"]["epochs"] not in (None, self.epochs)

    def take(self, state: dict[str, Any]) -> None:
        """Be where the state is, with the model, the optimizer and the random generators."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.place(state["generators"], state["ranks"])
        for name, x in self.callbacks.items():
            x.load_state_dict(state["callbacks"][name])
        run = state["run"]
        self.step, self.loss, self.stopped = int(run["step"]), float(run["loss"]), bool(run["stopped"])
        self.settled = {name: float(run["sums"][name]) for name in self.metrics}
        self.sums = dict(self.settled if self.ranks.first else dict.fromkeys(self.metrics, 0.0))
        self.history, self.start = list(run["history"]), int(run["start"])


def own(x: Any) -> bool:
    """Whether x is a function or a class of this package, which calls nothing of the user's."""
    plain = isinstance(x, (types.FunctionType, type))
    return plain and (x.__module__ or "").partition(".")[0] == __package__.partition(".")[0]


def found(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The checkpoint of that path; None where there is none. Raises OSError where none can be written."""
    if not os.access(os.path.dirname(os.path.realpath(path)), os.W_OK | os.X_OK):  # not only after an epoch
        raise OSError(errno.EACCES, "expected a folder that is there and takes files", os.fspath(path))
    try:
        return load(path)
    except FileNotFoundError:
        return None


def fingerprint(batches: Batches) -> str:
    """A checksum of the images, labels and weights: enough to know another data set, and quick."""
    images = batches.images
    return f"{images.dtype} {images.shape[1:]} {crc((images, batches.labels, batches.weights))}"


def crc(arrays: Iterable[np.ndarray | None]) -> str:
    """A checksum of arrays."""
    found = 0
    for array in arrays:
        if array is not None:
            found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return f"crc32 {found:08x}"


def on_terminal() -> bool:
    """Whether stderr is one: a bar would fill a log file with what it draws over."""
    return sys.stderr is not None and sys.stderr.isatty()


def progress_bar(total: int, initial: int, text: str, wanted: bool) -> Any:
    if not wanted:
        return None
    from tqdm import tqdm  # only when a bar is shown: importing it takes longer than importing this package

    class Bar(tqdm):
        monitor_interval = 0  # no thread of its own, which would stay

        def __del__(self) -> None:
            with contextlib.suppress(AttributeError):  # Ctrl-C in the middle of making it leaves half a bar
                super().__del__()

    return Bar(total=total, initial=initial, desc=text, unit="batch", leave=False, mininterval=0.1, miniters=1)
