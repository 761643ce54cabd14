"""What a sample of an op is, and the numbers it is tried on."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import vector

Shape = tuple[int, ...]


class Sample(NamedTuple):
    """f(*inputs) beside what numpy gives for the same arrays."""

    op: str
    about: str
    f: Callable[..., Any]
    numpy: Callable[..., Any]
    inputs: Sequence[np.ndarray]
    smooth: bool = True  # whether differences tell the slope
    recordable: bool = True  # whether its shapes do not depend on values

    def __str__(self) -> str:
        return f"{self.op} {self.about}"


def numbers(*shapes: Shape, low: float = -1.5) -> list[np.ndarray]:
    """Arrays of numbers that are all different, none near 0, 1 or -1."""
    rng = np.random.default_rng(sum(map(len, shapes)))
    sizes = [int(np.prod(shape)) for shape in shapes]
    spread = np.linspace(low, 1.7, sum(sizes) + 2)[1:-1]
    spread = rng.permutation(np.where(np.abs(np.abs(spread) - 0.5) > 0.45, spread * 0.93 + 0.031, spread))
    return [part.reshape(shape) for part, shape in zip(np.split(spread, np.cumsum(sizes)[:-1]), shapes, strict=True)]


def alike(name: str, *calls: tuple[Any, ...], plain: Callable[..., Any] | None = None) -> Iterator[Sample]:
    """Samples of what numpy has by the same name, with the same arguments, or `plain` gives for them: each call is the
    shape of the input, or a list of several inputs' shapes, and then the arguments, the last perhaps by name."""
    for shapes, *args in calls:
        named = args.pop() if args and isinstance(args[-1], dict) else {}
        given = numbers(*(shapes if isinstance(shapes, list) else [shapes]))
        ours, theirs = getattr(vector, name), plain or getattr(np, name)
        f, g = (lambda *xs, f=f, a=args, k=named: f(*xs, *a, **k) for f in (ours, theirs))
        yield Sample(name, f"{shapes} {args} {named}".replace("\n", ""), f, g, given)
