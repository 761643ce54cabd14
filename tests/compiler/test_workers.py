"""Threads that share a matrix product: the same bits by any number of them, and nobody writes on after the call."""

import os
import signal
import threading
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from recorded import always
from threadpoolctl import threadpool_info, threadpool_limits

import vector
from vector import Tensor
from vector.compiler import passes
from vector.compiler.passes import at_once
from vector.runtime import matmul
from vector.runtime import threads as workers
from vector.runtime.blas import routine

pytestmark = pytest.mark.usefixtures("only_replays")


@pytest.fixture
def eager(monkeypatch):
    """Products of any size are shared, from the first multiply-add on, whatever quicker may be."""
    monkeypatch.setattr(workers.Autotuner, "advice", always)
    monkeypatch.setattr(matmul, "SHARED", 1)
    monkeypatch.setattr(matmul, "WAKE", 0)


def stacks(t, n=3, k=5, m=2, dtype=np.float64, stacked=False):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(t, k, m) if stacked else (k, m)).astype(dtype)
    return rng.normal(size=(t, n, k)).astype(dtype), y


def shared(threads, x, y):
    out = np.full((len(x), x.shape[1], y.shape[-1]), np.nan, np.result_type(x, y))
    with workers.use_threads(threads):
        assert matmul.shared_matmul(x, y, out=out) is out
    return out


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("t", [1, 2, 3, 5, 16])
def test_any_number_of_threads_gives_the_same_bits(t, threads, stacked, eager):
    x, y = stacks(t, stacked=stacked)
    assert np.array_equal(shared(threads, x, y), np.matmul(x, y))
    assert len(workers.team) >= min(threads, t) - 1


