"""Passes that compute the same formula with other roundings: they run only when asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..alias import Overlaps, moved, reshaped
from ..ir import Call, Program, Var, rewrite, variables, with_arguments
from .exact import key, lie_alike, value, written

LINEAR = (np.matmul, np.multiply, np.concatenate)  # through which a scale may go on
SMALL = 2**14  # bytes of a result up to which np.dot is quicker than np.matmul


# --- a scale goes up to the smallest array on the way -----------------------------------------------------------------


def hoist_scale(program: Program) -> Program:
    """Scale what flows into a linear call instead of its larger result: s (x^T g) as x^T (s g), s sum(g) as sum(s g).

    Repeated until nothing moves, this carries the learning rate from the gradient of every weight up to the smallest
    gradient on the way.
    """
    return Scales(program).hoisted()


class Cell:
    """A call on its way to its place: the one of call number `at`, or just before it."""

    def __init__(self, call: Call, at: int, which: Any = None) -> None:
        self.call, self.at, self.dropped = call, at, False
        self.which = which  # its key among the scalings


class Scales:
    """The products of a program's results with single numbers, each a cell that multiplies one result."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.updated, self.overlaps = written(program), Overlaps(program.calls)
        self.cells = [Cell(call, i) for i, call in enumerate(program.calls)]
        self.maker = {c.call.out: c for c in self.cells if c.call.allocates and c.call.out not in self.updated}
        self.readers = Counter(v.root for call in program.calls for v in call.reads)
        self.readers.update(v.root for v in variables(program.outputs))
        self.scalings: dict[Any, Cell] = {}  # by scale and operand
        self.of: dict[Var, list[Cell]] = defaultdict(list)  # the scalings of a result
        self.sums: dict[Var, list[Var]] = defaultdict(list)  # the sums of a result
        self.aliases: dict[Var, Var] = {}

    def hoisted(self) -> Program:
        """The program with each scale as early as it can be."""
        for cell in self.cells[:]:
            call = cell.call
            if pair := self.scale_and_result(call):
                scale, x = pair
                new = self.scaled(scale, x.root, cell.at).call.out
                self.drop(cell, moved(x, new))
                self.readers[x.root] -= 1
            elif call.function == np.add.reduce:
                self.sums[self.resolved(call.reads[0]).root].append(call.out)
        left = [*self.scalings.values()][::-1]
        while left:
            left += self.hoist(left.pop())
        return rewrite(self.program, self.in_order(), self.aliases)

    def drop(self, cell: Cell, alias: Var) -> None:
        """Let an alias stand for what a cell computes."""
        cell.dropped, self.aliases[cell.call.out] = True, alias
        self.readers[alias.root] += self.readers[cell.call.out]

    def forget(self, cell: Cell) -> None:
        """No other call is to read what a cell makes."""
        if self.scalings.get(cell.which) is cell:
            del self.scalings[cell.which]

    def resolved(self, x: Any) -> Any:
        """What stands for an operand by now."""
        while isinstance(x, Var) and x.root in self.aliases:
            x = moved(x, self.aliases[x.root])
        return x

    def scale_and_result(self, call: Call) -> tuple[Any, Var] | None:
        """The operands of a call that multiplies all elements of a result with a single number, both of which stay what
        they are. Not so a single number, of which each factor may be the scale: there would be no end."""
        fresh = call.allocates and call.out not in self.updated and not call.kwargs and bool(call.out.shape)
        for scale, x in (call.args, call.args[::-1]) if fresh and call.function is np.multiply else ():
            x = self.resolved(x)
            if not np.shape(value(scale)) and self.stays(scale) and self.is_whole(x) and x.dtype == call.out.dtype:
                return scale, x
        return None

    def stays(self, x: Any) -> bool:
        """Whether nothing writes to an operand."""
        return not isinstance(x, Var) or self.updated.isdisjoint(self.overlaps(x.root))

    def is_whole(self, x: Any) -> bool:
        """Whether an operand views all elements of a result that stays what it is."""
        return isinstance(x, Var) and x.root.kind == "result" and self.stays(x) and x.size == x.root.size

    def known(self, x: Any) -> int:
        """The number of the call that makes an operand; -1 where it is there from the beginning."""
        root = self.resolved(x).root if isinstance(x, Var) else None
        if root is None or root.kind == "constant" or (root.kind == "state" and self.stays(root)):
            return -1
        return self.maker[root].at if root in self.maker else len(self.program.calls)

    def key(self, scale: Any, operand: Any, at: int) -> Any:
        """What two scalings have in common that can be one: of what is written to, each call reads its own."""
        return key((scale, operand), Counter()), self.stays(operand) or at

    def scaled(self, scale: Any, operand: Any, at: int) -> Cell:
        """The cell that scales an operand, for call number `at` to read."""
        which = self.key(scale, operand, at)
        if which not in self.scalings:
            with np.errstate(all="ignore"):
                out = Var("result", np.asarray(np.multiply(value(scale), value(operand))))
            cell = Cell(Call(np.multiply, (scale, operand), {}, out), at, which)
            self.cells.append(cell)
            self.scalings[which] = self.maker[out] = cell
            if isinstance(operand, Var):
                self.readers[operand.root] += 1
                self.of[operand.root].append(cell)
        cell = self.scalings[which]
        cell.at = -1 if self.known(scale) == self.known(operand) == -1 else min(cell.at, at)
        return cell

    def hoist(self, cell: Cell) -> list[Cell]:
        """Scale an operand of the call that makes what a cell scales, if nothing else reads that. Returns the cells to
        look at next."""
        scale, x = cell.call.args[0], self.resolved(cell.call.args[1])
        source = None if cell.dropped else self.maker.get(x)
        if source is None or source.dropped or self.readers[x] > 1:
            return []
        operand = self.to_scale(source.call, scale)
        target = self.resolved(operand)
        if target is None or self.known(scale) >= source.at or not keeps_dtype(scale, target, source.call):
            return []
        whole = self.is_whole(target)
        new = self.scaled(scale, target.root if whole else target, source.at)
        out = moved(target, new.call.out) if whole else new.call.out
        self.forget(cell)
        self.readers[x] -= 1
        self.drop(cell, x)
        self.readers[out.root] += 1
        source.call = with_arguments(source.call, lambda arg: out if arg is operand else arg)
        again = [new]
        if source.which is not None:
            self.forget(source)
            source.which = self.key(source.call.args[0], source.call.args[1], source.at)
            self.scalings[source.which] = source
            again.append(source)
        if isinstance(target, Var):
            self.readers[target.root] -= 1
            again += self.of[target.root]
            for total in self.sums[target.root]:
                again += self.of[total]
        return again

    def to_scale(self, call: Call, scale: Any) -> Any:
        """The argument of a linear call to scale so that there is less to do, or as little and it may go on; else
        None."""
        f, args = call.function, call.args
        if f is np.matmul and not call.kwargs and args[0] is not args[1]:
            small = [x for x in args if x.size <= call.out.size]
            return min([x for x in small if self.comes_from(x, LINEAR)] or small, key=lambda x: x.size, default=None)
        if f == np.add.reduce and "where" not in call.kwargs:
            target = self.resolved(args[0])
            return args[0] if self.is_whole(target) and self.key(scale, target.root, 0) in self.scalings else None
        if f is np.concatenate:  # padding with zeros
            padded = [x for x in args[0] if not (x.kind == "constant" and not np.any(x.array))]
            return padded[0] if len(padded) == 1 else None
        if f is np.multiply and not call.kwargs and args[0] is not args[1]:
            smallest = min(args, key=lambda x: np.size(value(x)))
            if np.size(value(smallest)) < call.out.size:
                return smallest
            return next((x for x in args if self.comes_from(x, (np.matmul,))), None)
        return None

    def comes_from(self, x: Any, functions: tuple[Any, ...]) -> bool:
        """Whether one of these functions makes what an operand views."""
        maker = self.maker.get(self.resolved(x).root) if isinstance(x, Var) else None
        return maker is not None and maker.call.function in functions

    def in_order(self) -> Iterator[Call]:
        """The calls, those that share a place in the order in which they need each other."""
        places: dict[int, list[Cell]] = defaultdict(list)
        for cell in self.cells:
            if not cell.dropped:
                places[cell.at].append(cell)
        done: set[Cell] = set()
        for at in sorted(places):
            left = places[at][::-1]
            while left:
                cell = left[-1]
                makers = (self.maker.get(self.resolved(x).root) for x in cell.call.reads)
                first = [c for c in makers if c and c.at == at and c is not cell and c not in done]
                if first and cell not in done:
                    left += first
                    continue
                left.pop()
                if cell not in done:
                    done.add(cell)
                    yield cell.call


