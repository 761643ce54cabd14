"""How far two correct computations of one thing may be apart.

The bound is derived, node by node, by a running error analysis (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.3). Beside each node's value v stands e, a bound on |v - what exact arithmetic gives|:

    e  =  sum_i |dv/dx_i| e_i  +  r n max(|v|, sum_i |dv/dx_i x_i|)

The first part carries on what the inputs x_1 ... x_n bring along; the second is what rounding adds here. r is 0 for
an op that chooses, negates or moves numbers, eps/2 = 2^-53 where IEEE 754 rounds to nearest (+ - * / and the root), and
4 eps for the other functions, which is what numpy keeps them within. n terms, added in any order, are within
n eps/2 sum |terms| of their sum, the terms being dv/dx_i x_i for sums, means and products. (log-sum-exp and its like
take the logarithm of a sum of n numbers that is at least 1: the error of this sum is one in their value, so
there the maximum is with 1 as well.) The derivatives are the op's own rules, which are tested elsewhere.

Gradients are nodes too (`create_graph`), so that the same pass bounds first and second derivatives. The derivatives of
x + x, of a sum or of leaky_relu are constants, whose history no engine keeps; but they are products and sums, rounded
like any other. So the gradient that a backward pass starts from is here a leaf that requires a gradient itself
(`slopes`): every number of the pass depends on it, and so has its history in the graph, and its error.

Each engine's graph is analysed on its own, in its own order of summation with its own formulas. Both approximate one
exact value, so they are at most e_scalar + e_vector apart; twice that is allowed, for the analysis is of first order in
eps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import scalar
import vector

EPS, TINY = 2.0**-52, 5e-324
EXACT = {"abs", "broadcast_to", "cast", "clip", "concatenate", "index", "max", "maximum", "min", "minimum", "negative"}
EXACT |= {"ceil", "floor", "hardtanh", "max_pool", "relu", "reshape", "sign", "transpose", "unfold", "where"}
ROUNDED = {
    "add",
    "avg_pool",
    "avg_share",
    "conv",
    "conv_input",
    "conv_weight",
    "divide",
    "dot",
    "fold",
    "matmul",
    "max_chosen",
    "max_share",
    "mean",
    "multiply",
    "reciprocal",
    "scatter",
    "sqrt",
    "square",
    "subtract",
    "sum",
}
SHIFTED = {"logsumexp", "log_softmax", "cross_entropy"}
# Sums of products of one element of each input, of every input but its one: linear in each, with coefficients 0 and 1.
MULTILINEAR = {"broadcast_to", "conv", "conv_input", "conv_weight", "index", "matmul", "reshape"}
MULTILINEAR |= {"scatter", "sum", "transpose", "unfold", "fold"}
ELEMENTWISE = {name for name, op in scalar.ops.OPS.items() if not op.over}


def slopes(engine: Any, output: Any, inputs: Sequence[Any]) -> list[Any]:
    """d output / d input as nodes with their whole history, also where they are constants."""
    one = (scalar.Value if engine is scalar else vector.Tensor)(1.0)
    return engine.grad(output, inputs, create_graph=True, gradient=one)


def errors(outputs: Sequence[Any], given: Mapping[Any, Any] | None = None) -> dict[Any, Any]:
    """e for every node under `outputs`; leaves have the error `given` for them, or none. Raises ValueError for an
    output that is a constant other than 0: its history, and with it its error, is lost."""
    e: dict[Any, Any] = dict(given or {})
    with np.errstate(all="ignore"):
        for output in outputs:
            if not output.requires_grad and np.any(output.data) and output not in e:
                raise ValueError("errors: expected a node with its history, got a constant; differentiate by slopes()")
        for node in history(outputs):
            if node in e:
                continue
            if isinstance(node, scalar.Value):
                e[node] = of_value(node, e) if node.op else 0.0
            else:
                e[node] = of_tensor(node, e) if node.op else np.zeros(node.shape)
    return e


def history(outputs: Sequence[Any]) -> list[Any]:
    """All nodes under the outputs, and these, each once and behind its inputs: one search, by way of their sum."""
    engine = scalar if isinstance(outputs[0], scalar.Value) else vector
    total = engine.sum(list(outputs) if engine is scalar else vector.stack([vector.sum(x) for x in outputs]))
    return [*engine.topological_order(total)[:-1], *outputs]


def of_value(node: Any, e: Mapping[Any, Any]) -> float:
    xs = [x.data for x in node.inputs]
    if node.op is scalar.add:
        slopes = [1.0, 1.0]
    elif node.op in (scalar.multiply, scalar.dot):
        half = len(xs) // 2
        slopes = xs[half:] + xs[:half]
    else:
        slopes = node.op.gradients(1.0, node.data, xs, node.params or {}, [True] * len(xs))
    carried = terms = 0.0
    for s, x in zip(slopes, node.inputs, strict=True):
        if s != 0.0:  # else x has no share, not even of minus infinity in a softmax
            carried += abs(s) * e[x] if e[x] else 0.0
            terms += abs(s * x.data)
    return carried + fresh(node.op.name, abs(node.data), len(xs), terms)


def of_tensor(node: Any, e: Mapping[Any, Any]) -> np.ndarray:
    name, xs, out = node.op.name, [x.data for x in node.inputs], node.data
    if name == "concatenate":
        return node.op.value([e[x] for x in node.inputs], node.params)
    if name in MULTILINEAR and all(
        np.isfinite(x).all() and np.isfinite(e[y]).all() for x, y in zip(xs, node.inputs, strict=True)
    ):
        return of_multilinear(node, e)

    def slopes(g: np.ndarray) -> list[np.ndarray]:
        return node.op.gradients(g, out, xs, node.params or {}, [True] * len(xs))

    if name in ELEMENTWISE and name not in SHIFTED:
        rows = [np.broadcast_to(np.abs(s), out.shape) for s in slopes(np.ones(out.shape, out.dtype))]
        carried = sum([np.where(e[x] == 0, 0.0, s * e[x]) for s, x in zip(rows, node.inputs, strict=True)])
        return carried + fresh(name, np.abs(out), len(xs), sum([np.abs(s * x) for s, x in zip(rows, xs, strict=True)]))
    result = np.zeros(out.shape)
    for at in np.ndindex(out.shape):
        one = np.zeros(out.shape)
        one[at] = 1.0
        row = [
            np.abs(vector.autodiff.unbroadcast(s, x, node, i))
            for i, (s, x) in enumerate(zip(slopes(one), node.inputs, strict=True))
        ]
        carried = sum([product(s, e[x]) for s, x in zip(row, node.inputs, strict=True)])
        terms = sum([product(s, np.abs(x)) for s, x in zip(row, xs, strict=True)])
        n = sum([int(np.count_nonzero(s)) for s in row])
        result[at] = carried + fresh(name, np.abs(out[at]), n, terms)
    return result


def product(slopes: np.ndarray, xs: np.ndarray) -> Any:
    """The sum of their products, without those where one is 0: in a softmax, minus infinity has no share."""
    return np.sum(np.where((slopes == 0) | (xs == 0), 0.0, slopes * xs))


def of_multilinear(node: Any, e: Mapping[Any, Any]) -> np.ndarray:
    """The same bound for all elements at once: dv/dx_i |x_i|, summed over the elements of an input, is the op itself on
    the sizes of all inputs, and what that input's error does is the op with the error in the input's place."""

    def of(xs: Sequence[np.ndarray]) -> np.ndarray:
        return node.op.value(xs, node.params)

    sizes = [np.abs(x.data) for x in node.inputs]
    carried = sum([of([*sizes[:i], e[x], *sizes[i + 1 :]]) for i, x in enumerate(node.inputs) if np.any(e[x])])
    count = of([np.ones_like(x) for x in sizes])
    return carried + fresh(node.op.name, np.abs(node.data), len(sizes) * count, len(sizes) * of(sizes))


def fresh(name: str, value: Any, n: Any, terms: Any) -> Any:
    """What rounding adds, of numbers or arrays."""
    r = 0.0 if name in EXACT else EPS / 2.0 if name in ROUNDED else 4.0 * EPS
    if r == 0.0:
        return 0.0
    least = 1.0 if name in SHIFTED else 0.0
    if type(value) is type(terms) is float and value == value and terms == terms:
        return r * n * max(value, terms, least) + n * TINY  # which is what numpy finds in ten times the time
    return r * n * np.maximum(np.maximum(value, terms), least) + n * TINY


def close(a: Any, b: Any, bound: Any) -> bool:
    """Whether a and b are one number within twice the bound. Where there is no finite bound, NaN and infinities must
    be the same."""
    a, b, bound = (np.asarray(x, np.float64) for x in (a, b, bound))
    assert a.shape == b.shape == bound.shape, (a.shape, b.shape, bound.shape)
    with np.errstate(all="ignore"):
        ok = (np.abs(a - b) <= 2.0 * bound) | (a == b) | (np.isnan(a) & np.isnan(b))
    if not ok.all():
        at = np.unravel_index(np.argmin(ok), ok.shape)
        print(
            f"at {tuple(map(int, at))}: {a[at]!r} and {b[at]!r} are {abs(a[at] - b[at])!r} apart, "
            f"allowed {2 * bound[at]!r}"
        )
    return bool(ok.all())
