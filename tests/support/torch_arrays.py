"""PyTorch's ops over axes, on shapes and on matrices as ours: by its names, given its arguments."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import vector


class Unlike(Exception):
    """A sample that asks for what there is no op for here."""


def only(given: dict[str, Any], **usual: Any) -> None:
    """Raise Unlike for arguments that are not as usual."""
    for name, x in given.items():
        if name not in usual or hasattr(x, "shape") or x != usual[name]:
            raise Unlike(name)


def sizes(given: Sequence[Any]) -> tuple[int, ...]:
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (list, tuple)) else tuple(given)


def with_axis(f: Callable[..., Any]) -> Callable[..., Any]:
    """f(x, axis) for PyTorch's f(x, dim), where a number without axes has one in name."""

    def call(x: Any, dim: int = -1, **more: Any) -> Any:
        only(more, dtype=None)
        return f(x, dim) if x.ndim else f(x.reshape(1), 0).reshape(())

    return call


def spread(name: str) -> Callable[..., Any]:
    def call(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, **more: Any) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = more.pop("correction", 1 if unbiased is None else int(unbiased))
        only(more)
        axes = tuple(dim) if isinstance(dim, (list, tuple)) else dim
        axes = None if axes == () or not x.ndim else axes
        n = math.prod(x.shape if axes is None else [x.shape[a] for a in np.atleast_1d(axes)])
        if ddof is None or n <= ddof:
            raise Unlike("not enough elements")
        return getattr(vector, name)(x, axes, ddof, keepdim)

    return call


def prod(x: Any, dim: Any = None, keepdim: bool = False, **more: Any) -> Any:
    only(more, dtype=None)
    return vector.prod(x, dim if x.ndim else None, keepdim)


def sort(x: Any, dim: int = -1, descending: bool = False, **more: Any) -> Any:
    only(more, stable=True)
    if not x.ndim:
        return x + 0.0
    return vector.topk(x, x.shape[dim], dim)[0] if descending else vector.sort(x, dim)


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, is_sorted: bool = True) -> Any:
    if not x.ndim:
        raise Unlike("no axes")
    return vector.topk(x, k, dim)[0] if largest else -vector.topk(-x, k, dim)[0]


def gather(x: Any, dim: int, index: Any) -> Any:
    if not x.ndim or index.ndim != x.ndim:
        raise Unlike("no axes")
    places = tuple(slice(n) if i != dim % x.ndim else slice(None) for i, n in enumerate(index.shape))
    return vector.take_along_axis(x[places], index, dim)


