"""A pass: BLAS's own threads share large products, and each computes its part whole."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from ...runtime.blas import ProductsAtOnce, ProductUpdate, takes
from ...runtime.matmul import parts_at_once
from ..alias import cut, may_overlap, reshaped
from ..ir import Call, Program, Var, rewrite


def multiply_at_once(program: Program) -> Program:
    """Cut large products in parts that BLAS's threads compute at one time, where numpy's own BLAS can."""
    calls: list[Call] = []
    loose = {call.out.root for call in program.calls if not call.into}  # which lie otherwise at each replay
    for call in program.calls:
        operands = matrices(call, loose)
        count = parts_at_once(*operands[:2]) if operands else 1
        calls += at_once(call, operands, count) or [call] if count > 1 else [call]
    return rewrite(program, calls, {})


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
    if x.base is not None and x.view[0] is np.reshape and x.base.shape == (t * n, k):
        return x.base
    return reshaped(x, (t * n, k)) if x.strides[0] == n * x.strides[1] else None


def at_once(call: Call, operands: Sequence[Var], count: int) -> list[Call]:
    """The product in `count` parts: of the rows of a weight, each with its columns of x, which are then added; else of
    the longer side of the result. None for less than eight lines a part."""
    x, y, out = operands
    if count == 2 and reads_a_large_weight(x, y, out) and not call.writes:
        outs = [Var("result", np.empty(out.shape, out.dtype)) for _ in range(count)]
        cuts = [(cut(x, (slice(None), some)), cut(y, some)) for some in parts(y.shape[0], count)]
        products = [Call(call.function, factors, {}, one) for factors, one in zip(cuts, outs, strict=True)]
        return [together(products), Call(np.add, tuple(outs), {}, out)]
    products, side = [], max(out.shape)
    for some in parts(side, min(count, side // 8)):
        by_rows = out.shape[0] >= out.shape[1]
        where = (some,) if by_rows else (slice(None), some)
        factors = (cut(x, some), y) if by_rows else (x, cut(y, where))
        one = cut(out, where)
        target = (one,) if call.writes else ()
        products.append(Call(call.function, (*target, *factors), {}, one, call.writes))
    return [together(products)] if len(products) > 1 else []


def reads_a_large_weight(x: Var, y: Var, out: Var) -> bool:
    """Whether a product's second factor is a weight, and more to read than two results are to write and to add, and not
    less than the other factor. What one processor wrote, another has to fetch before it can read it: so the thread that
    updates some rows of the weight is to multiply by these."""
    return y.root.kind == "state" and y.shape[0] >= 16 and 2 * out.size <= y.size >= x.size


def parts(size: int, count: int) -> list[slice]:
    """`size` lines in `count` parts, nearly equal, of whole eights where these are few of a part."""
    unit = 8 if size >= 64 * count else 1
    ends = [i * size // count // unit * unit for i in range(count)] + [size]
    return [*map(slice, ends, ends[1:])]


def together(products: Sequence[Call]) -> Call:
    """One call that computes all these."""
    programs = tuple(Program((product,), (), ()) for product in products)
    return Call(ProductsAtOnce, (), {}, products[0].out, parts=programs)
