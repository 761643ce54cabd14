"""Parameters that a model holds where nobody finds them: they would be used and never trained."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autodiff import topological_order
from ..epoch import Guarded
from ..held import CONTAINERS, held, slots
from ..op import Op
from ..random import GENERATORS
from ..tensor import Tensor

EMPTY = (types.ModuleType, type, Op, np.ndarray, np.generic, np.dtype, *GENERATORS, str, bytes, int, float, complex)


def check_shown(layers: Sequence[Guarded], others: Sequence[tuple[Guarded, Any]], shown: set[int]) -> None:
    """Raises TypeError where parameters that are not among those with ids in `shown` are in the layers' classes, or in
    others of their parts, each given with the layer that holds it."""
    for layer in {type(x): x for x in layers}.values():
        if hidden(class_attributes(layer), shown) is not None:
            where = type(layer).__name__
            raise TypeError(f"Layer: expected parameters in attributes of the object, got some in the class {where}")
    for layer, x in others:
        ducktyped = callable(getattr(type(x), "parameters", None))
        ducktyped |= callable(x) and callable(getattr(type(x), "state", None))
        if not ducktyped and hidden(x, shown) is None:
            continue
        where = type(layer).__name__
        if isinstance(x, Tensor):
            raise TypeError(
                f"Layer: expected parameters that no op made, got a result of {name_of(x.op)} in {where}; "
                f"make a Tensor of the finished numbers"
            )
        raise TypeError(
            f"Layer: expected layers that show their parameters, got {name_of(x)} in {where}, which hides some; "
            f"make it a subclass of nn.Layer"
        )


def hidden(x: Any, shown: set[int]) -> Tensor | None:
    """A leaf that requires a gradient, which x holds or something in it was computed from, but from none of those with
    ids in `shown`; None if there is none. Searched are items, attributes and slots, and of functions the variables of
    enclosing functions, the globals that they name, defaults and arguments."""
    seen: dict[int, Any] = {}
    left = deque([x])
    while left:
        x = left.popleft()
        if x is None or id(x) in seen or isinstance(x, EMPTY):
            continue
        seen[id(x)] = x
        if not isinstance(x, Tensor):
            left += held(x)
        elif x.requires_grad:
            leaves = [node for node in topological_order(x) if node.op is None and node.requires_grad]
            if leaves and not any(id(node) in shown for node in leaves):
                return leaves[0]
    return None


def class_attributes(layer: Guarded) -> list[Any]:
    """What the classes of a layer hold, but functions, and what is in their slots."""
    values = [value for kind in type(layer).__mro__ for value in vars(kind).values()]
    return [*slots(layer), *(value for value in values if isinstance(value, (Tensor, Guarded, dict, *CONTAINERS)))]


def name_of(function: Any) -> str:
    """What a function is called, or the class of what else can be called."""
    return str(getattr(function, "__name__", None) or getattr(function, "name", type(function).__name__))
