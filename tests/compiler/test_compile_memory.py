"""Replays hold on to nothing, recordings leave no cycles."""

import gc
import linecache
import weakref

import numpy as np
import pytest
from recorded import classifier, moons, resident, step_of, traced_growth

import vector
from vector.compiler import CompiledStep


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_replays_do_not_grow(optimizer, no_collector, monkeypatch):
    step = vector.compile(step_of(*classifier(optimizer, np.float32, dropout=0.2)))
    batches = [moons(np.random.default_rng(i), 3 + i, np.float32) for i in range(2)]

    def run(times):
        for i in range(times):
            step(*batches[i % 2])

    with monkeypatch.context() as only_replays:  # Python keeps some memory of what it took for a recording
        only_replays.setattr(CompiledStep, "verifying", False)
        grown = traced_growth(run, 5_000)
    assert grown < 2_000, f"{grown} bytes more after 5,000 replays"
    before = resident()
    step.verify_next()
    run(100_000 - 6_000)
    grown = resident() - before
    # An object a replay would be 3 MB and more; a third of that comes and goes with the recordings that verify.
    assert grown < 2_500_000, f"{grown} bytes more in memory after 100,000 replays"
    assert step.traces == 2 and step.verified > 5


def test_a_recording_leaves_no_cycles(no_collector):
    model, update = classifier("adam", dropout=0.2)
    inner = step_of(model, update)
    batch = moons(np.random.default_rng(0), 4)
    for exact in (True, False):
        step = vector.compile(inner, exact=exact)
        step(*batch)
        assert gc.collect() == 0, "recording"
        step(*batch)
        assert step.verified == 1 and gc.collect() == 0, "verifying"
        run = weakref.ref(step.latest.run)
        file = run().__code__.co_filename
        assert file in linecache.cache
        del step
        assert run() is None
        assert gc.collect() == 0, "dropping"
        assert file not in linecache.cache


def test_the_first_runs_arrays_are_let_go(no_collector):
    seen = []
    see = seen.append
    w = vector.Tensor(np.ones((50, 50)), "w")

    @vector.compile
    def step(x):
        h = vector.tanh(w * x)
        see(weakref.ref(h.data.value))
        return vector.sum(h)

    x = np.ones((50, 50))
    argument = weakref.ref(x)
    step(x)
    del x
    assert argument() is None and seen[0]() is None
    step(np.ones((50, 50)))
    assert step.verified == 1 and seen[1]() is None


def test_a_failed_recording_is_let_go(no_collector):
    w = vector.Tensor(np.ones(3), "w")

    def step(x):
        w.data = w.data + x
        w.grad = None
        vector.sum(w * x).backward()
        return w * float(vector.sum(w))

    try:
        vector.compile(step)(np.ones(3))
    except vector.RecordingError:
        pass
    assert gc.collect() == 0
    assert np.array_equal(w.data, np.ones(3))
