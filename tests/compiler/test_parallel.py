"""Programs cut for several threads: the same bits in whatever order the threads do their parts."""

import gc
import signal
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders import ORDERS, in_all_orders, training
from recorded import OPTIMIZERS, always, compare, same
from strategies import part

import vector
from vector import Tensor
from vector.compiler import codegen
from vector.compiler.passes import parallel
from vector.runtime import blas, matmul
from vector.runtime import threads as workers

pytestmark = pytest.mark.usefixtures("only_replays")

FUNCTIONS = (np.add, np.subtract, np.multiply, np.maximum)
WHAT = (
    "product",
    "product of parts",
    "new",
    "in place",
    "by a number",
    "by one of",
    "by a row",
    "number",
    "turned",
    "part",
)
WHAT += ("copied", "compared", "there")


def interpreted(lines):
    """A maker of a step on 6 by 6 arrays, all of which a thread may do in parts, and some batches: a line is what to do
    and with which of the arrays that there are."""

    def make():
        rng = np.random.default_rng(0)
        own = [Tensor(rng.normal(size=(6, 6)), f"p{i}") for i in range(3)]

        def step(x, y):
            arrays, numbers = [x, y, *(p.data for p in own)], [np.add.reduce(y, axis=None)]
            for what, i, j, k in lines:
                a, b, number = arrays[i % len(arrays)], arrays[j % len(arrays)], numbers[k % len(numbers)]
                f = FUNCTIONS[k % len(FUNCTIONS)]
                if what == "product":
                    arrays.append(np.matmul(a.reshape(3, 2, 6), b).reshape(6, 6) / 6.0)
                elif what == "product of parts":
                    arrays.append(np.matmul(a.reshape(6, 2, 3), b.reshape(6, 3, 2)[:, :, :]).reshape(-1)[:24] * number)
                    arrays[-1] = np.concatenate([arrays[-1], arrays[-1][:12]]).reshape(6, 6)
                elif what == "new":
                    arrays.append(f(a, b))
                elif what == "in place":
                    f(a, b, out=a)
                elif what == "by a number":
                    arrays.append(f(a, number) * 0.5)
                elif what == "by one of":
                    one = b[k % 6 : k % 6 + 1, j % 6]
                    arrays.append(f(a, one[:, None] if i % 2 else one))
                elif what == "by a row":
                    arrays.append(f(a, b[k % 6]))
                elif what == "number":
                    numbers.append(a[i % 6, j % 6])
                elif what == "turned":
                    arrays.append(a.T)
                elif what == "part":
                    a[i % 5 :] += 0.5
                elif what == "copied":
                    np.copyto(a, b)
                elif what == "compared":
                    arrays.append(a * (a > b))
                else:
                    f(a, b, out=arrays[k % len(arrays)])
            return arrays[-2:]

        return step, own

    rng = np.random.default_rng(1)
    return make, [[rng.normal(size=(6, 6)), rng.normal(size=(6, 6))] for _ in range(3)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cores", [2, 3])
@part(2)
@given(lines=st.lists(st.tuples(st.sampled_from(WHAT), *[st.integers(0, 11)] * 3), min_size=2, max_size=12))
def test_programs(order, cores, lines):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(matmul, "machine_cores", lambda: cores)
        monkeypatch.setattr(matmul, "SHARED", 1)
        monkeypatch.setattr(workers.Autotuner, "advice", always)
        monkeypatch.setattr(matmul, "WAKE", 0)
        monkeypatch.setattr(codegen, "parallel_for", ORDERS[order])
        with workers.use_threads(cores), np.errstate(all="ignore"):
            compare(*interpreted(lines))


@pytest.mark.parametrize("cores", [2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "lion"])  # whose update is no part of one
def test_networks(optimizer, dtype, cores, eager, monkeypatch):
    monkeypatch.setattr(matmul, "machine_cores", lambda: cores)
    made = in_all_orders(*training(optimizer, dtype), monkeypatch)
    regions = [call for call in made.calls if call.parts]
    assert len(regions) >= 6  # as many products, and their followers
    followers = [call for region in regions for call in region.statements if call.function is not np.matmul]
    assert any(call.writes and call.out.root.kind == "state" for call in followers)


def halves(program):
    """The products of parts of the same factors, which are added."""
    found = [call.statements for call in program.calls if call.parts and len(call.parts[0]) == 1]
    return [call for pair in found if len({call.out.root for call in pair}) == 2 for call in pair]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_halves_of_a_sum(optimizer, eager, monkeypatch):
    """Rounded otherwise, but the same by any number of threads in any order."""
    results = []
    for share in (*ORDERS.values(), workers.parallel_for):
        monkeypatch.setattr(codegen, "parallel_for", share)
        with workers.use_threads(1 if len(results) == 3 else 2):
            make, calls = training(optimizer, sizes=(80, 16, 16, 4), n=16)
            step, state = make()
            step = vector.compile(step, exact=False)
            results.append([step(*args)[0].item() for args in calls] + [np.array(p.data) for p in state])
    assert all(same(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
    terms = halves(step.program)
    assert [call.args[1].shape for call in terms] == [(32, 16), (48, 16)], str(step.program)


def test_how_a_step_is_cut(monkeypatch, workers_alone):
    """Of a gradient's 14 tiles, with 128 images, the worker computes six, and updates as many rows of the weight: in
    the same call, where numpy's BLAS can be called."""
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)
    monkeypatch.setattr(matmul, "small_products_at_once", lambda: True)
    make, calls = training("sgd", sizes=(784, 128, 10), n=128)
    step, _ = make()
    step = vector.compile(step, exact=False)
    step(*calls[0])
    own, first, second = str(step.program).split("\n\n")
    at_once = blas.routine("gemm", np.dtype(np.float32)) is not None
    assert [text.count("np.matmul") for text in (own, first, second)] == [1, 1, not at_once]
    assert second.count("subtract_product(weight0_parts") == at_once
    smaller, larger = halves(step.program)
    assert (smaller.args[1].shape, larger.args[1].shape) == ((352, 128), (432, 128))
    assert own.count("2 parts") == 2 and own.count("helpers = autotuner.helpers()") == 1
    assert first.count("[i]") == 3 and second.count("[i]") == (3 if at_once else 5)
    about = [line.split("# ")[1] for line in second.splitlines()[1:]]
    assert about == ["6x56x128 float32 or 8x56x128 float32", "43008 float32 or 58762 float32"][: 2 - at_once]


def moved_by_a_product(p, x, y):
    """p -= x @ y, which threads share, and the half of p that it returns."""
    p.data -= np.matmul(x.reshape(6, 2, 6), y).reshape(12, 6)
    return p * 0.5


OWN = {"the array": lambda a: a, "upside down": lambda a: a[::-1], "another": lambda a: np.ones_like(a)}


@pytest.mark.parametrize("order", ORDERS)
def test_an_argument_in_the_memory_of_a_weight(order, eager, monkeypatch):
    """The product reads it as it was, though other threads write to the weight by then."""
    monkeypatch.setattr(codegen, "parallel_for", ORDERS[order])
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(6, 6)), Tensor(rng.normal(size=(12, 6)), "p")
    step = vector.compile(lambda x, y: moved_by_a_product(p, x, y))
    with workers.use_threads(2):
        for name in ["another", *OWN, *OWN]:
            x = OWN[name](p.data)
            expected = p.data - np.matmul(x.reshape(6, 2, 6), y).reshape(12, 6)
            step(x, y)
            assert np.array_equal(p.data, expected), name
    assert "apart = unless_shared(x_2, p)" in str(step.program)
    assert step.traces == 2  # its strides are others upside down


def test_an_argument_that_nothing_is_written_beside_is_not_looked_at(eager):
    step = vector.compile(lambda x, y: Tensor(np.matmul(x.reshape(6, 2, 6), y) * 0.5))
    step(np.ones((12, 6)), np.ones((6, 6)))
    assert "parallel_for(part" in str(step.program) and "unless_shared" not in str(step.program)


@pytest.mark.parametrize("threads", range(1, 7))
@pytest.mark.parametrize("cores", [2, 3, 4, 5])
def test_fewer_threads_than_parts(threads, cores, eager, monkeypatch):
    """Each part is done by one thread, by no more threads than there may be."""
    monkeypatch.setattr(matmul, "machine_cores", lambda: cores)
    given = []
    monkeypatch.setattr(workers.Worker, "give", lambda self, task: given.append(self) or task[0](*task[1:]))
    p = Tensor(np.ones((12, 6)), "p")
    step = vector.compile(lambda x, y: moved_by_a_product(p, x, y))
    x, y = np.random.default_rng(0).normal(size=(12, 6)), np.eye(6) * 0.5
    with workers.use_threads(threads):
        step(x, y)
        del given[:]
        step(x, y)
    assert np.array_equal(p.data, 1.0 - 0.5 * x - 0.5 * x)
    assert len({*given}) == len(given) == min(threads, cores) - 1


def test_the_first_of_a_step_asks_for_advice(eager, monkeypatch):
    """So that all of a step is done by the same threads."""
    asked = []
    monkeypatch.setattr(workers.Autotuner, "advice", lambda self: asked.append(self) or always(self))
    make, calls = training("sgd")
    step = vector.compile(make()[0])
    with workers.use_threads(2):
        for args in calls:
            step(*args)
    assert asked == [step.latest.run.__globals__["autotuner"]] * (len(calls) - 1)
    before = len(asked)
    step(*calls[0])  # one thread: nobody is asked
    assert len(asked) == before


def test_what_advice_says_is_done(eager, monkeypatch):
    given, advice = [], iter([False, True, True, False])
    monkeypatch.setattr(workers.Autotuner, "advice", lambda self: next(advice))
    monkeypatch.setattr(workers.Worker, "give", lambda self, task: given.append(self))
    make, calls = training("sgd")
    step = vector.compile(make()[0])
    step(*calls[0])
    seen = []
    with workers.use_threads(2):
        for args in calls[:4]:
            step(*args)
            seen.append(len(given))
    regions = str(step.program).count("parallel_for(part")
    assert seen == [0, regions, 2 * regions, 2 * regions]


def test_a_step_while_the_team_has_something_to_do_is_done_alone(eager):
    make, calls = training("sgd")
    step, state = make()
    step = vector.compile(step)
    other, expected = make()
    with workers.use_threads(2):
        for args in calls:
            with workers.turn:
                step(*args)
            other(*args)
    assert all(np.array_equal(a.data, b.data) for a, b in zip(state, expected, strict=True))


def test_an_error_in_a_part_is_raised(eager):
    """Whoever comes to it, and the team is free afterwards."""
    p = Tensor(np.ones((12, 6)), "p")
    step = vector.compile(lambda x, y: moved_by_a_product(p, x, y))
    y = np.eye(6)
    step(np.ones((12, 6)), y)
    for row in (0, 11):
        x = np.ones((12, 6))
        x[row] = 1e308
        for threads in (1, 2):
            p.data[...] = -1e308
            with workers.use_threads(threads), np.errstate(over="raise"), pytest.raises(FloatingPointError):
                step(x, y)
            assert not workers.turn.locked()
            p.data[...] = 1.0
            with workers.use_threads(threads):
                step(np.ones((12, 6)), y)
            assert np.array_equal(p.data, np.zeros((12, 6)))


def test_a_program_is_let_go_with_its_step(eager):
    """Nothing in it holds itself, which only the collector of circles would find."""
    make, calls = training("sgd")
    step = vector.compile(make()[0])
    with workers.use_threads(2):
        step(*calls[0])
        step(*calls[1])
    parts = [x for name, x in step.latest.run.__globals__.items() if name.startswith("part") and callable(x)]
    seen = [*map(weakref.ref, [step.latest, *parts])]
    del parts
    gc.disable()
    try:
        del step
        assert len(seen) > 2 and not any(look() for look in seen)
    finally:
        gc.enable()


def test_large_products_that_come_in_between_are_cut_too(monkeypatch):
    """What updates a weight begins with its gradient, before which the gradients of the layers below are computed."""
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)
    make, calls = training("adam", sizes=(300, 256, 256, 10), n=256)
    step = vector.compile(make()[0])
    step(*calls[0])
    assert not any(parallel.may_be_shared(call) for call in step.program.calls)
    assert len([call for call in step.program.calls if call.parts]) == 5


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer")
def test_an_interrupt_lets_go_of_the_team(eager):
    """Whenever it comes."""

    class Stop(Exception):
        pass

    def stop(*args):
        raise Stop

    make, calls = training("sgd")
    step = vector.compile(make()[0])
    step(*calls[0])
    before, stopped = signal.signal(signal.SIGALRM, stop), 0
    try:
        with workers.use_threads(2):
            for i in range(2000):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-6 + 1e-6 * (i % 500))
                    step(*calls[0])
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Stop:
                    stopped += 1
                assert not workers.turn.locked()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stopped > 100