def padded(x: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    if min(pad, default=0) < 0:
        raise Unlike("negative")
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + [*zip(pad[::2], pad[1::2], strict=True)][::-1]
    if mode == "constant":
        return vector.pad(x, pairs, constant_values=float(value or 0.0))
    return vector.pad(x, pairs, {"replicate": "edge", "circular": "wrap"}.get(mode, mode))


def split(x: Any, size: Any, dim: int = 0) -> Any:
    n = x.shape[dim]
    return vector.split(x, np.cumsum(size)[:-1] if np.ndim(size) else range(size, n, size), dim)


def chunk(x: Any, chunks: int, dim: int = 0) -> Any:
    return split(x, -(-x.shape[dim] // chunks), dim)


def repeated(x: Any, repeats: Any, dim: Any = None, **more: Any) -> Any:
    only(more, output_size=None)
    return vector.repeat(x, np.asarray(repeats, int) if np.ndim(repeats) else int(repeats), dim)


def roll(x: Any, shifts: Any, dims: Any = ()) -> Any:
    axes = tuple(np.atleast_1d(dims).tolist()) or None
    return vector.roll(x, shifts if axes is None or not isinstance(shifts, int) else (shifts,), axes)


def take_along(x: Any, index: Any, dim: Any = None) -> Any:
    return vector.take_along_axis(x, index.ravel() if dim is None else index, dim)


def tensordot(x: Any, y: Any, dims: Any = 2) -> Any:
    if not isinstance(dims, int) and any(x.shape[i] != y.shape[j] for i, j in zip(*dims, strict=True)):
        raise Unlike("axes of length 1 that broadcast")
    return vector.tensordot(x, y, dims)


def squeezed(x: Any, dim: Any = None) -> Any:
    dims = None if dim is None else tuple(int(d) for d in np.atleast_1d(dim) if x.ndim and x.shape[d] == 1)
    return vector.squeeze(x, dims)


def moved(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, a, b: f(x, a, b) if x.ndim else x + 0.0


# --- linear algebra: PyTorch's samples of factorizations are of symmetric matrices ------------------------------------


def symmetric(f: Callable[..., Any]) -> Callable[..., Any]:
    """f of the symmetric part of x, which is all that PyTorch differentiates by."""

    def call(x: Any, upper: bool = False, UPLO: str = "L", **more: Any) -> Any:
        only(more, check_errors=False)
        x = (x + x.mT) * 0.5
        out = f(x)
        return out.mT if upper else out

    return call


def solve(x: Any, y: Any, *, left: bool = True, **more: Any) -> Any:
    only(more, check_errors=False)
    vectors = y.ndim == 1 or (y.ndim == x.ndim - 1 and y.shape == x.shape[:-1])
    if vectors and y.ndim > 1:
        return vector.solve(x, y[..., None])[..., 0]
    return vector.solve(x, y) if left else vector.solve(x.mT, y.mT).mT


def norm(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, **more: Any) -> Any:
    only(more, dtype=None)
    dim = tuple(dim) if isinstance(dim, (list, tuple)) else dim
    if ord == 0 or not x.ndim or (ord is not None and dim is None and x.ndim > 2):
        raise Unlike("counts, or no axes")
    return vector.norm(x, ord, dim, keepdim)


def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, **more: Any) -> Any:
    dim = one(dim)
    if dim is None and not keepdim:
        return norm(x.ravel(), ord, 0, **more)
    if not isinstance(dim, int):
        raise Unlike("several axes")
    return norm(x, ord, dim, keepdim, **more)


# --- convolution: PyTorch has the channels before the image, and the kernels' numbers first ---------------------------


def last(x: Any) -> Any:
    """(n, c, ...) as (n, ..., c)."""
    return vector.moveaxis(x, 1, -1)


def first(x: Any) -> Any:
    return vector.moveaxis(x, -1, 1)


def one(x: Any) -> Any:
    """A setting as a number, where it is one for one axis."""
    return (
        int(x[0]) if isinstance(x, (list, tuple)) and len(x) == 1 else tuple(x) if isinstance(x, (list, tuple)) else x
    )


def batched(f: Callable[..., Any], axes: int) -> Callable[..., Any]:
    """f of images with channels, also of one alone."""

    def call(x: Any, *more: Any, **named: Any) -> Any:
        if x.ndim == axes + 2:
            return first(f(last(x), *more, **named))
        return first(f(last(x.reshape(1, *x.shape)), *more, **named))[0]

    return call


def convolution(axes: int) -> Callable[..., Any]:
    f = getattr(vector, f"conv{axes}d")

    def call(
        x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> Any:
        padding = 0 if padding == "valid" else padding
        kernel = vector.moveaxis(w, (0, 1), (-1, -2))
        return f(x, kernel, bias, one(stride), one(padding), one(dilation), groups)

    return batched(call, axes)


def transposed(axes: int) -> Callable[..., Any]:
    f = getattr(vector, f"conv_transpose{axes}d")

    def call(
        x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
        dilation: Any = 1,
    ) -> Any:  # fmt: skip
        if np.any(np.broadcast_to(output_padding, axes) >= np.broadcast_to(stride, axes)):
            raise Unlike("rows of zeros")
        kernel = vector.moveaxis(w, (0, 1), (-1, -2))
        return f(x, kernel, bias, one(stride), one(padding), one(output_padding), one(dilation), groups)

    return batched(call, axes)


def pooled(name: str, axes: int) -> Callable[..., Any]:
    f = getattr(vector, name)

    def call(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, *rest: Any, **more: Any) -> Any:
        more |= zip(("ceil_mode", "count_include_pad", "divisor_override"), rest, strict=False)
        only(more, ceil_mode=False, count_include_pad=True, divisor_override=None, dilation=1, return_indices=False)
        return f(x, one(kernel_size), None if stride in (None, (), []) else one(stride), one(padding))

    return batched(call, axes)


def unfolded(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    parts = vector.unfold(last(x), one(kernel_size), one(stride), one(padding), one(dilation))
    n, h, w, a, b, c = parts.shape
    return parts.transpose(0, 5, 3, 4, 1, 2).reshape(n, c * a * b, h * w)


ARRAYS: dict[str, Callable[..., Any]] = {
    **{f"nn.functional.conv{n}d": convolution(n) for n in (1, 2)},
    **{f"nn.functional.conv_transpose{n}d": transposed(n) for n in (1, 2)},
    **{f"nn.functional.{name}{n}d": pooled(name, n) for name in ("max_pool", "avg_pool") for n in (1, 2)},
    "nn.functional.unfold": unfolded,
    "cholesky": symmetric(vector.cholesky),
    "linalg.cholesky": symmetric(vector.cholesky),
    "linalg.det": vector.det,
    "linalg.inv": vector.inv,
    "linalg.matrix_norm": lambda x, ord="fro", dim=(-2, -1), keepdim=False, **more: norm(x, ord, dim, keepdim, **more),
    "linalg.norm": norm,
    "linalg.slogdet": vector.slogdet,
    "linalg.solve": solve,
    "linalg.svdvals": lambda x: vector.svd(x).S,
    "linalg.vector_norm": vector_norm,
    "logdet": lambda x: vector.where(vector.slogdet(x).sign.data > 0, vector.slogdet(x).logabsdet, math.nan),
    **{name: with_axis(getattr(vector, name)) for name in ("cumsum", "cumprod")},
    **{
        name: getattr(vector, name)
        for name in ("ravel", "tile", "tril", "triu", "diag", "kron", "inner", "outer", "trace")
    },
    **{name: spread(name) for name in ("var", "std")},
    "chunk": chunk,
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: vector.diagonal(x, offset, dim1, dim2),
    "addr": lambda x, a, b, beta=1, alpha=1: x * float(beta) + vector.outer(a, b) * float(alpha),
    "einsum": lambda xs, subscripts: vector.einsum(subscripts, *xs),
    "flip": lambda x, *given, dims=(): vector.flip(x, sizes(given or (dims,))),
    "gather": gather,
    "hstack": vector.hstack,
    "linalg.diagonal": lambda x, *, offset=0, dim1=-2, dim2=-1: vector.diagonal(x, offset, dim1, dim2),
    "movedim": moved(lambda x, a, b: vector.moveaxis(x, a, b)),
    "msort": lambda x: vector.sort(x, 0) if x.ndim else x + 0.0,
    "nn.functional.pad": padded,
    "prod": prod,
    "repeat": lambda x, *given: vector.tile(x, sizes(given)),
    "repeat_interleave": repeated,
    "roll": roll,
    "sort": sort,
    "split": split,
    "split_with_sizes": split,
    "squeeze": squeezed,
    "take_along_dim": take_along,
    "tensordot": tensordot,
    "topk": topk,
    "transpose": moved(lambda x, a, b: vector.swapaxes(x, a, b)),
    "unsqueeze": lambda x, dim: vector.expand_dims(x, dim),
    "vstack": vector.vstack,
}
