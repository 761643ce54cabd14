"""Passes that change how arrays lie and in which shape they are seen, and keep every result to the last bit."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...runtime.memory import aligned
from ..alias import cut, reshaped
from ..ir import Call, Program, Var, in_place, rewrite, with_arguments
from .exact import written

CACHED = 2**16  # bytes of which numpy reads the same again and again, beside others, at no cost
RUN = 128  # bytes, up to which a loop of numpy's takes longer to begin than to run
LANES = 64  # elements that a loop of numpy's over vectors is to have at least


def pad_in_place(program: Program) -> Program:
    """Where constants are joined to something, such as zeros to pad it, leave them where they are from the first run
    on: what changes is computed at its place between them, or copied there."""
    updated = written(program)
    makers = {call.out: i for i, call in enumerate(program.calls) if call.into and call.allocates}
    calls: list[list[Call]] = [[call] for call in program.calls]
    aliases: dict[Var, Var] = {}
    for i, call in enumerate(program.calls):
        parts, axis = padding(call) if call.allocates and call.out not in updated else ((), 0)
        if not parts:
            continue
        whole, end = Var("state", aligned(np.concatenate([x.array for x in parts], axis)), "padded"), 0
        aliases[call.out], calls[i] = whole, []
        for x in parts:
            start, end = end, end + x.shape[axis]
            place = cut(whole, (slice(None),) * (axis % len(x.shape)) + (slice(start, end),))
            if x in makers and x not in updated and x not in aliases and place.strides == x.strides:
                aliases[x] = place
                (maker,) = calls[makers[x]]
                calls[makers[x]] = [in_place(maker, maker.out)]
            elif x.kind != "constant":
                calls[i].append(Call(np.copyto, (x,), {}, place, writes=True))
    return rewrite(program, [call for some in calls for call in some], aliases)


def padding(call: Call) -> tuple[tuple[Var, ...], int]:
    """What a call joins along which axis, where some of it is constant; else nothing."""
    plain = call.function is np.concatenate and call.kwargs.keys() == {"axis"} and call.out.contiguous
    axis: Any = call.kwargs["axis"] if plain and len({x.dtype for x in call.reads}) == 1 else None
    constant = axis is not None and any(x.kind == "constant" for x in call.reads)
    return (call.reads, axis) if constant else ((), 0)


def unify_shapes(program: Program) -> Program:
    """View an operand of the result's size in the result's shape, and a single number without axes: numpy's loop over
    one shape is the quickest. Not so in powers, which numpy takes in another way for an exponent without axes."""
    calls = []
    for call in program.calls:
        if call.elementwise and call.function not in (np.power, np.copyto):
            fits = functools.partial(in_shape, shape=call.out.shape)
            if any(fits(x) is not x for x in call.reads):
                call = with_arguments(call, fits)
        calls.append(call)
    return rewrite(program, calls, {})


def in_shape(x: Any, shape: tuple[int, ...]) -> Any:
    """An operand in the shape of its result, if it has as many elements; a single number without axes."""
    if isinstance(x, Var) and x.size == 1:
        shape = shape if math.prod(shape) == 1 else ()
    fits = isinstance(x, Var) and x.size == math.prod(shape) and x.root.kind != "input"
    return reshaped(x, shape) if fits else x


def box_scalars(program: Program) -> Program:
    """Hold plain numbers in arrays of the other operand's dtype, as numpy would convert them at every call. Not so for
    functions that compute in another dtype (`np.float_power`) or take an integer as it is (`np.ldexp`)."""
    made: dict[Any, Var] = {}

    def boxed(x: Any, dtype: Any) -> Any:
        if type(x) not in (int, float):
            return x
        number = float(x), dtype, np.signbit(x)
        if number not in made:
            made[number] = Var("constant", np.array(x, dtype))
        return made[number]

    calls = []
    for call in program.calls:
        dtypes = {v.dtype for v in call.reads if v.dtype.kind == "f"}
        f = call.function
        if isinstance(f, np.ufunc) and len(dtypes) == 1 and not call.kwargs and len(call.reads) < len(call.args):
            (dtype,) = dtypes
            if any(kinds.startswith(f"{dtype.char * f.nin}->") for kinds in f.types):
                call = with_arguments(call, functools.partial(boxed, dtype=dtype))
        calls.append(call)
    return rewrite(program, calls, {})


def repeat_bounds(program: Program) -> Program:
    """Hold a number that np.maximum and np.minimum compare with in an array: of the result's shape where that is small,
    else of its last axes. Their loop over vectors takes arrays only; with a number they go element by element."""
    made: dict[Any, Var] = {}

    def repeated(x: Any, out: Var) -> Any:
        if not (isinstance(x, Var) and x.kind == "constant" and not x.shape and x.dtype == out.dtype):
            return x
        shape = out.shape if out.nbytes <= CACHED else trailing(out, LANES)
        if (x, shape) not in made:
            made[x, shape] = Var("constant", np.full(shape, x.array), "bounds")
        return made[x, shape]

    calls = []
    for call in program.calls:
        if call.function in (np.maximum, np.minimum) and not call.kwargs and call.out.shape:
            call = with_arguments(call, functools.partial(repeated, out=call.out))
        calls.append(call)
    return rewrite(program, calls, {})


def trailing(out: Var, least: int) -> tuple[int, ...]:
    """As few of the last axes as have so many elements."""
    return next((out.shape[k:] for k in range(len(out.shape))[::-1] if math.prod(out.shape[k:]) >= least), out.shape)


def repeat_rows(program: Program) -> Program:
    """Repeat a short row, as of the biases of a few channels, along more of the last axes before it is joined to many
    of its like element by element: numpy begins a loop for each."""
    calls = []
    for call in program.calls:
        wide = axes_in_cache(call.out) if call.elementwise else ()
        short = [x for x in call.reads if wide and 1 < x.size == x.shape[-1] == wide[-1] and x.nbytes <= RUN]
        rows = {x: Var("result", np.empty(wide, x.dtype), "rows") for x in short}
        calls += [Call(np.copyto, (x,), {}, row) for x, row in rows.items()]
        calls.append(with_arguments(call, functools.partial(replaced, rows)) if rows else call)
    return rewrite(program, calls, {})


def replaced(new: dict[Any, Var], x: Any) -> Any:
    """What stands for an argument: itself, unless there is another."""
    return new.get(x, x) if isinstance(x, Var) else x


def axes_in_cache(out: Var) -> tuple[int, ...]:
    """The lengths of as many of the last axes, two at least, as a cache holds; none where it holds the array, or nearly
    all axes."""
    sizes = (out.shape[k:] for k in range(1, len(out.shape) - 1))
    fits = next((shape for shape in sizes if math.prod(shape) * out.dtype.itemsize <= CACHED), ())
    return fits if out.nbytes > CACHED and 4 * math.prod(fits) <= out.size else ()
