"""Windows that lie side by side, and rows of a kernel that meet elements side by side: both have a way of their own."""

import itertools

import numpy as np
import pytest

import vector

NUMBERS = np.array([0.0, -0.0, 1.0, 2.0, -1.0, np.inf, -np.inf, np.nan])


def defined(x, gradient, size):
    """The largest of each window, and the gradient in equal shares for those that are."""
    n, h, w, c = gradient.shape
    top, slope = np.empty(gradient.shape, x.dtype), np.zeros_like(x)
    for k, i, j, m in itertools.product(range(n), range(h), range(w), range(c)):
        at = k, slice(i * size[0], (i + 1) * size[0]), slice(j * size[1], (j + 1) * size[1]), m
        top[k, i, j, m] = largest = x[at].max()
        chosen = np.isnan(x[at]).any() | (x[at] == largest)
        number = np.nan if np.isnan(largest) else chosen.sum()
        slope[at] = np.where(chosen, gradient[k, i, j, m] / x.dtype.type(number), 0.0) + 0.0
    return top, slope


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 4, 6, 3), (2, 2)),
        ((1, 5, 7, 1), (2, 3)),
        ((2, 3, 4, 40), (1, 2)),
        ((0, 2, 2, 3), (2, 2)),
        ((1, 16, 17, 1), (16, 17)),
    ],
)
def test_windows_side_by_side_are_as_defined(shape, size, dtype):
    random = np.random.default_rng(0)
    each = shape[0], shape[1] // size[0], shape[2] // size[1], shape[3]
    for values, slopes in (NUMBERS[:5], NUMBERS[:5]), (NUMBERS[:5], NUMBERS), (NUMBERS, NUMBERS):
        x, gradient = random.choice(values, shape).astype(dtype), random.choice(slopes, each).astype(dtype)
        for images in x, np.asfortranarray(x):
            node = vector.Tensor(images)
            out = vector.max_pool(node, size)
            slope = vector.grad(out, node, gradient=gradient)
            top, expected = defined(x, gradient, size)
            assert np.array_equal(out.data, top, equal_nan=True)
            assert slope.dtype == dtype and np.array_equal(slope, expected, equal_nan=True)
            assert not np.signbit(slope[slope == 0.0]).any()


def test_columns_of_rows_of_a_kernel_that_lie_apart():
    x = np.random.default_rng(0).standard_normal((2, 6, 7, 10))
    weight = np.random.default_rng(1).standard_normal((2, 3, 5, 4))
    lying = np.ascontiguousarray(x[..., ::2])
    for images in x[..., ::2], np.asfortranarray(lying), np.ascontiguousarray(lying[:, :, ::-1])[:, :, ::-1]:
        for settings in {}, {"dilation": (1, 2)}, {"stride": (2, 1), "padding": 1}:
            expected = vector.conv2d(lying, weight, **settings)
            assert np.array_equal(vector.conv2d(images, weight, **settings), expected)