def keeps_dtype(scale: Any, operand: Any, call: Call) -> bool:
    """Whether what is scaled is of the operand's dtype, or a number's product of the result's."""
    numbers = [x.dtype if isinstance(x, Var) else type(x) for x in (scale, operand)]
    if not any(isinstance(x, Var) for x in (scale, operand)):
        return False
    dtype = np.result_type(*(np.empty((), x) if isinstance(x, np.dtype) else x() for x in numbers))
    return bool(dtype == (operand.dtype if isinstance(operand, Var) else call.out.dtype))


# --- what BLAS does in less time --------------------------------------------------------------------------------------


def lower_to_gemm(program: Program) -> Program:
    """Sum an array, its rows or its columns, as a product with ones, which BLAS does in half the time; and
    compute small products by np.dot, which does the same as np.matmul with less ado. A sum over an axis of length 1 is
    its operand.

    np.dot does not look for overflow, so that it does not warn. It fills its result with zeros first, which costs more
    than it saves once the result is large.
    """
    updated, ones = written(program), Ones()
    aliases: dict[Var, Var] = {}
    calls = []
    for call in program.calls:
        out = call.out
        if call.writes or {v.dtype for v in call.reads} != {out.dtype}:
            calls.append(call)
        elif call.function == np.add.reduce and call.kwargs.keys() <= {"axis", "keepdims"}:
            x = call.args[0]
            fixed = call.allocates and x.root.kind in ("result", "constant") and updated.isdisjoint((x.root, out))
            if fixed and x.size == out.size and lie_alike(reshaped(x, out.shape), out):
                aliases[out] = reshaped(x, out.shape)
            elif product := sum_as_product(call, x, ones):
                *factors, shape = product
                place = reshaped(out, shape)
                if place is not out and call.allocates and out not in updated:
                    place = Var("result", out.array.reshape(shape), out.label)
                    aliases[out] = reshaped(place, out.shape)
                calls.append(Call(np.dot, tuple(factors), {}, place))
            else:
                calls.append(call)
        else:
            small = out.nbytes <= SMALL and not call.kwargs and all(len(v.shape) == 2 for v in call.reads)
            dot = small and (call.function is np.matmul or is_outer(call))
            calls.append(Call(np.dot, call.args, {}, out) if dot else call)
    return rewrite(program, calls, aliases)


