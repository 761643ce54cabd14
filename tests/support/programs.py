"""Programs to run passes on, and what compares their results before and after."""

import numpy as np
from recorded import beside_each_other, copied, leaves, same

import vector
from vector.autodiff import mode
from vector.compiler.codegen import build
from vector.compiler.ir import check
from vector.compiler.trace import Tracer


def record(step, *args):
    """The program of a step as it is written down, before any pass. The step has then run once."""
    tracer = Tracer()
    before, mode.store = mode.store, tracer
    try:
        given = [tracer.input(x, f"x{i}") for i, x in enumerate(args)]
        return tracer.finish(step(*given))[0]
    finally:
        mode.store = before
        tracer.close()


def after(program, *changes):
    """The program after some passes, with a check of its invariants before each and behind the last."""
    check(program)
    for change in changes:
        program = change(program)
        check(program)
    return program


def run(make, calls, *changes):
    """Results of the calls, the first as Python and the others through the program after the passes, and the tensors in
    the end; how many calls the program had and has."""
    step, tensors = make()
    recorded = record(step, *copied(calls[0]))
    program = after(recorded, *changes)
    replay = build(program, "step")[1]
    results = [[np.array(x) for x in replay(*copied(args))] for args in calls[1:]]
    return leaves([results, tensors]), len(recorded), len(program)


def unchanged(make, calls, *changes):
    """Raises AssertionError if the passes change a bit. Returns how many calls went."""
    with np.errstate(all="ignore"):
        expected, _, _ = run(make, calls)
        got, had, has = run(make, calls, *changes)
    assert len(expected) == len(got)
    assert all(same(a, b) for a, b in zip(expected, got, strict=True))
    return had - has


def made_of(f, *tensors):
    """A maker of the step f, given copies of the tensors, one after the other in memory, before its arguments."""

    def make():
        arrays = beside_each_other([np.array(x, float) for x in tensors]) if tensors else []
        own = [vector.Tensor(x, f"p{i}") for i, x in enumerate(arrays)]
        return (lambda *args: f(*own, *args)), own

    return make


CALLS = [[np.arange(3.0) + i, np.arange(3.0)[::-1] * i] for i in range(4)]


def moved(*pairs):
    """Tensors, each moved by its array."""
    for p, by in pairs:
        p.data -= by


def scaled(*pairs):
    for p, by in pairs:
        p.data *= by


def by_both(f):
    """Moves of p and q, by f of one array each."""
    return lambda p, q, x, y: moved((p, f(x * y)), (q, f(x + y)))


TWO, THREE = [np.ones(3), np.arange(3.0)], [np.ones(3), np.arange(3.0), np.zeros(3)]


def seed_step(n, exact, optimizer=lambda p: vector.optim.SGD(p, 0.1)):
    """The 784-128-10 step, recorded and run once."""
    rng = np.random.default_rng(0)
    layers = [vector.nn.Dense(784, 128, "relu", seed=0, dtype=np.float32)]
    model = vector.nn.Sequential(*layers, vector.nn.Dense(128, 10, seed=1, dtype=np.float32))
    update = optimizer(model.parameters())

    @vector.compile(exact=exact)
    def train_step(images, labels):
        loss = vector.cross_entropy(model(images), labels)
        update.zero_grad()
        loss.backward()
        update.step()
        return loss

    batch = rng.random((n, 784), np.float32), rng.integers(0, 10, n)
    train_step(*batch)
    return train_step, batch, model
