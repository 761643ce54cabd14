"""Passes: each takes a program's calls and returns fewer or cheaper ones.

A pass in EXACT keeps every result to the last bit. A pass in REORDERING computes the same formula in another order of
rounding, and runs only when asked for.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from .program import Call, Program, Var, alike, canonical, variables


def drop_unread(program: Program) -> None:
    """Drop the calls whose result nobody reads: neither a later call, nor the caller, nor the next replay."""
    wanted = {var.root for var in variables(program.outputs)}
    kept = []
    for call in reversed(program.calls):
        root = call.out.root
        if root in wanted or (call.writes and root.kind in ("state", "input")):
            wanted.update(var.root for var in call.reads())
            wanted.add(root)
            kept.append(call)
    program.calls = kept[::-1]


def fold_constants(program: Program) -> None:
    """Replace what is computed from plain numbers alone by its result."""
    written = {call.out.root for call in program.calls if call.writes}
    kept = []
    for call in program.calls:
        reads = list(call.reads())
        if reads and call.into and all(v.root.kind == "constant" for v in reads) and call.out not in written:
            call.out.kind = "constant"
        else:
            kept.append(call)
    program.calls = kept


def share(program: Program) -> None:
    """Compute equal subexpressions once: the same function of the same arrays, none of them written to in between."""
    written = {call.out.root for call in program.calls if call.writes}
    versions: Counter[Var] = Counter()
    first: dict[Any, Var] = {}

    def key(x: Any) -> Any:
        if isinstance(x, Var):
            x = canonical(x)
            return (key(x.base), *map(key, x.view)) if x.base is not None else (id(x), versions[x])
        if isinstance(x, (tuple, list)):
            return (type(x), *map(key, x))
        if isinstance(x, dict):
            return tuple((name, key(y)) for name, y in sorted(x.items()))
        return (type(x), repr(x)) if isinstance(x, (int, float, slice, str)) else id(x)

    kept = []
    for call in program.calls:
        if call.writes:
            versions[call.out.root] += 1
        elif call.out.root not in written and not is_random(call):
            f = getattr(call.function, "__self__", None), getattr(call.function, "__name__", "")
            same = first.setdefault((f, key(call.args), key(call.kwargs), call.out.dtype), call.out)
            if same is not call.out:
                call.out.kind, call.out.base = "view", same
                continue
        kept.append(call)
    program.calls = kept


def is_random(call: Call) -> bool:
    return isinstance(getattr(call.function, "__self__", None), np.random.Generator)


def write_through(program: Program) -> None:
    """Where a result is only copied into an array from outside, compute it there: `p = p - s` as an update in place."""
    uses = Counter(canonical(v) for call in program.calls for v in call.reads())
    uses.update(canonical(v) for v in variables(program.outputs))
    roots = Counter(v.root for call in program.calls for v in call.reads())
    made = {call.out: i for i, call in enumerate(program.calls) if not call.writes and call.into}
    for i, copy in enumerate(program.calls):
        if copy.function is not np.copyto or not copy.writes or copy.kwargs:
            continue
        source, target = canonical(copy.args[0]) if isinstance(copy.args[0], Var) else None, copy.out
        if source not in made or uses[source] != 1 or roots[source] != 1 or not alike(source, target):
            continue
        at = made[source]
        call, between = program.calls[at], program.calls[at + 1 : i]
        touched = {v.root for other in between for v in (*other.reads(), other.out)} | {
            v.root for v in call.reads() if not (call.elementwise and canonical(v) is canonical(target))
        }
        if target.root not in touched and source.root not in {v.root for v in variables(program.outputs)}:
            call.out, call.writes = target, True
            copy.function = None
    program.calls = [call for call in program.calls if call.function is not None]


def scale_early(program: Program) -> None:
    """Scale the small operand of a product instead of its large result: s (x^T g) as x^T (s g).

    So the learning rate meets the gradient that flows back, not the gradient of each weight.
    """
    uses = Counter(v.root for call in program.calls for v in (*call.reads(), call.out))
    uses.update(v.root for v in variables(program.outputs))
    made = {call.out: i for i, call in enumerate(program.calls) if call.function == np.matmul}
    calls: list[Call | None] = list(program.calls)
    for i, call in enumerate(program.calls):
        if call.function is not np.multiply or len(call.args) != 2 or call.writes:
            continue
        for scale, x in (call.args, call.args[::-1]):
            at = made.get(canonical(x)) if isinstance(x, Var) else None
            if at is None or np.ndim(getattr(scale, "array", scale)) or uses[x.root] != 2:
                continue
            product = program.calls[at]
            small = min(product.args, key=lambda v: v.array.size)
            overwritten = {c.out.root for c in program.calls[at + 1 : i] if c.writes}
            if small.array.size >= x.array.size or overwritten & {v.root for v in product.reads()}:
                continue
            scaled = Var("result", np.multiply(getattr(scale, "array", scale), small.array))
            calls[at] = None
            args = tuple(scaled if v is small else v for v in product.args)
            calls[i] = (Call(np.multiply, (scale, small), {}, scaled), Call(np.matmul, args, product.kwargs, call.out))
            break
    program.calls = [c for entry in calls if entry for c in (entry if isinstance(entry, tuple) else (entry,))]


EXACT = (drop_unread, fold_constants, share, write_through)
REORDERING = (scale_early, share)


def optimize(program: Program, exact: bool = True) -> None:
    """Run the passes, in order; those that round in another order only with `exact=False`."""
    for run in (*EXACT, *(() if exact else REORDERING)):
        run(program)
