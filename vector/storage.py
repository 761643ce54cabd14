"""The one door to arrays: how tensors read, write and keep them.

`mode.store` is always set. `Eager`, below, works on the arrays as they are. While a step is recorded its place is taken
by a tracer with the same methods, whose arrays write down what is done to them. Nothing else in the engine knows.

Arrays can be written to without a word, so `Eager` sees to it that a derivative reads what the forward pass read. A
result's memory is known to the engine alone until somebody asks for it by `.data`; then it is copied once, as it was.
The memory of a tensor made of somebody's array is copied where a derivative will read it. So a change is found by
comparing contents, never missed and never suspected, and where nobody outside has an array nothing is copied. A plain
array in an expression counts as it was, like a plain number: there the copy takes its place.

`Tensor.memory` is None for memory that others may write to; else a list, shared by all tensors that view the same
memory: empty, or with the copy. A saved value is what a node keeps of a tensor that its derivatives read: its place
among the inputs and the result, and its array and `memory` while the engine is alone with it, else its bytes, with
shape and dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .epoch import invalidate
from .op import Op, Settings, array

Saved = tuple[int, Any, Any]


class Eager:
    """Arrays as they are."""

    def lift(self, x: Any) -> Any:
        """An array from outside, as a tensor holds it."""
        return np.asarray(x)

    def constant(self, x: Any) -> Any:
        """An array or number that nobody changes, as a tensor holds it."""
        return np.asarray(x)

    def value(self, op: Op, nodes: Sequence[Any], settings: Settings | None) -> Any:
        """The op's value."""
        data = op.value([x._data for x in nodes], settings)
        return data if type(data) is np.ndarray else np.asarray(data)

    def memory(self, result: Any, inputs: Sequence[Any]) -> list[Any] | None:
        """The `memory` of an op's result: its own, or where it is a view, that of the input it views."""
        if result.base is None:
            return []
        base = owner(result)
        return next((x.memory for x in inputs if owner(x._data) is base), None)

    def read(self, tensor: Any) -> Any:
        """The tensor's array, for who does not write to it."""
        return tensor._data

    def expose(self, tensor: Any) -> Any:
        """The tensor's array, for who may write to it: from now on it is copied, for those who look back."""
        if tensor.memory is not None:
            if not tensor.memory:
                tensor.memory.append(owner(tensor._data).flatten("K"))
            tensor.memory = None
        return tensor._data

    def write(self, tensor: Any, new: Any) -> None:
        """`tensor.data = new`: another array takes its place; after `tensor.data -= x` it is the same one."""
        before, tensor.memory = tensor._data, None
        tensor._data = np.asarray(array(new, "Tensor.data"))
        if tensor._data is not before:
            invalidate()

    def wants_gradient(self, tensor: Any) -> bool:
        """`tensor.requires_grad`, for who decides by it."""
        return tensor._requires_grad

    def gradient(self, tensor: Any) -> Any:
        """`tensor.grad`: zeros where there is none yet."""
        if tensor._grad is None:
            tensor._grad = np.zeros_like(tensor._data)
        elif isinstance(tensor._grad, str):
            raise RuntimeError(f"{tensor.label or 'Tensor'}.grad is {tensor._grad}; return it from the step to see it")
        return tensor._grad

    def set_gradient(self, tensor: Any, new: Any) -> None:
        """`tensor.grad = new`: an array, a number for all elements, or None for zeros."""
        plain = new is not None and not hasattr(new, "dtype")
        tensor._grad = np.full(tensor.shape, new, tensor.dtype) if plain else new

    def accumulate(self, tensor: Any, g: Any) -> None:
        """Add g, an array that nobody else holds, to the tensor's gradient."""
        tensor._grad = g if tensor._grad is None else self.gradient(tensor) + g

    def keep(self, settings: Settings | None) -> Settings | None:
        """An op's settings, as its derivatives will read them: arrays are copied, since somebody may fill them anew."""
        return {name: copied(x) for name, x in settings.items()} if settings else settings

    def save(self, places: Sequence[int], nodes: Sequence[Any], inputs: Sequence[Any]) -> list[Saved]:
        """What there is to keep of the arrays of the nodes at `places` (an op's inputs and result) in order to see
        later whether they changed. What `inputs` has as a plain array is a constant of ours: it gets its own memory."""
        saved: list[Saved] = []
        for i in places:
            x = nodes[i]
            if x.memory is None and i < len(inputs) and x is not inputs[i]:
                x._data, x.memory = x._data.copy("K"), []
            data, memory = x._data, x.memory
            alone = memory is not None and not memory
            saved.append((i, data, memory) if alone else (i, data.tobytes(), (data.shape, data.dtype)))
        return saved

    def unchanged(self, tensor: Any, then: Any, more: Any) -> bool:
        """Whether the array of a tensor is as it was when it was saved."""
        now = tensor._data
        if type(then) is bytes:
            if (now.shape, now.dtype) == more and now.tobytes() == then:
                return True
            shape, dtype = more
            then = np.ndarray(shape, dtype, then)
        elif more:  # view the copy as `then` views the memory
            start = address(then) - address(owner(then))
            then = np.ndarray(then.shape, then.dtype, more[0], start, then.strides)
        return same(then, now)

    def random(self, rng: np.random.Generator, draw: str, args: tuple[Any, ...], named: Settings) -> Any:
        """What the generator's method of that name draws."""
        return getattr(rng, draw)(*args, **named)

    def text(self, array: Any) -> str:
        """The numbers of a tensor's array, to print."""
        return np.array2string(array, separator=", ", prefix="Tensor(", threshold=100)

    def refuse(self, what: str, instead: str = "") -> None:
        """Nothing is refused here that only a recorded step cannot do."""


EAGER = Eager()


def copied(x: Any) -> Any:
    """A setting of an op, with copies of the arrays in it."""
    if isinstance(x, np.ndarray):
        return x.copy("K")
    return type(x)(map(copied, x)) if type(x) in (tuple, list) else x


def owner(array: Any) -> Any:
    """The array that holds the memory that `array` views."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def address(array: np.ndarray) -> int:
    """Where in memory an array begins."""
    return array.__array_interface__["data"][0]


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same bits, but for the kind of a NaN."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    bits = f"i{a.itemsize}"
    return bool(((a.view(bits) == b.view(bits)) | ((a != a) & (b != b))).all())
