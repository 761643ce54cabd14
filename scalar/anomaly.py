"""Where do NaN and infinity come from? The first op that makes one of finite numbers is named."""

from __future__ import annotations

import linecache
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .autodiff import other_mode


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside, the first op whose value, or whose derivative in a backward pass, is NaN or infinite although all it was
    computed from is finite raises FloatingPointError: it names the op, the line that made it, and its numbers.

    numpy's warnings are silent inside. Everything runs several times slower there; outside nothing is looked at.
    """
    with np.errstate(all="ignore"), other_mode(observe=observe, check=check):
        yield


def observe(node: Any, op: Any, inputs: Sequence[Any]) -> None:
    """Look at a new node, and remember the line that made it."""
    node.line = users_line()
    if not finite(node) and all(map(finite, inputs)):
        raise FloatingPointError(f"{node.line}: {op.name} is {shown(node)} for finite inputs: {listed(inputs)}")


def check(node: Any, g: Any, contributions: Sequence[Any], gradients: dict[Any, Any]) -> None:
    """Look at what a node hands on to its inputs, and at what it makes of the `gradients` that they have already."""
    fine = all(map(finite, (g, node, *node.inputs)))
    sums: dict[Any, Any] = {}
    for i, (x, c) in enumerate(zip(node.inputs, contributions, strict=True)):
        if not x.requires_grad:
            continue
        line = getattr(node, "line", "made before detect_anomaly")
        if fine and not finite(c):
            raise FloatingPointError(
                f"{line}: the derivative of {node.op.name} by {named(x, i)} is {shown(c)} for finite inputs: "
                f"{listed(node.inputs)}, value {shown(node)}, gradient {shown(g)}"
            )
        so_far = sums.get(x, gradients.get(x))
        sums[x] = c if so_far is None else so_far + c
        if so_far is not None and finite(so_far) and finite(c) and not finite(sums[x]):
            raise FloatingPointError(
                f"{line}: the gradients of {named(x, i)} of {node.op.name} add up to {shown(sums[x])}: "
                f"{shown(so_far)} and {shown(c)}"
            )


def finite(x: Any) -> bool:
    return math.isfinite(plain(x))


def plain(x: Any) -> float:
    return x.data if hasattr(x, "op") else x


def shown(x: Any) -> str:
    """A number."""
    return repr(plain(x))


def named(x: Any, i: int) -> str:
    return f"input {i}{f', {x.label!r}' if x.label else ''}"


def listed(inputs: Sequence[Any], most: int = 8) -> str:
    parts = [f"{named(x, i)} = {shown(x)}" for i, x in enumerate(inputs[:most])]
    return "; ".join([*parts, *([f"and {len(inputs) - most} more"] if len(inputs) > most else [])])


HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep


def users_line() -> str:
    """File, number and text of the innermost line that is neither ours nor numpy's."""
    frame = sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith((HERE, NUMPY)):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{os.path.basename(file)}:{number}: `{linecache.getline(file, number).strip()}`"
