"""Passes: threads share a program's large products, and each goes on with what follows from its part of one.

What one processor wrote, another has to fetch before it can read it. So the thread that computes some rows of a
weight's gradient also updates these rows of the weight, and it is given the same ones, or nearly, in the next product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ...runtime.blas import ProductUpdate
from ...runtime.matmul import parts_for, thread_count, work
from ...runtime.threads import parallel_for
from ..alias import covers, cut, first_element, may_overlap, overwritable, reshaped
from ..ir import Call, Program, Substitution, Var, in_place, rewrite, variables, with_arguments
from .fuse_updates import JOINED

# Calls that give an element the same bits wherever it is cut.
IN_PARTS = (*JOINED, np.copyto, np.maximum, np.minimum, np.greater, np.greater_equal, np.less, np.less_equal)
REACH = 1000  # calls after a product among which those that can follow it are looked for


def parallel(parts: Sequence[Sequence[Call]], function: Callable[..., Any] = parallel_for) -> Call:
    """One call of `function`, which lets threads share these parts."""
    programs = tuple(Program(tuple(calls), (), ()) for calls in parts)
    return Call(function, (), {}, parts[0][0].out, parts=programs)


def may_be_shared(call: Call) -> bool:
    """Whether threads may share a call: a large product of a stack, or of two, or of matrices."""
    if not is_product(call) or call.kwargs or (call.writes and call.function is np.matmul):
        return False
    *_, x, y = call.args
    fits = len(x.shape) in (2, 3) and (len(y.shape) == 2 or x.shape[:-2] == y.shape[:-2])
    return fits and x.dtype == y.dtype == call.out.dtype and thread_count(x, y) > 1


def is_product(call: Call) -> bool:
    """Whether a call multiplies matrices: its last two arguments."""
    return call.function is np.matmul or isinstance(call.function, ProductUpdate)


# --- two halves of a sum ----------------------------------------------------------------------------------------------


def split_k(program: Program) -> Program:
    """Where two threads share a product x @ y, of which y is a large weight: each multiplies by half of its rows, and
    then the two are added. So each has to read only this half."""
    calls = []
    for call in program.calls:
        halved = not call.writes and may_be_shared(call) and reads_a_large_weight(call.args[0], call.args[1], call.out)
        if not (halved and thread_count(*call.args) == 2):
            calls.append(call)
            continue
        x, y = call.args
        rows = 16 * parts_for(2, y.shape[0] // 16, work(x, y))[0].stop
        calls += in_halves(np.matmul, x, y, call.out, rows, parallel_for)
    return rewrite(program, calls, {})


def in_halves(function: Any, x: Var, y: Var, out: Var, rows: int, share: Callable[..., Any]) -> list[Call]:
    """The product of x and y, cut at so many rows of y: two, which threads share by `share`, and their sum."""
    products = []
    for where in (slice(0, rows), slice(rows, None)):
        factors = cut(x, (..., where)), cut(y, where)
        products.append(Call(function, factors, {}, Var("result", np.empty(out.shape, out.dtype))))
    added = Call(np.add, tuple(product.out for product in products), {}, out)
    return [parallel([[product] for product in products], share), added]


def reads_a_large_weight(x: Var, y: Var, out: Var) -> bool:
    """Whether a product's second factor is a weight, and more to read than two results are to write and to add, and not
    less than the other factor."""
    weight = y.kind == "state" and len(y.shape) == 2 and y.shape[0] >= 32
    return weight and 2 * out.size <= y.size >= x.size


# --- tiles, and what follows from them --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Region:
    """Calls that several threads go through at once, in parts: a product of stacks, and calls that go element by
    element. The product begins at element `start` of its array."""

    product: Call
    followers: Sequence[Call]
    start: int


def parallelize(program: Program) -> Program:
    """Let several threads share what is worth it: large products of stacks, and with them what follows of them element
    by element, such as the update of a weight."""
    found: list[Any] = [*program.calls]  # calls and regions
    i = 0
    while i < len(found):
        product = found[i]
        if isinstance(product, Region) or not may_be_shared(product) or product.out.shape[:-2] in ((), (1,)):
            i += 1
            continue
        start = first_element(product.out)
        after = islice(found, i + 1, i + 1 + REACH)
        followers, others = ([], []) if start is None else Search(product, start).follow(after)
        end = i + 1 + len(followers) + len(others)
        product, apart = keep_apart(product, [*[product] * product.writes, *followers, *others])
        found[i:end] = [*apart, *others, Region(product, followers, start or 0)]
    return in_parts(program, found)


def in_parts(program: Program, found: list[Any]) -> Program:
    """The program with one call for each region. What it computes element by element replaces, where it can, what is
    read there for the last time: so a part needs no memory that other parts might still read."""
    flat = [call for x in found for call in ((x.product, *x.followers) if isinstance(x, Region) else (x,))]
    planned = {call.out.root for call in flat if call.into and not call.writes}
    last: dict[Var, Call | None] = {v.root: call for call in flat for v in (*call.reads, *call.outs)}
    last |= {v.root: None for v in variables(program.outputs)}
    aliases: dict[Var, Var] = {}
    new = Substitution(aliases)
    calls = []
    for region in found:
        if not isinstance(region, Region):
            calls.append(region)
            continue
        together = [new.call(region.product)]
        for old in region.followers:
            call = new.call(old)
            dying = {
                v.root for v in call.reads if last[v.root] is old and v.root in planned and v.root.kind == "result"
            }
            place = overwritable(call, dying.__contains__) if call.allocates else None
            if place is not None:
                aliases[call.out], last[place.root] = place, last[call.out]
                call = in_place(call, place)
            together.append(call)
        calls.append(parallel(tiles(together, region.start)))
    return rewrite(program, calls, aliases)


def tiles(calls: Sequence[Call], start: int) -> list[list[Call]]:
    """Calls in parts: of a product some tiles, and of the other calls what lies where these are."""
    product = calls[0]
    cuts = boundaries(product, thread_count(*product.args[-2:]), start, product.out.root.size)
    return [[part_of(call, *cut) for call in calls] for cut in cuts]


def boundaries(product: Call, threads: int, start: int, size: int) -> list[tuple[slice, slice]]:
    """For each thread the tiles of a product, and the elements of arrays of `size`: those of its tiles, which begin at
    element `start`, and what lies before the first and behind the last. The last part, for the thread that runs the
    program, is the largest."""
    count = product.out.shape[0]
    some, each = parts_for(min(threads, count), count, work(*product.args[-2:])), product.out.size // count
    ends = [0, *(start + each * part.start for part in some[1:]), size]
    return [*zip(some, map(slice, ends, ends[1:]), strict=False)]


def part_of(call: Call, tile: slice, elements: slice) -> Call:
    """What a call is in one part."""
    operands = [*call.args, call.out]
    if is_product(call):
        cuts = [x if len(x.shape) == 2 else cut(x, tile) for x in operands]
    else:
        row = max((x.size for x in call.reads if is_small(x, call)), default=1)
        where = slice(elements.start // row, elements.stop // row)
        cuts = [x if is_small(x, call) else cut(in_rows(x, row), where) for x in operands]
    return Call(call.function, tuple(cuts[:-1]), {}, cuts[-1], call.writes)


def is_small(x: Any, call: Call) -> bool:
    """Whether an operand is the same for many elements of the result: a number, or a row for all rows."""
    return not isinstance(x, Var) or x.size < call.out.size


def in_rows(x: Var, size: int) -> Var:
    """An array as rows of this size, or elements."""
    return reshaped(x, (x.size // size, size) if size > 1 else (x.size,))


def keep_apart(product: Call, calls: list[Call]) -> tuple[Call, list[Call]]:
    """A product that goes on reading an argument of the program while `calls` write to other arrays, and the calls
    before it that let it: only at each replay is it known in whose memory an argument lies."""
    outside = dict.fromkeys(call.out.root for call in calls if call.out.root.kind in ("state", "input"))
    apart = {}
    for x in product.reads:
        if x.root.kind == "input" and outside:
            apart[x] = Call(unless_shared, (x, *outside), {}, Var("result", x.array, "apart"), into=False)
    return with_arguments(product, lambda x: apart[x].out if x in apart else x), [*apart.values()]


def unless_shared(x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """x, or a copy of it where one of the others may lie in its memory."""
    for y in others:
        if np.may_share_memory(x, y):
            return x.copy(order="K")
    return x


class Search:
    """What can follow in each thread from its part of a product."""

    def __init__(self, product: Call, start: int) -> None:
        """The product begins at element `start` of its array."""
        self.root, self.start, self.end = product.out.root, start, start + product.out.size
        self.row = product.out.shape[-1]
        self.whole = {v.root for v in product.reads if v.root.kind != "input"}  # read by each thread beyond its part
        self.made = {self.root}  # of which each thread writes its part
        self.in_parts: set[Var] = set()  # of which followers read and write a part in each thread

    def follow(self, calls: Iterable[Any]) -> tuple[list[Call], list[Call]]:
        """The calls that follow from the product in parts, and those between them that can be done before it."""
        followers: list[Call] = []
        others: list[Call] = []
        before = 0  # of the others, how many come before the last follower
        for call in calls:
            if isinstance(call, Region) or call.parts:
                break
            if self.goes_in_parts(call):
                followers.append(call)
                before = len(others)
            elif self.is_read(call.out.root) or any(self.is_made(v) for v in (*call.reads, call.out)):
                break
            else:
                others.append(call)
        return followers, others[:before]

    def is_read(self, root: Var) -> bool:
        """Whether the region reads an array that it does not make, which so must be as it was before."""
        return any(may_overlap(root, x) for x in self.whole | (self.in_parts - self.made))

    def is_made(self, x: Var) -> bool:
        """Whether the region makes some of the elements of x."""
        first = first_element(x)
        if x.root is self.root and x.root not in self.in_parts and first is not None:  # only the product is made there
            return first < self.end and self.start < first + x.size
        return any(may_overlap(x.root, root) for root in self.made)

    def is_row(self, x: Var, out: Var) -> bool:
        """Whether x is the same for all rows of a result, which is cut between them."""
        cut_there = self.start % x.size == 0 and self.row % x.size == 0
        return x.size > 1 and x.shape in (out.shape[-1:], (1, *out.shape[-1:])) and cut_there

    def goes_in_parts(self, call: Call) -> bool:
        """Whether each thread can do its part of a call, with what the others do at that time out of its way."""
        small = [v for v in call.reads if is_small(v, call)]
        arrays = [v for v in (*call.reads, call.out) if not is_small(v, call)]
        if call.function not in IN_PARTS or call.kwargs or not call.out.shape:
            return False
        if not all(v.size == self.root.size and covers(v, v.root) for v in arrays):
            return False
        if not all(not v.shape or self.is_row(v, call.out) for v in small):
            return False
        whole = self.whole | {v.root for v in small}
        in_parts = self.in_parts | {v.root for v in arrays}
        beside = [(x, y) for x in in_parts | self.made for y in (*whole, *in_parts) if x is not y]
        if whole & (in_parts | self.made) or any(may_overlap(x, y) for x, y in beside):
            return False  # else a thread would find there what another one writes, or not yet
        self.whole, self.in_parts = whole, in_parts
        self.made.add(call.out.root)
        return True
