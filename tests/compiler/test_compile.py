"""A recorded step replays what the Python step does, to the last bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import (
    OPTIMIZERS,
    call_text,
    classifier,
    compare,
    graph,
    leaves,
    moons,
    same,
    step_of,
    steps,
    tensors_of,
    trainer,
)
from strategies import Lines, networks, part

import vector
from vector import nn, optim
from vector.nn.base import in_mode
from vector.op import OPS
from vector.random import uniform as random

# --- networks ---------------------------------------------------------------------------------------------------------

LOSSES = ("cross_entropy", "categorical_cross_entropy", "mse")


def network(lines: Lines, optimizer, dtype):
    """What the lines of a random network say: a maker of its training step, the batch, and the labels."""
    names = {**vars(vector), "node": np.array, "predict": lambda model, x: None}
    names |= {name: lambda out, labels, name=name: (name, np.array(labels)) for name in LOSSES}
    found = lines.run(names)
    loss, labels = found["loss"]

    def make():
        model = lines.run(names)["model"]
        for p in model.parameters():
            p.data = p.data.astype(dtype)
        update = OPTIMIZERS[optimizer](model.parameters())

        def step(x, y):
            out = model(x)
            value = getattr(vector, loss)(out, y)
            update.zero_grad()
            value.backward()
            update.step()
            return value, out

        return step, [*model.parameters(), *tensors_of(update)]

    labels = labels.astype(dtype) if labels.dtype.kind == "f" else labels
    return make, found["x"].astype(dtype), labels


def batches(x, y, n, seed=0):
    """n batches like x with other numbers, and labels in other orders."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield np.abs(x * rng.normal(1.0, 0.3, x.shape)).astype(x.dtype) * np.sign(x), y[rng.permutation(len(y))]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@part(4)
@given(lines=networks())
def test_networks(optimizer, dtype, lines):
    with np.errstate(all="ignore"):
        make, x, y = network(lines, optimizer, dtype)
        calls = [*batches(x, y, 3), *[(x[:-1], y[:-1]) for _ in range(2 * (len(x) > 1))], *batches(x, y, 2, seed=1)]
        compare(make, calls, traces=1 + (len(x) > 1))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@part(50)
