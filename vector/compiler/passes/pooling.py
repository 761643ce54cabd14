"""A pass: where the maxima of windows follow relu, they come first, and leave relu fewer numbers."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from ...ops import convolution
from ..ir import Call, Program, Var, rewrite, variables
from .exact import written

LARGEST, GIVEN = (inspect.unwrap(f) for f in (convolution.largest, convolution.given_to_largest))
Readers = Mapping[Var, list[Call]]


def pool_before_relu(program: Program) -> Program:
    """Write p = largest(relu(x)) as p = relu(y) of y = largest(x), and its derivative by x, which is
    given_to_largest(g, relu(x), p) where relu(x) > 0, else 0, as given_to_largest(g where p > 0, else 0, x, y). Where
    p > 0 the same elements are the largest, and in no other window is anything given. Zeros may have another sign.
    """
    fixed = {call.out for call in program.calls if call.allocates} - written(program)
    read = fixed - {v.root for v in variables(program.outputs)}  # by calls alone
    readers: dict[Var, list[Call]] = defaultdict(list)
    for call in program.calls:
        for root in {v.root for v in call.reads}:
            readers[root].append(call)
    instead: dict[Call, list[Call]] = {}
    for call in program.calls:
        if call.out in read and is_relu(call, fixed):
            instead |= turned(call, readers, fixed, read)
    return rewrite(program, [new for call in program.calls for new in instead.get(call, [call])], {})


def is_relu(call: Call, fixed: set[Var]) -> bool:
    """Whether a call is max(x, 0) of a result that stays what it is."""
    if call.function is not np.maximum or call.kwargs:
        return False
    x, least = call.args
    return isinstance(x, Var) and x in fixed and is_zero(least) and x.dtype == call.out.dtype


def is_zero(x: object) -> bool:
    return type(x) in (int, float) and x == 0


def turned(relu: Call, readers: Readers, fixed: set[Var], read: set[Var]) -> dict[Call, list[Call]]:
    """What stands for relu and for the calls that read it; nothing where there are others than those of pooling."""
    x, users = relu.args[0], {call.function: call for call in readers[relu.out]}
    pool, give, above = (users.get(f) for f in (LARGEST, GIVEN, np.greater))
    known = sum(call is not None for call in (pool, give, above))
    if pool is None or known != len(readers[relu.out]) or any(call.kwargs for call in users.values()):
        return {}
    p = pool.out
    if pool.args[0] is not relu.out or p not in fixed or 2 * p.size > relu.out.size:
        return {}
    y = Var("result", np.empty(p.shape, p.dtype))
    new = {relu: [], pool: [Call(LARGEST, (x, *pool.args[1:]), {}, y), Call(np.maximum, (y, 0.0), {}, p)]}
    if known == 1:
        return new
    if give is None or above is None or give.args[1:3] != (relu.out, p) or give.args[3:] != pool.args[1:]:
        return {}
    product = readers[give.out][0] if readers[give.out] else give
    masks = product.function is np.multiply and not product.kwargs and {*product.args} == {give.out, above.out}
    alone = readers[give.out] == readers[above.out] == [product] and {give.out, above.out} <= read
    if not (masks and alone and product.out in fixed and above.args[0] is relu.out and is_zero(above.args[1])):
        return {}
    where, g = Var("result", np.empty(p.shape, bool)), Var("result", np.empty(p.shape, product.out.dtype))
    mask, given = (
        Call(np.multiply, (give.args[0], where), {}, g),
        Call(GIVEN, (g, x, y, *give.args[3:]), {}, product.out),
    )
    return new | {above: [], product: [], give: [Call(np.greater, (p, 0), {}, where), mask, given]}
