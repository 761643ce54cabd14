"""Parameters that a model holds where nobody finds them: they would be used and never trained."""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..autodiff import topological_order
from ..epoch import Guarded
from ..op import Op
from ..random import GENERATORS
from ..tensor import Tensor

CONTAINERS = (list, tuple, set, frozenset, deque)
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


def held(x: Any) -> Iterator[Any]:
    """What an object or a function holds."""
    if isinstance(x, CONTAINERS):
        yield from x
    elif isinstance(x, dict):
        yield from x.values()
    elif isinstance(x, types.MethodType):
        yield from (x.__self__, x.__func__)
    elif isinstance(x, functools.partial):
        yield from (x.func, x.args, x.keywords)
    elif isinstance(x, types.FunctionType):
        yield from (x.__defaults__, x.__kwdefaults__)
        yield from (contents for cell in x.__closure__ or () if (contents := of_cell(cell)) is not None)
        yield from (x.__globals__[name] for name in names_in(x.__code__) if name in x.__globals__)
    yield from slots(x)
    attributes = getattr(x, "__dict__", None)
    yield attributes if isinstance(attributes, dict) else None


def class_attributes(layer: Guarded) -> list[Any]:
    """What the classes of a layer hold, but functions, and what is in their slots."""
    held = [value for kind in type(layer).__mro__ for value in vars(kind).values()]
    return [*slots(layer), *(value for value in held if isinstance(value, (Tensor, Guarded, dict, *CONTAINERS)))]


def slots(x: Any) -> Iterator[Any]:
    """What is in the slots that the classes of x name."""
    for kind in type(x).__mro__:
        for place in vars(kind).values() if "__slots__" in vars(kind) else ():
            if isinstance(place, types.MemberDescriptorType):
                try:
                    yield place.__get__(x)
                except AttributeError:  # not filled
                    continue


def names_in(code: types.CodeType) -> set[str]:
    """The names that a function's code, and that of the functions in it, looks up elsewhere."""
    inner = [names_in(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def of_cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None


def name_of(function: Any) -> str:
    """What a function is called, or the class of what else can be called."""
    return str(getattr(function, "__name__", None) or getattr(function, "name", type(function).__name__))
