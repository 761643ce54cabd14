"""What BLAS, the library under numpy's matrix product, works best with: memory, sizes, threads."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector instruction
LOCK = threading.Lock()
blocks: list[Any] = []  # of `blas_threads` being run, in all Python threads
before: list[Any] = []  # for each of them, what BLAS is to be set back to when it ends as the newest
SMALL, THREADED = 1_000_000, 32_000_000  # multiply-adds: up to which a product is small, from which on it is large


def allocate(size: int) -> np.ndarray:
    """`size` bytes, rounded up to the alignment and aligned to it."""
    size = max(1, -(-size // ALIGNMENT)) * ALIGNMENT
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


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


@functools.cache
def small_products_at_once() -> bool:
    """Whether BLAS multiplies small matrices at once, without packing them and without a second thread: OpenBLAS does
    in its kernels for AVX-512.
    """
    from threadpoolctl import threadpool_info

    kernels = {library.get("architecture") for library in threadpool_info() if library["user_api"] == "blas"}
    return bool(kernels & {"SkylakeX", "Cooperlake", "SapphireRapids"})


def threads_for(multiply_adds: int) -> int | None:
    """How many threads suit a training step whose largest matrix product has so many multiply-adds: 1, or None for
    all. With less to do than that, the other cores win less than they lose in waiting and in fetching what one core
    wrote, and on a busy machine waiting threads make a step many times slower.
    """
    return 1 if multiply_adds < THREADED else None


@contextmanager
def blas_threads(threads: int | None) -> Iterator[None]:
    """Inside, BLAS uses so many threads (None: as many as before); afterwards as many as before. The number is the
    whole process's: of blocks in several Python threads the newest decides, and the last to end puts it back.
    """
    if threads is None:
        yield
        return
    from threadpoolctl import threadpool_limits  # only when asked for: it looks through all loaded libraries

    block = object()
    with LOCK:
        before.append(threadpool_limits(threads, user_api="blas"))
        blocks.append(block)
    try:
        yield
    finally:
        with LOCK:
            i = blocks.index(block)
            del blocks[i]
            if i == len(blocks):
                before.pop().restore_original_limits()
            else:
                del before[i + 1]  # the next block has what was before this one before itself
