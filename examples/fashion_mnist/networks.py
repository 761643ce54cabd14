"""The networks that train.py trains and predict.py reads. All take images (n, 28, 28) and give scores (n, 10)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import vector
from vector import nn

Dense, Conv, BatchNorm = (partial(layer, dtype=np.float32) for layer in (nn.Dense, nn.Conv2D, nn.BatchNorm))


def network(seed: int = 0) -> nn.Sequential:
    """Flatten, Dense(128, relu), Dense(10), whose softmax the loss takes; glorot uniform weights, zero biases."""
    return nn.Sequential(
        nn.Flatten(),
        Dense(784, 128, "relu", seed=2 * seed),
        Dense(128, 10, seed=2 * seed + 1),
    )


class Bent(nn.Layer):
    """relu(x) + curve relu(x)^2: what is large counts more than in proportion. `curve` is saved, and not trained."""

    curve: vector.Tensor

    def __init__(self, curve: float) -> None:
        self.register_buffer("curve", np.float32(curve))

    def __call__(self, x: Any) -> Any:
        """Any shape to the same."""
        positive = vector.relu(x)
        return positive + self.curve * positive * positive


def bent(seed: int = 0) -> nn.Sequential:
    """`network` on the square roots of the images' values, which tell dark greys further apart, and with another
    activation: no parameter more."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Lambda(vector.sqrt),
        Dense(784, 128, seed=2 * seed),
        Bent(0.2),
        Dense(128, 10, seed=2 * seed + 1),
    )


def block(channels: int, filters: int, seed: int) -> tuple[nn.Layer, ...]:
    """A convolution, its maxima over 2 x 2, and these brought to mean 0 and variance 1: (n, h, w, channels) to
    (n, h / 2, w / 2, filters). The pooling comes first as a quarter of the numbers is left to the others."""
    convolution = Conv(channels, filters, 3, padding="same", bias=False, init=nn.he_normal, seed=seed)
    return convolution, nn.MaxPool(2), BatchNorm(filters), nn.Lambda(vector.relu)


def convnet(seed: int = 0) -> nn.Sequential:
    """Three blocks of 24, 48 and 96 filters, a hidden layer of 256 units."""
    return nn.Sequential(
        *block(1, 24, 6 * seed),
        *block(24, 48, 6 * seed + 1),
        *block(48, 96, 6 * seed + 2),
        nn.Flatten(),
        Dense(3 * 3 * 96, 256, bias=False, init=nn.he_normal, seed=6 * seed + 3),
        BatchNorm(256),
        nn.Lambda(vector.relu),
        nn.Dropout(0.3, seed=6 * seed + 4),
        Dense(256, 10, seed=6 * seed + 5),
    )


NETWORKS: tuple[Callable[[int], nn.Sequential], ...] = (network, bent, convnet)


def load_model(path: str) -> nn.Sequential:
    """Read a model that train.py wrote; which of the networks it is, the names and shapes in it say.

    Raises as `Sequential.load` does for `network`, where it is none of them.
    """
    problems = []
    for make in NETWORKS:
        model = make(0)
        try:
            model.load(path)
        except ValueError as problem:
            problems.append(problem)
        else:
            return model
    raise problems[0]
