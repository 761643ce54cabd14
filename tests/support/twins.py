"""The layers of `vector.nn`, all of them, in Values: those of `scalar.nn`, and here what else there is.

A network is written once, and is built by either engine: `nn.Sequential(nn.Conv2D(2, 3, 3), nn.Lambda(E.tanh))`, with
`nn` this module for E = scalar, or `vector.nn` for E = vector. All take a batch of samples.
"""

import math

import numpy as np

import scalar
from scalar.nn import *  # noqa: F403
from scalar.nn import Layer, Sequential
from scalar.nn.base import depth_of, flat, parameter, samplewise
from scalar.nn.convolution import pair, zeros_around
from scalar.nn.dense import activate, glorot_uniform
from scalar.nn.norm import Norm, standardized
from scalar.nn.sequence import Recurrent


class SimpleRNN(Recurrent):
    """h' = tanh(x W + b + h U + c)."""

    def step(self, x, h, *states):
        return ([scalar.tanh(a + b) for a, b in zip(*x, *h, strict=True)],)


class LSTM(Recurrent):
    """c' = sigmoid(f) c + sigmoid(i) tanh(g) and h' = sigmoid(o) tanh(c'), where i, f, g, o are x W + b + h U + c."""

    gates = 4

    def begin(self):
        return super().begin() * 2

    def step(self, x, h, *states):
        i, f, g, o = ([a + b for a, b in zip(*parts, strict=True)] for parts in zip(x, h, strict=True))
        cell = [
            scalar.sigmoid(forget) * old + scalar.sigmoid(take) * scalar.tanh(new)
            for forget, old, take, new in zip(f, states[1], i, g, strict=True)
        ]
        return [scalar.sigmoid(gate) * scalar.tanh(c) for gate, c in zip(o, cell, strict=True)], cell


class GroupNorm(Norm):
    """Groups of neighbouring features, brought to mean 0 and variance 1 over themselves and all places of a sample."""

    def __init__(self, groups, features, eps=1e-5):
        super().__init__(features, eps)
        self.groups = groups

    def __call__(self, xs):
        return [self.sample(x) for x in xs]

    def sample(self, x):
        rows = [*rows_of(x)]
        wide = self.features // self.groups
        for first in range(0, self.features, wide):
            group = standardized([number for row in rows for number in row[first : first + wide]], self.eps)
            rows = [row[:first] + group[i * wide :][:wide] + row[first + wide :] for i, row in enumerate(rows)]
        scaled = iter([[x * w + b for x, w, b in zip(row, self.weight, self.bias, strict=True)] for row in rows])
        return samplewise(lambda row: next(scaled), x, depth=1)


