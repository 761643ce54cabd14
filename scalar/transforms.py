"""Functions of functions: gradients, products with Jacobians and Hessians, and the whole matrices.

Each takes a function `f` of Values, and where to differentiate it: `x`, a number for `f(x)`, or a list or tuple of
numbers for `f(*x)`; then what belongs to x is a list, too. `f` returns a Value, or for Jacobians a list of them; then
what belongs to its value is a list. Derivatives are floats, or with `create_graph` nodes. Nobody's `.grad` changes, and
`no_grad` has no effect here.

    value_and_grad, vjp      one backward pass
    jvp                      J v is the derivative of u^T J by u, times v: a pass through the graph of a pass
    hvp                      the derivative of the gradient times v, in the same way
    jacobian, hessian        a pass for each row

Each raises TypeError where `f` returns no Value, and ValueError where lengths do not fit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .autodiff import grad, other_mode
from .ops import dot
from .value import Value

Function = Callable[..., Any]


def each(x: Any) -> list[Any]:
    """The parts of a list or tuple, or x alone."""
    return list(x) if isinstance(x, (list, tuple)) else [x]


def like(x: Any, results: list[Any]) -> Any:
    """A list of results if x is a list or tuple, else the one result."""
    return results if isinstance(x, (list, tuple)) else results[0]


def leaf(x: Any, create_graph: bool = False) -> Value:
    """A node to differentiate by: a new one, or x itself where a graph is to go on from it."""
    if isinstance(x, Value):
        return x if create_graph and x.requires_grad else Value(x.data, x.label)
    return Value(x)


def output(f: Function, xs: Sequence[Any], where: str, single: bool = True) -> Any:
    """f(*xs), a Value, or where that may be, a list of them."""
    out = f(*xs)
    found = [out] if single else each(out)
    for x in found:
        if not isinstance(x, Value):
            raise TypeError(f"{where}: expected a function that returns a Value, got {type(x).__name__}")
    return out


def fitting(v: Any, x: Any, where: str) -> list[Any]:
    """v, a number for each x."""
    if len(each(v)) != len(each(x)):
        raise ValueError(f"{where}: expected v of length {len(each(x))}, got {len(each(v))}")
    return each(v)


def numbers(out: Any, create_graph: bool) -> Any:
    """A result as it is handed out."""
    return out if create_graph else like(out, [x.data for x in each(out)])


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """A function of the same arguments that returns the value of `f` and its derivative by argument number `argnums`,
    or by each of several."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        wanted = [argnums] if isinstance(argnums, int) else list(argnums)
        with other_mode(graph=True):
            given = [leaf(x) if i in wanted else x for i, x in enumerate(args)]
            out = output(functools.partial(f, **kwargs), given, "value_and_grad")
            slopes = grad(out, [given[i] for i in wanted])
        return out.data, slopes[0] if isinstance(argnums, int) else slopes

    return call


def vjp(f: Function, x: Any, v: Any, create_graph: bool = False) -> tuple[Any, Any]:
    """The value of `f`, and v^T J: the derivatives of the sum of v f(x), with a number in v for each in f(x)."""
    with other_mode(graph=True):
        xs = [leaf(part, create_graph) for part in each(x)]
        out = output(f, xs, "vjp", single=False)
        total = dot(each(out), fitting(v, out, "vjp"))
        return numbers(out, create_graph), like(x, grad(total, xs, create_graph))


def jvp(f: Function, x: Any, v: Any, create_graph: bool = False) -> tuple[Any, Any]:
    """The value of `f`, and J v: the derivative of f along v, with a number in v for each x."""
    with other_mode(graph=True):
        xs = [leaf(part, create_graph) for part in each(x)]
        out = output(f, xs, "jvp", single=False)
        u = [Value(0.0) for _ in each(out)]
        rows = grad(dot(u, each(out)), xs, create_graph=True)  # linear in u, so it is all the same where u is
        along = dot(rows, fitting(v, x, "jvp"))
        return numbers(out, create_graph), like(out, grad(along, u, create_graph))


def hvp(f: Function, x: Any, v: Any, create_graph: bool = False) -> tuple[Any, Any]:
    """The value of `f`, and H v: the derivative of its gradient along v, with a number in v for each x."""
    with other_mode(graph=True):
        xs = [leaf(part, create_graph) for part in each(x)]
        out = output(f, xs, "hvp")
        along = dot(grad(out, xs, create_graph=True), fitting(v, x, "hvp"))
        return numbers(out, create_graph), like(x, grad(along, xs, create_graph))


def jacobian(f: Function, x: Any, create_graph: bool = False) -> Any:
    """The derivative of each number in f(x) by each x: a row for each number in f(x)."""
    with other_mode(graph=True):
        xs = [leaf(part, create_graph) for part in each(x)]
        out = output(f, xs, "jacobian", single=False)
        return like(out, [like(x, grad(y, xs, create_graph)) for y in each(out)])


def hessian(f: Function, x: Any, create_graph: bool = False) -> Any:
    """The second derivatives of `f`: a row for each x."""
    with other_mode(graph=True):
        xs = [leaf(part, create_graph) for part in each(x)]
        slopes = grad(output(f, xs, "hessian"), xs, create_graph=True)
        return like(x, [like(x, grad(slope, xs, create_graph)) for slope in slopes])
