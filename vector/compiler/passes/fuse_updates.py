"""A pass: arrays that lie one after the other, such as a model's parameters, are updated by one call for all of them.

A row is one call for each of these arrays, all of the same kind: p1 -= s1 and p2 -= s2. The search begins at the rows
that write to the arrays and goes up to what they read: one number for all, arrays that lie likewise (the sums of Adam),
the results of another row, or whatever else, which from now on is computed side by side, or copied there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

import numpy as np

from ...storage import address
from ..ir import Call, Program, Var, canonical, identifier, may_overlap

# Rounded exactly, so that an element's result is the same wherever in an array it lies.
JOINED = (np.add, np.subtract, np.multiply, np.divide, np.sqrt, np.square, np.negative, np.absolute)
HELD = 2**20  # bytes: arrays of this size in all stay in the cache from one call to the next
DEEP = 50  # rows above each other at which the search ends, long before Python's limit for calls in each other

Row = tuple[Call, ...]
Vars = tuple[Var, ...]


def join_updates(program: Program) -> None:
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
    search.finish(program)


def neighbours(updates: dict[Var, list[Call]]) -> list[Vars]:
    """Groups of arrays that are updated likewise, lie one after the other without a gap, and are not too large."""
    groups: list[Vars] = []
    for x in sorted(updates, key=lambda x: address(x.array)):
        last = groups[-1] if groups else ()
        likewise = last and [c.function for c in updates[last[0]]] == [c.function for c in updates[x]]
        if likewise and follows(last[-1], x) and sum(y.array.nbytes for y in (*last, x)) <= HELD:
            groups[-1] += (x,)
        else:
            groups.append((x,))
    return [group for group in groups if len(group) > 1]


def follows(x: Var, y: Var) -> bool:
    """Whether the array of y begins where that of x ends."""
    return address(x.array) + x.array.nbytes == address(y.array) and x.dtype == y.dtype


class Search:
    """The rows of a program, and the call that stands for each."""

    def __init__(self, program: Program, groups: list[Vars]) -> None:
        self.written = {call.out.root for call in program.calls if call.writes}
        self.made = {call.out: call for call in program.calls if call.into and call.anew}
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

    def side_by_side(self, parts: Vars, joined: Var) -> list[Var]:
        """Let `joined` stand for `parts`. Returns the places in it, in their shapes."""
        self.together[parts] = joined
        places = []
        for x, end in zip(parts, accumulate(x.size for x in parts), strict=True):
            where = (end - x.size, end, x.shape)
            places.append(Var("view", part(joined.array, *where), x.label, joined, (part, where, {})))
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
            self.places |= zip(outs, self.side_by_side(outs, joined), strict=True)
        self.rows[row] = Call(row[0].function, tuple(args), {}, self.together[outs], row[0].writes)
        self.taken |= {*row}

    def fits(self, row: Row) -> bool:
        """Whether the calls of a row do the same, each for all of its array, and none has its place elsewhere."""
        return all(
            call.function is row[0].function in JOINED
            and not call.kwargs
            and call.out.shape == call.out.root.shape
            and call.out.array.flags.c_contiguous
            and call.out not in self.places
            and call not in self.copies
            for call in row
        )

    def argument(self, xs: tuple[object, ...], outs: Vars, group: Vars, depth: int) -> object:
        """What stands for the arguments at one place of a row's calls; None if nothing can."""
        roots = tuple(canonical(x) for x in xs if isinstance(x, Var))
        if not roots:
            return xs[0] if len({repr(x) for x in xs}) == 1 else None
        if len(roots) < len(xs):
            return None
        if not roots[0].shape and {*roots} == {roots[0]}:
            return roots[0]
        if any(x.shape != out.shape or x.dtype != roots[0].dtype for x, out in zip(roots, outs, strict=True)):
            return None
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
        places = self.side_by_side(xs, joined)
        for x, all_of_it, place, call, state in zip(xs, whole, places, makers, group, strict=True):
            place.label = for_(state)
            if all_of_it:
                shape = x.root.shape
                self.places[x.root] = Var("view", x.root.array, place.label, place, (np.reshape, (shape,), {}))
            else:
                self.copies[call].append(Call(np.copyto, (x,), {}, place))

    def finish(self, program: Program) -> None:
        """Put the joined calls where the last of each row is, if nothing that changes places minds the order."""
        at = {call: i for i, call in enumerate(program.calls)}
        last = {row: max(at[call] for call in row) for row in self.rows}
        at |= {call: last[row] for row in self.rows for call in row}
        if not self.rows or any(at[before] >= at[after] for before, after in dependencies(program.calls)):
            return
        instead = {last[row]: call for row, call in self.rows.items()}
        read = {v.root for call in self.rows.values() for v in call.reads()}  # not so, where another argument failed
        calls = []
        for i, call in enumerate(program.calls):
            if call not in self.taken:
                calls += [call, *(copy for copy in self.copies.get(call, ()) if copy.out.root in read)]
            elif i in instead:
                calls.append(instead[i])
        for x, place in self.places.items():
            x.kind, x.label, x.base, x.view = "view", place.label, place.base, place.view
        program.calls = calls


def for_(x: Var) -> str:
    """The label of what a labelled variable is updated with."""
    return f"for_{identifier(x.label)}" if x.label else ""


IN_ORDER = (np.reshape, np.ravel, np.squeeze, np.expand_dims)


def part(array: np.ndarray, start: int, end: int, shape: tuple[int, ...]) -> np.ndarray:
    """Elements `start` to `end` of a flat array, in a shape."""
    return array[start:end].reshape(shape)


def covers(x: Var, root: Var) -> bool:
    """Whether x has all elements of its root, in the same order."""
    while x.base is not None and (x.view is None or x.view[0] in IN_ORDER):
        x = x.base
    return x is root and root.array.flags.c_contiguous


def dependencies(calls: list[Call]) -> Iterator[tuple[Call, Call]]:
    """Pairs of calls that must stay in this order: the second reads or writes what the first writes, or writes what it
    reads. Where that follows from other pairs, a pair may be left out."""
    outside = {v.root for call in calls for v in (*call.reads(), call.out) if v.root.kind in ("input", "state")}
    near = {x: [y for y in outside if may_overlap(x, y)] for x in outside}
    wrote: dict[Var, Call] = {}
    read: dict[Var, list[Call]] = defaultdict(list)
    for call in calls:
        for x in {v.root for v in call.reads()}:
            yield from ((wrote[y], call) for y in near.get(x, [x]) if y in wrote)
        out = call.out.root
        for y in near.get(out, [out]):
            yield from ((other, call) for other in (*read[y], *([wrote[y]] if y in wrote else [])))
        wrote[out], read[out] = call, []
        for x in {v.root for v in call.reads()}:
            read[x].append(call)
