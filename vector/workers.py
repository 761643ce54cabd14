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
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

WAKE = 1_500_000  # multiply-adds of 4 bytes that the caller gets done until a worker is awake
SHARED = 8_000_000  # the same, from which on a worker saves more time than it takes to wake it


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


def work(x: Any, y: Any) -> int:
    """The multiply-adds of a product of matrices, or of stacks of them, in units of 4 bytes."""
    return x.size * y.shape[-1] * x.dtype.itemsize // 4


def worth_sharing(x: Any, y: Any) -> int:
    """How many threads may be done with a product earlier than fewer: of all that the machine has, whoever may use
    them, so that the same product is cut in the same way each time.
    """
    return min(os.cpu_count() or 1, work(x, y) // SHARED + 1)


def shared_matmul(x: Any, y: Any, out: Any) -> Any:
    """np.matmul of a stack x (t, n, k) and y (k, m) or (t, k, m), which the threads share where that is quicker.

    Each computes some of the t products, whole, so that their number changes nothing in the results.
    """
    total = work(x, y)
    helpers = min(threads - 1, total // SHARED, len(x) - 1)
    if helpers < 1 or turn.locked():
        return np.matmul(x, y, out=out)
    if experience_with(threading.get_ident(), x.shape, x.strides, y.shape, y.strides, helpers).advice():
        share(x, y, out, helpers, max(1, int(len(x) * (1 - WAKE / total) / (helpers + 1))))
    else:
        np.matmul(x, y, out=out)
    return out


class Experience:
    """Whether it is quicker to share a product: two processors may be the halves of one, or have other things to do.

    What counts is the time from one such product to the next, a whole training step: what one processor wrote the other
    has to fetch, which is felt after the product. Of each ROUND calls, in the first TRIALS the two ways take turns, for
    RUN calls each, and what was quicker is done in the others.
    """

    shared: bool  # what was done the last time
    last: float  # when that was, in seconds
    took: tuple[list[float], list[float]]  # seconds from a trial to the next call, alone and shared
    quicker: bool  # whether it was quicker to share, as far as is known

    def __init__(self) -> None:
        self.calls, self.shared, self.quicker = 0, False, False

    def advice(self) -> bool:
        """Whether to share this time."""
        now = time.perf_counter()
        place = self.calls % ROUND
        self.calls += 1  # before anything is called: a signal's handler may come here too
        if place == 0:
            self.took = [], []
        elif place <= TRIALS:
            self.took[self.shared].append(now - self.last)
        if place == TRIALS:
            alone, shared = map(sorted, self.took)
            self.quicker = shared[len(shared) // 2] < alone[len(alone) // 2]
        self.shared = place // RUN % 2 == 1 if place < TRIALS else self.quicker
        self.last = now
        return self.shared


ROUND, TRIALS, RUN = 512, 32, 4


@functools.lru_cache(maxsize=1024)
def experience_with(thread: int, *size: Any) -> Experience:
    """Of one Python thread with products of one size: the same object for the same arguments."""
    return Experience()


def share(x: Any, y: Any, out: Any, helpers: int, size: int) -> None:
    """Compute a product of stacks, the last `size` of them by each of so many workers."""
    own = len(x) - size * helpers
    parts = [slice(start, start + size) for start in range(own, len(x), size)]
    with turn, Helped([(np.matmul, x[part], y if y.ndim == 2 else y[part], out[part]) for part in parts]):
        np.matmul(x[:own], y if y.ndim == 2 else y[:own], out=out[:own])


class Helped:
    """`with turn, Helped(tasks, rest):` workers do tasks, each a function and its arguments, while the caller does what
    is inside, and then the rest, which are such tasks too. Without tasks the caller does all."""

    def __init__(self, tasks: list[Any], rest: list[Any] | None = None) -> None:
        self.tasks, self.rest = tasks, rest or []
        self.workers: list[Worker] = []

    def __enter__(self) -> None:
        if self.tasks:
            try:
                while len(team) < len(self.tasks):
                    team.append(Worker())
                self.workers = team[: len(self.tasks)]
                for worker, task in zip(self.workers, self.tasks, strict=True):
                    worker.give(task)
            except BaseException:
                finish(self.workers)
                raise

    def __exit__(self, error: Any, *more: Any) -> None:
        try:
            if error is None:
                run(self.rest)
        finally:
            finish(self.workers)
        if error is None:
            for worker in self.workers:
                if worker.error is not None:
                    raise worker.error


class Shared:
    """What is left to other threads at one place of a program, while its caller does the rest:
    `with shared.turn(), shared(*args):`.

    parts       functions of these arguments, each for one thread
    experience  the program's, whether it is quicker to share; at the `first` such place it is asked again
    """

    def __init__(self, parts: list[Callable[..., Any]], experience: Experience, first: bool) -> None:
        self.parts, self.experience, self.first = parts, experience, first
        self.helpers = 0
        self.free = threading.Lock()

    def turn(self) -> threading.Lock:
        """Decide how many workers help. Returns what to hold meanwhile: the team's turn, or what nobody else asks for.
        Only a lock is sure to be let go, whenever a signal comes."""
        helpers = min(threads - 1, len(self.parts))
        if helpers and self.first:
            self.experience.advice()
        self.helpers = helpers if self.experience.shared and not turn.locked() else 0
        return turn if self.helpers else self.free

    def __call__(self, *args: Any) -> Helped:
        """Where there are fewer threads than parts, each does several; where none is free, the caller does all."""
        tasks = [(part, *args) for part in self.parts]
        if not self.helpers:
            return Helped([], tasks)
        each = (len(tasks) + 1) // (self.helpers + 1)
        given = [(run, tasks[i * each : (i + 1) * each]) for i in range(self.helpers)]
        return Helped(given, tasks[self.helpers * each :])


def run(tasks: list[Any]) -> None:
    """Do one task after the other."""
    for function, *args in tasks:
        function(*args)


def cores() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def use_threads(number: int | None = None) -> Iterator[None]:
    """Inside, so many threads share a large matrix product (None: one a core), and BLAS runs on one; afterwards all is
    as before. Both are the whole process's: of blocks in several Python threads the newest decides, and the last to end
    puts it back. Raises ValueError for less than one thread.
    """
    global threads
    from threadpoolctl import threadpool_limits  # only when asked for: it looks through all loaded libraries

    number = cores() if number is None else number
    if number < 1:
        raise ValueError(f"use_threads: expected at least 1 thread, got {number}")
    block = object()
    with LOCK:
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
                limits.restore_original_limits()
            else:
                del before[i + 1]  # the next block has what was before this one before itself


def forget() -> None:
    """In a child process there are no workers, and nobody holds a lock."""
    global turn, LOCK
    team.clear()
    turn, LOCK = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
