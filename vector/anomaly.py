"""Where do NaN and infinity come from? The first op that makes one of finite arrays is named."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import autodiff
from .autodiff import mode
from .errors import users_line

LOCK = threading.Lock()
within = 0  # how many blocks are being run, in all threads


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside, the first op whose value, or whose derivative in a backward pass, is NaN or infinite although all it was
    computed from is finite raises FloatingPointError: it names the op, the line that made it, and where in its arrays.

    numpy's warnings are silent inside. Everything runs several times slower there, and recorded steps run as Python;
    outside nothing is looked at. Raises RecordingError inside a recorded step.
    """
    global within
    mode.store.refuse("look for anomalies", "call the recorded step inside detect_anomaly()")
    before, mode.check = mode.check, check
    with LOCK:
        within += 1
        autodiff.observer = observe
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        mode.check = before
        with LOCK:
            within -= 1
            autodiff.observer = observe if within else None


def observe(node: Any, op: Any, inputs: Sequence[Any]) -> None:
    """Look at a new node, and remember the line that made it."""
    if mode.check is not None:
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
    return bool(np.isfinite(plain(x)).all())


def plain(x: Any) -> np.ndarray:
    return x._data if hasattr(x, "op") else x


def shown(x: Any) -> str:
    """A number; of an array its shape, and what is not finite and where, or its range."""
    array = plain(x)
    if not array.ndim:
        return repr(float(array))
    bad = np.argwhere(~np.isfinite(array))
    shape = f"shape {array.shape}"
    if not array.size:
        return shape
    if not len(bad):
        return f"{float(array.min())!r} to {float(array.max())!r}, {shape}"
    at = tuple(bad[0].tolist())
    more = f" and {len(bad) - 1} more of {array.size} elements" if len(bad) > 1 else ""
    return f"{float(array[at])!r} at {list(at)}{more}, {shape}"


def named(x: Any, i: int) -> str:
    return f"input {i}{f', {x.label!r}' if x.label else ''}"


def listed(inputs: Sequence[Any], most: int = 8) -> str:
    parts = [f"{named(x, i)} = {shown(x)}" for i, x in enumerate(inputs[:most])]
    return "; ".join([*parts, *([f"and {len(inputs) - most} more"] if len(inputs) > most else [])])
