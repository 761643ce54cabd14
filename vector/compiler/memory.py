"""The planner: where in memory each array of a program lies, for good."""

from __future__ import annotations

import bisect
from itertools import count

import numpy as np

from ..runtime.memory import allocate
from .alias import overwritable
from .ir import Call, Program, Var, variables


class Free:
    """Buffers that nobody needs, by their size."""

    def __init__(self) -> None:
        self.buffers: list[tuple[int, int, np.ndarray]] = []
        self.serial = count()

    def put(self, buffer: np.ndarray) -> None:
        """From now on this one is free."""
        bisect.insort(self.buffers, (buffer.nbytes, next(self.serial), buffer))

    def take(self, size: int) -> np.ndarray | None:
        """The smallest that has `size` bytes; of several the one that has been free for longest."""
        i = bisect.bisect_left(self.buffers, (size,))
        return self.buffers.pop(i)[2] if i < len(self.buffers) else None


class Plan:
    """An array for every variable that has its place for good; results share memory when not needed at one time.

    A call computes in place of an operand that is read there for the last time, when it goes element by element; not so
    a single number, which numpy then takes twice as long for. Otherwise it takes the smallest free buffer that is large
    enough. Returned variables keep their own. An array is laid out as it was when recorded, so that sums run in the
    same order.
    """

    def __init__(self, program: Program) -> None:
        self.arrays: dict[Var, np.ndarray] = {}
        self.buffers: dict[Var, np.ndarray] = {}  # the memory of every result that is still needed
        self.free = Free()
        self.memory = 0
        self.last: dict[Var, int] = {}  # the number of the last call that needs a root
        for i, call in enumerate(program.calls):
            for var in (*call.reads, *call.outs):
                self.last[var.root] = i
        for var in variables(program.outputs):
            self.last[var.root] = len(program.calls)
        for i, call in enumerate(program.calls):
            for out in dict.fromkeys(c.out.root for c in call.statements if c.into and not c.writes):
                if out.kind == "result" and out not in self.arrays:
                    self.place(i, call, out)
            for root in dict.fromkeys(var.root for var in (*call.reads, *call.outs)):
                if self.last[root] == i and root in self.buffers:
                    self.free.put(self.buffers.pop(root))

    def place(self, i: int, call: Call, out: Var) -> None:
        """Choose the memory of what call number i computes."""

        def dies(root: Var) -> bool:
            return root in self.buffers and self.last[root] == i

        dying = overwritable(call, dies) if out is call.out and out.size > 1 else None
        buffer = self.free.take(out.nbytes) if dying is None else self.buffers.pop(dying.root)
        if buffer is None:
            buffer = allocate(out.nbytes)
            self.memory += buffer.nbytes
        self.buffers[out] = buffer
        self.arrays[out] = np.ndarray(out.shape, out.dtype, buffer=buffer, strides=out.strides)

    def fixed(self, var: Var) -> np.ndarray | None:
        """The array of a variable that has its place for good, else None."""
        chain = []
        while var.base is not None and var not in self.arrays:
            chain.append(var)
            var = var.base
        array = var.array if var.kind in ("state", "constant") else self.arrays.get(var)
        if array is not None:
            for view in reversed(chain):
                f, args, kwargs = view.view
                array = self.arrays[view] = f(array, *args, **kwargs)
        return array
