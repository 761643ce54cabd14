"""What objects and functions hold: where parameters hide, and random generators."""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

CONTAINERS = (list, tuple, set, frozenset, deque)


def held(x: Any) -> Iterator[Any]:
    """What an object or a function holds."""
    if isinstance(x, CONTAINERS):
        yield from x
    elif isinstance(x, dict):
        yield from x.values()
    elif isinstance(x, (types.MethodType, types.BuiltinMethodType)):
        yield from (x.__self__, getattr(x, "__func__", None))
    elif isinstance(x, functools.partial):
        yield from (x.func, x.args, x.keywords)
    elif isinstance(x, types.FunctionType):
        yield from (x.__defaults__, x.__kwdefaults__)
        yield from (contents for cell in x.__closure__ or () if (contents := of_cell(cell)) is not None)
        yield from (x.__globals__[name] for name in names_in(x.__code__) if name in x.__globals__)
    yield from slots(x)
    attributes = getattr(x, "__dict__", None)
    yield attributes if isinstance(attributes, dict) else None


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
