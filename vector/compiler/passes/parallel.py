"""Passes: threads share a program's large products, and each goes on with what follows from its part of one.

What one processor wrote, another has to fetch before it can read it. So the thread that computes some rows of a
weight's gradient also updates these rows of the weight, and it is given the same ones, or nearly, in the next product.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...runtime.matmul import parts_for, work, worth_sharing
from ..ir import Call, Program, Var, canonical, may_overlap
from .fuse_updates import IN_ORDER, JOINED, covers, part

# Calls that give an element the same bits wherever it is cut.
IN_PARTS = (*JOINED, np.copyto, np.maximum, np.minimum, np.greater, np.greater_equal, np.less, np.less_equal)


class Tiles:
    """A region of calls that several threads go through at once, in parts: a product of stacks, of which a part is some
    tiles, and calls that go element by element, cut where the tiles end.

    The thread that runs the program takes the last part, which is the largest.
    """

    def __init__(self, product: Call, threads: int, start: int, size: int) -> None:
        """The product is to be found from element `start` on in arrays of `size` elements."""
        tiles, tile = product.out.shape[0], product.out.size // product.out.shape[0]
        self.tiles = parts_for(min(threads, tiles), tiles, work(*product.args))
        ends = [0, *(start + tile * part.start for part in self.tiles[1:]), size]  # and what is no tile's
        self.elements = [*map(slice, ends, ends[1:])]

    def parts(self, calls: list[Call]) -> Iterator[list[Call]]:
        """For each call, what it is in each part."""
        for call in calls:
            operands, where = [*call.args, call.out], self.tiles
            if call.function is np.matmul:
                whole = [len(x.shape) == 2 for x in operands]
            else:
                whole = [is_small(x, call) for x in operands]
                row = max((x.size for x in call.reads() if is_small(x, call)), default=1)
                operands = [x if w else in_rows(x, row) for x, w in zip(operands, whole, strict=True)]
                where = [slice(part.start // row, part.stop // row) for part in self.elements]
            parts = []
            for here in where:
                *args, out = [x if w else cut(x, here) for x, w in zip(operands, whole, strict=True)]
                parts.append(Call(call.function, tuple(args), {}, out, call.writes))
            yield parts


class Terms:
    """A region of two products, each of which is a part."""

    def parts(self, calls: list[Call]) -> Iterator[list[Call]]:
        """For all calls together, what they are in each part."""
        yield calls


def is_small(x: Any, call: Call) -> bool:
    """Whether an operand is the same for many elements of the result: a number, or a row for all rows."""
    return not isinstance(x, Var) or x.size < call.out.size


def in_rows(x: Var, size: int) -> Var:
    """An array as rows of this size, or elements."""
    shape = (-1, size) if size > 1 else (-1,)
    return Var("view", x.array.reshape(shape), "", x, (np.reshape, (shape,), {}))


def cut(x: Var, where: Any) -> Var:
    """A part of an array."""
    return Var("view", x.array[where], "", x, (operator.getitem, (where,), {}))


def in_two_terms(program: Program) -> None:
    """Where two threads share a product x @ y, of which y is a large weight: each multiplies by half of its rows, and
    then the two are added. So each has to read only this half."""
    calls = []
    for call in program.calls:
        if not (may_be_shared(call) and reads_a_large_weight(call)):
            calls.append(call)
            continue
        x, y = call.args
        rows = 16 * parts_for(2, y.shape[0] // 16, work(x, y))[0].stop
        products = []
        for where in (slice(0, rows), slice(rows, None)):
            factors = cut(x, (..., where)), cut(y, where)
            products.append(Call(np.matmul, factors, {}, Var("result", call.out.array.copy())))
        region = Terms()
        for product in products:
            product.region = region
        calls += [*products, Call(np.add, tuple(product.out for product in products), {}, call.out)]
    program.calls = calls


def reads_a_large_weight(call: Call) -> bool:
    """Whether a product's second factor is a weight, and more to read than two results are to write and to add, and not
    less than the other factor."""
    x, y = call.args
    weight = canonical(y).kind == "state" and len(y.shape) == 2 and y.shape[0] >= 32
    return weight and 2 * call.out.size <= y.size >= x.size and worth_sharing(x, y) == 2


def hand_out(program: Program) -> None:
    """Let several threads share what is worth it: large products of stacks, and with them what follows of them element
    by element, such as the update of a weight."""
    i = 0
    while i < len(program.calls):
        product = program.calls[i]
        if product.region or not may_be_shared(product) or product.out.shape[:-2] in ((), (1,)):
            i += 1
            continue
        start = first_element(product.out)
        followers, others = ([], []) if start is None else Search(product, start).follow(program.calls[i + 1 :])
        tiles = Tiles(product, worth_sharing(*product.args), start or 0, product.out.root.size)
        for call in (product, *followers):
            call.region = tiles
        apart = keep_apart(product, [*followers, *others])
        end = i + 1 + len(followers) + len(others)
        program.calls[i:end] = [*apart, *others, product, *followers]


def keep_apart(product: Call, calls: list[Call]) -> list[Call]:
    """Calls that let a product go on reading an argument of the program while `calls` write to other arrays: only at
    each replay is it known in whose memory an argument lies."""
    written = dict.fromkeys(call.out.root for call in calls if call.out.root.kind in ("state", "input"))
    apart = {}
    for x in product.reads():
        if x.root.kind == "input" and written:
            apart[x] = Call(unless_shared, (x, *written), {}, Var("result", x.array, "apart"), into=False)
    product.rename(lambda x: apart[x].out if x in apart else x)
    return list(apart.values())


def unless_shared(x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """x, or a copy of it where one of the others may lie in its memory."""
    for y in others:
        if np.may_share_memory(x, y):
            return x.copy(order="K")
    return x


def may_be_shared(call: Call) -> bool:
    """Whether threads may share a call: a large product of a stack, or of two, or of matrices."""
    if call.function is not np.matmul or call.kwargs or call.writes:
        return False
    x, y = call.args
    fits = len(x.shape) in (2, 3) and (len(y.shape) == 2 or x.shape[:-2] == y.shape[:-2])
    return fits and x.dtype == y.dtype == call.out.dtype and worth_sharing(x, y) > 1


class Search:
    """What can follow in each thread from its part of a product."""

    def __init__(self, product: Call, start: int) -> None:
        """The product begins at element `start` of its array."""
        self.root, self.start, self.end = product.out.root, start, start + product.out.size
        self.row = product.out.shape[-1]
        self.whole = {v.root for v in product.reads() if v.root.kind != "input"}  # read by each thread beyond its part
        self.made = {self.root}  # of which each thread writes its part
        self.in_parts: set[Var] = set()  # of which followers read and write a part in each thread

    def follow(self, calls: list[Call]) -> tuple[list[Call], list[Call]]:
        """The calls that follow from the product in parts, and those between them that can be done before it."""
        followers: list[Call] = []
        others: list[Call] = []
        before = 0  # of the others, how many come before the last follower
        for call in calls:
            if call.region:
                break
            if self.goes_in_parts(call):
                followers.append(call)
                before = len(others)
            elif self.is_read(call.out.root) or any(self.is_made(v) for v in (*call.reads(), call.out)):
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
        small = [v for v in call.reads() if is_small(v, call)]
        arrays = [v for v in (*call.reads(), call.out) if not is_small(v, call)]
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


def first_element(x: Var) -> int | None:
    """Which element of its root x begins with, if it has so many in a row, else None."""
    first = 0
    while x.base is not None:
        if x.view is not None and x.view[0] is part:
            first += x.view[1][0]
        elif x.view is not None and x.view[0] not in IN_ORDER:
            return None
        x = x.base
    return first if x.array.flags.c_contiguous else None
