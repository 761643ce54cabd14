"""Functions of functions: gradients, products with Jacobians and Hessians, and the whole matrices.

Each takes a function `f` of tensors that returns a tensor, and where to differentiate it: `x`, an array or a tensor for
`f(x)`, or a list or tuple of them for `f(*x)`; then the derivatives come as a list, too. They are arrays, or with
`create_graph` tensors, to be differentiated again. Nobody's `.grad` changes, and `no_grad` has no effect here.

    value_and_grad, vjp      one backward pass
    jvp                      J v is the derivative of u^T J by u, times v: a pass through the graph of a pass
    hvp                      the derivative of the gradient times v, in the same way
    jacobian                 a pass for each element of the result, or if they are far fewer, of x
    hessian                  a pass for each element of x, through the graph of the gradient

Each raises TypeError where `f` returns no tensor, and ValueError where shapes do not fit, naming both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import ops
from .autodiff import grad, mode, topological_order
from .op import Op
from .random import find_generators
from .tensor import Tensor

Function = Callable[..., Any]


@contextmanager
def with_graph() -> Iterator[None]:
    """Inside, ops build a graph, also where the caller wants none."""
    before, mode.graph = mode.graph, True
    try:
        yield
    finally:
        mode.graph = before


def leaf(x: Any, create_graph: bool = False) -> Tensor:
    """A tensor to differentiate by: a new one around the same array, or x itself where a graph is to go on from it."""
    return x if create_graph and isinstance(x, Tensor) and x.requires_grad else Tensor(x)


def leaves(x: Any, create_graph: bool) -> list[Tensor]:
    return [leaf(part, create_graph) for part in (x if isinstance(x, (list, tuple)) else [x])]


def like(x: Any, results: Sequence[Any]) -> Any:
    """A list of results if x is a list or tuple, else the one result."""
    return list(results) if isinstance(x, (list, tuple)) else results[0]


def output(f: Function, xs: Sequence[Any], where: str, single: bool = False) -> Tensor:
    """f(*xs), a tensor, of a single element where that is wanted."""
    out = f(*xs)
    if not isinstance(out, Tensor):
        raise TypeError(f"{where}: expected a function that returns a tensor, got {type(out).__name__}")
    if single and out.size != 1:
        raise ValueError(f"{where}: expected a function that returns one element, got shape {out.shape}")
    return out


def plain(out: Tensor, create_graph: bool) -> Any:
    """A result as it is handed out."""
    return out if create_graph else out.peek()


def fitting(v: Any, xs: Sequence[Tensor], several: bool, where: str) -> list[Any]:
    """v, an array for each x, of its shape."""
    vs = list(v) if several else [v]
    if [np.shape(part) for part in vs] != [x.shape for x in xs]:
        wanted = " and ".join(str(x.shape) for x in xs)
        raise ValueError(f"{where}: expected v of shape {wanted}, got {' and '.join(str(np.shape(p)) for p in vs)}")
    return vs


def dot(xs: Sequence[Any], vs: Sequence[Any]) -> Any:
    """The sum of all products of elements."""
    return functools.reduce(ops.add, [ops.sum(ops.multiply(x, v)) for x, v in zip(xs, vs, strict=True)])


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """A function of the same arguments that returns the value of `f`, an array of one element, and its gradient by
    argument number `argnums`, or by each of several."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        numbers = [argnums] if isinstance(argnums, int) else list(argnums)
        with with_graph():
            given = [leaf(x) if i in numbers else x for i, x in enumerate(args)]
            out = output(functools.partial(f, **kwargs), given, "value_and_grad", single=True)
            slopes = grad(out, [given[i] for i in numbers])
        return plain(out, False), slopes[0] if isinstance(argnums, int) else slopes

    return call


def vjp(f: Function, x: Any, v: Any, create_graph: bool = False) -> tuple[Any, Any]:
    """The value of `f`, and v^T J: the gradient of the sum of v f(x), where v has the shape of f(x)."""
    with with_graph():
        xs = leaves(x, create_graph)
        out = output(f, xs, "vjp")
        (v,) = fitting(v, [out], False, "vjp")
        return plain(out, create_graph), like(x, grad(out, xs, create_graph, v))


def jvp(f: Function, x: Any, v: Any, create_graph: bool = False) -> tuple[Any, Any]:
    """The value of `f`, and J v: the derivative of f along v, where v has the shape of x."""
    with with_graph():
        xs = leaves(x, create_graph)
        vs = fitting(v, xs, isinstance(x, (list, tuple)), "jvp")
        out = output(f, xs, "jvp")
        u = Tensor(np.zeros(out.shape, out.dtype))
        rows = grad(out, xs, create_graph=True, gradient=u)  # linear in u, so it is all the same where u is
        return plain(out, create_graph), grad(dot(rows, vs), u, create_graph)


def hvp(f: Function, x: Any, v: Any, create_graph: bool = False) -> tuple[Any, Any]:
    """The value of `f`, a single element, and H v: the derivative of its gradient along v, of the shape of x."""
    with with_graph():
        xs = leaves(x, create_graph)
        vs = fitting(v, xs, isinstance(x, (list, tuple)), "hvp")
        out = output(f, xs, "hvp", single=True)
        slopes = grad(out, xs, create_graph=True)
        return plain(out, create_graph), like(x, grad(dot(slopes, vs), xs, create_graph))


def units(x: Any) -> Iterator[np.ndarray]:
    """For each element of x an array of its shape, 1 there and 0 elsewhere."""
    return (row.reshape(x.shape) for row in np.eye(x.size, dtype=x.dtype))


