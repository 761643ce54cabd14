"""Matrix products: the sizes that BLAS, the library under numpy's product, works best with, and which threads share."""

from __future__ import annotations

import functools
import math
import operator
import threading
from typing import Any, NamedTuple

import numpy as np

from . import threads
from .blas import Moving, ProductsAtOnce, blas_threads, routine, takes
from .threads import Autotuner, autotuner_for, machine_cores, parallel_for

SMALL, LARGE = 1_000_000, 32_000_000  # multiply-adds: up to which a product is small, from which on it is large
WAKE = 1_500_000  # multiply-adds of 4 bytes that the caller gets done until a worker is awake
SHARED = 8_000_000  # the same, from which on a worker saves more time than it takes to wake it
PART = 1_500_000  # multiply-adds that one of BLAS's own threads takes: they spin, so that less is worth it
TOO_SMALL = 1_000_000  # multiply-adds of a product that OpenBLAS, to 0.3.31, cannot compute as one of several


def tiled(x: Any, y: Any) -> Any:
    """The product of tiles of rows (t, n, k) and (k, m), as one matrix (t n, m)."""
    shape = (x.shape[0] * x.shape[1], y.shape[1])
    if type(x) is not np.ndarray:  # an array of a recording: the program cuts the product itself
        return np.reshape(np.matmul(x, y), shape)
    out = np.empty(shape, np.result_type(x, y))
    shared_matmul(x, y, out.reshape(*x.shape[:2], -1))
    return out


def row_tiles(x: Any, y: Any) -> int:
    """Into how many tiles of rows, of at least four each, to cut the product of (n, k) and (k, m).

    BLAS multiplies small matrices where they lie, larger ones it packs first. Where it does the small ones at once, a
    product is faster in such pieces by a tenth to a third, up to a size and as long as y lies row by row in a cache of
    1 MB; where x lies column by column, only for a short k. Else one for each thread that may take part.
    """
    (n, k), m = x.shape, y.shape[1]
    if n < 8:
        return 1
    total, size = n * k * m, y.dtype.itemsize
    fits = y.strides[1] == size and k * m * size <= 2**20 and (x.strides[1] == size or k <= 128)
    if SMALL < total < LARGE and fits and small_products_at_once():
        least = -(-total // SMALL)
    else:
        least = thread_count(x, y)
    return 1 if least == 1 else next((t for t in range(least, n // 4 + 1) if n % t == 0), 1)


def work(x: Any, y: Any) -> int:
    """The multiply-adds of a product of matrices, or of stacks of them, in units of 4 bytes. It takes as long to
    multiply a few columns, or to add up a few products, as 16 of them."""
    columns = -(-x.shape[-1] // 16) * -(-y.shape[-1] // 16) * 256
    return math.prod(x.shape[:-1]) * columns * x.dtype.itemsize // 4


def thread_count(x: Any, y: Any) -> int:
    """How many threads may be done with a product earlier than fewer: of all that the machine has, whoever may use
    them, so that the same product is cut in the same way each time.
    """
    return min(machine_cores(), work(x, y) // SHARED + 1)


def parts_for(threads: int, size: int, total: int) -> list[slice]:
    """A part for each thread of what is cut into `size` pieces and takes `total` multiply-adds. The caller's is the
    last and the largest: it takes a while to wake the others."""
    each = max(1, round(size * (1 - WAKE / total) / threads))
    ends = [*range(0, each * threads, each), size]
    return [*map(slice, ends, ends[1:])]


def helpers_for(total: int, parts: int, *size: Any) -> int:
    """How many other threads share a product of `total` multiply-adds in so many parts. Whether that is quicker is
    measured now and then, for each `size`."""
    helpers = min(threads.threads - 1, total // SHARED, parts - 1)
    if helpers < 1 or threads.turn.locked():
        return 0
    return helpers if autotuner_for(threading.get_ident(), *size, helpers).advice() else 0


def parts_at_once(x: Any, y: Any) -> int:
    """In how many parts BLAS's own threads compute a product of matrices (n, k) and (k, m), if there is a function for
    that: 1 for all that is small."""
    return max(1, min(machine_cores(), math.prod(x.shape) * y.shape[1] // PART)) if has_batches(y.dtype) else 1


def has_batches(dtype: np.dtype[Any]) -> bool:
    """Whether BLAS computes several products of a dtype at one time, on as many threads as it is told to."""
    return routine("gemm_batch", dtype) is not None and blas_threads() is not None


def shared_matmul(x: Any, y: Any, out: Any) -> Any:
    """np.matmul of a stack x (t, n, k) and y (k, m) or (t, k, m), which the threads share where that is quicker: those
    of BLAS, or workers.

    Each computes some of the t products, whole, so that their number changes nothing in the results.
    """
    batch = batch_for(threading.get_ident(), *layout(x), *layout(y), *layout(out))
    if batch is not None:
        helpers = min(threads.threads - 1, len(x) - 1)
        if helpers and not threads.turn.locked() and batch.autotuner.advice():
            batch.products(helpers, x, y, out)
            if math.isfinite(np.vdot(out, out)):
                return out
        return np.matmul(x, y, out=out)  # which says what is too large a number
    total = work(x, y)
    helpers = helpers_for(total, len(x), x.shape, x.strides, y.shape, y.strides)
    if not helpers:
        return np.matmul(x, y, out=out)
    tiles = parts_for(helpers + 1, len(x), total)

    def part(i: int) -> None:
        np.matmul(x[tiles[i]], y if y.ndim == 2 else y[tiles[i]], out=out[tiles[i]])

    parallel_for(part, len(tiles), helpers)
    return out


class Layout(NamedTuple):
    """How an array lies in memory."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]


layout = operator.attrgetter(*Layout._fields)


class Batch(NamedTuple):
    """The products of a stack, for BLAS's threads at one time, and whether that is quicker."""

    products: ProductsAtOnce
    autotuner: Autotuner


@functools.lru_cache(maxsize=1024)
def batch_for(thread: int, *layouts: Any) -> Batch | None:
    """The batch of one Python thread for a stack, a matrix or stack, and results of these layouts; None where BLAS's
    threads cannot share them, or it is not worth while."""
    x, y, out = (Layout(*layouts[i : i + 3]) for i in (0, 3, 6))
    if not shared_by_blas(x, y, out):
        return None
    of_y = (lambda i: lambda y: y[i]) if len(y.shape) == 3 else (lambda i: lambda y: y)
    products = [
        (Moving(0, operator.itemgetter(i)), Moving(1, of_y(i)), Moving(2, operator.itemgetter(i)))
        for i in range(x.shape[0])
    ]
    return Batch(ProductsAtOnce(None, products), Autotuner())


def shared_by_blas(x: Any, y: Any, out: Any) -> bool:
    """Whether BLAS's threads can share the products of a stack (t, n, k) and (k, m) or (t, k, m), and it is worth it:
    arrays, or their layouts."""
    (t, n, k), m = x.shape, y.shape[-1]
    able = t > 1 and y.shape[:-2] in ((), (t,)) and has_batches(y.dtype) and takes(x, y, out)
    return able and n * k * m > TOO_SMALL and thread_count(x, y) > 1


@functools.cache
def small_products_at_once() -> bool:
    """Whether BLAS multiplies small matrices at once, without packing them and without a second thread: OpenBLAS does
    in its kernels for AVX-512.
    """
    from threadpoolctl import threadpool_info

    kernels = {library.get("architecture") for library in threadpool_info() if library["user_api"] == "blas"}
    return bool(kernels & {"SkylakeX", "Cooperlake", "SapphireRapids"})
