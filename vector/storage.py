"""Was an array changed between the forward and the backward pass? Arrays can be written to without a word.

A result's memory is known to the engine alone until somebody asks for it by `.data`; then it is copied once, as it was.
The memory of a tensor made of somebody's array is copied where a derivative will read it. So a change is found by
comparing contents, never missed and never suspected, and where nobody outside has an array nothing is copied. A plain
array in an expression counts as it was, like a plain number: there the copy takes its place.

`Tensor.memory` is None for memory that others may write to; else a list, shared by all tensors that look at the same
memory: empty, or with the copy. A mark is what a node keeps of a tensor that its derivatives read: its place among
the inputs and the result, and its array and `memory` while the engine is alone with it, else its bytes, with shape and
dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Mark = tuple[int, Any, Any]


def memory_of(result: np.ndarray, inputs: Sequence[Any]) -> list[Any] | None:
    """The `memory` of an op's result that is a view: that of the input it looks at, if it is one of these."""
    base = owner(result)
    return next((x.memory for x in inputs if owner(x._data) is base), None)


def owner(array: Any) -> Any:
    """The array that holds the memory that `array` looks at."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def reveal(tensor: Any) -> None:
    """From now on others may write to the tensor's memory: copy it, for those who look back."""
    if not tensor.memory:
        tensor.memory.append(owner(tensor._data).flatten("K"))
    tensor.memory = None


def marks(places: Sequence[int], nodes: Sequence[Any], inputs: Sequence[Any]) -> list[Mark]:
    """What there is to keep of the arrays of the nodes at `places` (an op's inputs and result) in order to see later
    whether they changed. What `inputs` has as a plain array is a constant of ours: it gets memory of its own."""
    kept: list[Mark] = []
    for i in places:
        x = nodes[i]
        if x.memory is None and i < len(inputs) and x is not inputs[i]:
            x._data, x.memory = x._data.copy("K"), []
        array, memory = x._data, x.memory
        kept.append(
            (i, array.tobytes(), (array.shape, array.dtype)) if memory or memory is None else (i, array, memory)
        )
    return kept


def unchanged(x: Any, then: Any, more: Any) -> bool:
    """Whether the array of a tensor is as it was when it was marked."""
    now = x._data
    if type(then) is bytes:
        if (now.shape, now.dtype) == more and now.tobytes() == then:
            return True
        shape, dtype = more
        then = np.ndarray(shape, dtype, then)
    elif more:  # look at the copy as `then` looks at the memory
        start = address(then) - address(owner(then))
        then = np.ndarray(then.shape, then.dtype, more[0], start, then.strides)
    return same(then, now)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same bits, but for the kind of a NaN."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    bits = f"i{a.itemsize}"
    return bool(((a.view(bits) == b.view(bits)) | ((a != a) & (b != b))).all())


class Epoch:
    """A count of the changes to what recorded steps read without being told: attributes of layers and optimizers, a
    tensor's array and `requires_grad`. A replay compares one integer."""

    now = 0


epoch = Epoch()


def invalidate() -> None:
    """Make every recorded step evaluate its guards at its next call."""
    epoch.now += 1


class Guarded:
    """A layer or an optimizer: setting or deleting an attribute invalidates recorded steps."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self.__dict__:  # else it is a property
            invalidate()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        invalidate()
