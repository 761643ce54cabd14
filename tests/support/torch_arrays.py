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


ARRAYS: dict[str, Callable[..., Any]] = {
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
