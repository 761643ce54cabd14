"""Derivatives against differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .autodiff import grad


def gradcheck(f: Callable[..., Any], inputs: Sequence[Any], rtol: float = 1e-4) -> bool:
    """Compare the gradient of `f(*inputs)` with central differences, (f(x + h) - f(x - h)) / 2h, for every element.

    `f` takes nodes and returns one; the elements of its value are weighed by fixed, distinct weights and summed. The
    step h = eps^(1/3) max(1, |x|) balances truncation, O(h^2), against rounding, O(eps |f| / h). Returns True. Raises
    ValueError naming the element and both numbers where they differ by more than `rtol` times the larger of them plus
    what rounding can do to the difference; TypeError for inputs that are not float64.
    """
    if not isinstance(inputs, Sequence):
        raise TypeError(f"gradcheck: expected a list of the inputs of f, got {type(inputs).__name__}")
    for x in inputs:
        if not hasattr(x, "requires_grad"):
            raise TypeError(f"gradcheck: expected nodes to differentiate by, got {type(x).__name__}")
        if x.dtype != np.float64:
            raise TypeError(f"gradcheck: expected float64, which differences need, got {x.dtype}")
    output = f(*inputs)
    weights = 1.0 + np.sin(np.arange(output.size)).reshape(output.shape) / 2.0  # a single one is 1
    slopes = grad(ops.sum(output * weights), list(inputs))
    for i, (x, slope) in enumerate(zip(inputs, slopes, strict=True)):
        for at in np.ndindex(x.shape):
            before = float(x.data[at])
            h = 6e-6 * max(1.0, abs(before))
            try:
                x.data[at] = before + h
                above = float(np.sum(f(*inputs).data * weights))
                x.data[at] = before - h
                below = float(np.sum(f(*inputs).data * weights))
            finally:
                x.data[at] = before
            difference = (above - below) / (2.0 * h)
            allowed = rtol * max(abs(slope[at]), abs(difference)) + 1e-9 * (1.0 + abs(above) + abs(below))
            if not abs(slope[at] - difference) <= allowed:
                where = f"{i}{list(at) if at else ''}"
                raise ValueError(
                    f"gradcheck: input {where} = {before!r}: the backward pass gives {float(slope[at])!r}, "
                    f"central differences give {difference!r}"
                )
    return True
