"""Passes: each takes a program's calls and returns fewer or cheaper ones.

A pass in EXACT keeps every result to the last bit. A pass in REORDERING computes the same formula in another order of
rounding, and runs only when asked for.
"""

from __future__ import annotations

import functools
import math
import operator
from collections import Counter
from typing import Any

import numpy as np

from ...runtime.memory import aligned
from ..ir import Call, Program, Var, alike, canonical, may_overlap, variables


def drop_unread(program: Program) -> None:
    """Drop the calls whose result nobody reads: neither a later call, nor the caller, nor the next replay.

    A draw of random numbers stays: it moves its generator on. So does a check, which raises for what is wrong.
    """
    wanted = {var.root for var in variables(program.outputs)}
    kept = []
    for call in reversed(program.calls):
        root = call.out.root
        if root in wanted or root.kind in ("state", "input") or is_random(call) or is_check(call):
            wanted.update(var.root for var in call.reads())
            kept.append(call)
    program.calls = kept[::-1]


def fold_constants(program: Program) -> None:
    """Replace what is computed from plain numbers alone, or from a shape, by its result."""
    written = {call.out.root for call in program.calls if call.writes}
    kept = []
    for call in program.calls:
        reads = list(call.reads())
        known = reads and all(v.root.kind == "constant" for v in reads)
        if (known or call.function in OF_SHAPE) and call.anew and call.out not in written:
            call.out.kind = "constant"
        else:
            kept.append(call)
    program.calls = kept


OF_SHAPE = (np.zeros_like, np.ones_like)


def simplify(program: Program, reductions: Any = (np.maximum.reduce, np.minimum.reduce)) -> None:
    """Leave out what changes nothing: products with 1, quotients by 1, the largest of one, copies of what stays as it
    is."""
    written = {call.out.root for call in program.calls if call.writes}
    kept = []
    for call in program.calls:
        x = unchanged(call, reductions) if call.anew else None
        if x is not None and x.root.kind in ("result", "constant") and not {x.root, call.out} & written:
            call.out.kind, call.out.base = "view", x
            call.out.view = None if x.shape == call.out.shape else (np.reshape, (call.out.shape,), {})
        else:
            kept.append(call)
    program.calls = kept


def unchanged(call: Call, reductions: Any) -> Var | None:
    """The argument whose elements are those of the result, if there is one."""
    if call.function in reductions:
        (x,) = call.args
        if x.size == call.out.size and x.dtype == call.out.dtype and call.kwargs.keys() <= {"axis", "keepdims"}:
            return x if lies_like(x.array.reshape(call.out.shape), call.out.array) else None
    if call.function is np.copyto:
        (x,) = call.args
        return x if isinstance(x, Var) and alike(x, call.out) and lies_like(x.array, call.out.array) else None
    if call.function in (np.multiply, np.divide) and not call.kwargs:
        pairs = [call.args] if call.function is np.divide else [call.args, call.args[::-1]]
        for x, one in pairs:
            constant = not isinstance(one, Var) or one.kind == "constant"
            if constant and isinstance(x, Var) and alike(x, call.out) and np.all(value(one) == 1):
                return x if lies_like(x.array, call.out.array) else None
    return None