def test_each_thread_has_its_part(monkeypatch):
    """The caller's is larger by what it does until the others are awake; too small a product is all its own."""
    parts, multiply = [], np.matmul

    def one_part(worker, task):
        _, another, part, _ = task
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(np, "matmul", lambda x, y, out: parts.append(len(x)) or multiply(x, y, out=out))
            part(another())

    monkeypatch.setattr(workers.Autotuner, "advice", lambda self: True)
    monkeypatch.setattr(workers.Worker, "give", one_part)
    x, y = np.zeros((16, 8, 784), np.float32), np.zeros((784, 128), np.float32)  # 12.8 million multiply-adds
    for threads in (1, 2, 3):
        shared(threads, x, y)
    assert parts == [7, 7]
    for threads in (2, 3):
        shared(threads, np.concatenate([x] * 3), y)
    assert parts[2:] == [23, 15, 15]
    shared(2, x[:9], y)
    shared(2, x[:9].astype(np.float64), y.astype(np.float64))  # twice the work
    assert parts[5:] == [4]
    shared(5, np.zeros((2, 200, 784), np.float32), y)  # of two products each computes one
    assert parts[6:] == [1]
    assert matmul.work(np.zeros((2, 3, 5), np.float32), np.zeros((2, 5, 7), np.float32)) == 2 * 3 * 16 * 16
    assert matmul.work(np.zeros((2, 3, 17)), np.zeros((17, 16))) == 2 * 3 * 32 * 16 * 2


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: clock[0] is its time."""
    now = [0.0]
    monkeypatch.setattr(workers, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def followed(tuner, clock, steps):
    """The advice before each step that takes so long, alone and shared: `steps` are pairs of seconds."""
    advices = []
    for alone, shared in steps:
        advices.append(tuner.advice())
        clock[0] += shared if advices[-1] else alone
    return advices


TURNS = ([False] * workers.RUN + [True] * workers.RUN) * (workers.TRIALS // (2 * workers.RUN))
REST = workers.ROUND - workers.TRIALS


@pytest.mark.parametrize(
    ("alone", "shared", "wins"), [(3.0, 2.0, True), (2.0, 3.0, False), (1.0, 1.0, False), (1.0, 0.99, True)]
)
def test_what_makes_the_quicker_step_is_done(alone, shared, wins, clock):
    """Each way is tried again in every round, so that it is seen when the other one becomes quicker."""
    tuner = workers.Autotuner()
    for _ in range(2):
        assert followed(tuner, clock, [(alone, shared)] * workers.ROUND)[: workers.ROUND] == TURNS + [wins] * REST
        followed(tuner, clock, [(alone, shared)] * (tuner.length - workers.ROUND))


def test_after_each_loss_the_next_trials_come_later(clock):
    tuner, lengths = workers.Autotuner(), []
    for shared in [1.5] * 8 + [0.5] * 2 + [1.5] * 2:
        assert followed(tuner, clock, [(1.0, shared)] * workers.TRIALS) == TURNS
        tuner.advice()
        lengths.append(tuner.length - workers.TRIALS)
        followed(tuner, clock, [(1.0, shared)] * (tuner.length - workers.TRIALS - 1))
    longest = [240, 480, 960, 1920, 3840, 4096, 4096, 4096]
    assert lengths == [*longest, 240, 240, 240, 480]


def test_sharing_that_waits_now_and_then_is_given_up(clock):
    """As where another process takes the second processor: most calls are quick, some wait for their turn."""
    tuner = workers.Autotuner()
    assert followed(tuner, clock, [(1.0, 0.5)] * (workers.TRIALS + 1))[-1] is True
    waits = [(1.0, 30.0 if i % 16 == 0 else 0.5) for i in range(workers.CHECK)]
    assert followed(tuner, clock, waits)[-1] is False
    assert tuner.length == workers.CHECK + REST
    tuner = workers.Autotuner()  # one pause is no reason
    once = [(1.0, 1e6 if i == 50 else 0.5) for i in range(workers.ROUND - 1)]
    assert followed(tuner, clock, once)[-1] is True


def test_hopeless_trials_end_early(clock):
    tuner = workers.Autotuner()
    assert followed(tuner, clock, [(1.0, 5.0)] * 20) == TURNS[: 2 * workers.RUN] + [False] * 12


@pytest.mark.parametrize("seconds", [0.1, 9.0])
@pytest.mark.parametrize("wins", [False, True])
def test_a_few_other_steps_decide_nothing(wins, seconds, clock):
    """Such as the first after a change of ways, or while something else has the processor: half of those of the quicker
    way but one, if they take longer, and half of those of the other way, if they take less."""
    usual = (1.0, 0.9) if wins else (1.0, 1.1)
    few = (workers.TRIALS // 2 - 1) // 2
    odd = [few if way is (wins is (seconds > 1.0)) else 0 for way in (False, True)]
    tuner, seen = workers.Autotuner(), [0, 0]
    for _ in range(workers.TRIALS):
        way = tuner.advice()
        seen[way] += 1
        clock[0] += seconds if seen[way] <= odd[way] else usual[way]
    assert tuner.advice() is wins
    assert [len(took) for took in tuner.took] == [workers.TRIALS // 2] * 2


def test_a_pause_between_two_rounds_counts_for_neither(clock):
    tuner = workers.Autotuner()
    followed(tuner, clock, [(1.0, 2.0)] * workers.ROUND)
    assert tuner.calls == tuner.length
    clock[0] += 1000.0
    followed(tuner, clock, [(1.0, 2.0)])
    assert tuner.took == ([], [])
    followed(tuner, clock, [(1.0, 2.0)])
    assert tuner.took == ([1.0], [])


def test_what_is_no_trial_is_not_kept(clock):
    tuner = workers.Autotuner()
    followed(tuner, clock, [(1.0, 2.0)] * workers.ROUND)
    assert tuner.took == ([1.0] * (workers.TRIALS // 2), [2.0] * (workers.TRIALS // 2))


def test_a_signal_in_the_middle_of_a_decision(clock, monkeypatch):
    """Its handler computes such a product, too, which is another call: alone, as long as nothing is decided."""
    tuner, within = workers.Autotuner(), []

    def interrupted(seconds):
        within.append(tuner.advice())
        return list(seconds)

    monkeypatch.setattr(workers, "sorted", interrupted, raising=False)
    assert followed(tuner, clock, [(3.0, 2.0)] * (workers.TRIALS + 1))[-1] is True
    assert within == [False, False]
    assert tuner.calls == workers.TRIALS + 3


def test_products_of_one_size_share_an_autotuner():
    x, y = np.zeros((16, 8, 784), np.float32), np.zeros((784, 128), np.float32)

    def calls(helpers=1):
        size = (x.shape, x.strides, y.shape, y.strides, helpers)
        return workers.autotuner_for(threading.get_ident(), *size).calls

    before, others = calls(), []
    shared(2, x, y)
    shared(1, x, y)  # alone anyway
    shared(2, x[:4], y)
    thread = threading.Thread(target=lambda: others.extend([calls(), shared(2, x, y), shared(2, x, y), calls()]))
    thread.start()
    thread.join()
    assert others[3] == others[0] + 2
    assert calls() == before + 1
    assert calls(helpers=0) == 0


def test_what_is_advised_is_done(monkeypatch):
    done, advice = [], iter([True, False, True])
    monkeypatch.setattr(matmul, "parallel_for", lambda part, count, helpers: done.append((count, helpers)))
    monkeypatch.setattr(workers.Autotuner, "advice", lambda self: next(advice))
    x, y = np.zeros((16, 8, 784), np.float32), np.zeros((784, 128), np.float32)
    for _ in range(3):
        shared(2, x, y)
    assert done == [(2, 1)] * 2


def test_a_product_in_the_middle_of_another_is_computed_alone(eager):
    """As by what a signal calls."""
    x, y = stacks(4)
    with workers.turn:
        assert np.array_equal(shared(2, x, y), np.matmul(x, y))


def asleep(worker):
    worker.working, worker.task, worker.error, worker.call = threading.Lock(), None, None, threading.Lock()


def test_what_a_worker_has_not_begun_the_caller_computes(monkeypatch, eager):
    monkeypatch.setattr(workers, "team", [])
    monkeypatch.setattr(workers.Worker, "__init__", asleep)
    x, y = stacks(9)
    assert np.array_equal(shared(3, x, y), np.matmul(x, y))
    assert [worker.task for worker in workers.team] == [None, None]


def test_what_a_worker_has_begun_is_waited_for(monkeypatch, eager):
    """Else it would be written over what comes next."""
    begun, multiply, caller = threading.Event(), np.matmul, threading.current_thread()

    def slow(x, y, out):
        if threading.current_thread() is caller:
            assert begun.wait(60)
        else:
            begun.set()
            time.sleep(0.05)
        return multiply(x, y, out=out)

    x, y = stacks(4)
    monkeypatch.setattr(np, "matmul", slow)
    out = shared(2, x, y)
    assert np.array_equal(out, multiply(x, y))


@pytest.mark.parametrize("helpers", range(6))
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_part_is_done_once(count, helpers):
    """The workers come from one end, the caller from the other; what it was given it gives to each part."""
    done, caller = [], threading.current_thread()
    for _ in range(50):
        workers.parallel_for(
            lambda i, x: done.append((i, x, threading.current_thread() is caller)), count, helpers, "x"
        )
        assert sorted(i for i, _, _ in done) == [*range(count)] and {x for _, x, _ in done} == {"x"}
        own = [i for i, _, mine in done if mine]
        if helpers and count > 1:
            assert own == sorted(own, reverse=True)
        else:
            assert own == [*range(count)]
        del done[:]


def test_after_an_error_no_other_part_is_begun(monkeypatch):
    """The caller's own; what others have begun they finish."""
    monkeypatch.setattr(workers, "team", [])
    monkeypatch.setattr(workers.Worker, "__init__", asleep)
    done = []

    def part(i):
        done.append(i)
        raise IndexError(i)

    with pytest.raises(IndexError, match="3"):
        workers.parallel_for(part, 4, 2)
    assert done == [3] and not workers.turn.locked()
    assert [worker.task for worker in workers.team] == [None, None]