@given(lines=networks())
def test_networks_a_thousand_times(optimizer, lines):
    with np.errstate(all="ignore"):
        make, x, y = network(lines, optimizer, np.float64)
        compare(make, list(batches(x, y, 1000)), traces=1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_thousand_replays(optimizer):
    rng = np.random.default_rng(0)
    step = compare(trainer(optimizer), [moons(rng, 5 - i % 2) for i in range(1000)], traces=2)
    assert len(step.replays) == 2


def test_every_shape_and_dtype_has_its_own_program_and_they_share_the_parameters():
    rng = np.random.default_rng(0)
    calls = [moons(rng, n, dtype) for _ in range(4) for n in (1, 2, 5) for dtype in (np.float64, np.float32)]
    step = compare(trainer("adam"), calls, traces=6)
    assert step.memory == sum(replay.program.memory for replay in step.replays.values())
    step.clear()
    assert step.memory == 0
    step(*moons(rng, 2))
    assert step.traces == 7


def test_labels_of_every_dtype_have_their_own_program():
    rng = np.random.default_rng(0)
    x, y = moons(rng, 5)
    kinds = (np.int64, np.uint8, np.int8, np.uint16)
    calls = [(x, np.roll(y, i).astype(kind)) for i in range(2) for kind in kinds]
    step = compare(trainer(), calls, traces=len(kinds))
    with pytest.raises(TypeError, match="class numbers"):
        step(x, y.astype(np.float64))
    with pytest.raises(TypeError, match="bool"):
        step(x, y.astype(bool))
    hot = np.eye(4)[y]
    compare(trainer(), [(x, hot), (x, np.roll(hot, 1, 0)), (x, y), (x, hot.astype(np.float32))], traces=3)


def layouts(rng, shape):
    """Arrays of one shape in every layout that slicing and transposing give."""
    n, k = shape
    yield rng.normal(size=shape)
    yield rng.normal(size=(k, n)).T
    yield rng.normal(size=(2 * n, 3 * k))[::2, ::3]
    yield rng.normal(size=shape)[::-1, ::-1]
    yield np.broadcast_to(rng.normal(size=(1, k)), shape)
    yield np.asfortranarray(rng.normal(size=shape))
    yield rng.normal(size=(n, k))


@pytest.mark.parametrize("first", range(5))
def test_inputs_in_any_layout(first):
    rng = np.random.default_rng(0)
    arrays = list(layouts(rng, (7, 9)))

    def make():
        w = vector.Tensor(np.random.default_rng(1).normal(size=(9,)), "w")

        def step(x):
            h = vector.tanh(x * w)
            loss = vector.sum(h) + vector.sum(vector.exp(h), axis=0)[2] + vector.sum(vector.reshape(x, (63,)) * 0.1)
            w.grad = None
            loss.backward()
            w.data -= 0.01 * w.grad
            return loss, h

        return step, [w]

    (eager, a), (step, b) = make(), make()
    step = vector.compile(step)
    for x in arrays[first:] + arrays[:first]:
        expected, got = eager(x), step(x)
        assert all(same(p, q) for p, q in zip(leaves([expected, a]), leaves([got, b]), strict=True))


def test_readonly_inputs():
    x, y = moons(np.random.default_rng(0), 5)
    x.flags.writeable = y.flags.writeable = False
    other = moons(np.random.default_rng(1), 5)
    (eager, a), (step, b) = trainer()(), trainer()()
    step = vector.compile(step)
    for args in [(x, y), other, (x, y), other]:
        assert same(eager(*args).data, step(*args).data)
    assert all(same(p.data, q.data) for p, q in zip(a, b, strict=True))


# --- state ------------------------------------------------------------------------------------------------------------


def test_the_learning_rate_is_state():
    for optimizer in OPTIMIZERS:
        rng = np.random.default_rng(0)
        models = [classifier(optimizer, np.float32) for _ in range(2)]
        steps = [step_of(*models[0]), vector.compile(step_of(*models[1]))]
        schedule = optim.cosine(0.1, steps=12, warmup=3)
        for i in range(15):
            batch = moons(rng, 4, np.float32)
            for (_, update), step in zip(models, steps, strict=True):
                update.lr = schedule(i)
                step(*batch)
            for p, q in zip(models[0][0].parameters(), models[1][0].parameters(), strict=True):
                assert same(p.data, q.data), (optimizer, i)
        assert steps[1].traces == 1


def test_parameters_changed_in_place_between_replays():
    rng = np.random.default_rng(0)
    pairs = [classifier("momentum") for _ in range(2)]
    eager, step = (step_of(*pair) for pair in pairs)
    step = vector.compile(step)
    saved = pairs[0][0].state_dict()
    for i in range(9):
        batch = moons(rng, 4)
        assert same(eager(*batch).data, step(*batch).data)
        for model, _ in pairs:
            if i % 3 == 0:
                model.load_state_dict(saved)
            model.layers[0].weight.data *= 0.99
            model.layers[0].bias.data[1] = i
    assert step.traces == 1


def test_dropout_draws_anew_at_each_replay():
    rng = np.random.default_rng(0)
    compare(trainer("momentum", dropout=0.5), [moons(rng, 5) for _ in range(20)], traces=1)


@pytest.mark.parametrize("exact", [True, False])
def test_draws_at_each_replay(exact):
    drawn = vector.compile(lambda x: vector.Tensor(random(np_rng, x.shape, x.dtype)) * 1.0, exact=exact)
    np_rng, expected = np.random.default_rng(5), np.random.default_rng(5)
    for dtype in (np.float64, np.float64, np.float32, np.float32):
        assert same(drawn(np.zeros((2, 3), dtype)).data, expected.random((2, 3), dtype))


def test_a_draw_that_nobody_reads_still_moves_the_generator():
    rngs = [np.random.default_rng(3) for _ in range(2)]

    def maker():
        rng = rngs.pop()

        def step(x):
            random(rng, (4,))
            return vector.Tensor(random(rng, (2,))) * x

        return step, []

    compare(maker, [(np.ones(2),)] * 4)


def test_gradients_add_up_when_nobody_resets_them():
    rng = np.random.default_rng(0)

    def make():
        model, update = classifier()

        def step(x, y):
            loss = vector.cross_entropy(model(x), y)
            loss.backward()
            return loss

        return step, [model, update]

    (eager, (a, ua)), (step, (b, ub)) = make(), make()
    step = vector.compile(step)
    for i in range(20):
        batch = moons(rng, 3 + i % 2)
        assert same(eager(*batch).data, step(*batch).data)
        assert all(same(p.grad, q.grad) for p, q in zip(a.parameters(), b.parameters(), strict=True)), i
        if i % 4 == 3:
            for update in (ua, ub):
                update.step()
                update.zero_grad()
        if i == 9:  # by hand, and by an ordinary backward pass
            for model in (a, b):
                for p in model.parameters():
                    p.grad = p.grad * 0.5
                vector.cross_entropy(model(batch[0]), batch[1]).backward()
    assert step.traces == 2


def test_gradients_reset_after_the_update():
    """backward, step, zero_grad: the order of many programs."""
    rng = np.random.default_rng(0)

    def make():
        model, update = classifier("momentum")

        def step(x, y):
            loss = vector.cross_entropy(model(x), y)
            loss.backward()
            update.step()
            update.zero_grad()
            return loss

        return step, model.parameters()

    (eager, a), (step, b) = make(), make()
    step = vector.compile(step)
    for i in range(6):
        batch = moons(rng, 4)
        assert same(eager(*batch).data, step(*batch).data)
        assert all(same(p.grad, q.grad) and not q.grad.any() for p, q in zip(a, b, strict=True))
        if i == 3:
            for p in (*a, *b):
                p.grad = 1.0
    assert step.traces == 1
    assert all(same(p.data, q.data) for p, q in zip(a, b, strict=True))


def test_gradients_clipped_in_place():
    rng = np.random.default_rng(0)

    def make():
        model, update = classifier("adam", np.float32)
        parameters = model.parameters()

        def step(x, y):
            loss = vector.cross_entropy(model(x), y)
            update.zero_grad()
            loss.backward()
            norm = np.sqrt(sum(np.add.reduce(p.grad * p.grad, axis=None) for p in parameters))
            for p in parameters:
                p.grad *= np.minimum(1.0, 0.1 / (norm + 1e-6))
            update.step()
            return loss, norm

        return step, parameters

    (eager, a), (step, b) = make(), make()
    step = vector.compile(step)
    for _ in range(5):
        batch = moons(rng, 4, np.float32)
        expected, got = eager(*batch), step(*batch)
        assert all(same(x, y.data) for x, y in zip((expected[0].data, expected[1]), got, strict=True))
    assert all(same(p.data, q.data) for p, q in zip(a, b, strict=True))


def test_gradients_that_share_memory_do_not_in_the_leaves():
    """x and y get views of one gradient; changing one in place must leave the other."""

    def make():
        x, y, z = (vector.Tensor(np.arange(6.0).reshape(s) + 1.0, "x") for s in ((2, 3), (3, 2), (2, 3)))

        def step(k):
            loss = vector.sum((x + vector.reshape(y, (2, 3)) + vector.transpose(vector.reshape(z, (3, 2)))) * k)
            for p in (x, y, z):
                p.grad = None
            loss.backward()
            x.grad *= 2.0
            z.grad += 1.0
            for p in (x, y, z):
                p.data -= 0.1 * p.grad
            return vector.Tensor(np.add.reduce(y.grad, axis=None)), vector.Tensor(np.add.reduce(x.grad, axis=None))

        return step, [x, y, z]

    compare(make, [(np.random.default_rng(i).normal(size=(2, 3)),) for i in range(3)])


def test_a_gradient_set_by_hand_inside():
    def make():
        p = vector.Tensor([1.0, 2.0], "p")

        def step(x):
            p.grad = 0
            p.grad += x
            vector.sum(p * x).backward()
            p.grad += 0.5
            p.data -= 0.1 * p.grad
            return vector.Tensor(p.grad) * 1.0

        return step, [p]

    compare(make, [(np.array([1.0, -1.0]) * i,) for i in range(4)])


def test_a_gradient_read_before_the_backward_pass():
    """It comes from outside, and may be another at each replay."""
    results = []
    for wrap in (lambda f: f, vector.compile):
        p = vector.Tensor([1.0, 2.0], "p")

        def step(x, p=p):
            return vector.Tensor(p.grad * 2.0) + x

        step = wrap(step)
        got = []
        for i in range(4):
            if i > 1:
                p.grad = np.full(2, float(i))
            got.append(step(np.ones(2)).data)
        results.append(got)
    assert all(same(a, b) for a, b in zip(*results, strict=True))


def test_two_steps_share_parameters_and_evaluation_goes_between():
    rng = np.random.default_rng(0)

    def make():
        model, update = classifier("adam", dropout=0.3)
        train = step_of(model, update)
        other = optim.SGD(model.parameters(), 0.01)
        tune = step_of(model, other)

        def judge(x, y):
            with vector.no_grad(), in_mode(model, training=False):
                return vector.cross_entropy(model(x), y)

        return model, train, tune, judge

    (a, *eager), (b, *recorded) = make(), make()
    recorded = [vector.compile(f) for f in recorded]
    for i in range(30):
        batch = moons(rng, 4)
        which = [0, 2, 1, 2, 0, 0][i % 6]
        assert same(eager[which](*batch).data, recorded[which](*batch).data)
        assert all(same(p.data, q.data) for p, q in zip(a.parameters(), b.parameters(), strict=True))
        if i % 5 == 0:
            assert same(a(batch[0]).data, b(batch[0]).data)
    assert [f.traces for f in recorded] == [1, 1, 1]


def test_a_recorded_step_inside_another_is_part_of_it():
    rng = np.random.default_rng(0)
    inner, outer = (trainer("momentum")() for _ in range(2))
    compiled = vector.compile(inner[0])

    @vector.compile
    def both(x, y):
        return compiled(x, y) + compiled(x, y)

    for _ in range(4):
        batch = moons(rng, 4)
        assert same(both(*batch).data, outer[0](*batch).data + outer[0](*batch).data)
        assert same(compiled(*batch).data, outer[0](*batch).data)
    assert (both.traces, compiled.traces) == (1, 1)
    assert all(same(p.data, q.data) for p, q in zip(inner[1], outer[1], strict=True))


# --- arguments and results --------------------------------------------------------------------------------------------


def test_what_a_step_may_return():
    def make():
        p = vector.Tensor(np.arange(3.0), "p")

        def step(x):
            p.grad = None
            y = p * x
            z = vector.sum(y)
            z.backward()
            return {"y": y, "both": (z, [y, z]), "grad": p.grad, "none": None, "number": 2.5, "name": "step", "p": p}

        return step, [p]

    (eager, _), (step, _) = make(), make()
    step = vector.compile(step)
    for i in range(3):
        x = np.full(3, i + 1.0)
        expected, got = eager(x), step(x)
        assert expected.keys() == got.keys()
        assert [got[k] for k in ("none", "number", "name")] == [None, 2.5, "step"]
        assert type(got["both"]) is tuple and type(got["both"][1]) is list
        for key in ("y", "both", "grad", "p"):
            assert all(same(a, b) for a, b in zip(leaves(expected[key]), leaves(got[key]), strict=True)), key
        assert not got["y"].requires_grad
    nothing = vector.compile(lambda x: None)
    assert nothing(np.ones(2)) is None
    assert nothing(np.ones(2)) is None


def test_results_are_the_callers_own():
    w = vector.Tensor(np.ones(3), "w")

    @vector.compile
    def step(x):
        return x * w, w

    first, _ = step(np.ones(3))
    kept = first.data.copy()
    second, weights = step(np.full(3, 2.0))
    weights.data[:] = 100.0
    second.data[:] = 50.0
    third, _ = step(np.full(3, 3.0))
    assert same(first.data, kept) and same(third.data, np.full(3, 3.0)) and same(w.data, np.ones(3))


def test_tensors_as_arguments():
    def make():
        w = vector.Tensor(np.arange(6.0).reshape(3, 2), "w")

        def step(x, y):
            loss = vector.mean((x @ w - y) ** 2)
            w.grad = None
            loss.backward()
            w.data -= 0.1 * w.grad
            return loss, x.grad

        return step, [w]

    (eager, a), (step, b) = make(), make()
    step = vector.compile(step)
    for i in range(4):
        rng = np.random.default_rng(i)
        numbers, target = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
        (loss, slope), (value, result) = eager(vector.Tensor(numbers), target), step(vector.Tensor(numbers), target)
        assert same(loss.data, value.data) and same(slope, result.data) and same(a[0].data, b[0].data)
    assert step.traces == 1
    step(vector.Tensor(numbers, requires_grad=True), vector.Tensor(target))
    assert step.traces == 2


def test_whether_an_argument_wants_a_gradient_is_part_of_the_recording():
    w = vector.Tensor(2.0, "w")

    @vector.compile
    def step(x):
        y = x * w
        return y if y.requires_grad and x.requires_grad else -y

    x = np.ones(1)
    assert step(vector.Tensor(x)).item() == 2.0
    assert step(vector.Tensor(x, requires_grad=False)).item() == -2.0
    assert step(vector.Tensor(x)).item() == 2.0


def test_under_no_grad_another_program():
    """Whether there is a graph is seen by the step, and by whoever calls it."""
    step = vector.compile(lambda x: x * (1.0 if (x * 2.0).op else 3.0))
    x = vector.Tensor(2.0)
    assert step(x).item() == 2.0
    with vector.no_grad():
        assert step(x).item() == 6.0
    assert step(x).item() == 2.0 and step.traces == 2


def test_a_step_is_of_the_mode_that_it_was_recorded_in():
    """Training or evaluation: there is no replay in the other one, and none to be made anew back in the first."""
    drop = nn.Sequential(nn.Dropout(0.5, seed=0))
    step = vector.compile(lambda x: drop(x) * 1.0)
    x = np.ones(100)
    for same_mode, other_mode in ((drop.train, drop.eval), (drop.eval, drop.train)):
        step.clear()
        same_mode()
        step(x)
        other_mode()
        with pytest.raises(vector.RecordingError, match="training"):
            step(x)
        same_mode()
        assert step(x).data.all() == (same_mode == drop.eval)
    assert step.traces == 2


def test_keyword_and_default_arguments():
    @vector.compile
    def step(x, y, scale=2.0, *, shift=0.0):
        return (x - y) * scale + shift

    a, b = np.array([3.0]), np.array([1.0])
    assert step(a, b).item() == step(a, b).item() == 4.0
    assert step(a, y=b).item() == step(x=a, y=b).item() == step(y=b, x=a).item() == 4.0
    assert step(x=b, y=a).item() == step(b, a, 2.0).item() == -4.0
    assert step(a, b, scale=2.0).item() == 4.0
    assert step(a, b, scale=3.0).item() == 6.0
    with pytest.raises(TypeError, match="missing"):
        step(a)
    with pytest.raises(TypeError, match="unexpected"):
        step(a, b, wrong=1)


def test_the_same_array_passed_twice_and_the_parameters_own_array():
    def make():
        p = vector.Tensor(np.arange(4.0) + 1.0, "p")

        def step(x, y):
            before = x * y + 1.0
            loss = vector.sum(p * before)
            p.grad = None
            loss.backward()
            p.data = p.data - 0.1 * p.grad
            return loss, before, x * y + 1.0

        return step, p

    (eager, p), (step, q) = make(), make()
    step = vector.compile(step)
    for i in range(4):
        x = np.arange(4.0) + i
        for args in ((x, x), (p.data, x), (x, p.data), (p.data, p.data)):
            mine = [q.data if a is p.data else a for a in args]
            expected, got = eager(*args), step(*mine)
            assert all(same(a, b) for a, b in zip(leaves(expected), leaves(got), strict=True))
            assert same(p.data, q.data)


def test_writing_into_an_argument():
    def make():
        def step(x, y):
            a = vector.Tensor(x * 2.0) + y
            x += 1.0
            return a, vector.Tensor(x * 2.0) + y

        return step, []

    compare(make, [(np.arange(3.0), np.ones(3))] * 3)
    (eager, _), (step, _) = make(), make()
    step = vector.compile(step)
    step(np.arange(3.0), np.ones(3))
    x, z = np.arange(3.0), np.arange(3.0)
    for _ in range(3):
        for a, b in zip(eager(x, x), step(z, z), strict=True):
            assert same(a.data, b.data)
        assert same(x, z)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        step(x, z)


def test_arrays_from_outside_are_read_where_they_lie():
    mask, views = np.ones(3), np.arange(3.0)
    window, still = views[::-1], np.broadcast_to(views, (2, 3))
    results = []
    for wrap in (lambda f: f, vector.compile):
        mask[:], views[:] = 1.0, np.arange(3.0)
        w = vector.Tensor(np.ones(3), "w")
        step = wrap(lambda x, w=w: vector.sum((w * mask + window) * x * still))
        got = []
        for i in range(4):
            got.append(step(np.full(3, i + 1.0)).data)
            mask[i % 3] = i
            views[:] += 1.0
        results.append(got)
    assert all(same(a, b) for a, b in zip(*results, strict=True))


def test_two_looks_at_one_array_from_outside():
    """A parameter, and a view of its memory that the step reads after the update."""

    def make():
        p = vector.Tensor(np.arange(4.0), "p")
        look = p.data[::-1]

        def step(x):
            now = vector.Tensor(look)
            before = now * 2.0 + x
            new = p.data - x
            between = now * 3.0 + x
            p.data[...] = new
            return before, between, now * 2.0 + x

        return step, [p]

    compare(make, [(np.full(4, i + 1.0),) for i in range(3)])


def test_sizes_of_nothing_and_of_one():
    step = compare(lambda: (lambda x: (vector.sum(x * 2.0), vector.exp(x)), []), [(np.zeros((0, 3)),)] * 3, 1)
    assert step.memory >= 0
    compare(lambda: (lambda x: vector.exp(x) * x + 1.0, []), [(np.array(float(i)),) for i in range(4)], traces=1)
    with pytest.raises(ValueError, match="at least one sample"):
        vector.compile(trainer()()[0])(np.zeros((0, 3)), np.zeros(0, np.int64))


def test_tensors_made_inside():
    def make():
        def step(x):
            w = vector.Tensor(np.arange(3.0), "inside")
            v = vector.Tensor([1.0, 2.0, 3.0])
            loss = vector.sum(w * x) + vector.sum(vector.Tensor(x) * w * v)
            loss.backward()
            return loss, vector.Tensor(w.data - 0.1 * w.grad), vector.Tensor(v.grad)

        return step, []

    compare(make, [(np.arange(3.0) + i,) for i in range(4)], traces=1)


def test_the_old_array_stays_when_a_tensor_is_given_another():
    def make():
        a, b = vector.Tensor(np.arange(3.0), "a"), vector.Tensor(np.ones(3), "b")

        def step(x):
            old, look = a.data, vector.reshape(a, (3, 1))
            a.data = a.data + x
            moved = vector.Tensor(a.data - old)
            a.data, b.data = b.data, a.data
            b.data *= 2.0
            return moved, vector.Tensor(old), look * 2.0, look, vector.sum(a) + vector.sum(b)

        return step, [a, b]

    compare(make, [(np.full(3, i + 1.0),) for i in range(4)], traces=1)


def test_the_gradient_to_start_from_is_a_constant():
    """And no factor of 1, nor an array from outside, in the program."""
    w = vector.Tensor([0.5], "w")
    step = vector.compile(lambda x: vector.grad(vector.tanh(w), w) * x)
    step(np.ones(1))
    assert {v.label for call in step.program.calls for v in call.reads() if v.root.kind == "state"} == {"w"}
    assert len(step.program) == 4, step.program


def test_second_derivatives_inside():
    def make():
        w = vector.Tensor(np.array([0.5, -1.0, 2.0]), "w")

        def step(x):
            loss = vector.sum(vector.tanh(w * x) ** 2)
            (slope,) = vector.grad(loss, [w], create_graph=True)
            penalty = vector.sum(slope * slope)
            w.grad = None
            (loss + 0.1 * penalty).backward()
            w.data -= 0.1 * w.grad
            return loss, penalty, slope

        return step, [w]

    compare(make, [(np.random.default_rng(i).normal(size=3),) for i in range(5)], traces=1)


def test_several_updates_in_one_step():
    rng = np.random.default_rng(0)

    def make():
        model, update = classifier("nesterov")
        inner = step_of(model, update)

        def step(x, y):
            return [inner(x, y) for _ in range(3)]

        return step, model.parameters()

    compare(make, [moons(rng, 4) for _ in range(4)], traces=1)


def test_an_error_while_recording_leaves_everything_usable():
    rng = np.random.default_rng(0)
    model, update = classifier("momentum")
    broken = True

    def step(x, y):
        loss = vector.cross_entropy(model(x), y)
        update.zero_grad()
        loss.backward()
        if broken:
            raise KeyError("half way")
        update.step()
        return loss

    recorded = vector.compile(step)
    batch = moons(rng, 4)
    with pytest.raises(KeyError, match="half way"):
        recorded(*batch)
    assert recorded.traces == 0
    broken = False
    other, other_update = classifier("momentum")
    eager = step_of(other, other_update)
    assert same(eager(*batch).data, step(*batch).data)  # as Python first, then recorded
    for _ in range(3):
        assert same(eager(*batch).data, recorded(*batch).data)
    assert all(same(p.data, q.data) for p, q in zip(other.parameters(), model.parameters(), strict=True))
    assert recorded.traces == 1


# --- any graph --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", range(4))
@given(lines=steps())
def test_graphs(times, lines):
    with np.errstate(all="ignore"):
        make, calls = graph(lines)
        calls = [[np.asarray(x, y.dtype) for x, y in zip(call, calls[0], strict=True)] for call in calls]
        compare(make, calls)


@pytest.mark.parametrize("name", sorted(OPS))
@part(6)
@given(data=st.data())
def test_every_op(name, data):
    """By itself, in a step of one op and its backward pass. For a new op, `call_text` asks how to call it."""
    shapes = {"p0": (4, 5), "p1": (5, 4), "p2": (4, 5)}
    text = call_text(data.draw, name, shapes)
    text = text.format(*(data.draw(st.sampled_from(["p0", "p2"])) for _ in range(text.count("{}"))))

    def make():
        rng = np.random.default_rng(0)
        names = {**vars(vector), "np": np, "OPS": OPS}
        parameters = [vector.Tensor(rng.normal(size=shape), p) for p, shape in shapes.items()]
        names |= dict(zip(shapes, parameters, strict=True))

        def step(k):
            out = eval(text, names)
            loss = vector.sum(out * vector.Tensor(k * np.arange(1.0, out.size + 1.0).reshape(out.shape)))
            for p in parameters:
                p.grad = None
            loss.backward()
            slopes = [vector.Tensor(p.grad) for p in parameters]
            for p in parameters:
                p.data -= 0.01 * p.grad
            return [out, *slopes]

        return step, parameters

    with np.errstate(all="ignore"):
        compare(make, [(np.array(k),) for k in (1.0, -0.5, 2.0)])


def test_a_step_may_be_any_object_that_can_be_called():
    class Step:
        def __init__(self):
            self.weight = vector.Tensor(np.ones((2, 2)), "weight")

        def __call__(self, x):
            out = vector.sum(self.weight * x)
            self.weight.grad = None
            out.backward()
            self.weight.data -= 0.1 * self.weight.grad.transpose()
            return out

    def make():
        step = Step()
        return step, [step.weight]

    compare(make, [(np.array([[1.0, 2.0], [3.0, 4.0]]) * i,) for i in range(4)], traces=1)


def test_what_is_recorded_prints_as_a_program():
    seen = []
    see = seen.append

    def step(x):
        out = vector.tanh(vector.Tensor(x) * 2.0)
        see(repr(out.data))
        return out

    recorded = vector.compile(step)
    recorded(np.ones((2, 3)))
    assert seen == [f"<recorded {np.tanh(np.full((2, 3), 2.0))!r}>"]
    program = recorded.program
    assert repr(program.inputs[0]) == "<input x (2, 3) float64>"
    assert [repr(call) for call in program.calls] == [
        "np.multiply(<input x (2, 3) float64>, <constant  () float64>, out=<result  (2, 3) float64>)",
        "np.tanh(<result  (2, 3) float64>, out=<result  (2, 3) float64>)",
    ]


def test_a_graph_from_before_the_step():
    """Its forward pass is over; each step only goes back through it."""

    def make():
        w = vector.Tensor([0.5, -0.5], "w")
        hidden = w * w
        out = vector.sum(vector.tanh(hidden))

        def step(x):
            out.backward()
            return vector.sum(w * x)

        return step, w

    (eager, w), (step, v) = make(), make()
    step = vector.compile(step)
    for i in range(3):
        x = np.full(2, float(i))
        assert same(eager(x).data, step(x).data) and same(w.grad, v.grad)
    assert step.traces == 1 and w.grad.any()
    step, w = make()
    w.data[0] = 2.0
    with pytest.raises(RuntimeError, match="multiply: input 0, 'w', was changed after the forward pass"):
        vector.compile(step)(np.ones(2))
