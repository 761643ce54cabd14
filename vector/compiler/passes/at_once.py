"""Passes: BLAS's own threads share large products, and each computes its part whole."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from ...runtime.blas import ProductsAtOnce, ProductUpdate, takes
from ...runtime.matmul import parts_at_once, shared_by_blas, shared_matmul
from ..alias import cut, may_overlap, reshaped
from ..ir import Call, Program, Var, rewrite
from .parallel import in_halves, parallel, reads_a_large_weight


def multiply_at_once(program: Program) -> Program:
    """Cut large products in parts that BLAS's threads compute at one time, where numpy's own BLAS can."""
    calls: list[Call] = []
    loose = {call.out.root for call in program.calls if not call.into}  # which lie otherwise at each replay
    for call in program.calls:
        operands = matrices(call, loose)
        parts = at_once(call, operands, parts_at_once(*operands[:2])) if operands else []
        calls += parts or [call]
    return rewrite(program, calls, {})


def share_stacks(program: Program) -> Program:
    """Let BLAS's threads share products of stacks as they are, such as tiles of rows."""
    return rewrite(program, [shared(call) for call in program.calls], {})


def shared(call: Call) -> Call:
    """The call, of a function that lets threads share it where they can."""
    if call.function is not np.matmul or call.kwargs or call.writes or not call.into or len(call.out.shape) != 3:
        return call
    x, y = call.args
    apart = not any(may_overlap(v.root, call.out.root) for v in (x, y))
    able = apart and len(x.shape) == 3 and shared_by_blas(x, y, call.out)
    return Call(shared_matmul, call.args, {}, call.out) if able else call


def matrices(call: Call, loose: Container[Var]) -> tuple[Var, ...]:
    """The factors of a product and its result as matrices, if BLAS can compute it in parts; else none."""
    plain = call.function in (np.matmul, np.dot) and not call.writes
    if not (plain or isinstance(call.function, ProductUpdate)) or call.kwargs or call.parts or not call.into:
        return ()
    x, y = call.args[-2:]
    found = tuple(matrix for v in (x, y, call.out) if (matrix := as_matrix(v)) is not None)
    if len(found) < 3 or len(y.shape) != 2:
        return ()
    x, y, out = found
    fixed = out.root.kind in ("state", "result") and not any(v.root in loose or min(v.root.strides) < 0 for v in found)
    apart = not any(v.root.kind != "input" and may_overlap(v.root, out.root) for v in (x, y))
    return found if fixed and apart and takes(*found) else ()


def as_matrix(x: Any) -> Var | None:
    """A matrix, or a stack of matrices as one of all their rows; None where that is none."""
    if not isinstance(x, Var) or len(x.shape) not in (2, 3):
        return None
    if len(x.shape) == 2:
        return x
    t, n, k = x.shape
    return reshaped(x, (t * n, k)) if x.strides[0] == n * x.strides[1] else None


def at_once(call: Call, operands: Sequence[Var], count: int) -> list[Call]:
    """The product in `count` parts: of the rows of a weight, each with its columns of x, which are then added; else of
    the longer side of the result. None for one part, or less than eight lines in each."""
    x, y, out = operands
    if count == 2 and reads_a_large_weight(x, y, out) and not call.writes:
        return in_halves(call.function, x, y, out, parts(y.shape[0], 2)[0].stop, ProductsAtOnce)
    products, side = [], max(out.shape)
    for some in parts(side, min(count, side // 8)):
        by_rows = out.shape[0] >= out.shape[1]
        where = (some,) if by_rows else (slice(None), some)
        factors = (cut(x, some), y) if by_rows else (x, cut(y, where))
        one = cut(out, where)
        target = (one,) if call.writes else ()
        products.append([Call(call.function, (*target, *factors), {}, one, call.writes)])
    return [parallel(products, ProductsAtOnce)] if len(products) > 1 else []


def parts(size: int, count: int) -> list[slice]:
    """`size` lines in `count` parts, nearly equal, of whole eights where these are few of a part."""
    unit = 8 if size >= 64 * count else 1
    ends = [i * size // count // unit * unit for i in range(count)] + [size]
    return [*map(slice, ends, ends[1:])]
