"""Training on several processes at once, which MPI starts and connects: `mpiexec -n 4 python train.py`.

Each process, a rank, has the whole model and data set, and takes its part of the rows of each batch. One Allreduce a
step adds up the gradients, so that all ranks make the same step from the same weights. A program is the same for all:

    ranks = vector.distributed.Ranks()
    model.fit(images, labels, optimizer, ranks=ranks)
    if ranks.first:
        model.save("model.npz")

What ranks do together, they do in the same order. One that does something else would be waited for without end, or
its numbers be taken for others. Two things prevent it. Sums of each size and dtype have a communicator of their own, so
that nothing but its like is ever added; everything else is exchanged together with its name, and compared. And a rank
that waits for long says where to the first one. There, two names for the same place in the order show who fell out.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import numpy as np

from .op import recorded_in
from .runtime.threads import cores, machine_cores
from .tensor import Tensor

__all__ = ["Alone", "Ranks"]

T = TypeVar("T")
PERIOD = 0.5  # seconds between two looks at who waits where
THE_END = "its end"


class Alone:
    """The ranks where there is one: this process.

    rank, size   its number, from 0, and how many there are
    processes    a line for each: which process it is
    """

    rank, size = 0, 1
    processes: Sequence[str] = ()

    @property
    def first(self) -> bool:
        """Whether this rank is the one that prints, draws and saves."""
        return self.rank == 0

    def gather(self, what: str, x: T) -> list[T]:
        """What each rank has, in order, on every rank. `what` says in words what it is."""
        return [x]

    def agree(self, what: str, x: Any, more: T | None = None) -> list[T | None]:
        """What each rank has `more`, in order, on every rank. Raises RuntimeError, naming the ranks, where x is not
        the same on all."""
        found = self.gather(what, (x, more))
        xs = [y for y, _ in found]
        if any(y != x for y in xs):
            if isinstance(x, dict):  # only what differs
                xs = [{key: y[key] for key in y if any(y[key] != other.get(key) for other in xs)} for y in xs]
            raise RuntimeError(f"expected {what} to be the same on all ranks, got {by_rank(dict(enumerate(xs)))}")
        return [y for _, y in found]

    def once(self, what: str, f: Callable[[], T]) -> T:
        """f() of the first rank, on every rank. What it raises is raised on all."""
        outcome: Any = None
        if self.first:
            try:
                outcome = f(), None
            except Exception as error:
                outcome = None, error
        result: T
        result, problem = self.gather(what, outcome)[0]
        if problem is not None:
            raise problem
        return result

    def sum_gradients(self, parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
        """The loss: there is nothing to add up."""
        return loss

    def threads(self) -> int:
        """How many threads this rank has processors for."""
        return cores()


ALONE = Alone()


class Ranks(Alone):
    """The processes that mpiexec started, of which this is one. Only here is MPI loaded and initialized.

    A rank that ends by an error, or falls out of step with the others, ends all, with a message that names it. The
    launcher ends all where one is killed: Open MPI and Intel MPI name the rank, MPICH the process, whose rank stands in
    `processes`.

    Raises ModuleNotFoundError where mpi4py or MPI is missing, RuntimeError where MPI lets only one thread call it.
    """

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # the second: mpi4py is there and finds no MPI
            advice = "pip install 'twograd[mpi]', or mpi4py beside the MPI of this machine"
            raise ModuleNotFoundError(f"Ranks: expected mpi4py and MPI, got: {error}; {advice}") from error
        if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
            raise RuntimeError("Ranks: expected an MPI that several threads may call (MPI_THREAD_MULTIPLE)")
        self.world = MPI.COMM_WORLD
        self.rank, self.size = self.world.rank, self.world.size
        self._named, self._board = self.world.Dup(), self.world.Dup()
        self._sums: dict[str, Any] = {}  # a communicator for each kind of sum
        self._at = 0, ""  # the number of exchanges, and which one this rank is in
        self._ended = threading.Event()
        self._here = self.world.Split_type(MPI.COMM_TYPE_SHARED).size  # ranks on this machine
        self._watch = threading.Thread(target=Watch(self).run, name="ranks", daemon=True)
        if self.size > 1:
            self._watch.start()
        atexit.register(self.leave)
        where = self.gather("the processes", (socket.gethostname(), os.getpid()))
        self.processes = [f"rank {i} is process {process} on {host}" for i, (host, process) in enumerate(where)]

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Inside, this rank is in the next exchange with all others."""
        count = self._at[0] + 1
        self._at = count, what
        try:
            yield
        finally:
            self._at = count, ""

    def gather(self, what: str, x: T) -> list[T]:
        """What each rank has, in order, on every rank: anything that can be pickled. `what` says in words what it is.
        Raises RuntimeError, naming the ranks, where others exchange something else."""
        with self.waiting(what):
            found = self._named.allgather((what, x))
        if any(name != what for name, _ in found):
            raise RuntimeError(self.out_of_step(self._at[0], {i: name for i, (name, _) in enumerate(found)}))
        return [y for _, y in found]

    def all_reduce(self, x: Any, out: Any = None) -> Any:
        """The sum of an array over all ranks, with the same bits on each. Recorded as one call."""
        if (traced := recorded_in((x,))) is not None:
            return traced.record(self.all_reduce, (x,), {}, True)
        what = f"the sum of {x.size:,} {x.dtype}"
        if what not in self._sums:
            self.gather(f"the first of {what}", None)
            self._sums[what] = self.world.Dup()
        if out is None:
            out = np.empty(x.shape, x.dtype)
        with self.waiting(what):
            self._sums[what].Allreduce(np.ascontiguousarray(x), out)
        return out

    def sum_gradients(self, parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
        """Add up each parameter's gradient over all ranks, by one Allreduce for each dtype. Returns the sum of the
        losses, a constant. Frozen parameters are left out.

        For the gradient of a batch's mean, multiply each rank's loss by its share of the batch before `backward()`.
        """
        trained = [p for p in parameters if p.requires_grad]
        for dtype in dict.fromkeys([*(p.dtype for p in trained), loss.dtype]):
            alike = [p for p in trained if p.dtype == dtype]
            parts = [p.grad.reshape(-1) for p in alike]
            parts += [loss.peek().reshape(-1)] if loss.dtype == dtype else []
            total, end = self.all_reduce(np.concatenate(parts)), 0
            for p in alike:
                start, end = end, end + p.size
                p.grad = total[start:end].reshape(p.shape)
            if loss.dtype == dtype:
                result = Tensor.constant(total[end:].reshape(loss.shape))
        return result

    def threads(self) -> int:
        """How many threads this rank has processors for, which ranks on one machine share."""
        return max(1, min(cores(), machine_cores() // self._here))

    # --- the end, and who is not where it should be

    def out_of_step(self, count: int, places: Mapping[int, str]) -> str:
        """The message about ranks of which not all do the same."""
        return f"out of step at exchange {count:,}: {by_rank(places, 'is at', 'are at')}"

    def fail(self, message: str) -> NoReturn:
        """End all ranks."""
        try:
            print(f"rank {self.rank} of {self.size}: {message}", file=sys.stderr, flush=True)
            time.sleep(PERIOD)  # the launcher passes on what was said until then, and may drop what comes at the end
        finally:
            self.world.Abort(1)
            os._exit(1)  # MPI says of Abort that it does what it can

    def leave(self) -> None:
        """As Python exits: wait until all do; end all where this rank ends by an error."""
        error = getattr(sys, "last_value", None)
        if error is not None and self.size > 1:
            self.fail(f"{type(error).__name__}: {error}")
        try:
            self.gather(THE_END, None)
        except RuntimeError as problem:
            self.fail(str(problem))
        self._ended.set()
        if self.size > 1:
            self._watch.join()  # before MPI is gone


class Watch:
    """Finds ranks that wait for each other in different places. Each has its thread for it; the first rank's compares
    what the others send."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.said = (0, "")  # the last place told to the first rank
        self.places: dict[int, dict[int, str]] = defaultdict(dict)  # by exchange and rank

    def run(self) -> None:
        """Look now and then until all have come to their end."""
        ranks, last = self.ranks, (0, "")
        while not ranks._ended.wait(PERIOD):
            now = ranks._at
            if ranks.first:
                self.compare(now)
            elif now[1] and now == last != self.said:
                ranks._board.send((ranks.rank, *now), 0)
                self.said = now
            last = now

    def compare(self, now: tuple[int, str]) -> None:
        """Take in what others sent. A rank that waits in an exchange never waited in another one of its number, so what
        was sent long ago is as good as new."""
        ranks = self.ranks
        while ranks._board.iprobe():
            rank, count, place = ranks._board.recv()
            self.places[count][rank] = place
        if now[1]:
            self.places[now[0]][0] = now[1]
        for count in [count for count in self.places if count < now[0]]:
            del self.places[count]
        for count, places in self.places.items():
            if len({*places.values()}) > 1:
                ranks.fail(ranks.out_of_step(count, places))


def by_rank(values: Mapping[int, Any], one: str = "has", several: str = "have") -> str:
    """Which ranks have what, those that are fewest first: "rank 2 has 3, ranks 0 and 1 have 4"."""
    groups: dict[str, list[int]] = defaultdict(list)
    for rank, x in values.items():
        groups[str(x)].append(rank)
    parts = []
    for x, ranks in sorted(groups.items(), key=lambda item: (len(item[1]), -item[1][0])):
        *others, last = map(str, ranks)
        parts.append(f"ranks {', '.join(others)} and {last} {several} {x}" if others else f"rank {last} {one} {x}")
    return ", ".join(parts)
