"""Memory as BLAS reads it best: aligned, and side by side."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector instruction


def allocate(size: int) -> np.ndarray:
    """`size` bytes, rounded up to the alignment and aligned to it."""
    size = max(1, -(-size // ALIGNMENT)) * ALIGNMENT
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


# glibc gives each freed block of more than 128 KB back to the system, which then takes longer to give it anew, page by
# page, than to fill it: until one of up to 32 MB is freed. From then on it keeps such blocks (mallopt(3)).
np.empty(2**25 - 2**16, np.uint8)

HELD = 2**24  # bytes that a thread keeps for one use
held = threading.local()


def scratch(use: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of arbitrary numbers in the memory that this thread keeps for a `use`, until the next call for the same
    use. Fresh memory of a megabyte takes the system longer to give than to fill."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size > HELD:
        return np.empty(shape, dtype)
    kept: dict[str, np.ndarray] = held.__dict__
    if use not in kept or kept[use].nbytes < size:
        kept[use] = allocate(size)
    return np.ndarray(shape, dtype, kept[use])


def copy_runs(to: np.ndarray, x: np.ndarray) -> None:
    """np.copyto of the same shape and dtype, where the last axis is short: a run along it is copied as one item, if it
    lies without gaps in both, which takes half the time that numpy's loop over its elements takes."""
    size = x.itemsize
    if x.size and x.strides[-1] == to.strides[-1] == size:
        run = np.dtype((np.void, x.shape[-1] * size))
        to, x = to.view(run), x.view(run)
    np.copyto(to, x)


def aligned(x: Any) -> np.ndarray:
    """A copy of x, aligned. numpy's own arrays begin 16 bytes after a cache line when they are large: vector loads
    that straddle two lines make a product of matrices up to a third slower where BLAS reads them without packing.
    """
    return side_by_side([x])[0]


def side_by_side(arrays: Iterable[Any]) -> list[np.ndarray]:
    """Copies of arrays, each aligned, one after the other in memory: what is done to all can be done at once."""
    arrays = [np.asarray(x) for x in arrays]
    ends = list(accumulate(-(-x.nbytes // ALIGNMENT) * ALIGNMENT for x in arrays))
    block = allocate(ends[-1] if ends else 0)
    starts = [0, *ends]
    copies = [np.ndarray(x.shape, x.dtype, block, start) for x, start in zip(arrays, starts, strict=False)]
    for copy, x in zip(copies, arrays, strict=True):
        copy[...] = x
    return copies
