"""How many threads BLAS, the library under numpy's matrix product, may use."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager


@functools.cache
def small_products_at_once() -> bool:
    """Whether BLAS multiplies matrices at once, without packing them and without a second thread, up to 1,000,000
    multiply-adds: OpenBLAS does in its kernels for AVX-512.
    """
    from threadpoolctl import threadpool_info

    kernels = {library.get("architecture") for library in threadpool_info() if library["user_api"] == "blas"}
    return bool(kernels & {"SkylakeX", "Cooperlake", "SapphireRapids"})


def threads_for(multiply_adds: int) -> int | None:
    """How many threads suit a training step whose largest matrix product has so many multiply-adds: 1, or None for
    all. Below 32 million the other cores win less than they lose in waiting and in fetching what one core wrote, and
    on a busy machine waiting threads make a step many times slower.
    """
    return 1 if multiply_adds < 32_000_000 else None


@contextmanager
def blas_threads(threads: int | None) -> Iterator[None]:
    """Inside, BLAS uses so many threads (None: as many as before); afterwards as many as before."""
    if threads is None:
        yield
        return
    from threadpoolctl import threadpool_limits  # only when asked for: it looks through all loaded libraries

    with threadpool_limits(threads, user_api="blas"):
        yield
