"""What agreement tests of both engines share."""

import numpy as np
from bounds import close, errors, slopes

import scalar
import vector
from vector.ops.convolution import met


def flat(xs) -> list[scalar.Value]:
    """The Values of lists in lists."""
    return [v for x in xs for v in (flat(x) if isinstance(x, list) else [x])]


def compare(what: str, slow: list[scalar.Value], fast: list[vector.Tensor], e_slow, e_fast) -> None:
    """Raises AssertionError where Values and the elements of Tensors are further apart than their errors allow."""
    bound = np.array([e_slow[v] for v in slow]) + np.concatenate([np.ravel(e_fast[x]) for x in fast])
    assert close([v.data for v in slow], np.concatenate([np.ravel(x.data) for x in fast]), bound), what


def both(name, sequences):
    """Value(s) and slopes by each engine with their error bounds, each value weighed so that every slope counts."""
    weights = [1.0, -0.5, 0.25, 2.0, -3.0, 1.5]
    numbers = [[scalar.Value(x) for x in xs] for xs in sequences]
    arrays = [vector.Tensor(np.array(xs)) for xs in sequences]
    with np.errstate(all="ignore"):
        slow, fast = getattr(scalar, name)(*numbers), getattr(vector, name)(*arrays)
        rows = isinstance(slow, list)
        slow_out = scalar.dot(slow, weights[: len(slow)]) if rows else slow * 1.7
        fast_out = vector.sum(fast * weights[: len(slow)]) if rows else fast * 1.7
        slow_slopes = slopes(scalar, slow_out, [x for xs in numbers for x in xs])
        fast_slopes = slopes(vector, fast_out, arrays)
        slow_all = [*(slow if rows else [slow]), *slow_slopes]
        e_slow, e_fast = errors(slow_all), errors([fast, *fast_slopes])
    return (
        np.array([x.data for x in slow_all]),
        np.concatenate([np.atleast_1d(x.data) for x in (fast, *fast_slopes)]),
        np.array([e_slow[x] for x in slow_all])
        + np.concatenate([np.atleast_1d(e_fast[x]) for x in (fast, *fast_slopes)]),
    )


def undecided(e) -> bool:
    """Whether some number is so near a corner that rounding decides on which side it falls: there an engine's slope
    may be that of either side. (At a corner exactly, both engines follow the table of semantics.)"""
    for node in e:
        if node.op and node.op.name in CORNERED:
            reach = 4.0 * np.sum([np.max(e[x]) for x in node.inputs])
            if any(np.any((m != 0) & (np.abs(m) <= reach)) for m in corners(node)):
                return True
            if any(np.any(np.abs(m) < reach) for m in jumps(node)):
                return True
    return False


CORNERED = {
    "abs",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "softsign",
    "maximum",
    "minimum",
    "clip",
    "hardtanh",
    "max",
    "min",
}
CORNERED |= {"max_pool", "sign", "floor", "ceil", "round", "mod"}


def corners(node):
    """How far the inputs of a node are from the corners of its op."""
    name, xs, params = node.op.name, [x.data for x in node.inputs], node.params or {}
    if name in ("abs", "relu", "leaky_relu", "elu", "selu", "softsign"):
        return xs
    if name in ("maximum", "minimum"):
        return [xs[0] - xs[1]]
    if name in ("clip", "hardtanh"):
        return [xs[0] - params.get("low", -1.0), xs[0] - params.get("high", 1.0)]
    if name == "max_pool":
        return [part - node.data for part in met(xs[0], params["size"], params["stride"])]
    if name in ("max", "min"):
        return [x - getattr(np, name)(x, axis=params.get("axis"), keepdims=True) for x in arrays(xs)]
    return []


def jumps(node):
    """How far the inputs of a node are from where its value jumps: there rounding decides even if it seems to be 0."""
    name, xs = node.op.name, [x.data for x in node.inputs]
    if name == "sign":
        return xs
    if name in ("floor", "ceil"):
        return [xs[0] - np.round(xs[0])]
    if name == "round":
        x = xs[0] * 10.0 ** node.params["decimals"]
        return [x - np.floor(x) - 0.5]
    return [node.data, node.data - xs[1]] if name == "mod" else []


def arrays(xs) -> list[np.ndarray]:
    return [np.array(xs)] if isinstance(xs[0], float) else xs
