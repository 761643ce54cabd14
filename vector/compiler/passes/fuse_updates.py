"""A pass: arrays that lie one after the other, such as a model's parameters, are updated by one call for all of them.

A row is one call for each of these arrays, all of the same kind: p1 -= s1 and p2 -= s2. The search begins at the rows
that write to the arrays and goes up to what they read: one number for all, arrays that lie likewise (the sums of Adam),
the results of another row, or whatever else, which from now on is computed side by side, or copied there.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate

import numpy as np

from ...storage import address
from ..alias import IN_ORDER, covers, part, reshaped, stay_in_order
from ..codegen import identifier
from ..ir import Call, Program, Var, rewrite
from .exact import written

# Rounded exactly, so that an element's result is the same wherever in an array it lies.
JOINED = (np.add, np.subtract, np.multiply, np.divide, np.sqrt, np.square, np.negative, np.absolute)
HELD = 2**20  # bytes: arrays of this size in all stay in the cache from one call to the next
DEEP = 50  # rows above each other at which the search ends, long before Python's limit for calls in each other

Row = tuple[Call, ...]
Vars = tuple[Var, ...]


def fuse_updates(program: Program) -> Program:
    """Update arrays that lie one after the other by one call for all of them."""
    updates: dict[Var, list[Call]] = defaultdict(list)
    for call in program.calls:
        if call.out.root.kind == "state":
            updates[call.out.root].append(call)
    groups = neighbours(updates)
    search = Search(program, groups)
    for group in groups:
        for row in zip(*(updates[x] for x in group), strict=True):
            search.join(row, group)
    return search.finish()


def neighbours(updates: dict[Var, list[Call]]) -> list[Vars]:
    """Groups of arrays that are updated likewise, lie one after the other without a gap, and are not too large."""
    groups: list[list[Var]] = []
    size = 0
    for x in sorted(updates, key=lambda x: address(x.array)):
        last = groups[-1] if groups else []
        likewise = last and [c.function for c in updates[last[0]]] == [c.function for c in updates[x]]
        if likewise and follows(last[-1], x) and size + x.nbytes <= HELD:
            last.append(x)
            size += x.nbytes
        else:
            groups.append([x])
            size = x.nbytes
    return [tuple(group) for group in groups if len(group) > 1]


def follows(x: Var, y: Var) -> bool:
    """Whether the array of y begins where that of x ends."""
    return address(x.array) + x.nbytes == address(y.array) and x.dtype == y.dtype


def in_a_row(xs: Vars) -> Var | None:
    """The view that has the elements of several slices of a flat result, if they lie there one after the other."""
    root, slices = xs[0].root, [slice_of(x) for x in xs]
    if root.kind != "result" or any(x.root is not root for x in xs):
        return None
    ends = [where.stop for where in slices if where is not None]
    if [0 if where is None else where.start for where in slices[1:]] != ends[:-1] or slices[0] is None:
        return None
    where = slices[0].start, ends[-1], (ends[-1] - slices[0].start,)
    return Var("view", part(root.array, *where), "", root, (part, where, {}))


def slice_of(x: Var) -> slice | None:
    """Which elements of a flat array x has, in whatever shape; None for other views."""
    while x.base is not None and x.view[0] in IN_ORDER:
        x = x.base
    if x.base is None or x.base is not x.root or x.view[0] is not operator.getitem or not x.contiguous:
        return None
    where = x.view[1][0]
    return slice(*where.indices(x.root.size)[:2]) if isinstance(where, slice) and len(x.root.shape) == 1 else None


class Search:
    """The rows of a program, and the call that stands for each."""

    def __init__(self, program: Program, groups: list[Vars]) -> None:
        self.program, self.written = program, written(program)
        self.made = {call.out: call for call in program.calls if call.into and call.allocates}
        self.rows: dict[Row, Call] = {}
        self.taken: set[Call] = set()  # the calls of all rows
        self.copies: dict[Call, list[Call]] = defaultdict(list)  # what is to be copied after a call
        self.together: dict[Vars, Var] = {}  # the one array that stands for several
        self.places: dict[Var, Var] = {}  # for each of these, where in that array it lies
        for group in groups:
            size, first = sum(x.size for x in group), group[0].array
            array = np.lib.stride_tricks.as_strided(first.ravel(), (size,), (first.itemsize,))
            ends = [identifier(x.label) for x in (group[0], group[-1]) if x.label]
            self.together[group] = Var("state", array, "_to_".join(ends) if len(ends) == 2 else "")

    def side_by_side(self, parts: Vars, joined: Var, labels: Iterable[str]) -> list[Var]:
        """Let `joined` stand for `parts`. Returns the places in it, in their shapes."""
        self.together[parts] = joined
        places = []
        for x, label, end in zip(parts, labels, accumulate(x.size for x in parts), strict=True):
            where = (end - x.size, end, x.shape)
            places.append(Var("view", part(joined.array, *where), label, joined, (part, where, {})))
        return places

    def join(self, row: Row, group: Vars, depth: int = 0) -> None:
        """Put one call in the place of a row, in order to update a group, if there can be one."""
        outs = tuple(call.out.root for call in row)
        if not self.fits(row):
            return
        args = [self.argument(xs, outs, group, depth) for xs in zip(*(call.args for call in row), strict=True)]
        if any(x is None for x in args) or not self.fits(row):  # again: what it reads may have taken from the row
            return
        if outs not in self.together:
            joined = Var("result", np.concatenate([x.array.ravel() for x in outs]))
            self.places |= zip(outs, self.side_by_side(outs, joined, [x.label for x in outs]), strict=True)
        self.rows[row] = Call(row[0].function, tuple(args), {}, self.together[outs], row[0].writes)
        self.taken |= {*row}

    def fits(self, row: Row) -> bool:
        """Whether the calls of a row do the same, each for all of its array, and none has its place elsewhere."""
        return all(
            call.function is row[0].function in JOINED
            and not call.kwargs
            and call.out.shape == call.out.root.shape
            and call.out.contiguous
            and call.out not in self.places
            and call not in self.copies
            for call in row
        )

    def argument(self, xs: tuple[object, ...], outs: Vars, group: Vars, depth: int) -> object:
        """What stands for the arguments at one place of a row's calls; None if nothing can."""
        roots = tuple(x for x in xs if isinstance(x, Var))
        if not roots:
            return xs[0] if len({repr(x) for x in xs}) == 1 else None
        if len(roots) < len(xs):
            return None
        if not roots[0].shape and {*roots} == {roots[0]}:
            return roots[0]
        if any(x.shape != out.shape or x.dtype != roots[0].dtype for x, out in zip(roots, outs, strict=True)):
            return None
        if roots not in self.together and (run := in_a_row(roots)):
            self.together[roots] = run
        if roots not in self.together:
            makers = tuple(self.made[x] for x in roots if x in self.made)
            if len(makers) == len(roots) and depth < DEEP:
                self.join(makers, group, depth + 1)
        if roots not in self.together:
            self.gather(roots, group)
        return self.together.get(roots)

    def gather(self, xs: Vars, group: Vars) -> None:
        """Have what no row makes computed side by side, or copied there as soon as it is computed."""
        makers = [self.made[x.root] for x in xs if x.root in self.made]
        whole = [x.root not in self.places and covers(x, x.root) for x in xs]
        stays = all(all_of_it or x.root not in self.written for x, all_of_it in zip(xs, whole, strict=True))
        if len({*makers}) < len(xs) or self.taken & {*makers} or not stays:  # a copy would miss a later change
            return
        joined = Var("result", np.concatenate([x.array.ravel() for x in xs]), for_(self.together[group]))
        places = self.side_by_side(xs, joined, map(for_, group))
        for x, all_of_it, place, call in zip(xs, whole, places, makers, strict=True):
            if all_of_it:
                self.places[x.root] = reshaped(place, x.root.shape)
            else:
                self.copies[call].append(Call(np.copyto, (x,), {}, place))

    def finish(self) -> Program:
        """Put the joined calls where the last of each row is, if nothing that changes places minds the order."""
        old = self.program.calls
        at = {call: i for i, call in enumerate(old)}
        last = {row: max(at[call] for call in row) for row in self.rows}
        at |= {call: place for row, place in last.items() for call in row}  # a row is long to hash
        if not self.rows or not stay_in_order(old, at):
            return self.program
        instead = {last[row]: call for row, call in self.rows.items()}
        read = {v.root for call in self.rows.values() for v in call.reads}  # not so, where another argument failed
        calls = []
        for i, call in enumerate(old):
            if call not in self.taken:
                calls += [call, *(copy for copy in self.copies.get(call, ()) if copy.out.root in read)]
            elif i in instead:
                calls.append(instead[i])
        return rewrite(self.program, calls, self.places)


def for_(x: Var) -> str:
    """The label of what a labelled variable is updated with."""
    return f"for_{identifier(x.label)}" if x.label else ""
