"""Long, large and odd: many replays, wide layers, large batches, other dtypes, Python threads, next to no data."""

import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from recorded import (
    OPTIMIZERS,
    blas,
    classifier,
    compare,
    moons,
    resident,
    same,
    step_of,
    traced_growth,
    train,
    trainer,
)

import scalar
import vector
from vector import nn, optim

REPLAYS, MANY_REPLAYS = 5_000, 1_000_000
LARGE, VERY_LARGE = (512, 1_000), (4_096, 10_000)  # width of a layer, samples in a batch
HIDDEN_LAYERS = 2


# --- long -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replays", [REPLAYS, pytest.param(MANY_REPLAYS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_many_replays(optimizer, replays, no_collector):
    """Nothing grows and nothing goes bad, also where Adam's powers of beta have long become 0."""
    model, update = classifier(optimizer, np.float32, dropout=0.2)
    step = vector.compile(step_of(model, update))
    batch = moons(np.random.default_rng(0), 4, np.float32)
    losses = np.zeros(replays // 100)

    def run(times):
        for i in range(times):
            loss = step(*batch)
            losses[i % len(losses)] = loss.data

    assert traced_growth(run, REPLAYS) < 10_000  # Python keeps freed tuples of the steps that verify, for others
    before = resident()
    run(replays)
    assert resident() - before < 1_000_000
    assert np.isfinite(losses).all()
    assert all(np.isfinite(p.data).all() for p in model.parameters())
    assert step.traces == 1


def test_an_optimizer_that_has_seen_all_steps():
    """Powers of beta at 0 and full sums: eager and recorded still make the same step."""

    def make():
        step, state = trainer("adam")()
        for tensor in state:
            if tensor.label.endswith("_power"):
                tensor.data[...] = 0.0
        return step, state

    compare(make, [moons(np.random.default_rng(0), 5)] * 20, traces=1)


# --- large ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width, samples", [LARGE, pytest.param(*VERY_LARGE, marks=pytest.mark.slow)])
def test_a_wide_layer_and_a_large_batch(width, samples):
    """Recorded and eager steps agree to the last bit; the memory planned is less than twice what the hidden layers'
    values and weights take."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(samples, 16)).astype(np.float32), rng.integers(0, 10, samples)

    def make():
        sizes = [16, *[width] * HIDDEN_LAYERS]
        hidden = [nn.Dense(a, b, "relu", i, dtype=np.float32) for i, (a, b) in enumerate(itertools.pairwise(sizes))]
        model = nn.Sequential(*hidden, nn.Dense(width, 10, seed=9, dtype=np.float32))
        update = optim.SGD(model.parameters(), 0.1)
        return step_of(model, update), model.parameters()

    step = compare(make, [(x, y)] * 2, traces=1)
    activations, weights = HIDDEN_LAYERS * samples * width * 4, width * width * 4
    assert step.memory < 2 * (activations + weights) + 1_000_000


# --- dtypes -----------------------------------------------------------------------------------------------------------

KEPT = ["float32", "float64"]
WIDENED = ["int8", "uint8", "int64", "uint64", ">i4"]  # whole numbers are taken as float64
SWAPPED = [">f4", ">f8"]  # the other order of bytes; the same numbers
REFUSED = ["float16", "longdouble", "complex64", "bool", "S3", "M8[s]", "object"]
TAKEN_AS = {**{d: d for d in KEPT}, **dict.fromkeys(WIDENED, "float64"), ">f4": "float32", ">f8": "float64"}
NUMBERS = np.array([0, 1, 2])
DTYPE = "expected (float32 or float64|a real number), got"

TAKES = {
    "Tensor": lambda x: vector.Tensor(x),
    "data": lambda x: with_data(x),
    "plain": lambda x: vector.negative(vector.negative(vector.Tensor(x))),
    "state dict": lambda x: loaded(x),
}


def with_data(x):
    t = vector.Tensor(np.zeros(3))
    t.data = x
    return t


def loaded(x):
    layer = nn.Dense(1, 3, seed=0)
    nn.Sequential(layer).load_state_dict({"0.weight": np.zeros((1, 3)), "0.bias": x})
    return layer.bias


@pytest.mark.parametrize("how", TAKES)
@pytest.mark.parametrize("dtype", TAKEN_AS)
def test_numbers_of_a_dtype_that_is_taken(dtype, how):
    t = TAKES[how](NUMBERS.astype(dtype))
    assert np.array_equal(t.data, NUMBERS)
    assert t.dtype is np.zeros(0, "float64" if how == "state dict" else TAKEN_AS[dtype]).dtype


@pytest.mark.parametrize("how", TAKES)
@pytest.mark.parametrize("dtype", REFUSED)
def test_numbers_of_a_dtype_that_is_refused(dtype, how):
    with pytest.raises(TypeError, match=DTYPE):
        TAKES[how](NUMBERS.astype(dtype))


@pytest.mark.parametrize("dtype", [*KEPT, *SWAPPED])
def test_layers_of_a_dtype(dtype):
    layer, x = nn.Dense(3, 2, seed=0, dtype=dtype), vector.Tensor([1.0, 2.0])
    assert {p.dtype for p in layer.parameters()} == {x.astype(dtype).dtype} == {np.dtype(TAKEN_AS[dtype])}
    assert np.array_equal(layer.weight.data, nn.Dense(3, 2, seed=0).weight.data.astype(dtype))


@pytest.mark.parametrize("dtype", [*WIDENED, *REFUSED])
def test_layers_of_a_dtype_that_cannot_train(dtype):
    """Weights would be cut down to whole numbers, or worse."""
    with pytest.raises(TypeError, match="Dense: expected float32 or float64, got"):
        nn.Dense(3, 2, seed=0, dtype=dtype)
    with pytest.raises(TypeError, match="astype: expected float32 or float64, got"):
        vector.Tensor(1.0).astype(dtype)


@pytest.mark.parametrize("own", KEPT)
@pytest.mark.parametrize("dtype", TAKEN_AS)
def test_a_gradient_that_is_given_has_the_dtype_of_its_tensor(own, dtype):
    def make():
        t = vector.Tensor(np.ones(3, own))

        def step(g):
            t.grad = g
            t.data -= 0.5 * t.grad
            return t.grad * 2.0

        return step, [t]

    step = compare(make, [(NUMBERS.astype(dtype),)] * 3)
    t = vector.Tensor(np.ones(3, own))
    t.grad = NUMBERS.astype(dtype)
    assert t.grad.dtype is t.dtype and np.array_equal(t.grad, NUMBERS)
    assert step.traces == 1


@pytest.mark.parametrize("dtype", REFUSED)
def test_a_gradient_of_no_real_numbers(dtype):
    t = vector.Tensor(np.ones(3))
    with pytest.raises(TypeError, match=f"Tensor.grad: {DTYPE}"):
        t.grad = NUMBERS.astype(dtype)
    with pytest.raises(TypeError, match=f"backward: {DTYPE}"):
        (t * 2.0).backward(NUMBERS.astype(dtype))


def fitted(images, labels, compile=True, n_in=3, n_out=3, **options):
    model = nn.Sequential(nn.Flatten(), nn.Dense(n_in, 4, "relu", seed=0), nn.Dense(4, n_out, seed=1))
    options = {"epochs": 2, "batch_size": 4, **options}
    history = model.fit(images, labels, optim.Adam(model.parameters(), 0.01), compile=compile, **options)
    return model, history


IMAGES, LABELS = np.arange(15).reshape(5, 3) % 7, np.arange(5) % 3


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "longdouble", *KEPT, *SWAPPED, "int8", "int64", "uint16"])
def test_images_of_any_real_dtype_are_their_numbers(dtype, compile):
    """The parameters' dtype is what training computes in, whatever the images come as."""
    (model, history), (other, expected) = fitted(IMAGES.astype(dtype), LABELS, compile), fitted(IMAGES * 1.0, LABELS)
    assert history == expected
    assert all(same(p.data, q.data) for p, q in zip(model.parameters(), other.parameters(), strict=True))
    assert same(model.predict(IMAGES.astype(dtype)), other.predict(IMAGES * 1.0))


def test_images_of_bytes_are_scaled_and_of_bits_are_not():
    assert fitted(IMAGES.astype(np.uint8), LABELS)[1] == fitted(IMAGES * (1 / 255), LABELS)[1]
    assert fitted(IMAGES > 3, LABELS)[1] == fitted((IMAGES > 3) * 1.0, LABELS)[1]


@pytest.mark.parametrize("dtype", ["complex64", "S3", "M8[s]", "object"])
def test_images_that_are_no_numbers(dtype):
    with pytest.raises(TypeError, match="Batches: expected images of real numbers, got"):
        fitted(IMAGES.astype(dtype), LABELS)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "uint64", ">i4", "bool", "float16", "complex64"])
