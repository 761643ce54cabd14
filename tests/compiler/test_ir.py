"""Programs: what holds of each is checked, a broken one is convicted, and what is put in the place of another is."""

import operator
import sys

import numpy as np
import pytest
from programs import record
from recorded import OPTIMIZERS, same

import vector
from vector.compiler import passes
from vector.compiler.alias import Overlaps, first_element, may_overlap, stay_in_order
from vector.compiler.codegen import build
from vector.compiler.ir import Call, Program, Substitution, Var, check, rewrite


def state(*shape):
    return Var("state", np.ones(shape or (3,)), "p")


def result(*shape):
    return Var("result", np.ones(shape or (3,)))


def part(x, where):
    return Var("view", x.array[where], "", x, (operator.getitem, (where,), {}))


def doubled(x, out, writes=False):
    return Call(np.multiply, (x, 2.0), {}, out, writes=writes)


def program(*calls, inputs=(), outputs=()):
    return Program(calls, inputs, outputs)


def broken():
    """Programs that each break one rule, and what is said of it."""
    p, r, s = state(), result(), result()
    given = Var("input", np.ones(3), "x")
    fixed = Var("constant", np.ones(3))
    wrong_shape = Var("view", np.ones(2), "", p, (operator.getitem, (slice(1),), {}))
    copy = Var("view", np.ones(3)[[2, 1, 0]], "", p, (np.take, ([2, 1, 0],), {}))
    halves = [part(p, slice(2)), part(p, slice(1, 3))]
    yield "kind other", program(doubled(p, r), doubled(Var("other", np.ones(3)), s))
    yield "kind view and base None", program(doubled(Var("view", np.ones(3)), r))
    yield "has kind state and base", program(doubled(Var("state", np.ones(3), "", p, (np.ravel, (), {})), r))
    yield "is no input of the program", program(doubled(given, r))
    yield "has no array", program(doubled(Var("state", None, like=p), r))
    yield "is not what getitem makes of its base", program(doubled(wrong_shape, r))
    yield "is a copy of its base", program(doubled(copy, r))
    yield "without saying so", program(doubled(p, p))
    yield "without saying so", program(doubled(p, part(p, slice(2))))
    yield "without saying so", program(doubled(p, given), inputs=[given])
    yield "without saying so", program(doubled(p, fixed, writes=True))
    yield "reads .* before it is computed", program(doubled(s, r))
    yield "reads .* before it is computed", program(doubled(r, r))
    yield "updates .* before it is computed", program(doubled(p, r, writes=True))
    yield "a second time", program(doubled(p, r), doubled(p, r))
    yield "a second time", program(doubled(p, part(r, slice(2))), doubled(p, r))
    yield "a second time", program(doubled(p, r), doubled(p, part(r, slice(2))))
    yield "return: .* is never computed", program(doubled(p, r), outputs={"loss": [s]})
    yield "return: .* is no input", program(outputs=given)
    yield "its parts do different things", in_parts([doubled(p, r)], [Call(np.exp, (p,), {}, s)])
    yield "touches .* which another one writes", in_parts(*[[doubled(x, x, writes=True)] for x in halves])
    yield "touches .* which another one writes", in_parts([doubled(p, r)], [doubled(r, s)])


def in_parts(*parts):
    return program(Call(print, (), {}, parts[0][0].out, parts=tuple(program(*calls) for calls in parts)))


@pytest.mark.parametrize("message, wrong", [*broken()])
def test_a_broken_program_is_convicted(message, wrong):
    with pytest.raises(ValueError, match=message):
        check(wrong)


def test_programs_that_are_right():
    p, r, joined = state(), result(), result(6)
    given = Var("input", np.ones(3), "x")
    check(program())
    check(
        program(
            doubled(given, r), doubled(r, r, writes=True), doubled(r, p, writes=True), inputs=[given], outputs=[r, p]
        )
    )
    check(
        program(doubled(p, part(joined, slice(3))), doubled(p, part(joined, slice(3, 6))), doubled(joined, result(6)))
    )
    check(in_parts(*[[doubled(part(p, x), part(r, x))] for x in (slice(2), slice(2, 3))]))


def test_a_pass_that_breaks_a_program_is_seen(monkeypatch):
    """The check behind every pass, tried on a wrong pass."""

    def forgetful(made):
        return Program(made.calls[1:], made.inputs, made.outputs)

    monkeypatch.setattr(passes, "PIPELINE", (passes.Stage(forgetful),))
    with pytest.raises(ValueError, match="before it is computed"):
        vector.compile(lambda x: vector.exp(x * 2.0))(np.ones(3))


def test_nothing_in_a_program_changes():
    made = record(lambda x: x * 2.0, np.ones(3))
    (call,) = made.calls
    for thing, name in [(call, "out"), (call.out, "kind"), (made, "outputs")]:
        with pytest.raises(AttributeError, match="cannot assign"):
            setattr(thing, name, None)


def test_passes_leave_the_program_they_are_given():
    made = record(lambda x: [np.exp(x * 1.0) + np.exp(x * 1.0), np.zeros_like(x)], np.ones(3))
    before = str(made), made.calls
    other = passes.optimize(made, exact=False)
    assert (str(made), made.calls) == before and len(other) < len(made)
    for one in (made, other):
        assert same(build(one, "step")[1](np.arange(3.0))[0], np.exp(np.arange(3.0)) * 2.0)


