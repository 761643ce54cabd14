"""Passes that leave calls out and keep every result to the last bit."""

from __future__ import annotations

import bisect
import inspect
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ops.elementwise import powers
from ..alias import Overlaps, alike
from ..ir import Call, Program, Substitution, Var, in_place, rewrite, variables, with_arguments

OF_SHAPE = (np.zeros_like, np.ones_like)


def is_random(call: Call) -> bool:
    """Whether a call draws random numbers, which moves a generator on."""
    return isinstance(getattr(call.function, "__self__", None), np.random.Generator)


def is_check(call: Call) -> bool:
    """Whether a call raises for what is wrong."""
    return getattr(call.function, "checks", False)


def written(program: Program) -> set[Var]:
    """The roots that are updated in place."""
    return {call.out.root for call in program.calls if call.writes}


def value(x: Any) -> Any:
    """The array of a variable in the first run; a plain argument as it is."""
    return x.array if isinstance(x, Var) else x


def eliminate_dead_code(program: Program) -> Program:
    """Drop the calls whose result nobody reads: neither a later call, nor the caller, nor the next replay.

    A draw of random numbers stays: it moves its generator on. So does a check, which raises for what is wrong.
    """
    wanted = {var.root for var in variables(program.outputs)}
    kept = []
    for call in reversed(program.calls):
        root = call.out.root
        if root in wanted or root.kind in ("state", "input") or is_random(call) or is_check(call):
            wanted.update(var.root for var in call.reads)
            kept.append(call)
    return rewrite(program, kept[::-1], {})


def fold_constants(program: Program) -> Program:
    """Replace what is computed from plain numbers alone, or from a shape, by its result; and a product with 1, a
    quotient by 1 and a copy, by what it is of."""
    updated = written(program)
    aliases: dict[Var, Var] = {}
    new = Substitution(aliases)
    kept = []
    for call in program.calls:
        alias = None
        if call.allocates and call.out not in updated:
            fixed = call.reads and all(new(v.root).kind == "constant" for v in call.reads)
            if fixed or call.function in OF_SHAPE:
                alias = Var("constant", call.out.array, call.out.label)
            else:
                alias = unchanged(call, new, updated)
        if alias is None:
            kept.append(call)
        else:
            aliases[call.out] = alias
    return rewrite(program, kept, aliases)


def unchanged(call: Call, new: Substitution, updated: set[Var]) -> Var | None:
    """The operand whose elements are those of the result, if there is one: what is copied, or the other one is 1."""
    if call.function is np.copyto:
        pairs: Sequence[tuple[Any, Any]] = [(call.args[0], 1)]
    elif call.function in (np.multiply, np.divide) and not call.kwargs:
        pairs = [call.args, call.args[::-1]] if call.function is np.multiply else [call.args]
    else:
        return None
    for x, one in pairs:
        if isinstance(x, Var) and alike(x, call.out) and x.root.kind == "result" and x.root not in updated:
            one = new(one)
            constant = not isinstance(one, Var) or one.root.kind == "constant"
            if constant and np.all(value(one) == 1) and lie_alike(x, call.out):
                return x
    return None


def lie_alike(x: Var, y: Var) -> bool:
    """Whether two arrays of one shape lie in memory likewise, so that one can stand for the other."""
    return all(s == t or n == 1 for n, s, t in zip(x.shape, x.strides, y.strides, strict=True))


def lower_powers(program: Program) -> Program:
    """Write powers by a plain number as numpy's calls: products for 2, 3 and 4, as `powers` has it, else one call."""
    kept: list[Call] = []
    for call in program.calls:
        exponent = call.args[1] if call.function is inspect.unwrap(powers) else None
        if (
            exponent is None
            or exponent.shape
            or exponent.root.kind != "constant"
            or call.args[0].dtype != call.out.dtype
        ):
            kept.append(call)
            continue
        x, y, product = call.args[0], float(exponent.array), call.args[0]
        if y not in (2.0, 3.0, 4.0):
            kept.append(Call(np.power, call.args, {}, call.out))
            continue
        for n in range(2, int(y) + 1):
            out = call.out if n == y else Var("result", None, like=call.out)
            kept.append(Call(np.multiply, (product, x), {}, out))
            product = out
    return rewrite(program, kept, {})


def eliminate_common_subexpressions(program: Program) -> Program:
    """Compute equal subexpressions once: the same function of the same arrays, none of them written to in between."""
    updated, overlaps = written(program), Overlaps(program.calls)
    versions: Counter[Var] = Counter()
    first: dict[Any, Var] = {}
    aliases: dict[Var, Var] = {}
    new = Substitution(aliases)
    kept = []
    for call in program.calls:
        if call.writes:
            versions.update(overlaps(call.out.root))
        elif call.allocates and call.out not in updated and not is_random(call):
            if any(v.root in aliases for v in call.reads):
                call = with_arguments(call, new)
            like = call.out.dtype, call.out.strides
            does = (call.function, key(call.args, versions), key(call.kwargs, versions), *like)
            same = first.setdefault(does, call.out)
            if same is not call.out:
                aliases[call.out] = same
                continue
        kept.append(call)
    return rewrite(program, kept, aliases)


def key(x: Any, versions: Counter[Var]) -> Any:
    """What is the same for arguments that are the same: equal numbers, arrays in one version, equal views."""
    if isinstance(x, Var):
        if x.base is None:
            return id(x), versions[x]
        return (key(x.base, versions), *(key(y, versions) for y in x.view))
    if isinstance(x, (tuple, list)):
        return (type(x), *(key(y, versions) for y in x))
    if isinstance(x, dict):
        return tuple((name, key(y, versions)) for name, y in sorted(x.items()))
    return (type(x), repr(x)) if isinstance(x, (int, float, slice, str)) else id(x)


def update_in_place(program: Program) -> Program:
    """Where a result is only copied into an array from outside, compute it there: `p = p - s` as an update in place."""
    reads = Counter(v.root for call in program.calls for v in call.reads)
    updated, returned = written(program), {v.root for v in variables(program.outputs)}
    made = {call.out: i for i, call in enumerate(program.calls) if call.into and call.out not in updated}
    overlaps = Overlaps(program.calls)
    touched: dict[Var, list[int]] = defaultdict(list)  # for each root the calls that read or write it, in order
    for i, call in enumerate(program.calls):
        for root in {v.root for v in (*call.reads, call.out)}:
            touched[root].append(i)
    calls: list[Call | None] = [*program.calls]
    for i, copy in enumerate(program.calls):
        if copy.function is not np.copyto or not copy.writes or copy.kwargs:
            continue
        (x,), target = copy.args, copy.out
        if x not in made or reads[x] != 1 or x in returned or not alike(x, target):
            continue
        at = made[x]
        call = program.calls[at]
        near = overlaps(target.root)
        own = {v.root for v in call.reads if not (call.elementwise and is_same_view(v, target))}
        between = any(bisect.bisect(touched[y], at) < bisect.bisect_left(touched[y], i) for y in near)
        if not between and own.isdisjoint(near):
            calls[at], calls[i] = in_place(call, target), None
            bisect.insort(touched[target.root], at)
    return rewrite(program, [call for call in calls if call is not None], {})


def is_same_view(x: Var, y: Var) -> bool:
    """Whether two variables are the same elements of one array, each at the same place."""
    return x.root is y.root and alike(x, y) and reaches(x) == reaches(y)


def reaches(x: Var) -> tuple[Any, ...]:
    """Where the elements of an array lie."""
    return x.array.__array_interface__["data"][0], x.strides
