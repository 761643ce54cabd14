"""Where arrays lie: no two that are needed at one time in the same memory."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import record
from recorded import graph, same, steps

import vector
from vector.compiler import passes
from vector.compiler.codegen import build
from vector.compiler.ir import variables
from vector.compiler.memory import Plan
from vector.runtime.memory import ALIGNMENT


def lives(made):
    """For each result, the first and last call that has to do with it; returned ones live on."""
    born, dies = {}, {}
    for i, call in enumerate(made.calls):
        for var in (*call.reads, *call.outs):
            if var.root.kind == "result":
                born.setdefault(var.root, i)
                dies[var.root] = i
    dies |= {var.root: len(made.calls) for var in variables(made.outputs) if var.root.kind == "result"}
    return born, dies


@given(lines=steps(), exact=st.booleans())
def test_no_two_living_results_share_memory(lines, exact):
    with np.errstate(all="ignore"):
        make, calls = graph(lines)
        made = passes.optimize(record(make()[0], *calls[0]), exact)
    plan = Plan(made)
    born, dies = lives(made)
    placed = [v for v in born if v in plan.arrays]
    for a, b in itertools.combinations(sorted(placed, key=born.get), 2):
        if born[b] < dies[a] or (born[b] == dies[a] and not made.calls[born[b]].elementwise):
            assert not np.shares_memory(plan.arrays[a], plan.arrays[b]), (a, b)
    assert all(plan.arrays[v].shape == v.shape and plan.arrays[v].dtype == v.dtype for v in placed)
    assert plan.memory == allocated(plan)


def allocated(plan):
    """The bytes of all memory that the plan's arrays lie in, each piece once."""
    owners = {}
    for array in plan.arrays.values():
        while array.base is not None:
            array = array.base
        owners[id(array)] = array.nbytes - ALIGNMENT
    return sum(owners.values())


def test_a_plan_that_frees_too_early_is_seen(monkeypatch):
    """The test above, tried on a wrong plan."""
    honest = Plan.__init__

    def hasty(self, made):
        honest(self, made)
        first, *others = [v for v in self.arrays if v.kind == "result"]
        for other in others:
            self.arrays[other] = np.ndarray(other.shape, other.dtype, self.arrays[first].base)

    monkeypatch.setattr(Plan, "__init__", hasty)
    made = record(lambda x: [vector.exp(x) * 2.0, vector.exp(x) * 3.0], np.ones(3))
    plan = Plan(made)
    born, dies = lives(made)
    pairs = itertools.combinations(sorted(born, key=born.get), 2)
    assert any(np.shares_memory(plan.arrays[a], plan.arrays[b]) for a, b in pairs if born[b] < dies[a])


def test_memory_is_shared_and_aligned():
    def chain(x):
        for _ in range(20):
            x = vector.concatenate([x[1:], vector.tanh(x[:1])])
        return x

    made = record(chain, np.ones(1000))
    plan = Plan(made)
    total = sum(v.size * 8 for v in lives(made)[0])
    assert plan.memory < total / 4
    assert build(made, "chain")[0].memory == plan.memory
    assert all(a.ctypes.data % ALIGNMENT == 0 for v, a in plan.arrays.items() if v.kind == "result")


@pytest.mark.parametrize("shape, in_place", [((), False), ((1,), False), ((1, 1), False), ((2,), True), ((2, 1), True)])
def test_a_single_number_is_not_computed_in_place(shape, in_place):
    """numpy takes twice as long for it. What was in place of the others goes to memory that is free again."""
    step = vector.compile(lambda x, y: vector.exp(vector.tanh(x * y)))
    x, y = np.full(shape, 0.5), np.full(shape, 0.25)
    for _ in range(3):
        assert same(step(x, y).data, np.exp(np.tanh(x * y)))
    _, tanh, exp = step.program.calls
    assert [call.function for call in (tanh, exp)] == [np.tanh, np.exp]
    lines = re.findall(r"np\.(?:tanh|exp)\((\w+), out=(\w+)\)", str(step.program))
    assert [a == b for a, b in lines] == [in_place] * 2
    assert step.memory == (ALIGNMENT if in_place else 2 * ALIGNMENT)
