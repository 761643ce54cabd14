"""From `vector` to `scalar`: the numbers behind one element of a tensor, as a small graph of Values.

>>> import vector
>>> x = vector.Tensor([[1.0, 2.0, 3.0]], "x", requires_grad=False)
>>> W = vector.Tensor([[0.5], [-1.0], [0.1]], "W")
>>> h = zoom(vector.tanh(x @ W), (0, 0), largest=2)
>>> from viz import formula
>>> print(formula(h).text)
L = tanh(sum([x[0,1] * W[1,0], x[0,0] * W[0,0], 1 other]))
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from viz.nodes import apply_rules, arity, evaluate, gradient, in_order, is_constant, variables

__all__ = ["zoom"]


class Element(NamedTuple):
    """A number in a tensor, and the number of matrix products to look through behind it."""

    tensor: Any
    at: int  # in the flattened tensor
    layers: int


def zoom(tensor: Any, index: Any = (), *, largest: int = 8, layers: int | None = None) -> Any:
    """Build the graph of Values behind `tensor[index]`, to draw, step through and play.

    Elementwise ops become the scalar ops of the same name; ops that only move elements vanish. Of a sum with
    many terms, such as a matrix product, the `largest` contributions become nodes; the others are added up into one
    constant, labelled with their number, so that the total is that of the tensor. The arithmetic is in float64: numbers
    agree with the tensor's to its precision. Where a backward pass has reached `tensor`, the nodes carry the gradients
    of their elements; `backward()` of the result adds to those of the leaves, as ever.

    Args:
        tensor: A node of `vector`.
        index: Which element: an integer, or a tuple of them; nothing for a tensor of one element.
        largest: How many terms of a long sum to keep.
        layers: How many matrix products to look through; elements behind them are leaves. None for all.

    Raises:
        TypeError: `tensor` is not a tensor.
        ValueError: `index` does not name one element, or an op on the way has no scalar counterpart.
    """
    if not isinstance(getattr(tensor, "data", None), np.ndarray) or not hasattr(tensor, "op"):
        raise TypeError(f"zoom: expected a tensor, got {type(tensor).__name__}")
    index = index if isinstance(index, tuple) else (index,)
    if tensor.data.size == 1 and index == ():
        index = (0,) * tensor.data.ndim
    try:
        at = int(
            np.ravel_multi_index([i + n * (i < 0) for i, n in zip(index, tensor.shape, strict=True)], tensor.shape)
        )
    except (ValueError, TypeError):
        raise ValueError(f"zoom: expected the index of one element of shape {tensor.shape}, got {index}") from None
    builder = _Builder(largest, carries=bool(np.any(gradient(tensor))))
    root = builder.build(Element(tensor, at, 10**9 if layers is None else layers))
    if builder.carries:
        _pass_on(root, builder.known)
    return root


class _Builder:
    """Makes Values of elements, inputs first, without recursion.

    The recipe of an element is a generator: it yields the elements that it needs, is sent their Values, and returns
    its own.
    """

    def __init__(self, largest: int, carries: bool) -> None:
        import scalar  # here, so that drawing needs no engine

        self.scalar, self.largest, self.carries = scalar, largest, carries
        self.made: dict[tuple[int, int, int], Any] = {}
        self.known: set[int] = set()  # the ids of Values that stand for an element, and have its gradient
        self.names = variables()

    def build(self, element: Element) -> Any:
        stack = [(element, self.recipe(element), None)]
        while stack:
            element, recipe, answer = stack.pop()
            try:
                wanted = recipe.send(answer)
            except StopIteration as done:
                self.made[_key(element)] = self.carrying(done.value, element)
                if stack:
                    stack[-1] = (*stack[-1][:2], done.value)
                continue
            if _key(wanted) in self.made:
                stack.append((element, recipe, self.made[_key(wanted)]))
            else:
                stack += [(element, recipe, None), (wanted, self.recipe(wanted), None)]
        return self.made[_key(element)]

    def recipe(self, element: Element) -> Generator[Element, Any, Any]:
        """Yield the elements that this one needs; return its Value."""
        tensor, at, layers = element
        if tensor.op is None or (tensor.op.name == "matmul" and layers < 1):
            return self.leaf(element)
        name, xs, params = tensor.op.name, tensor.inputs, tensor.params or {}
        where = np.unravel_index(at, tensor.shape)
        moved = _moved_from(tensor, at)
        if moved is not None:
            value = yield Element(*moved, layers)
            return value
        if len(xs) == arity(tensor.op) == arity(self.scalar.ops.OPS.get(name)):
            inputs: list[Any] = []
            for x in xs:
                inputs.append((yield Element(x, _broadcast_from(x, where), layers)))
            plain = {key: _setting_at(value, where, tensor.shape) for key, value in params.items()}
            value = self.scalar.Value.apply(self.scalar.ops.OPS[name], inputs, plain or None)
        elif name == "matmul":
            value = yield from self.product(element, where)
        elif name in ("sum", "mean", "max", "min", "logsumexp"):
            value = yield from self.reduction(name, xs[0], _reduced_by(tensor, at), layers)
        elif name in ("softmax", "log_softmax"):
            row = _row(xs[0], where, params["axis"])
            total = yield from self.reduction("logsumexp", xs[0], row, layers)
            value = (yield Element(xs[0], at, layers)) - total
            value = value if name == "log_softmax" else self.scalar.exp(value)
        elif name == "cross_entropy":
            value = yield from self.cross_entropy(xs[0], params["hot"], layers)
        else:
            raise ValueError(f"zoom: expected ops with a scalar counterpart on the way, got {name}")
        return self.labelled(value, element)

    def product(self, element: Element, where: Any) -> Generator[Element, Any, Any]:
        """x1 y1 + ... + xk yk: the largest products as nodes."""
        tensor, _, layers = element
        x, y = tensor.inputs
        *batch, row, column = where
        rows = [_broadcast_from(x, (*batch, row, k)) for k in range(x.shape[-1])]
        columns = [_broadcast_from(y, (*batch, k, column)) for k in range(x.shape[-1])]
        terms = x.data.ravel()[rows].astype(np.float64) * y.data.ravel()[columns].astype(np.float64)
        kept, others = self.choose(np.abs(terms))
        products = []
        for k in kept:
            left = yield Element(x, rows[k], layers - 1)
            right = yield Element(y, columns[k], layers - 1)
            products.append(left * right)
        if len(others):
            products.append(self.others(float(np.sum(terms[others])), others))
        return products[0] if len(products) == 1 else self.scalar.sum(products)

    def reduction(self, name: str, x: Any, members: Any, layers: int) -> Generator[Element, Any, Any]:
        """An op over many elements: the most important become nodes."""
        data = x.data.ravel()[members].astype(np.float64)
        importance = {"sum": np.abs(data), "mean": np.abs(data), "min": -data}.get(name, data)
        kept, others = self.choose(importance)
        values = []
        for k in kept:
            values.append((yield Element(x, int(members[k]), layers)))
        rest: dict[str, Callable[[Any], Any]] = {"max": np.max, "min": np.min, "logsumexp": np.logaddexp.reduce}
        if len(others):
            values.append(self.others(float(rest.get(name, np.sum)(data[others])), others))
        if name == "mean":
            return self.scalar.sum(values) / len(members)
        return getattr(self.scalar, name)(values)

    def cross_entropy(self, x: Any, hot: Any, layers: int) -> Generator[Element, Any, Any]:
        """The mean over rows of logsumexp(row) - x_true."""
        losses = []
        for row, true in enumerate(np.argmax(hot, axis=-1)):
            total = yield from self.reduction("logsumexp", x, _row(x, (row, 0), -1), layers)
            losses.append(total - (yield Element(x, int(row * x.shape[-1] + true), layers)))
        return losses[0] if len(losses) == 1 else self.scalar.mean(losses)

    def choose(self, importance: Any) -> tuple[Sequence[int], Sequence[int]]:
        """The terms to keep, the most important first, and the others."""
        order = [int(k) for k in np.argsort(-importance, kind="stable")]
        return order[: self.largest], order[self.largest :]

    def others(self, value: float, which: Sequence[int]) -> Any:
        label = f"{len(which)} other{'s' * (len(which) > 1)}"
        return self.scalar.Value(value, label, requires_grad=False)

    def leaf(self, element: Element) -> Any:
        value = float(element.tensor.data.ravel()[element.at])
        return self.scalar.Value(value, self.name(element), requires_grad=element.tensor.requires_grad)

    def labelled(self, value: Any, element: Element) -> Any:
        value.label = value.label or self.name(element)
        return value

    def carrying(self, value: Any, element: Element) -> Any:
        """The Value with the gradient of its element, if there is one."""
        grad = gradient(element.tensor) if self.carries else None
        if grad is not None and value.requires_grad and id(value) not in self.known:
            value.grad = float(grad.ravel()[element.at])
            self.known.add(id(value))
        return value

    def name(self, element: Element) -> str:
        """W[3,5]; the only element of a tensor goes by the tensor's label, or that of the variable which holds it."""
        tensor, at, _ = element
        label = tensor.label or self.names.get(id(tensor), "")
        if not label or tensor.data.size == 1:
            return label
        return f"{label}[{','.join(str(i) for i in np.unravel_index(at, tensor.shape))}]"


