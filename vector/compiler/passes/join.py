"""A pass: what is joined to one flat array is computed at its place there."""

from __future__ import annotations

import numpy as np

from ..alias import covers, part, reshaped
from ..ir import Call, Program, Var, rewrite
from .exact import written


def join_in_place(program: Program) -> Program:
    """Where results are joined to a flat array, such as the gradients that several processes add up, compute each in
    its place, and copy there only what is read from elsewhere."""
    updated = written(program)
    makers = {call.out for call in program.calls if call.into and call.allocates}
    aliases: dict[Var, Var] = {}
    calls: list[Call] = []
    for call in program.calls:
        if not joins(call) or call.out in updated or call.out in aliases:
            calls.append(call)
            continue
        end = 0
        for x in call.reads:
            where = end, end + x.size, (x.size,)
            place = Var("view", part(call.out.array, *where), "", call.out, (part, where, {}))
            end += x.size
            if x.root in makers - updated - aliases.keys() and covers(x, x.root):
                aliases[x.root] = reshaped(place, x.root.shape)
            else:
                calls.append(Call(np.copyto, (x,), {}, place))
    return rewrite(program, calls, aliases)


def joins(call: Call) -> bool:
    """Whether a call joins arrays of one dtype to a flat one."""
    flat = call.function is np.concatenate and call.kwargs == {"axis": 0} and len(call.out.shape) == 1
    return flat and call.allocates and len({x.dtype for x in (*call.reads, call.out)}) == 1