class Ones:
    """Arrays of ones, one for each dtype and shape."""

    def __init__(self) -> None:
        self.made: dict[Any, Var] = {}

    def __call__(self, dtype: Any, *shape: int) -> Var:
        if (dtype, shape) not in self.made:
            self.made[dtype, shape] = Var("constant", np.ones(shape, dtype), "ones")
        return self.made[dtype, shape]


def sum_as_product(call: Call, x: Var, ones: Ones) -> tuple[Any, ...] | None:
    """What np.dot is to multiply for the sum of an array, of its rows or of its columns, and the shape of that; None
    for any other sum. The columns lie along the last axis; the rows are all others taken together."""
    axis, keep = call.kwargs.get("axis", 0), call.kwargs.get("keepdims", False)
    rank, argument = len(x.shape), x.root.kind == "input"  # which may lie in any way
    every = range(rank) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    over = tuple(sorted(k % rank for k in every)) if rank else ()
    flat = x.contiguous and not argument
    if len(over) == rank and not keep and x.size > 1 and (flat or rank == 1):
        return reshaped(x, (x.size,)), ones(x.dtype, x.size), ()
    if rank < 2 or 0 in x.shape or not (rank == 2 or (flat and call.out.contiguous)):
        return None
    n, k = x.size // x.shape[-1], x.shape[-1]
    if over == tuple(range(rank - 1)):
        return ones(x.dtype, n), reshaped(x, (n, k)), (k,)
    if over == (rank - 1,):
        column = (1,) * keep
        return reshaped(x, (n, k)), ones(x.dtype, k, *column), (n, *column)
    return None


def is_outer(call: Call) -> bool:
    """Whether a call multiplies a column with a row."""
    shapes = [np.shape(value(x)) for x in call.args]
    return call.function is np.multiply and shapes[0][1:] == (1,) and shapes[1][:1] == (1,)


# --- the largest of short rows ----------------------------------------------------------------------------------------

MANY, SHORT = 64, 32  # rows from which on, and the length up to which, columns take less time


def maximum_by_columns(program: Program) -> Program:
    """Find the largest number in each of many short rows, as of a softmax, in a copy whose rows are the columns: numpy
    begins anew at each row, and here there are few. Of zeros of both signs another one may be found."""
    updated = written(program)
    aliases: dict[Var, Var] = {}
    calls = []
    for call in program.calls:
        x, out = call.args[0] if call.function == np.maximum.reduce else None, call.out
        if isinstance(x, Var) and columns_pay(call, x) and updated.isdisjoint((x.root, out)):
            rows = reshaped(x, (out.size, x.shape[-1]))
            turned = Var("view", rows.array.T, "", rows, (np.transpose, (), {}))
            columns = Var("result", np.empty(turned.shape, x.dtype))
            largest = Var("result", np.empty(out.size, out.dtype))
            calls.append(Call(np.copyto, (turned,), {}, columns))
            calls.append(Call(np.maximum.reduce, (columns,), {"axis": 0}, largest))
            aliases[out] = reshaped(largest, out.shape)
        else:
            calls.append(call)
    return rewrite(program, calls, aliases)


def columns_pay(call: Call, x: Var) -> bool:
    """Whether a call reduces many short rows of a result to an array of its own."""
    plain = call.allocates and call.kwargs.keys() <= {"axis", "keepdims"} and x.root.kind == "result" and x.contiguous
    last = len(x.shape) - 1
    rows = plain and last > 0 and call.kwargs.get("axis", 0) in (-1, last, (-1,), (last,))
    return rows and call.out.size >= MANY and 1 < x.shape[-1] <= SHORT