def lies_like(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two arrays of one shape lie in memory likewise, so that one can be looked at wherever the other can."""
    return all(s == t or n == 1 for n, s, t in zip(x.shape, x.strides, y.strides, strict=True))


def pad_in_place(program: Program) -> None:
    """Where constants are joined to something, such as zeros to pad it, leave them where they are from the first run
    on: what changes is computed at its place between them, or copied there."""
    written = {call.out.root for call in program.calls if call.writes}
    into = {call.out for call in program.calls if call.into}
    kept = []
    for call in program.calls:
        joins = call.function is np.concatenate and call.anew and call.out not in written
        plain = joins and call.kwargs.keys() == {"axis"} and call.out.array.flags.c_contiguous
        axis: Any = call.kwargs["axis"] if plain and len({x.dtype for x in call.reads()}) == 1 else None
        (parts,) = call.args if axis is not None else ((),)
        if not any(x.kind == "constant" for x in parts):
            kept.append(call)
            continue
        end = 0
        whole = Var("state", aligned(np.concatenate([x.array for x in parts], axis)), "padded")
        call.out.kind, call.out.base = "view", whole
        for x in map(canonical, parts):
            start, end = end, end + x.shape[axis]
            key = (slice(None),) * (axis % len(x.shape)) + (slice(start, end),)
            place = whole.array[key]
            if x.kind == "result" and x in into and x not in written and place.strides == x.strides:
                x.kind, x.base, x.view = "view", whole, (operator.getitem, (key,), {})
            elif x.kind != "constant":
                part = Var("view", place, base=whole, view=(operator.getitem, (key,), {}))
                kept.append(Call(np.copyto, (x,), {}, part, writes=True))
    program.calls = kept


def align(program: Program) -> None:
    """Look at an operand of the result's size in the result's shape, and at a single number without axes: numpy's loop
    over one shape is the quickest. Not so in powers, which numpy takes in another way for an exponent without axes."""
    for call in program.calls:
        if call.elementwise and call.function not in (np.power, np.copyto):
            call.rename(functools.partial(reshaped, shape=call.out.shape))


def reshaped(x: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(x, Var) and x.size == 1:
        shape = shape if math.prod(shape) == 1 else ()
    if not isinstance(x, Var) or x.shape == shape or x.size != math.prod(shape) or x.root.kind == "input":
        return x
    return Var("view", x.array.reshape(shape), base=x, view=(np.reshape, (shape,), {}))


def numbers_as_arrays(program: Program) -> None:
    """Hold plain numbers in arrays of the other operand's dtype, as numpy would convert them at every call. Not so for
    functions that compute in another dtype (`np.float_power`) or take an integer as it is (`np.ldexp`)."""
    made: dict[Any, Var] = {}
    for call in program.calls:
        dtypes = {v.dtype for v in call.reads() if v.dtype.kind == "f"}
        f = call.function
        if isinstance(f, np.ufunc) and len(dtypes) == 1 and not call.kwargs:
            (dtype,) = dtypes
            if not any(kinds.startswith(f"{dtype.char * f.nin}->") for kinds in f.types):
                continue
            call.args = tuple(
                made.setdefault((float(x), dtype, np.signbit(x)), Var("constant", np.array(x, dtype)))
                if type(x) in (int, float)
                else x
                for x in call.args
            )


def share(program: Program) -> None:
    """Compute equal subexpressions once: the same function of the same arrays, none of them written to in between."""
    written = {call.out.root for call in program.calls if call.writes}
    versions: Counter[Var] = Counter()
    roots = {v.root for call in program.calls for v in (*call.reads(), call.out)}
    first: dict[Any, Var] = {}

    kept = []
    for call in program.calls:
        if call.writes:
            versions.update(x for x in roots if may_overlap(x, call.out.root))
        elif call.anew and call.out not in written and not is_random(call):
            like = call.out.dtype, call.out.strides
            does = (call.function, key(call.args, versions), key(call.kwargs, versions), *like)
            same = first.setdefault(does, call.out)
            if same is not call.out:
                call.out.kind, call.out.base = "view", same
                continue
        kept.append(call)
    program.calls = kept


def key(x: Any, versions: Counter[Var]) -> Any:
    """What is the same for arguments that are the same: equal numbers, arrays in one version, equal views."""
    if isinstance(x, Var):
        x = canonical(x)
        return (id(x), versions[x]) if x.base is None else (key(x.base, versions), *(key(y, versions) for y in x.view))
    if isinstance(x, (tuple, list)):
        return (type(x), *(key(y, versions) for y in x))
    if isinstance(x, dict):
        return tuple((name, key(y, versions)) for name, y in sorted(x.items()))
    return (type(x), repr(x)) if isinstance(x, (int, float, slice, str)) else id(x)


def is_random(call: Call) -> bool:
    return isinstance(getattr(call.function, "__self__", None), np.random.Generator)


def is_check(call: Call) -> bool:
    return getattr(call.function, "checks", False)


def write_through(program: Program) -> None:
    """Where a result is only copied into an array from outside, compute it there: `p = p - s` as an update in place."""
    reads = Counter(v.root for call in program.calls for v in call.reads())
    written = {call.out.root for call in program.calls if call.writes}
    made = {call.out: i for i, call in enumerate(program.calls) if call.into and call.out not in written}
    merged = set()
    for i, copy in enumerate(program.calls):
        if copy.function is not np.copyto or not copy.writes or copy.kwargs:
            continue
        (x,), target = copy.args, copy.out
        source = canonical(x) if isinstance(x, Var) else None
        if source not in made or reads[source] != 1 or not alike(source, target):
            continue
        at = made[source]
        call, between = program.calls[at], program.calls[at + 1 : i]
        touched = {v.root for other in between for v in (*other.reads(), other.out)} | {
            v.root for v in call.reads() if not (call.elementwise and canonical(v) is canonical(target))
        }
        if not any(may_overlap(target.root, x) for x in touched) and source.root not in {
            v.root for v in variables(program.outputs)
        }:
            call.out, call.writes = target, True
            merged.add(copy)
    program.calls = [call for call in program.calls if call not in merged]


def sums_of_one(program: Program) -> None:
    """Leave out sums over axes of length 1. numpy's sum of -0 alone is 0."""
    simplify(program, (np.add.reduce,))


def scale_early(program: Program) -> None:
    """Scale what flows into a linear call instead of its larger result: s (x^T g) as x^T (s g), s sum(g) as sum(s g).

    Repeated until nothing moves, this carries the learning rate from the gradient of every weight up to the smallest
    gradient on the way.
    """
    while any(scaled_earlier(program, i) for i in range(len(program.calls))):
        share(program)


def scaled_earlier(program: Program, i: int) -> bool:
    """Rewrite call number i, if it scales another look at a result, or the result of a linear call that nothing else
    reads. Not so a single number, of which each factor may be the scale: there would be no end."""
    call = program.calls[i]
    if call.function is not np.multiply or call.writes or not call.out.shape:
        return False
    for scale, x in (call.args, call.args[::-1]):
        if not isinstance(x, Var) or np.shape(value(scale)):
            continue
        root, outer = x.root, program.calls[i:]
        if call.out.dtype != root.dtype:
            continue
        whole = canonical(x) is not root and x.size == root.size and root.kind == "result"
        if whole and not any(c.out.root is root for c in outer):  # one result for all looks at it
            out = Var("result", np.multiply(value(scale), root.array))
            call.out.kind, call.out.base, call.out.view = "view", *moved(x, out)
            program.calls[i] = Call(np.multiply, (scale, root), {}, out)
            return True
        at = next((k for k, c in enumerate(program.calls[:i]) if c.out is root and not c.writes), None)
        if at is None or sum(v.root is root for c in program.calls for v in c.reads()) != 1:
            continue
        if any(v.root is root for v in variables(program.outputs)):
            continue
        linear = program.calls[at]
        operand = to_scale(program, linear, scale)
        written = {c.out.root for c in program.calls[at:i] if c.writes}
        reads = {v.root for v in (*linear.reads(), root)}
        if operand is None or any(may_overlap(x, y) for x in written for y in reads):
            continue
        scaled = Var("result", np.asarray(np.multiply(value(scale), value(operand))))
        out = Var("result", root.array)
        call.out.kind, call.out.base, call.out.view = "view", *moved(x, out)
        linear.rename(functools.partial(swapped, old=operand, new=scaled))
        linear.out = out
        program.calls[i : i + 1] = [Call(np.multiply, (scale, operand), {}, scaled), linear]
        del program.calls[at]
        return True
    return False


def swapped(x: Any, old: Any, new: Any) -> Any:
    return new if x is old else x


LINEAR = (np.matmul, np.multiply, np.concatenate)  # through which a scale may go on


def to_scale(program: Program, call: Call, scale: Any) -> Any:
    """The argument of a linear call to scale so that there is less to do, or as little and it may go on; else None."""
    if call.function is np.matmul and not call.kwargs and call.args[0] is not call.args[1]:
        small = [x for x in call.args if x.size <= call.out.size]
        made = [x for x in small if any(c.out is x.root and c.function in LINEAR for c in program.calls)]
        return min(made or small, key=lambda x: x.size, default=None)
    if call.function == np.add.reduce and "where" not in call.kwargs:
        (x,) = call.args
        is_scaled = any(c.function is np.multiply and same(c.args, (scale, x)) and not c.writes for c in program.calls)
        return x if is_scaled else None
    if call.function is np.concatenate:  # padding with zeros
        (parts,) = call.args
        padded = [x for x in parts if not (x.kind == "constant" and not np.any(x.array))]
        return padded[0] if len(padded) == 1 else None
    if call.function is np.multiply and not call.kwargs and call.args[0] is not call.args[1]:
        smallest = min(call.args, key=lambda x: np.size(value(x)))
        if np.size(value(smallest)) < call.out.size:
            return smallest
        for x in call.args:
            if isinstance(x, Var) and any(c.out is x.root and c.function is np.matmul for c in program.calls):
                return x
    return None


def small_products(program: Program) -> None:
    """Sum a matrix, or over its rows or columns, as its product with ones, which BLAS does in half the time; and
    compute small products by np.dot, which does the same as np.matmul with less ado.

    np.dot does not look for overflow, so that it does not warn. It fills its result with zeros first, which costs more
    than it saves once the result is large.
    """
    made: dict[Any, Var] = {}

    def ones(dtype: Any, *shape: int) -> Var:
        return made.setdefault((dtype, shape), Var("constant", np.ones(shape, dtype), "ones"))

    for call in program.calls:
        out = call.out
        if call.writes or {v.dtype for v in call.reads()} != {out.dtype}:
            continue
        if call.function == np.add.reduce and call.kwargs.keys() <= {"axis", "keepdims"}:
            (x,) = call.args
            axis, keep = call.kwargs.get("axis", 0), call.kwargs.get("keepdims", False)
            if isinstance(axis, tuple) and len(axis) == 1:
                (axis,) = axis
            flat = reshaped(x, (x.size,))  # not so an argument, which may lie in any way
            if axis is None and not keep and x.size > 1 and x.array.flags.c_contiguous and len(flat.shape) == 1:
                call.function, call.args, call.kwargs = np.dot, (flat, ones(x.dtype, x.size)), {}
            elif len(x.shape) == 2 and axis == 0 and not keep:
                call.function, call.args, call.kwargs = np.dot, (ones(x.dtype, x.shape[0]), x), {}
            elif len(x.shape) == 2 and axis in (1, -1):
                call.function, call.args, call.kwargs = np.dot, (x, ones(x.dtype, x.shape[1], *[1] * keep)), {}
        elif (call.function is np.matmul or is_outer(call)) and all(len(v.shape) == 2 for v in call.reads()):
            if not call.kwargs and out.size * out.dtype.itemsize <= 2**14:
                call.function = np.dot


def means(program: Program) -> None:
    """Divide a sum by a number in the ones that it is a product with."""
    written = {call.out.root for call in program.calls if call.writes}
    for call in program.calls:
        if call.function is not np.divide or call.writes or call.kwargs or not isinstance(call.args[0], Var):
            continue
        total, number = canonical(call.args[0]), call.args[1]
        made = next((c for c in program.calls if c.out is total and c.function is np.dot), None)
        fixed = not isinstance(number, Var) or number.kind == "constant"
        readers = sum(
            v.root is total for v in (*(v for c in program.calls for v in c.reads()), *variables(program.outputs))
        )
        if made and fixed and readers == 1 and not np.shape(value(number)) and total not in written:
            weights = next((v for v in made.args if v.kind == "constant" and v.label == "ones"), None)
            if weights:
                shares = Var("constant", weights.array / value(number), "shares")
                made.rename(functools.partial(swapped, old=weights, new=shares))
                call.out.kind, call.out.base, call.out.view = "view", total, None
    program.calls = [c for c in program.calls if c.out.kind != "view" or c.writes]


def is_outer(call: Call) -> bool:
    """Whether a call multiplies a column with a row."""
    shapes = [np.shape(value(x)) for x in call.args]
    return call.function is np.multiply and shapes[0][1:] == (1,) and shapes[1][:1] == (1,)


def reduce_across(program: Program) -> None:
    """Look for the largest or smallest element of short rows in a copy that lies column by column: numpy's loop over a
    column is quick, that over a row short. Of 0 and -0 it may find the other one."""
    kept = []
    for call in program.calls:
        if call.function in (np.maximum.reduce, np.minimum.reduce):
            (x,) = call.args
            rows = len(x.shape) == 2 and x.shape[0] >= 16 and x.shape[1] <= 32 and x.array.flags.c_contiguous
            if rows and call.kwargs.get("axis") in (1, -1, (1,), (-1,)):
                turned = Var("result", np.asfortranarray(x.array))
                kept.append(Call(np.copyto, (x,), {}, turned))
                call.args = (turned,)
        kept.append(call)
    program.calls = kept


def bounds_in_full(program: Program) -> None:
    """Compare with an array of the bound in place of the bound alone: np.maximum and np.minimum, other than arithmetic,
    take three times as long for the latter. Of 0 and -0 they may return the other one. Small arrays gain nothing, large
    ones would have to be read."""
    for call in program.calls:
        out = call.out
        rows = not call.kwargs and out.array.flags.c_contiguous and 2**10 <= out.size <= 2**16
        if call.function in (np.maximum, np.minimum) and rows:
            call.args = tuple(in_full(x, out) for x in call.args)


def in_full(x: Any, like: Var) -> Any:
    """A constant number as an array of the shape of `like`; anything else as it is."""
    number = value(x)
    if np.size(number) > 1 or (isinstance(x, Var) and x.kind != "constant"):
        return x
    label = f"all_{np.reshape(number, ()):g}"
    return Var("constant", aligned(np.full(like.shape, number, like.dtype)), label)


def same(xs: tuple[Any, ...], ys: tuple[Any, ...]) -> bool:
    """Whether two arguments are the same two variables or numbers."""
    return all(x is y or (isinstance(x, Var) and isinstance(y, Var) and canonical(x) is canonical(y))
               for x, y in zip(xs, ys, strict=True))  # fmt: skip


def moved(x: Var, root: Var) -> tuple[Var, Any]:
    """Base and view of a variable that looks at `root` as x looks at its own root."""
    if x.base is None:
        return root, None
    base, view = moved(x.base, root)
    return Var("view", x.base.array, base=base, view=view), x.view


def value(x: Any) -> Any:
    """The array of a variable in the first run; a plain argument as it is."""
    return x.array if isinstance(x, Var) else x