class Conv1D(Layer):
    """Convolution of sequences: y[i][f] = sum of x[i + a][c] W[a][c][f] over a and c, + bias[f]."""

    def __init__(
        self, channels, filters, size, activation=None, stride=1, padding=0, dilation=1, groups=1, bias=True, seed=None
    ):
        self.channels, self.filters, self.share, self.reach = (
            channels,
            filters,
            channels // groups,
            dilation * (size - 1),
        )
        self.stride, self.dilation, self.around = stride, dilation, zeros_around(padding, size, dilation, 0)
        table = glorot_uniform(np.random.default_rng(seed), size * self.share, filters)
        self.weight = parameter(table.reshape(size, self.share, filters), "weight")
        self.bias = parameter(np.zeros(filters), "bias") if bias else [0.0] * filters
        self.activation = activate(activation) or list

    def __call__(self, xs):
        return [self.sequence(x) for x in xs]

    def sequence(self, xs):
        zeros = [[0.0] * self.channels]
        xs = zeros * self.around[0] + xs + zeros * self.around[1]
        places = range(0, len(xs) - self.reach, self.stride)
        return [self.activation([self.place(xs, i, f) for f in range(self.filters)]) for i in places]

    def place(self, xs, i, f):
        first = f * (self.channels // self.share) // self.filters * self.share
        met = [
            xs[i + a * self.dilation][first + c] * row[f]
            for a, rows in enumerate(self.weight)
            for c, row in enumerate(rows)
        ]
        return scalar.sum(met) + self.bias[f]


class MaxPool(Layer):
    """The largest number of each window, channel by channel."""

    def __init__(self, size, stride=None, padding=0):
        self.size, self.stride, self.padding = size, size if stride is None else stride, padding

    def __call__(self, xs):
        if depth_of(xs) == 4:
            return [self.image(x, pair(self.size), pair(self.stride), pair(self.padding)) for x in xs]
        return [self.image([x], (1, self.size), (1, self.stride), (0, self.padding))[0] for x in xs]

    def image(self, image, size, stride, padding):
        """All windows of an image, each given as the rows and columns that it reaches over, those outside as well."""
        starts = [
            range(-p, n + p - k + 1, s)
            for n, k, s, p in zip((len(image), len(image[0])), size, stride, padding, strict=True)
        ]
        return [
            [self.window(image, range(i, i + size[0]), range(j, j + size[1])) for j in starts[1]] for i in starts[0]
        ]

    def window(self, image, rows, columns):
        pixels = [image[i][j] for i in rows for j in columns if 0 <= i < len(image) and 0 <= j < len(image[0])]
        return [self.chosen(channel, len(rows) * len(columns)) for channel in zip(*pixels, strict=True)]

    def chosen(self, numbers, count):
        return scalar.max(numbers)


class AvgPool(MaxPool):
    """The mean of each window, channel by channel; outside the image are zeros."""

    def chosen(self, numbers, count):
        return scalar.sum(numbers) / count


class GlobalAveragePool(Layer):
    """The mean over all places of a sample, channel by channel."""

    def __call__(self, xs):
        return [[scalar.mean(channel) for channel in zip(*rows_of(x), strict=True)] for x in xs]


class Upsample(Layer):
    """Each number several times, or numbers on straight lines between the middles of these places."""

    def __init__(self, factor, mode="nearest"):
        self.factor, self.mode = factor, mode

    def __call__(self, xs):
        a, b = pair(self.factor)
        return [self.along([self.along(row, b, mix_pixels) for row in image], a, mix_rows) for image in xs]

    def along(self, things, factor, mix):
        """Of n things n * factor, where place i of the new ones is place (i + 1/2) / factor - 1/2 of the old."""
        if self.mode == "nearest":
            return [thing for thing in things for _ in range(factor)]
        mixed = []
        for i in range(len(things) * factor):
            at = min(max((i + 0.5) / factor - 0.5, 0.0), len(things) - 1.0)
            low = min(math.floor(at), len(things) - 2) if len(things) > 1 else 0
            mixed.append(mix(things[low], things[min(low + 1, len(things) - 1)], at - low))
        return mixed


def mix_pixels(one, other, share):
    return [x * (1.0 - share) + y * share for x, y in zip(one, other, strict=True)]


def mix_rows(one, other, share):
    return [mix_pixels(x, y, share) for x, y in zip(one, other, strict=True)]


class Residual(Layer):
    """x + f(x)."""

    def __init__(self, *layers):
        self.layers = layers

    def __call__(self, xs):
        return added(xs, Sequential(*self.layers)(xs))


def added(xs, ys):
    return [added(x, y) for x, y in zip(xs, ys, strict=True)] if isinstance(xs, list) else xs + ys


class Dropout(Layer):
    """In training each number is 0 with probability `rate`, or larger by 1 / (1 - rate); else nothing happens."""

    def __init__(self, rate, seed=None):
        self.rate, self.rng = rate, np.random.default_rng(seed)

    def __call__(self, xs):
        if not self.training:
            return xs
        kept = iter((self.rng.random(len(flat(xs))) >= self.rate).tolist())
        return samplewise(lambda x: x * float(next(kept)) / (1.0 - self.rate), xs, depth=0)


class Flatten(Layer):
    """Each sample as one row of numbers."""

    def __call__(self, xs):
        return [flat(x) for x in xs]


class Reshape(Layer):
    """Each sample in another shape."""

    def __init__(self, *shape):
        self.shape = shape

    def __call__(self, xs):
        return [boxes.tolist() for boxes in map(self.sample, xs)]

    def sample(self, x):
        boxes = np.empty(len(flat(x)), object)
        boxes[:] = flat(x)
        return boxes.reshape(self.shape)


class Lambda(Layer):
    """A function of one number, for each."""

    def __init__(self, function):
        self.function = function

    def __call__(self, xs):
        return samplewise(self.function, xs, depth=0)


def rows_of(nest):
    """The innermost lists of lists in lists, in order."""
    return (row for part in nest for row in rows_of(part)) if depth_of(nest) > 1 else [nest]
