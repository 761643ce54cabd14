"""Layers on images (n, h, w, channels) and sequences (n, l, channels): the channels stand last."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..op import floating
from ..tensor import Tensor
from .base import Layer
from .dense import Activation, activate
from .hidden import name_of
from .initial import Initializer, glorot_uniform, parameter

Size = int | tuple[int, ...]


class Conv2D(Layer):
    """Convolution of images: activation(x * W + b), where W is (kh, kw, channels / groups, filters) and b (filters,).

    W is from `init` as a matrix (kh kw channels / groups, filters), with the seed, b is 0; with `bias=False` there is
    none. `size`, `stride`, `padding` (a number, or "same") and `dilation` are numbers for both axes, or pairs; see
    vector.conv2d. Images without an axis of channels, (n, h, w), have one.
    """

    axes = 2

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
        init: Initializer = glorot_uniform,
        dtype: Any = np.float64,
    ) -> None:
        name = type(self).__name__
        if min(channels, filters, groups) < 1 or channels % groups or filters % groups:
            raise ValueError(
                f"{name}: expected channels and filters in {groups} groups of equal size, got {channels} and {filters}"
            )
        dtype = floating(dtype, name)
        kernel = (size,) * self.axes if isinstance(size, int) else tuple(size)
        if len(kernel) != self.axes or min(kernel) < 1:
            raise ValueError(f"{name}: expected a size of at least 1, for each of {self.axes} axes, got {size}")
        shape = (*kernel, channels // groups, filters)
        table = init(np.random.default_rng(seed), math.prod(shape[:-1]), filters)
        self.channels, self.filters, self.size = channels, filters, kernel
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.weight = parameter(table.reshape(shape).astype(dtype), "weight")
        self.bias = parameter(np.zeros(filters, dtype), "bias") if bias else None
        self.activation = activate(activation)

    def __call__(self, x: Any) -> Any:
        """(n, h, w, channels) to (n, h', w', filters). Raises ValueError for another number of channels."""
        x = Tensor.lift(x, type(self).__name__)
        if x.ndim == self.axes + 1 and self.channels == 1:
            x = ops.reshape(x, (*x.shape, 1))
        if x.ndim != self.axes + 2 or x.shape[-1] != self.channels:
            wanted = ", ".join(("n", "h, w" if self.axes == 2 else "l", str(self.channels)))
            raise ValueError(f"{type(self).__name__}: expected shape ({wanted}), got {x.shape}")
        out = self.convolve(x)
        return self.activation(out) if self.activation else out

    def convolve(self, x: Any) -> Any:
        """The op on these axes."""
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def _details(self) -> str:
        """Channels, filters, size, and the activation by name."""
        shown = [self.channels, self.filters, "x".join(map(str, self.size))]
        return ", ".join(map(str, shown + ([name_of(self.activation)] if self.activation else [])))


class Conv1D(Conv2D):
    """Convolution of sequences (n, l, channels), with a weight (k, channels / groups, filters), as `Conv2D`."""

    axes = 1

    def convolve(self, x: Any) -> Any:
        """The op on one axis."""
        return ops.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class MaxPool(Layer):
    """The largest element of each window of images (n, h, w, c) or sequences (n, l, c), channel by channel. Windows lie
    side by side, or `stride` apart."""

    def __init__(self, size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        self.size, self.stride, self.padding = size, stride, padding

    def __call__(self, x: Any) -> Any:
        """(n, h, w, c) to (n, h', w', c)."""
        return ops.max_pool(x, self.size, self.stride, self.padding)

    def _details(self) -> str:
        """The size."""
        return str(self.size)


class AvgPool(MaxPool):
    """The mean of each window, as `MaxPool`."""

    def __call__(self, x: Any) -> Any:
        """(n, h, w, c) to (n, h', w', c)."""
        return ops.avg_pool(x, self.size, self.stride, self.padding)


class GlobalAveragePool(Layer):
    """The mean over all places, channel by channel: (n, ..., c) to (n, c)."""

    def __call__(self, x: Any) -> Any:
        """(n, ..., c) to (n, c)."""
        return ops.mean(x, axis=tuple(range(1, np.ndim(x) - 1)))


class Upsample(Layer):
    """Images (n, h, w, c) larger by a whole factor, "nearest" or "bilinear"."""

    def __init__(self, factor: Size, mode: str = "nearest") -> None:
        self.factor, self.mode = factor, mode

    def __call__(self, x: Any) -> Any:
        """(n, h, w, c) to (n, factor h, factor w, c)."""
        return ops.upsample(x, self.factor, self.mode)

    def _details(self) -> str:
        """The factor and the mode."""
        return f"{self.factor}, {self.mode}"
