"""Threads that share a convolution change no bit of it."""

import numpy as np
import pytest

import vector
from vector.runtime import matmul
from vector.runtime.threads import use_threads


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_in_parts(stride, monkeypatch):
    rng = np.random.default_rng(0)
    x, w = rng.random((10, 30, 30, 16), np.float32), rng.random((3, 3, 16, 64), np.float32)
    used = []
    real = matmul.helpers_for

    def always(total, parts, *size):
        used.append(real(total, parts, *size))
        return min(matmul.threads.threads - 1, parts - 1)

    monkeypatch.setattr(vector.ops.convolution, "helpers_for", always)
    results = []
    for threads in (1, 3):
        with use_threads(threads):
            a, b = vector.Tensor(x), vector.Tensor(w)
            out = vector.conv2d(a, b, stride=stride, padding=1)
            g = rng.random(out.shape, np.float32) if not results else results[0][-1]
            results.append([out.data, *vector.grad(out, [a, b], gradient=g), g])
    assert used and all(map(np.array_equal, *results))
    small = vector.ops.convolution.parts_of(np.zeros((10, 3, 3, 2)), np.zeros((3, 3, 2, 2)))
    assert small == [slice(0, 10)] and len(vector.ops.convolution.parts_of(out.data, w)) == 4 - 3 * (stride == 2)
