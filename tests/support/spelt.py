"""vector's ops spelt out in scalar's Values: an array is a numpy array of Values, and every op works number by number.

The same lines of Python run on `vector` and here, which is how the tests compare the two on arrays:

    from vector import *; node = Tensor
    from spelt import *
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from judging import ROWS, elementwise, sequence_ops

import scalar


def node(data: Any) -> np.ndarray:
    """An array of Values."""
    return boxed([scalar.Value(x) for x in np.ravel(data).tolist()], np.shape(data))


def boxed(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out.reshape(shape)


def number_by_number(op: Callable[..., Any]) -> Callable[..., np.ndarray]:
    def call(*xs: Any, **params: Any) -> np.ndarray:
        rows = np.broadcast_arrays(*(np.asarray(x, object) for x in xs))
        return boxed(
            [op(*row, **params) for row in zip(*(r.ravel().tolist() for r in rows), strict=True)], rows[0].shape
        )

    return call


def row_by_row(op: Callable[..., Any]) -> Callable[..., np.ndarray]:
    def call(x: np.ndarray, axis: int | None = None) -> np.ndarray:
        rows = x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
        results = [op(row.tolist()) for row in rows]
        if not isinstance(results[0], list):
            return boxed(results, () if axis is None else tuple(np.delete(x.shape, axis).tolist()))
        moved = np.moveaxis(x, axis, -1)
        return np.moveaxis(boxed([r for row in results for r in row], moved.shape), -1, axis)

    return call


globals().update({name: number_by_number(getattr(scalar, name)) for name in elementwise() if name != "where"})
globals().update({name: row_by_row(getattr(scalar, name)) for name in (*sequence_ops(), *ROWS)})


def where(condition: Any, x: Any, y: Any) -> np.ndarray:
    return number_by_number(lambda c, *xy: scalar.where(bool(c), *xy))(condition, x, y)


def dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return boxed([scalar.dot(x.tolist(), y.tolist())], ())


def matmul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return boxed([scalar.dot(row.tolist(), column.tolist()) for row in x for column in y.T], (len(x), y.shape[1]))


def grad(
    output: np.ndarray, inputs: Sequence[np.ndarray], create_graph: bool = False, gradient: Any = None
) -> list[np.ndarray]:
    numbers = [v for x in inputs for v in x.ravel().tolist()]
    slopes = iter(scalar.grad(output.item(), numbers, create_graph, None if gradient is None else gradient.item()))
    return [boxed([next(slopes) for _ in range(x.size)], x.shape) for x in inputs]
