"""Samples of the ops that are not element by element: shapes, axes, products, linear algebra, convolution."""

from collections.abc import Iterator
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


def over_axes() -> Iterator[Sample]:
    for name in ("cumsum", "cumprod"):
        yield from alike(name, ((2, 3),), ((2, 3), 0), ((2, 1, 3), -1), ((),), ((0, 2), 1), ((2, 0), 0), ((5,), 0))
    for axis in (None, 0, -1, (0, 1), (1,)):
        yield from alike("prod", ((2, 3), axis), ((2, 3), axis, {"keepdims": True}))
        for name in ("var", "std"):
            yield from alike(name, ((2, 3), axis), ((2, 3), axis, {"keepdims": True, "ddof": 1}))
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


def of_arrays() -> Iterator[Sample]:
    yield from of_shapes()
    yield from over_axes()
    yield from more_products()
