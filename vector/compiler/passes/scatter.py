"""Passes: gradients of several parts of one array are written to their places, instead of into zeros each, and then
added; and where they may, they are computed there."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

import numpy as np

from ...ops import shapes
from ..alias import IN_ORDER, cut
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


# --- computed in place ------------------------------------------------------------------------------------------------


def compute_in_place(program: Program) -> Program:
    """Compute a part where `place_parts` puts it, if nothing else reads it. A zero keeps its sign."""
    updated = written(program)
    readers = Counter(v.root for call in program.calls for v in call.reads)
    readers.update(v.root for v in variables(program.outputs))
    makers = {call.out: call for call in program.calls if call.allocates and call.out not in updated and computes(call)}
    others = {call.out.root for call in program.calls if not (is_placed(call) or is_fill(call))}  # written otherwise
    instead: dict[Call, list[Call]] = {}
    aliases: dict[Var, Var] = {}
    for call in program.calls:
        maker = makers.get(call.reads[0].root) if is_placed(call) and call.out.root not in others else None
        if maker is None or readers[maker.out] > 1 or call.out.root in (v.root for v in maker.reads):
            continue
        place = turned_back(call.reads[0], call.out)
        if place is not None:
            aliases[maker.out], instead[call] = place, []
            instead[maker] = [Call(maker.function, maker.args, maker.kwargs, maker.out, call.writes)]
    roots = {place.root for place in aliases.values()}
    fills = [call for call in program.calls if is_fill(call) and call.out in roots]  # which come before any part
    calls = [*fills, *(new for call in program.calls if call not in fills for new in instead.get(call, [call]))]
    return rewrite(program, calls, aliases)


def is_placed(call: Call) -> bool:
    """Whether a call copies a part to its place in a result, with zeros added."""
    plain = call.function is np.add and not call.kwargs and len(call.reads) == 1 and call.out.base is not None
    if not plain or call.out.root.kind != "result" or not isinstance(call.args[0], Var):
        return False
    x, zero = call.args
    return type(zero) is float and zero == 0.0 and x.shape == call.out.shape and x.dtype == call.out.dtype


def is_fill(call: Call) -> bool:
    """Whether a call fills a new result with a number."""
    return call.function is np.copyto and call.allocates and not call.reads and not call.kwargs


def computes(call: Call) -> bool:
    """Whether a call may compute into memory that lies in any way."""
    return (call.elementwise or call.function is np.matmul) and not call.kwargs and call.function is not np.copyto


def turned_back(x: Var, place: Var) -> Var | None:
    """The view of a place that x's root is to be, so that x is the place. None where there is none."""
    while x.base is not None:
        f, args, kwargs = x.view
        if f is np.swapaxes:
            view = (np.swapaxes, args, kwargs)
        elif f is np.transpose and not kwargs:
            n = len(x.shape)
            order = [k % n for k in args[0]] if args and args[0] is not None else range(n)[::-1]
            view = (np.transpose, (tuple(order.index(k) for k in range(n)),), {})
        elif f in IN_ORDER:
            view = (np.reshape, (x.base.shape,), {})
        else:
            return None
        array = view[0](place.array, *view[1], **view[2])
        if not np.may_share_memory(array, place.array):
            return None
        x, place = x.base, Var("view", array, "", place, view)
    return place
