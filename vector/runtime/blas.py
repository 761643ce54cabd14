"""What BLAS can do and numpy cannot say: add a product to an array that is there, without one for the product.

W - x @ g is one call of gemm with beta = 1 (Dongarra, Du Croz, Hammarling and Duff, 1990): W is read and written once,
while the product is computed. The library is the one that numpy itself multiplies with.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROWS, PLAIN, TRANSPOSED = 101, 111, 112  # of C's interface to BLAS
LETTERS = {np.dtype(np.float32): ("s", ctypes.c_float), np.dtype(np.float64): ("d", ctypes.c_double)}


@functools.cache
def gemm(dtype: np.dtype[Any]) -> Callable[..., None] | None:
    """C <- alpha A B + beta C of numpy's own OpenBLAS, for arrays of a dtype; None where that is not to be found, or
    another library is there instead."""
    library = numpys_library()
    letter, number = LETTERS.get(dtype, ("", None))
    for prefix, suffix in itertools.product(("scipy_", ""), ("64_", "_64", "")) if library and letter else ():
        found = getattr(library, f"{prefix}cblas_{letter}gemm{suffix}", None)
        if found is not None:
            size, place = ctypes.c_int64 if suffix else ctypes.c_int, ctypes.c_void_p
            flags, sizes = [ctypes.c_int] * 3, [size] * 3
            found.argtypes = [*flags, *sizes, number, place, size, place, size, number, place, size]
            found.restype = None
            return found
    return None


def numpys_library() -> ctypes.CDLL | None:
    """The OpenBLAS that numpy has loaded: of several the one in numpy's own folder."""
    from threadpoolctl import ThreadpoolController  # only when asked for: it looks through all loaded libraries

    found = [Path(x.filepath) for x in ThreadpoolController().lib_controllers if x.internal_api == "openblas"]
    folder = Path(np.__file__).parent
    own = [x for x in found if folder in x.parents or folder.parent / "numpy.libs" in x.parents]
    paths = own or found
    return ctypes.CDLL(str(paths[0])) if len(paths) == 1 else None


def has_gemm(*arrays: Any) -> bool:
    """Whether gemm takes these matrices, or stacks: of one dtype, each with rows or columns that lie without gaps."""
    return len({x.dtype for x in arrays}) == 1 and all(map(leading, arrays)) and gemm(arrays[0].dtype) is not None


def leading(x: Any) -> tuple[int, int] | None:
    """How a matrix (n, m) lies, for BLAS: by rows or, transposed, by columns, and the elements from one to the next."""
    (n, m), (down, along), size = x.shape[-2:], x.strides[-2:], x.dtype.itemsize
    if (along == size or m == 1) and down % size == 0 and (down >= m * size or n == 1):
        return PLAIN, max(down // size, m, 1)
    if (down == size or n == 1) and along % size == 0 and (along >= n * size or m == 1):
        return TRANSPOSED, max(along // size, n, 1)
    return None


class ProductUpdate:
    """w + x @ y, or with sign -1 w - x @ y, of matrices x (n, k), y (k, m) and w (n, m), computed in the memory of w.
    Of stacks (t, n, k), (k, m) and (t, n, m), too.

    fixed  whether the arrays are the same at each call, so that what BLAS is told about them can be held
    """

    def __init__(self, sign: float, fixed: bool) -> None:
        self.sign, self.fixed = sign, fixed
        self.__name__ = "add_product" if sign > 0 else "subtract_product"
        self.held: dict[tuple[int, int, int], tuple[Any, ...]] = {}

    def __call__(self, w: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        function, calls, _ = self.held.get((id(x), id(y), id(out))) or self.prepare(x, y, out)
        for arguments in calls:
            function(*arguments)
        return out

    def prepare(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> tuple[Any, ...]:
        """A function, what to call it with for each matrix of a stack, and the arrays to which that points."""
        call = gemm(out.dtype), [*self.arguments(x, y, out)], (x, y, out)
        if self.fixed:
            self.held[id(x), id(y), id(out)] = call
        return call

    def arguments(self, *arrays: np.ndarray) -> Iterator[tuple[Any, ...]]:
        """What gemm is told: layouts, sizes, and where the matrices lie. Raises ValueError for gaps in these."""
        layouts: list[Any] = [*map(leading, arrays)]
        if None in layouts:
            strides = [x.strides for x in arrays]
            raise ValueError(f"{self.__name__}: expected rows or columns without gaps, got strides {strides}")
        (turned_x, step_x), (turned_y, step_y), (_, step) = layouts
        x, y, place = (array.__array_interface__["data"][0] for array in arrays)
        factor, _, out = arrays
        head = ROWS, turned_x, turned_y, *out.shape[-2:], factor.shape[-1], self.sign
        yield *head, x, step_x, y, step_y, 1.0, place, step
        for _ in range(1, len(out) if out.ndim == 3 else 1):
            x, place = x + factor.strides[0], place + out.strides[0]
            yield *head, x, step_x, y, step_y, 1.0, place, step
