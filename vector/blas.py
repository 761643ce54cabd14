"""How many threads BLAS, the library under numpy's matrix product, may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def blas_threads(threads: int | None) -> Iterator[None]:
    """Inside, BLAS uses so many threads (None: as many as before); afterwards as many as before."""
    if threads is None:
        yield
        return
    from threadpoolctl import threadpool_limits  # only when asked for: it looks through all loaded libraries

    with threadpool_limits(threads, user_api="blas"):
        yield