def _pass_on(root: Any, known: set[int]) -> None:
    """Give gradients to the Values that stand for no element, such as the products in a matrix product: from the one
    Value that each is made for."""
    nodes: list[Any] = in_order([root])
    for node in reversed(nodes):
        if node.op is None or all(id(x) in known or is_constant(x) for x in node.inputs):
            continue
        xs, needed = [x.data for x in node.inputs], [not (is_constant(x) or id(x) in known) for x in node.inputs]
        for x, amount in zip(
            node.inputs, apply_rules(node.op, node.grad, node.data, xs, node.params, needed), strict=True
        ):
            if amount is not None:
                x.grad += amount


def _key(element: Element) -> tuple[int, int, int]:
    return id(element.tensor), element.at, element.layers


def _broadcast_from(x: Any, where: Sequence[Any]) -> int:
    """The element of `x` that broadcasting puts at `where`."""
    own = tuple(where)[len(where) - len(x.shape) :] if len(x.shape) else ()
    return (
        int(np.ravel_multi_index([i if n > 1 else 0 for i, n in zip(own, x.shape, strict=True)], x.shape)) if own else 0
    )


def _setting_at(setting: Any, where: Any, shape: Any) -> Any:
    """A setting of an elementwise op at one element."""
    return np.broadcast_to(setting, shape)[where].item() if isinstance(setting, np.ndarray) else setting