# --- an alias in the place of a variable ------------------------------------------------------------------------------


def test_an_alias_stands_for_a_variable_and_its_views():
    old, alias, last, other = result(), result(), result(), state()
    view = part(part(old, slice(2)), slice(1))
    calls = [doubled(other, last), Call(np.add, (view, [other]), {"where": old}, view)]
    made = rewrite(program(*calls, inputs=[], outputs={"a": old, "b": other}), calls, {old: alias, alias: last})
    first, second = made.calls
    assert first is calls[0]
    new, (kept,) = second.args
    assert new is second.out and new.root is last and new.base.base is last and new.view == view.view and kept is other
    assert second.kwargs == {"where": last} and made.outputs == {"a": last, "b": other}


def test_a_variable_of_many_views_in_each_other():
    """As a loop of changes of shape makes them, more than Python lets a function call itself."""
    old = view = result(4)
    for i in range(5000):
        shape = (2, 2) if i % 2 else (4,)
        view = Var("view", view.array.reshape(shape), "", view, (np.reshape, (shape,), {}))
    alias = result(4)
    assert Substitution({old: alias})(view).root is alias
    made = program(doubled(state(4), old), outputs=view)
    check(made)
    assert same(build(made, "step")[1]()[0], np.full((2, 2), 2.0))


# --- which arrays lie in the same memory ------------------------------------------------------------------------------


def outside():
    memory = np.zeros(6)
    parts = memory[:4], memory[2:], memory[5:]
    kinds = [("input", memory), ("input", np.ones(6)), *(("state", x) for x in parts)]
    kinds += [("result", memory), ("constant", memory)]
    return [Var(kind, array) for kind, array in kinds]


PAIRS = [*((i, k) for i in range(5) for k in range(5) if (i, k) not in [(2, 4), (4, 2)]), (5, 5), (6, 6)]


def test_which_arrays_may_overlap():
    arrays = outside()
    assert [(i, k) for i, x in enumerate(arrays) for k, y in enumerate(arrays) if may_overlap(x, y)] == PAIRS


def test_the_index_of_overlaps_finds_the_same():
    arrays = outside()
    overlaps = Overlaps([Call(np.add, tuple(arrays), {}, arrays[0])])
    assert [(i, k) for i, x in enumerate(arrays) for k, y in enumerate(arrays) if y in overlaps(x)] == PAIRS


def swapped(*calls):
    """Whether two calls may change places."""
    return stay_in_order(calls, {call: len(calls) - i for i, call in enumerate(calls)})


def test_which_calls_may_change_places():
    p, q, r, s = state(), state(), result(), result()
    given = Var("input", np.ones(3), "x")
    assert swapped(doubled(p, r), doubled(p, s))
    assert swapped(doubled(p, p, writes=True), doubled(q, q, writes=True))
    assert not swapped(doubled(p, r), doubled(r, s))
    assert not swapped(doubled(p, r), doubled(q, p, writes=True))
    assert not swapped(doubled(q, p, writes=True), doubled(r, part(p, slice(1)), writes=True))
    assert swapped(doubled(given, r), doubled(p, s))
    assert not swapped(doubled(given, r), doubled(s, p, writes=True))
    assert not swapped(doubled(s, p, writes=True), doubled(given, r))
    assert not swapped(doubled(s, given, writes=True), doubled(p, r))
    assert not swapped(doubled(p, r), doubled(s, given, writes=True))
    same_place = [doubled(p, p, writes=True), doubled(p, p, writes=True)]
    assert not stay_in_order(same_place, dict.fromkeys(same_place, 0))


def test_where_in_its_root_a_variable_begins():
    x = result(6)
    flat = Var("view", x.array.reshape(2, 3), "", x, (np.reshape, ((2, 3),), {}))
    assert first_element(x) == first_element(flat) == 0
    assert first_element(part(x, slice(2, 4))) is None  # who knows


# --- many parameters --------------------------------------------------------------------------------------------------


def instructions(f):
    """How many of Python's instructions a call takes."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        f()
    finally:
        sys.settrace(before)
    return count


def layers(n, optimizer):
    """A step of n layers, and the same of n parameters beside each other that do not lie so."""
    model = vector.nn.Sequential(*[vector.nn.Dense(2, 2, "tanh", seed=i) for i in range(n)])
    others = [vector.Tensor(np.ones(3), f"p{i}") for i in range(n)]
    update = OPTIMIZERS[optimizer]([*model.parameters(), *others])

    def step(x, y):
        loss = vector.sum(model(x))
        for p in others:
            loss = loss + vector.sum(p * y)
        update.zero_grad()
        loss.backward()
        update.step()
        p = model.parameters()[0]
        p.data = p.data * 0.5 + p.data  # a new array, which is copied at the end
        return loss

    return step


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_passes_and_source_take_as_long_as_the_program_is(optimizer, monkeypatch):
    monkeypatch.setattr(passes, "apply", lambda change, program: change(program))  # without the check
    taken = []
    for n in (10, 40):
        made = record(layers(n, optimizer), np.ones((4, 2)), np.ones(3))
        taken.append(instructions(lambda made=made: build(passes.optimize(made, exact=False), "step")) / len(made))
    assert taken[1] < 1.15 * taken[0], taken
