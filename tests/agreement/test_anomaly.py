"""detect_anomaly names the op that first makes NaN or infinity of finite numbers, in the same words in both engines."""

import math
import re
import threading

import numpy as np
import pytest
from mistakes import alike

import scalar
import vector

ENGINES = {"scalar": (scalar, scalar.Value), "vector": (vector, vector.Tensor)}


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]


def named(*words):
    return pytest.raises(FloatingPointError, match="".join(f"(?=.*{re.escape(word)})" for word in words))


def inside(f):
    def mistake(E, N, A):
        with E.detect_anomaly():
            f(E, N)

    return mistake


def without_graph(E, N):
    with E.no_grad():
        E.log(N(0.0))


ANOMALIES = {
    "log of 0": (lambda E, N: E.log(N(0.0, "x")), "log is -inf for finite inputs: input 0, 'x' = 0.0"),
    "log below 0": (lambda E, N: E.log(N(-1.0)), "log is nan for finite inputs: input 0 = -1.0"),
    "division": (lambda E, N: 1.0 / N(0.0, "y"), "divide is inf for finite inputs: input 0 = 1.0; input 1, 'y' = 0.0"),
    "overflow": (lambda E, N: N(1e308, "x") * 10.0, "multiply is inf for finite inputs: input 0, 'x' = 1e+308"),
    "a constant": (lambda E, N: E.log(N(0.0, requires_grad=False)) * N(1.0), "log is -inf"),
    "under no_grad": (lambda E, N: without_graph(E, N), "log is -inf"),
    "a root's slope": (
        lambda E, N: E.sqrt(N(0.0, "x")).backward(),
        "the derivative of sqrt by input 0, 'x' is inf for finite inputs: input 0, 'x' = 0.0, value 0.0, gradient 1.0",
    ),
    "by grad": (
        lambda E, N: (lambda x: E.grad(E.sqrt(x), x))(N(0.0, "x")),
        "the derivative of sqrt by input 0, 'x' is inf",
    ),
    "a sum of slopes": (
        lambda E, N: (lambda x: x * 1e308 + x * 1e308)(N(0.1, "x")).backward(),
        "the gradients of input 0, 'x' of multiply add up to inf: 1e+308 and 1e+308",
    ),
    "twice the same input": (
        lambda E, N: (lambda x: x + x)(N(0.1, "x")).backward(1e308 if N is scalar.Value else np.array(1e308)),
        "the gradients of input 1, 'x' of add add up to inf: 1e+308 and 1e+308",
    ),
    "a second derivative": (
        lambda E, N: (lambda x: E.grad(x**1.5, x, create_graph=True).backward())(N(0.0, "x")),
        "is inf for finite inputs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ANOMALIES)
def test_the_op_is_named(name):
    f, words = ANOMALIES[name]
    alike(inside(f), FloatingPointError, words, "test_anomaly.py:")


@pytest.mark.parametrize("name", ANOMALIES)
def test_off_by_default(name, engine):
    with np.errstate(all="ignore"):
        ANOMALIES[name][0](*engine)


def test_the_line_that_made_the_op_is_named(engine):
    module, node = engine
    with module.detect_anomaly():
        root = module.sqrt(node(0.0) * 2.0)  # this line
        with named("test_anomaly.py:", "`root = module.sqrt(node(0.0) * 2.0)  # this line`: the derivative of sqrt"):
            root.backward()
    root = module.sqrt(node(0.0))
    with named("made before detect_anomaly: the derivative of sqrt"), module.detect_anomaly():
        root.backward()


def test_what_is_not_finite_already_is_not_to_blame(engine):
    module, node = engine
    with module.detect_anomaly():
        x = node(math.inf)
        out = x * 2.0 - x
        out.backward()
        (node(2.0) * 3.0).backward(math.nan if node is scalar.Value else np.array(math.nan))
        assert float(x.grad) == 1.0


def test_nothing_stays_behind(engine):
    module, node = engine
    for _ in range(2):
        with named("log"), module.detect_anomaly(), module.detect_anomaly():
            module.log(node(0.0))
    assert module.autodiff.mode.check is None
    assert scalar.autodiff.blocks == 0 and vector.autodiff.observer is None
    with module.detect_anomaly():
        with module.detect_anomaly():
            pass
        with named("log"):
            module.log(node(0.0))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        module.log(node(0.0))


def test_other_threads_are_left_alone(engine):
    module, node = engine
    found = []

    def other():
        with np.errstate(all="ignore"):
            found.append(float(module.log(node(0.0)).data))

    with module.detect_anomaly():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found == [-math.inf]


def test_many_inputs_are_cut_short():
    with named("dot is inf for finite inputs: input 0 = 1e+200;", "; input 7 = 1e+200; and 12 more"):
        with scalar.detect_anomaly():
            scalar.dot([scalar.Value(1e200)] * 10, [1e200] * 10)


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_places_in_arrays():
    x = vector.Tensor(np.array([[1.0, 2.0], [0.0, -4.0]]), "x")
    with named(
        "log is -inf at [1, 0] and 1 more of 4 elements, shape (2, 2) for finite inputs: "
        "input 0, 'x' = -4.0 to 2.0, shape (2, 2)"
    ):
        with vector.detect_anomaly():
            vector.log(x)
    with named(
        "the derivative of sqrt by input 0, 'y' is inf at [1], shape (2,) for finite inputs: input 0, 'y' = 0.0 to 1.0",
        ", shape (2,), value 0.0 to 1.0, shape (2,), gradient 1.0 to 1.0, shape (2,)",
    ):
        with vector.detect_anomaly():
            vector.sum(vector.sqrt(vector.Tensor(np.array([1.0, 0.0]), "y"))).backward()


def test_float32_overflows_on_the_way_down():
    x = vector.Tensor(np.ones(2, np.float32), "x")
    with named("the derivative of cast by input 0, 'x' is inf"), vector.detect_anomaly():
        vector.sum(x.astype(np.float64) * 1e300).backward()


def test_a_recorded_step_runs_as_python():
    w = vector.Tensor(np.array([1.0, 2.0]), "w")

    @vector.compile
    def step(x):
        loss = vector.sum(vector.log(w * x))
        w.grad = None
        loss.backward()
        w.data -= 0.1 * w.grad
        return loss

    step(np.ones(2))
    with vector.detect_anomaly():
        assert np.isfinite(step(np.ones(2)).item())
        with named("`loss = vector.sum(vector.log(w * x))`: log is -inf at [1], shape (2,)"):
            step(np.array([1.0, 0.0]))
    assert step.traces == 1
    assert np.isfinite(step(np.ones(2)).item())

    @vector.compile
    def look_inside(x):
        with vector.detect_anomaly():
            return vector.log(x)

    with pytest.raises(vector.RecordingError, match="a recorded step cannot look for anomalies"):
        look_inside(np.ones(2))


# --- training ---------------------------------------------------------------------------------------------------------

IMAGES, LABELS = np.linspace(0.0, 1.0, 24).reshape(8, 3), np.arange(8) % 2


@pytest.mark.parametrize("compiled", [False, True])
def test_fit_stops_at_a_loss_that_is_not_finite(compiled):
    def fit(**settings):
        model = vector.nn.Sequential(vector.nn.Dense(3, 4, seed=0), vector.nn.Dense(4, 2, seed=1))
        optimizer = vector.optim.SGD(model.parameters(), 1e200)
        with np.errstate(all="ignore"):
            model.fit(
                IMAGES, LABELS, optimizer, epochs=3, batch_size=2, compile=compiled, on_epoch=rows.append, **settings
            )

    rows = []
    with named("fit: the loss is nan at epoch 1, batch ", "smaller learning rate", "vector.detect_anomaly()"):
        fit()
    assert not rows
    with named("for finite inputs", "`"), vector.detect_anomaly():
        fit()


def test_arrays_without_elements_are_shown_by_their_shape():
    x = vector.Tensor(np.zeros((0, 3)), "empty")
    with pytest.raises(FloatingPointError, match=r"multiply is inf for finite inputs: .*= 1e\+300; .*= 1e\+300"):
        with vector.detect_anomaly():
            assert (x * 2.0).shape == (0, 3)
            vector.Tensor(1e300) * vector.Tensor(1e300)
    assert vector.anomaly.shown(x) == "shape (0, 3)"