@pytest.fixture
def interruptible():
    """Ctrl-C raises KeyboardInterrupt, also in a process that was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal to one thread, which breaks off its waiting")
def test_an_interrupt_waits_for_the_workers(monkeypatch, eager, interruptible):
    """Wherever it comes, what the workers were given is done, or nobody will do it, when the caller goes on."""
    multiply, main = np.matmul, threading.current_thread()
    going = []

    def slow(x, y, out):
        if threading.current_thread() is not main:
            going.append(True)
            time.sleep(0.002)
            multiply(x, y, out=out)
            going.pop()
            return out
        time.sleep(0.0005)
        return multiply(x, y, out=out)

    monkeypatch.setattr(np, "matmul", slow)
    x, y = stacks(4)
    out, in_time = np.empty((4, 3, 2)), 0
    with workers.use_threads(2):
        for i in range(100):
            timer = threading.Timer(0.00005 * (i % 60), signal.pthread_kill, (main.ident, signal.SIGINT))
            done = False
            with pytest.raises(KeyboardInterrupt):
                timer.start()
                matmul.shared_matmul(x, y, out=out)
                done = True
                timer.join()
            assert not going and workers.team[0].task is None
            in_time += not done
        assert np.array_equal(matmul.shared_matmul(x, y, out=out), multiply(x, y))
    assert in_time


def test_overflow_is_treated_as_the_caller_wants(eager):
    x, y = stacks(2)
    x[1] = 1e300  # the worker's part
    y = np.full_like(y, 1e300)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        shared(2, x, y)
    with np.errstate(over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(shared(2, x, y)[1]).all()
    with pytest.warns(RuntimeWarning, match="overflow"):
        shared(2, x, y)
    x[0] = 1e300
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        shared(2, x, y)  # in both parts
    assert np.array_equal(shared(2, *stacks(2)), np.matmul(*stacks(2)))  # no error is raised again


def test_two_python_threads_at_once(eager):
    """One has the workers, the other computes alone."""
    x, y = stacks(64, 8, 8, 8)
    wrong = []

    def run():
        for _ in range(200):
            out = np.full((64, 8, 8), np.nan)
            matmul.shared_matmul(x, y, out=out)
            if not np.array_equal(out, np.matmul(x, y)):
                wrong.append(out)

    with workers.use_threads(3):
        callers = [threading.Thread(target=run) for _ in range(3)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert not wrong and not workers.turn.locked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that it has threads
def test_a_child_process_starts_its_own(eager):
    x, y = stacks(4)
    shared(2, x, y)
    assert workers.team
    workers.turn.acquire()  # as by another thread at the moment of the fork
    child = os.fork()
    if child == 0:
        fresh = not workers.team and not workers.turn.locked()
        os._exit(0 if fresh and np.array_equal(shared(2, x, y), np.matmul(x, y)) and workers.team else 1)
    workers.turn.release()
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that it has threads
def test_a_child_process_while_another_thread_uses_the_team(eager):
    """Wherever that thread is, nobody in the child waits for it."""
    x, y = stacks(4)
    expected, stop, in_use = np.matmul(x, y), threading.Event(), 0

    def other():
        out = np.empty_like(expected)
        while not stop.is_set():
            matmul.shared_matmul(x, y, out=out)

    with workers.use_threads(2):
        thread = threading.Thread(target=other)
        thread.start()
        try:
            for i in range(40):
                time.sleep(0.0001 * (i % 7))
                in_use += workers.turn.locked()
                child = os.fork()
                if child == 0:
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    signal.alarm(20)
                    os._exit(not all(np.array_equal(shared(n, x, y), expected) for n in (2, 3)))
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()
            thread.join()
    assert in_use


def test_workers_do_not_keep_a_program_from_ending(eager):
    shared(2, *stacks(4))
    mine = [thread for thread in threading.enumerate() if thread.name == "vector worker"]
    assert len(mine) >= len(workers.team) >= 1 and all(thread.daemon for thread in mine)


def test_the_number_of_threads():
    with threadpool_limits(2, user_api="blas"):
        before = blas()
        assert {*before} == {2} and workers.threads == 1
        with workers.use_threads():
            assert {*blas()} == {1} and workers.threads == workers.cores() >= 1
        assert blas() == before and workers.threads == 1
    with pytest.raises(ValueError, match="expected at least 1 thread, got 0"), workers.use_threads(0):
        pass
    assert workers.threads == 1


def blas():
    return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]


def test_blocks_of_threads_end_in_any_order():
    """The number is the whole process's: the newest block decides, and the last to end puts it back."""
    before = blas()
    first, second, third = (workers.use_threads(n) for n in (1, 2, 3))
    seen = []
    for change in (first.__enter__, second.__enter__, third.__enter__):
        change()
        seen.append((blas()[0], workers.threads))
    for block in (second, third, first):
        block.__exit__(None, None, None)
        seen.append((blas()[0], workers.threads))
    assert seen == [(1, 1), (1, 2), (1, 3), (1, 3), (1, 1), (before[0], 1)]
    assert blas() == before


