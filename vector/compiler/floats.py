"""Float arguments of a recorded step: inputs, so that a new value needs no new recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..errors import refuse
from .ir import replace
from .trace import TracedArray


class TracedFloat(TracedArray):
    """A Python float that differs from call to call. Like any Python float it takes the dtype of the array that it
    meets; with plain numbers it makes another such float."""

    __slots__ = ()
    __class__ = property(lambda self: float)  # what the step is given where it takes floats

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(hasattr(x, "op") for x in inputs):
            return NotImplemented  # for the tensor among them, which makes a node
        return super().__array_ufunc__(ufunc, method, *strong(inputs), **kwargs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = strong((args, kwargs))
        arrays = [x for x in leaves((args, kwargs)) if isinstance(x, TracedArray)]
        return arrays[0].__array_function__(function, types, args, kwargs)

    def array(self, dtype: Any) -> TracedArray:
        """The number as an array of a dtype."""
        if self.dtype == dtype:
            return TracedArray(self.tracer, self._var, self.value, number=True)
        return self.tracer.cast(self, np.dtype(dtype))

    def __bool__(self) -> NoReturn:
        refuse("branch on a float argument", "use vector.where, or pass a bool, an int or a str for what chooses")

    def __float__(self) -> NoReturn:
        refuse("turn a float argument, which may change, into a plain number", "pass an int or a str for what stays")

    def __format__(self, spec: str) -> NoReturn:
        self.__float__()

    __int__ = __index__ = __round__ = __trunc__ = __floor__ = __ceil__ = __float__


def strong(structure: Any) -> Any:
    """Arguments of a numpy function with floats as arrays of the dtype that they take there."""
    dtypes = [x.dtype for x in leaves(structure) if hasattr(x, "dtype") and not isinstance(x, TracedFloat)]
    dtype = np.result_type(*dtypes, 0.0)
    return replace(structure, lambda x: x.array(dtype) if isinstance(x, TracedFloat) else x)


def leaves(structure: Any) -> list[Any]:
    found: list[Any] = []
    replace(structure, found.append)
    return found


def arithmetic(name: str) -> Callable[..., Any]:
    """An operator that gives a float again where it meets no array."""
    operation = getattr(TracedArray, name)

    def apply(self: TracedFloat, *others: Any) -> Any:
        result = operation(self, *others)
        plain = all(isinstance(x, (int, float, TracedFloat)) and not isinstance(x, np.generic) for x in others)
        return TracedFloat(self.tracer, result._var, result.value, True) if plain else result

    return apply


def rounded_otherwise(name: str) -> Callable[..., Any]:
    """An operator that Python rounds in another way than numpy."""
    operation = getattr(TracedArray, name)

    def apply(self: TracedFloat, other: Any) -> Any:
        if isinstance(other, (int, float, TracedFloat)) and not isinstance(other, np.generic):
            refuse(f"compute {name.strip('_')} of a float argument and a number", "compute it outside of the step")
        return operation(self, other)

    return apply


for _name in ("add", "sub", "mul", "truediv"):
    for _side in ("", "r"):
        setattr(TracedFloat, f"__{_side}{_name}__", arithmetic(f"__{_side}{_name}__"))
    setattr(TracedFloat, f"__i{_name}__", arithmetic(f"__{_name}__"))  # a new one, as with Python's floats
for _name in ("neg", "pos", "abs"):
    setattr(TracedFloat, f"__{_name}__", arithmetic(f"__{_name}__"))
for _name in ("pow", "mod", "floordiv", "divmod"):
    for _side in ("", "r"):
        setattr(TracedFloat, f"__{_side}{_name}__", rounded_otherwise(f"__{_side}{_name}__"))
    if _name != "divmod":
        setattr(TracedFloat, f"__i{_name}__", rounded_otherwise(f"__{_name}__"))
