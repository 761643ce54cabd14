"""What a judge needs: numbers compared by their bits, warnings overheard, and the op tables paired op by op."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import scalar
import vector

INF, NAN = math.inf, math.nan

# What vector.ops.OPS has and scalar need not: ops on shapes, and the matrix product, which is `dot` there.
VECTOR_ONLY_OPS = {"broadcast_to", "cast", "concatenate", "index", "matmul", "reshape", "scatter", "transpose"}
VECTOR_ONLY_OPS |= {"cumprod", "cumsum", "standardize"}
VECTOR_ONLY_OPS |= {"cholesky", "cofactor", "det", "eigh", "inv", "qr", "slogdet", "solve", "svd"}
VECTOR_ONLY_OPS |= {"avg_pool", "avg_share", "conv", "conv_input", "conv_weight", "fold", "max_chosen", "max_pool"}
VECTOR_ONLY_OPS |= {"max_share", "unfold"}
SEQUENCES = {"dot": 2}  # how many sequences an op over sequences takes, where it is not one
ROWS = ("softmax", "log_softmax")  # n numbers to n numbers: functions of Values in scalar, ops in vector

# Arguments to try ops with, by name; those that an op has no default for must stand here.
SAMPLES: dict[str, list[Any]] = {
    "slope": [0.01, 0.0, -0.5, 1.0],
    "low": [-1.0, 0.0],
    "high": [1.0, 2.0],
    "condition": [True, False],
    "alpha": [1.0, -0.5],
    "decimals": [0, 1],
    "ddof": [0, 0.5],
}
ZERO_SIGN_FREE = {"relu", "maximum", "minimum", "clip", "abs"}

TINY, HUGE = 5e-324, 1.7976931348623157e308
SPECIALS = [
    *(0.0, 0.5, 1.0, 2.0, 3.0, 0.3, math.pi, 37.0, 709.78, 709.79, 745.2, 1000.0),
    *(1e-8, 1.0 + 2**-52, 1e16, 1e154, 1e308, HUGE, 2.2250738585072014e-308, 1e-310, TINY, INF),
]
SPECIALS = [*SPECIALS, *(-x for x in SPECIALS), NAN]
GRADIENTS = [1.0, -2.5, 0.0, 1e308, INF, NAN]


def twins() -> Iterator[str]:
    """The names of the ops that both tables must have an answer to."""
    return (name for name in {**scalar.ops.OPS, **vector.ops.OPS} if name not in VECTOR_ONLY_OPS)


def elementwise() -> list[str]:
    """Ops of a fixed number of numbers: one rule for each."""
    return [name for name, op in scalar.ops.OPS.items() if not op.over]


def sequence_ops() -> list[str]:
    """Ops of any number of numbers: one rule over all."""
    return [name for name, op in scalar.ops.OPS.items() if op.over]


def params_of(op: Any) -> list[dict[str, Any]]:
    """The arguments to try an op with: every combination of SAMPLES."""
    missing = [name for name in op.defaults if name not in SAMPLES]
    if missing:
        raise LookupError(f"{op.name}: add numbers to try for {', '.join(missing)} to SAMPLES")
    return [dict(zip(op.defaults, xs, strict=True)) for xs in itertools.product(*(SAMPLES[n] for n in op.defaults))]


def inside(name: str, x: float) -> float:
    """x, from 0 to 1, brought into the domain of an op."""
    return x + 1.0 if name == "arccosh" else x


def bits(x: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(x, dtype=np.float64)).view(np.int64)


def same(a: Any, b: Any, signed_zeros: bool = True) -> np.ndarray:
    """Where a and b are one number: the same bits, or both NaN, or, if their signs do not count, both zero."""
    a, b = np.atleast_1d(np.asarray(a, np.float64)), np.atleast_1d(np.asarray(b, np.float64))
    both = (bits(a) == bits(b)) | (np.isnan(a) & np.isnan(b))
    return both if signed_zeros else both | ((a == 0) & (b == 0))


def heard(f: Callable[..., Any], *args: Any) -> tuple[Any, set[tuple[type, str]]]:
    """f(*args), and the warnings given meanwhile, numpy's without the word "scalar" for a lone number."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = f(*args)
    return result, {(w.category, str(w.message).replace(" scalar ", " ")) for w in caught}


def by_number(name: str, xs: Sequence[float], g: float, params: dict[str, Any]) -> list[float]:
    """scalar's value and slopes of an elementwise op."""
    op = scalar.ops.OPS[name]
    out = op.value(xs, params)
    return [out, *op.gradients(g, out, xs, params, [True] * len(xs))]


def by_array(name: str, xs: Sequence[np.ndarray], g: np.ndarray, params: dict[str, Any]) -> list[np.ndarray]:
    """vector's value and slopes of an elementwise op, on arrays of one shape."""
    op = vector.ops.OPS[name]
    out = np.asarray(op.value(xs, params))
    return [out, *(np.broadcast_to(s, out.shape) for s in op.gradients(g, out, xs, params, [True] * len(xs)))]


def agree(name: str, columns: Sequence[np.ndarray], params: dict[str, Any]) -> None:
    """Raises AssertionError where the engines differ in a bit: columns are the inputs, one each, then g."""
    *xs, g = columns
    with np.errstate(all="ignore"):
        fast = by_array(name, xs, g, params)
        slow = [by_number(name, row[:-1], row[-1], params) for row in zip(*(c.tolist() for c in columns), strict=True)]
    for which, (a, b) in enumerate(zip(fast, np.array(slow).T, strict=True)):
        equal = same(a, b, signed_zeros=name not in ZERO_SIGN_FREE)
        if not equal.all():
            at = int(np.argmin(equal))
            numbers = ", ".join(repr(float(c[at])) for c in columns)
            what = f"slope {which - 1}" if which else "value"
            raise AssertionError(
                f"{what} of {name} at (inputs..., g) = ({numbers}), {params}:\n"
                f"  vector {float(a[at])!r}\n  scalar {float(b[at])!r}\n"
                f"paste: import numpy as np; from judging import *\n"
                f"       print(by_number({name!r}, *(lambda *v: (v[:-1], v[-1]))({numbers}), {params}))\n"
                f"       print(by_array({name!r}, *(lambda *v: (v[:-1], v[-1]))"
                f"(*(np.array([x]) for x in ({numbers},))), {params}))"
            )


def grid(inputs: int) -> list[np.ndarray]:
    """Every combination of special inputs and of gradients, a column for each input and one for g."""
    return list(np.array(list(itertools.product(*[SPECIALS] * inputs, GRADIENTS))).T)
