"""What BLAS can do and numpy cannot say: add a product to an array that is there, and compute several products at once.

W - x @ g is one call of gemm with beta = 1 (Dongarra, Du Croz, Hammarling and Duff, 1990), or of ger for a column and
a row: W is read and written once, while the product is computed. Several products are one call of gemm_batch, each
computed by one thread of BLAS's own. The library is the one that numpy itself calls.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.lib.array_utils import byte_bounds

from . import threads

ROWS, PLAIN, TRANSPOSED = 101, 111, 112  # of C's interface to BLAS
FLAG, PLACE = ctypes.c_int, ctypes.c_void_p
LETTERS = {np.dtype(np.float32): ("s", ctypes.c_float), np.dtype(np.float64): ("d", ctypes.c_double)}


@functools.cache
def routine(name: str, dtype: np.dtype[Any]) -> Callable[..., None] | None:
    """`gemm`, C <- alpha A B + beta C, `ger`, A <- alpha x y^T + A, or `gemm_batch`, many of the first, of numpy's own
    OpenBLAS, for arrays of a dtype. None where that is not to be found, or another library is there instead."""
    letter, number = LETTERS.get(dtype, ("", None))
    found, size = function(f"cblas_{letter}{name}") if letter else (None, None)
    if found is not None:
        array: list[Any] = [PLACE, size]
        found.argtypes, found.restype = (
            {
                "gemm": [*[FLAG] * 3, *[size] * 3, number, *array * 2, number, *array],
                "ger": [FLAG, size, size, number, *array * 3],
                "gemm_batch": [FLAG, *[PLACE] * 13, size, PLACE],
            }[name],
            None,
        )
    return found


@functools.cache
def blas_threads() -> Callable[[int], None] | None:
    """The function that sets how many threads numpy's OpenBLAS has from now on; None where it is not to be found."""
    found, _ = function("openblas_set_num_threads")
    if found is not None:
        found.argtypes, found.restype = [ctypes.c_int], None
    return found


def function(name: str) -> tuple[Any, Any]:
    """A function of numpy's own OpenBLAS, under one of the names that it goes by, and the type of its sizes."""
    library = numpys_library()
    for prefix, suffix in itertools.product(("scipy_", ""), ("64_", "_64", "")) if library else ():
        found = getattr(library, f"{prefix}{name}{suffix}", None)
        if found is not None:
            return found, ctypes.c_int64 if suffix else ctypes.c_int
    return None, None


@functools.cache
def numpys_library() -> ctypes.CDLL | None:
    """The OpenBLAS that numpy has loaded: of several the one in numpy's own folder."""
    from threadpoolctl import ThreadpoolController  # only when asked for: it looks through all loaded libraries

    found = [Path(x.filepath) for x in ThreadpoolController().lib_controllers if x.internal_api == "openblas"]
    folder = Path(np.__file__).parent
    own = [x for x in found if folder in x.parents or folder.parent / "numpy.libs" in x.parents]
    paths = own or found
    return ctypes.CDLL(str(paths[0])) if len(paths) == 1 else None


def takes(*arrays: Any) -> bool:
    """Whether BLAS takes these matrices, or stacks: of one dtype, each with rows or columns that lie without gaps."""
    alike = len({x.dtype for x in arrays}) == 1 and all(map(leading, arrays))
    return alike and routine("gemm", arrays[0].dtype) is not None


