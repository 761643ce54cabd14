"""Random expressions through both engines: every node's value and gradient."""

import math

import numpy as np
import spelt
from bounds import close, errors
from engines import jumps, undecided
from hypothesis import assume, event, example, given
from judging import ZERO_SIGN_FREE, same
from strategies import Lines, array_expressions, expressions

import scalar
import vector

SCALAR = {**vars(scalar), "node": scalar.Value, "inf": math.inf, "nan": math.nan}
VECTOR = {**vars(vector), "node": vector.Tensor, "inf": math.inf, "nan": math.nan}


@given(lines=expressions())
def test_single_numbers_to_the_last_bit(lines: Lines):
    """Without arrays there is no sum to be reordered: fan-out adds up in the same order in both engines."""
    with np.errstate(all="ignore"):
        slow, fast = lines.run(SCALAR), lines.run(VECTOR)
    for name in [name for name in slow if name != "slopes"]:
        a, b = slow[name], fast[name]
        assert same(a.data, b.data, signed_zeros=False).all(), f"{name}: scalar {a.data!r}, vector {b.item()!r}"
        if not same(a.data, b.data).all():  # 1 / x would now differ by more than a sign of zero
            assert a.op.name in ZERO_SIGN_FREE, name
            event("a zero of either sign")
            assume(False)
    for name, a, b in zip(slow, slow["slopes"], fast["slopes"], strict=False):
        assert same(a, b, signed_zeros=False).all(), f"slope of {name}: scalar {a!r}, vector {float(b)!r}"


SUMS_OF_CONSTANTS = """x0 = node(-1.0)
x1 = node([0.0, 0.0, -1.0])
v0 = minimum(x0, x1)
v1 = leaky_relu(v0, slope=0.01)
v2 = leaky_relu(v1, slope=0.01)
out = sum(v2)
out = add(out, sum(x0))
out = add(out, sum(v0))
slopes = grad(out, [x0, x1, v0, v1, v2], create_graph=True, gradient=node(1.0))"""


@example(lines=Lines("", SUMS_OF_CONSTANTS.splitlines()))  # 1 + 1.0001 + 1.0001 + 1.0001 / 2, in any order
@given(lines=array_expressions())
def test_arrays_within_the_bound(lines: Lines):
    with np.errstate(all="ignore"):
        fast, slow = lines.run(VECTOR), lines.run({**vars(spelt)})
    fast_slopes, slow_slopes = fast.pop("slopes"), slow.pop("slopes")
    slow_nodes = [v for x in (*slow.values(), *slow_slopes) for v in x.ravel().tolist()]
    e_fast, e_slow = errors([*fast.values(), *fast_slopes]), errors(slow_nodes)
    assume(not any(jumps(node) for node in e_fast if node.op) or not (undecided(e_slow) or undecided(e_fast)))
    for name, x in fast.items():
        assert agree(slow[name], x, e_slow, e_fast), name
    event(
        "all nodes to the last bit" if all(same_bits(slow[name], x) for name, x in fast.items()) else "within the bound"
    )
    assume(not undecided(e_slow) and not undecided(e_fast))
    for name, a, b in zip(fast, slow_slopes, fast_slopes, strict=False):
        assert agree(a, b, e_slow, e_fast), f"slope of {name}"


def agree(slow: np.ndarray, fast: vector.Tensor, e_slow, e_fast) -> bool:
    """Whether an array of Values is a Tensor, within their errors."""
    values = slow.ravel().tolist()
    numbers, bound = np.array([v.data for v in values]), np.array([e_slow[v] for v in values])
    return close(numbers.reshape(fast.shape), fast.data, bound.reshape(fast.shape) + e_fast[fast])


def same_bits(slow: np.ndarray, fast: vector.Tensor) -> bool:
    return bool(same([v.data for v in slow.ravel().tolist()], fast.data.ravel(), signed_zeros=False).all())