def matrix(rows: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """Derivatives, one for each element of a result, as one array of `shape`."""
    return ops.reshape(ops.stack(rows), shape) if rows else np.zeros(shape, dtype)


def jacobian(f: Function, x: Any, create_graph: bool = False) -> Any:
    """The derivative of each element of f(x) by each element of x, an array of shape f(x).shape + x.shape."""
    with with_graph():
        xs = leaves(x, create_graph)
        out = output(f, xs, "jacobian")
        if len(xs) == 1 and 2 * xs[0].size < out.size:
            u = Tensor(np.zeros(out.shape, out.dtype))
            row = grad(out, xs[0], create_graph=True, gradient=u)
            columns = matrix([grad(row, u, create_graph, e) for e in units(xs[0])], xs[0].shape + out.shape, out.dtype)
            n, k = xs[0].ndim, out.ndim
            return like(x, [ops.transpose(columns, (*range(n, n + k), *range(n)))])
        rows = [grad(out, xs, create_graph, e) for e in units(out)]
        return like(x, [matrix([row[i] for row in rows], out.shape + p.shape, p.dtype) for i, p in enumerate(xs)])


def hessian(f: Function, x: Any, create_graph: bool = False) -> Any:
    """The second derivatives of `f`, a single element, an array of shape x.shape + x.shape; of several x a list of
    lists, by each x and each other."""
    with with_graph():
        xs = leaves(x, create_graph)
        slopes = grad(output(f, xs, "hessian", single=True), xs, create_graph=True)
        blocks = []
        for slope in slopes:
            rows = [grad(slope, xs, create_graph, e) for e in units(slope)]
            blocks.append(
                like(x, [matrix([r[i] for r in rows], slope.shape + p.shape, p.dtype) for i, p in enumerate(xs)])
            )
        return like(x, blocks)


def per_sample_grads(f: Function, parameters: Sequence[Tensor], *batch: Any) -> list[Any]:
    """The gradient of `f` for each sample by itself: for each parameter an array of shape (samples, *p.shape).

    `f` takes a batch of arrays, of a single sample each (1, ...), and returns one element. It runs once a sample.
    """
    lengths = {len(x) for x in batch}
    if len(lengths) != 1:
        raise ValueError(f"per_sample_grads: expected arrays of one length, got {sorted(lengths)}")
    with with_graph():
        rows = [
            grad(output(f, [x[i : i + 1] for x in batch], "per_sample_grads", single=True), list(parameters))
            for i in range(*lengths)
        ]
    return [matrix([row[i] for row in rows], (len(rows), *p.shape), p.dtype) for i, p in enumerate(parameters)]


# --- less memory for more time ----------------------------------------------------------------------------------------


def remat(f: Function) -> Function:
    """A function with the value and the derivatives of `f` that keeps nothing of what lies between: the backward pass
    runs `f` again (Chen et al., 2016, "Training deep nets with sublinear memory cost").

    `f` takes tensors and arrays and returns a tensor. Tensors that it finds outside, such as a layer's parameters, get
    their gradients. Generators of random numbers give it the same numbers twice. What else it changes outside, it
    changes twice. In a recorded step the passes find that the second run is the first: right, but no memory is saved.
    """

    @functools.wraps(f, updated=())
    def call(*args: Any) -> Tensor:
        args = tuple([x.copy() if isinstance(x, np.ndarray) else x for x in args])  # as they are now
        segment = Segment(f, args)
        inputs = [*segment.inputs, *segment.outside]
        return Tensor.apply(segment.op, inputs) if inputs else Tensor.constant(segment.value)

    return call


class Segment:
    """A run of `f` whose graph is not kept: its value, and what to run again.

    inputs   the tensors among the arguments
    outside  the leaves that `f` found elsewhere
    """

    def __init__(self, f: Function, args: tuple[Any, ...]) -> None:
        self.f, self.args = f, args
        self.inputs = [x for x in args if isinstance(x, Tensor)]
        self.generators = find_generators([f, args])
        self.stands = [rng.bit_generator.state for rng in self.generators]
        cut = {Tensor(x, x.label, x.requires_grad): None for x in self.inputs}  # in order
        with with_graph():
            out = self.run([*cut])
        if self.stands != [rng.bit_generator.state for rng in self.generators]:
            mode.store.refuse("draw the same random numbers twice", "call the function without remat, or outside")
        self.value = out.peek()
        nodes = topological_order(out) if out.requires_grad else []
        self.outside = [x for x in nodes if not x.op and x.requires_grad and x not in cut]

    def run(self, inputs: Sequence[Tensor]) -> Tensor:
        """f, with `inputs` in the place of the tensors among the arguments."""
        given = iter(inputs)
        return output(self.f, [next(given) if isinstance(x, Tensor) else x for x in self.args], "remat")

    @property
    def op(self) -> Op:
        """What stands for the run in a graph."""

        def remat(*xs: Any) -> Any:
            return self.value

        return Op(remat, [lambda g, xs: self.slopes(g, xs)])

    def slopes(self, g: Any, xs: Sequence[Any]) -> list[Any]:
        """The gradients by all inputs: f runs again, from where the generators stood."""
        nodes = hasattr(xs[0], "op")
        inputs = list(xs[: len(self.inputs)])
        now = [rng.bit_generator.state for rng in self.generators]
        try:
            stand(self.generators, self.stands)
            with with_graph():
                inputs = inputs if nodes else [Tensor(x) for x in inputs]
                return grad(self.run(inputs), [*inputs, *self.outside], nodes, g)
        finally:
            stand(self.generators, now)


def stand(generators: Sequence[np.random.Generator], states: Sequence[Any]) -> None:
    """Put generators where they stood."""
    for rng, state in zip(generators, states, strict=True):
        rng.bit_generator.state = state
