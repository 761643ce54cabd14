"""Orders in which threads may do the parts of a program, and steps that have such parts."""

from itertools import pairwise

import numpy as np
from recorded import OPTIMIZERS, compare, tensors_of

import vector
from vector import nn
from vector.compiler import codegen
from vector.compiler.ir import Call, Var
from vector.runtime import threads as workers


def one_after_the_other(backwards):
    """In place of `share`: no threads, and the caller's part after the others, or before. What must not be done at one
    time gives other results in one of the two orders."""

    def share(part, count, helpers, *args):
        for i in sorted(range(count), reverse=backwards):
            part(i, *args)

    return share


ORDERS = {
    "caller first": one_after_the_other(True),
    "helpers first": one_after_the_other(False),
    "at once": workers.parallel_for,
}


def in_all_orders(make, calls, monkeypatch, **options):
    """Compare the recorded step with the Python step, in each order. Returns the last one's program."""
    step = None
    for share in ORDERS.values():
        monkeypatch.setattr(codegen, "parallel_for", share)
        with workers.use_threads(2), np.errstate(all="ignore"):
            step = compare(make, calls, **options)
    return step.program


def training(optimizer, dtype=np.float32, sizes=(40, 40, 20, 10), n=40):
    """A maker of a step that trains a network of three layers, and some batches."""

    def make():
        layers = [nn.Dense(a, b, "relu", seed=a, dtype=dtype) for a, b in pairwise(sizes)]
        model = nn.Sequential(*layers)
        update = OPTIMIZERS[optimizer](model.parameters())
        return model.train_step(update, vector.cross_entropy), [*model.parameters(), *tensors_of(update)]

    rng = np.random.default_rng(0)
    return make, [[rng.random((n, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], n)] for _ in range(6)]


def product(*shape):
    """A call that multiplies (t, n, k) by (k, m), of zeros."""
    t, n, k, m = shape
    x, y, out = (Var("state", np.zeros(shape, np.float32)) for shape in [(t, n, k), (k, m), (t, n, m)])
    return Call(np.matmul, (x, y), {}, out)


def again(make, rng):
    """A maker that begins with the same random numbers each time."""
    state = rng.bit_generator.state

    def made():
        rng.bit_generator.state = state
        return make()

    return made
