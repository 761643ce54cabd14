"""Which variables lie in the same memory, and which calls therefore have to stay in order."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .ir import Call, Var

IN_ORDER = (np.reshape, np.ravel, np.squeeze, np.expand_dims)


def alike(x: Var, y: Var) -> bool:
    """Whether two arrays have one shape and dtype."""
    return x.shape == y.shape and x.dtype == y.dtype


def may_overlap(x: Var, y: Var) -> bool:
    """Whether two roots may lie in the same memory: arrays from outside may, an argument with any of them."""
    if x is y or not {x.kind, y.kind} <= {"input", "state"}:
        return x is y
    return "input" in (x.kind, y.kind) or np.may_share_memory(x.array, y.array)


class Overlaps:
    """For each root of a program those that it may overlap, found once by where the arrays begin and end."""

    def __init__(self, calls: Iterable[Call]) -> None:
        roots = dict.fromkeys(v.root for call in calls for v in (*call.reads, *call.outs))
        self.inputs = [x for x in roots if x.kind == "input"]
        self.outside = [x for x in roots if x.kind in ("input", "state")]
        self.near: dict[Var, list[Var]] = {x: [x] for x in roots if x.kind == "state"}
        going: list[tuple[int, Var]] = []  # states that begin before this one, and where they end
        for start, end, x in sorted(((*byte_bounds(x.array), x) for x in self.near), key=operator.itemgetter(0)):
            going = [(until, y) for until, y in going if until > start]
            for _, y in going:
                self.near[x].append(y)
                self.near[y].append(x)
            going.append((end, x))

    def __call__(self, root: Var) -> Sequence[Var]:
        """The roots that may lie in the memory of this one, itself among them."""
        if root.kind == "input":
            return self.outside
        return (*self.near[root], *self.inputs) if root.kind == "state" else (root,)


class Dependencies:
    """Calls, one after the other, each with the earliest place for it: after those whose results it reads, and after
    those that read or write what it writes."""

    def __init__(self, overlaps: Overlaps) -> None:
        self.overlaps = overlaps
        self.wrote: dict[Var, int] = defaultdict(lambda: -1)  # the last place of a call that wrote to a root
        self.read: dict[Var, int] = defaultdict(lambda: -1)
        self.outside = [-1, -1]  # the last place of a call that wrote to, or read, any array from outside

    def before(self, call: Call) -> int:
        """The last place of a call that has to come before this one; -1 if there is none."""
        places = [-1]
        for root in {v.root for v in call.reads}:
            places += self.outside[:1] if root.kind == "input" else [self.wrote[x] for x in self.overlaps(root)]
        for root in {v.root for v in call.outs}:
            near = self.overlaps(root) if root.kind != "input" else ()
            places += [max(self.wrote[x], self.read[x]) for x in near] or self.outside
        return max(places)

    def put(self, call: Call, place: int) -> None:
        """The call is at this place."""
        for k, (latest, roots) in enumerate([(self.wrote, call.outs), (self.read, call.reads)]):
            for root in {v.root for v in roots}:
                latest[root] = max(latest[root], place)
                if root.kind in ("input", "state"):
                    self.outside[k] = max(self.outside[k], place)


def stay_in_order(calls: Sequence[Call], place: Mapping[Call, int]) -> bool:
    """Whether each call, when it moves to its place, still comes after those that it depends on."""
    dependencies = Dependencies(Overlaps(calls))
    for call in calls:
        if dependencies.before(call) >= place[call]:
            return False
        dependencies.put(call, place[call])
    return True


def overwritable(call: Call, dies: Callable[[Var], bool]) -> Var | None:
    """An operand that a call may overwrite with its result: its root `dies` there, is read nowhere else in the call,
    and all its memory is covered by the result in the same way."""
    for var in call.reads if call.elementwise else ():
        if dies(var.root) and all(x is var for x in call.reads if x.root is var.root):
            if alike(var, call.out) and var.strides == call.out.strides and var.nbytes == var.root.nbytes:
                return var
    return None


# --- views ------------------------------------------------------------------------------------------------------------


def part(array: np.ndarray, start: int, end: int, shape: tuple[int, ...]) -> np.ndarray:
    """Elements `start` to `end` of a flat array, in a shape."""
    return array[start:end].reshape(shape)


def reshaped(x: Var, shape: tuple[int, ...]) -> Var:
    """A view of a variable in another shape."""
    return x if x.shape == shape else Var("view", x.array.reshape(shape), "", x, (np.reshape, (shape,), {}))


def cut(x: Var, where: Any) -> Var:
    """A view of some elements, as x[where]."""
    return Var("view", x.array[where], "", x, (operator.getitem, (where,), {}))


def covers(x: Var, root: Var) -> bool:
    """Whether x has all elements of its root, in the same order."""
    while x.base is not None and x.view[0] in IN_ORDER:
        x = x.base
    return x is root and root.contiguous


def first_element(x: Var) -> int | None:
    """Which element of its root x begins with, if it has so many in a row, else None."""
    first = 0
    while x.base is not None:
        f, args, _ = x.view
        if f is part:
            first += args[0]
        elif f not in IN_ORDER:
            return None
        x = x.base
    return first if x.contiguous else None


def moved(x: Var, root: Var) -> Var:
    """The view of `root` that x is of its own root."""
    if x.base is None:
        return root
    return Var("view", x.array, x.label, moved(x.base, root), x.view)