@pytest.mark.parametrize("count, expected", [(1, [1, 1, 1, 1]), (2, [1, 2, 2, 2]), (64, [1, 2, 2, 3])])
def test_threads_that_are_worth_it(count, expected, monkeypatch):
    """Two from 8 million multiply-adds on, and one more for as many more."""
    monkeypatch.setattr(matmul, "machine_cores", lambda: count)
    x = np.zeros((1, 1249, 400), np.float32)
    sizes = [x, np.zeros((1, 1250, 400), np.float32), x.astype(float), np.zeros((1, 2500, 400), np.float32)]
    for columns in (16, 10):  # which take as long
        assert [matmul.thread_count(x, np.zeros((400, columns), np.float32)) for x in sizes] == expected


@pytest.mark.parametrize("affinity, count, expected", [({0, 2, 5}, 8, 3), (None, 5, 5), (None, None, 1)])
def test_processors_that_this_process_may_run_on(affinity, count, expected, monkeypatch):
    """Where the system says which; else all, if that is known."""
    if affinity is None:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    else:
        monkeypatch.setattr(os, "sched_getaffinity", {0: affinity}.__getitem__, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert workers.cores() == expected


@pytest.mark.parametrize(
    ("exact", "by"), [(True, "parallel_for(part"), (False, "parallel_for(part"), (False, "helpers,")]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_by_any_number_of_threads_gives_the_same_bits(dtype, exact, by, monkeypatch):
    """Eager and recorded, products that are cut small and such that are halved, by workers and by BLAS's threads."""
    if by == "parallel_for(part":
        monkeypatch.setattr(at_once, "parts_at_once", lambda x, y: 1)
    elif routine("gemm_batch", np.dtype(dtype)) is None:
        pytest.skip("numpy has another BLAS")
    monkeypatch.setattr(workers.Autotuner, "advice", always)
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)
    rng = np.random.default_rng(0)
    x, labels = rng.random((256, 300)).astype(dtype), rng.integers(0, 10, 256)

    def trained(threads, record):
        layers = [vector.nn.Dense(a, b, "relu", seed=a, dtype=dtype) for a, b in ((300, 128), (128, 1000), (1000, 10))]
        model = vector.nn.Sequential(*layers)
        step = model.train_step(vector.optim.SGD(model.parameters(), 0.1), vector.cross_entropy)
        if record:
            step = vector.compile(step, exact=exact)
        with workers.use_threads(threads):
            losses = [step(x, labels)[0].item() for _ in range(5)]
        return [np.array(losses), *(p.data for p in model.parameters())], step

    one, step = trained(1, True)
    assert str(step.program).count(by) >= (4 if "part" in by else 2)
    several, _ = trained(3, True)
    assert all(np.array_equal(a, b) for a, b in zip(one, several, strict=True))
    if exact:
        for threads in (1, 2):
            python, _ = trained(threads, False)
            assert all(np.array_equal(a, b) for a, b in zip(one, python, strict=True))


PRODUCTS = {  # shapes, dtypes, and whether threads share the product
    "a stack times a matrix": ((8, 100, 100), (100, 100), "ff", True),
    "a small one": ((8, 79, 100), (100, 100), "ff", False),
    "of wider numbers": ((4, 100, 100), (100, 100), "dd", True),
    "two stacks": ((8, 100, 100), (8, 100, 100), "ff", True),
    "a stack times one of one": ((8, 100, 100), (1, 100, 100), "ff", False),
    "a matrix times a stack": ((400, 100), (8, 100, 100), "ff", False),
    "stacks of stacks": ((2, 8, 100, 100), (100, 100), "ff", True),
    "of two dtypes": ((8, 100, 100), (100, 100), "fd", False),
}


@pytest.mark.parametrize("x, y, dtypes, handed_out", PRODUCTS.values(), ids=PRODUCTS)
def test_what_is_handed_out(x, y, dtypes, handed_out, monkeypatch):
    monkeypatch.setattr(matmul, "machine_cores", lambda: 2)
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=shape).astype(dtype) for shape, dtype in zip((x, y), dtypes, strict=True))
    step = vector.compile(lambda x, y: vector.sum(vector.matmul(x, y) * 2.0, axis=-1))
    with workers.use_threads(1):  # with threads of its own, BLAS may round otherwise
        first = step(x, y).data
    assert ("parallel_for(part" in str(step.program)) == handed_out
    with workers.use_threads(2):
        assert np.array_equal(step(x, y).data, first)