def test_class_numbers(dtype):
    """Whole numbers of any size; the same in a loss of its own and through `fit`."""
    x, labels = np.ones((5, 3)), LABELS.astype(dtype)
    step = vector.compile(lambda labels: vector.cross_entropy(vector.Tensor(x), labels))
    if np.dtype(dtype).kind in "iu":
        assert fitted(IMAGES, labels)[1] == fitted(IMAGES, LABELS)[1]
        expected = vector.cross_entropy(x, LABELS)
        assert all(
            same(f.data, expected) for f in (vector.cross_entropy(vector.Tensor(x), labels), step(labels), step(labels))
        )
    else:
        named = "float" if dtype == "float16" else dtype  # `fit` has them in the model's dtype
        for refused in (lambda: fitted(IMAGES, labels), lambda: vector.cross_entropy(x, labels), lambda: step(labels)):
            with pytest.raises(TypeError, match=rf"expected .*(real numbers|integer|class numbers).*, got {named}"):
                refused()


def test_a_class_number_beyond_all_signed_numbers():
    with pytest.raises(ValueError, match="class numbers from 0 to 2, got 18446744073709551615"):
        vector.cross_entropy(np.ones((2, 3)), np.array([0, 2**64 - 1], np.uint64))


# --- Python threads ---------------------------------------------------------------------------------------------------


