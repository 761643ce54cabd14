"""Layers that bring what they get to mean 0 and variance 1, or to one size."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..op import floating
from ..tensor import Tensor
from .base import Layer
from .initial import parameter


class Norm(Layer):
    """What these layers share: a scale, 1, and a shift, 0, for each of the `features` along the last axis."""

    def __init__(self, features: int, eps: float, shift: bool = True, dtype: Any = np.float64) -> None:
        if features < 1:
            raise ValueError(f"{type(self).__name__}: expected at least 1 feature, got {features}")
        dtype = floating(dtype, type(self).__name__)
        self.features, self.eps = features, eps
        self.weight = parameter(np.ones(features, dtype), "weight")
        self.bias = parameter(np.zeros(features, dtype), "bias") if shift else None

    def given(self, x: Any) -> Tensor:
        """x as a tensor of features. Raises ValueError for another number of them."""
        x = Tensor.lift(x, type(self).__name__)
        if x.shape[-1:] != (self.features,):
            raise ValueError(
                f"{type(self).__name__}: expected {self.features} features along the last axis, got shape {x.shape}"
            )
        return x

    def scaled(self, x: Any) -> Any:
        """x times the scale, plus the shift."""
        return x * self.weight if self.bias is None else x * self.weight + self.bias

    def _details(self) -> str:
        """The number of features."""
        return str(self.features)


class BatchNorm(Norm):
    """Each feature of a batch (n, ..., features) brought to mean 0 and variance 1 over the batch, then scaled and
    shifted (Ioffe and Szegedy, 2015).

    In training, the mean and variance are the batch's, and `mean` and `variance`, which are saved, move towards them:
    by `momentum` of the way at each batch, to the variance that divides by n - 1. After `eval()` they are used.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5, dtype: Any = np.float64) -> None:
        super().__init__(features, eps, dtype=dtype)
        self.momentum = momentum
        self.register_buffer("mean", np.zeros(features, self.weight.dtype))
        self.register_buffer("variance", np.ones(features, self.weight.dtype))

    def __call__(self, x: Any) -> Any:
        """(n, ..., features) to the same shape. Raises ValueError for a batch of one number a feature in training."""
        x = self.given(x)
        if not self.training:
            return self.scaled((x - self.mean) / ops.sqrt(self.variance + self.eps))
        n = x.size // self.features
        if n < 2:
            raise ValueError(f"BatchNorm: expected more than one number a feature in training, got shape {x.shape}")
        axes, given = tuple(range(x.ndim - 1)), x.peek()
        mean = np.add.reduce(given, axis=axes, keepdims=True) / float(n)
        centred = given - mean
        variance = np.add.reduce(centred * centred, axis=axes) / float(n - 1)
        for kept, new in ((self.mean, np.reshape(mean, self.mean.shape)), (self.variance, variance)):
            kept.data[...] = kept.data + self.momentum * (new - kept.data)
        return self.scaled(ops.standardize(x, axes, self.eps))


class LayerNorm(Norm):
    """Each sample's features brought to mean 0 and variance 1, then scaled and shifted (Ba et al., 2016)."""

    def __init__(self, features: int, eps: float = 1e-5, dtype: Any = np.float64) -> None:
        super().__init__(features, eps, dtype=dtype)

    def __call__(self, x: Any) -> Any:
        """(..., features) to the same shape."""
        return self.scaled(ops.standardize(self.given(x), -1, self.eps))


class RMSNorm(Norm):
    """Each sample's features divided by the root of the mean of their squares, then scaled (Zhang and Sennrich, 2019):
    x / sqrt(mean x^2 + eps) w."""

    def __init__(self, features: int, eps: float = 1e-6, dtype: Any = np.float64) -> None:
        super().__init__(features, eps, shift=False, dtype=dtype)

    def __call__(self, x: Any) -> Any:
        """(..., features) to the same shape."""
        x = self.given(x)
        return self.scaled(x / ops.sqrt(ops.mean(x * x, axis=-1, keepdims=True) + self.eps))


class GroupNorm(Norm):
    """The features of each sample (n, ..., features) in `groups` of neighbours, each group brought to mean 0 and
    variance 1 over itself and all axes but the first, then each feature scaled and shifted (Wu and He, 2018)."""

    def __init__(self, groups: int, features: int, eps: float = 1e-5, dtype: Any = np.float64) -> None:
        super().__init__(features, eps, dtype=dtype)
        if groups < 1 or features % groups:
            raise ValueError(f"GroupNorm: expected groups that divide {features} features, got {groups}")
        self.groups = groups

    def __call__(self, x: Any) -> Any:
        """(n, ..., features) to the same shape."""
        x = self.given(x)
        grouped = ops.reshape(x, (x.shape[0], -1, self.groups, self.features // self.groups))
        return self.scaled(ops.reshape(ops.standardize(grouped, (1, 3), self.eps), x.shape))

    def _details(self) -> str:
        """The groups and the features."""
        return f"{self.groups}, {self.features}"
