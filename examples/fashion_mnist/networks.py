"""The networks that race.py trains, each in `vector`, in PyTorch and in JAX: the same weights, the same function.

All take images as rows (n, 784) float32 and give scores (n, 10). The recurrent network and the transformer read an
image row by row, as 28 places of 28 numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np


class Network(NamedTuple):
    """What a network is called, how many images a batch has unless told, and how each library makes it.

    ours   a vector.nn.Sequential
    torch  a module whose state dict is `vector.exchange.to_torch` of ours, with these prefixes
    jax    a function of our parameters, in order, and images
    """

    about: str
    batch: int
    ours: Callable[[], Any]
    torch: Callable[[], Any]
    prefixes: Sequence[str]
    jax: Callable[[Any, Any], Any]


def ours_dense(*widths: int) -> Any:
    from vector import nn

    sizes = [*pairwise(widths)]
    layers = [nn.Dense(*size, "relu", seed=k, dtype=np.float32) for k, size in enumerate(sizes[:-1])]
    return nn.Sequential(*layers, nn.Dense(*sizes[-1], seed=len(sizes) - 1, dtype=np.float32))


def torch_dense(*widths: int) -> Any:
    from torch import nn

    layers = [x for a, b in pairwise(widths) for x in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def jax_dense(weights: Any, x: Any) -> Any:
    import jax

    pairs = [*zip(weights[::2], weights[1::2], strict=True)]
    for W, b in pairs[:-1]:
        x = jax.nn.relu(x @ W + b)
    return x @ pairs[-1][0] + pairs[-1][1]


def dense(*widths: int) -> Network:
    """784-...-10, with relu between the layers."""
    numbers = [str(2 * k) for k in range(len(widths) - 1)]
    about = "-".join(map(str, widths))
    return Network(about, 32, partial(ours_dense, *widths), partial(torch_dense, *widths), numbers, jax_dense)


# --- two convolutions of 3 x 3, 16 and 32 filters, each with relu and maxima over 2 x 2, and a dense layer ------------


def ours_convnet() -> Any:
    import vector
    from vector import nn

    def block(channels: int, filters: int) -> tuple[Any, ...]:
        convolution = nn.Conv2D(channels, filters, 3, padding="same", seed=filters, dtype=np.float32)
        return convolution, nn.Lambda(vector.relu), nn.MaxPool(2)

    images = nn.Lambda(lambda x: np.reshape(x, (x.shape[0], 28, 28, 1)))
    dense = nn.Dense(7 * 7 * 32, 10, seed=2, dtype=np.float32)
    return nn.Sequential(images, *block(1, 16), *block(16, 32), nn.Flatten(), dense)


def torch_convnet() -> Any:
    """Channels last in memory, which is the quicker way on a CPU; the dense layer reads them in our order."""
    import torch
    from torch import nn

    class Turn(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.permute(0, 2, 3, 1).flatten(1)

    def block(channels: int, filters: int) -> tuple[Any, ...]:
        return nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)

    layers = nn.Unflatten(1, (1, 28, 28)), *block(1, 16), *block(16, 32), Turn(), nn.Linear(7 * 7 * 32, 10)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def jax_convnet(weights: Any, x: Any) -> Any:
    import jax

    *blocks, W, b = weights
    x = x.reshape(-1, 28, 28, 1)
    for kernel, bias in zip(blocks[::2], blocks[1::2], strict=True):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + bias)
        x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.reshape(len(x), -1) @ W + b


# --- a GRU of 64 units, whose last state a dense layer reads ----------------------------------------------------------


def ours_gru() -> Any:
    from vector import nn

    rows = nn.Lambda(lambda x: np.reshape(x, (x.shape[0], 28, 28)))
    return nn.Sequential(
        rows, nn.GRU(28, 64, last=True, seed=0, dtype=np.float32), nn.Dense(64, 10, seed=1, dtype=np.float32)
    )


def torch_gru() -> Any:
    from torch import nn

    class Gru(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.dense = nn.GRU(28, 64, batch_first=True), nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            return self.dense(self.gru(x.unflatten(1, (28, 28)))[0][:, -1])

    return Gru()


def jax_gru(weights: Any, x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    W, U, b, c, V, d = weights
    inner = x.reshape(-1, 28, 28).swapaxes(0, 1) @ W + b

    def step(h: Any, x: Any) -> Any:
        g = h @ U + c
        r, z = jnp.split(jax.nn.sigmoid(x[:, :128] + g[:, :128]), 2, axis=1)
        n = jnp.tanh(x[:, 128:] + r * g[:, 128:])
        return n + z * (h - n), None

    return jax.lax.scan(step, jnp.zeros((len(x), 64)), inner)[0] @ V + d


# --- a transformer block of width 64 with 4 heads, and the mean over the places ---------------------------------------


def ours_transformer() -> Any:
    import vector
    from vector import nn

    Dense, Norm = partial(nn.Dense, dtype=np.float32), partial(nn.LayerNorm, dtype=np.float32)
    return nn.Sequential(
        nn.Lambda(lambda x: np.reshape(x, (x.shape[0], 28, 28))),
        Dense(28, 64, seed=0),
        nn.Residual(Norm(64), nn.MultiHeadAttention(64, 4, seed=1, dtype=np.float32)),
        nn.Residual(Norm(64), Dense(64, 256, "relu", seed=3), Dense(256, 64, seed=4)),
        nn.Lambda(lambda x: vector.mean(x, axis=1)),
        Dense(64, 10, seed=5),
    )


def torch_transformer() -> Any:
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm1, self.norm2 = nn.Linear(28, 64), nn.LayerNorm(64), nn.LayerNorm(64)
            self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
            self.up, self.down, self.last = nn.Linear(64, 256), nn.Linear(256, 64), nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            x = self.first(x.unflatten(1, (28, 28)))
            y = self.norm1(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            x = x + self.down(self.up(self.norm2(x)).relu())
            return self.last(x.mean(1))

    return Transformer()


def jax_transformer(weights: Any, x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    A, a, s1, t1, P, p, M, m, s2, t2, U, u, D, d, L, last = weights

    def norm(x: Any, scale: Any, shift: Any) -> Any:
        x = x - x.mean(-1, keepdims=True)
        return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * scale + shift

    x = x.reshape(-1, 28, 28) @ A + a
    q, k, v = jnp.moveaxis((norm(x, s1, t1) @ P + p).reshape(-1, 28, 3, 4, 16), 2, 0)
    scores = jax.nn.softmax(jnp.einsum("nqhd,nkhd->nhqk", q, k) / 4.0)
    x = x + jnp.einsum("nhqk,nkhd->nqhd", scores, v).reshape(x.shape) @ M + m
    x = x + jax.nn.relu(norm(x, s2, t2) @ U + u) @ D + d
    return x.mean(1) @ L + last


PLACES = ("first", "norm1", "attention", "norm2", "up", "down", "last")
NETWORKS = {
    "dense": dense(784, 128, 10),
    "wide": dense(784, 2048, 2048, 10)._replace(batch=1024),
    "convnet": Network("a convnet", 32, ours_convnet, torch_convnet, ("1", "4", "8"), jax_convnet),
    "gru": Network("a GRU", 32, ours_gru, torch_gru, ("gru", "dense"), jax_gru),
    "transformer": Network("a transformer block", 32, ours_transformer, torch_transformer, PLACES, jax_transformer),
}