def _moved_from(tensor: Any, at: int) -> tuple[Any, int] | None:
    """The element that an op which only moves elements put here, found by moving their numbers; None for other ops."""
    name, xs = tensor.op.name, tensor.inputs
    if name == "cast":
        return xs[0], at
    if name not in ("reshape", "transpose", "broadcast_to", "index", "concatenate"):
        return None
    ends = np.cumsum([0, *(x.data.size for x in xs)])
    places = [np.arange(ends[i], ends[i + 1]).reshape(x.shape) for i, x in enumerate(xs)]
    place = int(np.ravel(evaluate(tensor.op, places, tensor.params))[at])
    i = int(np.searchsorted(ends, place, side="right")) - 1
    return xs[i], place - int(ends[i])


def _reduced_by(tensor: Any, at: int) -> Any:
    """The elements that a reduction reduced to this one."""
    x, axis = tensor.inputs[0], (tensor.params or {}).get("axis")
    kept = np.zeros(x.shape, bool).any(axis=axis, keepdims=True).shape
    places = np.broadcast_to(np.arange(tensor.data.size).reshape(kept), x.shape)
    return np.flatnonzero(places == at)


def _row(x: Any, where: Any, axis: int) -> Any:
    """The elements of `x` along an axis through `where`."""
    key: list[Any] = list(where)
    key[axis] = slice(None)
    return np.arange(x.data.size).reshape(x.shape)[tuple(key)]
