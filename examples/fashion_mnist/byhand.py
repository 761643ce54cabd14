"""One training step of the 784-width-10 network written by hand in numpy: the yardstick for a recorded step.

Nothing is allocated in a step, every function computes into its buffer, and no call is made that the step could do
without. This is what a person writes who knows the network, its derivatives and numpy well.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def sgd(weights: list[np.ndarray], n: int, lr: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A step of stochastic gradient descent: images (n, 784) float32 and labels (n,) in, mean loss out.

    `weights` are W1 (784, width), b1 (width,), W2 (width, 10), b2 (10,), all float32, changed in place.
    """
    W1, b1, W2, b2 = weights
    width, classes = W2.shape
    f = np.float32
    h, gh, mask = np.empty((n, width), f), np.empty((n, width), f), np.empty((n, width), bool)
    z, e, hot = np.empty((n, classes), f), np.empty((n, classes), f), np.empty((n, classes), bool)
    m, s, t = np.empty((n, 1), f), np.empty((n, 1), f), np.empty((n, 1), f)
    loss = np.empty((), f)
    gW1, gb1, gW2, gb2 = (np.empty_like(w) for w in weights)
    W2_T, h_T, eye = W2.T, h.T, np.eye(classes, dtype=bool)
    zero, count, rate = np.zeros((), f), np.array(n, f), np.array(lr / n, f)
    add, subtract, multiply, divide = np.add, np.subtract, np.multiply, np.divide
    matmul, maximum, greater, exp, log = np.matmul, np.maximum, np.greater, np.exp, np.log
    add_reduce, max_reduce = np.add.reduce, np.maximum.reduce

    # OpenBLAS multiplies at once, without packing, up to a million multiply-adds: cut the large products into such rows.
    forward, backward = tiles(n, 784, width), tiles(784, n, width)
    h_tiles = h.reshape(forward, -1, width)
    gW1_tiles = gW1.reshape(backward, -1, width)
    if n == 1:  # and it is not asked at all for an inner dimension of 1: pad it with zeros to 2
        x_padded, gh_padded = np.zeros((784, 2), f), np.zeros((2, width), f)

    def step(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        matmul(x.reshape(forward, -1, 784), W1, out=h_tiles)
        add(h, b1, out=h)
        maximum(h, zero, out=h)
        matmul(h, W2, out=z)
        add(z, b2, out=z)
        max_reduce(z, axis=1, keepdims=True, out=m)
        subtract(z, m, out=z)
        exp(z, out=e)
        add_reduce(e, axis=1, keepdims=True, out=s)
        eye.take(labels, 0, hot, "clip")
        add_reduce(z, axis=1, keepdims=True, where=hot, out=m)
        log(s, out=t)
        subtract(t, m, out=t)
        add_reduce(t, axis=None, out=loss)
        divide(loss, count, out=loss)
        divide(e, s, out=e)
        subtract(e, hot, out=e)
        multiply(e, rate, out=e)  # the learning rate meets the smallest gradient
        matmul(e, W2_T, out=gh)
        greater(h, zero, out=mask)
        multiply(gh, mask, out=gh)
        if n == 1:
            x_padded[:, 0] = x[0]
            gh_padded[0] = gh[0]
            matmul(x_padded, gh_padded, out=gW1)
            multiply(h_T, e, out=gW2)
            subtract(b1, gh[0], out=b1)
            subtract(b2, e[0], out=b2)
        else:
            matmul(x.T.reshape(backward, -1, n), gh, out=gW1_tiles)
            matmul(h_T, e, out=gW2)
            add_reduce(gh, axis=0, out=gb1)
            add_reduce(e, axis=0, out=gb2)
            subtract(b1, gb1, out=b1)
            subtract(b2, gb2, out=b2)
        subtract(W1, gW1, out=W1)
        subtract(W2, gW2, out=W2)
        return loss

    return step


def tiles(n: int, k: int, m: int) -> int:
    """Into how many tiles of rows to cut the product of (n, k) and (k, m): at most a million multiply-adds each."""
    if not 1_000_000 < n * k * m <= 8_000_000:
        return 1
    return next((t for t in range(-(-n * k * m // 1_000_000), n // 4 + 1) if n % t == 0), 1)
