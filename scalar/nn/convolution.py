"""Convolution, place by place. An image is rows of columns of channels, `image[i][j][c]`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import dot
from .base import Layer, called, expect, parameter, samplewise
from .dense import Activation, activate, glorot_uniform

Size = int | tuple[int, int]


class Conv2D(Layer):
    """Convolution of images: a small kernel moves over the image, and each filter f weighs all that it meets there:

        y[i][j][f] = activation(sum of x[i + a][j + b][c] W[a][b][c][f] over a, b and c, + bias[f])

    size      how many rows a and columns b the kernel has
    stride    how far it moves on from place to place: x[i * stride + a]
    padding   how many zeros stand around the image, or "same" for as many as keep its size
    dilation  how far apart in the image the elements of the kernel lie: x[i + a * dilation]
    groups    in how many parts channels and filters come: the filters of a part see the channels of that part alone

    All but `groups` are a number for both axes, or a pair. W is kh by kw by channels / groups by filters; it starts as
    a Dense layer's of kh kw channels / groups inputs, bias at 0. The same seed gives the same numbers as
    `vector.nn.Conv2D`.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        size: Size,
        activation: Activation = None,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        seed: int | None = None,
    ) -> None:
        if min(channels, filters, groups) < 1 or channels % groups or filters % groups:
            raise ValueError(
                f"Conv2D: expected channels and filters in {groups} groups of equal size, got {channels} and {filters}"
            )
        self.channels, self.filters, self.groups = channels, filters, groups
        self.size, self.stride, self.dilation = pair(size), pair(stride), pair(dilation)
        if min(self.size) < 1:
            raise ValueError(f"Conv2D: expected a size of at least 1, for each of 2 axes, got {size}")
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(f'Conv2D: expected stride 1 with padding "same", got {stride}')
        self.around = [zeros_around(padding, *axis) for axis in zip(self.size, self.dilation, (0, 1), strict=True)]
        kh, kw = self.size
        table = glorot_uniform(np.random.default_rng(seed), kh * kw * channels // groups, filters)
        self.weight = parameter(table.reshape(kh, kw, channels // groups, filters), "weight")
        self.bias = parameter(np.zeros(filters), "bias") if bias else None
        self.activation = activate(activation)

    def __call__(self, x: Any) -> Any:
        """An image `[h][w][channels]` to one of `[h'][w'][filters]`; a batch image by image. Raises ValueError for
        another number of channels, and where the kernel is larger than the image."""
        return samplewise(self.convolve, x, depth=3)

    def convolve(self, image: Any) -> list[Any]:
        """The layer on one image."""
        expect(image, ("h", "w", self.channels), "Conv2D")
        image = self.with_zeros_around(image)
        reach = [d * (k - 1) for k, d in zip(self.size, self.dilation, strict=True)]
        rows = range(0, len(image) - reach[0], self.stride[0])
        columns = range(0, len(image[0]) - reach[1], self.stride[1])
        if not rows or not columns:
            raise ValueError(
                f"Conv2D: expected a kernel within the image, got {self.size} and {(len(image), len(image[0]))}"
            )
        return [[self.place(image, i, j) for j in columns] for i in rows]

    def place(self, image: Any, i: int, j: int) -> list[Any]:
        """All filters, where the kernel's first corner is on row i and column j of the image."""
        outputs, share = [], self.channels // self.groups
        for f in range(self.filters):
            first = f * self.groups // self.filters * share  # of the channels of the filter's group
            met, weights = [], []
            for a, row in enumerate(self.weight):
                for b, channels in enumerate(row):
                    pixel = image[i + a * self.dilation[0]][j + b * self.dilation[1]]
                    met += pixel[first : first + share]
                    weights += [filters[f] for filters in channels]
            outputs.append(dot(met, weights) + (self.bias[f] if self.bias else 0.0))
        return self.activation(outputs) if self.activation else outputs

    def with_zeros_around(self, image: Any) -> list[Any]:
        """The image with the zeros of the padding."""
        (above, below), (left, right) = self.around
        black = [0.0] * self.channels
        wide = [[black] * left + list(row) + [black] * right for row in image]
        edge = [black] * len(wide[0])
        return [edge] * above + wide + [edge] * below

    def _details(self) -> str:
        shown = [self.channels, self.filters, "x".join(map(str, self.size))]
        return ", ".join(map(str, shown + ([called(self.activation)] if self.activation else [])))


def pair(size: Any) -> Any:
    """A setting for both axes, given as one or as two."""
    return tuple(size) if isinstance(size, (tuple, list)) else (size, size)


def zeros_around(padding: Any, k: int, dilation: int, axis: int) -> tuple[int, int]:
    """How many zeros before and after. For "same" together as many as the kernel reaches on, the odd one after."""
    if padding == "same":
        reach = dilation * (k - 1)
        return reach // 2, reach - reach // 2
    return (pair(padding)[axis],) * 2
