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
from vector import optim
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


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam, weight decay", "adamw", "rmsprop"])
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
