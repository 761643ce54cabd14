"""The arguments of a recorded step: which recording they belong to, and what the step gets in their place.

Arrays, tensors and floats are inputs, also in tuples, lists and dicts: they may differ from call to call. Anything else
is plain, and another value makes another recording.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import refuse
from ..storage import owner
from ..tensor import Tensor
from .guards import PLAIN

FEW = 8  # plain values of one argument


class Arguments:
    """The arguments of one call.

    key     equal for calls that one recording serves: structure, shapes, dtypes and layouts, plain values, and which
            arguments are one object or overlap
    leaves  the inputs, each with its name
    plain   the other values, each with its name
    """

    def __init__(self, names: Sequence[str], args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.args, self.named = args, named
        self.leaves: list[tuple[str, Any]] = []
        self.plain: list[tuple[str, Any]] = []
        self.first: dict[int, int] = {}  # by id, which leaf an object is first
        parts = [self.describe(x, names[min(i, len(names) - 1)]) for i, x in enumerate(args)]
        parts += [(name, self.describe(x, name)) for name, x in named.items()]
        self.overlaps = overlapping([x for x in self.arrays if x is not None])
        self.key = *parts, *self.overlaps

    @property
    def arrays(self) -> list[Any]:
        """The arrays among the inputs; None for a float."""
        return [x._data if isinstance(x, Tensor) else x if is_array(x) else None for _, x in self.leaves]

    @property
    def inputs(self) -> list[np.ndarray]:
        """The inputs as arrays."""
        pairs = zip(self.arrays, self.leaves, strict=True)
        return [np.asarray(x) if array is None else array for array, (_, x) in pairs]

    def describe(self, x: Any, name: str) -> Any:
        """What of `x` belongs to the key."""
        kind = type(x)
        if isinstance(x, (np.ndarray, Tensor)):
            same = self.first.setdefault(id(x), len(self.leaves))
            self.leaves.append((name, x))
            more = (x.requires_grad, x.op is None) if isinstance(x, Tensor) else ()
            array = x._data if isinstance(x, Tensor) else x
            return kind, array.shape, array.dtype, array.strides, same, *more
        if isinstance(x, (float, np.floating)):
            self.leaves.append((name, x))
            return kind
        if is_structure(x):
            items = x.items() if kind is dict else enumerate(x)
            parts = tuple((type(key), key, self.describe(part, f"{name}[{key!r}]")) for key, part in items)
            return kind, parts
        self.plain.append((name, x))
        return kind, value_of(x)

    def rebuild(self, given: Iterator[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with what is given in place of the inputs."""
        return [put(x, given) for x in self.args], {name: put(x, given) for name, x in self.named.items()}


def put(x: Any, given: Iterator[Any]) -> Any:
    """x with what is given in place of the inputs in it."""
    if isinstance(x, (np.ndarray, Tensor, float, np.floating)):
        return next(given)
    if not is_structure(x):
        return x
    if isinstance(x, dict):
        return {key: put(part, given) for key, part in x.items()}
    parts = [put(part, given) for part in x]
    return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)


def is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def is_structure(x: Any) -> bool:
    """Whether x is a tuple, also with names, a list or a dict."""
    return type(x) in (tuple, list, dict) or (isinstance(x, tuple) and hasattr(x, "_fields"))


def value_of(x: Any) -> Any:
    """What stands for a plain value in a key: text for numbers and the like, else which object it is."""
    return repr(x) if isinstance(x, PLAIN) else id(x)


def overlapping(arrays: list[np.ndarray]) -> tuple[tuple[int, int], ...]:
    """Which pairs of arrays share memory."""
    pairs = itertools.combinations(range(len(arrays)), 2)
    owners = [owner(x) for x in arrays]
    return tuple((i, j) for i, j in pairs if owners[i] is owners[j] and np.may_share_memory(arrays[i], arrays[j]))


class Values:
    """The plain values that each argument had: a few, or it should be an array."""

    def __init__(self) -> None:
        self.of: dict[str, set[Any]] = {}

    def add(self, plain: list[tuple[str, Any]]) -> None:
        """Raises RecordingError for one value too many."""
        for name, x in plain:
            values = self.of.setdefault(name, set())
            values.add((type(x), value_of(x)))
            if len(values) > FEW:
                values.discard((type(x), value_of(x)))
                refuse(
                    f"take {x!r} for its argument {name!r}, which had {FEW} other values, each with a recording",
                    "pass what changes from call to call as a float or an array",
                )


Rebuild = Callable[[Iterator[Any]], Any]
