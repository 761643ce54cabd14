"""Convolution and pooling, on images with the channels last: (n, h, w, c), or (n, l, c) along one axis.

    x (n, h, w, c),  weight (kh, kw, c, o)   ->   (n, h', w', o)
    h' = (h + padding before and after - dilation (kh - 1) - 1) // stride + 1

Convolution, as in all of this field, is a correlation: the kernel is not turned round. As a sum over products of x, the
weight and the gradient g, it is linear in each of the three, and its derivative by each is a function of the other two:
`conv_` by g, `conv_input_` by x, `conv_weight_` by the weight. So the derivatives of these three are again these three.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..op import array, arrays, function, op, primitive
from ..runtime.matmul import SHARED, helpers_for
from ..runtime.memory import copy_runs, scratch
from ..runtime.threads import parallel_for
from .elementwise import add
from .products import matmul
from .shapes import concatenate, index_, pad, repeat, reshape, split

Pair = tuple[int, int]
Size = int | tuple[int, ...]
TILE = 2**21  # bytes of columns at a time: what a cache holds beside the weight
PARTS = 4  # that threads share a convolution in
LONG = 128  # bytes of channels, from which on numpy's loops over them are as quick as any
FEW = 4  # channels, up to which they are the outermost axis where that is quicker


# --- where the kernel lies --------------------------------------------------------------------------------------------


def pair(x: Size, where: str, least: int = 1) -> Pair:
    """A number for both axes, or one for each. Raises ValueError for anything but whole numbers from `least`."""
    both = (x, x) if isinstance(x, (int, np.integer)) else tuple(x)
    if len(both) != 2 or any(not isinstance(k, (int, np.integer)) or k < least for k in both):
        raise ValueError(f"{where}: expected a whole number from {least}, or one for each axis, got {x}")
    return int(both[0]), int(both[1])


def steps(n: int, k: int, stride: int, dilation: int) -> int:
    """How many places a kernel of k elements has along n."""
    return (n - dilation * (k - 1) - 1) // stride + 1


def places(shape: tuple[int, ...], size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Iterator[tuple[Any, ...]]:
    """For each element of a kernel the key of what it meets in (n, h, w, c)."""
    for i in itertools.product(*map(range, size)):
        yield (
            slice(None),
            *(slice(a * d, a * d + (m - 1) * s + 1, s) for a, d, m, s in zip(i, dilation, shape, stride, strict=True)),
        )


def windows(x: np.ndarray, size: Pair, stride: Pair, dilation: Pair) -> np.ndarray:
    """A view (n, h', w', kh, kw, c) of what the kernel meets at each place."""
    n, *lengths, c = x.shape
    shape = (n, *map(steps, lengths, size, stride, dilation), *size, c)
    sn, *along, sc = x.strides
    strides = (
        sn,
        *(a * s for a, s in zip(along, stride, strict=True)),
        *(a * d for a, d in zip(along, dilation, strict=True)),
        sc,
    )
    if x.flags.c_contiguous:  # which takes a tenth of the time
        return np.ndarray(shape, x.dtype, x, 0, strides)
    return as_strided(x, shape, strides)


def tiles(n: int, size: int) -> Iterator[slice]:
    """Parts of n samples, of `size` bytes each, that a cache holds."""
    step = max(1, TILE // max(size, 1))
    return (slice(a, min(n, a + step)) for a in range(0, n, step))


def columns(
    x: np.ndarray, size: Pair, padding: Any, stride: Pair, dilation: Pair
) -> Iterator[tuple[slice, np.ndarray]]:
    """The windows of x between zeros as the rows of matrices (m h' w', kh kw c), each with the samples that it is
    of."""
    n, h, w, c = x.shape
    (top, bottom), (left, right) = padding
    full = h + top + bottom, w + left + right
    each = tuple(map(steps, full, size, stride, dilation))
    padded = np.empty(0)
    for part in tiles(n, math.prod((*each, *size, c)) * x.itemsize):
        some = x[part]
        if size == stride == (1, 1) and full == (h, w):
            yield part, some.reshape(-1, c)
            continue
        if full != (h, w):
            if len(padded) != len(some):
                padded = scratch("padded", (len(some), *full, c), x.dtype)
                padded.fill(0.0)
            padded[:, top : top + h, left : left + w] = some
            some = padded
        yield part, gathered(some, size, stride, dilation)


def gathered(x: np.ndarray, size: Pair, stride: Pair, dilation: Pair) -> np.ndarray:
    """The windows of x as the rows of a matrix (n h' w', kh kw c), until the next call."""
    view, c = windows(x, size, stride, dilation), x.shape[3]
    wide = math.prod(size) * c
    if c <= FEW:  # in rows of so few elements numpy would take an age: make the transpose
        view = view.transpose(3, 4, 5, 0, 1, 2)
        block = scratch("columns", view.shape, x.dtype)
        copy_runs(block, view)
        return block.reshape(wide, -1).T
    block = scratch("columns", view.shape, x.dtype)
    if dilation[1] == 1 and x.flags.c_contiguous:  # what a row of the kernel meets lies side by side: as one item
        run = np.dtype((np.void, size[1] * c * x.itemsize))
        shape = view.shape[:4]
        np.copyto(np.ndarray(shape, run, block), np.ndarray(shape, run, x, 0, view.strides[:4]))
    else:
        np.copyto(block, view)
    return block.reshape(-1, wide)


def work(result: np.ndarray, weight: np.ndarray) -> int:
    """How many multiply-adds a convolution takes."""
    return math.prod(result.shape[:3]) * weight.size


def parts_of(result: np.ndarray, weight: np.ndarray) -> list[slice]:
    """The samples in parts that threads may share: how many does not depend on the threads, so nor do sums."""
    n = len(result)
    count = min(n, PARTS) if work(result, weight) > PARTS * SHARED else 1
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def share(part: Callable[[int], None], shares: list[slice], result: np.ndarray, weight: np.ndarray) -> None:
    """Call part(i) for each part of the samples, in several threads where that is quicker."""
    helpers = helpers_for(work(result, weight), len(shares), "convolution", result.shape, weight.shape)
    parallel_for(part, len(shares), helpers)


# --- convolution ------------------------------------------------------------------------------------------------------


@primitive
def convolved(x, y, padding, stride, dilation, out=None):
    """What `conv_` is: each tile of columns times the weight as a matrix."""
    size, o = y.shape[:2], y.shape[3]
    full = (n + sum(zeros) for n, zeros in zip(x.shape[1:3], padding, strict=True))
    if out is None:
        shape = (len(x), *map(steps, full, size, stride, dilation), o)
        out = np.empty(shape, np.result_type(x, y))
    weight, shares = y.reshape(-1, o), parts_of(out, y)

    def part(i: int) -> None:
        some = out[shares[i]]
        for at, rows in columns(x[shares[i]], size, padding, stride, dilation):
            np.matmul(rows, weight, out=some[at].reshape(-1, o))

    share(part, shares, out, y)
    return out


@primitive
def convolved_input(x, y, size, padding, stride, dilation, out=None):
    """What `conv_input_` is. With steps of 1 it is a convolution by the kernel turned round; else, and where there are
    few channels, what each element of the kernel gives is added to where it came from, channel by channel."""
    (top, bottom), (left, right) = padding
    kernel, (h, w), c = y.shape[:2], size, y.shape[2]
    around = tuple(
        (d * (k - 1) - before, d * (k - 1) - after)
        for k, d, (before, after) in zip(kernel, dilation, padding, strict=True)
    )
    if stride == (1, 1) and c > FEW and min(map(min, around)) >= 0:
        return convolved(x, np.swapaxes(y[::-1, ::-1], 2, 3), around, stride, dilation, out)
    if out is None:
        out = np.empty((len(x), h, w, c), np.result_type(x, y))
    each, shares = x.shape[1:3], parts_of(x, y)

    def part(i: int) -> None:
        some, result = x[shares[i]], out[shares[i]]
        for tile in tiles(len(some), math.prod((*each, *kernel, c)) * out.itemsize):
            g = some[tile]
            products = scratch("columns", (*kernel, c, len(g), *each), out.dtype)
            rows = y.reshape(-1, y.shape[3])
            np.matmul(rows, g.reshape(-1, y.shape[3]).T, out=products.reshape(len(rows), -1))
            whole = scratch("padded", (c, len(g), h + top + bottom, w + left + right), out.dtype)
            whole.fill(0.0)
            for (_, *key), at in zip(places(each, kernel, stride, dilation), np.ndindex(kernel), strict=True):
                whole[..., *key] += products[at]
            result[tile] = whole[:, :, top : top + h, left : left + w].transpose(1, 2, 3, 0)

    share(part, shares, x, y)
    return out


@primitive
def convolved_weight(x, y, size, padding, stride, dilation, out=None):
    """What `conv_weight_` is: the sum over tiles of columns^T g, part by part, whoever computes them."""
    c, o = x.shape[3], y.shape[3]
    if out is None:
        out = np.empty((*size, c, o), np.result_type(x, y))
    shares = parts_of(y, out)
    sums = np.zeros((len(shares), math.prod(size) * c, o), out.dtype)

    def part(i: int) -> None:
        some = y[shares[i]]
        for at, rows in columns(x[shares[i]], size, padding, stride, dilation):
            sums[i] += np.matmul(rows.T, some[at].reshape(-1, o))

    share(part, shares, y, out)
    np.add.reduce(sums, axis=0, out=out.reshape(-1, o))
    return out


@op(
    lambda g, y, x_shape, padding, stride, dilation: conv_input_(g, y, x_shape[1:3], padding, stride, dilation),
    lambda g, x, y_shape, padding, stride, dilation: conv_weight_(x, g, y_shape[:2], padding, stride, dilation),
)
def conv_(x, y, padding, stride, dilation):
    """The convolution of (n, h, w, c) by (kh, kw, c, o)."""
    return convolved(x, y, padding, stride, dilation)


@op(
    lambda g, y, padding, stride, dilation: conv_(g, y, padding, stride, dilation),
    lambda g, x, y_shape, padding, stride, dilation: conv_weight_(g, x, y_shape[:2], padding, stride, dilation),
)
def conv_input_(x, y, size, padding, stride, dilation):
    """The transpose of `conv_` for a weight y: (n, h', w', o) to (n, h, w, c), where (h, w) is `size`."""
    return convolved_input(x, y, size, padding, stride, dilation)


@op(
    lambda g, y, x_shape, padding, stride, dilation: conv_input_(y, g, x_shape[1:3], padding, stride, dilation),
    lambda g, x, padding, stride, dilation: conv_(x, g, padding, stride, dilation),
)
def conv_weight_(x, y, size, padding, stride, dilation):
    """The sum over all places of what the kernel meets in x times y there: (kh, kw, c, o), where (kh, kw) is `size`."""
    return convolved_weight(x, y, size, padding, stride, dilation)


def zeros_around(padding: Any, size: Pair, stride: Pair, dilation: Pair, where: str) -> tuple[Pair, Pair]:
    """How many zeros before and after, along both axes. "same" keeps the lengths, for steps of 1."""
    if padding != "same":
        a, b = pair(padding, f"{where}, padding", 0)
        return (a, a), (b, b)
    if stride != (1, 1):
        raise ValueError(f'{where}: expected stride 1 with padding "same", got {stride}')
    a, b = (d * (k - 1) for k, d in zip(size, dilation, strict=True))
    return (a // 2, a - a // 2), (b // 2, b - b // 2)


def checked(x: Any, weight: Any, axis: int, groups: int, where: str) -> tuple[Any, Any]:
    """Both as arrays, if they fit: channels are axis number `axis` of the weight."""
    x, weight = arrays(x, weight, where)
    if x.ndim != 4 or weight.ndim != 4:
        raise ValueError(f"{where}: expected (n, h, w, c) and (kh, kw, c, o), got {x.shape} and {weight.shape}")
    times = groups if axis == 2 else 1
    if x.shape[3] != weight.shape[axis] * times or weight.shape[3] % groups:
        raise ValueError(
            f"{where}: expected channels that agree, in {groups} group{'s' * (groups > 1)}, "
            f"got {x.shape} and {weight.shape}"
        )
    return x, weight


def grouped(f: Callable[[Any, Any], Any], x: Any, weight: Any, groups: int) -> Any:
    """f for each group of the channels of x and of the last axis of the weight, joined."""
    if groups == 1:
        return f(x, weight)
    return concatenate([f(*part) for part in zip(split(x, groups, 3), split(weight, groups, 3), strict=True)], 3)


@function
def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """The convolution of images x (n, h, w, c) with kernels (kh, kw, c / groups, o): (n, h', w', o).

    stride    how far the kernel moves on from place to place, down and across
    padding   how many zeros stand around the image, or "same" for as many as keep its size
    dilation  how far apart in the image the elements of the kernel lie
    groups    how many parts the channels come in: each part has its own kernels, for so many of the o

    Raises ValueError where channels do not agree, or the kernel is larger than the image.
    """
    x, weight = checked(x, weight, 2, groups, "conv2d")
    stride, dilation = pair(stride, "conv2d, stride"), pair(dilation, "conv2d, dilation")
    around = zeros_around(padding, weight.shape[:2], stride, dilation, "conv2d")
    lengths = [n + sum(zeros) for n, zeros in zip(x.shape[1:3], around, strict=True)]
    within(lengths, weight.shape[:2], stride, dilation, "conv2d")
    out = grouped(lambda a, b: conv_(a, b, around, stride, dilation), x, weight, groups)
    return out if bias is None else add(out, bias)


@function
def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """The transpose of `conv2d` for the same weight and settings, which takes (n, h', w', o) back to (n, h, w, c). Of
    the several h that give h' it is the smallest, and `output_padding` more. Raises ValueError where channels do not
    agree.
    """
    x, weight = checked(x, weight, 3, groups, "conv_transpose2d")
    stride, dilation = pair(stride, "conv_transpose2d, stride"), pair(dilation, "conv_transpose2d, dilation")
    around = zeros_around(padding, weight.shape[:2], stride, dilation, "conv_transpose2d")
    more = pair(output_padding, "conv_transpose2d, output_padding", 0)
    size = tuple(
        (n - 1) * s + d * (k - 1) + 1 - sum(zeros) + m
        for n, s, d, k, zeros, m in zip(x.shape[1:3], stride, dilation, weight.shape[:2], around, more, strict=True)
    )
    if min(size) < 1 or any(m >= s for m, s in zip(more, stride, strict=True)):
        raise ValueError(
            f"conv_transpose2d: expected an image, with output_padding below the stride {stride}, got {size} and {more}"
        )
    out = grouped(lambda a, b: conv_input_(a, b, size, around, stride, dilation), x, weight, groups)
    return out if bias is None else add(out, bias)


def along_one(f: Callable[..., Any], where: str, x: Any, weight: Any, bias: Any, groups: int, **settings: Any) -> Any:
    """A function of images on (n, l, c), by images of one row."""
    x, weight = arrays(x, weight, where)
    if x.ndim != 3 or weight.ndim != 3:
        raise ValueError(f"{where}: expected (n, l, c) and (k, c, o), got {x.shape} and {weight.shape}")
    for name, value in settings.items():
        if value != "same":
            settings[name] = (int(name in ("stride", "dilation")), value)
    row, kernel = reshape(x, (x.shape[0], 1, *x.shape[1:])), reshape(weight, (1, *weight.shape))
    out = f(row, kernel, bias, groups=groups, **settings)
    return reshape(out, (out.shape[0], *out.shape[2:]))


@function
def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int | str = 0, dilation: int = 1, groups: int = 1
) -> Any:
    """The convolution of sequences x (n, l, c) with kernels (k, c / groups, o): (n, l', o), with the settings of
    `conv2d`."""
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    return along_one(conv2d, "conv1d", x, weight, bias, groups, **settings)


@function
def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Any:
    """The transpose of `conv1d`, which takes (n, l', o) back to (n, l, c), with the settings of `conv_transpose2d`."""
    settings = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    return along_one(conv_transpose2d, "conv_transpose1d", x, weight, bias, groups, **settings)


# --- windows ----------------------------------------------------------------------------------------------------------


@op(lambda g, x_shape, stride, dilation: fold_(g, x_shape[1:3], stride, dilation))
@primitive
def unfold_(x, size, stride, dilation):
    """What a kernel of `size` meets in (n, h, w, c) at each place: (n, h', w', kh, kw, c)."""
    return np.array(windows(x, size, stride, dilation), order="C")


@op(lambda g, x_shape, stride, dilation: unfold_(g, x_shape[3:5], stride, dilation))
@primitive
def fold_(x, size, stride, dilation):
    """The transpose of `unfold_`: (n, h', w', kh, kw, c) added up to (n, h, w, c), where (h, w) is `size`."""
    out = np.zeros((len(x), *size, x.shape[5]), x.dtype)
    for key, (i, j) in zip(places(x.shape[1:3], x.shape[3:5], stride, dilation), np.ndindex(x.shape[3:5]), strict=True):
        out[key] += x[:, :, :, i, j]
    return out


def between_zeros(x: Any, padding: Size, where: str, fill: float = 0.0) -> Any:
    """Images with elements around them."""
    a, b = pair(padding, f"{where}, padding", 0)
    return pad(x, ((0, 0), (a, a), (b, b), (0, 0)), constant_values=fill) if a or b else x


def image(x: Any, axes: int, where: str, names: str) -> Any:
    x = array(x, where)
    if x.ndim != axes:
        raise ValueError(f"{where}: expected {names}, got shape {x.shape}")
    return x


def within(lengths: Any, size: Pair, stride: Pair, dilation: Pair, where: str) -> None:
    """Raise ValueError where a kernel is larger than an image."""
    if min(map(steps, lengths, size, stride, dilation)) < 1:
        raise ValueError(f"{where}: expected a kernel within the image, got {size} and {tuple(lengths)}")


@function
def unfold(x: Any, size: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Any:
    """Every part of images (n, h, w, c) that a kernel of `size` meets: (n, h', w', kh, kw, c). Raises ValueError where
    it is larger than the image."""
    x = between_zeros(image(x, 4, "unfold", "(n, h, w, c)"), padding, "unfold")
    kernel, s, d = (pair(k, "unfold") for k in (size, stride, dilation))
    within(x.shape[1:3], kernel, s, d, "unfold")
    return unfold_(x, kernel, s, d)


@function
def fold(x: Any, size: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Any:
    """The transpose of `unfold`: parts (n, h', w', kh, kw, c) added up to images (n, h, w, c), where (h, w) is `size`.
    Raises ValueError for parts of which images of that size have another number."""
    x = image(x, 6, "fold", "(n, h', w', kh, kw, c)")
    (h, w), (a, b) = pair(size, "fold"), pair(padding, "fold, padding", 0)
    s, d = pair(stride, "fold"), pair(dilation, "fold")
    full = h + 2 * a, w + 2 * b
    if (each := tuple(map(steps, full, x.shape[3:5], s, d))) != x.shape[1:3]:
        raise ValueError(f"fold: expected {each} parts for images of {h, w}, got {x.shape[1:3]}")
    out = fold_(x, full, s, d)
    return index_(out, (slice(None), slice(a, a + h), slice(b, b + w))) if a or b else out


# --- pooling ----------------------------------------------------------------------------------------------------------


def met(x: np.ndarray, size: Pair, stride: Pair) -> list[np.ndarray]:
    """For each element of a window what it meets, at all places: views of (n, h, w, c)."""
    count = (steps(n, k, s, 1) for n, k, s in zip(x.shape[1:3], size, stride, strict=True))
    return [x[key] for key in places(tuple(count), size, stride)]


def plain(x: Any) -> Any:
    """The array of a node, to choose by."""
    return x.peek() if hasattr(x, "op") else x


@op(lambda g, out, x, size, stride: max_share_(g, plain(x), plain(out), size, stride))
def max_pool_(x, size, stride):
    """The largest element of each window of (n, h, w, c), NaN if any is; k of them in a tie share the derivative."""
    return largest(x, size, stride)


def combined(f: Callable[..., Any], parts: Sequence[np.ndarray], out: np.ndarray) -> np.ndarray:
    """f of two arrays, over all parts."""
    first, *others = parts
    if not others:
        np.copyto(out, first)
    for part in others:
        f(first, part, out=out)
        first = out
    return out


def cells(x: np.ndarray, size: Pair, count: tuple[int, ...]) -> np.ndarray:
    """A view (n, h', kh, w', kw, c) of windows that lie side by side, `count` of them, (h', w')."""
    (h, w), (kh, kw), (n, *_, c) = count, size, x.shape
    return x[:, : h * kh, : w * kw].reshape(n, h, kh, w, kw, c)


def over_cells(f: Callable[..., Any], x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """f of two arrays, over all elements of each window of `cells`: over its rows, which numpy does window after window
    without a break, then over its columns, which are copied to where they lie without gaps."""
    n, h, kh, w, kw, c = x.shape
    wide = combined(f, [x[:, :, i] for i in range(kh)], scratch("rows", (n, h, w, kw, c), out.dtype))
    columns = scratch("lying", (kw, *out.shape), out.dtype)
    for j in range(kw):
        copy_runs(columns[j], wide[..., j, :])
    return combined(f, [*columns], out)


@primitive
def largest(x, size, stride, out=None):
    """What `max_pool_` is."""
    n, *lengths, c = x.shape
    count = tuple(map(steps, lengths, size, stride, (1, 1)))
    if out is None:
        out = np.empty((n, *count, c), x.dtype)
    if size != stride or c * x.itemsize >= LONG:
        return combined(np.maximum, met(x, size, stride), out)
    for part in tiles(n, x[:1].nbytes):
        over_cells(np.maximum, cells(x[part], size, count), out[part])
    return out


def tied(x: np.ndarray, top: np.ndarray, size: Pair, stride: Pair) -> tuple[list[np.ndarray], np.ndarray]:
    """For each element of a window where it is the largest, and how many are: NaN where the largest is, which then all
    of them are. Both are there until the next call."""
    parts, nan = met(x, size, stride), np.equal(top, top, out=scratch("nan", top.shape, bool))
    np.logical_not(nan, out=nan)
    places = [*scratch("places", (len(parts), *top.shape), bool)]
    for part, place in zip(parts, places, strict=True):
        np.equal(part, top, out=place)
    counts = scratch("counts", top.shape, np.uint8 if len(places) < 256 else np.intp)
    counts.fill(0)
    some = nan.any()
    for place in places:
        if some:
            place |= nan
        counts += place.view(np.uint8)
    number = scratch("number", top.shape, x.dtype)
    np.copyto(number, counts)
    if some:
        number[nan] = np.nan
    return places, number


def chosen(places: list[np.ndarray], x: np.ndarray) -> Iterator[np.ndarray]:
    """x at each of the places, 0 elsewhere, one after the other: by a product, where 0 times x is 0, since numpy takes
    twice as long to choose."""
    finite, out = np.isfinite(x).all(), scratch("chosen", x.shape, x.dtype)
    return (np.multiply(x, place, out=out) if finite else np.where(place, x, 0.0) for place in places)


@op(lambda g, images, top, size, stride: max_chosen_(g, plain(images), plain(top), size, stride))
def max_share_(x, images, top, size, stride):
    """x, given for each window, to those of `images` that are its largest, `top`, in equal shares."""
    return given_to_largest(x, images, top, size, stride)


@primitive
def given_to_largest(x, images, top, size, stride, out=None):
    """What `max_share_` is."""
    if out is None:
        out = np.empty(images.shape, x.dtype)
    if size == stride:
        count = top.shape[1:3]
        h, w = (n * k for n, k in zip(count, size, strict=True))
        out[:, h:], out[:, :h, w:] = 0.0, 0.0
        for part in tiles(len(x), images[:1].nbytes):
            give_to_cells(x[part], cells(images[part], size, count), top[part], cells(out[part], size, count))
        return out
    places, number = tied(images, top, size, stride)
    out.fill(0.0)
    shares = chosen(places, np.divide(x, number, out=number))
    for elements, mine in zip(met(out, size, stride), shares, strict=True):
        elements += mine
    return out


def give_to_cells(x: np.ndarray, images: np.ndarray, top: np.ndarray, out: np.ndarray) -> None:
    """`given_to_largest` for `cells` of images and of its result. A share is given by a mask, -1 where an element is
    the largest, else 0: it keeps all bits of a number, whatever that is, or none."""
    wide, nan = repeated(top, images.shape), np.isnan(top, out=scratch("nan", top.shape, bool))
    place = np.equal(images, wide, out=scratch("places", images.shape, bool))
    if some := nan.any():
        np.logical_or(place, np.not_equal(wide, wide), out=place)
    share = scratch("share", top.shape, x.dtype)
    if some or np.count_nonzero(place) > top.size:  # else there is one in each window
        few = images.shape[2] * images.shape[4] < 256
        counts = scratch("counts", top.shape, np.uint8 if few else np.intp)
        np.copyto(share, over_cells(np.add, place.view(np.uint8), counts))
        if some:
            share[nan] = np.nan
        x = np.divide(x, share, out=share)
    np.add(x, 0.0, out=share)  # -0.0 becomes 0.0, as where shares are added to zeros
    mask, whole = place.view(np.int8), out.view(f"i{out.itemsize}")
    np.copyto(whole, np.negative(mask, out=mask))
    np.bitwise_and(whole, repeated(share, images.shape).view(whole.dtype), out=whole)


def repeated(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """x, (n, h', w', c), for each column of its windows, which are `cells` of that shape: (n, h', 1, w', kw, c)."""
    n, h, _, w, kw, c = shape
    wide = scratch("repeated", (n, h, w, kw, c), x.dtype)
    for j in range(kw):
        copy_runs(wide[..., j, :], x)
    return wide[:, :, None]


@op(lambda g, images, top, size, stride: max_share_(g, plain(images), plain(top), size, stride))
@primitive
def max_chosen_(x, images, top, size, stride):
    """The mean of x over those elements of each window that are the largest of `images`: the transpose of
    `max_share_`."""
    places, number = tied(images, top, size, stride)
    out = np.zeros(top.shape, x.dtype)
    for part, place in zip(met(x, size, stride), places, strict=True):
        out += np.where(place, part, 0.0)
    return out / number


@op(lambda g, x_shape, size, stride: avg_share_(g, x_shape[1:3], size, stride))
def avg_pool_(x, size, stride):
    """The mean of each window of (n, h, w, c)."""
    return average(x, size, stride)


@primitive
def average(x, size, stride, out=None):
    """What `avg_pool_` is."""
    parts = met(x, size, stride)
    out = combined(np.add, parts, np.empty(parts[0].shape, x.dtype) if out is None else out)
    out /= float(math.prod(size))
    return out


@op(lambda g, size, stride: avg_pool_(g, size, stride))
@primitive
def avg_share_(x, lengths, size, stride):
    """The transpose of `avg_pool_`: x, given for each window, to all of its elements, of (n, h, w, c) with `lengths`
    (h, w)."""
    out = np.zeros((len(x), *lengths, x.shape[3]), x.dtype)
    share = x / float(math.prod(size))
    for part in met(out, size, stride):
        part += share
    return out


def pooled(
    f: Callable[..., Any], x: Any, size: Size, stride: Size | None, padding: Size, where: str, fill: float
) -> Any:
    """A pooling op on images or sequences, with elements around them that are `fill`."""
    x = array(x, where)
    if x.ndim == 3:  # (n, l, c): images of one row
        one = [(1, k) if isinstance(k, int) else (1, *k) for k in (size, size if stride is None else stride)]
        row = reshape(x, (x.shape[0], 1, *x.shape[1:]))
        out = pooled(f, row, one[0], one[1], (0, padding) if isinstance(padding, int) else (0, *padding), where, fill)
        return reshape(out, (out.shape[0], *out.shape[2:]))
    kernel, s = pair(size, where), pair(size if stride is None else stride, where)
    if any(2 * p > k for p, k in zip(pair(padding, where, 0), kernel, strict=True)):
        raise ValueError(f"{where}: expected padding of at most half the size {kernel}, got {padding}")
    x = between_zeros(image(x, 4, where, "(n, h, w, c) or (n, l, c)"), padding, where, fill)
    within(x.shape[1:3], kernel, s, (1, 1), where)
    return f(x, kernel, s)


@function
def max_pool(x: Any, size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """The largest element of each window of images (n, h, w, c), or of sequences (n, l, c), channel by channel. Windows
    lie side by side, or `stride` apart, and reach `padding` elements over the edge. Where k elements of a window are
    the largest, each gets 1/k of the derivative. Raises ValueError where a window is larger than the image.
    """
    return pooled(max_pool_, x, size, stride, padding, "max_pool", -math.inf)


@function
def avg_pool(x: Any, size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """The mean of each window of images (n, h, w, c), or of sequences (n, l, c), channel by channel. Windows lie side
    by side, or `stride` apart, and reach `padding` elements over the edge, which count as zeros. Raises ValueError
    where a window is larger than the image.
    """
    return pooled(avg_pool_, x, size, stride, padding, "avg_pool", 0.0)


@functools.lru_cache(maxsize=64)
def interpolation(n: int, factor: int, dtype: Any) -> np.ndarray:
    """The matrix (factor n, n) that puts `factor` numbers in the place of each, on straight lines between the middles
    of these places; outside the first and the last middle all is level."""
    at = np.clip((np.arange(n * factor) + 0.5) / factor - 0.5, 0.0, n - 1.0)
    return np.maximum(1.0 - np.abs(at[:, None] - np.arange(n)), 0.0).astype(dtype)


@function
def upsample(x: Any, factor: Size, mode: str = "nearest") -> Any:
    """Images (n, h, w, c) made larger by a whole factor: each element several times ("nearest"), or numbers on straight
    lines between elements ("bilinear"). Raises ValueError for another mode."""
    x = image(x, 4, "upsample", "(n, h, w, c)")
    a, b = pair(factor, "upsample")
    if mode == "nearest":
        return repeat(repeat(x, a, 1), b, 2)
    if mode != "bilinear":
        raise ValueError(f"upsample: expected mode nearest or bilinear, got {mode}")
    n, h, w, c = x.shape
    wide = matmul(interpolation(w, b, x.dtype), x)
    return reshape(matmul(interpolation(h, a, x.dtype), reshape(wide, (n, h, w * b * c))), (n, h * a, w * b, c))
