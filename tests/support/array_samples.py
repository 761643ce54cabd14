"""Samples of the ops that are not element by element: shapes, axes, products, linear algebra, convolution."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sampling import Sample, alike, numbers

import vector


def of_shapes() -> Iterator[Sample]:
    yield from alike("squeeze", ((2, 1, 3),), ((1, 2, 1), -1), ((1, 1), (0, -1)), ((),), ((1, 0),), ((3,),))
    yield from alike("expand_dims", ((2, 3), 1), ((), 0), ((3,), (0, -1)), ((0, 2), -1))
    for name in ("ravel", "flatten"):
        yield from alike(name, ((2, 3),), ((),), ((0, 2),), plain=np.ravel)
    yield from alike("swapaxes", ((2, 1, 3), 0, -1), ((2, 3), -1, 0), ((3,), 0, 0), ((0, 3), 0, 1))
    yield from alike("moveaxis", ((2, 1, 3), 0, -1), ((2, 1, 3), (0, 1), (-1, 0)), ((3,), 0, 0), ((2, 0), -1, 0))
    yield from alike("flip", ((2, 3),), ((2, 3), 1), ((2, 1, 3), (0, -1)), ((),), ((0, 2), 0), ((1,), 0))
    yield from alike("roll", ((2, 3), 1), ((2, 3), -1, 1), ((2, 3), (1, 2), (0, -1)), ((), 1), ((0, 2), 1, 0))
    yield from alike("repeat", ((2, 3), 2), ((2, 3), 3, -1), ((2, 3), [0, 2], 0), ((), 2), ((3,), 0), ((1, 0), 2, 0))
    yield from alike("repeat", ((2, 1, 3), 2, 1), ((3,), np.array([1, 0, 3])))
    yield from alike("tile", ((2, 3), 2), ((3,), (2, 1)), ((2, 1), (2, 1, 3)), ((), 3), ((0, 2), 2), ((3,), 0))
    yield from alike("pad", ((2, 3), 1), ((2, 3), ((1, 0), (0, 2))), ((3,), 2, {"constant_values": -0.5}), ((), 1))
    yield from alike("pad", ((0, 2), 1), ((2, 3), 1, "edge"), ((2, 3), ((0, 0), (2, 3)), "reflect"))
    yield from alike("pad", ((1, 3), (2, 1), "symmetric"), ((3,), 4, "wrap"), ((2, 1), (1, 2), "reflect"))
    yield from alike("tril", ((3, 3),), ((2, 3), 1), ((2, 3, 2), -1), ((3,),), ((0, 3),), ((1, 1), -1))
    yield from alike("triu", ((3, 3),), ((2, 3), 1), ((2, 3, 2), -1), ((3,),), ((0, 3),), ((1, 1), 1))
    yield from alike("diag", ((3, 3),), ((2, 3), 1), ((3, 2), -1), ((3,),), ((2,), -2), ((0,), 1), ((2, 0),))
    yield from alike("diag", ((2, 3), -5), ((2, 3), 3))
    yield from alike("diagonal", ((2, 3),), ((2, 3, 4), -1, 2, 1), ((3, 0, 2), 1, 0, -1), ((2, 3, 3), 1))
    several = np.array([[2, 0, 0], [1, 1, -1]])
    yield from alike(
        "take_along_axis", ((2, 3), several), ((2, 3), several[:1, 2:] % 2, 0), ((3,), np.array([0, 0, 2, 1]))
    )
    yield from alike("take_along_axis", ((2, 1, 3), several[:, :, None] % 3, -1), ((2, 2), np.array([3, 0, 3]), None))
    yield from joined()


def joined() -> Iterator[Sample]:
    for name in ("hstack", "vstack"):
        for shapes in ([(2, 3), (2, 3)], [(3,), (3,)], [(), ()], [(0, 2), (0, 2)], [(2, 1, 3)] * 2):
            ours, numpys = getattr(vector, name), getattr(np, name)
            f, plain = (lambda *xs, f=f: f(xs) for f in (ours, numpys))
            yield Sample(name, str(shapes), f, plain, numbers(*shapes))
    for shape, where, axis in [((4, 3), 2, 0), ((2, 3), [1, 1, 5], -1), ((3,), [2], 0), ((0, 2), 3, 0), ((3,), 1, 0)]:
        first = lambda f, x, w=where, a=axis: [part * (2.0 + i) for i, part in enumerate(f(x, w, a))]  # noqa: E731
        yield Sample(
            "split",
            f"{shape} {where} {axis}",
            lambda x, f=first, a=axis: vector.concatenate(f(vector.split, x)[::-1], a),
            lambda x, f=first, a=axis: np.concatenate(f(np.split, x)[::-1], a),
            numbers(shape),
        )


def standardized(x, axis=-1, eps=1e-5):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


def over_axes() -> Iterator[Sample]:
    for name in ("cumsum", "cumprod"):
        yield from alike(name, ((2, 3),), ((2, 3), 0), ((2, 1, 3), -1), ((),), ((0, 2), 1), ((2, 0), 0), ((5,), 0))
    for axis in (None, -1, (0, 1)):
        yield from alike("prod", ((2, 3), axis), ((2, 3), axis, {"keepdims": True}))
        for name in ("var", "std"):
            yield from alike(name, ((2, 3), axis), ((2, 3), axis, {"keepdims": True, "ddof": 1}))
    calls = ((2, 3),), ((4, 2), 0), ((2, 3, 2), (0, 1)), ((2, 3), -1, 0.1), ((1, 3), None)
    yield from alike("standardize", *calls, plain=standardized)
    yield from alike("prod", ((),), ((1,), -1), ((0, 2), 0), ((2, 1, 3), (0, -1)), ((2, 0),), ((), 0))
    yield from alike("var", ((2, 1, 3), (0, -1)), ((3, 0), 0), ((4,), {"ddof": 2.5}))
    yield from alike("std", ((2, 1, 3), (0, -1)), ((3, 0), 0), ((4,), {"ddof": 2.5}))
    yield from alike("sort", ((2, 3),), ((2, 3), 0), ((2, 3), None), ((1,),), ((0, 2),), ((), None), ((2, 1, 3), -3))
    for name, shape, axis in [("argsort", (2, 3), 0), ("argmax", (2, 3), 1), ("argmin", (3,), 0)]:
        keep, f, plain = {} if name == "argsort" else {"keepdims": True}, getattr(vector, name), getattr(np, name)
        yield Sample(
            name,
            f"{shape} {axis}",
            lambda x, f=f, a=axis, k=keep: vector.take_along_axis(x, f(x, a, **k), a),
            lambda x, f=plain, a=axis, k=keep: np.take_along_axis(x, f(x, a, **k), a),
            numbers(shape),
        )
    for shape, k, axis in [((2, 4), 2, -1), ((3, 2), 3, 0), ((3,), 0, 0), ((0, 2), 1, 1), ((2, 1, 3), 1, -3)]:
        yield Sample(
            "topk",
            f"{shape} {k} {axis}",
            lambda x, k=k, a=axis: vector.topk(x, k, a)[0],
            lambda x, k=k, a=axis: -np.sort(-x, a)[(slice(None),) * (a % x.ndim) + (slice(k),)],
            numbers(shape),
        )


EINSUMS: list[Any] = [
    *(
        ("ij,jk->ik", (2, 3), (3, 2)),
        ("ij,kj", (2, 3), (4, 3)),
        ("ii", (3, 3)),
        ("iij->ji", (2, 2, 3)),
        ("i,j->ji", (3,), (2,)),
    ),
    *(
        ("i,i", (3,), (3,)),
        ("bi,bi->b", (2, 3), (2, 3)),
        ("bij,bjk->bki", (2, 1, 3), (2, 3, 2)),
        ("ij,ij->", (2, 3), (2, 3)),
    ),
    *(
        ("b...j,jk->b...k", (2, 2, 3), (3, 2)),
        ("...ij,...jk", (2, 1, 2, 1), (2, 1, 3)),
        ("i...->...", (2, 3)),
        ("ba", (2, 3)),
    ),
    *(
        ("ij,jk,kl->il", (2, 3), (3, 2), (2, 1)),
        ("i,ij,j", (2,), (2, 3), (3,)),
        ("ij,jk->ik", (2, 1), (3, 2)),
        (",i->i", (), (3,)),
    ),
    *(
        ("ij,jk->ik", (0, 3), (3, 2)),
        ("ij,jk->ik", (2, 0), (0, 2)),
        ("i,i->i", (1,), (3,)),
        ("aij,ai->aij", (2, 1, 3), (2, 1)),
    ),
]


def more_products() -> Iterator[Sample]:
    for subscripts, *shapes in EINSUMS:
        yield Sample(
            "einsum",
            f"{subscripts} {shapes}",
            lambda *xs, s=subscripts: vector.einsum(s, *xs),
            lambda *xs, s=subscripts: np.einsum(s, *xs),
            numbers(*shapes),
        )
    yield Sample(
        "einsum",
        "itself",
        *(lambda x, f=f: f("ij,jk,ij->ki", x, x, x) for f in (vector.einsum, np.einsum)),
        numbers((2, 2)),
    )
    yield from alike("tensordot", ([(2, 3), (3, 2)], 1), ([(2, 3, 2), (3, 2, 1)],), ([(2, 1), (3,)], 0))
    yield from alike(
        "tensordot", ([(2, 3, 2), (2, 3)], ((0, 1), (0, -1))), ([(0, 2), (2, 0)], (0, 1)), ([(3,), (3,)], 1)
    )
    yield from alike("outer", ([(2, 3), (2,)],), ([(), (3,)],), ([(0,), (2,)],), ([(1,), (1,)],))
    yield from alike("inner", ([(2, 3), (1, 3)],), ([(), (3,)],), ([(3,), (3,)],), ([(2, 0), (0,)],))
    yield from alike("kron", ([(2, 3), (1, 2)],), ([(2,), (2, 1, 2)],), ([(), (3,)],), ([(0, 2), (2,)],))
    yield from alike("trace", ((3, 3),), ((2, 3), 1), ((2, 3, 4), -1, 2, 1), ((0, 2),))


# --- linear algebra: of what is added to a matrix that is far from singular, its eigenvalues far apart ----------------


FAR = {(3, 3): np.diag([5.0, 9.0, 14.0]), (3, 2): np.eye(3, 2) * [5.0, 9.0], (2, 3): np.eye(2, 3) * [[5.0], [9.0]]}
FAR |= {(2, 2): np.diag([5.0, -9.0]), (1, 1): np.array([[5.0]])}


def together(f: Callable[..., Any], join: Callable[..., Any]) -> Callable[..., Any]:
    """f, whose results, if they are several, are joined to one."""
    return lambda *xs: join(out, None) if isinstance(out := f(*xs), tuple) else out


def matrices(name: str, *shapes: Any) -> Iterator[Sample]:
    for shape in shapes:
        ours, theirs = getattr(vector, name), getattr(np.linalg, name)
        theirs = (lambda x: np.linalg.svd(x, full_matrices=False)) if name == "svd" else theirs
        f, plain = (
            lambda x, *more, f=f, k=FAR[shape[-2:]]: f(x + k, *more)
            for f in (together(ours, vector.concatenate), together(theirs, np.concatenate))
        )
        more = [(*shape[:-1], 2)] if name == "solve" else []
        yield Sample(name, str(shape), f, plain, numbers(shape, *more))


def linear_algebra() -> Iterator[Sample]:
    for name in ("inv", "det", "slogdet", "solve"):
        yield from matrices(name, (3, 3), (2, 2, 2), (1, 1), (0, 2, 2))
    yield Sample(
        "solve",
        "a vector",
        *(lambda x, y, f=f: f(x + FAR[2, 2], y) for f in (vector.solve, np.linalg.solve)),
        numbers((2, 2), (2,)),
    )
    yield from matrices("cholesky", (3, 3), (2, 3, 3), (1, 1), (0, 3, 3))
    yield from matrices("eigh", (3, 3), (2, 2, 2), (1, 1))
    yield from matrices("svd", (3, 3), (3, 2), (2, 2, 3), (1, 1))
    yield from matrices("qr", (3, 3), (3, 2), (2, 2, 3), (1, 1))
    yield Sample(
        "cofactor",
        "regular",
        lambda x: vector.ops.OPS["cofactor"](x + FAR[3, 3]),
        lambda x: minors(x + FAR[3, 3]),
        numbers((3, 3)),
    )
    for ord, axis in [(None, None), (3, 1), (-1.5, 0), (1, 0), (math.inf, 1)]:
        keep = {"keepdims": axis == 0}
        f, plain = (lambda x, f=f, o=ord, a=axis, k=keep: f(x, o, a, **k) for f in (vector.norm, np.linalg.norm))
        yield Sample("norm", f"{ord} {axis}", f, plain, numbers((2, 3)))
    for ord in ("fro", "nuc", 2, -1, math.inf):
        f, plain = (lambda x, f=f, o=ord: f(x + FAR[3, 2], o, (-1, 0), True) for f in (vector.norm, np.linalg.norm))
        yield Sample("norm", f"of matrices {ord}", f, plain, numbers((3, 2)))
    yield Sample(
        "norm", "nothing", *(lambda x, f=f: f(x, None, 0) for f in (vector.norm, np.linalg.norm)), numbers((0, 2))
    )


def minors(x: np.ndarray) -> np.ndarray:
    """The cofactors of matrices one by one, from their minors."""
    out, n = np.zeros(x.shape), x.shape[-1]
    for i, j in np.ndindex(n, n):
        minor = np.delete(np.delete(x, i, -2), j, -1)
        out[..., i, j] = (-1.0) ** (i + j) * np.linalg.det(minor)
    return out


# --- convolution: element by element of the kernel --------------------------------------------------------------------


def correlated(x: Any, w: Any, s: Any = (1, 1), p: Any = (0, 0), d: Any = (1, 1), groups: int = 1) -> np.ndarray:
    x = np.pad(x, ((0, 0), (p[0], p[0]), (p[1], p[1]), (0, 0)))
    h, v = ((x.shape[i + 1] - d[i] * (w.shape[i] - 1) - 1) // s[i] + 1 for i in (0, 1))
    out = np.zeros((len(x), h, v, w.shape[3]))
    for (i, j), kernel in zip(np.ndindex(w.shape[:2]), w.reshape(-1, *w.shape[2:]), strict=True):
        part = x[:, i * d[0] : i * d[0] + s[0] * h : s[0], j * d[1] : j * d[1] + s[1] * v : s[1]]
        out += np.concatenate(
            [a @ b for a, b in zip(np.split(part, groups, 3), np.split(kernel, groups, 1), strict=True)], 3
        )
    return out


def transposed(g: Any, w: Any, like: Any, *settings: Any) -> np.ndarray:
    """The transpose of `correlated`, by what it makes of each image with a single 1."""
    ones = np.eye(math.prod(like)).reshape(-1, 1, *like)
    return np.array([[np.sum(correlated(one, w, *settings)[0] * image) for one in ones] for image in g]).reshape(
        -1, *like
    )


CONVOLUTIONS: list[Any] = [  # images, kernels, stride, padding, dilation, groups
    *(
        ((2, 3, 3, 1), (2, 2, 1, 2)),
        ((1, 4, 3, 2), (2, 1, 2, 2), (2, 1)),
        ((1, 3, 2, 2), (3, 2, 1, 2), (1, 1), (1, 0), (1, 1), 2),
    ),
    *(((1, 5, 4, 1), (2, 2, 1, 1), (2, 1), (1, 1), (2, 3)), ((0, 2, 2, 1), (1, 2, 1, 2)), ((1, 2, 2, 3), (1, 1, 3, 2))),
    *(((1, 2, 3, 5), (2, 2, 5, 1), (1, 1), (1, 1)), ((2, 1, 1, 1), (1, 1, 1, 1), (2, 2))),
]


def convolutions() -> Iterator[Sample]:
    for x, w, *settings in CONVOLUTIONS:
        f = lambda x, w, s=settings: vector.conv2d(x, w, None, *s)  # noqa: E731
        yield Sample("conv", f"{x} {w} {settings}", f, lambda x, w, s=settings: correlated(x, w, *s), numbers(x, w))
        out = correlated(np.zeros(x), np.zeros(w), *settings).shape
        s, p, d, groups = [*settings, *[(1, 1), (0, 0), (1, 1), 1][len(settings) :]]
        more = tuple((n + 2 * b - e * (k - 1) - 1) % a for n, a, b, e, k in zip(x[1:3], s, p, d, w, strict=False))
        back = lambda g, w, s=(s, p, more, d, groups): vector.conv_transpose2d(g, w, None, *s)  # noqa: E731
        plain = lambda g, w, x=x[1:], s=settings: transposed(g, w, x, *s)  # noqa: E731
        yield Sample(
            "conv_input" if groups == 1 else "conv_transpose2d", f"{out} {w} {settings}", back, plain, numbers(out, w)
        )
        if groups == 1:
            args = w[:2], tuple((n, n) for n in p), s, d
            kernel = lambda x, g, a=args: vector.ops.OPS["conv_weight"](x, g, *a)  # noqa: E731
            plain = lambda x, g, w=w, s=settings: of_kernel(x, g, w, *s)  # noqa: E731
            yield Sample("conv_weight", f"{x} {w} {settings}", kernel, plain, numbers(x, out))
    yield Sample(
        "conv2d",
        "same, with bias",
        lambda x, w, b: vector.conv2d(x, w, b, padding="same"),
        lambda x, w, b: correlated(np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0))), w, p=(0, 1)) + b,
        numbers((1, 3, 3, 1), (2, 3, 1, 2), (2,)),
    )
    yield from along_one()


def of_kernel(x: Any, g: Any, shape: Any, *settings: Any) -> np.ndarray:
    ones = np.eye(math.prod(shape)).reshape(-1, *shape)
    return np.array([np.sum(correlated(x, one, *settings) * g) for one in ones]).reshape(shape)


def along_one() -> Iterator[Sample]:
    row = lambda x: x[:, None]  # noqa: E731
    yield Sample(
        "conv1d",
        "strided",
        lambda x, w, b: vector.conv1d(x, w, b, stride=2, padding=1),
        lambda x, w, b: correlated(row(x), w[None], (1, 2), (0, 1))[:, 0] + b,
        numbers((2, 4, 2), (3, 2, 1), (1,)),
    )
    yield Sample(
        "conv1d",
        "same",
        lambda x, w: vector.conv1d(x, w, padding="same", dilation=2),
        lambda x, w: correlated(row(x), w[None], (1, 1), (0, 2), (1, 2))[:, 0],
        numbers((1, 5, 1), (3, 1, 2)),
    )
    yield Sample(
        "conv_transpose1d",
        "strided",
        lambda x, w: vector.conv_transpose1d(x, w, stride=2, padding=1, output_padding=1),
        lambda x, w: transposed(row(x), w[None], (1, 4, 2), (1, 2), (0, 1))[:, 0],
        numbers((2, 2, 1), (3, 2, 1)),
    )


# --- windows ----------------------------------------------------------------------------------------------------------


def parts_of(x: Any, size: Any, s: Any, d: Any = (1, 1)) -> np.ndarray:
    """(n, h', w', kh, kw, c)."""
    view = np.lib.stride_tricks.sliding_window_view(x, [(k - 1) * e + 1 for k, e in zip(size, d, strict=True)], (1, 2))
    return np.moveaxis(view[:, :: s[0], :: s[1], :, :: d[0], :: d[1]], 3, 5)


WINDOWS: list[Any] = [  # images, window, stride
    *(
        ((1, 4, 4, 1), (2, 2), (2, 2)),
        ((2, 3, 4, 1), (2, 2), (1, 1)),
        ((1, 5, 3, 2), (1, 3), (2, 1)),
        ((0, 2, 2, 1), (1, 1), (1, 1)),
    ),
    ((1, 3, 2, 1), (2, 2), (3, 3)),
]


def windows() -> Iterator[Sample]:
    ops = vector.ops.OPS
    for shape, size, stride in WINDOWS:
        args = f"{shape} {size} {stride}"
        given = lambda name, k=size, s=stride: lambda x: getattr(vector, name)(x, k, s)  # noqa: E731
        whole = lambda f, k=size, s=stride: lambda x: f(parts_of(x, k, s), axis=(3, 4))  # noqa: E731
        yield Sample("max_pool", args, given("max_pool"), whole(np.max), numbers(shape))
        yield Sample("avg_pool", args, given("avg_pool"), whole(np.mean), numbers(shape))
        yield Sample("unfold", args, given("unfold"), lambda x, k=size, s=stride: parts_of(x, k, s), numbers(shape))
        out = parts_of(np.zeros(shape), size, stride).shape
        add = lambda x, n=shape, k=size, s=stride: added(x, n, k, s)  # noqa: E731
        fold = lambda x, n=shape, s=stride: vector.fold(x, n[1:3], s)  # noqa: E731
        yield Sample("fold", args, fold, add, numbers(out))
        images = numbers(shape)[0]
        top = parts_of(images, size, stride).max((3, 4))
        chosen = parts_of(images, size, stride) == top[:, :, :, None, None]
        share = lambda x, a=(images, top, size, stride): ops["max_share"](x, *a)  # noqa: E731
        plain = lambda x, c=chosen, f=add: f(c * x[:, :, :, None, None])  # noqa: E731
        yield Sample("max_share", args, share, plain, numbers(top.shape))
        choose = lambda x, a=(images, top, size, stride): ops["max_chosen"](x, *a)  # noqa: E731
        plain = lambda x, c=chosen, k=size, s=stride: (parts_of(x, k, s) * c).sum((3, 4))  # noqa: E731
        yield Sample("max_chosen", args, choose, plain, numbers(shape))
        average = lambda x, a=(shape[1:3], size, stride): ops["avg_share"](x, *a)  # noqa: E731
        plain = lambda x, f=add, n=out: f(np.broadcast_to(x[:, :, :, None, None], n) / math.prod(n[3:5]))  # noqa: E731
        yield Sample("avg_share", args, average, plain, numbers(top.shape))
    yield from more_windows()


def added(x: Any, shape: Any, size: Any, stride: Any) -> np.ndarray:
    """The transpose of `parts_of`."""
    out = np.zeros(shape)
    for i, j in np.ndindex(x.shape[1:3]):
        out[:, i * stride[0] : i * stride[0] + size[0], j * stride[1] : j * stride[1] + size[1]] += x[:, i, j]
    return out


def more_windows() -> Iterator[Sample]:
    sequence = numbers((2, 5, 1))
    for name, f in (("max_pool", np.max), ("avg_pool", np.mean)):
        pool = getattr(vector, name)
        plain = lambda x, f=f: f(parts_of(x[:, None], (1, 2), (1, 2)), axis=(3, 4))[:, 0]  # noqa: E731
        yield Sample(name, "of sequences", lambda x, p=pool: p(x, 2), plain, sequence)
        fill = -math.inf if f is np.max else 0.0
        zeros = lambda x, v=fill: np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=v)  # noqa: E731
        plain = lambda x, f=f, z=zeros: f(parts_of(z(x), (3, 3), (2, 2)), axis=(3, 4))  # noqa: E731
        yield Sample(name, "over the edge", lambda x, p=pool: p(x, 3, 2, 1), plain, numbers((1, 3, 4, 1)))
    padded = lambda x: np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))  # noqa: E731
    apart = lambda x: parts_of(padded(x), (2, 2), (1, 2), (2, 1))  # noqa: E731
    yield Sample("unfold", "apart", lambda x: vector.unfold(x, 2, (1, 2), (1, 0), (2, 1)), apart, numbers((1, 3, 4, 1)))
    inner = lambda x: added(x, (1, 5, 4, 1), (2, 2), (1, 2))[:, 1:-1]  # noqa: E731
    yield Sample(
        "fold", "over the edge", lambda x: vector.fold(x, (3, 4), (1, 2), (1, 0)), inner, numbers((1, 4, 2, 2, 2, 1))
    )
    nearest = lambda x: x.repeat(2, 1).repeat(3, 2)  # noqa: E731
    yield Sample("upsample", "nearest", lambda x: vector.upsample(x, (2, 3)), nearest, numbers((1, 2, 2, 1)))
    between = np.array([[4, 0], [3, 1], [1, 3], [0, 4]]) / 4.0
    straight = lambda x: np.einsum("ai,bj,nijc->nabc", between, between, x)  # noqa: E731
    yield Sample("upsample", "bilinear", lambda x: vector.upsample(x, 2, "bilinear"), straight, numbers((1, 2, 2, 2)))


def of_arrays() -> Iterator[Sample]:
    yield from of_shapes()
    yield from over_axes()
    yield from more_products()
    yield from linear_algebra()
    yield from convolutions()
    yield from windows()