def leading(x: Any) -> tuple[int, int] | None:
    """How a matrix (n, m) lies, for BLAS: by rows or, transposed, by columns, and the elements from one to the next."""
    (n, m), (down, along), size = x.shape[-2:], x.strides[-2:], x.dtype.itemsize
    if (along == size or m == 1) and down % size == 0 and (down >= m * size or n == 1):
        return PLAIN, max(down // size, m, 1)
    if (down == size or n == 1) and along % size == 0 and (along >= n * size or m == 1):
        return TRANSPOSED, max(along // size, n, 1)
    return None


class Held(NamedTuple):
    """What an update of one array by one factor is, for every other factor of the same layout.

    calls    for each matrix of a stack: the arguments before the place of that factor, how many bytes behind its begin
             the matrix lies, and the arguments after it
    strides  of that factor
    reach    the bytes from its begin to its end
    begin, end  of the array
    arrays   to which the arguments point
    """

    function: Any
    calls: list[tuple[tuple[Any, ...], int, tuple[Any, ...]]]
    strides: tuple[int, ...]
    reach: int
    begin: int
    end: int
    arrays: tuple[np.ndarray, np.ndarray]


class ProductUpdate:
    """w + x @ y, or with sign -1 w - x @ y, of matrices x (n, k), y (k, m) and w (n, m), computed in the memory of w.
    Of stacks (t, n, k), (k, m) and (t, n, m), too.

    y and w are the same arrays at each call, so that what BLAS is told about them is held; so is x if it is `fixed`.
    Any other x may lie in the memory of w.
    """

    def __init__(self, sign: float, fixed: bool) -> None:
        self.sign, self.fixed = sign, fixed
        self.__name__ = "add_product" if sign > 0 else "subtract_product"
        self.held: dict[tuple[int, int], Held] = {}
        self.places: dict[int, tuple[int, np.ndarray]] = {}  # of each x that is fixed

    def __call__(self, w: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        held = self.held.get((id(y), id(out)))
        if held is None or held.strides != x.strides:
            held = self.hold(x, y, out)
        known = self.places.get(id(x))
        if known:
            place = known[0]
        else:
            place = x.__array_interface__["data"][0]
            if place < held.end and held.begin < place + held.reach:
                x = laid_out_alike(x, held.reach)  # it is to be read as it was
                place = x.__array_interface__["data"][0]
        for before, offset, after in held.calls:
            held.function(*before, place + offset, *after)
        return out

    def hold(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> Held:
        """Write down what BLAS is told: layouts, sizes, and where the matrices lie. Raises ValueError for gaps."""
        arrays = x, y, out
        layouts: list[Any] = [*map(leading, arrays)]
        if None in layouts:
            strides = [array.strides for array in arrays]
            raise ValueError(f"{self.__name__}: expected rows or columns without gaps, got strides {strides}")
        (turned_x, step_x), (turned_y, step_y), (_, step) = layouts
        _, factor, place = (array.__array_interface__["data"][0] for array in arrays)
        (n, m), k, size = out.shape[-2:], x.shape[-1], x.itemsize
        before: tuple[Any, ...]
        name, before = "gemm", (ROWS, turned_x, turned_y, n, m, k, self.sign)
        after: tuple[Any, ...] = (step_x, factor, step_y, 1.0)
        if k == 1:  # x is a column, y a row
            down, along = max(x.strides[-2] // size, 1), max(y.strides[-1] // size, 1)
            name, before, after = "ger", (ROWS, n, m, self.sign), (down, factor, along)
        stack = len(out) if out.ndim == 3 else 1
        apart = (x.strides[0], out.strides[0]) if out.ndim == 3 else (0, 0)
        calls = [(before, i * apart[0], (*after, place + i * apart[1], step)) for i in range(stack)]
        reach, whole = (size + sum((n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)) for a in (x, out))
        held = Held(routine(name, out.dtype), calls, x.strides, reach, place, place + whole, (y, out))
        self.held[id(y), id(out)] = held
        if self.fixed:
            self.places[id(x)] = x.__array_interface__["data"][0], x
        return held


class Moving(NamedTuple):
    """A matrix that lies elsewhere at each call: what `view` makes of argument number `argument`."""

    argument: int
    view: Callable[[np.ndarray], np.ndarray]


class ProductsAtOnce:
    """x @ y for several pairs of matrices of one dtype or, with a sign, out + x @ y or out - x @ y in the memory of
    out. BLAS computes each whole, in one of its threads, so that their number changes nothing in the results.

    `products` are x, y and out of each. Call it with the number of other threads, and the arrays that those which are
    `Moving` are found in: of the same layout at each call, they may lie in the memory of an out. BLAS's threads wait by
    spinning: they keep their processors busy for some milliseconds after a product.
    """

    def __init__(self, sign: float | None, products: Sequence[tuple[Any, Any, Any]]) -> None:
        self.sign, self.products = sign, products
        self.__name__ = {None: "multiply", 1.0: "add_products", -1.0: "subtract_products"}[sign]
        self.given: tuple[Any, ...] = ()  # what BLAS is told
        self.slots: list[tuple[int, int, list[tuple[Any, int, int]]]] = []  # where it is told of an argument
        self.outs: list[tuple[int, int]] = []  # where they begin and end

    def __call__(self, helpers: int, *arrays: np.ndarray) -> None:
        if not self.given:
            self.hold(arrays)
        if not helpers or threads.turn.locked():
            held = self.point_to(arrays)
            self.function(*self.given)
        else:
            with threads.turn:
                held = self.point_to(arrays)
                try:
                    self.set_threads(helpers + 1)
                    self.function(*self.given)
                finally:
                    self.set_threads(1)
        del held  # not before

    def point_to(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Tell BLAS where these lie. Returns what must live until it has read them."""
        held = []
        for argument, reach, slots in self.slots:
            x = arrays[argument]
            place = x.__array_interface__["data"][0]
            if any(place < end and begin < place + reach for begin, end in self.outs):
                x = laid_out_alike(x, reach)  # it is to be read as it was
                place = x.__array_interface__["data"][0]
            for places, k, offset in slots:
                places[k] = place + offset
            held.append(x)
        return held

    def hold(self, given: Sequence[np.ndarray]) -> None:
        """Write down what BLAS is told: layouts, sizes, and where the matrices lie. Raises ValueError for gaps."""
        operands = [x for product in self.products for x in product]
        arrays = [x.view(given[x.argument]) if isinstance(x, Moving) else x for x in operands]
        layouts: list[Any] = [*map(leading, arrays)]
        if None in layouts:
            strides = [array.strides for array in arrays]
            raise ValueError(f"{self.__name__}: expected rows or columns without gaps, got strides {strides}")
        dtype, count = arrays[0].dtype, len(self.products)
        batch: Any = routine("gemm_batch", dtype)
        self.function, self.set_threads = batch, cast(Any, blas_threads())
        size, (_, number) = batch.argtypes[-2], LETTERS[dtype]
        self.outs = [byte_bounds(x) for x in operands[2::3] if isinstance(x, np.ndarray)]  # others are new
        begins = [byte_bounds(x)[0] for x in arrays]
        places = [of(PLACE, begins[k::3]) for k in range(3)]
        flags = [of(FLAG, [flag for flag, _ in layouts[k::3]]) for k in range(2)]
        steps = [of(size, [step for _, step in layouts[k::3]]) for k in range(3)]
        rows, columns = (of(size, [out.shape[k] for out in arrays[2::3]]) for k in range(2))
        inner, each = of(size, [x.shape[1] for x in arrays[0::3]]), of(size, [1] * count)
        alpha, beta = of(number, [self.sign or 1.0] * count), of(number, [float(self.sign is not None)] * count)
        for argument in sorted({x.argument for x in operands if isinstance(x, Moving)}):
            begin, end = byte_bounds(given[argument])
            these = [i for i, x in enumerate(operands) if isinstance(x, Moving) and x.argument == argument]
            slots = [(places[i % 3], i // 3, begins[i] - begin) for i in these]
            self.slots.append((argument, end - begin, slots))
        tables = [alpha, places[0], steps[0], places[1], steps[1], beta, places[2], steps[2]]
        lists = [ctypes.cast(x, PLACE) for x in (*flags, rows, columns, inner, *tables)]
        self.given = (FLAG(ROWS), *lists, size(count), ctypes.cast(each, PLACE))


def laid_out_alike(x: np.ndarray, reach: int) -> np.ndarray:
    """A copy of an array of `reach` bytes from its first element to its last, with the same strides."""
    memory = np.empty(reach, np.uint8)
    copy = np.ndarray(x.shape, x.dtype, memory, strides=x.strides)
    copy[...] = x
    return copy


def of(kind: Any, numbers: Sequence[Any]) -> Any:
    """An array of C with these numbers."""
    return (kind * len(numbers))(*numbers)