def into_a_factor(x, y):
    """numpy reads all of it before it writes; threads that each write a part would not wait for each other."""
    p = Tensor(np.ones((8, 100, 100), np.float32))

    def step(x, y):
        np.matmul(p.data, y, out=p.data)
        return p * x

    return step


ALONE = {
    "with a dtype": lambda x, y: lambda x, y: Tensor(np.matmul(x, y, dtype=np.float32)),
    "into one of its factors": into_a_factor,
}


@pytest.mark.parametrize("name", ALONE)
def test_what_is_not_handed_out(name):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(8, 100, 100)).astype(np.float32) / 100 for _ in "xy")
    eager, step = ALONE[name](x, y), vector.compile(ALONE[name](x, y))
    with workers.use_threads(2):
        for _ in range(3):
            assert np.array_equal(eager(x, y).data, step(x, y).data)
    assert "np.matmul" in str(step.program) and "shared" not in str(step.program)


def test_the_last_pass():
    assert passes.PIPELINE[-1].run is passes.parallelize  # others look for np.matmul


def test_every_blas_of_the_process_is_kept_to_one_thread():
    """Also one that another library brings."""
    pytest.importorskip("scipy.linalg")
    with workers.use_threads(1):
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert len(pools) > 1 and {pool["num_threads"] for pool in pools} == {1}
