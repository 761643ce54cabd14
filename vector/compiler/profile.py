"""Where the time of a recorded step goes, line by line."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..runtime.blas import ProductUpdate
from ..runtime.matmul import shared_matmul
from .codegen import timed
from .ir import Call, Program
from .passes.exact import is_random

PRODUCT, ELEMENTS, OTHER = "matrix products", "element by element", "other calls"
clock = time.perf_counter_ns


class Row(NamedTuple):
    """A line of a program: its text, the seconds it takes, the bytes that it reads and writes, its floating-point
    operations where they are known (else 0), and its kind."""

    text: str
    seconds: float
    bytes: int
    operations: int
    kind: str


class Profile:
    """The time of each line of a recorded step. Print it.

    rows     a Row for each line
    seconds  of all lines
    step     seconds of a whole step as it is called: the lines, and what is around them
    """

    def __init__(self, title: str, rows: Sequence[Row], step: float, products: float, copies: float) -> None:
        """`products` are the operations a second of a large matrix product on one thread, `copies` the bytes a second
        read and written by a copy that does not fit into the caches."""
        self.title, self.rows, self.step = title, [*rows], step
        self.products, self.copies = products, copies
        self.seconds = sum(row.seconds for row in rows)

    def kinds(self) -> Iterator[tuple[str, float, float, float]]:
        """Each kind of line with its seconds, operations and bytes."""
        for kind in (PRODUCT, ELEMENTS, OTHER):
            rows = [row for row in self.rows if row.kind == kind]
            if rows:
                sums = (sum(map(operator.attrgetter(name), rows)) for name in ("seconds", "operations", "bytes"))
                seconds, operations, size = sums
                yield kind, seconds, operations, size

    def __str__(self) -> str:
        total = max(self.seconds, 1e-12)
        lines = [f"{self.title}: {self.step * 1e6:,.1f} us a step, {self.seconds * 1e6:,.1f} us of it in these lines"]
        lines.append(f"{'us':>9}{'%':>6}{'KB':>9}{'GFLOP/s':>9}")
        for i, row in enumerate(self.rows):
            speed = f"{row.operations / row.seconds / 1e9:9.1f}" if row.operations and row.seconds else f"{'':9}"
            size = f"{row.bytes / 1e3:9,.1f}" if row.bytes else f"{'':9}"
            lines.append(f"{row.seconds * 1e6:9.1f}{row.seconds / total:6.1%}{size}{speed}  {i:3}  {row.text}")
        return "\n".join([*lines, *self.bounds()])

    def bounds(self) -> Iterator[str]:
        """What bounds the step: the kinds of lines, the most expensive first, with what the machine reaches."""
        total = max(self.step, 1e-12)
        for kind, seconds, operations, size in sorted(self.kinds(), key=lambda kind: -kind[1]):
            about = ""
            if kind == PRODUCT:
                about = f": {operations / seconds / 1e9:.0f} GFLOP/s, a large product reaches {self.products / 1e9:.0f}"
            elif kind == ELEMENTS:
                about = f": {size / seconds / 1e9:.1f} GB/s, a large copy reaches {self.copies / 1e9:.1f}"
            yield f"{seconds / total:6.1%}  {kind}{about}"
        yield f"{max(self.step - self.seconds, 0.0) / total:6.1%}  around the lines: arguments, guards, results"


def multiplies(call: Call) -> bool:
    """Whether a call multiplies matrices: its last two arguments."""
    return call.function in (np.matmul, np.dot, shared_matmul) or isinstance(call.function, ProductUpdate)


def kind_of(call: Call | None) -> str:
    """What sort of line a call is."""
    if call is None:
        return OTHER
    if any(map(multiplies, call.statements)):
        return PRODUCT
    return ELEMENTS if all(c.elementwise for c in call.statements) else OTHER


def operations(call: Call) -> int:
    """The floating-point operations of a product, or of a call that goes element by element; else 0."""
    if multiplies(call):
        return 2 * call.out.size * call.args[-2].shape[-1]
    return call.out.size if call.elementwise and call.function is not np.copyto else 0


def traffic(call: Call) -> int:
    """The bytes that a call reads and writes."""
    return sum(x.nbytes for x in (*call.reads, call.out))


@contextmanager
def put_back(program: Program, inputs: Sequence[Any]) -> Iterator[None]:
    """Leave the arrays that a program writes to, and the generators it draws from, as they are."""
    roots = {call.out.root for call in program.statements()}
    arrays = [x.array for x in roots if x.kind == "state"]
    arrays += [x for x, var in zip(inputs, program.inputs, strict=True) if var in roots]
    before = [(x, x.copy()) for x in arrays]
    generators: set[Any] = {
        getattr(call.function, "__self__", None) for call in program.statements() if is_random(call)
    }
    drawn = [(g, g.bit_generator.state) for g in generators]
    try:
        yield
    finally:
        for array, copy in before:
            array[...] = copy
        for generator, state in drawn:
            generator.bit_generator.state = state


def profile(title: str, program: Program, run: Callable[..., Any], inputs: Any, step: Any, repeat: int) -> Profile:
    """Run a program `repeat` times by the line and, in turn, by `step`, a function without arguments; medians."""
    with put_back(program, inputs), np.errstate(all="ignore"):
        by_line, times = timed(program, run, clock)
        rounds, whole = [], []
        for _ in range(repeat):
            by_line(*inputs)
            rounds.append([*times])
            start = clock()
            step()
            whole.append(clock() - start)
    look = np.median(np.diff([clock() for _ in range(1000)]))  # what it takes to read the clock
    spent = np.maximum(np.median(np.diff(np.array(rounds), axis=1), axis=0) - look, 0.0) / 1e9
    rows = []
    for (text, _, call), seconds in zip(program.lines, spent, strict=True):
        statements = () if call is None else call.statements
        sizes = sum(map(traffic, statements)), sum(map(operations, statements))
        rows.append(Row(text, float(seconds), *sizes, kind_of(call)))
    return Profile(title, rows, float(np.median(whole)) / 1e9, *machine())


def machine() -> tuple[float, float]:
    """The operations a second of a large product of float32, and the bytes a second of a large copy."""
    x, y = np.ones((512, 512), np.float32), np.ones(8_000_000, np.float32)
    z = np.empty_like(y)
    return 2 * 512**3 / quickest(lambda: x @ x), 2 * y.nbytes / quickest(lambda: np.copyto(z, y))


def quickest(call: Callable[[], Any]) -> float:
    """The seconds of the quickest of five calls."""
    spent = []
    for _ in range(5):
        start = clock()
        call()
        spent.append(clock() - start)
    return max(min(spent), 1) / 1e9