@pytest.fixture
def hasty():
    """Python changes threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*jobs):
    """The results of functions that begin together, each in a thread of its own."""
    start = threading.Barrier(len(jobs))

    def begin(job):
        start.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(begin, job) for job in jobs]]


KINDS = [(True, "sgd"), (True, "adam"), (False, "nesterov"), (False, "adamw")]


def trained(compile, optimizer):
    model, _, history = train(compile, optimizer, dropout=0.3, batch_size=160)
    return [*(p.data for p in model.parameters()), *(np.array(row["loss"]) for row in history)]


@pytest.fixture(scope="module")
def alone():
    return {kind: trained(*kind) for kind in KINDS}


@pytest.mark.parametrize("first, second", [(a, b) for i, a in enumerate(KINDS) for b in KINDS[i:]])
def test_two_models_trained_at_once(first, second, alone, hasty):
    before = blas()
    results = at_once(lambda: trained(*first), lambda: trained(*second))
    for kind, got in zip((first, second), results, strict=True):
        assert all(same(a, b) for a, b in zip(got, alone[kind], strict=True)), kind
    assert blas() == before


@pytest.mark.parametrize("module, node", [(scalar, scalar.Value), (vector, vector.Tensor)])
def test_a_mode_is_its_threads_own(module, node):
    """While one thread is inside `no_grad` and `detect_anomaly`, another builds graphs and takes logarithms of 0."""
    inside, seen = threading.Event(), threading.Event()

    def strict():
        with module.no_grad(), module.detect_anomaly():
            inside.set()
            assert seen.wait(60)
            with pytest.raises(FloatingPointError, match="log is -inf"):
                module.log(node(0.0))
            assert (node(1.0) * 2.0).op is None

    def free():
        assert inside.wait(60)
        try:
            x = node(0.0)
            with pytest.warns(RuntimeWarning, match="divide by zero"):
                out = module.log(x)
            with pytest.warns(RuntimeWarning, match="divide by zero"):
                out.backward()
            assert out.op is not None and float(x.grad) == np.inf
        finally:
            seen.set()

    at_once(strict, free)
    assert (node(1.0) * 2.0).op is not None


# --- next to no data --------------------------------------------------------------------------------------------------

TINY = {  # samples, features, classes
    "fewer samples than a batch": (3, 3, 2),
    "one sample": (1, 3, 2),
    "one sample in the last batch": (5, 3, 2),
    "one feature": (9, 1, 2),
    "one class": (9, 3, 1),
    "one of each": (1, 1, 1),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("size", TINY)
def test_next_to_no_data(size, optimizer):
    samples, features, classes = TINY[size]
    images, labels = np.random.default_rng(0).normal(size=(samples, features)), np.arange(samples) % classes

    def run(compile):
        model = nn.Sequential(nn.Dense(features, 4, "tanh", seed=0), nn.Dense(4, classes, seed=1))
        update = OPTIMIZERS[optimizer](model.parameters())
        history = model.fit(images, labels, update, epochs=30, batch_size=4, compile=compile)
        return history, [p.data for p in model.parameters()], model

    (history, parameters, model), (expected, other, _) = run(True), run(False)
    assert history == expected and all(map(same, parameters, other))
    assert history[-1]["loss"] < history[0]["loss"] or classes == 1
    loss, accuracy = model.evaluate(images, labels)
    assert np.isfinite(loss) and 0.0 <= accuracy <= 1.0
    assert model.predict(images).shape == (samples, classes)


NOTHING = {
    "at least one image": lambda: fitted(IMAGES[:0], LABELS[:0]),
    r"at least one image, got shape \(5, 0\)": lambda: fitted(IMAGES[:, :0], LABELS),
    "as many labels as images": lambda: fitted(np.float64(1.0), LABELS),
    "at least one image, got": lambda: fitted(IMAGES, LABELS)[0].evaluate(IMAGES[:0], LABELS[:0]),
    r"at least one image, got shape \(0, 3\)": lambda: fitted(IMAGES, LABELS)[0].predict(IMAGES[:0]),
    "whole batch_size of 1 or more, got 2.5": lambda: fitted(IMAGES, LABELS, batch_size=2.5),
    "whole batch_size of 1 or more, got 0": lambda: fitted(IMAGES, LABELS, batch_size=0),
    "layer with parameters": lambda: nn.Sequential(nn.Flatten()).fit(IMAGES, LABELS, optim.SGD([], 0.1)),
    "labels of shape": lambda: fitted(IMAGES, LABELS[:, None]),
    "class numbers from 0 to 0, got": lambda: fitted(IMAGES, LABELS, n_out=1),
}


@pytest.mark.parametrize("words", NOTHING)
def test_what_cannot_be_trained_is_named(words):
    with pytest.raises(ValueError, match=words):
        NOTHING[words]()


def test_no_epochs():
    model, history = fitted(IMAGES, LABELS, epochs=0)
    assert history == []
    assert same(model.predict(IMAGES), fitted(IMAGES, LABELS, epochs=0)[0].predict(IMAGES))


def test_a_batch_larger_than_all_memory():
    assert fitted(IMAGES, LABELS, batch_size=10**15)[1] == fitted(IMAGES, LABELS, batch_size=5)[1]
