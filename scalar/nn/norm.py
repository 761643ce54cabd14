"""Layers that bring what they get to mean 0 and variance 1, or to one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops import mean, sqrt
from ..value import Value
from .base import Layer, flat, lengths, numbers, parameter, samplewise


class Norm(Layer):
    """What these layers share: a scale, 1, and a shift, 0, for each of a row's features."""

    bias: Any  # a list of Values; None without a shift

    def __init__(self, features: int, eps: float, shift: bool = True) -> None:
        if features < 1:
            raise ValueError(f"{type(self).__name__}: expected at least 1 feature, got {features}")
        self.features, self.eps = features, eps
        self.weight = parameter(np.ones(features), "weight")
        self.bias = parameter(np.zeros(features), "bias") if shift else None

    def check(self, xs: Any) -> None:
        """Raises ValueError for another number of features in the rows of lists in lists."""
        name = type(self).__name__
        if lengths(xs, name)[-1:] != (self.features,):
            raise ValueError(
                f"{name}: expected {self.features} features along the last axis, got shape {lengths(xs, name)}"
            )

    def _details(self) -> str:
        return str(self.features)


class BatchNorm(Norm):
    """Each feature brought to mean 0 and variance 1 over a batch, then scaled and shifted (Ioffe and Szegedy, 2015):

    y = (x - mean) / sqrt(variance + eps) * weight + bias

    In training, the mean and variance are the batch's, over all samples and places, and the lists of numbers `mean` and
    `variance`, which are saved, move towards them: by `momentum` of the way at each batch, to the variance that divides
    by n - 1. After `eval()` they are used, and a single sample is as good as a batch.
    """

    mean: list[float]
    variance: list[float]

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__(features, eps)
        self.momentum = momentum
        self.register_buffer("mean", [0.0] * features)
        self.register_buffer("variance", [1.0] * features)

    def __call__(self, xs: Any) -> Any:
        """A batch `[n][...][features]` to one of the same shape. Raises ValueError for a batch of one number a feature
        in training."""
        self.check(xs)
        means, variances = self.of_batch(xs) if self.training else (self.mean, self.variance)
        roots = [sqrt(v + self.eps) for v in variances]

        def normalize(row: Sequence[Any]) -> list[Any]:
            by_feature = zip(row, means, roots, self.weight, self.bias, strict=True)
            return [(x - m) / root * w + b for x, m, root, w, b in by_feature]

        return samplewise(normalize, xs, depth=1)

    def of_batch(self, xs: Any) -> tuple[list[Value], list[Value]]:
        """The mean and variance of each feature of a batch. What is kept of them moves there."""
        elements = flat(xs)
        n = len(elements) // self.features
        if n < 2:
            raise ValueError(
                f"BatchNorm: expected more than one number a feature in training, got shape {lengths(xs, 'BatchNorm')}"
            )
        columns = [elements[i :: self.features] for i in range(self.features)]
        means = [mean(column) for column in columns]
        variances = [variance(column, m) for column, m in zip(columns, means, strict=True)]
        unbiased = [v * (n / (n - 1)) for v in numbers(variances)]
        self.mean = [old + self.momentum * (m - old) for old, m in zip(self.mean, numbers(means), strict=True)]
        self.variance = [old + self.momentum * (v - old) for old, v in zip(self.variance, unbiased, strict=True)]
        return means, variances


class LayerNorm(Norm):
    """Each sample's features brought to mean 0 and variance 1 over themselves, then scaled and shifted (Ba et al.,
    2016): y = (x - mean) / sqrt(variance + eps) * weight + bias."""

    def __init__(self, features: int, eps: float = 1e-5) -> None:
        super().__init__(features, eps)

    def __call__(self, xs: Any) -> Any:
        """A row of numbers, or lists in lists of rows, to the same shape."""
        self.check(xs)
        return samplewise(self.row, xs, depth=1)

    def row(self, xs: Sequence[Any]) -> list[Any]:
        """The layer on one row."""
        scaled = zip(standardized(xs, self.eps), self.weight, self.bias, strict=True)
        return [x * w + b for x, w, b in scaled]


class RMSNorm(Norm):
    """Each sample's features divided by the root of the mean of their squares, then scaled (Zhang and Sennrich, 2019):
    y = x / sqrt(mean of x^2 + eps) * weight."""

    def __init__(self, features: int, eps: float = 1e-6) -> None:
        super().__init__(features, eps, shift=False)

    def __call__(self, xs: Any) -> Any:
        """A row of numbers, or lists in lists of rows, to the same shape."""
        self.check(xs)
        return samplewise(self.row, xs, depth=1)

    def row(self, xs: Sequence[Any]) -> list[Any]:
        """The layer on one row."""
        size = sqrt(mean([x * x for x in xs]) + self.eps)
        return [x / size * w for x, w in zip(xs, self.weight, strict=True)]


def variance(xs: Sequence[Any], middle: Any) -> Any:
    """The mean of (x - middle)^2."""
    return mean([(x - middle) * (x - middle) for x in xs])


def standardized(xs: Sequence[Any], eps: float) -> list[Any]:
    """(x - mean) / sqrt(variance + eps) for each x."""
    middle = mean(xs)
    root = sqrt(variance(xs, middle) + eps)
    return [(x - middle) / root for x in xs]
