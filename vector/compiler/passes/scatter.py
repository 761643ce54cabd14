"""A pass: gradients of several parts of one array are written to their places, instead of into zeros each, and then
added."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

import numpy as np

from ...ops import shapes
from ..alias import cut
from ..ir import Call, Program, Var, rewrite, variables
from .exact import eliminate_dead_code, written

SCATTERED = inspect.unwrap(shapes.scattered)
LARGE = 2**24  # elements of an array up to which its parts are compared, by counting who has each


def place_parts(program: Program) -> Program:
    """Write scattered(a, i, shape) + scattered(b, j, shape) + ... of parts that do not overlap as out[i] = a + 0.0,
    out[j] = b + 0.0, ..., on zeros where the parts leave any. The zeros that are added turn -0.0 into 0.0, as before.
    """
    updated = written(program)
    readers = Counter(v.root for call in program.calls for v in call.reads)
    readers.update(v.root for v in variables(program.outputs))
    made = {call.out: call for call in program.calls if call.allocates and call.out not in updated}
    read_by = {v: call for call in program.calls for v in call.reads}  # the last, which is the only one where it counts
    at = {call: i for i, call in enumerate(program.calls)}
    instead: dict[int, list[Call]] = {}  # behind a call that scatters
    gone: set[Call] = set()
    for call in program.calls:
        above = read_by.get(call.out)
        if not is_sum(call, made) or (above is not None and is_sum(above, made) and readers[call.out] == 1):
            continue  # no sum, or a part of a larger one
        parts = leaves(call, made, readers)
        count = marks(parts) if parts and call.out.size <= LARGE else np.array([2])
        if count.max(initial=0) > 1:
            continue  # two of them have an element in common
        gone.add(call)
        gaps = bool(count.min(initial=1) == 0)
        for part in parts:
            x, key = part.args[:2]
            new = Call(np.add, (x, 0.0), {}, cut(call.out, key), writes=gaps)
            instead.setdefault(at[part], []).append(new)
        if gaps:
            instead[min(at[part] for part in parts)].insert(0, Call(np.copyto, (0.0,), {}, call.out))
    calls = [new for i, call in enumerate(program.calls) for new in (call, *instead.get(i, ())) if new not in gone]
    return eliminate_dead_code(rewrite(program, calls, {}))


def is_sum(call: Call, made: dict[Var, Call]) -> bool:
    """Whether a call adds two results of its own shape."""
    plain = call.function is np.add and not call.kwargs and call.out in made and len(call.reads) == 2
    return plain and all(x.base is None and x.shape == call.out.shape and x.dtype == call.out.dtype for x in call.reads)


def leaves(call: Call, made: dict[Var, Call], readers: Counter[Var]) -> list[Call]:
    """The calls that scatter what a sum adds up; none where it adds something else."""
    found: list[Call] = []
    left = [*call.reads]
    while left:
        x = left.pop()
        maker = made.get(x)
        if maker is not None and maker.function is SCATTERED and is_view(maker.args[1]):
            found.append(maker)
        elif maker is not None and is_sum(maker, made) and readers[x] == 1:
            left += maker.reads
        else:
            return []
    return found


def marks(parts: list[Call]) -> np.ndarray:
    """How many of the parts have each element."""
    count = np.zeros(parts[0].out.shape, np.int32)
    for part in parts:
        count[part.args[1]] += 1
    return count


def is_view(key: Any) -> bool:
    """Whether a key names a part that can be written to where it lies."""
    return all(
        k is None or k is Ellipsis or type(k) in (int, slice) for k in (key if isinstance(key, tuple) else (key,))
    )
