"""One training step of the 784-width-10 network written by hand in numpy: the yardstick for a recorded step.

Nothing is allocated in a step, every function computes into its buffer, and no call is made that the step could do
without. This is what a person writes who knows the network, its derivatives and numpy well, and knows that nothing goes
wrong: labels out of range are clipped, infinite scores give NaN, nobody looks at the arguments, and the loss is the
buffer itself. With `careful=True` the step promises there what a recorded step does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

Arrays = list[np.ndarray]
Step = Callable[[np.ndarray, np.ndarray], np.ndarray]  # images (n, 784) float32 and labels (n,) in, mean loss out
f = np.float32


def sgd(weights: Arrays, n: int, lr: float, careful: bool = False) -> Step:
    """A step of stochastic gradient descent on n images.

    `weights` are W1 (784, width), b1 (width,), W2 (width, 10), b2 (10,), all float32; in their place the list is given
    views of one array, which the step changes.
    """
    p, parts = flat(weights)
    g, gradients = flat(weights)
    weights[:] = parts
    subtract = np.subtract

    def update() -> None:
        subtract(p, g, out=p)

    scale = lr / n  # the learning rate meets the smallest gradient
    return training_step(weights, gradients, n, scale, update, careful)


def adam(
    weights: Arrays,
    n: int,
    lr: float,
    careful: bool = False,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> Step:
    """A step of Adam (Kingma and Ba, 2015), else as `sgd`.

    The gradients come multiplied by 1 - beta1, so that they go into the mean as they are; the mean of their squares is
    kept in units of (1 - beta1)^2 / (1 - beta2). All weights are updated by the same calls, a piece at a time that the
    cache holds.
    """
    p, parts = flat(weights)
    g, gradients = flat(weights)
    weights[:] = parts
    m, v = np.zeros_like(p), np.zeros_like(p)
    size = -(-len(p) // max(1, round(len(p) / PIECE)))
    t = np.empty(size, f)
    pieces = [(p[i : i + size], g[i : i + size], m[i : i + size], v[i : i + size]) for i in range(0, len(p), size)]
    pieces = [(*piece, t[: len(piece[0])]) for piece in pieces]
    beta1, beta2 = (np.array(beta, f) for beta in betas)
    unit = (1.0 - betas[1]) ** 0.5 / (1.0 - betas[0])
    factor, small, floor = np.empty((), f), np.empty((), f), np.array(2**20 * np.finfo(f).tiny, f)
    add, subtract, multiply, divide, sqrt = np.add, np.subtract, np.multiply, np.divide, np.sqrt
    count = 0

    def update() -> None:
        nonlocal count
        count += 1
        rate = lr / (1.0 - betas[0] ** count)
        factor[()] = unit / (1.0 - betas[1] ** count) ** 0.5 / rate
        small[()] = eps / rate
        for p, g, m, v, t in pieces:
            multiply(m, beta1, out=m)
            add(m, g, out=m)
            add(m, floor, out=m)  # where no gradient comes any more, m does not fade into slow subnormal numbers
            multiply(g, g, out=g)
            multiply(v, beta2, out=v)
            add(v, g, out=v)
            add(v, floor, out=v)
            sqrt(v, out=t)
            multiply(t, factor, out=t)
            add(t, small, out=t)
            divide(m, t, out=t)
            subtract(p, t, out=p)

    return training_step(weights, gradients, n, (1.0 - betas[0]) / n, update, careful)


PIECE = 200_000  # weights


def training_step(
    weights: Arrays, gradients: Arrays, n: int, scale: float, update: Callable[[], None], careful: bool
) -> Step:
    """The gradients of the sum of n losses, times `scale`, and then the update."""
    step = (step_on_one if n == 1 else step_on_many)(weights, gradients, n, scale, update, careful)
    return checked(step, n, weights[3].size) if careful else step


def step_on_many(
    weights: Arrays, gradients: Arrays, n: int, scale: float, update: Callable[[], None], careful: bool
) -> Step:
    """The step on n images."""
    W1, b1, W2, b2 = weights
    gW1, gb1, gW2, gb2 = gradients
    width, classes = W2.shape
    [h, gh] = flat([np.empty((n, width), f)] * 2)[1]  # BLAS reads them where they lie
    z, e, hot = (np.empty((n, classes), f) for _ in range(3))
    columns = np.empty((classes, n), f).T  # numpy finds the largest of each row faster column by column
    mask, m, s, logs = np.empty((n, width), bool), np.empty((n, 1), f), np.empty((n, 1), f), np.empty(n, f)
    loss, picked, zero = np.empty((), f), np.empty((), f), np.zeros((), f)
    W2_T, h_T, s_row, z_flat, hot_flat = W2.T, h.T, s.reshape(n), z.reshape(-1), hot.reshape(-1)
    count, rate, rows = np.array(n, f), np.array(scale, f), np.arange(0, n * classes, classes)
    samples, units = np.ones(n, f), np.ones((classes, 1), f)  # to add up by a product takes half as long as to reduce
    zeros = np.zeros((n, width), f)  # to compare with a single 0 takes np.maximum three times as long
    add, subtract, multiply, divide, matmul, dot = np.add, np.subtract, np.multiply, np.divide, np.matmul, np.dot
    maximum, greater, exp, log = np.maximum, np.greater, np.exp, np.log
    max_reduce, take = np.maximum.reduce, np.eye(classes, dtype=f).take

    # OpenBLAS multiplies at once, without packing, up to a million multiply-adds: cut large products into such rows,
    # where what they are multiplied with stays in the cache, and, for a transposed array, where the rows are short.
    forward, backward = tiles(n, 784, width), tiles(784, n, width) if n <= 128 else 1
    h_tiles, gW1_tiles = h.reshape(forward, -1, width), gW1.reshape(backward, -1, width)

    def step(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        matmul(x.reshape(forward, -1, 784), W1, out=h_tiles)
        add(h, b1, out=h)
        maximum(h, zeros, out=h)
        dot(h, W2, out=z)
        add(z, b2, out=z)
        columns[...] = z
        max_reduce(columns, axis=1, keepdims=True, out=m)
        subtract(z, m, out=z)
        exp(z, out=e)
        dot(e, units, out=s)
        take(labels, 0, hot, "clip")
        log(s_row, out=logs)
        dot(logs, samples, out=loss)
        if careful:
            dot(z_flat.take(labels + rows), samples, out=picked)
        else:
            dot(z_flat, hot_flat, out=picked)
        subtract(loss, picked, out=loss)
        divide(loss, count, out=loss)
        divide(e, s, out=e)
        subtract(e, hot, out=e)
        multiply(e, rate, out=e)
        dot(e, W2_T, out=gh)
        greater(h, zero, out=mask)
        multiply(gh, mask, out=gh)
        matmul(x.T.reshape(backward, -1, n), gh, out=gW1_tiles)
        dot(h_T, e, out=gW2)
        dot(samples, gh, out=gb1)
        dot(samples, e, out=gb2)
        update()
        return loss

    return step


def step_on_one(
    weights: Arrays, gradients: Arrays, n: int, scale: float, update: Callable[[], None], careful: bool
) -> Step:
    """The step on one image. A product with an inner dimension of 1 does not go to BLAS, so it is padded with zeros to
    2; and each array is seen without its axis of length 1."""
    W1, b1, W2, b2 = weights
    gW1, gb1, gW2, gb2 = gradients
    width, classes = W2.shape
    x_padded, gh_padded = np.zeros((784, 2), f), np.zeros((2, width), f)
    h_padded, e_padded = np.zeros((width, 2), f), np.zeros((2, classes), f)
    x_column, h_column, gh1, e_scaled = x_padded[:, 0], h_padded[:, 0], gh_padded[0], e_padded[0]
    h1, z1, e1, hot = np.empty(width, f), np.empty(classes, f), np.empty(classes, f), np.empty((1, classes), f)
    hot1, mask1, sign, units = hot[0], np.empty(width, bool), np.empty(width, f), np.ones(classes, f)
    top, total, log_total, loss, picked = (np.empty((), f) for _ in range(5))
    zero, rate = np.zeros((), f), np.array(scale, f)
    add, subtract, multiply, divide, matmul, dot = np.add, np.subtract, np.multiply, np.divide, np.matmul, np.dot
    maximum, greater, exp, log, signs = np.maximum, np.greater, np.exp, np.log, np.sign
    max_reduce, take = np.maximum.reduce, np.eye(classes, dtype=f).take

    def step(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        x1 = x[0]
        dot(x1, W1, out=h1)
        add(h1, b1, out=h1)
        maximum(h1, zero, out=h1)
        dot(h1, W2, out=z1)
        add(z1, b2, out=z1)
        max_reduce(z1, out=top)
        subtract(z1, top, out=z1)
        exp(z1, out=e1)
        dot(e1, units, out=total)
        take(labels, 0, hot, "clip")
        if careful:
            picked[...] = z1.take(labels)[0]
        else:
            dot(z1, hot1, out=picked)
        log(total, out=log_total)
        subtract(log_total, picked, out=loss)  # in place, a single number takes numpy twice as long
        divide(e1, total, out=e1)
        subtract(e1, hot1, out=e1)
        multiply(e1, rate, out=gb2)
        dot(W2, gb2, out=gb1)
        if careful:
            greater(h1, zero, out=mask1)
            multiply(gb1, mask1, out=gb1)
        else:
            signs(h1, out=sign)  # 1 or 0, but NaN for NaN
            multiply(gb1, sign, out=gb1)
        x_column[...] = x1
        gh1[...] = gb1
        matmul(x_padded, gh_padded, out=gW1)
        h_column[...] = h1
        e_scaled[...] = gb2
        dot(h_padded, e_padded, out=gW2)
        update()
        return loss

    return step


def checked(step: Step, n: int, classes: int) -> Step:
    """The step with what a recorded one promises: it looks at its arguments, and the loss is the caller's own."""
    shape, strides, dtypes = (n, 784), (784 * 4, 4), (np.dtype(np.float32), np.dtype(np.int64))

    def careful(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if x.shape != shape or x.strides != strides or labels.shape != (n,) or (x.dtype, labels.dtype) != dtypes:
            raise ValueError(f"expected images {shape} and labels {(n,)}, got {x.shape} and {labels.shape}")
        if labels.item(labels.argmin()) < 0 or labels.item(labels.argmax()) >= classes:
            raise ValueError(f"expected labels from 0 to {classes - 1}, got {labels}")
        return step(x, labels).copy()

    return careful


def flat(arrays: Arrays) -> tuple[np.ndarray, Arrays]:
    """Copies of the arrays one after the other in one array, which begins at a cache line, and views of it in their
    shapes."""
    size = sum(x.size for x in arrays)
    space = np.empty(size + 16, f)
    start = -space.ctypes.data % 64 // space.itemsize
    whole = np.concatenate([x.ravel() for x in arrays], out=space[start : start + size])
    ends = np.cumsum([0, *(x.size for x in arrays)])
    return whole, [whole[i:j].reshape(x.shape) for (i, j), x in zip(pairwise(ends), arrays, strict=True)]


def tiles(n: int, k: int, m: int) -> int:
    """Into how many tiles of rows to cut the product of (n, k) and (k, m): at most a million multiply-adds each."""
    if not 1_000_000 < n * k * m < 32_000_000 or k * m > 2**18:
        return 1
    return next((t for t in range(-(-n * k * m // 1_000_000), n // 4 + 1) if n % t == 0), 1)
