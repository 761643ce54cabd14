"""A pass: BLAS adds a product to an array while it computes it, so that nobody reads and writes the array once more."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ...runtime.blas import ProductUpdate, takes
from ..alias import Overlaps, alike, covers, reshaped
from ..ir import Call, Program, Var, rewrite, variables
from .exact import eliminate_dead_code, is_same_view, written
from .parallel import keep_apart

SMALL = 2**17  # bytes of a product up to which numpy's two calls take no longer: it stays in the nearest cache
BETWEEN = 64  # calls between a product and what it is added to


def accumulate_products(program: Program) -> Program:
    """Write W -= x @ g, and s + x @ g where nobody else reads s, as one call of BLAS, where numpy's own is found."""
    return Accumulation(program).done()


class Accumulation:
    """The sums of a program in which one operand is a product that nobody else reads."""

    def __init__(self, program: Program) -> None:
        self.program, self.updated, self.overlaps = program, written(program), Overlaps(program.calls)
        self.at = {call.out: i for i, call in enumerate(program.calls) if call.allocates}
        self.writers = Counter(call.out.root for call in program.calls if call.writes)
        self.readers = Counter(v.root for call in program.calls for v in call.reads)
        self.last = {v.root: i for i, call in enumerate(program.calls) for v in (*call.reads, call.out)}
        self.last |= {v.root: len(program.calls) for v in variables(program.outputs)}
        self.calls: list[list[Call]] = [[call] for call in program.calls]
        self.aliases: dict[Var, Var] = {}
        self.functions: dict[Any, ProductUpdate] = {}

    def done(self) -> Program:
        for i, call in enumerate(self.program.calls):
            if call.function in (np.add, np.subtract) and not call.kwargs and len(call.reads) == 2:
                self.accumulate(i, call)
        new = rewrite(self.program, [call for some in self.calls for call in some], self.aliases)
        return eliminate_dead_code(new)  # paddings that nobody reads any more

    def accumulate(self, i: int, call: Call) -> None:
        """Let call number i, a sum or difference, be done by the product that is its last operand, if it can be."""
        operands = call.reads if call.function is np.subtract else sorted(call.reads, key=lambda x: self.at.get(x, -1))
        total, product = operands
        at = self.at.get(product.root, i)
        source = self.program.calls[at]
        if not (self.is_product(source, i) and covers(product, product.root) and self.fits(i, call, total)):
            return
        x, y = self.factors(source)
        target = reshaped(total, source.out.shape)
        between = [c for some in self.calls[at:i] for c in some]
        alone = self.root(total) not in (self.root(x), self.root(y)) and self.is_fixed(y)
        if not (alone and takes(x, y, target) and self.stay((x, y), [*between, call])):
            return
        source, apart = keep_apart(Call(np.matmul, (x, y), {}, source.out), [c for c in between if c.writes])
        sign, fixed = 1.0 if call.function is np.add else -1.0, self.is_fixed(source.args[0])
        function = self.functions.setdefault((sign, fixed), ProductUpdate(sign, fixed))
        self.calls[at] = apart
        self.calls[i] = [Call(function, (target, *source.args), {}, target, writes=True)]
        if not call.writes:
            self.aliases[call.out] = total

    def factors(self, product: Call) -> tuple[Var, Var]:
        """The factors of a product, without the zeros that a column and a row were padded with for numpy."""
        x, y = product.reads
        column, row = self.unpadded(x), self.unpadded(y)
        return (x, y) if column is None or row is None else (column, row)

    def unpadded(self, x: Var) -> Var | None:
        """Of rows that are padded with zeros, or of these transposed, what is padded; else None."""
        maker = self.program.calls[self.at[x.root]] if x.root in self.at else None
        if maker is None or maker.function is not np.concatenate or maker.kwargs != {"axis": -2}:
            return None
        first, *others = maker.reads
        if len(first.shape) != 2 or any(v.kind != "constant" or np.any(v.array) for v in others):
            return None
        if x is x.root:
            return first
        turned = x.base is x.root and x.view[0] is np.swapaxes and len(x.shape) == 2
        return Var("view", first.array.T, "", first, (np.transpose, (), {})) if turned else None

    def is_product(self, call: Call, i: int) -> bool:
        """Whether a call multiplies matrices, or a stack with one, into a large result that call number i alone
        reads."""
        x = call.out
        plain = call.function in (np.matmul, np.dot) and not call.kwargs and call.allocates and len(call.reads) == 2
        fits = plain and len(call.reads[1].shape) == 2 <= len(call.reads[0].shape) == len(x.shape) <= 3
        return fits and x.nbytes > SMALL and self.readers[x] == 1 and self.last[x] == i and x not in self.updated

    def fits(self, i: int, call: Call, total: Var) -> bool:
        """Whether a product can be added to an operand of call number i where it lies: the call does just that, or
        nobody reads it any more. Not so, where more is done with an array from outside, such as a momentum: that is
        rather done for all of these at once."""
        if call.writes:
            return is_same_view(total, call.out) and total.contiguous and self.writers[total.root] == 1
        root = total.root
        free = root.kind == "result" and self.last[root] == i and root in self.at and covers(total, root)
        made = free and self.program.calls[self.at[root]].into
        return made and call.allocates and alike(total, call.out) and total.strides == call.out.strides

    def stay(self, factors: tuple[Var, ...], calls: list[Call]) -> bool:
        """Whether the factors of a product are still what they were behind these calls, or are arguments, of which each
        replay can see to that."""
        changed = {near for call in calls if call.writes for near in self.overlaps(self.root(call.out))}
        return len(calls) <= BETWEEN and all(x.root.kind == "input" or self.root(x) not in changed for x in factors)

    def root(self, x: Var) -> Var:
        """In whose memory a variable lies by now."""
        root = x.root
        while root in self.aliases:
            root = self.aliases[root].root
        return root

    def is_fixed(self, x: Var) -> bool:
        """Whether an array lies at one place for good."""
        if x.root in self.at:
            return self.program.calls[self.at[x.root]].into
        return x.root.kind in ("state", "constant")
