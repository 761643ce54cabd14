"""Threads that take part in large matrix products, and sleep between them.

BLAS has threads of its own, but they spin while they wait. A training step has a product every few hundred
microseconds: they would spin all the time, and where something else wants the processor, a product waits for a thread
that does not run. These sleep. To wake one takes as long as a few million multiply-adds, so the caller begins at once
and leaves it the smaller part; and what a worker has not begun by the time that the caller is done with its own part,
the caller does too.
"""

from __future__ import annotations

import contextvars
import functools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Worker:
    """A thread, and what it is to do next."""

    def __init__(self) -> None:
        self.call, self.working = threading.Lock(), threading.Lock()
        self.task: Any = None
        self.error: BaseException | None = None
        threading.Thread(target=self.work, name="vector worker", daemon=True).start()

    def work(self) -> None:
        while True:
            self.call.acquire()
            with self.working:
                self.compute()

    def give(self, task: tuple[Any, ...]) -> None:
        """Wake the thread for a function and its arguments. The caller's way to treat overflow goes with it."""
        with self.working:
            self.task, self.error = (contextvars.copy_context(), *task), None
        if self.call.locked():  # else it is about to wake already
            self.call.release()

    def compute(self) -> None:
        task, self.task = self.task, None
        if task:
            context, *call = task
            try:
                context.run(*call)
            except Exception as error:  # what numpy's errstate, or a warning that is an error, raises
                self.error = error


def finish(workers: list[Worker]) -> None:
    """Return when the workers' tasks are done: compute those that are not begun, wait for the others."""
    try:
        for worker in workers:
            with worker.working:
                worker.compute()
    except BaseException:  # Ctrl-C: they write to arrays that are in use again soon
        finish(workers)
        raise


team: list[Worker] = []  # started when first needed
turn = threading.Lock()  # held by who has given the team something to do
LOCK = threading.Lock()  # of what follows
threads = 1  # that take part in a product, the caller among them
blocks: list[Any] = []  # of `use_threads` being run, in all Python threads
before: list[Any] = []  # for each of them, what BLAS and `threads` are set back to when it ends as the newest


class Autotuner:
    """Finds out whether it is quicker to share a product: two processors may be the halves of one, or have other things
    to do.

    What counts is the time from one such product to the next, a whole training step: what one processor wrote the other
    has to fetch, which is felt after the product. In TRIALS calls the two ways take turns, for RUN calls each; what was
    quicker is done for the rest of a ROUND. Calls that are shared are added up, too: where another process takes the
    second processor, most of them are quick and some wait long. After a loss the next trials come later each time.
    """

    shared: bool  # what was done the last time
    last: float  # when that was, in seconds
    took: tuple[list[float], list[float]]  # seconds from a trial to the next call, alone and shared
    alone: float  # the median of those alone
    spent: float  # seconds in calls that were shared behind the trials; a pause counts little

    def __init__(self) -> None:
        self.calls, self.length, self.wait = 0, ROUND, ROUND - TRIALS
        self.shared, self.quicker = False, False
        self.alone, self.spent = math.inf, 0.0

    def helpers(self) -> int:
        """Say how many workers to share with this time."""
        return threads - 1 if threads > 1 and self.advice() else 0

    def advice(self) -> bool:
        """Say whether to share this time."""
        now = time.perf_counter()
        place = self.calls = self.calls if self.calls < self.length else 0
        self.calls += 1  # before anything is called: a signal's handler may come here too
        if place == 0:
            self.took, self.spent = ([], []), 0.0
        elif place <= TRIALS:
            self.took[self.shared].append(now - self.last)
        elif self.shared:
            self.spent += min(now - self.last, PAUSE * self.alone)
            if place % CHECK == 0:
                self.settle(self.spent < CHECK * self.alone, place)
                self.spent = 0.0
        if place == 2 * RUN and min(self.took[True]) > 2 * max(self.took[False]):
            place = TRIALS  # the other ones are spared
        if place == TRIALS:
            alone, shared = map(sorted, self.took)
            self.alone = alone[len(alone) // 2]
            self.settle(shared[len(shared) // 2] < self.alone, place)
        self.shared = place // RUN % 2 == 1 if self.calls <= TRIALS else self.quicker
        self.last = now
        return self.shared

    def settle(self, quicker: bool, place: int) -> None:
        """Go on from a place in the round with what is known by now."""
        self.quicker, self.calls = quicker, max(self.calls, place + 1)
        if quicker:
            self.length = ROUND
            self.wait = self.wait if place == TRIALS else ROUND - TRIALS
        else:
            self.length, self.wait = place + self.wait, min(2 * self.wait, LONGEST)


ROUND, TRIALS, RUN, LONGEST = 256, 16, 4, 4096  # calls
CHECK, PAUSE = 128, 20  # calls that are added up, and the longest that one of them counts for


@functools.lru_cache(maxsize=1024)
def autotuner_for(thread: int, *size: Any) -> Autotuner:
    """The autotuner of one Python thread for products of one size: the same object for the same arguments."""
    return Autotuner()


def parallel_for(part: Callable[..., Any], count: int, helpers: int, *args: Any) -> None:
    """Call part(i, *args) for each i of range(count): so many workers begin with the first, the caller with the last,
    until none is left.
    """
    helpers = min(helpers, count - 1)
    if not helpers or turn.locked():
        for i in range(count):
            part(i, *args)
        return
    left = deque(range(count))
    with turn:
        while len(team) < helpers:
            team.append(Worker())
        workers = team[:helpers]
        try:
            for worker in workers:
                worker.give((take, left.popleft, part, args))
            take(left.pop, part, args)
        except BaseException:
            left.clear()
            raise
        finally:
            finish(workers)
        for worker in workers:
            if worker.error is not None:
                raise worker.error


def take(another: Callable[[], int], part: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Do one part after another."""
    while True:
        try:
            i = another()
        except IndexError:
            return
        part(i, *args)


@functools.cache
def machine_cores() -> int:
    """How many processors the machine has, whoever may use them."""
    return os.cpu_count() or 1


def cores() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def use_threads(number: int | None = None) -> Iterator[None]:
    """Inside, so many threads share a large matrix product (None: one a core), and BLAS runs on one, every BLAS that is
    loaded, such as scipy's beside numpy's; afterwards all is as before. Both are the whole process's: of blocks in
    several Python threads the newest decides, and the last to end puts it back. Raises ValueError for less than one
    thread.
    """
    global threads
    from threadpoolctl import threadpool_limits  # only when asked for: it looks through all loaded libraries

    number = cores() if number is None else number
    if number < 1:
        raise ValueError(f"use_threads: expected at least 1 thread, got {number}")
    block = object()
    with LOCK:
        take_control()
        before.append((threadpool_limits(1, user_api="blas"), threads))
        blocks.append(block)
        threads = number
    try:
        yield
    finally:
        with LOCK:
            i = blocks.index(block)
            del blocks[i]
            if i == len(blocks):
                limits, threads = before.pop()
                take_control()
                limits.restore_original_limits()
            else:
                del before[i + 1]  # the next block has what was before this one before itself


def take_control() -> None:
    """Let this Python thread set the number of BLAS threads: threadpoolctl 3.8 obeys only the first that did."""
    import threadpoolctl

    clear = getattr(threadpoolctl.OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


def reset_after_fork() -> None:
    """Begin anew in a child process: it has no workers, and whoever held a lock is not there."""
    global turn, LOCK
    team.clear()
    turn, LOCK = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reset_after_fork)
